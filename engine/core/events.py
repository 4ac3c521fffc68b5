"""Events: what customers did, and what became of messages, as the other systems of a company tell it.

Values only. An event is itself once a customer by `(source, id)`. What it does to a customer is `outcomes`' and
`suppression`'s business; what it does to contacts is `operations`'.
"""

import hashlib
import re
from collections.abc import Mapping
from enum import IntFlag, StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple


class EventType(StrEnum):
    """The types with a meaning to Takt. Others (`OWN_TYPE`) are kept for metrics, and for pauses that name them."""

    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    CONSENTED = "consented"
    PUSH_ENABLED = "push_enabled"
    PUSH_DISABLED = "push_disabled"
    UNINSTALLED = "uninstalled"
    ACCOUNT_CLOSED = "account_closed"
    SESSION = "session"
    PURCHASE = "purchase"
    SURVEY = "survey"
    CASE_OPENED = "case_opened"
    CASE_CLOSED = "case_closed"
    DOWNLOAD = "download"
    RATING = "rating"
    OPTED_DOWN = "opted_down"
    OPTED_UP = "opted_up"
    ERASED = "erased"
    UNREACHABLE = "takt:unreachable"
    REACHABLE = "takt:reachable"


# What only Takt itself tells: choices that customers make on its own page, erasures, and what became of their reach.
TAKT_TYPES: Final = frozenset(
    {EventType.OPTED_DOWN, EventType.OPTED_UP, EventType.ERASED, EventType.UNREACHABLE, EventType.REACHABLE}
)
_YES: Final = frozenset({EventType.RESUBSCRIBED, EventType.PUSH_ENABLED, EventType.CASE_CLOSED})
TAKT_SOURCE: Final = "takt"
OWN_TYPE: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Flag(IntFlag):
    """What is known of an event apart from its fields. The SUSPECT ones say why a machine is thought to have done it:
    its sender says so (or names a known scanner), or it came too soon after the send. A bounce is HARD or SOFT."""

    SUSPECT_SAID = 1
    SUSPECT_SOON = 2
    HARD = 4
    SOFT = 8
    ONE_CLICK = 16


SUSPECT: Final = Flag.SUSPECT_SAID | Flag.SUSPECT_SOON
_SUSPECT: Final = int(SUSPECT)  # asked of every event: a plain number takes a tenth of the time
NO_PROPERTIES: Mapping[str, Any] = MappingProxyType({})


class Event(NamedTuple):
    """One event of one customer; `at_us` is when it happened, as its sender says: that may lie ahead.

    `value` is the type's one number: money of a purchase, the score of a survey or rating, the seconds of a session.
    `margin`: what of a purchase's value stays. `digest` is of the address that the event named, if any.
    """

    customer_id: str
    source: str
    event_id: str
    type: str
    at_us: int
    channel: str | None = None
    topic: str | None = None
    campaign: str | None = None
    message_id: str | None = None
    value: float | None = None
    margin: float | None = None
    flags: int = 0
    digest: str | None = None
    properties: Mapping[str, Any] = NO_PROPERTIES

    @property
    def key(self) -> int:
        return event_key(self.source, self.event_id)

    @property
    def is_suspect(self) -> bool:
        return bool(self.flags & _SUSPECT)


def event_key(source: str, event_id: str) -> int:
    """The 64 bits under which an event is kept once a customer."""
    data = f"{len(source)}:{source}{event_id}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def allows_again(event_type: str, properties: Mapping[str, Any]) -> bool:
    """Whether such an event may end what forbids. A consent says yes unless it says anything else."""
    if event_type == EventType.CONSENTED:
        return properties.get("given", True) is True
    return event_type in _YES
