"""Suppressions and consents: what forbids a contact whatever the budgets say.

A scope names a channel, a topic, both or neither (everything). The most restrictive wins: one suppression that covers
an ask denies it, however many consents there are. Exempt topics are bound only by a suppression whose scope names
the topic, or that says `binds_exempt` (hard bounce, erasure, by hand).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.core.policy import ConsentRule, Scalar


class SuppressionReason(StrEnum):
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard_bounce"
    PUSH_OFF = "push_off"
    BY_HAND = "by_hand"
    ERASURE = "erasure"


BINDS_EXEMPT_BY_DEFAULT = frozenset(
    {SuppressionReason.HARD_BOUNCE, SuppressionReason.BY_HAND, SuppressionReason.ERASURE}
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a suppression or a consent is about: a channel, a topic, both, or (both None) everything."""

    channel: str | None = None
    topic: str | None = None

    def covers(self, channel: str, topic: str) -> bool:
        return (self.channel is None or self.channel == channel) and (self.topic is None or self.topic == topic)

    def __str__(self) -> str:
        return f"{self.channel or '*'}/{self.topic or '*'}"


@dataclass(frozen=True, slots=True)
class Suppression:
    scope: Scope
    reason: SuppressionReason
    at_us: int
    source: str
    binds_exempt: bool

    def binds(self, channel: str, topic: str, *, exempt: bool) -> bool:
        """Whether it forbids a contact in this channel and topic."""
        return self.scope.covers(channel, topic) and (not exempt or self.binds_exempt or self.scope.topic == topic)

    def joined(self, other: "Suppression") -> "Suppression":
        """The union of two suppressions of one scope: the same whatever the order, and never weaker than either."""
        first, _ = sorted((self, other), key=lambda each: (each.at_us, each.reason, each.source))
        return Suppression(self.scope, first.reason, first.at_us, first.source, self.binds_exempt or other.binds_exempt)


@dataclass(frozen=True, slots=True)
class Consent:
    """A customer's yes (or its withdrawal), with the evidence for it."""

    scope: Scope
    given: bool
    at_us: int
    source: str
    text_version: str | None = None


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
    newest: Consent | None = None
    for each in consents:
        if each.scope.covers(channel, topic) and (
            newest is None or (each.at_us, not each.given) > (newest.at_us, not newest.given)
        ):
            newest = each
    if newest is not None:
        return newest.given
    if ConsentRule.OPT_IN in rules:
        return False
    if ConsentRule.EXISTING_CUSTOMER in rules:
        return attributes.get("existing_customer") is True
    return True
