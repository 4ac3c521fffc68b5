"""One metric from its aggregates: arms, the interval that decides, the bound that may stop, curves.

Chooses the level by the metric's role and the interval by the plan's inference. Phases are strata; the days of entry
are summed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from experiments.aggregates import Aggregate, Cell
from experiments.design import Experiment, Inference, Metric, Role
from experiments.estimates import Estimate, Level, Stratum
from experiments.readout import Arm, Comparison, MetricReadout
from experiments.reporting.families import Family, T, family_of


def measure(
    plan: Experiment,
    metric: Metric,
    cells: Mapping[Cell, Aggregate],
    planned_units: Mapping[str, int],
    *,
    in_full: bool = True,
) -> MetricReadout:
    """All that is read of one metric. `planned_units`, by treatment: both arms together at the planned end.

    Without `in_full` only what a verdict looks at.
    """
    family = family_of(metric)
    phases = by_phase(plan, family.total, cells)
    order = [plan.control.name, *(each.name for each in plan.treatments)]
    totals = {name: family.total(phase[name] for phase in phases) for name in order}
    comparisons: list[Comparison] = []
    for variant in order[1:]:
        strata = [Stratum(phase[plan.control.name], phase[variant]) for phase in phases]
        estimate, bound = _estimates(plan, metric, family, strata, planned_units[variant])
        found = Comparison(variant, estimate, bound)
        comparisons.append(_with_more(found, family, strata) if in_full else found)
    curves = family.curves if in_full else None
    return MetricReadout(
        name=metric.name,
        role=metric.role,
        direction=metric.direction,
        scale=family.scale,
        arms=tuple(family.arm(name, totals[name]) for name in order),
        comparisons=tuple(comparisons),
        margin=metric.margin,
        unit=family.unit,
        at_end_only=family.anytime is None,
        curves=tuple(line for name in order for line in curves(name, totals[name])) if curves else (),
        note=family.note,
        title=metric.title,
    )


def arms_of(plan: Experiment, metric: Metric, cells: Mapping[Cell, Aggregate]) -> tuple[Arm, ...]:
    """The arms alone, the control first: for outcomes that decide nothing."""
    family = family_of(metric)
    phases = by_phase(plan, family.total, cells)
    order = (plan.control.name, *(each.name for each in plan.treatments))
    return tuple(family.arm(name, family.total(phase[name] for phase in phases)) for name in order)


def by_phase(
    plan: Experiment, total: Callable[[Iterable[T]], T], cells: Mapping[Cell, Aggregate]
) -> list[dict[str, T]]:
    """By variant, one entry a phase that has units, in order; a variant without any has the total of nothing."""
    found: dict[int, dict[str, list[T]]] = {}
    for cell, aggregate in cells.items():
        found.setdefault(cell.phase, {}).setdefault(cell.variant, []).append(cast(T, aggregate))
    phases = [found[phase] for phase in sorted(found)] or [{}]
    return [{each.name: total(phase.get(each.name, ())) for each in plan.variants} for phase in phases]


def level_of(plan: Experiment, role: Role) -> Level:
    """Simultaneous over primaries and treatments; other metrics each by themselves (Schultzberg and others 2024)."""
    if role is not Role.PRIMARY:
        return Level(plan.alpha)
    primaries = sum(each.role is Role.PRIMARY for each in plan.metrics)
    return Level(plan.alpha, primaries * len(plan.treatments))


def _estimates(
    plan: Experiment, metric: Metric, family: Family[Any], strata: Sequence[Stratum[Any]], planned_units: int
) -> tuple[Estimate, Estimate | None]:
    """The estimate that decides, and the bound that may stop; the bound's p-value is taken away: one an effect."""
    level = level_of(plan, metric.role)
    if family.anytime is None:
        return family.fixed(strata, level), None
    if plan.inference is Inference.ANYTIME:
        decides = family.anytime(strata, level, planned_units)
    else:
        decides = family.fixed(strata, level)
    if metric.role not in (Role.PRIMARY, Role.GUARDRAIL):
        return decides, None
    return decides, _without_p(family.anytime(strata, Level(plan.alpha), planned_units))


def _with_more(found: Comparison, family: Family[Any], strata: Sequence[Stratum[Any]]) -> Comparison:
    """With what the family estimates beside the effect."""
    level = found.estimate.level
    beside = (_without_p(family.beside(strata, level)),) if family.beside else ()
    return replace(found, beside=beside, break_even=family.break_even(strata, level) if family.break_even else None)


def _without_p(estimate: Estimate) -> Estimate:
    return replace(estimate, p_value=None)
