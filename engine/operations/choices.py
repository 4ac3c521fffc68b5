"""What customers say on their own page, and with the one click of their mail program: a token's holder speaks.

A token that is over does nothing. One that is good binds, also where nothing is on file of its customer, as after a
restore of an older backup; only of who was erased nothing is written, since the erasure forbids everything. To leave is
never refused; all else a customer may change so many times a day, or whoever has a link could let the journal grow as
fast as they like. The clock is Takt's: whether a token is over is asked under the lock.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from engine.core.account import LINGER_US
from engine.core.choices import Choice, Choices, Move, Sort, choices, event_of, moves, preferences
from engine.core.events import TAKT_SOURCE, Event, EventType, Flag, event_key
from engine.core.origins import Origin
from engine.core.policy import MINUTE_US
from engine.core.rules import Rules
from engine.core.suppression import LIFTED_BY_CONSENT, Scope, SuppressionReason, last_word_us
from engine.operations.batch import Batch, Held, Plain
from engine.operations.file import settle
from engine.operations.happened import HappenedCommand
from engine.store.customers import preference_data
from engine.store.journal import Change

CHANGES_A_DAY: Final = 50
_TYPES = (EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED, EventType.OPTED_DOWN, EventType.OPTED_UP)


class Heard(StrEnum):
    """What became of the wishes of a form. TOO_OFTEN: some wait for another day."""

    SAVED = "saved"
    PARTLY = "saved_partly"
    UNCHANGED = "unchanged"
    TOO_OFTEN = "too_often"


class Chosen(NamedTuple):
    """How everything stands after a form, what became of its wishes, and whether any of them changed anything."""

    choices: Choices
    heard: Heard
    changed: bool


@dataclass(frozen=True, slots=True)
class _Said(Plain):
    """Said by the holder of a token that says `origin`, and is good for `days`."""

    origin: Origin
    days: int

    @property
    def customer_id(self) -> str:
        return self.origin.customer_id

    @property
    def counts_choices(self) -> bool:
        return True

    def labels(self) -> Iterable[str | None]:
        return (*_TYPES, TAKT_SOURCE, self.origin.channel, self.origin.topic, self.origin.campaign)

    def _look(self, rules: Rules, held: Held) -> Choices:
        return choices(rules, held.customer, held.account, self.origin, held.now_us)

    def _is_over(self, held: Held) -> bool:
        return self.origin.has_expired(held.now_us, self.days)


@dataclass(frozen=True, slots=True)
class LookAtChoices(_Said):
    """What may be chosen now, or None for a token that is over. It is peeked: to look is not to write."""

    def apply(self, batch: Batch, held: Held) -> Choices | None:
        return self.peek(batch.rules, held)

    def peek(self, rules: Rules, held: Held) -> Choices | None:
        return None if self._is_over(held) else self._look(rules, held)


@dataclass(frozen=True, slots=True)
class Leave(_Said):
    """One click: no more of the message's topic in its channel. Each token's is told, also of who has left already: as
    of now, so that no return of before that is told late ends it. It is told again where the customer came back, and
    where the last one is a minute old."""

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
        if not held.is_erased and not self._is_told(held):
            event = self._event(held)
            HappenedCommand(self.customer_id, (event,)).apply(batch, held)
            held.told.add(self._key)
            held.chosen += 1
        return self._look(batch.rules, held)

    def _is_told(self, held: Held) -> bool:
        """Whether this token's click has been told, and binds."""
        left_us = [
            each.at_us
            for each in held.customer.in_force
            if each.reason is SuppressionReason.UNSUBSCRIBE and each.scope == self.origin.scope
        ]
        if not left_us or self._key not in held.told:
            return False
        return left_us[0] > held.clock_us - MINUTE_US or held.chosen >= CHANGES_A_DAY

    def _event(self, held: Held) -> Event:
        origin = self.origin
        return Event(
            origin.customer_id,
            TAKT_SOURCE,
            f"{self.event_id}:{held.now_us}:{held.account.seq}" if self._key in held.told else self.event_id,
            EventType.UNSUBSCRIBED.value,
            last_word_us(held.customer.suppressions, origin.scope, held.clock_us),
            origin.channel,
            origin.topic,
            origin.campaign,
            origin.message_id,
            flags=int(Flag.ONE_CLICK),
        )


@dataclass(frozen=True, slots=True)
class Choose(_Said):
    """Makes these choices the customer's own, each an outcome too, in one transaction. What was changed too often
    today stays as it is, but for what is left."""

    wanted: tuple[tuple[Scope, Choice], ...]

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        """All that any window reaches: an ask behind this in one transaction may look further back because of it."""
        return held.now_us - rules.longest_us - LINGER_US

    def apply(self, batch: Batch, held: Held) -> Chosen | None:
        if self._is_over(held):
            return None
        found = self._look(batch.rules, held)
        wished = [] if held.is_erased else moves(found, self.wanted)
        changed = [each for each in wished if held.chosen < CHANGES_A_DAY or each.to.sort is Sort.NONE]
        self._change(batch, held, changed)
        heard = Heard.TOO_OFTEN if len(changed) < len(wished) else self._heard(found, changed)
        return Chosen(self._look(batch.rules, held), heard, bool(changed))

    def _heard(self, found: Choices, changed: Collection[Move]) -> Heard:
        """A wish that stood before is granted too; one for what is no line, or cannot be chosen, is not."""
        granted = {each.line.scope for each in changed}
        for scope, to in self.wanted:
            line = found.line(scope)
            if scope not in granted and (line is None or line.choice != to):
                return Heard.PARTLY if changed else Heard.UNCHANGED
        return Heard.SAVED

    def _change(self, batch: Batch, held: Held, changed: Collection[Move]) -> None:
        if changed:
            held.chosen += len(changed)
            stem = f"choice:{held.now_us}:{held.account.seq}"
            for line, to in changed:
                if line.choice.sort is Sort.NONE and to.sort is not Sort.NONE:
                    settle(batch, held, line.scope, LIFTED_BY_CONSENT)
            facts = held.customer.suppressions
            told = tuple(
                event_of(
                    each,
                    self.customer_id,
                    f"{stem}:{number}",
                    last_word_us(facts, each.line.scope, held.clock_us),
                    self.origin,
                )
                for number, each in enumerate(changed)
            )
            HappenedCommand(self.customer_id, told).apply(batch, held)
            limits = preferences(held.customer.preferences, changed)
            if limits != held.customer.preferences:
                customer = replace(held.customer, preferences=limits)
                batch.change(held, Change.PREFERENCES, customer, [preference_data(each) for each in limits])
