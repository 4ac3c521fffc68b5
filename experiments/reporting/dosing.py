"""What a budget experiment changed for customers: contacts received by dose, and each outcome at the tested doses.

Puts the plan's metrics before `estimators.dose`, which knows how to compare doses. Beside the readout's comparisons,
and without p-values: an effect has one, and it is there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import (
    Experiment,
    Mean,
    Metric,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
    Variant,
)
from experiments.estimates import Level, Stratum
from experiments.estimators import dose
from experiments.moments import Moments, PairMoments
from experiments.readout import Doses, Received
from experiments.reporting.families import MONEY_ALONE, T, counts, sum_of
from experiments.reporting.measuring import by_phase


def received(plan: Experiment, aggregates: Aggregates) -> tuple[Received, ...]:
    """Contacts a customer and week, by variant, the control first; empty where the table has none."""
    found: list[Received] = []
    for each in (plan.control, *plan.treatments):
        moments = aggregates.received.get(each.name)
        if moments is not None and moments.count:
            found.append(Received(each.name, each.dose, moments.mean, moments.count))
    return tuple(found)


def dose_tables(plan: Experiment, aggregates: Aggregates) -> tuple[Doses, ...]:
    """One table a metric that is no ratio of messages and has no curve, where variants have doses."""
    if not any(each.dose is not None for each in plan.treatments):
        return ()
    tables = (
        (metric.name, _table(plan, aggregates, metric, aggregates.outcomes.get(metric.name, {})))
        for metric in plan.metrics
        if metric.role is not Role.DESCRIPTIVE
    )
    return tuple(Doses(name, table) for name, table in tables if table is not None)


def _table(
    plan: Experiment, aggregates: Aggregates, metric: Metric, cells: Mapping[Cell, Aggregate]
) -> dose.DoseTable | None:
    match metric:
        case Rate() | Retention() | Reachable():
            return _tested(plan, aggregates, dose.RATES, counts, cells)
        case Mean():
            return _tested(plan, aggregates, dose.MEANS, sum_of(Moments()), cells)
        case Ratio():
            return _tested(plan, aggregates, dose.RATIOS, sum_of(PairMoments()), cells)
        case Value():
            found = _tested(plan, aggregates, dose.net_value(metric.loss_of_reach or 0.0), sum_of(PairMoments()), cells)
            return _of_money_alone(found) if metric.is_open else found
        case Survival():
            return None
        case _:
            assert_never(metric)


def _of_money_alone(table: dose.DoseTable) -> dose.DoseTable:
    rows = (replace(row, effect=row.effect and replace(row.effect, estimand=MONEY_ALONE)) for row in table.rows)
    return replace(table, rows=tuple(rows))


def _tested(
    plan: Experiment,
    aggregates: Aggregates,
    measure: dose.Measure[T],
    total: Callable[[Iterable[T]], T],
    cells: Mapping[Cell, Aggregate],
) -> dose.DoseTable:
    phases = by_phase(plan, total, cells)
    control = plan.control.name

    def arm(variant: Variant) -> dose.Arm[T]:
        strata = [Stratum(phase[control], phase[variant.name]) for phase in phases]
        outcome = total(phase[variant.name] for phase in phases)
        return dose.Arm(variant.name, variant.dose, outcome, aggregates.received.get(variant.name), strata)

    tested = [arm(each) for each in plan.treatments if each.dose is not None]
    found = dose.table(arm(plan.control), tested, measure, Level(plan.alpha))
    rows = (replace(row, effect=row.effect and replace(row.effect, p_value=None)) for row in found.rows)
    return replace(found, rows=tuple(rows))
