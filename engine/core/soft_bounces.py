"""Messages that bounced for now: which are kept, and when so many of them suppress the address that they were sent to.

A set that only grows, apart from what it lets go of: the same in whatever order they are told. When they suppress hangs
on the messages, not on their tries.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from engine.core.events import TAKT_SOURCE, Event, EventType, Flag, event_key
from engine.core.policy import SoftBounces
from engine.core.suppression import Scope, Suppression, SuppressionReason, fact

_MAX: Final = 200
_OF_ONE_MESSAGE_MAX: Final = 10  # of these: whoever retries a message for days pushes no other one out


class SoftBounce(NamedTuple):
    """A message that could not be delivered for now, to the address with this digest (empty: not known).

    `message_key`: by which its other tries are known; the event's own key, where that names no message.
    """

    channel: str
    digest: str
    at_us: int
    event_key: int
    message_key: int


def told(
    known: Iterable[SoftBounce], events: Iterable[Event], policy: SoftBounces, since_us: int
) -> tuple[SoftBounce, ...]:
    """Those since then. A bounce that does not say that it is for good is for now."""
    found = {each for each in known if each.at_us > since_us}
    for event in events:
        if event.type == EventType.BOUNCED and not event.flags & Flag.HARD and event.channel is not None:
            message_key = event.key if event.message_id is None else event_key("", event.message_id)
            found.add(SoftBounce(event.channel, event.digest or "", event.at_us, event.key, message_key))
    return newest(found, max(_MAX, policy.suppress_after))


def newest(found: Iterable[SoftBounce], most: int = _MAX) -> tuple[SoftBounce, ...]:
    """The newest so many, of no message more than the newest 10: the same in whatever order they came."""
    tries: dict[int, int] = {}
    kept: list[SoftBounce] = []
    for each in sorted(found, key=lambda each: (each.at_us, each), reverse=True):
        tries[each.message_key] = tries.get(each.message_key, 0) + 1
        if tries[each.message_key] <= _OF_ONE_MESSAGE_MAX and len(kept) < most:
            kept.append(each)
    return tuple(sorted(kept))


def settled(known: Iterable[SoftBounce], channel: str | None, clock_us: int) -> tuple[SoftBounce, ...]:
    """The same, where none of this channel lies ahead of the clock: what made them suppress was lifted, and is told."""
    before = {each: each._replace(at_us=min(each.at_us, clock_us - 1)) for each in known if each.channel == channel}
    return tuple(sorted({before.get(each, each) for each in known}))


def facts(soft_bounces: Iterable[SoftBounce], policy: SoftBounces) -> Iterator[Suppression]:
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
