"""One metric from its aggregates: arms, the interval that decides, the bound that may stop, curves.

Chooses the estimator by the kind of the metric and the level by its role; all statistics are the estimators' own.
Phases are strata; the days of entry are summed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, assert_never, cast

from experiments import anytime, competing, horizon, means, proportions, ratios, survival, value
from experiments.aggregates import Aggregate, Cell
from experiments.curves import Curve
from experiments.design import (
    Experiment,
    Inference,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
)
from experiments.estimates import Estimate, Level, Stratum
from experiments.moments import Counts, Moments, PairMoments
from experiments.numbers import Scale
from experiments.readout import Arm, Comparison, Line, LineKind, MetricReadout, Point
from experiments.risk import RiskTable

MONEY_ALONE = "difference of money a unit, lost reach not counted"

T = TypeVar("T", Counts, Moments, PairMoments, RiskTable)


@dataclass(frozen=True, slots=True)
class _Family(Generic[T]):
    """How one kind of aggregate is read: what its sums are, what is made of an arm, and which estimators compare two.

    `anytime` None: such a metric is decided at the end only.
    """

    total: Callable[[Iterable[T]], T]
    arm: Callable[[str, T], Arm]
    fixed: Callable[[Sequence[Stratum[T]], Level], Estimate]
    anytime: Callable[[Sequence[Stratum[T]], Level, int], Estimate] | None = None
    beside: Callable[[Sequence[Stratum[T]], Level], tuple[Estimate, ...]] = lambda _strata, _level: ()
    break_even: Callable[[Sequence[Stratum[T]], Level], value.BreakEven] | None = None
    curves: Callable[[str, T], tuple[Line, ...]] = lambda _variant, _table: ()


def measure(
    plan: Experiment, metric: Metric, cells: Mapping[Cell, Aggregate], planned_units: Mapping[str, int]
) -> MetricReadout:
    """All that is read of one metric. `planned_units`, by treatment: both arms together at the planned end."""
    match metric:
        case Rate() | Retention() | Reachable():
            family = _Family(counts, _share_arm, proportions.difference, anytime.rate_difference)
            return _measured(plan, metric, family, cells, planned_units, Scale.SHARE)
        case Mean():
            family = _Family(
                sum_of(Moments()),
                _mean_arm,
                lambda strata, level: means.difference(strata, level, metric.cap),
                lambda strata, level, units: _capped(anytime.difference(strata, level, units), metric.cap),
            )
            return _measured(plan, metric, family, cells, planned_units, Scale.NUMBER)
        case Ratio():
            family = _Family(sum_of(PairMoments()), _ratio_arm, ratios.difference, anytime.ratio_difference)
            found = _measured(plan, metric, family, cells, planned_units, Scale.RATIO)
            return replace(found, unit=f"{_named(metric.numerator)} per {_named(metric.denominator)}")
        case Survival():
            return _measured(plan, metric, _survival(metric), cells, planned_units, Scale.SHARE)
        case Value():
            return _value_readout(plan, metric, cells, planned_units)
        case _:
            assert_never(metric)


def arms_of(plan: Experiment, metric: Metric, cells: Mapping[Cell, Aggregate]) -> tuple[Arm, ...]:
    """The arms alone, for outcomes that decide nothing."""
    return measure(plan, metric, cells, {each.name: 1 for each in plan.treatments}).arms


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


def _measured(
    plan: Experiment,
    metric: Metric,
    family: _Family[T],
    cells: Mapping[Cell, Aggregate],
    planned_units: Mapping[str, int],
    scale: Scale,
) -> MetricReadout:
    phases = by_phase(plan, family.total, cells)
    totals = {each.name: family.total(phase[each.name] for phase in phases) for each in plan.variants}
    arms = {name: family.arm(name, total) for name, total in totals.items()}
    level = level_of(plan, metric.role)
    comparisons: list[Comparison] = []
    for variant in plan.treatments:
        strata = [Stratum(phase[plan.control.name], phase[variant.name]) for phase in phases]
        estimate, bound = _estimates(plan, metric, family, strata, planned_units[variant.name])
        beside = family.beside(strata, level)
        tie = family.break_even(strata, level) if family.break_even else None
        comparisons.append(Comparison(variant.name, estimate, bound, beside, tie))
    order = [plan.control.name, *(each.name for each in plan.treatments)]
    return MetricReadout(
        name=metric.name,
        role=metric.role,
        direction=metric.direction,
        scale=scale,
        arms=tuple(arms[name] for name in order),
        comparisons=tuple(comparisons),
        margin=metric.margin,
        at_end_only=family.anytime is None,
        curves=tuple(line for name in order for line in family.curves(name, totals[name])),
    )


def _estimates(
    plan: Experiment, metric: Metric, family: _Family[T], strata: Sequence[Stratum[T]], planned_units: int
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


def _survival(metric: Survival) -> _Family[RiskTable]:
    days = metric.horizon_days

    def arm(variant: str, table: RiskTable) -> Arm:
        events = sum(count for day, count in table.events.items() if day < days)
        is_silent = horizon.why_silent(table, days) is not None
        estimate = None if is_silent else competing.incidence(table, days).estimate
        return Arm(variant, table.count, events, table.count, estimate)

    def beside(strata: Sequence[Stratum[RiskTable]], level: Level) -> tuple[Estimate, ...]:
        return (_without_p(survival.restricted_mean_difference(strata, days, level)),)

    def curves(variant: str, table: RiskTable) -> tuple[Line, ...]:
        return (
            _line(variant, LineKind.INCIDENCE, competing.curve(table, days)),
            _line(variant, LineKind.STAYING, survival.curve(table, days)),
        )

    return _Family(
        risk_tables,
        arm,
        lambda strata, level: competing.difference(strata, days, level),
        beside=beside,
        curves=curves,
    )


def _value_readout(
    plan: Experiment, metric: Value, cells: Mapping[Cell, Aggregate], planned_units: Mapping[str, int]
) -> MetricReadout:
    """Net value; where the plan does not say what lost reach costs, money alone, with the break-even beside it."""
    loss = metric.loss_of_reach or 0.0
    is_open = metric.lost_reach is not None and metric.loss_of_reach is None

    def arm(variant: str, pairs: PairMoments) -> Arm:
        net = pairs.mean_x - loss * pairs.mean_y
        return Arm(variant, pairs.count, pairs.count * net, pairs.count, net if pairs.count else None)

    def fixed(strata: Sequence[Stratum[PairMoments]], level: Level) -> Estimate:
        found = value.net_difference(strata, loss, level)
        return replace(found, estimand=MONEY_ALONE) if is_open else found

    tie = value.break_even if is_open else None
    family = _Family(sum_of(PairMoments()), arm, fixed, break_even=tie)
    found = _measured(plan, metric, family, cells, planned_units, Scale.MONEY)
    return replace(found, unit=metric.currency, note=_value_note(metric))


def _value_note(metric: Value) -> str:
    parts = [f"{metric.margin_share:g} of revenue"]
    if metric.contacts is not None:
        parts.append(f"less {metric.cost_per_contact:g} {metric.currency} a contact")
    if metric.loss_of_reach is not None:
        parts.append(f"less {metric.loss_of_reach:g} {metric.currency} a customer who can no longer be reached")
    return f"{', '.join(parts)}."


def _line(variant: str, kind: LineKind, curve: Curve) -> Line:
    columns = (curve.days, curve.estimate, curve.low, curve.high, curve.at_risk)
    points = tuple(Point(*each) for each in zip(*(column.tolist() for column in columns), strict=True))
    return Line(variant, kind, curve.estimand, curve.method, curve.alpha, points)


def _share_arm(variant: str, counts: Counts) -> Arm:
    return Arm(variant, counts.count, counts.successes, counts.count, counts.rate if counts.count else None)


def _mean_arm(variant: str, moments: Moments) -> Arm:
    mean = moments.mean if moments.count else None
    return Arm(variant, moments.count, moments.total, moments.count, mean)


def _ratio_arm(variant: str, pairs: PairMoments) -> Arm:
    over, under = pairs.count * pairs.mean_x, pairs.count * pairs.mean_y
    return Arm(variant, pairs.count, over, under, pairs.ratio if under else None)


def _named(outcome: Outcome) -> str:
    return outcome.event or outcome.column or "?"


def counts(parts: Iterable[Counts]) -> Counts:
    """As adding them up, at once."""
    found = list(parts)
    return Counts(sum(each.successes for each in found), sum(each.count for each in found))


def sum_of(nothing: T) -> Callable[[Iterable[T]], T]:
    return lambda parts: sum(parts, nothing)


def risk_tables(parts: Iterable[RiskTable]) -> RiskTable:
    """As adding them up, at once: there is one a day of entry, and each sum would walk through all days again."""
    events: dict[int, int] = {}
    competing_events: dict[int, int] = {}
    censored: dict[int, int] = {}
    for part in parts:
        for into, by_day in (
            (events, part.events),
            (competing_events, part.competing),
            (censored, part.censored),
        ):
            for day, count in by_day.items():
                into[day] = into.get(day, 0) + count
    return RiskTable(events, competing_events, censored)


def _capped(estimate: Estimate, cap: float | None) -> Estimate:
    return (
        estimate
        if cap is None
        else replace(estimate, method=f"{estimate.method}, numbers above {cap:g} counted as {cap:g}")
    )


def _without_p(estimate: Estimate) -> Estimate:
    return replace(estimate, p_value=None)
