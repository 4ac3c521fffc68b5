"""What events do to their customer, under the lock of the account: contacts, suppressions, consents, cases.

Events commute: in any order, in any grouping into commands, however often each is told, they leave the same on file.
Contacts are told first, so that a message that was sent before its customer unsubscribed is confirmed, not revoked.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from engine.core import outcomes, soft_bounces
from engine.core.account import Kind, State
from engine.core.customer import Customer
from engine.core.events import Event, EventType
from engine.core.policy import DAY_US, Policy
from engine.core.suppression import heard, joined
from engine.operations.batch import Batch, Held, Plain
from engine.operations.file import profile_data, suppressions_data
from engine.operations.resolve import RecordCommand, confirm, record
from engine.store.customers import outcomes_data
from engine.store.journal import MEMORY_US, Change, Message

_RECENT_US = MEMORY_US - DAY_US


class Happened(NamedTuple):
    """What the events of a command did. `confirmed` and `unasked` are contacts, `revoked` the open leases ended,
    `suppressed` the suppressions that are in force and were not before; `news` are the keys of those not kept before,
    `unplaced` of those among them that say of no known message, in no channel, that it was sent or bounced: they
    occupy nothing, and forbid nothing.
    """

    customer_id: str
    confirmed: int
    unasked: int
    suppressed: int
    revoked: int
    news: frozenset[int] = frozenset()
    unplaced: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class HappenedCommand(Plain):
    """Events of one customer, which are appended in the same transaction. What lies ahead holds from now on; which of
    two came later is what their senders say, or it would hang on when they arrive.

    An event under a key that is kept already is the same event, whatever it says: nothing that is not kept acts.
    Contacts do without the names in `unnamed`; what else the events do, they do by all that they say.
    """

    customer_id: str
    events: tuple[Event, ...]
    unnamed: Set[str] = frozenset()

    @property
    def message_ids(self) -> set[str]:
        named = {each.message_id for each in self.events if each.message_id is not None}
        return named | {outcomes.contact_id(each) for each in self.events if outcomes.is_send(each)}

    @property
    def event_keys(self) -> set[int]:
        return {each.key for each in self.events}

    def old_message_ids(self, held: Held) -> set[str]:
        return {
            each.message_id
            for each in self.events
            if each.message_id is not None
            and each.message_id not in held.messages
            and (outcomes.needs_message(each) or (outcomes.is_send(each) and each.at_us < held.now_us - _RECENT_US))
        }

    def labels(self) -> Iterable[str | None]:
        yield outcomes.UNKNOWN_TOPIC
        for each in self.events:
            yield from (each.type, each.source, each.topic, each.campaign)

    def without(self, unnamed: Set[str]) -> Self:
        return replace(self, unnamed=unnamed)

    def apply(self, batch: Batch, held: Held) -> Happened:
        news = self._news(held)
        if not news:
            return Happened(held.customer_id, 0, 0, 0, 0)
        held.told |= news.keys()
        events = list(news.values())
        confirmed = unasked = 0
        unplaced: set[int] = set()
        for event in sorted(filter(outcomes.is_send, events), key=_fullest_first):
            if event.channel is None and not held.messages.get(event.message_id or ""):
                unplaced.add(event.key)
                continue
            kind = _sent(batch, held, event, self.unnamed)
            confirmed += kind is Kind.ASKED
            unasked += kind is Kind.UNASKED
        before = held.customer.in_force
        about = [_labels(held, each) for each in events]
        placed = [outcomes.placed(each, of and of[:2]) for each, of in zip(events, about, strict=True)]
        unplaced |= {each.key for each in placed if each.type == EventType.BOUNCED and each.channel is None}
        revoked = _tell(batch, held, placed)
        batch.events += [outcomes.kept(each, of) for each, of in zip(events, about, strict=True)]
        suppressed = sum(each not in before for each in held.customer.in_force)
        return Happened(held.customer_id, confirmed, unasked, suppressed, revoked, frozenset(news), frozenset(unplaced))

    def _news(self, held: Held) -> dict[int, Event]:
        """The events that are not kept yet, by key; of two with the same key the first."""
        news: dict[int, Event] = {}
        for each in self.events:
            key = each.key
            if key not in held.told:
                news.setdefault(key, each)
        return news


def _fullest_first(event: Event) -> tuple[bool, bool, int]:
    """The first to tell of a message that nobody asked for says what it was."""
    return event.channel is None, event.topic is None, event.at_us


def _sent(batch: Batch, held: Held, event: Event, unnamed: Set[str]) -> Kind | None:
    """Note that a message was sent: which kind of contact is new by it, if any."""
    message_id = outcomes.contact_id(event)
    known = held.messages.get(message_id, ())
    if known:
        newest = known[0]
        if event.at_us <= newest.at_us - MEMORY_US:
            return None  # told again of one that bore the id before: that one had its contact
        if newest.state(held.now_us) is not State.RESERVED and any(_is_sent(held, each) for each in known[1:]):
            return None  # an earlier attempt was confirmed late: it is the same message
        return Kind.ASKED if confirm(batch, held, newest).applied else None
    if event.channel is None or event.at_us <= held.now_us - outcomes.OLDEST_US:
        return None
    told = RecordCommand(
        held.customer_id,
        message_id,
        event.channel,
        event.topic or outcomes.UNKNOWN_TOPIC,
        event.at_us,
        event.campaign,
        sender=event.source,
    )
    record(batch, held, told.without(unnamed), Kind.UNASKED)
    return Kind.UNASKED


def _is_sent(held: Held, message: Message) -> bool:
    return message.state(held.now_us).is_live


def _labels(held: Held, event: Event) -> tuple[str, str, str | None] | None:
    """Channel, topic and campaign of an event's message. Not where only events tell of it: they come in any order."""
    for each in held.messages.get(event.message_id or "", ()):
        if each.kind is not Kind.UNASKED:
            return each.channel, each.topic, each.campaign
    return None


def _tell(batch: Batch, held: Held, events: list[Event]) -> int:
    """File what the events say, each sort of change as one entry; the number of leases that this ended."""
    policy = batch.rules.policy
    customer = _told(held.customer, events, policy, held.clock_us)
    was, revoked = held.customer, 0
    if customer.consents != was.consents:
        profile = replace(was, consents=customer.consents)
        revoked += batch.refile(held, Change.PROFILE, profile, profile_data(profile))
    if customer.outcomes != was.outcomes:
        heard = replace(held.customer, outcomes=customer.outcomes)
        batch.change(held, Change.OUTCOMES, heard, outcomes_data(heard.outcomes))
    if customer.suppressions != was.suppressions:
        revoked += batch.refile(held, Change.SUPPRESSIONS, customer, suppressions_data(customer))
    return revoked


def _told(customer: Customer, events: list[Event], policy: Policy, clock_us: int) -> Customer:
    """The customer as known after these events too."""
    known = customer.outcomes.told(events, policy, clock_us)
    soft = list(soft_bounces.facts(known.soft_bounces, policy.soft_bounces))
    bounced = {
        (each.channel, each.digest or None) for each in {*known.soft_bounces} - {*customer.outcomes.soft_bounces}
    }
    news = [*outcomes.facts(events), *(each for each in soft if (each.scope.channel, each.digest) in bounced)]
    return replace(
        customer,
        consents=outcomes.consents(customer.consents, events, clock_us),
        suppressions=joined(customer.suppressions, (*soft, *heard(news, customer.suppressions, clock_us))),
        outcomes=known,
    )
