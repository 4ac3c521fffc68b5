"""What every experiment reads without being asked for, beside its plan's own metrics. None of it ever decides.

Customers are watched for 28 days, unless told otherwise. What a plan has already, under whatever name, is not added
again.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from engine.core.events import EventType
from engine.store.analysis_sql import (
    ACTIVE_WEEK,
    BOUNCED_AGAIN,
    COMPLAINED_AGAIN,
    DAYS,
    LEAVES,
    LEFT,
    REFUSED,
    REFUSED_AGAIN,
    RETURNED,
    THREE_IN_24H,
)
from experiments.design import (
    METRICS_MAX,
    Direction,
    Experiment,
    Mean,
    Metric,
    Outcome,
    Rate,
    Reachable,
    Role,
    Survival,
    Value,
)
from experiments.reading.event_metrics import outcomes

DAY: Final = DAYS  # what is derived is looked for as long as it is read
_INCREASE, _DECREASE = Direction.INCREASE, Direction.DECREASE


class Extended(NamedTuple):
    """A plan with the standard metrics, and the names of those that were added, and of those that had no room."""

    plan: Experiment
    added: tuple[str, ...]
    no_room: tuple[str, ...]
    lacks_margins: bool = False  # there were purchases, and of none is known what it left

    @property
    def cautions(self) -> list[str]:
        found: list[str] = []
        if self.no_room:
            found.append(f"The plan's own metrics leave no room for {', '.join(self.no_room)}.")
        if self.lacks_margins:
            found.append(
                "There is no net value: customers bought, and no purchase says what of it stays. Bring purchases with a"
                " `margin`, or give the plan a metric of the kind `value` with a `margin_share`."
            )
        return found


def extended(
    plan: Experiment,
    channels: Iterable[str],
    *,
    has_margins: bool,
    has_refusals: bool,
    days: int = DAY,
    reached_on: int = DAY,
) -> Extended:
    """The plan with the standard metrics that it lacks, and with all that `left` stands for among competing events.

    `channels`: those in which contacts were sent.

    `has_margins`: whether purchases say what of them stays; `has_refusals`: whether all refusals are still on record.
    `days`: for how many customers are watched; `reached_on`: the day at whose end they are looked whether reachable.
    """
    standard = _standard(channels, days, reached_on, has_margins=has_margins, has_refusals=has_refusals)
    missing = [each for each in standard if not any(_is_same(each, other) for other in plan.metrics)]
    taken = {each.name for each in plan.metrics}
    named = [replace(each, name=f"standard_{each.name}") if each.name in taken else each for each in missing]
    named = [each for each in named if each.name not in taken]
    room = METRICS_MAX - len(plan.metrics)
    added, rest = named[:room], named[room:]
    return Extended(
        replace(plan, metrics=(*map(_with_leaves, plan.metrics), *added)),
        tuple(each.name for each in added),
        tuple(each.name for each in rest),
    )


def as_told(plan: Experiment) -> Experiment:
    """The plan whose customers are reachable as decisions have it (`core.reach`), not as others' events let think."""
    metrics = (replace(each, as_told=True) if isinstance(each, Reachable) else each for each in plan.metrics)
    return replace(plan, metrics=tuple(metrics))


def values_of(plan: Experiment) -> frozenset[str]:
    """The fields of events whose numbers a plan sums."""
    return frozenset(each.value for metric in plan.metrics for each in outcomes(metric) if each.value is not None)


def _with_leaves(metric: Metric) -> Metric:
    """By name, so that of each way to leave is known what leads back: who left before entry has nothing to lose."""
    if not isinstance(metric, Survival) or LEFT not in metric.competing:
        return metric
    others = (each.value for each in LEAVES if each != metric.event and each not in metric.competing)
    return replace(metric, competing=(*metric.competing, *others))


def _standard(
    channels: Iterable[str], days: int, reached_on: int, *, has_margins: bool, has_refusals: bool
) -> list[Metric]:
    span = f"within {days} days"
    found: list[Metric] = [
        Reachable(
            name=f"reachable_{days}_{each}",
            title=f"share reachable by {each.replace('_', '-')} on day {reached_on}",
            role=Role.SECONDARY,
            direction=_INCREASE,
            day=reached_on,
            channel=each,
            as_told=True,
        )
        for each in channels
    ]
    found += [
        _rate("unsubscribed", EventType.UNSUBSCRIBED, days, f"share who unsubscribed {span}", Role.SECONDARY),
        _rate("complained", EventType.COMPLAINED, days, f"share who complained {span}", Role.SECONDARY),
        _rate("opted_down", EventType.OPTED_DOWN, days, f"share who opted down {span}"),
        replace(_rate("returned", RETURNED, days, f"share who came back {span}"), direction=_INCREASE),
        replace(_count("active_weeks", ACTIVE_WEEK, days, f"number of active weeks {span}"), direction=_INCREASE),
        _count("contacts", EventType.SENT, days, f"number of contacts received {span}"),
        _rate("three_in_24h", THREE_IN_24H, days, f"share with three contacts in 24 hours, {span}"),
        _rate("complained_again", COMPLAINED_AGAIN, days, f"share who complained twice or more {span}"),
        _rate("bounced_again", BOUNCED_AGAIN, days, f"share with two bounces or more {span}"),
    ]
    if has_refusals:
        found += [
            _count("refused", REFUSED, days, f"number of messages refused {span}"),
            _rate("refused_again", REFUSED_AGAIN, days, f"share refused two messages or more {span}"),
        ]
    if has_margins:
        lost = Outcome(event=EventType.UNSUBSCRIBED.value, within_days=days)
        margin = Outcome(event=EventType.PURCHASE.value, value="margin", within_days=days)
        common: dict[str, Any] = {"role": Role.SECONDARY, "direction": _INCREASE, "title": f"net value {span}"}
        found.append(Value(name=f"net_value_{days}", revenue=margin, lost_reach=lost, **common))
    return found


def _rate(name: str, event: str, days: int, title: str, role: Role = Role.DESCRIPTIVE) -> Rate:
    outcome = Outcome(event=str(event), within_days=days)
    return Rate(name=f"{name}_{days}", title=title, role=role, direction=_DECREASE, outcome=outcome)


def _count(name: str, event: str, days: int, title: str) -> Mean:
    outcome = Outcome(event=str(event), within_days=days)
    common: dict[str, Any] = {"role": Role.DESCRIPTIVE, "direction": _DECREASE, "title": title}
    return Mean(name=f"{name}_{days}", outcome=outcome, is_count=True, **common)


def _is_same(standard: Metric, other: Metric) -> bool:
    """Whether both read the same, whatever they are called and for whatever they are there."""
    match standard, other:
        case Value(), Value():
            return True  # the plan knows its margins, costs and currency better
        case (Rate(), Rate()) | (Mean(), Mean()):
            outcome = replace(other.outcome, column=None)
            return outcome == standard.outcome and getattr(other, "cap", None) is None
        case Reachable(), Reachable():
            return (other.day, other.channel) == (standard.day, standard.channel)
        case _:
            return False
