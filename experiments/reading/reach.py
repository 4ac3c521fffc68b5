"""Whether a customer can be reached in a channel: a state, made by all events up to an instant, before entry too.

Unsubscribes, complaints, hard bounces, closed accounts and erasures last until a later consent or resubscription; push
turned off and the app removed until push is turned on again. At the same instant the loss stands.

That is a rule for tables of events that know of no suppressions. Where somebody keeps account of these (the metric's
`as_told`), their word on each channel, or on all, is taken instead, and only an erasure beside it.
"""

from collections.abc import Callable, Iterable

from experiments.design import Reachable, Survival
from experiments.reading.fields import DAY_US
from experiments.reading.relations import Expression, Table, ibis

_LOSSES = ("unsubscribed", "complained", "hard_bounced")
_BOUNCED = "bounced"  # hard where the column `hard` says so
_ALL_CHANNELS = ("account_closed", "erased")
_LIFTS = ("resubscribed", "consented")
_ERASED, _TOLD_LOST, _TOLD_REACHED = "erased", "takt:unreachable", "takt:reachable"
_PUSH_OFF, _APP_REMOVED, _PUSH_ON = "push_disabled", "uninstalled", "push_enabled"
KINDS = frozenset({*_LOSSES, _BOUNCED, *_ALL_CHANNELS, *_LIFTS, _PUSH_OFF, _APP_REMOVED, _PUSH_ON})
AS_TOLD = frozenset({_ERASED, _TOLD_LOST, _TOLD_REACHED})
BOUNCED = _BOUNCED

Condition = Callable[[Table], Expression]


def end_us(metric: Reachable) -> int:
    """Microseconds from entry to the end of the metric's day: days count from 0, so that day 0 ends after 24 hours."""
    return (metric.day + 1) * DAY_US


def losses_and_lifts(metric: Reachable, has_hard: bool) -> list[tuple[Condition, Condition]]:
    """Pairs of what loses the channel and what gives it back, as conditions on events."""
    if metric.as_told:
        return [_told(metric)]
    pairs: list[tuple[Condition, Condition]] = [(_loss(metric, has_hard), _lift(metric))]
    if metric.channel is None or metric.channel in {"push", "in_app"}:
        off = (_APP_REMOVED,) if metric.channel == "in_app" else (_PUSH_OFF, _APP_REMOVED)
        pairs.append((lambda events: events["kind"].isin(off), lambda events: events["kind"] == _PUSH_ON))
    return pairs


def lifts_of(kinds: Iterable[str]) -> frozenset[str]:
    """What gives back what these events lose; nothing, where none of them loses anything."""
    found = set(kinds)
    lifts = _LIFTS if found & {*_LOSSES, *_ALL_CHANNELS} else ()
    return frozenset({*lifts, *([_PUSH_ON] if found & {_PUSH_OFF, _APP_REMOVED} else [])})


def exits_and_lifts(metric: Survival) -> list[tuple[Condition, Condition]]:
    """Pairs of what leaves nobody to lose, among the metric's event and its competing ones, and what brings back.

    Of these types alone: a purchase or a session happens again. A competing event is of any channel.
    """
    ends = {metric.event, *metric.competing}
    groups = ((ends & {*_LOSSES, *_ALL_CHANNELS}, _LIFTS), (ends & {_PUSH_OFF, _APP_REMOVED}, (_PUSH_ON,)))
    return [(_exit(metric, sorted(lost)), _return(metric, lifts)) for lost, lifts in groups if lost]


def _exit(metric: Survival, lost: list[str]) -> Condition:
    def condition(events: Table) -> Expression:
        is_competing = events["kind"].isin(metric.competing) if metric.competing else ibis.literal(False)
        return events["kind"].isin(lost) & (_in_scope(metric, events) | is_competing)

    return condition


def _return(metric: Survival, lifts: tuple[str, ...]) -> Condition:
    return lambda events: events["kind"].isin(lifts) & _in_scope(metric, events)


def _told(metric: Reachable) -> tuple[Condition, Condition]:
    def said(kind: str) -> Condition:
        def condition(events: Table) -> Expression:
            of = events["channel"].isnull() if metric.channel is None else events["channel"] == metric.channel
            return (events["kind"] == kind) & of

        return condition

    lost = said(_TOLD_LOST)
    return lambda events: lost(events) | (events["kind"] == _ERASED), said(_TOLD_REACHED)


def _loss(metric: Reachable, has_hard: bool) -> Condition:
    def condition(events: Table) -> Expression:
        lost = events["kind"].isin(_LOSSES)
        if has_hard:
            lost = lost | ((events["kind"] == _BOUNCED) & events["hard"])
        return (lost & _in_scope(metric, events)) | events["kind"].isin(_ALL_CHANNELS)

    return condition


def _lift(metric: Reachable) -> Condition:
    return lambda events: events["kind"].isin(_LIFTS) & _in_scope(metric, events)


def _in_scope(metric: Reachable | Survival, events: Table) -> Expression:
    """An event without a channel is about all; a metric without a channel asks about any."""
    if metric.channel is None:
        return events["kind"].notnull()
    return events["channel"].isnull() | (events["channel"] == metric.channel)
