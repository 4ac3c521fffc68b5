"""Kaplan-Meier and restricted means against lifelines, against units counted one by one, and at the edges."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from experiments.estimates import Level, Stratum
from experiments.estimators import survival
from experiments.risk import RiskTable
from tests.experiments.risk_oracle import (
    CENSORED,
    COMPETING,
    EVENT,
    HORIZON,
    LEVEL,
    WATCHED,
    Unit,
    drawn,
    is_in_order,
    jackknifed,
    known,
    mean_days,
    meets_0_at_its_p_value,
    risk_tables,
    says_why,
    strata_of_risk,
    table,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time


def fitted(units: list[Unit], *, cause_specific: bool = False) -> KaplanMeierFitter:
    fates = (EVENT,) if cause_specific else (EVENT, COMPETING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KaplanMeierFitter().fit(
            [each.time for each in units], [each.fate in fates for each in units], timeline=range(HORIZON + 1)
        )


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    return drawn(np.random.default_rng(1), 400, event=0.01, competing=0.006, censored=0.015)


@pytest.fixture(scope="module")
def stratum() -> Stratum[RiskTable]:
    rng = np.random.default_rng(2)
    return Stratum(
        table(drawn(rng, 900, event=0.01, competing=0.004, censored=0.01)),
        table(drawn(rng, 600, event=0.015, competing=0.004, censored=0.01)),
    )


@pytest.mark.parametrize("cause_specific", [False, True])
def test_the_curve_and_its_intervals_are_those_of_lifelines(units: list[Unit], cause_specific: bool) -> None:
    ours = survival.curve(table(units), HORIZON, cause_specific=cause_specific)
    theirs = fitted(units, cause_specific=cause_specific)
    assert ours.days.tolist() == list(range(HORIZON + 1))
    assert ours.estimate == pytest.approx(theirs.survival_function_["KM_estimate"].to_numpy(), abs=1e-12)
    limits = theirs.confidence_interval_survival_function_.to_numpy()
    events = ours.estimate < 1  # before the first event lifelines has no width at all
    assert ours.low[events] == pytest.approx(limits[events, 0], abs=1e-9)
    assert ours.high[events] == pytest.approx(limits[events, 1], abs=1e-9)


def test_numbers_at_risk_are_those_still_watched_after_so_many_days(units: list[Unit]) -> None:
    ours = survival.curve(table(units), HORIZON)
    for day in range(HORIZON + 1):
        assert ours.at_risk[day] == sum(
            each.time > day or (each.fate == CENSORED and each.time == day) for each in units
        )


def test_a_curve_before_the_first_event_is_1_and_not_sure_of_it() -> None:
    ours = survival.curve(RiskTable({5: 2}, censored={9: 98}), 9)
    assert ours.estimate[:6].tolist() == [1.0] * 6
    assert (ours.low[0], ours.high[0]) == (1, 1)
    assert all(0.9 < low < 1 for low in ours.low[1:6])


def test_a_curve_cannot_be_written_to_nor_through_what_it_was_made_from(units: list[Unit]) -> None:
    ours = survival.curve(table(units), HORIZON)
    for values in (ours.days, ours.estimate, ours.low, ours.high, ours.at_risk):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_a_curve_ends_where_nobody_is_left_to_speak_for_the_days_after() -> None:
    ours = survival.curve(RiskTable({2: 5}, censored={4: 5}), HORIZON)
    assert ours.days.tolist() == [0, 1, 2, 3, 4]
    assert ours.at_risk.tolist() == [10, 10, 10, 5, 5]


def test_a_curve_goes_on_at_0_once_all_have_left_by_an_event() -> None:
    ours = survival.curve(RiskTable({2: 50}), 5)
    assert ours.estimate.tolist() == [1, 1, 1, 0, 0, 0]
    assert ours.low[3:].tolist() == [0, 0, 0]
    assert all(0 < high < 0.1 for high in ours.high[3:])


@pytest.mark.parametrize(
    ("risk", "days"),
    [
        (RiskTable(), []),
        (RiskTable(censored={0: 7}), [0]),
        (RiskTable({0: 1}), [0, 1, 2]),
        (RiskTable({0: 9}), [0, 1, 2]),
    ],
)
def test_curves_of_hardly_any_data_are_short_and_finite(risk: RiskTable, days: list[int]) -> None:
    ours = survival.curve(risk, 2)
    assert ours.days.tolist() == days
    assert all(np.isfinite(values).all() for values in (ours.estimate, ours.low, ours.high))


@given(risk_tables(), st.booleans(), st.sampled_from((0.001, 0.05, 0.5)))
def test_every_curve_falls_within_its_limits(risk: RiskTable, cause_specific: bool, alpha: float) -> None:
    ours = survival.curve(risk, 14, alpha, cause_specific=cause_specific)
    assert np.all(np.diff(ours.estimate) <= 0)
    assert np.all((ours.low >= 0) & (ours.low <= ours.estimate) & (ours.estimate <= ours.high) & (ours.high <= 1))


def test_competing_exits_end_staying_unless_asked_for_the_cause_alone(units: list[Unit]) -> None:
    both, cause = (survival.curve(table(units), HORIZON, cause_specific=each) for each in (False, True))
    assert cause.estimate[-1] > both.estimate[-1] + 0.05
    assert both.estimand != cause.estimand


def test_the_restricted_mean_is_that_of_lifelines(units: list[Unit]) -> None:
    theirs = restricted_mean_survival_time(fitted(units), t=HORIZON)
    assert survival.restricted_mean(table(units), HORIZON).estimate * HORIZON == pytest.approx(theirs, abs=1e-9)


def test_without_censoring_its_variance_is_that_of_a_mean_as_lifelines_has_it() -> None:
    units = drawn(np.random.default_rng(3), 300, event=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_one_unit = np.array(restricted_mean_survival_time(fitted(units), t=HORIZON, return_variance=True))[1]
    # What lifelines calls the variance is that of one unit's time, not of the estimate: hence by the units. It
    # integrates the steps by quadrature, and warns that this is not exact.
    ours = survival.restricted_mean(table(units), HORIZON).variance * HORIZON**2
    assert ours == pytest.approx(of_one_unit / len(units), rel=1e-3)
    days = np.minimum([each.time for each in units], HORIZON)
    assert ours == pytest.approx(np.var(days) / len(units), rel=1e-12)


def test_with_censoring_its_variance_is_the_infinitesimal_jackknife_s() -> None:
    units = drawn(np.random.default_rng(4), 80, event=0.03, competing=0.01, censored=0.02)
    ours = survival.restricted_mean(table(units), HORIZON)
    assert ours.estimate * HORIZON == pytest.approx(mean_days(units, np.ones(len(units)), HORIZON), abs=1e-12)
    assert ours.variance * HORIZON**2 == pytest.approx(jackknifed(mean_days, units, HORIZON), rel=1e-6)


def test_an_event_of_the_last_day_changes_no_restricted_mean() -> None:
    one, other = RiskTable({HORIZON - 1: 30}), RiskTable(censored={HORIZON: 30})
    assert survival.restricted_mean(one, HORIZON).estimate == survival.restricted_mean(other, HORIZON).estimate == 1


def test_the_difference_is_in_days_and_near_the_normal_interval_where_many_units_are() -> None:
    rng = np.random.default_rng(5)
    arms = [table(drawn(rng, 3000, event=rate, censored=0.01)) for rate in (0.02, 0.025)]
    found = survival.restricted_mean_difference([Stratum(*arms)], HORIZON, LEVEL)
    means = [survival.restricted_mean(arm, HORIZON) for arm in arms]
    effect = HORIZON * (means[1].estimate - means[0].estimate)
    error = HORIZON * np.sqrt(means[0].variance + means[1].variance)
    assert found.effect == pytest.approx(effect, abs=1e-12)
    assert found.low == pytest.approx(effect - 1.959964 * error, abs=error / 50)
    assert found.high == pytest.approx(effect + 1.959964 * error, abs=error / 50)


def test_the_difference_in_a_skewed_small_arm_is_covered_on_both_sides() -> None:
    # 500 treated units with about 22 events: here the normal interval misses 4.6 % on one side and 1.0 % on the other.
    rng, looks, horizon = np.random.default_rng(6), 2000, 90
    misses = np.zeros(2)
    for _ in range(looks):
        arms = [geometric(rng, size, 0.0005, horizon) for size in (5000, 500)]
        _, low, high, _ = known(survival.restricted_mean_difference([Stratum(*arms)], horizon, LEVEL))
        misses += (low > 0, high < 0)
    least, most = binom.ppf((1e-5, 1 - 1e-5), looks, 0.025)
    assert all(least <= each <= most for each in misses)


def geometric(rng: np.random.Generator, size: int, rate: float, horizon: int) -> RiskTable:
    days = rng.geometric(rate, size) - 1
    left, counts = np.unique(days[days < horizon], return_counts=True)
    return RiskTable(
        dict(zip(left.tolist(), counts.tolist(), strict=True)), censored={horizon: int((days >= horizon).sum())}
    )


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_p_value_is_the_alpha_at_which_the_interval_meets_0(
    stratum: Stratum[RiskTable], alpha: float, comparisons: int
) -> None:
    assert meets_0_at_its_p_value(
        lambda level: survival.restricted_mean_difference([stratum], HORIZON, level), Level(alpha, comparisons)
    )


def test_exchanged_arms_exchange_the_sign(stratum: Stratum[RiskTable]) -> None:
    effect, low, high, p_value = known(survival.restricted_mean_difference([stratum], HORIZON, LEVEL))
    other = survival.restricted_mean_difference([Stratum(stratum.treatment, stratum.control)], HORIZON, LEVEL)
    assert known(other) == pytest.approx((-effect, -high, -low, p_value))


def test_a_phase_in_which_an_arm_has_no_units_or_is_not_watched_so_long_is_left_out(
    stratum: Stratum[RiskTable],
) -> None:
    plain = survival.restricted_mean_difference([stratum], HORIZON, LEVEL)
    young = Stratum(stratum.control, RiskTable({3: 5}, censored={10: 500}))
    for other in (Stratum(RiskTable(), stratum.treatment), young):
        found = survival.restricted_mean_difference([stratum, other], HORIZON, LEVEL)
        assert (found.effect, found.low, found.high, found.p_value) == (
            plain.effect,
            plain.low,
            plain.high,
            plain.p_value,
        )
        assert "1 of 2 phases" in found.method


def test_phases_weigh_by_their_sizes_whatever_became_of_the_units() -> None:
    rng = np.random.default_rng(7)
    arms = [table(drawn(rng, size, event=rate)) for size, rate in ((200, 0.01), (100, 0.01), (300, 0.05), (300, 0.04))]
    strata = [Stratum(*arms[:2]), Stratum(*arms[2:])]
    each = [survival.restricted_mean_difference([one], HORIZON, LEVEL).effect for one in strata]
    weights = np.array([200 * 100 / 300, 300 * 300 / 600])
    found = survival.restricted_mean_difference(strata, HORIZON, LEVEL)
    assert found.effect == pytest.approx(np.average(np.array(each, dtype=float), weights=weights), abs=1e-12)


def test_two_phases_alike_say_the_same_with_half_the_variance(stratum: Stratum[RiskTable]) -> None:
    effect, low, high, _ = known(survival.restricted_mean_difference([stratum], HORIZON, LEVEL))
    both, both_low, both_high, _ = known(survival.restricted_mean_difference([stratum, stratum], HORIZON, LEVEL))
    assert both == pytest.approx(effect)
    assert (high - low) / (both_high - both_low) == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(
    ("control", "treatment", "why"),
    [
        (RiskTable(), WATCHED, "the control has no units"),
        (WATCHED, RiskTable({1: 1}), "the treatment has 1 unit, at least 20"),
        (WATCHED, RiskTable({1: 5}, censored={HORIZON - 1: 500}), "the treatment has nobody still under observation"),
        (WATCHED, RiskTable({1: 5}, censored={9: 500, HORIZON: 19}), "the treatment has only 19 units still"),
        (RiskTable(censored={0: 50}), WATCHED, "the control has nobody still"),
        (RiskTable(censored={HORIZON: 50}), RiskTable(censored={HORIZON: 60}), "no unit stayed longer"),
        (RiskTable({4: 50}), RiskTable({4: 60}), "no unit stayed longer"),
    ],
)
def test_what_cannot_be_known_is_unknown_and_says_why(control: RiskTable, treatment: RiskTable, why: str) -> None:
    found = survival.restricted_mean_difference([Stratum(control, treatment)], HORIZON, LEVEL)
    assert says_why(found, why)


def test_no_strata_at_all_are_unknown_too() -> None:
    assert survival.restricted_mean_difference([], HORIZON, LEVEL).why_not == "not enough data: there are no units"


def test_all_having_left_before_the_horizon_is_known_since_everybody_s_time_is() -> None:
    found = survival.restricted_mean_difference(
        [Stratum(RiskTable({2: 30, 4: 30}), RiskTable({6: 30, 8: 30}))], HORIZON, LEVEL
    )
    assert found.effect == pytest.approx(4)
    assert found.excludes(0)


def test_few_left_at_the_horizon_are_enough_where_nobody_was_censored_before() -> None:
    control, treatment = RiskTable({2: 55}, censored={HORIZON: 5}), RiskTable({9: 57}, censored={HORIZON: 3})
    effect, *_ = known(survival.restricted_mean_difference([Stratum(control, treatment)], HORIZON, LEVEL))
    assert effect == pytest.approx((57 * 10 + 3 * HORIZON - 55 * 3 - 5 * HORIZON) / 60)


@pytest.mark.parametrize("horizon", [0, -1])
def test_a_horizon_of_less_than_a_day_is_refused(horizon: int) -> None:
    for wrong in (
        lambda: survival.curve(WATCHED, horizon),
        lambda: survival.restricted_mean(WATCHED, horizon),
        lambda: survival.restricted_mean_difference([], horizon, LEVEL),
    ):
        with pytest.raises(ValueError, match="horizon"):
            wrong()


def test_a_restricted_mean_beyond_what_was_watched_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody at risk after 5 days"):
        survival.restricted_mean(RiskTable({1: 2}, censored={5: 3}), 6)


@given(strata_of_risk(), st.integers(1, 14))
def test_every_difference_is_unknown_or_finite_with_its_effect_inside(
    strata: list[Stratum[RiskTable]], horizon: int
) -> None:
    found = survival.restricted_mean_difference(strata, horizon, LEVEL)
    assert is_in_order(found)
    if found.is_known:
        _, low, high, _ = known(found)
        assert -horizon <= low < high <= horizon
