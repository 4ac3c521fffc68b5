"""The journal: what was asked, what was answered, and what became of it. Only ever appended to.

Four tables share one sequence of numbers a customer: contacts (`journal`), asks that made none (`refusals`),
`resolutions`, and `changes` of what is on file. Each entry names the instant it was stamped and the ruleset it was
decided under, so that a customer's whole story can be told again in order.
"""

import hashlib
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from engine.core.account import Contact, Kind, Lease, State
from engine.core.policy import DAY_US
from engine.core.verdict import Code, Verdict

MEMORY_US = 16 * DAY_US  # how long a message id is remembered: longer than any send_at plus lease


class Resolution(IntEnum):
    """What became of a contact. MARKED: a presumed contact was confirmed after all; it was one already."""

    CONFIRMED = 1
    RELEASED = 2
    REVOKED = 3
    LATE = 4
    MARKED = 5


class Change(IntEnum):
    """What changed on file. MERGED: two customers are one from here on. With whom goes on being known, the entries that
    follow carry the other's contacts; with the other it is the last entry."""

    PROFILE = 1
    SUPPRESSIONS = 2
    PREFERENCES = 3
    OUTCOMES = 4
    ADDRESSES = 5
    VARIANTS = 6
    MERGED = 7


class Message(NamedTuple):
    """A contact as the journal holds it, and what became of it last.

    `send_at_given`: the ask named its send (then `start_us` is that, or the ask where the send lay in the past).
    """

    customer_id: str
    message_id: str
    attempt: int
    seq: int
    at_us: int
    start_us: int
    end_us: int
    channel: str
    topic: str
    campaign: str | None
    team: str | None
    sender: str | None
    weight: int
    priority: int
    lease: Lease
    kind: Kind
    counts: bool
    under_ceiling: bool
    send_at_given: bool
    ruleset: int
    reasons: tuple[tuple[Code, str], ...] = ()
    uncharged: tuple[str, ...] = ()
    observed: Verdict | None = None
    resolution: Resolution | None = None
    resolved_us: int = 0

    def state(self, now_us: int) -> State:
        match self.resolution:
            case Resolution.CONFIRMED:
                return State.CONFIRMED
            case Resolution.RELEASED:
                return State.RELEASED
            case Resolution.REVOKED:
                return State.REVOKED
            case Resolution.LATE:
                return State.LATE
            case Resolution.MARKED:
                return State.PRESUMED_SENT
            case None:
                contact = self.contact()
                return State.RELEASED if contact is None else contact.state(now_us)

    def contact(self) -> Contact | None:
        """What of it can occupy budgets: None once it was released, or revoked before it can have been sent."""
        asked = Contact(
            self.seq,
            self.start_us,
            self.end_us,
            (self.channel, self.topic, self.campaign, self.team),
            self.weight,
            self.priority,
            self.lease,
            self.kind,
            self.counts,
            self.under_ceiling,
            self.uncharged,
        )
        match self.resolution:
            case Resolution.RELEASED:
                return None
            case Resolution.REVOKED:
                return asked.revoked(self.resolved_us)
            case Resolution.CONFIRMED:
                return asked.confirmed(self.resolved_us)
            case Resolution.LATE:
                return asked._replace(
                    start_us=self.resolved_us, end_us=self.resolved_us, lease=Lease.SETTLED, kind=Kind.LATE
                )
            case Resolution.MARKED | None:
                return asked


class Refusal(NamedTuple):
    """An ask that made no contact. `checked`: it asked to take no budget."""

    customer_id: str
    message_id: str | None
    attempt: int
    seq: int
    at_us: int
    start_us: int
    end_us: int
    channel: str
    topic: str
    campaign: str | None
    team: str | None
    sender: str | None
    weight: int
    priority: int
    lease: Lease
    send_at_given: bool
    ruleset: int
    verdict: Verdict
    checked: bool
    retry_at_us: int | None
    retry_certain: bool
    reasons: tuple[tuple[Code, str], ...] = ()
    observed: Verdict | None = None


class Resolved(NamedTuple):
    """Something that became of a contact; `end_us` is where the contact now ends."""

    customer_id: str
    contact_seq: int
    seq: int
    at_us: int
    end_us: int
    resolution: Resolution


class Changed(NamedTuple):
    customer_id: str
    seq: int
    at_us: int
    change: Change
    data: Any


Entry = Message | Refusal | Resolved | Changed


@lru_cache(maxsize=8_192)  # asked for twice a command: to look it up, and to append it
def message_key(customer_id: str, message_id: str) -> int:
    """The 64 bits by which a customer's message is looked up; the ids themselves are compared afterwards."""
    data = f"{len(customer_id)}:{customer_id}{message_id}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)
