"""Numbers for people: rounded, but never to the other side of 0."""

import doctest
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.reporting import numbers
from experiments.reporting.numbers import Scale


def test_the_examples_of_the_docstrings_are_true() -> None:
    found = doctest.testmod(numbers)
    assert found.attempted > 5
    assert found.failed == 0


@given(st.floats(-1e9, 1e9), st.floats(0, 1e6), st.sampled_from(Scale))
def test_the_ends_of_an_interval_stay_on_their_side_of_zero_when_rounded(
    low: float, width: float, scale: Scale
) -> None:
    text = numbers.interval(low, low + width, scale)
    if low > 0:
        assert text.startswith("+")
    if low + width < 0:
        assert "+" not in text


def test_two_ends_that_agree_in_their_first_digits_are_told_apart() -> None:
    assert numbers.interval(1000.0001, 1000.0003, Scale.NUMBER) == "+1000.0001 to +1000.0003".replace("1000", "1,000")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-inf, inf, "anything"),
        (-inf, 0.002, "at most +20"),
        (-0.002, inf, "at least -20"),
        (0.0, 0.002, "0 to +20"),
        (0.001, 0.001, "+10 to +10"),
    ],
)
def test_an_end_without_limit_is_said_in_words(low: float, high: float, text: str) -> None:
    assert numbers.interval(low, high, Scale.SHARE) == text


@given(st.floats(0, 1))
def test_a_rate_is_never_shown_as_none_or_all_unless_it_is(rate: float) -> None:
    shown = numbers.percent(rate)
    assert (shown == "0 %") is (rate == 0)
    assert (shown == "100 %") is (rate == 1)


@given(st.floats(-1e12, 1e12))
def test_a_number_reads_back_to_about_three_digits(value: float) -> None:
    assert float(numbers.plain(value).replace(",", "")) == pytest.approx(value, rel=0.006, abs=1e-300)
