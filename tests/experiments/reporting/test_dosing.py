"""Doses beside the contacts that were received, and when one is recommended."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import experiments as ex
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import Direction, Inference, Mean, Metric, Outcome, Role, Survival, Value, Variant
from experiments.estimates import Estimate, Level
from experiments.estimators import anytime
from experiments.estimators.dose import DoseRow, DoseTable
from experiments.moments import Counts, Moments, PairMoments
from experiments.readout import Doses, Readout
from experiments.reporting.families import MONEY_ALONE
from experiments.risk import RiskTable
from tests.experiments.handmade import a_metric, a_readout, an_estimate
from tests.experiments.planned import (
    ALL,
    LEFT,
    LEFTS,
    SPEND,
    SPENDS,
    START,
    VISIT,
    VISITS,
    a_plan,
    a_value,
    by_variant,
    pairs,
    some,
    strata,
)


def test_doses_stand_beside_the_contacts_that_were_received() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    received = {name: Moments(9_000, mean, 9_000.0) for name, mean in (("one", 0.8), ("three", 1.9), ("five", 2.4))}
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, received=received))
    assert [(each.dose, each.per_week) for each in found.received] == [(1, 0.8), (3, 1.9), (5, 2.4)]
    assert [each.metric for each in found.doses] == ["visit", "left", "spend"]
    effects = [row.effect for each in found.doses for row in each.table.rows]
    assert [effect is None for effect in effects] == [True, False, False] * 3
    assert all(effect is None or effect.p_value is None for effect in effects)
    page = str(found)
    assert page.index("WHAT CHANGED FOR CUSTOMERS") < page.index("three AGAINST one")
    assert "limit 3: 1.9 contacts a customer and week, over 9,000 customers" in page
    assert found.recommendation is not None
    assert found.recommendation.variant == "three"
    assert "has the best visit of the doses" in found.recommendation.sentence
    assert "its visit is" in found.recommendation.sentence
    assert found.recommendation.sentence in " ".join(page.split())
    assert Readout.from_json(found.to_json()) == found


def test_no_dose_is_recommended_before_the_end() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, as_of=START + timedelta(days=20)))
    assert found.doses
    assert found.recommendation is None


DOSES = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
UNITS = {Cell("one"): 10_000, Cell("three"): 10_050, Cell("five"): 9_950}


def test_no_dose_is_recommended_by_a_metric_that_decides_nothing() -> None:
    """The primary is a time to an event, which has no doses; a secondary rate has them, and is no value."""
    time = Survival(name="time", role=Role.PRIMARY, direction=Direction.DECREASE, event="left", horizon_days=28)
    events: dict[Cell, Aggregate] = {each: RiskTable({3: 300}, {}, {28: units - 300}) for each, units in UNITS.items()}
    plan = a_plan(time, replace(VISIT, role=Role.SECONDARY), variants=DOSES)
    found = ex.readout_of(plan, Aggregates(UNITS, {"time": events, "visit": VISITS}))
    assert [each.metric for each in found.doses] == ["visit"]
    assert found.recommendation is None


def test_money_without_what_lost_reach_costs_recommends_no_dose_and_says_what_it_leaves_out() -> None:
    """By money alone the highest dose would win here; the primary has another."""
    value = Value(
        name="net",
        role=Role.SECONDARY,
        direction=Direction.INCREASE,
        revenue=Outcome(column="spend"),
        lost_reach=Outcome(column="lost"),
    )
    money: dict[Cell, Aggregate] = {
        cell: PairMoments(units, mean, 0.1, float(units), 0.09 * units, 0.0, 0.0)
        for (cell, units), mean in zip(UNITS.items(), (1.0, 1.1, 1.5), strict=True)
    }
    aggregates = Aggregates(UNITS, {"visit": VISITS, "left": LEFTS, "net": money})

    def recommended(metric: Value) -> str | None:
        readout = ex.readout_of(a_plan(VISIT, replace(LEFT, margin=0.9), metric, variants=DOSES), aggregates)
        effects = [row.effect for each in readout.doses if each.metric == "net" for row in each.table.rows]
        is_open = [each.estimand == MONEY_ALONE for each in effects if each is not None]
        assert is_open == [metric.loss_of_reach is None] * 2
        return readout.recommendation and readout.recommendation.variant

    assert recommended(value) == "three"
    assert recommended(replace(value, loss_of_reach=0.0)) == "five"


@st.composite
def outcomes(draw: st.DrawFn) -> Aggregates:
    """Rates, complaints, amounts and money of three doses, some close to telling them apart."""
    rates = [Counts(draw(st.integers(900, 1_150)), units) for units in UNITS.values()]
    complaints = [Counts(draw(st.integers(80, 140)), units) for units in UNITS.values()]
    amounts = [Moments(units, draw(st.floats(1.9, 2.2)), units * 25.0, units * 60.0, units) for units in UNITS.values()]
    money = [
        PairMoments(units, draw(st.floats(0.95, 1.1)), 0.1, float(units), 0.09 * units, 0.0, 0.0)
        for units in UNITS.values()
    ]
    return some(
        visit=by_variant(*rates), left=by_variant(*complaints), spend=by_variant(*amounts), net_value=by_variant(*money)
    )


PRIMARY_SPEND = replace(SPEND, role=Role.PRIMARY)
METRICS: list[tuple[Metric, ...]] = [
    (VISIT, LEFT, SPEND),
    (VISIT, LEFT, PRIMARY_SPEND),
    (VISIT, LEFT, a_value(2.0)),
    (VISIT, LEFT, replace(a_value(2.0), role=Role.PRIMARY)),
    (replace(VISIT, direction=Direction.DECREASE), LEFT),
]


@settings(deadline=None)
@given(outcomes(), st.sampled_from(METRICS), st.sampled_from(Inference), st.sampled_from([None, 21, 35, 91]))
def test_no_dose_is_told_apart_that_the_interval_that_decides_does_not_tell_apart(
    aggregates: Aggregates, metrics: tuple[Metric, ...], inference: Inference, days: int | None
) -> None:
    as_of = None if days is None else START + timedelta(days=days)
    found = ex.readout_of(a_plan(*metrics, variants=DOSES, inference=inference), replace(aggregates, as_of=as_of))
    for doses in found.doses:
        metric = found.metric(doses.metric)
        for row in doses.table.rows:
            if row.effect is None:
                continue
            decides = metric.comparison(row.variant).estimate
            assert not (row.effect.excludes(0) and not decides.excludes(0))
            if metric.role is Role.PRIMARY:
                assert row.effect == replace(decides, p_value=None)
            if found.inference is Inference.ANYTIME and not found.calendar.is_over:
                assert "confidence sequence" in row.effect.method
    chosen = found.recommendation
    if chosen is not None and chosen.is_shown:
        assert any(metric.comparison(chosen.variant).estimate.excludes(0) for metric in found.metrics)
    assert Readout.from_json(found.to_json()) == found


@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_a_recommendation_never_claims_more_than_the_verdict(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    """Whatever a dose table holds, if from elsewhere."""
    decides = an_estimate(sum(one) / 2, min(one), max(one))
    shown = replace(an_estimate(sum(other) / 2, min(other), max(other)), p_value=None)
    rows = (DoseRow("one", 1.0, None, 0.1, None), DoseRow("three", 3.0, None, 0.1, shown))
    readout = a_readout(a_metric("visit", Role.PRIMARY, decides), as_of=None)
    chosen = replace(readout, doses=(Doses("visit", DoseTable(rows, "one", Level())),)).recommendation
    assert chosen is not None
    if min(one) <= 0:
        assert not chosen.is_shown
        assert "is shown to be better" not in chosen.sentence
    elif min(other) > 0:
        assert chosen.is_shown


def test_under_anytime_doses_may_be_read_at_any_time_by_the_metric_s_own_method() -> None:
    early = replace(ALL, as_of=START + timedelta(days=21))
    found = ex.readout_of(a_plan(variants=DOSES, planned_units=60_000), early)
    (spend,) = [each.table for each in found.doses if each.metric == "spend"]
    alone = anytime.difference(strata(SPENDS, "three"), Level(0.05, 2), 40_000)
    assert spend.row("three").effect == replace(alone, p_value=None)
    page = " ".join(str(found).split())
    assert "spend, against one, for all doses at once three, limit 3" in page
    assert (
        f"spend, for all doses at once: {alone.estimand}, by {alone.method}, 95 % over 2 comparisons at once." in page
    )


def test_doses_without_an_anytime_method_are_shown_at_the_end_alone() -> None:
    cells: dict[Cell, Aggregate] = {
        Cell("one"): pairs(1, 3.0, 0.02),
        Cell("three"): pairs(2, 3.2, 0.04),
        Cell("five"): pairs(3, 3.1, 0.04),
    }
    aggregates = Aggregates(dict.fromkeys(cells, 5_000), {"net_value": cells, "visit": VISITS})
    early = replace(aggregates, as_of=START + timedelta(days=21))

    def doses(inference: Inference, table: Aggregates) -> list[str]:
        plan = a_plan(VISIT, a_value(2.0), variants=DOSES, inference=inference)
        return [each.metric for each in ex.readout_of(plan, table).doses]

    assert doses(Inference.ANYTIME, early) == ["visit"]
    assert doses(Inference.ANYTIME, aggregates) == ["visit", "net_value"]
    assert doses(Inference.FIXED, early) == ["visit", "net_value"]


@pytest.mark.parametrize("inference", Inference)
@pytest.mark.parametrize("role", [Role.PRIMARY, Role.SECONDARY])
def test_a_cap_is_named_at_every_dose(inference: Inference, role: Role) -> None:
    capped: Mean = replace(SPEND, cap=10, role=role)
    found = ex.readout_of(a_plan(VISIT, capped, variants=DOSES, inference=inference), ALL)
    effects: list[Estimate | None] = [
        row.effect for each in found.doses if each.metric == "spend" for row in each.table.rows
    ]
    methods = [each.method for each in effects if each is not None]
    assert len(methods) == 2
    assert all("numbers above 10 counted as 10" in each for each in methods)
