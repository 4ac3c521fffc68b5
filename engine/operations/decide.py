"""May I send this message to this customer now? One ask, decided under the lock of the customer's account."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Self

from engine.core.account import Kind, State
from engine.core.decision import decide, needs_since_us
from engine.core.errors import InvalidAsk, MessageReused, Problem
from engine.core.outcomes import UNDECLARED_TOPIC
from engine.core.policy import DAY_US, PolicyMode
from engine.core.rules import Rules
from engine.core.treatments import NOTHING_SHOWN, Treated, rules_for, shown, treat
from engine.core.verdict import Ask, BudgetLine, Code, Decision, Reason, Verdict
from engine.operations.batch import Batch, Held, Plain
from engine.operations.exposing import enter
from engine.store.journal import MEMORY_US, Message, Refusal

FARTHEST_SEND_US = 14 * DAY_US


class Mode(StrEnum):
    """`reserve` takes budget, `check` only looks but is journaled, `peek` leaves no trace."""

    RESERVE = "reserve"
    CHECK = "check"
    PEEK = "peek"


class Answer(NamedTuple):
    """The answer to an ask. Instants and durations in microseconds; `now_us` is when it was given.

    `observed`: what an observed policy would have said; the reasons are then its reasons. `variants` are those of the
    experiments that the ask is about; not `recorded`, they are those that the customer would have been given by it.
    """

    message_id: str | None
    customer_id: str
    verdict: Verdict
    state: State | None
    reasons: tuple[Reason, ...]
    retry_at_us: int | None
    retry_certain: bool
    lease_expires_us: int | None
    lease_us: int | None
    budgets: tuple[BudgetLine, ...]
    variants: Mapping[str, str]
    ruleset: int
    decided_us: int
    replayed: bool
    attempt: int
    observed: Verdict | None
    recorded: bool
    now_us: int


@dataclass(frozen=True, slots=True)
class AskCommand(Plain):
    """One ask as a command. In the mode `reserve` it has a message id.

    `undeclared` is the topic that was asked for, where the ask goes by `UNDECLARED_TOPIC` and is denied for it.
    """

    customer_id: str
    message_id: str | None
    ask: Ask
    sender: str | None = None
    undeclared: str | None = None

    @property
    def message_ids(self) -> Collection[str]:
        return () if self.message_id is None else (self.message_id,)

    def labels(self) -> Iterable[str | None]:
        return (self.ask.topic, self.ask.campaign, self.ask.team, self.sender)

    def as_declared(self, rules: Rules, missing: Set[str]) -> Self:
        topic = self.ask.topic
        if topic not in missing or rules.topic(topic) is not None or rules.policy.mode is PolicyMode.OBSERVE:
            return self
        campaign, team, sender = (
            None if each in missing else each for each in (self.ask.campaign, self.ask.team, self.sender)
        )
        ask = self.ask._replace(topic=UNDECLARED_TOPIC, campaign=campaign, team=team)
        return replace(self, ask=ask, sender=sender, undeclared=topic)

    def without(self, unnamed: Set[str]) -> Self | None:
        return None

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        return needs_since_us(rules.of(self.customer_id, held.now_us), held.customer, self.ask, held.now_us)

    def apply(self, batch: Batch, held: Held) -> Answer:
        attempt = 1
        self._check_send_at(held.now_us)
        if self.message_id is not None and self.ask.reserves:
            message = self._standing(held, self.message_id)
            if message is not None:
                state = message.state(held.now_us)
                if state.is_live:
                    self._check_content(message)
                    return _replay(message, state, held.now_us, self._shown(batch.rules, held))
                if state is State.REVOKED:
                    decision = _revoked(batch.rules, held, self.ask)
                    return self._refuse(batch, held, decision, message.attempt, self._shown(batch.rules, held))
                attempt = message.attempt + 1
        treated = self._treated(batch.rules, held)
        enter(batch, held, treated.memberships, treated.steps)
        decision = treated.decision
        if decision.verdict is Verdict.ALLOW and self.ask.reserves and self.message_id is not None:
            return self._reserve(batch, held, decision, self.message_id, attempt, treated.shown)
        return self._refuse(batch, held, decision, attempt, treated.shown)

    def peek(self, rules: Rules, held: Held) -> Answer:
        """The answer, without a trace. A live contact under the message id is not looked up."""
        self._check_send_at(held.now_us)
        treated = self._treated(rules, held)
        return _answer(self, treated.decision, rules, held.now_us, 1, None, treated.shown, recorded=False)

    def _treated(self, rules: Rules, held: Held) -> Treated:
        if rules.experiments or rules.holdouts:
            return treat(rules, self.customer_id, held.customer, held.account, self.ask, held.now_us)
        decision = decide(rules, held.customer, held.account, self.ask, held.now_us)
        return Treated(decision, held.customer.variants, (), NOTHING_SHOWN)

    def _shown(self, rules: Rules, held: Held) -> Mapping[str, str]:
        return shown(rules, self.customer_id, held.customer, self.ask, held.now_us)

    def _reserve(
        self, batch: Batch, held: Held, decision: Decision, message_id: str, attempt: int, variants: Mapping[str, str]
    ) -> Answer:
        ask, seq = self.ask, held.stamp()
        message = Message(
            self.customer_id,
            message_id,
            attempt,
            seq,
            held.now_us,
            decision.start_us,
            decision.lease_end_us,
            ask.channel,
            ask.topic,
            ask.campaign,
            ask.team,
            self.sender,
            ask.weight,
            ask.priority,
            decision.lease,
            Kind.ASKED,
            decision.counts,
            decision.under_ceiling,
            ask.send_at_us is not None,
            batch.rules.number,
            tuple((each.code, each.rule) for each in decision.reasons),
            decision.uncharged,
            decision.observed,
        )
        batch.entries.append(message)
        held.account.add(decision.contact(ask, seq))
        held.learn(message)
        return _answer(self, decision, batch.rules, held.now_us, attempt, State.RESERVED, variants)

    def _refuse(
        self, batch: Batch, held: Held, decision: Decision, attempt: int, variants: Mapping[str, str]
    ) -> Answer:
        """Journal an ask that makes no contact: refused, or allowed but only checked."""
        ask = self.ask
        batch.entries.append(
            Refusal(
                self.customer_id,
                self.message_id,
                attempt,
                held.stamp(),
                held.now_us,
                decision.start_us,
                decision.lease_end_us,
                ask.channel,
                ask.topic,
                ask.campaign,
                ask.team,
                self.sender,
                ask.weight,
                ask.priority,
                decision.lease,
                ask.send_at_us is not None,
                batch.rules.number,
                decision.verdict,
                not ask.reserves,
                decision.retry_at_us,
                decision.retry_certain,
                tuple((each.code, each.rule) for each in decision.reasons),
                decision.observed,
            )
        )
        return _answer(self, decision, batch.rules, held.now_us, attempt, None, variants)

    def _standing(self, held: Held, message_id: str) -> Message | None:
        """The live attempt under this id, else the newest, of those remembered. An earlier one lives if it was
        confirmed late."""
        known = [each for each in held.messages.get(message_id, ()) if held.now_us - each.at_us <= MEMORY_US]
        live = (each for each in known if each.state(held.now_us).is_live)
        return next(live, known[0] if known else None)

    def _check_send_at(self, now_us: int) -> None:
        send_at_us = self.ask.send_at_us
        if send_at_us is not None and send_at_us > now_us + FARTHEST_SEND_US:
            raise InvalidAsk([Problem("send_at", "an instant more than 14 days ahead", "one at most 14 days ahead")])

    def _check_content(self, message: Message) -> None:
        """Under a live id only the same message may be asked again."""
        ask = self.ask
        start_us = message.at_us if ask.send_at_us is None else max(ask.send_at_us, message.at_us)
        differing = [
            name
            for name, was, is_now in (
                ("channel", message.channel, ask.channel),
                ("topic", message.topic, ask.topic),
                ("campaign", message.campaign, ask.campaign),
                ("team", message.team, ask.team),
                ("sender", message.sender, self.sender),
                ("weight", message.weight, ask.weight),
                ("send_at", message.send_at_given, ask.send_at_us is not None),
                ("send_at", message.start_us, start_us),
            )
            if was != is_now and message.kind is Kind.ASKED
        ]
        if differing:
            raise MessageReused(
                f"message {message.message_id!r} of this customer is in use with another {differing[0]}:"
                " another message needs an id of its own"
            )


def _revoked(rules: Rules, held: Held, ask: Ask) -> Decision:
    """A message that a suppression revoked stays refused, whatever has been lifted since."""
    own = rules_for(rules, held.customer_id, held.customer, held.now_us)
    decision = decide(own, held.customer, held.account, ask, held.now_us)
    reason = Reason(Code.REVOKED, "message_id", None)
    return decision._replace(verdict=Verdict.DENY, reasons=(reason,), retry_at_us=None, retry_certain=True, budgets=())


def _replay(message: Message, state: State, now_us: int, variants: Mapping[str, str]) -> Answer:
    """The verdict that a live contact was given, with what has become of it since."""
    reserved = state is State.RESERVED
    return Answer(
        message.message_id,
        message.customer_id,
        Verdict.ALLOW,
        state,
        tuple(Reason(code, rule, None) for code, rule in message.reasons),
        None,
        True,
        message.end_us if reserved else None,
        message.end_us - now_us if reserved else None,
        (),
        variants,
        message.ruleset,
        message.at_us,
        True,
        message.attempt,
        message.observed,
        True,
        now_us,
    )


def _answer(
    command: AskCommand,
    decision: Decision,
    rules: Rules,
    now_us: int,
    attempt: int,
    state: State | None,
    variants: Mapping[str, str],
    *,
    recorded: bool = True,
) -> Answer:
    reserved = state is State.RESERVED
    reasons = decision.reasons
    if command.undeclared is not None:
        reasons = tuple(
            each._replace(rule=command.undeclared) if each.code is Code.UNKNOWN_TOPIC else each for each in reasons
        )
    return Answer(
        command.message_id,
        command.customer_id,
        decision.verdict,
        state,
        reasons,
        decision.retry_at_us,
        decision.retry_certain,
        decision.lease_end_us if reserved else None,
        decision.lease_end_us - now_us if reserved else None,
        decision.budgets,
        variants,
        rules.number,
        now_us,
        False,
        attempt,
        decision.observed,
        recorded,
        now_us,
    )
