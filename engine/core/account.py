"""The contacts held by one customer, as the account row keeps them.

An account is a digest of the journal: it can always be made again from it, and `takt verify` does. What always holds:
it carries every open lease, and every contact that matters whose end is at or after `complete_since_us`; what left it
is in `totals`. A lease that ended needs no job: whoever looks compares `end_us` with the time.
"""

from collections.abc import Container, Iterable
from enum import IntEnum, StrEnum
from typing import NamedTuple, TypeAlias

from engine.core.policy import HOUR_US

Labels: TypeAlias = tuple[str, str, str | None, str | None]  # channel, topic, campaign, team

MAX_CONTACTS = 64
LINGER_US = 48 * HOUR_US  # a zone moved west must not meet a row that has forgotten yesterday


class Lease(IntEnum):
    """Whether a contact is settled, or else what the end of its lease means."""

    SETTLED = 0
    RELEASES = 1
    PRESUMED = 2


class Kind(IntEnum):
    """How a contact came to be. RECORDED: its sender says so. UNASKED: an event says that it was sent past Takt."""

    ASKED = 0
    LATE = 1
    RECORDED = 2
    UNASKED = 3


class State(StrEnum):
    """What has become of a contact at an instant. LATE and RECORDED contacts were sent, as CONFIRMED ones were; an
    unasked contact is on record as one that was recorded."""

    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    PRESUMED_SENT = "presumed_sent"
    RELEASED = "released"
    EXPIRED = "expired"
    REVOKED = "revoked"
    LATE = "late"
    RECORDED = "recorded"

    @property
    def is_live(self) -> bool:
        return self not in (State.RELEASED, State.EXPIRED, State.REVOKED)


ALL_BUDGETS: tuple[str, ...] = ("*",)  # charged by no budget while that is in shadow: an observed policy refused it


class Contact(NamedTuple):
    """One contact. It occupies budgets from `start_us`; `end_us` is its send, or the end of its open lease.

    `uncharged` names the shadow budgets that did not charge it, frozen at the ask.
    """

    seq: int
    start_us: int
    end_us: int
    labels: Labels
    weight: int
    priority: int
    lease: Lease
    kind: Kind
    counts: bool
    under_ceiling: bool = False
    uncharged: tuple[str, ...] = ()

    @property
    def channel(self) -> str:
        return self.labels[0]

    @property
    def topic(self) -> str:
        return self.labels[1]

    @property
    def campaign(self) -> str | None:
        return self.labels[2]

    @property
    def team(self) -> str | None:
        return self.labels[3]

    @property
    def matters(self) -> bool:
        """Whether any budget or ceiling may have to count it once it is settled."""
        return self.counts or self.under_ceiling

    def has_expired(self, now_us: int) -> bool:
        """Whether its lease ended without a word, and gave its budget back."""
        return self.lease is Lease.RELEASES and self.end_us <= now_us

    def is_open(self, now_us: int) -> bool:
        return self.lease is not Lease.SETTLED and now_us < self.end_us

    def state(self, now_us: int) -> State:
        if self.kind is Kind.LATE:
            return State.LATE
        if self.kind is Kind.RECORDED or self.kind is Kind.UNASKED:
            return State.RECORDED
        if self.lease is Lease.SETTLED:
            return State.CONFIRMED
        if now_us < self.end_us:
            return State.RESERVED
        return State.EXPIRED if self.lease is Lease.RELEASES else State.PRESUMED_SENT

    def with_uncharged(self, budget: str) -> "Contact":
        return self._replace(uncharged=(*self.uncharged, budget))

    def revoked(self, now_us: int) -> "Contact | None":
        """What of it goes on to use budget once a suppression has ended its lease.

        Nothing, if its sender confirms what it sends: a message sent already will come as a late contact. A sender
        that does not confirm may send from the start of its lease to the end and will never say so: it all stays used.
        """
        if self.lease is not Lease.PRESUMED or self.start_us > now_us:
            return None
        return self._replace(lease=Lease.SETTLED)

    def confirmed(self, now_us: int) -> "Contact":
        """The same, sent. A planned send confirmed ahead of its time ends at its start: it may still be on its way."""
        return self._replace(end_us=max(now_us, self.start_us), lease=Lease.SETTLED)


class Account:
    """The contacts of one customer that can still matter, totals of those that left, and the latest instant stamped."""

    __slots__ = ("complete_since_us", "contacts", "latest_us", "seq", "stored", "totals")

    def __init__(
        self,
        seq: int = 0,
        latest_us: int = 0,
        complete_since_us: int = 0,
        contacts: list[Contact] | None = None,
        totals: dict[tuple[str, str], int] | None = None,
    ) -> None:
        self.seq = seq
        self.latest_us = latest_us
        self.complete_since_us = complete_since_us
        self.contacts = [] if contacts is None else contacts
        self.totals = {} if totals is None else totals
        # The contacts that were read from a row, and the row: what has not changed need not be encoded again.
        self.stored: tuple[list[Contact], bytes] | None = None

    def stamp(self, now_us: int) -> int:
        """Number a journal entry made at this instant; returns its seq."""
        self.seq += 1
        self.latest_us = max(self.latest_us, now_us)
        return self.seq

    def find(self, seq: int) -> Contact | None:
        for contact in self.contacts:
            if contact.seq == seq:
                return contact
        return None

    def add(self, contact: Contact) -> None:
        self.contacts.append(contact)

    def replace(self, contact: Contact) -> None:
        self.contacts = [contact if each.seq == contact.seq else each for each in self.contacts]

    def remove(self, seq: int) -> None:
        self.contacts = [each for each in self.contacts if each.seq != seq]

    def settle(self, now_us: int, longest_us: int) -> None:
        """Let go of what can no longer matter: expired leases, uncounted contacts that ended, and the old.

        `longest_us` is the longest window of the policy; contacts stay that long and 48 hours more, at most
        64 of them, the newest. Those that leave are added to the totals.
        """
        left_by_us = now_us - longest_us - LINGER_US
        for each in self.contacts:
            if each.end_us <= now_us and (
                each.lease is Lease.RELEASES or not each.matters or each.end_us <= left_by_us
            ):
                break
        else:
            if len(self.contacts) <= MAX_CONTACTS:
                return
        kept: list[Contact] = []
        for each in self.contacts:
            if each.end_us > now_us:
                kept.append(each)
            elif each.lease is Lease.RELEASES or not each.matters:
                continue
            elif each.end_us <= left_by_us:
                self._add_to_totals(each)
            else:
                kept.append(each)
        closed = sorted((each for each in kept if not each.is_open(now_us)), key=lambda each: each.end_us)
        leaving = {each.seq for each in closed[: max(len(kept) - MAX_CONTACTS, 0)]}
        for each in closed:
            if each.seq in leaving:
                self._add_to_totals(each)
        self.contacts = [each for each in kept if each.seq not in leaving]

    def forget(self, seqs: Container[int]) -> bool:
        """Let go of contacts that ended before any window, and that the journal forgets; whether there were any."""
        old = [each for each in self.contacts if each.seq in seqs]
        for each in old:
            self.let_go(each)
        if old:
            self.contacts = [each for each in self.contacts if each.seq not in seqs]
        return bool(old)

    def let_go(self, contact: Contact) -> None:
        """Add a contact that has ended, and is not among `contacts` any more, to the totals if it weighs there."""
        if contact.matters and not contact.has_expired(contact.end_us):
            self._add_to_totals(contact)

    def _add_to_totals(self, contact: Contact) -> None:
        if contact.counts:
            key = (contact.channel, contact.topic)
            self.totals[key] = self.totals.get(key, 0) + contact.weight
        self.complete_since_us = max(self.complete_since_us, contact.end_us + 1)

    def recall(self, contacts: Iterable[Contact], since_us: int) -> None:
        """Take back, from the journal, every counting contact that ended at or after `since_us`."""
        held = {each.seq for each in self.contacts}
        for each in contacts:
            if not each.matters or each.seq in held or each.end_us < since_us:
                continue
            self.contacts.append(each)
            if each.counts:
                key = (each.channel, each.topic)
                rest = self.totals.pop(key, 0) - each.weight
                if rest:  # below 0 it is wrong, and stays so for `takt verify` to see: a counter is never clamped
                    self.totals[key] = rest
        self.complete_since_us = min(self.complete_since_us, since_us)
        self.contacts.sort(key=lambda each: each.seq)
