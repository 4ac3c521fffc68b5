"""Leaks, balance before exposure, and matured rates beside survival estimates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_ind

from experiments.estimators import checks, competing
from experiments.moments import Counts, Moments
from experiments.risk import RiskTable


def moments(values: np.ndarray) -> Moments:
    off = values - values.mean()
    return Moments(len(values), values.mean(), (off**2).sum(), (off**3).sum(), int((values != 0).sum()))


def test_a_variant_of_weight_0_with_units_leaks() -> None:
    weights = {"control": 1.0, "treatment": 1.0, "off": 0.0, "empty": 0.0}
    assert checks.leak({"control": 9, "off": 3, "empty": 0, "treatment": 8}, weights) == (checks.Leak("off", 3),)


def test_units_in_a_variant_without_any_weight_leak_and_nobody_does_not() -> None:
    assert checks.leak({"stranger": 2}, {"control": 1.0}) == (checks.Leak("stranger", 2),)
    assert checks.leak({}, {"off": 0.0}) == ()


def test_balance_is_welch_s_test_as_scipy_has_it() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.gamma(0.4, 30, 500), rng.gamma(0.5, 30, 80)
    (found,) = checks.balance({"spend": {"control": moments(one), "treatment": moments(other)}}, "control")
    _, p_value = ttest_ind(other, one, equal_var=False)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert found.difference == pytest.approx(other.mean() - one.mean())
    deviation = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    assert found.in_deviations == pytest.approx((other.mean() - one.mean()) / deviation)


def test_balance_is_corrected_for_all_looks() -> None:
    rng = np.random.default_rng(2)
    arms = {name: moments(rng.normal(size=200)) for name in ("control", "one", "three")}
    alone = checks.balance({"spend": {"control": arms["control"], "one": arms["one"]}}, "control")[0]
    found = checks.balance({"spend": arms, "visits": arms}, "control")
    assert [(each.metric, each.variant) for each in found] == [
        (metric, variant) for metric in ("spend", "visits") for variant in ("one", "three")
    ]
    assert all(each.comparisons == 4 for each in found)
    assert alone.p_value is not None
    assert found[0].p_value == pytest.approx(min(1, 4 * alone.p_value))


def test_balance_alarms_in_at_most_its_alpha_and_sees_what_is_off() -> None:
    rng, looks, alpha, alarms = np.random.default_rng(3), 2000, 0.05, 0
    for _ in range(looks):
        before = {
            name: {arm: moments(rng.normal(3, 2, size)) for arm, size in (("control", 60), ("treatment", 40))}
            for name in ("spend", "visits")
        }
        alarms += any(each.is_off for each in checks.balance(before, "control", alpha))
    assert binom.ppf(1e-4, looks, 0.0494) <= alarms <= binom.ppf(1 - 1e-4, looks, alpha)
    off = {"spend": {"control": moments(rng.normal(3, 2, 400)), "treatment": moments(rng.normal(4, 2, 400))}}
    assert checks.balance(off, "control")[0].is_off


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (Moments(), Moments(5, 1.0, 3.0), "not enough data: 0 and 5 units"),
        (Moments(1, 2.0), Moments(1, 3.0), "not enough data: 1 and 1 unit in"),
        (Moments(50, 2.0), Moments(50, 3.0), "nothing varies: every unit has 2 in the control and 3 in treatment"),
        (Moments(50, 0.1, 1e-31), Moments(50, 0.1 + 1e-16, 1e-31), "nothing varies"),
    ],
)
def test_what_cannot_be_tested_says_why_and_is_not_off(one: Moments, other: Moments, why: str) -> None:
    (found,) = checks.balance({"spend": {"control": one, "treatment": other}}, "control")
    assert (found.difference, found.in_deviations, found.p_value) == (None, None, None)
    assert not found.is_off
    assert found.why_not is not None
    assert found.why_not.startswith(why)


def test_balance_of_nothing_is_nothing() -> None:
    assert checks.balance({}, "control") == ()
    assert checks.balance({"spend": {"treatment": Moments(5, 1.0, 3.0)}}, "control") == ()


def cohorts(rng: np.random.Generator, early: float, late: float) -> tuple[Counts, RiskTable]:
    """6,000 units over 56 days of entry, watched until day 56, with a rate a day that changes half way; horizon 28."""
    entered = rng.integers(0, 56, 6000)
    left = np.where(entered < 28, rng.geometric(early, 6000), rng.geometric(late, 6000)) - 1
    watched = 56 - entered
    happened = left < watched
    events = np.bincount(left[happened])
    censored = np.bincount(watched[~happened])
    mature = watched >= 28
    matured = Counts(int((left[mature] < 28).sum()), int(mature.sum()))
    return matured, RiskTable(dict(enumerate(events.tolist())), censored=dict(enumerate(censored.tolist())))


def test_matured_rate_and_survival_estimate_part_by_chance_in_alpha() -> None:
    rng, looks, alpha = np.random.default_rng(4), 2000, 0.05
    warned = sum(checks.maturity(*cohorts(rng, 0.01, 0.01), 28, alpha) is not None for _ in range(looks))
    assert binom.ppf(5e-5, looks, alpha) <= warned <= binom.ppf(1 - 5e-5, looks, alpha)


def test_units_that_entered_later_and_leave_sooner_are_warned_of() -> None:
    matured, table = cohorts(np.random.default_rng(5), 0.01, 0.02)
    found = checks.maturity(matured, table, 28)
    assert found is not None
    assert found.matured == matured.rate
    assert found.estimate == competing.incidence(table, 28).estimate
    assert found.estimate > found.matured
    assert found.errors_apart > 3
    assert found.p_value < 0.01


def test_where_all_are_mature_there_is_nothing_to_warn_of() -> None:
    assert checks.maturity(Counts(30, 100), RiskTable({3: 30}, censored={28: 70}), 28) is None


def test_a_matured_rate_that_no_chance_explains_is_warned_of_even_without_censoring() -> None:
    assert checks.maturity(Counts(60, 100), RiskTable({3: 30}, censored={28: 70}), 28) is not None


@pytest.mark.parametrize(
    ("matured", "table"),
    [
        (Counts(), RiskTable()),
        (Counts(1, 1), RiskTable({0: 1})),
        (Counts(3, 19), RiskTable({3: 30}, censored={28: 70})),
        (Counts(10, 100), RiskTable(censored={0: 100})),
        (Counts(10, 100), RiskTable({3: 30}, censored={20: 70})),
        (Counts(0, 100), RiskTable(censored={28: 100})),
        (Counts(100, 100), RiskTable({0: 100})),
    ],
)
def test_without_enough_to_compare_there_is_no_warning(matured: Counts, table: RiskTable) -> None:
    assert checks.maturity(matured, table, 28) is None


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_a_warning_is_always_of_finite_numbers(
    successes: int, failures: int, events: int, gone: int, stay: int
) -> None:
    table = RiskTable({2: events}, {3: gone}, {1: gone, 28: stay})
    found = checks.maturity(Counts(successes, successes + failures), table, 28)
    if found is not None:
        assert 0 <= found.p_value < 0.01
        assert 0 <= found.estimate <= 1
        assert 2.5 < found.errors_apart < float("inf")
