"""Each doubt is raised where it applies, once, and nowhere else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import experiments as ex
from experiments.aggregates import Aggregate, Aggregates, Cell, Exclusion
from experiments.design import (
    Columns,
    Inference,
    Outcome,
)
from experiments.moments import Counts
from experiments.readout import CautionCode
from experiments.reporting.verdicts import Call
from experiments.risk import RiskTable
from tests.experiments.planned import (
    ALL,
    CHURN,
    END,
    LEFTS,
    SPENDS,
    START,
    TWO,
    VISIT,
    VISITS,
    a_plan,
    by_variant,
    codes,
    some,
    survival_aggregates,
)


def test_a_matured_rate_that_parts_from_the_survival_estimate_warns() -> None:
    plan = a_plan(CHURN, variants=TWO)
    assert CautionCode.RATE_AGAINST_SURVIVAL not in codes(ex.readout_of(plan, survival_aggregates()))
    heavy = {Cell("one", 0, 0): RiskTable({3: 900}, {}, {60: 1_100})}
    mixed = survival_aggregates()
    found = ex.readout_of(plan, replace(mixed, outcomes={"churn": {**mixed.outcomes["churn"], **heavy}}))
    assert CautionCode.RATE_AGAINST_SURVIVAL in codes(found)


@pytest.mark.parametrize("has_days", [True, False])
def test_who_was_not_watched_to_the_horizon_is_not_counted_as_if(has_days: bool) -> None:
    """A table that says nothing of when it was made, on day 45: who entered on day 30 was watched for 15 days."""
    cells: dict[Cell, Aggregate] = {}
    for variant in ("one", "three"):
        for entered in (0, 10, 30, 40):
            watched = 45 - entered
            events = dict.fromkeys(range(min(watched, 40)), 100)  # a hundred a day, of 6,000
            table = RiskTable(events, {}, {watched: 6_000 - sum(events.values())})
            cell = Cell(variant, 0, entered if has_days else None)
            before = cells.get(cell)
            cells[cell] = table + before if isinstance(before, RiskTable) else table
    units = {cell: each.count for cell, each in cells.items() if isinstance(each, RiskTable)}
    found = ex.readout_of(a_plan(CHURN, variants=TWO), Aggregates(units, {"churn": cells}))
    assert CautionCode.RATE_AGAINST_SURVIVAL not in codes(found)


def test_a_few_lost_from_sight_do_not_hide_that_rates_part() -> None:
    mixed = survival_aggregates()
    for lost in (0, 20):
        heavy = {Cell("one", 0, 0): RiskTable({3: 900}, {}, {5: lost, 60: 1_100 - lost})}
        found = ex.readout_of(
            a_plan(CHURN, variants=TWO), replace(mixed, outcomes={"churn": {**mixed.outcomes["churn"], **heavy}})
        )
        said = [each.sentence for each in found.cautions if each.code is CautionCode.RATE_AGAINST_SURVIVAL]
        assert len(said) == 1
        assert ("at least" in said[0]) == (lost > 0)


def test_a_verdict_that_changes_with_suspects_warns() -> None:
    bots = by_variant(Counts(100, 10_000), Counts(400, 10_050), Counts(400, 9_950))
    found = ex.readout_of(a_plan(), replace(ALL, with_suspects={"left": bots}))
    assert [each.sentence for each in found.cautions if each.code is CautionCode.SUSPECTS] == [
        "With suspect events counted, which look like a machine's, the verdict on three would be 'stop' and not 'ship'."
    ]
    assert [each.numerator for each in found.metric("left").with_suspects] == [100, 400, 400]
    same = ex.readout_of(a_plan(), replace(ALL, with_suspects={"left": LEFTS}))
    assert CautionCode.SUSPECTS not in codes(same)


def test_a_primary_or_guardrail_without_an_estimate_is_said_and_counts_neither_way() -> None:
    found = ex.readout_of(a_plan(), replace(ALL, outcomes={"visit": VISITS, "spend": SPENDS}))
    assert CautionCode.NO_ESTIMATE in codes(found)
    assert [each.call for each in found.verdicts] == [Call.INCONCLUSIVE, Call.INCONCLUSIVE]
    assert (
        "counted neither way: the guardrail left of three and the guardrail left of five (not enough data"
        in " ".join(str(found).split())
    )


@pytest.mark.parametrize(
    ("more", "aggregates", "code"),
    [
        ({}, replace(ALL, immature={"visit": 12}), CautionCode.IMMATURE),
        ({}, replace(ALL, exclusions=(Exclusion("tester", 3, "3 units of the testers"),)), CautionCode.EXCLUDED),
        ({"columns": Columns(unit=None)}, ALL, CautionCode.UNNAMED_UNITS),
        ({"min_days": 10}, ALL, CautionCode.SHORT_PLAN),
        ({"horizon_days": 180}, ALL, CautionCode.SHORT_RUN),
        ({}, ALL, CautionCode.NO_TIMES),
    ],
)
def test_each_doubt_is_raised_where_it_applies_and_nowhere_else(
    more: dict[str, Any], aggregates: Aggregates, code: CautionCode
) -> None:
    assert code in codes(ex.readout_of(a_plan(**more), aggregates))
    calm = ex.readout_of(a_plan(), replace(ALL, as_of=END))
    assert not codes(calm)


def test_fixed_intervals_that_are_read_before_the_end_say_so() -> None:
    early = replace(ALL, as_of=START + timedelta(days=30))
    for inference in Inference:
        found = ex.readout_of(a_plan(inference=inference), early)
        said = [each.sentence for each in found.cautions if each.code is CautionCode.AT_END_ONLY]
        assert len(said) == (inference is Inference.FIXED)
        assert all("read once, at the planned end on 2027-01-04" in each for each in said)
    for over in (ALL, replace(ALL, as_of=END)):
        assert CautionCode.AT_END_ONLY not in codes(ex.readout_of(a_plan(inference=Inference.FIXED), over))


def test_a_run_under_two_windows_of_what_decides_is_a_short_plan() -> None:
    late = replace(VISIT, outcome=Outcome(event="session", within_days=60))
    found = ex.readout_of(a_plan(late), some(visit=VISITS))
    assert [each.sentence for each in found.cautions if each.code is CautionCode.SHORT_PLAN] == [
        "The planned run of 91 days is under two full windows of visit, 60 days each."
    ]


def test_two_variants_that_ship_were_not_compared_with_each_other() -> None:
    both = some(visit=by_variant(Counts(1_000, 10_000), Counts(1_150, 10_050), Counts(1_200, 9_950)))
    found = ex.readout_of(a_plan(VISIT), both)
    assert CautionCode.NOT_COMPARED in codes(found)
