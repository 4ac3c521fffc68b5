"""Sums that add up: the laws of a monoid, and numpy on the rows themselves."""
# pyright: reportOperatorIssue=false
# The laws run over three kinds at once, and each adds to its own alone.

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.moments import Counts, Moments, PairMoments

NUMBERS = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30)


def of(pairs: list[tuple[float, float]]) -> tuple[Counts, Moments, PairMoments]:
    """Sums by numpy, from the rows."""
    if not pairs:
        return Counts(), Moments(), PairMoments(m3_x=0.0)
    x, y = np.array(pairs).T
    dx, dy = x - x.mean(), y - y.mean()
    m2, m3 = float((dx**2).sum()), float((dx**3).sum())
    return (
        Counts(int((x > 0).sum()), len(x)),
        Moments(len(x), float(x.mean()), m2, m3, int((x != 0).sum())),
        PairMoments(len(x), float(x.mean()), float(y.mean()), m2, float((dy**2).sum()), float((dx * dy).sum()), m3),
    )


def numbers(value: Counts | Moments | PairMoments) -> list[float]:
    return [getattr(value, name) for name in value.__slots__]


def assert_same(one: Counts | Moments | PairMoments, other: Counts | Moments | PairMoments) -> None:
    # Third powers of numbers up to 2,000 that are off the mean: about 1e10 times 30, of which 1e-13 may be lost.
    assert numbers(one) == pytest.approx(numbers(other), rel=1e-9, abs=2e-2 if isinstance(one, Counts) else 2e-3)


@given(PAIRS, PAIRS)
def test_moments_of_two_sets_together_are_the_sum_of_theirs(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
):
    for one, other, both in zip(of(some), of(others), of(some + others), strict=True):
        assert_same(one + other, both)


@given(PAIRS, PAIRS, PAIRS)
def test_order_and_brackets_do_not_matter(
    a: list[tuple[float, float]], b: list[tuple[float, float]], c: list[tuple[float, float]]
):
    for one, two, three in zip(of(a), of(b), of(c), strict=True):
        assert_same((one + two) + three, one + (two + three))
        assert_same(one + two, two + one)


@given(PAIRS)
def test_nothing_added_changes_nothing(some: list[tuple[float, float]]):
    for one, nothing in zip(of(some), (Counts(), Moments(), PairMoments()), strict=True):
        if one.count:
            assert one + nothing == one
            assert nothing + one == one
    assert Counts() + Counts() == Counts()
    assert Moments() + Moments() == Moments()
    assert PairMoments() + PairMoments() == PairMoments()


def test_a_large_mean_costs_no_digits():
    x = np.array([1e9 + each for each in (1.0, 2.0, 4.0, 8.0)])
    parts = [Moments(1, float(each), 0, 0, 1) for each in x]
    together = sum(parts, Moments())
    assert together.variance == pytest.approx(np.var([1.0, 2.0, 4.0, 8.0], ddof=1), rel=1e-6)
    assert together.m3 == pytest.approx(((np.array([1.0, 2.0, 4.0, 8.0]) - 3.75) ** 3).sum(), rel=1e-6)


@given(st.integers(1, 500), st.integers(0, 500))
def test_counts_have_the_moments_of_zeros_and_ones(count: int, drawn: int):
    successes = min(drawn, count)
    x = np.repeat([1.0, 0.0], [successes, count - successes])
    found = Counts(successes, count).moments
    expected = [count, x.mean(), ((x - x.mean()) ** 2).sum(), ((x - x.mean()) ** 3).sum(), successes]
    assert numbers(found) == pytest.approx(expected, abs=1e-9)


def test_totals_variance_and_skewness_are_those_of_numpy_and_scipy():
    x = np.array([0.0, 0.0, 1.0, 5.0, 30.0])
    found = of([(each, 1.0) for each in x])[1]
    assert found.total == pytest.approx(36)
    assert found.variance == pytest.approx(np.var(x, ddof=1))
    assert found.skewness == pytest.approx(((x - x.mean()) ** 3).mean() / np.std(x) ** 3)
    assert np.isnan(Moments(1, 3.0).variance)
    assert np.isnan(Moments(5, 3.0).skewness)
    assert np.isnan(Counts().rate)
    assert np.isnan(PairMoments(3, 1.0, 0.0).ratio)


def test_a_third_moment_that_one_part_lacks_is_unknown_of_both():
    assert (PairMoments(2, 1, 1, 1, 1, 0, 0.5) + PairMoments(2, 1, 1, 1, 1, 0)).m3_x is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Counts(3, 2),
        lambda: Counts(-1, 2),
        lambda: Moments(2, float("nan")),
        lambda: Moments(2, 1.0, float("inf")),
        lambda: Moments(2, 1.0, -1.0),
        lambda: Moments(-1),
        lambda: PairMoments(2, float("inf")),
        lambda: PairMoments(2, 1.0, 1.0, -1.0),
        lambda: PairMoments(2, 1.0, 1.0, 1.0, 1.0, 0.0, float("nan")),
    ],
)
def test_what_no_finite_numbers_have_is_refused(build):
    with pytest.raises(ValueError, match="found"):
        build()
