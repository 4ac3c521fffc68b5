"""How each kind of metric is read: what its sums are, what is made of an arm, and which estimators compare two.

A table of choices; the statistics are the estimators' own, and which interval decides is `reporting.measuring`'s.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, assert_never

from experiments.design import Mean, Metric, Outcome, Rate, Ratio, Reachable, Retention, Survival, Value
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import anytime, competing, horizon, means, proportions, ratios, survival, value
from experiments.estimators.curves import Curve
from experiments.moments import Counts, Moments, PairMoments
from experiments.readout import Arm, Line, LineKind, Point
from experiments.reporting.numbers import Scale
from experiments.reporting.sentences import break_even_text
from experiments.risk import RiskTable

T = TypeVar("T", Counts, Moments, PairMoments, RiskTable)

MONEY_ALONE = "difference of money a unit, lost reach not counted"
_NET, _MONEY = "money less loss of reach", "money"  # in a method's name


@dataclass(frozen=True, slots=True)
class Family(Generic[T]):
    """One kind. `anytime` None: such a metric is decided at the end only. `beside`, `break_even` and `curves` are there
    for the kinds that have them. `unit` and `note` as in `MetricReadout`."""

    scale: Scale
    total: Callable[[Iterable[T]], T]
    arm: Callable[[str, T], Arm]
    fixed: Callable[[Sequence[Stratum[T]], Level], Estimate]
    anytime: Callable[[Sequence[Stratum[T]], Level, int], Estimate] | None = None
    beside: Callable[[Sequence[Stratum[T]], Level], Estimate] | None = None
    break_even: Callable[[Sequence[Stratum[T]], Level], value.BreakEven] | None = None
    curves: Callable[[str, T], tuple[Line, ...]] | None = None
    unit: str | None = None
    note: str = ""


def family_of(metric: Metric) -> Family[Any]:
    """How this metric is read."""
    match metric:
        case Rate() | Retention() | Reachable():
            return Family(Scale.SHARE, counts, _share_arm, proportions.difference, anytime.rate_difference)
        case Mean():
            return _mean(metric)
        case Ratio():
            unit = f"{_named(metric.numerator)} per {_named(metric.denominator)}"
            difference = anytime.ratio_difference
            return Family(Scale.RATIO, sum_of(PairMoments()), _ratio_arm, ratios.difference, difference, unit=unit)
        case Survival():
            return _survival(metric)
        case Value():
            return _value(metric)
        case _:
            assert_never(metric)


def counts(parts: Iterable[Counts]) -> Counts:
    """As adding them up, at once."""
    found = list(parts)
    return Counts(sum(each.successes for each in found), sum(each.count for each in found))


def sum_of(nothing: T) -> Callable[[Iterable[T]], T]:
    """Adding up, from nothing."""
    return lambda parts: sum(parts, nothing)


def risk_tables(parts: Iterable[RiskTable]) -> RiskTable:
    """As adding them up, at once: there is one a day of entry, and each sum would walk through all days again."""
    events: dict[int, int] = {}
    others: dict[int, int] = {}
    censored: dict[int, int] = {}
    for part in parts:
        for into, by_day in ((events, part.events), (others, part.competing), (censored, part.censored)):
            for day, count in by_day.items():
                into[day] = into.get(day, 0) + count
    return RiskTable(events, others, censored)


def _mean(metric: Mean) -> Family[Moments]:
    cap = metric.cap

    def at_any_time(strata: Sequence[Stratum[Moments]], level: Level, planned_units: int) -> Estimate:
        found = anytime.difference(strata, level, planned_units)
        return (
            found if cap is None else replace(found, method=f"{found.method}, numbers above {cap:g} counted as {cap:g}")
        )

    def fixed(strata: Sequence[Stratum[Moments]], level: Level) -> Estimate:
        return means.difference(strata, level, cap)

    return Family(Scale.NUMBER, sum_of(Moments()), _mean_arm, fixed, at_any_time)


def _survival(metric: Survival) -> Family[RiskTable]:
    """Decided by the cumulative incidence at the horizon; the mean days of staying stand beside it."""
    days = metric.horizon_days

    def arm(variant: str, table: RiskTable) -> Arm:
        events = sum(count for day, count in table.events.items() if day < days)
        is_silent = horizon.why_silent(table, days) is not None
        estimate = None if is_silent else competing.incidence(table, days).estimate
        return Arm(variant, table.count, events, table.count, estimate)

    def curves(variant: str, table: RiskTable) -> tuple[Line, ...]:
        return (
            _line(variant, LineKind.INCIDENCE, competing.curve(table, days)),
            _line(variant, LineKind.STAYING, survival.curve(table, days)),
        )

    return Family(
        Scale.SHARE,
        risk_tables,
        arm,
        lambda strata, level: competing.difference(strata, days, level),
        beside=lambda strata, level: survival.restricted_mean_difference(strata, days, level),
        curves=curves,
    )


def _value(metric: Value) -> Family[PairMoments]:
    """Net value; where the plan does not say what lost reach costs, money alone, with the break-even beside it."""
    loss = metric.loss_of_reach or 0.0

    def arm(variant: str, pairs: PairMoments) -> Arm:
        net = pairs.mean_x - loss * pairs.mean_y
        return Arm(variant, pairs.count, pairs.count * net, pairs.count, net if pairs.count else None)

    def fixed(strata: Sequence[Stratum[PairMoments]], level: Level) -> Estimate:
        found = value.net_difference(strata, loss, level)
        if metric.loss_of_reach is None:
            found = replace(found, method=found.method.replace(_NET, _MONEY))
        return replace(found, estimand=MONEY_ALONE) if metric.is_open else found

    def break_even(strata: Sequence[Stratum[PairMoments]], level: Level) -> value.BreakEven:
        found = value.break_even(strata, level)
        return replace(found, sentence=break_even_text(found, metric.currency))

    return Family(
        Scale.MONEY,
        sum_of(PairMoments()),
        arm,
        fixed,
        break_even=break_even if metric.is_open else None,
        unit=metric.currency,
        note=_value_note(metric),
    )


def _value_note(metric: Value) -> str:
    parts = [f"{metric.margin_share:g} of revenue"]
    if metric.contacts is not None:
        parts.append(f"less {metric.cost_per_contact or 0:g} {metric.currency} a contact")
    if metric.loss_of_reach is not None:
        parts.append(f"less {metric.loss_of_reach:g} {metric.currency} a customer who can no longer be reached")
    return f"{', '.join(parts)}."


def _line(variant: str, kind: LineKind, curve: Curve) -> Line:
    columns = (curve.days, curve.estimate, curve.low, curve.high, curve.at_risk)
    points = tuple(Point(*each) for each in zip(*(column.tolist() for column in columns), strict=True))
    return Line(variant, kind, curve.estimand, curve.method, curve.alpha, points)


def _share_arm(variant: str, found: Counts) -> Arm:
    return Arm(variant, found.count, found.successes, found.count, found.rate if found.count else None)


def _mean_arm(variant: str, moments: Moments) -> Arm:
    mean = moments.mean if moments.count else None
    return Arm(variant, moments.count, moments.total, moments.count, mean)


def _ratio_arm(variant: str, pairs: PairMoments) -> Arm:
    over, under = pairs.count * pairs.mean_x, pairs.count * pairs.mean_y
    return Arm(variant, pairs.count, over, under, pairs.ratio if under else None)


def _named(outcome: Outcome) -> str:
    return outcome.event or outcome.column or "?"
