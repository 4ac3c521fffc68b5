"""Sample ratio mismatch against scipy and an enumeration, and how often it alarms when nothing is wrong."""

from itertools import product
from math import exp, factorial, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chisquare

from experiments.estimators import srm

EVEN = {"control": 1.0, "treatment": 1.0}
THREE = {"control": 2.0, "one": 1.0, "three": 1.0}


@given(st.lists(st.integers(20, 100_000), min_size=3, max_size=3))
def test_the_chi_square_is_that_of_scipy(counts: list[int]) -> None:
    found = srm.check(dict(zip(THREE, counts, strict=True)), THREE)
    theirs = chisquare(counts, np.array([0.5, 0.25, 0.25]) * sum(counts))
    assert found.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-300)


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0.05, 0.95))
def test_two_variants_with_few_units_are_tested_as_scipy_s_exact_binomial_does(one: int, other: int, p: float) -> None:
    if 0 < (one + other) * min(p, 1 - p) < srm.EXPECTED_AT_LEAST:
        found = srm.check({"a": one, "b": other}, {"a": p, "b": 1 - p})
        assert found.method.startswith("exact")
        assert found.p_value == pytest.approx(binomtest(one, one + other, p).pvalue, rel=1e-6)


@pytest.mark.parametrize("counts", [(1, 0, 0), (3, 3, 2), (0, 7, 1), (5, 0, 0), (2, 2, 8)])
def test_three_variants_with_few_units_are_tested_as_an_enumeration_does(counts: tuple[int, int, int]) -> None:
    def likely(outcome: tuple[int, ...]) -> float:
        ways = factorial(sum(outcome)) / prod(factorial(each) for each in outcome)
        return ways * prod(p**each for p, each in zip((0.5, 0.25, 0.25), outcome, strict=True))

    outcomes = [each for each in product(range(sum(counts) + 1), repeat=3) if sum(each) == sum(counts)]
    expected = sum(likely(each) for each in outcomes if likely(each) <= likely(counts) * (1 + 1e-9))
    assert srm.check(dict(zip(THREE, counts, strict=True)), THREE).p_value == pytest.approx(expected, rel=1e-6)


def test_with_too_many_outcomes_for_the_exact_test_it_says_so() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.001}
    found = srm.check({"a": 300, "b": 300, "c": 300, "d": 1}, weights)
    assert found.p_value is None
    assert not found.is_mismatch
    assert found.why_not == "not enough data: 0.3 units are expected in d, at least 5 are needed"


def test_a_mismatch_says_how_many_people_are_too_many_and_how_large_it_is() -> None:
    found = srm.check({"control": 50_000, "treatment": 51_000}, EVEN)
    assert found.excess == {"control": -500, "treatment": 500}
    assert found.effect_size == pytest.approx(1000 / 101_000)  # of two even shares: their distance
    assert not found.is_mismatch
    assert srm.check({"control": 50_000, "treatment": 51_200}, EVEN).is_mismatch


def test_weights_are_relative_and_variants_of_weight_0_take_no_part() -> None:
    units = {"control": 900, "treatment": 1100}
    plain = srm.check(units, EVEN)
    scaled = srm.check({**units, "off": 40}, {"control": 5.0, "off": 0.0, "treatment": 5.0})
    assert (scaled.p_value, scaled.excess) == (plain.p_value, plain.excess)


def test_a_variant_that_nobody_is_in_counts_as_0() -> None:
    found = srm.check({"control": 100}, EVEN)
    assert found.units == {"control": 100, "treatment": 0}
    assert found.is_mismatch


@pytest.mark.parametrize(
    ("units", "weights", "why"),
    [
        ({}, EVEN, "not enough data: nobody entered"),
        ({"control": 0, "treatment": 0}, EVEN, "not enough data: nobody entered"),
        ({"control": 5}, {"control": 1.0, "treatment": 0.0}, "1 of the variants have a weight above 0"),
        ({}, {}, "0 of the variants have a weight above 0"),
    ],
)
def test_without_two_arms_or_anybody_there_is_no_test_and_a_reason(
    units: dict[str, int], weights: dict[str, float], why: str
) -> None:
    found = srm.check(units, weights)
    assert found.p_value is None
    assert not found.is_mismatch
    assert found.why_not is not None
    assert found.why_not.startswith(why)
    assert found.effect_size == 0


def test_one_unit_is_no_mismatch() -> None:
    assert srm.check({"treatment": 1}, EVEN).p_value == pytest.approx(1)
    assert not srm.check({"rare": 1}, {"rare": 0.01, "common": 0.99}, alpha=0.001).is_mismatch


@pytest.mark.parametrize(
    ("units", "weights", "named"),
    [
        ({"other": 1}, EVEN, "'other'"),
        ({"control": -1}, EVEN, "'control'"),
        ({"control": 1}, {"control": -1.0, "treatment": 1.0}, "'control'"),
        ({"control": 1}, {"control": 1.0, "treatment": float("nan")}, "'treatment'"),
        ({"control": 1}, {"control": 1.0, "treatment": float("inf")}, "'treatment'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(units: dict[str, int], weights: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        srm.check(units, weights)
    with pytest.raises(ValueError, match=named):
        srm.sequential([srm.Entries(units, weights)])


def test_parts_share_an_alpha_and_only_those_with_units() -> None:
    parts = {"new": {"control": 500, "treatment": 600}, "old": {"control": 500, "treatment": 500}, "none": {}}
    found = srm.several(parts, dict.fromkeys(parts, EVEN), alpha=0.01)
    assert [each.alpha for each in found.values()] == [0.005] * 3
    assert found["new"].is_mismatch
    assert not found["old"].is_mismatch
    assert found["none"].why_not == "not enough data: nobody entered"
    assert srm.several({}, {}) == {}


def test_each_phase_is_tested_against_its_own_weights() -> None:
    units = {"first": {"control": 9000, "treatment": 1000}, "second": {"control": 5000, "treatment": 5000}}
    weights = {"first": {"control": 9.0, "treatment": 1.0}, "second": EVEN}
    assert not any(each.is_mismatch for each in srm.several(units, weights).values())
    swapped = {"first": weights["second"], "second": weights["first"]}
    assert all(each.is_mismatch for each in srm.several(units, swapped).values())


def test_the_fixed_test_alarms_at_its_nominal_rate() -> None:
    rng, looks, alpha = np.random.default_rng(1), 10_000, 0.05
    draws = rng.multinomial(20_000, (0.5, 0.25, 0.25), size=looks)
    alarms = sum(srm.check(dict(zip(THREE, row, strict=True)), THREE, alpha).is_mismatch for row in draws.tolist())
    assert binom.ppf(5e-5, looks, alpha) <= alarms <= binom.ppf(1 - 5e-5, looks, alpha)


def test_the_sequential_factor_is_that_of_a_dirichlet_mixture() -> None:
    counts, shares = (130, 90, 80), (0.5, 0.25, 0.25)

    def log_factor(worth: float) -> float:
        chain = 0.0  # unit by unit: how likely the next one is under the mixture, over the weights
        seen = [0, 0, 0]
        for variant in [0] * counts[0] + [1] * counts[1] + [2] * counts[2]:
            chain += np.log((worth * shares[variant] + seen[variant]) / (worth + sum(seen)) / shares[variant])
            seen[variant] += 1
        return chain

    mean = np.mean([exp(log_factor(worth)) for worth in srm.CONCENTRATIONS])
    found = srm.sequential([srm.Entries(dict(zip(THREE, counts, strict=True)), THREE)])
    assert found.p_value == pytest.approx(min(1, 1 / mean), rel=1e-9)


def test_read_after_every_day_it_ever_alarms_in_at_most_its_alpha() -> None:
    rng, streams, days, alpha = np.random.default_rng(2), 1000, 60, 0.05
    weights = {"control": 0.8, "treatment": 0.2}
    sizes = rng.poisson(400, (streams, days))
    treated = rng.binomial(sizes, 0.2)
    alarms = fixed = 0
    for size, part in zip(sizes, treated, strict=True):
        arms = zip((size - part).tolist(), part.tolist(), strict=True)
        stream = [srm.Entries(dict(zip(weights, each, strict=True)), weights) for each in arms]
        alarms += srm.sequential(stream, alpha).first_alarm is not None
        total, seen = np.cumsum(size), np.cumsum(part)
        fixed += bool(np.any(np.abs(seen - 0.2 * total) > 1.96 * np.sqrt(total * 0.16)))
    assert alarms <= binom.ppf(1 - 1e-4, streams, alpha)
    assert fixed > 5 * alpha * streams  # what a chi-square every day would have done to the same streams


def test_with_weights_that_change_it_ever_alarms_in_at_most_its_alpha_still() -> None:
    rng, streams, alpha = np.random.default_rng(3), 1000, 0.05
    phases = [({"control": 0.9, "treatment": 0.1}, 0.1)] * 10 + [({"control": 0.5, "treatment": 0.5}, 0.5)] * 10
    alarms = 0
    for _ in range(streams):
        treated = [(weights, int(rng.binomial(300, p))) for weights, p in phases]
        stream = [srm.Entries({"control": 300 - k, "treatment": k}, weights) for weights, k in treated]
        alarms += srm.sequential(stream, alpha).first_alarm is not None
    assert alarms <= binom.ppf(1 - 1e-4, streams, alpha)


def test_what_two_phases_say_against_their_weights_adds_up() -> None:
    one = srm.Entries({"control": 400, "treatment": 500}, EVEN)
    other = srm.Entries({"control": 700, "treatment": 300}, {"control": 0.8, "treatment": 0.2})
    alone = [srm.sequential([each]).p_value or 1.0 for each in (one, other)]
    assert max(alone) < 1
    assert srm.sequential([one, other]).p_value == pytest.approx(alone[0] * alone[1])
    assert srm.sequential([other, one]).p_value == pytest.approx(alone[0] * alone[1])


@pytest.mark.parametrize(("share", "a_day", "by"), [(0.6, 100, 15), (0.51, 20_000, 10)])
def test_a_real_mismatch_is_seen_soon_large_among_few_and_small_among_many(share: float, a_day: int, by: int) -> None:
    treated = round(share * a_day)
    day = srm.Entries({"control": a_day - treated, "treatment": treated}, EVEN)
    first = srm.sequential([day] * by).first_alarm
    assert first is not None


def test_an_alarm_stays_and_no_entries_are_no_alarm() -> None:
    off, even = (
        srm.Entries({"control": 100, "treatment": 300}, EVEN),
        srm.Entries({"control": 300, "treatment": 300}, EVEN),
    )
    back = srm.Entries({"control": 300, "treatment": 100}, EVEN)
    found = srm.sequential([even, off, off, back, back, even])
    assert list(found.p_values) == sorted(found.p_values, reverse=True)
    assert found.first_alarm is not None
    assert found.p_value is not None
    assert found.p_value < found.alpha
    nobody = srm.sequential([])
    assert (nobody.p_value, nobody.first_alarm) == (None, None)
    assert srm.sequential([srm.Entries({}, EVEN)]).p_values == (1.0,)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_sequential_p_values_never_rise_and_stay_within_0_and_1(days: list[tuple[int, int]]) -> None:
    found = srm.sequential([srm.Entries({"control": a, "treatment": b}, EVEN) for a, b in days])
    assert len(found.p_values) == len(days)
    assert all(0 <= each <= 1 for each in found.p_values)
    assert list(found.p_values) == sorted(found.p_values, reverse=True)
