"""Which cohort the effects by week are of."""

from dataclasses import replace
from datetime import timedelta

from experiments.aggregates import Aggregates, Cell
from experiments.reporting.weekly import Weekly, weekly
from experiments.risk import RiskTable
from tests.experiments.planned import CHURN, START, VISIT, a_plan

PLAN = replace(a_plan(), metrics=(replace(CHURN, horizon_days=28), VISIT))
VARIANTS = [each.name for each in PLAN.variants]


def entered(by_day: dict[int, int], as_of_day: int) -> list[Weekly]:
    """So many customers a variant on each day of entry, one of whom has the event on their first day."""
    units = {Cell(name, 0, day): count for name in VARIANTS for day, count in by_day.items()}
    tables = {cell: RiskTable({0: 1}, {}, {as_of_day - (cell.entry_day or 0): n - 1}) for cell, n in units.items()}
    found = Aggregates(units, {CHURN.name: tables}, as_of=START + timedelta(days=as_of_day))
    return list(weekly(PLAN, found))


def test_the_cohort_is_of_those_who_were_watched_for_all_weeks() -> None:
    found = entered({0: 100, 1: 100, 2: 40}, 30)
    assert [each.variant for each in found] == [each.name for each in PLAN.treatments]
    for each in found:
        assert each.metric == CHURN.name
        assert each.cohort == dict.fromkeys(VARIANTS, 200), "who entered on day 2 may have been watched for 27 days"
        assert len(each.effects) == 4


def test_fewer_weeks_are_told_where_few_customers_have_more() -> None:
    (first, *_) = entered({0: 100, 10: 900}, 30)
    assert len(first.effects) == 2
    assert first.cohort[VARIANTS[0]] == 1000


def test_nothing_is_told_before_two_weeks_are_over_for_half_or_without_times() -> None:
    assert entered({0: 100, 10: 900}, 20) == []
    assert entered({0: 100}, 14) == []
    (first, *_) = entered({0: 100}, 15)
    assert len(first.effects) == 2
    timeless = Aggregates({Cell(name): 9 for name in VARIANTS}, {CHURN.name: {}})
    assert weekly(PLAN, timeless) == ()
