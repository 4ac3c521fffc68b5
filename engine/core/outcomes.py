"""What events have told of a customer: cases, when somebody was last seen, soft bounces, and what must not be sent.

A join-semilattice: what is known after some events is the same whatever their order, and however often each came. What
decisions read of it (`since_us`, `open_cases`) is derived. Facts about suppressions are made here and joined there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine.core.events import TAKT_SOURCE, Event, EventType, Flag, allows_again, event_key
from engine.core.policy import DAY_US, Channel, Policy, SoftBounces
from engine.core.suppression import LIFTED_BY_CONSENT, Consent, Scope, Suppression, SuppressionReason, fact, tombstone

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
_SOFT_BOUNCES_MAX: Final = 200
_OF_ONE_MESSAGE_MAX: Final = 10  # of these: whoever retries a message for days pushes no other one out
_NAME_MAX: Final = 100


class Case(NamedTuple):
    """A case by its name, of the kind of event that opened it; open while it was opened later than closed."""

    from_event: str
    name: str
    opened_us: int
    closed_us: int


class SoftBounce(NamedTuple):
    """A message that could not be delivered for now, to the address with this digest (empty: not known).

    `message_key`: by which its other tries are known; the event's own key, where that names no message.
    """

    channel: str
    digest: str
    at_us: int
    event_key: int
    message_key: int


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

    def told(self, events: Iterable[Event], policy: Policy, now_us: int) -> "Outcomes":
        """What is known after these events too, which say their channel where their message does."""
        told = list(events)
        recent = [each for each in told if each.at_us > now_us - OLDEST_US]
        return Outcomes(
            _cases(self.cases, recent, policy, now_us),
            with_seen(self.seen, seen(told)),
            _soft_bounces(self.soft_bounces, recent, policy.soft_bounces, now_us),
        )

    def united(self, other: "Outcomes") -> "Outcomes":
        """What is known of two customers who are one."""
        cases = {(each.from_event, each.name): each for each in self.cases}
        for each in other.cases:
            was = cases.get((each.from_event, each.name), each)
            opened_us, closed_us = max(was.opened_us, each.opened_us), max(was.closed_us, each.closed_us)
            cases[each.from_event, each.name] = each._replace(opened_us=opened_us, closed_us=closed_us)
        soft_bounces = _newest_bounces({*self.soft_bounces, *other.soft_bounces}, _SOFT_BOUNCES_MAX)
        return Outcomes(tuple(sorted(cases.values())), with_seen(self.seen, other.seen), soft_bounces)


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


def consents(known: tuple[Consent, ...], events: Iterable[Event]) -> tuple[Consent, ...]:
    """The newest word on each scope; where two bear the same instant, the withdrawal. `known` where nothing is new."""
    told = [_consent(each) for each in events if each.type == EventType.CONSENTED]
    newest: dict[Scope, Consent] = {}
    for each in (*known, *told):
        was = newest.get(each.scope)
        newest[each.scope] = each if was is None else max(was, each, key=_newer)
    if not told or set(newest.values()) <= set(known):
        return known
    return tuple(newest[scope] for scope in sorted(newest, key=_in_order))


def soft_bounce_facts(soft_bounces: Iterable[SoftBounce], policy: SoftBounces) -> Iterator[Suppression]:
    """A suppression for each address from which so many messages bounced within so many days, as of the newest time
    that it had. The tries of one message count once."""
    of_address: dict[tuple[str, str], list[SoftBounce]] = {}
    for each in sorted(soft_bounces, key=lambda each: each.at_us):
        of_address.setdefault((each.channel, each.digest), []).append(each)
    for (channel, digest), bounces in of_address.items():
        newest_us = _newest_of_too_many(bounces, policy)
        if newest_us is not None:
            yield fact(Scope(channel), SuppressionReason.SOFT_BOUNCES, newest_us, TAKT_SOURCE, digest or None)


def _newest_of_too_many(bounces: Iterable[SoftBounce], policy: SoftBounces) -> int | None:
    """When for the last time as many messages had bounced within the days before as suppress; in order of time."""
    newest_us: int | None = None
    tried: dict[int, int] = {}  # by message, its last try
    for each in bounces:
        tried[each.message_key] = each.at_us
        tried = {key: at_us for key, at_us in tried.items() if each.at_us - at_us < policy.within_us}
        if len(tried) >= policy.suppress_after:
            newest_us = each.at_us
    return newest_us


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


def _cases(known: Iterable[Case], events: Iterable[Event], policy: Policy, now_us: int) -> tuple[Case, ...]:
    """Each case with the latest instants at which it was opened and closed; of each kind the newest 100.

    A case without a name is closed by any end of its kind: whoever opens them so has one at a time.
    """
    found = {(each.from_event, each.name): each for each in known}

    def tell(kind: str, name: str, opened_us: int, closed_us: int) -> None:
        was = found.get((kind, name), Case(kind, name, 0, 0))
        found[kind, name] = Case(kind, name, max(was.opened_us, opened_us), max(was.closed_us, closed_us))

    for event in events:
        name = _case_name(event.properties)
        for kind in _opened_by(event, policy):
            tell(kind, name, event.at_us, 0)
        for kind in _closed_by(event, policy):
            tell(kind, name, 0, event.at_us)
            tell(kind, "", 0, event.at_us)
    kept: dict[str, int] = {}
    newest: list[Case] = []
    for each in sorted(found.values(), key=lambda each: (max(each.opened_us, each.closed_us), each), reverse=True):
        kept[each.from_event] = kept.get(each.from_event, 0) + 1
        if max(each.opened_us, each.closed_us) > now_us - OLDEST_US and kept[each.from_event] <= _CASES_MAX:
            newest.append(each)
    return tuple(sorted(newest))


def _case_name(properties: Mapping[str, Any]) -> str:
    name = properties.get("case")
    return "" if name is None else str(name)[:_NAME_MAX]


def _soft_bounces(
    known: Iterable[SoftBounce], events: Iterable[Event], policy: SoftBounces, now_us: int
) -> tuple[SoftBounce, ...]:
    """Those of 400 days. A bounce that does not say that it is for good is for now."""
    found = {each for each in known if each.at_us > now_us - OLDEST_US}
    for event in events:
        if event.type == EventType.BOUNCED and not event.flags & Flag.HARD and event.channel is not None:
            message_key = event.key if event.message_id is None else event_key("", event.message_id)
            found.add(SoftBounce(event.channel, event.digest or "", event.at_us, event.key, message_key))
    return _newest_bounces(found, max(_SOFT_BOUNCES_MAX, policy.suppress_after))


def _newest_bounces(found: Iterable[SoftBounce], most: int) -> tuple[SoftBounce, ...]:
    """The newest so many, of no message more than the newest 10: the same in whatever order they came."""
    tries: dict[int, int] = {}
    kept: list[SoftBounce] = []
    for each in sorted(found, key=lambda each: (each.at_us, each), reverse=True):
        tries[each.message_key] = tries.get(each.message_key, 0) + 1
        if tries[each.message_key] <= _OF_ONE_MESSAGE_MAX and len(kept) < most:
            kept.append(each)
    return tuple(sorted(kept))


_PUSH: Final = Scope(Channel.PUSH.value)
