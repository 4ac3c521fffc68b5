"""What customers say on their own page, and with the one click of their mail program: a token's holder speaks.

A token that is over does nothing, and neither does one of a customer who was erased. The clock is Takt's: whether a
token is over is asked under the lock.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from engine.core.account import LINGER_US
from engine.core.choices import Choice, Choices, choices, event_of, moves, preferences
from engine.core.events import TAKT_SOURCE, Event, EventType, Flag, event_key
from engine.core.origins import Origin
from engine.core.rules import Rules
from engine.core.suppression import Scope, SuppressionReason
from engine.operations.batch import Batch, Held, Plain
from engine.operations.happened import HappenedCommand
from engine.store.customers import preference_data
from engine.store.journal import Change

_TYPES = (EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED, EventType.OPTED_DOWN, EventType.OPTED_UP)


@dataclass(frozen=True, slots=True)
class _Said(Plain):
    """Said by the holder of a token that says `origin`, and is good for `days`."""

    origin: Origin
    days: int

    @property
    def customer_id(self) -> str:
        return self.origin.customer_id

    def labels(self) -> Iterable[str | None]:
        return (*_TYPES, TAKT_SOURCE, self.origin.channel, self.origin.topic, self.origin.campaign)

    def _look(self, rules: Rules, held: Held) -> Choices:
        return choices(rules, held.customer, held.account, self.origin, held.now_us)

    def _is_over(self, held: Held) -> bool:
        return self.origin.has_expired(held.now_us, self.days)

    def _is_gone(self, held: Held) -> bool:
        """Whether nothing may be written of the customer: erased, or never heard of."""
        facts = held.customer.in_force
        return not held.account.seq or any(each.reason is SuppressionReason.ERASURE for each in facts)


@dataclass(frozen=True, slots=True)
class LookAtChoices(_Said):
    """What may be chosen now, or None for a token that is over. It is peeked: to look is not to write."""

    def apply(self, batch: Batch, held: Held) -> Choices | None:
        return self.peek(batch.rules, held)

    def peek(self, rules: Rules, held: Held) -> Choices | None:
        return None if self._is_over(held) else self._look(rules, held)


@dataclass(frozen=True, slots=True)
class Leave(_Said):
    """One click: no more of the message's topic in its channel. One event a token, however often it comes, unless the
    customer came back in between: who leaves again has left again."""

    event_id: str

    @property
    def event_keys(self) -> Collection[int]:
        return (self._key,)

    @property
    def _key(self) -> int:
        return event_key(TAKT_SOURCE, self.event_id)

    def apply(self, batch: Batch, held: Held) -> Choices | None:
        if self._is_over(held):
            return None
        if not self._is_gone(held):
            if not self._has_left(held):
                HappenedCommand(self.customer_id, (self._event(held),)).apply(batch, held)
            elif self._key not in held.told:
                held.told.add(self._key)
                batch.events.append(self._event(held))  # it binds no more than what was said before
        return self._look(batch.rules, held)

    def _has_left(self, held: Held) -> bool:
        left = (each.scope for each in held.customer.in_force if each.reason is SuppressionReason.UNSUBSCRIBE)
        return self.origin.scope in left

    def _event(self, held: Held) -> Event:
        origin = self.origin
        return Event(
            origin.customer_id,
            TAKT_SOURCE,
            f"{self.event_id}:{held.now_us}" if self._key in held.told else self.event_id,
            EventType.UNSUBSCRIBED.value,
            held.now_us,
            origin.channel,
            origin.topic,
            origin.campaign,
            origin.message_id,
            flags=int(Flag.ONE_CLICK),
        )


@dataclass(frozen=True, slots=True)
class Choose(_Said):
    """Makes these choices the customer's own, each an outcome too, in one transaction."""

    wanted: tuple[tuple[Scope, Choice], ...]

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        """All that any window reaches: an ask behind this in one transaction may look further back because of it."""
        return held.now_us - rules.longest_us - LINGER_US

    def apply(self, batch: Batch, held: Held) -> Choices | None:
        if self._is_over(held):
            return None
        changed = [] if self._is_gone(held) else moves(self._look(batch.rules, held), self.wanted)
        if changed:
            stem = f"choice:{held.now_us}:{held.account.seq}"
            told = tuple(
                event_of(each, self.customer_id, f"{stem}:{number}", held.now_us, self.origin)
                for number, each in enumerate(changed)
            )
            HappenedCommand(self.customer_id, told).apply(batch, held)
            limits = preferences(held.customer.preferences, changed)
            if limits != held.customer.preferences:
                customer = replace(held.customer, preferences=limits)
                batch.change(held, Change.PREFERENCES, customer, [preference_data(each) for each in limits])
        return self._look(batch.rules, held)
