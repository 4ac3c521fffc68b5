"""Suppressions and consents: what forbids a contact whatever the budgets say.

A scope names a channel, a topic, both or neither (everything). The most restrictive wins: one suppression that covers
an ask denies it, however many consents there are. Exempt topics are bound only by a suppression whose scope names
the topic, or that says `binds_exempt` (hard bounce, erasure, by hand).

What is on file are facts, one for each scope, reason and address. They join, and are never taken away: a fact keeps
the newest instant at which it was told and the newest at which it was lifted, and is in force while the first is no
earlier. So what is in force does not depend on the order in which news comes in. Only where two customers become one
(`upheld`) a lift is no news about both: it was said of one, who may not have known of the other's no.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from engine.core.policy import MINUTE_US, ConsentRule, Scalar


class SuppressionReason(StrEnum):
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCES = "soft_bounces"
    PUSH_OFF = "push_off"
    ACCOUNT_CLOSED = "account_closed"
    BY_HAND = "by_hand"
    ERASURE = "erasure"


BINDS_EXEMPT_BY_DEFAULT = frozenset(
    {SuppressionReason.HARD_BOUNCE, SuppressionReason.BY_HAND, SuppressionReason.ERASURE}
)
# What a customer said no with, and so can say yes to again. Not what only shows that an address does not work.
LIFTED_BY_CONSENT: Final = (
    SuppressionReason.UNSUBSCRIBE,
    SuppressionReason.COMPLAINT,
    SuppressionReason.ACCOUNT_CLOSED,
)
YES_AHEAD_US: Final = MINUTE_US  # how far a yes may lie ahead of the clock: it would win against each no until then


@dataclass(frozen=True, slots=True)
class Scope:
    """What a suppression or a consent is about: a channel, a topic, both, or (both None) everything."""

    channel: str | None = None
    topic: str | None = None

    def covers(self, channel: str, topic: str) -> bool:
        return (self.channel is None or self.channel == channel) and (self.topic is None or self.topic == topic)

    def meets(self, other: "Scope") -> bool:
        """Whether both cover some contact."""
        here, there = (self.channel, self.topic), (other.channel, other.topic)
        return all(None in pair or pair[0] == pair[1] for pair in zip(here, there, strict=True))

    def __str__(self) -> str:
        return f"{self.channel or '*'}/{self.topic or '*'}"


@dataclass(frozen=True, slots=True)
class Suppression:
    """A fact: `at_us` is when it was told last (0: never, only lifted), `lifted_us` when it was lifted last (0: never).

    With the `digest` of an address it binds only while that is one of the customer's in the scope's channel, or none
    is on file there.
    """

    scope: Scope
    reason: SuppressionReason
    at_us: int
    source: str
    binds_exempt: bool
    lifted_us: int = 0
    digest: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is about: facts of one key are joined."""
        return self.scope.channel or "", self.scope.topic or "", self.reason.value, self.digest or ""

    def binds(self, channel: str, topic: str, *, exempt: bool) -> bool:
        """Whether it forbids a contact in this channel and topic, where it is in force."""
        return self.scope.covers(channel, topic) and (not exempt or self.binds_exempt or self.scope.topic == topic)

    def joined(self, other: "Suppression") -> "Suppression":
        """What two facts of one key say together: the same whatever the order."""
        newest = max(self, other, key=lambda each: (each.at_us, each.source))
        return replace(
            newest,
            binds_exempt=self.binds_exempt or other.binds_exempt,
            lifted_us=max(self.lifted_us, other.lifted_us),
        )


def fact(scope: Scope, reason: SuppressionReason, at_us: int, source: str, digest: str | None = None) -> Suppression:
    """What an event tells: it binds exempt topics if its reason does by default."""
    return Suppression(scope, reason, at_us, source, reason in BINDS_EXEMPT_BY_DEFAULT, 0, digest)


def tombstone(scope: Scope, reason: SuppressionReason, lifted_us: int) -> Suppression:
    """What lifts the facts of exactly this scope and reason, for whichever address, that were told before."""
    return Suppression(scope, reason, 0, "", binds_exempt=False, lifted_us=lifted_us)


def joined(known: Iterable[Suppression], told: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """All facts together, one of a key, in one order however they came."""
    found: dict[tuple[str, str, str, str], Suppression] = {}
    for each in (*known, *told):
        was = found.get(each.key)
        found[each.key] = each if was is None else was.joined(each)
    return tuple(found[key] for key in sorted(found))


def standing(facts: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """The facts that were told and not lifted since, by themselves or with all of their scope and reason."""
    facts = tuple(facts)
    wide = {(each.scope, each.reason): each.lifted_us for each in facts if each.lifted_us and each.digest is None}
    return tuple(
        each
        for each in facts
        if each.at_us > 0 and each.at_us >= max(each.lifted_us, wide.get((each.scope, each.reason), 0) if wide else 0)
    )


def in_force(facts: Iterable[Suppression], addresses: Collection[tuple[str, str]]) -> tuple[Suppression, ...]:
    """The facts that bind a customer with these addresses (channel, digest)."""
    return tuple(each for each in standing(facts) if each.digest is None or _is_reached(each, addresses))


def upheld(
    facts: Iterable[Suppression], binding: Iterable[Suppression], addresses: Collection[tuple[str, str]]
) -> tuple[Suppression, ...]:
    """The facts, where what is `binding` is in force for whoever has these addresses, whatever among them lifted it.

    It is told again, as of the newest lift that would have ended it: later news joins as ever. Where it speaks of an
    address that is not theirs, it is told of no address.
    """
    known = {each.key: each for each in facts}
    again: dict[tuple[str, str, str, str], Suppression] = {}
    for each in binding:
        told = each if each.digest is None or _is_reached(each, addresses) else replace(each, digest=None)
        ends = [told.lifted_us, *(was.lifted_us for was in known.values() if _lifts(was, told))]
        lifted_us = known[told.key].lifted_us if told.key in known else 0
        told = replace(told, at_us=max(told.at_us, *ends), lifted_us=lifted_us)
        again[told.key] = told.joined(again.get(told.key, told))
    # Not joined with what was lifted, which leaves no trace of how far it once reached.
    return joined((), (known | again).values())


def last_word_us(facts: Iterable[Suppression], scope: Scope, clock_us: int) -> int:
    """The instant of what a customer says now, to Takt itself, of a scope: no earlier than what lifted a no of it."""
    return max(clock_us, *(each.lifted_us for each in facts if each.scope == scope), 0)


def settled(
    facts: Iterable[Suppression], scope: Scope, reasons: Collection[SuppressionReason], clock_us: int
) -> tuple[Suppression, ...]:
    """The facts, where those of exactly this scope and these reasons lie before the clock: a yes of now lifts them, and
    no later no, whatever instant a sender's clock that was ahead gave them."""
    return tuple(
        replace(each, at_us=min(each.at_us, clock_us - 1), lifted_us=min(each.lifted_us, clock_us))
        if each.scope == scope and each.reason in reasons
        else each
        for each in facts
    )


def heard(told: Iterable[Suppression], known: Iterable[Suppression], clock_us: int) -> Iterator[Suppression]:
    """What is told now, each no of it no older than what lifted it before, where that lies ahead of the clock. No yes
    may lie so far ahead: the clock stood wrong when it was said, and each no until then would be lost on it."""
    ahead = [each for each in known if each.lifted_us > clock_us + YES_AHEAD_US]
    for each in told:
        lifted = [was.lifted_us for was in ahead if each.at_us and _lifts(was, each)]
        yield replace(each, at_us=max(each.at_us, *lifted)) if lifted else each


def _lifts(fact: Suppression, told: Suppression) -> bool:
    return (fact.scope, fact.reason) == (told.scope, told.reason) and fact.digest in (None, told.digest)


def _is_reached(each: Suppression, addresses: Collection[tuple[str, str]]) -> bool:
    """Whether the fact's address is the customer's, as far as is known."""
    if (each.scope.channel, each.digest) in addresses:
        return True
    return all(channel != each.scope.channel for channel, _ in addresses)


@dataclass(frozen=True, slots=True)
class Consent:
    """A customer's yes (or its withdrawal), with the evidence for it."""

    scope: Scope
    given: bool
    at_us: int
    source: str
    text_version: str | None = None


def objected(told: Consent, known: Iterable[Consent], clock_us: int) -> Consent:
    """A consent that is told now; a withdrawal no older than each yes that it meets, where that lies ahead of the clock
    (as of suppressions: `heard`)."""
    ahead = [
        each.at_us
        for each in known
        if not told.given and each.given and each.at_us > clock_us + YES_AHEAD_US and each.scope.meets(told.scope)
    ]
    return replace(told, at_us=max(told.at_us, *ahead)) if ahead else told


def find_suppression(
    suppressions: Iterable[Suppression], channel: str, topic: str, *, exempt: bool
) -> Suppression | None:
    """The suppression that forbids a contact, or None."""
    for each in suppressions:
        if each.binds(channel, topic, exempt=exempt):
            return each
    return None


def has_consent(
    rules: tuple[ConsentRule, ...],
    consents: Iterable[Consent],
    attributes: Mapping[str, Scalar],
    channel: str,
    topic: str,
) -> bool:
    """Whether the strictest of `rules` is met.

    The newest consent that covers the contact speaks; where two bear the same instant, the withdrawal does. A withdrawn
    consent denies under every rule. `existing_customer` is met by a consent, or by the attribute
    `existing_customer: true` (§ 7 (3) UWG: a purchase, and no objection).
    """
    newest = _newest(consents, channel, topic)
    if newest is not None:
        return newest.given
    if ConsentRule.OPT_IN in rules:
        return False
    if ConsentRule.EXISTING_CUSTOMER in rules:
        return attributes.get("existing_customer") is True
    return True


def is_withdrawn(consents: Iterable[Consent], channel: str, topic: str) -> bool:
    """Whether the newest word on such contacts is a no."""
    newest = _newest(consents, channel, topic)
    return newest is not None and not newest.given


def _newest(consents: Iterable[Consent], channel: str, topic: str) -> Consent | None:
    newest: Consent | None = None
    for each in consents:
        if each.scope.covers(channel, topic) and (
            newest is None or (each.at_us, not each.given) > (newest.at_us, not newest.given)
        ):
            newest = each
    return newest
