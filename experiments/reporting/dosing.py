"""What a budget experiment changed for customers: contacts received by dose, and each outcome at the tested doses.

A metric's doses are told apart by the kind of interval that decides the metric, and a primary's by that interval
itself, so that no page says two things of one effect (decision 33). Without p-values: an effect has one, and it stands
beside the readout's comparisons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import (
    Experiment,
    Inference,
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
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import dose
from experiments.readout import Doses, MetricReadout, Received
from experiments.reporting.families import family_of
from experiments.reporting.measuring import by_phase


def received(plan: Experiment, aggregates: Aggregates) -> tuple[Received, ...]:
    """Contacts a customer and week, by variant, the control first; empty where the table has none."""
    found: list[Received] = []
    for each in (plan.control, *plan.treatments):
        moments = aggregates.received.get(each.name)
        if moments is not None and moments.count:
            found.append(Received(each.name, each.dose, moments.mean, moments.count))
    return tuple(found)


def dose_tables(
    plan: Experiment, aggregates: Aggregates, measured: Sequence[MetricReadout], planned_units: Mapping[str, int]
) -> tuple[Doses, ...]:
    """One table a metric that is no ratio of messages and has no curve, where variants have doses.

    `measured` are the plan's metrics with their comparisons, `planned_units` those of `measuring.measure`. Under
    `anytime`, a metric without an anytime method has no table before the planned end.
    """
    if not any(each.dose is not None for each in plan.treatments):
        return ()
    is_over = aggregates.as_of is None or aggregates.as_of >= plan.end
    found: list[Doses] = []
    for metric, shown in zip(plan.metrics, measured, strict=True):
        measure = _measure(metric)
        is_early = shown.at_end_only and plan.inference is Inference.ANYTIME and not is_over
        if metric.role is Role.DESCRIPTIVE or measure is None or is_early:
            continue
        found.append(Doses(metric.name, _table(plan, aggregates, metric, measure, shown, planned_units)))
    return tuple(found)


def _measure(metric: Metric) -> dose.Measure[Any] | None:
    """How doses of it are compared: by the metric's own fixed interval, with its cap and its names."""
    match metric:
        case Rate() | Retention() | Reachable():
            found = dose.RATES
        case Mean():
            found = dose.MEANS
        case Ratio():
            found = dose.RATIOS
        case Value():
            found = dose.net_value(metric.loss_of_reach or 0.0)
        case Survival():
            return None
        case _:
            assert_never(metric)
    return replace(found, difference=family_of(metric).fixed)


def _table(
    plan: Experiment,
    aggregates: Aggregates,
    metric: Metric,
    measure: dose.Measure[Any],
    shown: MetricReadout,
    planned_units: Mapping[str, int],
) -> dose.DoseTable:
    family = family_of(metric)
    cells: Mapping[Cell, Aggregate] = aggregates.outcomes.get(metric.name, {})
    phases = by_phase(plan, family.total, cells)
    control = plan.control.name

    def arm(variant: Variant) -> dose.Arm[Any]:
        strata = [Stratum(phase[control], phase[variant.name]) for phase in phases]
        outcome = family.total(phase[variant.name] for phase in phases)
        return dose.Arm(variant.name, variant.dose, outcome, aggregates.received.get(variant.name), strata)

    tested = {each.name: arm(each) for each in plan.treatments if each.dose is not None}
    found = dose.table(arm(plan.control), list(tested.values()), measure, Level(plan.alpha))

    def effect(row: dose.DoseRow) -> Estimate | None:
        if row.effect is None:
            return None
        if metric.role is Role.PRIMARY:
            estimate = shown.comparison(row.variant).estimate
        elif plan.inference is Inference.ANYTIME and family.anytime is not None:
            level = Level(plan.alpha, len(tested))
            estimate = family.anytime(tested[row.variant].strata, level, planned_units[row.variant])
        else:
            estimate = row.effect
        return replace(estimate, p_value=None)

    return replace(found, rows=tuple(replace(row, effect=effect(row)) for row in found.rows))
