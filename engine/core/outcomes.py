"""What events have told of a customer: cases, when somebody was last seen, soft bounces, and what must not be sent.

A join-semilattice: what is known after some events is the same whatever their order, and however often each came. What
decisions read of it (`since_us`, `open_cases`) is derived. Facts about suppressions are made here and joined there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine.core import soft_bounces
from engine.core.events import TAKT_SOURCE, Event, EventType, Flag, allows_again
from engine.core.policy import DAY_US, Channel, Policy
from engine.core.soft_bounces import SoftBounce
from engine.core.suppression import (
    LIFTED_BY_CONSENT,
    YES_AHEAD_US,
    Consent,
    Scope,
    Suppression,
    SuppressionReason,
    fact,
    objected,
    tombstone,
)

OLDEST_US: Final = 400 * DAY_US  # what events and contacts are kept for: what is older tells nothing any more
DETRACTOR: Final = "detractor"  # what a pause calls an answer of 0 to 6 to "would you recommend us?"
UNKNOWN_TOPIC: Final = "unknown"  # of a contact of which only the channel is known
# What asks for topics that nobody declares are on record with. No policy can declare it: a no-break space is in it.
UNDECLARED_TOPIC: Final = "not\u00a0declared"
SENDS: Final = frozenset({EventType.SENT, EventType.DELIVERED})
_ALWAYS: Final = frozenset(
    {
        EventType.BOUNCED,
        EventType.COMPLAINED,
        EventType.UNSUBSCRIBED,
        EventType.RESUBSCRIBED,
        EventType.CONSENTED,
        EventType.PUSH_ENABLED,
        EventType.PUSH_DISABLED,
        EventType.UNINSTALLED,
        EventType.ACCOUNT_CLOSED,
        EventType.CASE_OPENED,
        EventType.CASE_CLOSED,
    }
)
_OF_A_MESSAGE: Final = frozenset(
    {EventType.BOUNCED, EventType.COMPLAINED, EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED}
)
# What says what may be sent, however long ago, and stands nowhere else while the address is nobody's: a bounce and a
# complaint are filed under the address itself.
BINDING: Final = _ALWAYS - {EventType.BOUNCED, EventType.COMPLAINED}
FIRST_SEEN: Final = "days_since_first_seen"
_LAST_SEEN: Final[Mapping[str, str]] = {
    EventType.SESSION: "days_since_last_session",
    EventType.CLICKED: "days_since_last_click",
    EventType.PURCHASE: "days_since_last_purchase",
}
SEEING_TYPES: Final = frozenset(_LAST_SEEN)
_SUSPECT_SAID: Final = int(Flag.SUSPECT_SAID)  # asked of every event: a plain number takes a tenth of the time
_DETRACTORS_UP_TO: Final = 6
_CASES_MAX: Final = 100
_NAME_MAX: Final = 100


class Case(NamedTuple):
    """A case by its name, of the kind of event that opened it; open while it was opened later than closed."""

    from_event: str
    name: str
    opened_us: int
    closed_us: int


@dataclass(frozen=True)
class Outcomes:
    """`seen` has instants by the name of the derived attribute that counts days since: `days_since_last_session`."""

    cases: tuple[Case, ...] = ()
    seen: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    soft_bounces: tuple[SoftBounce, ...] = ()

    @property
    def since_us(self) -> Mapping[str, int]:
        """By derived attribute, the instant from which its whole days count."""
        return self.seen

    @cached_property
    def open_cases(self) -> tuple[Case, ...]:
        return tuple(each for each in self.cases if each.opened_us > each.closed_us)

    def told(self, events: Iterable[Event], policy: Policy, clock_us: int) -> "Outcomes":
        """What is known after these events too, which say their channel where their message does."""
        told = list(events)
        recent = [each for each in told if each.at_us > clock_us - OLDEST_US]
        return Outcomes(
            _cases(self.cases, recent, policy, clock_us),
            with_seen(self.seen, seen(told)),
            soft_bounces.told(self.soft_bounces, recent, policy.soft_bounces, clock_us - OLDEST_US),
        )

    def united(self, other: "Outcomes") -> "Outcomes":
        """What is known of two customers who are one."""
        cases = {(each.from_event, each.name): each for each in self.cases}
        for each in other.cases:
            was = cases.get((each.from_event, each.name), each)
            opened_us, closed_us = max(was.opened_us, each.opened_us), max(was.closed_us, each.closed_us)
            cases[each.from_event, each.name] = each._replace(opened_us=opened_us, closed_us=closed_us)
        bounces = soft_bounces.newest({*self.soft_bounces, *other.soft_bounces})
        return Outcomes(tuple(sorted(cases.values())), with_seen(self.seen, other.seen), bounces)

    def settled(self, channel: str | None, clock_us: int) -> "Outcomes":
        """The same, where no soft bounce of this channel lies ahead of the clock."""
        return replace(self, soft_bounces=soft_bounces.settled(self.soft_bounces, channel, clock_us))


NO_OUTCOMES = Outcomes()


def acts(event: Event, policy: Policy) -> bool:
    """Whether an event can change what decisions read, apart from `seen`: if so it is told under the account's lock."""
    if event.type in _ALWAYS or is_send(event):
        return True
    return any(
        event.type in (each.from_event, each.until_event) or (each.from_event == DETRACTOR and _is_detractor(event))
        for each in policy.pauses
    )


def acting_types(policy: Policy) -> frozenset[str]:
    """The types of events that may act; those of any other never do."""
    pauses = {name for each in policy.pauses for name in (each.from_event, each.until_event)}
    return frozenset({*_ALWAYS, *SENDS, EventType.SURVEY, *pauses})


def only_ends(policy: Policy) -> frozenset[str]:
    """The types of events of which the policy says that they end pauses, and that forbid nothing and are no send."""
    begins = {each.from_event for each in policy.pauses}
    others = {*_ALWAYS, *SENDS, *begins, *({EventType.SURVEY} if DETRACTOR in begins else ())}
    return frozenset(each.until_event for each in policy.pauses) - others


def is_send(event: Event) -> bool:
    """Whether it says that a contact happened. Without a message and a channel it says of nothing what it was."""
    return event.type in SENDS and (event.message_id is not None or event.channel is not None)


def contact_id(event: Event) -> str:
    """The message id under which what was sent stands on record: a send that names none has one of its own."""
    return event.message_id or f"{TAKT_SOURCE}:{event.key % 2**64:016x}"


def seen(events: Iterable[Event]) -> dict[str, int]:
    """When these events saw a customer, by derived attribute, in whole UTC days.

    Not by a click that its sender says a machine made. Which clicks came too soon is known only with the send, and
    that may be told later.
    """
    found: dict[str, int] = {}
    for event in events:
        last = _LAST_SEEN.get(event.type)
        if last is None or event.flags & _SUSPECT_SAID:
            continue
        day_us = event.at_us // DAY_US * DAY_US
        found[last] = max(found.get(last, day_us), day_us)
        found[FIRST_SEEN] = min(found.get(FIRST_SEEN, day_us), day_us)
    return found


def moves(known: Mapping[str, int], event: Event) -> bool:
    """Whether an event saw a customer when that is news. What is known only grows: what moves nothing never will."""
    last = _LAST_SEEN.get(event.type)
    if last is None or event.flags & _SUSPECT_SAID:
        return False
    day_us = event.at_us // DAY_US * DAY_US
    return known.get(last, -1) < day_us or known.get(FIRST_SEEN, day_us + 1) > day_us


def with_seen(known: Mapping[str, int], found: Mapping[str, int]) -> Mapping[str, int]:
    """Both: the earliest first time, the latest of the others. `known` itself where nothing is new."""
    moved = {
        name: at_us
        for name, at_us in found.items()
        if name not in known or (at_us < known[name] if name == FIRST_SEEN else at_us > known[name])
    }
    return MappingProxyType({**known, **moved}) if moved else known


def placed(event: Event, message: tuple[str, str] | None) -> Event:
    """The event with the channel and topic that it is about, where the channel and topic of its message must say them.

    Of an unsubscribe, and of its return, these are the scope: what it names, else its message's channel, else
    everything. Its property `scope` widens or narrows that: `all`, `channel`, or `topic` (its message's).
    """
    width = event.properties.get("scope")
    channel, topic = event.channel, event.topic
    if event.type in (EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED):
        if width == "all":
            return event._replace(channel=None, topic=None)
        if message is not None:
            if channel is None and topic is None:
                channel = message[0]
            if topic is None and width == "topic":
                topic = message[1]
        return event._replace(channel=channel, topic=None if width == "channel" else topic)
    if channel is None and message is not None and event.type != EventType.CONSENTED:
        return event._replace(channel=message[0])
    return event


def kept(event: Event, message: tuple[str, str, str | None] | None) -> Event:
    """The event as it is kept: where it names no channel, topic or campaign itself, those of its message (in this
    order). Of what has a scope no more than its scope: nobody must read a message's topic as what was unsubscribed."""
    if message is None or event.type == EventType.CONSENTED:
        return event
    scope = placed(event, message[:2])
    topic = scope.topic if event.type in (EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED) else message[1]
    return event._replace(
        channel=event.channel or scope.channel,
        topic=event.topic or topic,
        campaign=event.campaign or message[2],
    )


def needs_message(event: Event) -> bool:
    """Whether only its message can say what the event is about."""
    if event.message_id is None or event.type not in _OF_A_MESSAGE:
        return False
    return (event.channel is None and event.topic is None) or (
        event.topic is None and event.properties.get("scope") == "topic"
    )


def facts(events: Iterable[Event]) -> Iterator[Suppression]:
    """What these events, once placed, say must not be sent, and may be sent again."""
    for event in events:
        yield from _facts(event)


def address_fact(event: Event) -> Suppression | None:
    """What an event says of the address that it names: of whoever has that address, or comes to have it."""
    return next((each for each in _facts(event) if each.digest is not None), None)


def consents(known: tuple[Consent, ...], events: Iterable[Event], clock_us: int) -> tuple[Consent, ...]:
    """The newest word on each scope; where two bear the same instant, the withdrawal. `known` where nothing is new."""
    told = [objected(_consent(each), known, clock_us) for each in events if each.type == EventType.CONSENTED]
    newest: dict[Scope, Consent] = {}
    for each in (*known, *told):
        was = newest.get(each.scope)
        newest[each.scope] = each if was is None else max(was, each, key=_newer)
    if not told or set(newest.values()) <= set(known):
        return known
    return tuple(newest[scope] for scope in sorted(newest, key=_in_order))


def _facts(event: Event) -> Iterator[Suppression]:
    at_us, source = event.at_us, event.source
    scope = Scope(event.channel, event.topic)
    channel = Scope(event.channel)
    digest = event.digest if event.channel is not None else None
    match event.type:
        case EventType.BOUNCED if event.flags & Flag.HARD and event.channel is not None:
            yield fact(channel, SuppressionReason.HARD_BOUNCE, at_us, source, digest)
        case EventType.COMPLAINED:
            yield fact(channel, SuppressionReason.COMPLAINT, at_us, source, digest)
        case EventType.UNSUBSCRIBED:
            yield fact(scope, SuppressionReason.UNSUBSCRIBE, at_us, source)
        case EventType.RESUBSCRIBED:
            yield from (tombstone(scope, reason, at_us) for reason in LIFTED_BY_CONSENT)
        case EventType.CONSENTED if allows_again(event.type, event.properties):
            yield from (tombstone(scope, reason, at_us) for reason in LIFTED_BY_CONSENT)
        case EventType.PUSH_DISABLED | EventType.UNINSTALLED:
            yield fact(_PUSH, SuppressionReason.PUSH_OFF, at_us, source)
        case EventType.PUSH_ENABLED:
            yield tombstone(_PUSH, SuppressionReason.PUSH_OFF, at_us)
        case EventType.ACCOUNT_CLOSED:
            yield fact(Scope(), SuppressionReason.ACCOUNT_CLOSED, at_us, source)
        case _:
            pass


def _consent(event: Event) -> Consent:
    version = event.properties.get("text_version")
    text_version = None if version is None else str(version)[:_NAME_MAX]
    return Consent(
        Scope(event.channel, event.topic),
        allows_again(event.type, event.properties),
        event.at_us,
        event.source,
        text_version,
    )


def _newer(consent: Consent) -> tuple[int, bool, str, str]:
    return consent.at_us, not consent.given, consent.source, consent.text_version or ""


def _in_order(scope: Scope) -> tuple[str, str]:
    return scope.channel or "", scope.topic or ""


def _opened_by(event: Event, policy: Policy) -> set[str]:
    """The kinds of cases that an event opens."""
    names = {each.from_event for each in policy.pauses} | {EventType.CASE_OPENED.value}
    return {event.type, DETRACTOR if _is_detractor(event) else event.type} & names


def _closed_by(event: Event, policy: Policy) -> set[str]:
    """The kinds of cases that an event closes. Service cases end as they do everywhere, unless a pause says how."""
    ends = {(each.from_event, each.until_event) for each in policy.pauses}
    if all(kind != EventType.CASE_OPENED for kind, _ in ends):
        ends.add((EventType.CASE_OPENED.value, EventType.CASE_CLOSED.value))
    return {kind for kind, until in ends if until == event.type}


def _is_detractor(event: Event) -> bool:
    return (
        event.type == EventType.SURVEY
        and event.properties.get("kind", "nps") == "nps"
        and event.value is not None
        and 0 <= event.value <= _DETRACTORS_UP_TO
    )


def _cases(known: Iterable[Case], events: Iterable[Event], policy: Policy, clock_us: int) -> tuple[Case, ...]:
    """Each case with the latest instants at which it was opened and closed; of each kind the newest 100.

    A case without a name is closed by any end of its kind: whoever opens them so has one at a time. One that was closed
    ahead of the clock is open again when it is told to be (as of suppressions: `heard`).
    """
    found = {(each.from_event, each.name): each for each in known}
    ahead = {key: each.closed_us for key, each in found.items() if each.closed_us > clock_us + YES_AHEAD_US}

    def tell(kind: str, name: str, opened_us: int, closed_us: int) -> None:
        was = found.get((kind, name), Case(kind, name, 0, 0))
        found[kind, name] = Case(kind, name, max(was.opened_us, opened_us), max(was.closed_us, closed_us))

    for event in events:
        name = _case_name(event.properties)
        for kind in _opened_by(event, policy):
            tell(kind, name, max(event.at_us, ahead.get((kind, name), -1) + 1), 0)
        for kind in _closed_by(event, policy):
            tell(kind, name, 0, event.at_us)
            tell(kind, "", 0, event.at_us)
    kept: dict[str, int] = {}
    newest: list[Case] = []
    for each in sorted(found.values(), key=lambda each: (max(each.opened_us, each.closed_us), each), reverse=True):
        kept[each.from_event] = kept.get(each.from_event, 0) + 1
        if max(each.opened_us, each.closed_us) > clock_us - OLDEST_US and kept[each.from_event] <= _CASES_MAX:
            newest.append(each)
    return tuple(sorted(newest))


def _case_name(properties: Mapping[str, Any]) -> str:
    name = properties.get("case")
    return "" if name is None else str(name)[:_NAME_MAX]


_PUSH: Final = Scope(Channel.PUSH.value)
