"""Novelty: the effect by week since entry on one cohort that was watched for all these weeks.

Of survival metrics, whose risk tables tell the day. The cohort is chosen by when customers entered alone. It decides
nothing, and stands beside the readout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from experiments.aggregates import Aggregates, Cell
from experiments.design import Experiment, Survival
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators.weeks import DAYS, by_week
from experiments.reporting.families import risk_tables
from experiments.reporting.measuring import by_phase
from experiments.risk import RiskTable

WEEKS_MIN: Final = 2
WEEKS_MAX: Final = 13
_COHORT_LEAST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Weekly:
    """One metric's effects of one variant, a week each; `cohort` counts its customers by variant."""

    metric: str
    variant: str
    cohort: Mapping[str, int]
    effects: tuple[Estimate, ...]


def weekly(plan: Experiment, aggregates: Aggregates) -> tuple[Weekly, ...]:
    """One a survival metric and treatment; nothing where there are no times, or two weeks are not over for half of
    the customers.

    As many whole weeks as at least half of those who entered were watched for, within the metric's horizon and 13.
    Intervals are simultaneous over the weeks.
    """
    return tuple(
        found
        for metric in plan.metrics
        if isinstance(metric, Survival)
        for found in _of_metric(plan, metric, aggregates)
    )


def _of_metric(plan: Experiment, metric: Survival, aggregates: Aggregates) -> tuple[Weekly, ...]:
    weeks = min(metric.horizon_days // DAYS, WEEKS_MAX)
    last = _last_entry(plan.start, aggregates, weeks)
    while weeks >= WEEKS_MIN and (last is None or _share(aggregates, last) < _COHORT_LEAST):
        weeks -= 1
        last = _last_entry(plan.start, aggregates, weeks)
    if weeks < WEEKS_MIN or last is None:
        return ()
    cells = {
        cell: table
        for cell, table in aggregates.outcomes.get(metric.name, {}).items()
        if isinstance(table, RiskTable) and cell.entry_day is not None and cell.entry_day <= last
    }
    phases = by_phase(plan, risk_tables, cells)
    cohort = {each.name: sum(phase[each.name].count for phase in phases) for each in plan.variants}
    return tuple(
        Weekly(
            metric.name,
            each.name,
            cohort,
            tuple(
                by_week(
                    [Stratum(phase[plan.control.name], phase[each.name]) for phase in phases], weeks, Level(plan.alpha)
                )
            ),
        )
        for each in plan.treatments
    )


def _last_entry(start: date, aggregates: Aggregates, weeks: int) -> int | None:
    """The last day of entry whose customers were all watched for so many weeks; None without times."""
    if aggregates.as_of is None:
        return None
    return (aggregates.as_of - start).days - weeks * DAYS - 1


def _share(aggregates: Aggregates, last: int) -> float:
    """Of everybody, who entered by that day."""
    units: Mapping[Cell, int] = aggregates.units
    everybody = sum(units.values())
    early = sum(count for cell, count in units.items() if cell.entry_day is not None and cell.entry_day <= last)
    return early / everybody if everybody else 0.0
