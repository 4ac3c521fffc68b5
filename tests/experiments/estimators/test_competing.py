"""Cumulative incidence against lifelines, statsmodels, units counted one by one, and a bootstrap."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from experiments.estimates import Level, Stratum
from experiments.estimators import competing, survival
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
    incidence,
    is_in_order,
    jackknifed,
    known,
    meets_0_at_its_p_value,
    risk_tables,
    says_why,
    strata_of_risk,
    table,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifelines import AalenJohansenFitter
    from statsmodels.duration.survfunc import CumIncidenceRight
    from statsmodels.stats.proportion import proportion_confint


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    return drawn(np.random.default_rng(1), 400, event=0.01, competing=0.012, censored=0.012)


def fitted(units: list[Unit]) -> AalenJohansenFitter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter = AalenJohansenFitter(jitter_level=1e-6, seed=1)
        return fitter.fit([each.time for each in units], [each.fate for each in units], event_of_interest=EVENT)


def test_without_ties_of_both_kinds_curve_variance_and_limits_are_those_of_lifelines(units: list[Unit]) -> None:
    # lifelines shakes the times as soon as events of two kinds tie: so here none of two kinds do.
    apart = [each._replace(day=2 * each.day + (each.fate == COMPETING)) for each in units]
    theirs = fitted(apart)
    last = 2 * HORIZON
    ours = competing.curve(table(apart), last)
    at = [each for each in theirs.cumulative_density_.index if 0 < each <= last]
    days = np.array(at, dtype=int)
    assert len(days) > HORIZON
    assert ours.estimate[days] == pytest.approx(theirs.cumulative_density_.loc[at, "CIF_1"].to_numpy(), abs=1e-12)
    known_there = ours.estimate[days] > 0
    limits = pd.DataFrame(theirs.confidence_interval_).loc[at].to_numpy()[known_there]
    assert ours.low[days][known_there] == pytest.approx(limits.min(axis=1), abs=1e-9)
    assert ours.high[days][known_there] == pytest.approx(limits.max(axis=1), abs=1e-9)
    share = competing.incidence(table(apart), int(days[-1]))
    assert share.variance == pytest.approx(pd.Series(theirs.variance_).loc[at[-1]], rel=1e-9)


def test_with_ties_lifelines_agrees_but_for_the_order_in_which_it_shakes_them(units: list[Unit]) -> None:
    theirs = pd.DataFrame(fitted(units).cumulative_density_).reset_index().to_numpy()
    ours = competing.curve(table(units), HORIZON)
    shaken = theirs[theirs[:, 0] <= HORIZON + 0.5, 1]
    assert ours.estimate[-1] == pytest.approx(shaken[-1], abs=0.002)


def test_with_ties_estimate_and_error_are_those_of_statsmodels(units: list[Unit]) -> None:
    time = np.array([each.time for each in units], dtype=float)
    theirs = CumIncidenceRight(time, np.array([each.fate for each in units]))
    assert theirs.cinc_se is not None
    for day in (1, 7, HORIZON):
        at = np.searchsorted(theirs.times, day, side="right") - 1
        ours = competing.incidence(table(units), day)
        assert ours.estimate == pytest.approx(theirs.cinc[0][at], abs=1e-12)
        assert np.sqrt(ours.variance) == pytest.approx(theirs.cinc_se[0][at], rel=1e-9)


def test_estimate_and_variance_are_those_of_units_one_by_one() -> None:
    few = drawn(np.random.default_rng(2), 80, event=0.03, competing=0.03, censored=0.02)
    ours = competing.incidence(table(few), HORIZON)
    assert ours.estimate == pytest.approx(incidence(few, np.ones(len(few)), HORIZON), abs=1e-12)
    assert ours.variance == pytest.approx(jackknifed(incidence, few, HORIZON), rel=1e-6)


def test_the_variance_is_that_of_a_bootstrap(units: list[Unit]) -> None:
    rng, again = np.random.default_rng(3), 2000
    kinds = sorted(set(units))
    shares = np.array([units.count(each) for each in kinds]) / len(units)
    found = [
        competing.incidence(tabled(kinds, rng.multinomial(len(units), shares)), HORIZON).estimate for _ in range(again)
    ]
    # The variance of 2,000 repeats has itself an error of about sqrt(2 / 2,000), 3.2 %: four of these.
    ours = competing.incidence(table(units), HORIZON).variance
    assert np.var(found) == pytest.approx(ours, rel=0.13)


def tabled(kinds: list[Unit], counts: np.ndarray) -> RiskTable:
    parts: dict[int, dict[int, int]] = {EVENT: {}, COMPETING: {}, CENSORED: {}}
    for kind, count in zip(kinds, counts.tolist(), strict=True):
        parts[kind.fate][kind.day] = count
    return RiskTable(parts[EVENT], parts[COMPETING], parts[CENSORED])


def test_treating_exits_as_censoring_would_have_said_twice_as_much() -> None:
    # 1,000 units; on day 0 half of them leave. Of the others half unsubscribe on day 1: 250 of 1,000, not half.
    exits = RiskTable(events={1: 250}, competing={0: 500}, censored={2: 250})
    naive = 1 - survival.curve(exits, 2, cause_specific=True).estimate[-1]
    assert competing.incidence(exits, 2).estimate == pytest.approx(0.25)
    assert naive == pytest.approx(0.5)


def test_the_difference_does_not_follow_exits_as_naive_curves_do() -> None:
    # The same unsubscribes a unit in both arms; in one more leave first. Naive curves see an effect.
    control = RiskTable(events={1: 300}, competing={0: 100}, censored={2: 600})
    treatment = RiskTable(events={1: 300}, competing={0: 600}, censored={2: 100})
    found = competing.difference([Stratum(control, treatment)], 2, LEVEL)
    assert found.effect == pytest.approx(0, abs=1e-15)
    naive = [1 - survival.curve(each, 2, cause_specific=True).estimate[-1] for each in (control, treatment)]
    assert naive[1] - naive[0] > 0.4


@given(risk_tables())
def test_without_competing_events_it_is_1_less_kaplan_meier_with_greenwood_s_variance(risk: RiskTable) -> None:
    alone = RiskTable(risk.events, {}, risk.censored)
    ours, theirs = competing.curve(alone, 14), survival.curve(alone, 14)
    assert ours.estimate == pytest.approx(1 - theirs.estimate, abs=1e-12)
    assert ours.at_risk.tolist() == theirs.at_risk.tolist()
    if len(ours) > 1:
        last = int(ours.days[-1])
        days = alone.days(last)
        remaining = np.maximum(days.at_risk - days.events, 1)
        relative = np.where(days.at_risk > days.events, days.events / (np.maximum(days.at_risk, 1) * remaining), 0)
        greenwood = theirs.estimate[-1] ** 2 * relative.sum()
        assert competing.incidence(alone, last).variance == pytest.approx(greenwood, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from((EVENT, COMPETING))), min_size=1), st.integers(0, 50))
def test_without_censoring_it_is_the_proportion_of_all_units(events: list[tuple[int, int]], staying: int) -> None:
    risk = table([Unit(day, fate) for day, fate in events] + [Unit(10, CENSORED)] * staying)
    share = competing.incidence(risk, 10)
    plain = sum(fate == EVENT for _, fate in events) / risk.count
    assert share.estimate == pytest.approx(plain, abs=1e-12)
    assert share.variance == pytest.approx(plain * (1 - plain) / risk.count, abs=1e-12)
    assert share.units == pytest.approx(risk.count, rel=1e-6)


@given(risk_tables(), st.integers(1, 14))
def test_both_incidences_and_those_who_stay_are_everybody(risk: RiskTable, horizon: int) -> None:
    ours = competing.curve(risk, horizon).estimate
    others = competing.curve(RiskTable(risk.competing, risk.events, risk.censored), horizon).estimate
    assert ours + others + survival.curve(risk, horizon).estimate == pytest.approx(np.ones(len(ours)))


@given(risk_tables(), st.sampled_from((0.001, 0.05, 0.5)))
def test_every_curve_rises_within_its_limits(risk: RiskTable, alpha: float) -> None:
    ours = competing.curve(risk, 14, alpha)
    assert np.all(np.diff(ours.estimate) >= -1e-15)
    assert np.all((ours.low >= 0) & (ours.low <= ours.estimate) & (ours.estimate <= ours.high) & (ours.high <= 1))


@pytest.mark.parametrize(
    ("events", "units"),
    [
        ((30, 45), (400, 380)),
        ((2, 11), (500, 60)),
        ((5, 0), (90, 80)),
        ((60, 40), (70, 70)),
        ((9000, 9700), (90_000, 90_000)),
    ],
)
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_without_censoring_the_interval_is_mover_of_statsmodels_proportions(
    events: tuple[int, int], units: tuple[int, int], alpha: float
) -> None:
    arms = [RiskTable({3: x}, {5: 10}, {HORIZON: n - x - 10}) for x, n in zip(events, units, strict=True)]
    _, low, high, _ = known(competing.difference([Stratum(*arms)], HORIZON, Level(alpha)))
    # At 0 events the limits are Clopper and Pearson's, which statsmodels calls "beta"; elsewhere Jeffreys'.
    theirs = [
        proportion_confint(x, n, alpha=alpha, method="jeffreys" if x else "beta")
        for x, n in zip(events, units, strict=True)
    ]
    (p0, p1), (low0, high0), (low1, high1) = (x / n for x, n in zip(events, units, strict=True)), *theirs
    assert low == pytest.approx(p1 - p0 - np.hypot(p1 - low1, high0 - p0), abs=1e-9)
    assert high == pytest.approx(p1 - p0 + np.hypot(high1 - p1, p0 - low0), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_p_value_is_the_alpha_at_which_the_interval_meets_0(alpha: float, comparisons: int) -> None:
    rng = np.random.default_rng(4)
    arms = [table(drawn(rng, 700, event=rate, competing=0.01, censored=0.01)) for rate in (0.01, 0.018)]
    assert meets_0_at_its_p_value(
        lambda level: competing.difference([Stratum(*arms)], HORIZON, level), Level(alpha, comparisons)
    )


def test_arms_far_apart_have_a_tiny_p_value_and_not_0() -> None:
    arms = RiskTable(censored={HORIZON: 100_000}), RiskTable({1: 100_000})
    effect, low, _, p_value = known(competing.difference([Stratum(*arms)], HORIZON, LEVEL))
    assert effect == 1
    assert low > 0.999
    assert 0 < p_value < 1e-100


def test_an_arm_without_events_is_not_sure_of_it() -> None:
    arms = RiskTable(censored={HORIZON: 200}), RiskTable({2: 9}, censored={HORIZON: 191})
    _, low, high, _ = known(competing.difference([Stratum(*arms)], HORIZON, LEVEL))
    assert 0 < low < 9 / 200 < high
    other = RiskTable(censored={4: 150, HORIZON: 50}), arms[1]
    _, fewer, _, _ = known(competing.difference([Stratum(*other)], HORIZON, LEVEL))
    assert fewer < low


def test_the_interval_covers_with_staggered_entry_and_arms_of_different_sizes() -> None:
    looks, horizon, misses = 1500, 28, np.zeros(2)
    rng = np.random.default_rng(5)
    truth = [rate / (rate + 0.006) * (1 - (1 - rate - 0.006) ** horizon) for rate in (0.004, 0.006)]
    for _ in range(looks):
        arms = [staggered(rng, size, rate, 0.006, horizon) for size, rate in ((3000, 0.004), (900, 0.006))]
        _, low, high, _ = known(competing.difference([Stratum(*arms)], horizon, LEVEL))
        misses += (low > truth[1] - truth[0], high < truth[1] - truth[0])
    least, most = binom.ppf((1e-5, 1 - 1e-5), looks, 0.025)
    assert all(least <= each <= most for each in misses)


def staggered(rng: np.random.Generator, size: int, event: float, other: float, horizon: int) -> RiskTable:
    """Units that entered on one of 42 days, and are watched since."""
    left = rng.geometric(event + other, size) - 1
    watched = rng.integers(14, 56, size)
    fates = np.where(left >= watched, CENSORED, np.where(rng.random(size) < event / (event + other), EVENT, COMPETING))
    days = np.minimum(np.minimum(left, watched), horizon)
    fates = np.where(days == horizon, CENSORED, fates)
    parts = [np.bincount(days[fates == fate], minlength=1) for fate in (EVENT, COMPETING, CENSORED)]
    return RiskTable(*(dict(enumerate(each.tolist())) for each in parts))


@pytest.mark.parametrize(
    ("control", "treatment", "why"),
    [
        (WATCHED, RiskTable(), "the treatment has no units"),
        (RiskTable({1: 1}), WATCHED, "the control has 1 unit, at least 20"),
        (WATCHED, RiskTable({1: 5}, {2: 3}, {HORIZON - 1: 500}), "the treatment has nobody still under observation"),
        (RiskTable(censored={HORIZON: 50}), RiskTable({}, {2: 9}, {HORIZON: 60}), "the event came to no unit"),
        (RiskTable({4: 50}), RiskTable({1: 20, 6: 40}), "or to every one"),
    ],
)
def test_what_cannot_be_known_is_unknown_and_says_why(control: RiskTable, treatment: RiskTable, why: str) -> None:
    found = competing.difference([Stratum(control, treatment)], HORIZON, LEVEL)
    assert says_why(found, why)


@pytest.mark.parametrize(("risk", "days"), [(RiskTable(), []), (RiskTable(censored={0: 7}), [0]), (WATCHED, [0, 1, 2])])
def test_curves_of_hardly_any_data_are_short_and_finite(risk: RiskTable, days: list[int]) -> None:
    ours = competing.curve(risk, 2)
    assert ours.days.tolist() == days
    assert all(np.isfinite(values).all() for values in (ours.estimate, ours.low, ours.high))


def test_a_horizon_of_less_than_a_day_or_beyond_what_was_watched_is_refused() -> None:
    for wrong in (lambda: competing.curve(WATCHED, 0), lambda: competing.difference([], 0, LEVEL)):
        with pytest.raises(ValueError, match="horizon"):
            wrong()
    with pytest.raises(ValueError, match="nobody at risk after 30 days"):
        competing.incidence(WATCHED, HORIZON + 1)


@given(strata_of_risk(), st.integers(1, 14))
def test_every_difference_is_unknown_or_finite_with_its_effect_inside(
    strata: list[Stratum[RiskTable]], horizon: int
) -> None:
    found = competing.difference(strata, horizon, LEVEL)
    assert is_in_order(found)
    if found.is_known:
        _, low, high, _ = known(found)
        assert -1 <= low < high <= 1
