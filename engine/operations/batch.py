"""The frame of every write to an account: commands on locked customers, and what they leave to be written.

A command is pure once its customer is read: it decides, changes the customer in memory, and returns its answer. The
lanes bring the customer, write what it left, and commit; only then is the answer given.
"""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from typing import Protocol, Self

from engine.core import reach
from engine.core.account import Account, Contact
from engine.core.customer import UNKNOWN, Customer
from engine.core.events import Event
from engine.core.rules import Rules
from engine.core.suppression import Consent, Suppression, find_suppression, is_withdrawn
from engine.store.addresses import Link
from engine.store.customers import CustomerTexts, customer_of, texts_of
from engine.store.exposures import Exposure
from engine.store.journal import Change, Changed, Entry, Message, Resolution, Resolved

_OF_REACH = (Change.SUPPRESSIONS, Change.ADDRESSES)


class Held:
    """One customer under the lock: the account, what is on file, the messages that the commands name, and of the events
    that they tell the keys of those that are kept already. `chosen`: how much they chose themselves in 24 hours.

    `now_us` is the customer's: it stands still where a clock ran ahead of them. `clock_us` is what the clock says, and
    dates their words: a word of `now_us` would outrank whatever is told until the clock has caught up.
    """

    __slots__ = (
        "account",
        "changed_file",
        "chosen",
        "clock_us",
        "customer",
        "customer_id",
        "is_dirty",
        "is_erased",
        "messages",
        "now_us",
        "told",
    )

    def __init__(self, customer_id: str, account: Account, texts: CustomerTexts, clock_us: int) -> None:
        self.customer_id = customer_id
        self.account = account
        self.customer: Customer = customer_of(texts)
        self.clock_us = clock_us
        self.now_us = max(clock_us, account.latest_us)  # a clock that steps back frees nothing
        self.messages: dict[str, list[Message]] = {}
        self.told: set[int] = set()
        self.chosen = 0
        self.is_dirty = False
        self.changed_file = False
        self.is_erased = False

    def erase(self, as_known: Customer) -> None:
        """This is somebody who was erased: `as_known` is all that is known of such a one."""
        self.is_erased, self.customer = True, as_known

    def readmit(self) -> None:
        """This is somebody new."""
        self.is_erased, self.customer = False, UNKNOWN

    def message(self, message_id: str, attempt: int | None = None) -> Message | None:
        """The newest attempt under this id, or the one named."""
        for each in self.messages.get(message_id, ()):
            if attempt is None or each.attempt == attempt:
                return each
        return None

    def stamp(self) -> int:
        """The number of the next journal entry of this customer."""
        self.is_dirty = True
        return self.account.stamp(self.now_us)

    def learn(self, message: Message) -> None:
        """Let later commands of the batch see a message as it now stands."""
        if message.message_id not in self.messages:
            self.messages[message.message_id] = [message]
            return
        known = [each for each in self.messages[message.message_id] if each.seq != message.seq]
        # Not by attempt: attempts are counted anew once the last one has been forgotten.
        self.messages[message.message_id] = sorted([message, *known], key=lambda each: -each.seq)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What forbids contacts to a customer that did not before: suppressions, and consents withdrawn since."""

    suppressions: tuple[Suppression, ...]
    consents_before: tuple[Consent, ...] = ()
    consents: tuple[Consent, ...] = ()

    @classmethod
    def between(cls, before: Customer, after: Customer) -> "Refusals | None":
        """None where nothing more is forbidden."""
        was = before.in_force
        new = tuple(each for each in after.in_force if each not in was)
        if before.consents != after.consents:
            return cls(new, before.consents, after.consents)
        return cls(new) if new else None

    def binds(self, contact: Contact, *, exempt: bool) -> bool:
        """Whether such a contact is forbidden by them."""
        channel, topic = contact.channel, contact.topic
        if find_suppression(self.suppressions, channel, topic, exempt=exempt) is not None:
            return True
        return (
            not exempt
            and is_withdrawn(self.consents, channel, topic)
            and not is_withdrawn(self.consents_before, channel, topic)
        )


@dataclass(slots=True)
class Batch:
    """One transaction: the rules it decides by, its customers, and the journal entries and events it will append."""

    rules: Rules
    held: dict[str, Held]
    entries: list[Entry] = field(default_factory=list[Entry])
    events: list[Event] = field(default_factory=list[Event])
    reach: dict[tuple[str, str | None], Event] = field(default_factory=dict[tuple[str, str | None], Event])
    linked: list[Link] = field(default_factory=list[Link])
    unlinked: list[Link] = field(default_factory=list[Link])
    # Facts of addresses, as they were told, and what they are now dated.
    settled: list[tuple[Suppression, int]] = field(default_factory=list[tuple[Suppression, int]])
    exposures: dict[tuple[str, int], Exposure] = field(default_factory=dict[tuple[str, int], Exposure])
    readmitted: list[bytes] = field(default_factory=list[bytes])  # digests of erased customers who are back

    def resolve(self, held: Held, message: Message, resolution: Resolution, end_us: int) -> Message:
        """Journal what became of a contact, and let the account follow."""
        self.entries.append(Resolved(held.customer_id, message.seq, held.stamp(), held.now_us, end_us, resolution))
        resolved = message._replace(resolution=resolution, resolved_us=end_us)
        if resolution is not Resolution.MARKED:  # which changes no contact, and that one may be in the totals by now
            contact = resolved.contact()
            held.account.remove(message.seq)
            if contact is not None:
                held.account.add(contact)
        held.learn(resolved)
        return resolved

    def revoke(self, held: Held, seq: int) -> None:
        """End an open lease, known by its number alone."""
        self.entries.append(Resolved(held.customer_id, seq, held.stamp(), held.now_us, held.now_us, Resolution.REVOKED))
        contact = held.account.find(seq)
        rest = None if contact is None else contact.revoked(held.now_us)
        held.account.remove(seq)
        if rest is not None:
            held.account.add(rest)
        for message in [each for attempts in held.messages.values() for each in attempts if each.seq == seq]:
            held.learn(message._replace(resolution=Resolution.REVOKED, resolved_us=held.now_us))

    def change(self, held: Held, change: Change, customer: Customer, data: object) -> None:
        """Journal a change of what is on file, and tell in which channels it makes or ends reach."""
        self.entries.append(Changed(held.customer_id, held.stamp(), held.now_us, change, data))
        if change in _OF_REACH:
            now = reach.lost(customer, self.rules.policy)
            self.tell_reach(held, now ^ reach.lost(held.customer, self.rules.policy), now)
        held.customer = customer
        held.changed_file = True

    def tell_reach(self, held: Held, of: Iterable[str | None], lost: frozenset[str | None]) -> None:
        """Keep, as events, in which of these channels a customer can be reached from now on. Of one instant the last
        word is kept, as nothing else would say which that was."""
        for each in reach.told(held.customer_id, of, lost, held.now_us, held.account.seq):
            self.reach[each.customer_id, each.channel] = each

    def refile(self, held: Held, change: Change, customer: Customer, data: object) -> int:
        """Journal a change that may forbid more than before, and end the open leases that it forbids; how many."""
        news = Refusals.between(held.customer, customer)
        self.change(held, change, customer, data)
        if not news:
            return 0
        revoked = 0
        rules = self.rules.of(held.customer_id, held.now_us)
        for contact in list(held.account.contacts):
            if not contact.is_open(held.now_us):
                continue
            topic = rules.topic(contact.topic)
            if news.binds(contact, exempt=topic is not None and topic.exempt):
                self.revoke(held, contact.seq)
                revoked += 1
        return revoked

    def happened(self) -> list[Event]:
        """All events to keep: those that were told, and what became of reach."""
        return [*self.events, *self.reach.values()]

    def changed_files(self) -> dict[str, CustomerTexts]:
        return {each.customer_id: texts_of(each.customer) for each in self.held.values() if each.changed_file}

    def dirty_accounts(self) -> dict[str, Account]:
        """The accounts to save, rid of what can no longer matter."""
        dirty = {each.customer_id: each for each in self.held.values() if each.is_dirty}
        for held in dirty.values():
            held.account.settle(held.now_us, self.rules.longest_us)
        return {customer_id: held.account for customer_id, held in dirty.items()}


class Command(Protocol):
    """One write of one customer."""

    @property
    def customer_id(self) -> str: ...

    @property
    def message_ids(self) -> Collection[str]:
        """The messages to look up."""
        ...

    @property
    def event_keys(self) -> Collection[int]:
        """The events to look up, by their keys: what is kept already does nothing again."""
        ...

    @property
    def counts_choices(self) -> bool:
        """Whether to look up how much the customer has chosen themselves of late."""
        ...

    def old_message_ids(self, held: Held) -> Collection[str]:
        """Those that were not found, but may have been asked for longer ago than a message is remembered."""
        ...

    def labels(self) -> Iterable[str | None]:
        """The labels that its entries will name; they are interned before the transaction."""
        ...

    def as_declared(self, rules: Rules, missing: Set[str]) -> Self:
        """The same; of an ask that these rules deny for its topic, without those names that have no label yet."""
        ...

    def without(self, unnamed: Set[str]) -> Self | None:
        """The same, leaving out names for which there is no label; None where that would be another command."""
        ...

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        """From when on the account must be complete for it; a large number where it does not matter."""
        ...

    def apply(self, batch: Batch, held: Held) -> object:
        """Do it in memory. Raises a `TaktError` before it has changed anything."""
        ...


NO_NEED_US = 2**62


class Plain:
    """What most commands say: about no message, naming no label, and in need of nothing that the account let go."""

    __slots__ = ()

    @property
    def message_ids(self) -> Collection[str]:
        return ()

    @property
    def event_keys(self) -> Collection[int]:
        return ()

    @property
    def counts_choices(self) -> bool:
        return False

    def old_message_ids(self, held: Held) -> Collection[str]:
        return ()

    def labels(self) -> Iterable[str | None]:
        return ()

    def as_declared(self, rules: Rules, missing: Set[str]) -> Self:
        return self

    def without(self, unnamed: Set[str]) -> Self | None:
        return self

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        return NO_NEED_US
