"""What became of a contact: confirm, release, record. The first resolution stands, and every caller learns which.

Expiry is nobody's command: a lease that ended is one by comparison of times.
"""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from engine.core.account import Kind, Lease, State
from engine.core.errors import NotFound
from engine.core.outcomes import UNKNOWN_TOPIC
from engine.core.policy import DAY_US
from engine.operations.batch import Batch, Held, Plain
from engine.store.journal import MEMORY_US, Message, Resolution

OLDEST_RECORD_US = 400 * DAY_US


class Resolved(NamedTuple):
    """What a confirm, release or record met and left. `applied`: this call made it so, not an earlier one."""

    customer_id: str
    message_id: str
    attempt: int
    state: State
    applied: bool
    at_us: int


@dataclass(frozen=True, slots=True)
class ConfirmCommand(Plain):
    """The message was sent: stamped when this arrives. After expiry, release or revocation it is a late contact."""

    customer_id: str
    message_id: str
    attempt: int | None = None

    @property
    def message_ids(self) -> Collection[str]:
        return (self.message_id,)

    def apply(self, batch: Batch, held: Held) -> Resolved:
        return confirm(batch, held, _known(held, self.message_id, self.attempt))


@dataclass(frozen=True, slots=True)
class ReleaseCommand(Plain):
    """The message will not be sent: its budget returns at once, exactly once."""

    customer_id: str
    message_id: str
    attempt: int | None = None

    @property
    def message_ids(self) -> Collection[str]:
        return (self.message_id,)

    def apply(self, batch: Batch, held: Held) -> Resolved:
        message = _known(held, self.message_id, self.attempt)
        state = message.state(held.now_us)
        applied = state is State.RESERVED
        if applied:
            message = batch.resolve(held, message, Resolution.RELEASED, held.now_us)
        return _resolved(held, message, applied=applied)


@dataclass(frozen=True, slots=True)
class RecordCommand(Plain):
    """A contact that happened without an ask, in its own time. Never refused; counted; the same id counts once."""

    customer_id: str
    message_id: str
    channel: str
    topic: str
    at_us: int
    campaign: str | None = None
    team: str | None = None
    sender: str | None = None
    weight: int = 1
    priority: int = 50

    @property
    def message_ids(self) -> Collection[str]:
        return (self.message_id,)

    def labels(self) -> Iterable[str | None]:
        return (self.topic, self.campaign, self.team, self.sender)

    def without(self, unnamed: Set[str]) -> Self:
        """What was sent was sent: it is counted under `UNKNOWN_TOPIC`, and without the other names."""
        campaign, team, sender = (None if each in unnamed else each for each in (self.campaign, self.team, self.sender))
        topic = UNKNOWN_TOPIC if self.topic in unnamed else self.topic
        return replace(self, topic=topic, campaign=campaign, team=team, sender=sender)

    def apply(self, batch: Batch, held: Held) -> Resolved:
        known = held.message(self.message_id)
        if known is not None and held.now_us - known.at_us <= MEMORY_US:
            return confirm(batch, held, known)
        return record(batch, held, self, Kind.RECORDED)


def record(batch: Batch, held: Held, told: RecordCommand, kind: Kind) -> Resolved:
    """Put on record a contact that nobody asked for, under an id that no contact remembered has."""
    topic = batch.rules.topic(told.topic)
    at_us = min(max(told.at_us, held.now_us - OLDEST_RECORD_US), held.now_us)
    message = Message(
        held.customer_id,
        told.message_id,
        1,
        held.stamp(),
        held.now_us,
        at_us,
        at_us,
        told.channel,
        told.topic,
        told.campaign,
        told.team,
        told.sender,
        told.weight,
        told.priority,
        Lease.SETTLED,
        kind,
        topic is None or topic.counts,
        topic is not None and topic.ceiling is not None,
        False,
        batch.rules.number,
    )
    batch.entries.append(message)
    contact = message.contact()
    if contact is not None:
        held.account.add(contact)
    held.learn(message)
    return _resolved(held, message, applied=True)


def confirm(batch: Batch, held: Held, message: Message) -> Resolved:
    """Note that a known message was sent."""
    state = message.state(held.now_us)
    match state:
        case State.RESERVED:
            end_us = max(held.now_us, message.start_us)  # confirmed ahead of its time: it may still be on its way
            return _resolved(held, batch.resolve(held, message, Resolution.CONFIRMED, end_us), applied=True)
        case State.EXPIRED | State.RELEASED | State.REVOKED:
            return _resolved(held, batch.resolve(held, message, Resolution.LATE, held.now_us), applied=True)
        case State.PRESUMED_SENT if message.resolution is None:
            return _resolved(held, batch.resolve(held, message, Resolution.MARKED, message.end_us), applied=True)
        case State.PRESUMED_SENT | State.CONFIRMED | State.LATE | State.RECORDED:
            return _resolved(held, message, applied=False)


def _known(held: Held, message_id: str, attempt: int | None) -> Message:
    message = held.message(message_id, attempt)
    if message is None:
        which = "" if attempt is None else f", attempt {attempt},"
        raise NotFound(f"message {message_id!r}{which} of this customer was not reserved within the last 16 days")
    return message


def _resolved(held: Held, message: Message, *, applied: bool) -> Resolved:
    return Resolved(
        held.customer_id, message.message_id, message.attempt, message.state(held.now_us), applied, held.now_us
    )
