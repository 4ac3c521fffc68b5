"""Doses beside the contacts that were received, and when one is recommended."""

from dataclasses import replace
from datetime import timedelta

import experiments as ex
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import Direction, Outcome, Role, Survival, Value, Variant
from experiments.moments import Moments, PairMoments
from experiments.readout import Readout
from experiments.reporting.families import MONEY_ALONE
from experiments.risk import RiskTable
from tests.experiments.planned import ALL, LEFT, LEFTS, START, VISIT, VISITS, a_plan


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
