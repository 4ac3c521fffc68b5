"""What is asked and what is answered: the closed sets of verdicts and reasons, and the values that carry them."""

from enum import StrEnum
from typing import NamedTuple

from engine.core.account import Contact, Kind, Labels, Lease
from engine.core.policy import OnExpiry


class Verdict(StrEnum):
    ALLOW = "allow"
    DEFER = "defer"
    DENY = "deny"


class Code(StrEnum):
    """Why an ask was refused. Their numbers in the journal are their order here: add at the end."""

    SUPPRESSED = "suppressed"
    NO_CONSENT = "no_consent"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_TIMEZONE = "unknown_timezone"
    CEILING = "ceiling"
    PAUSED = "paused"
    BREAKER = "breaker"
    CASE_OPEN = "case_open"
    QUIET_HOURS = "quiet_hours"
    LIMIT = "limit"
    HOLD_BACK = "hold_back"
    MIN_GAP = "min_gap"
    REVOKED = "revoked"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Code.SUPPRESSED: "the customer may not be contacted in this channel or topic",
    Code.NO_CONSENT: "the consent that this channel or topic needs is not on file",
    Code.UNKNOWN_TOPIC: "the policy declares its topics, and this is none of them",
    Code.UNKNOWN_TIMEZONE: "the customer's time zone is unknown, and the policy denies such asks",
    Code.CEILING: "this exempt topic has reached its ceiling",
    Code.PAUSED: "contacts like this one are paused",
    Code.BREAKER: "the complaint breaker has stopped contacts like this one",
    Code.CASE_OPEN: "the customer has an open case",
    Code.QUIET_HOURS: "it is quiet time where the customer lives",
    Code.LIMIT: "the budget has no room",
    Code.HOLD_BACK: "what room the budget has is kept for higher priority",
    Code.MIN_GAP: "another contact is too near",
    Code.REVOKED: "this message was revoked by a suppression",
}


class Ask(NamedTuple):
    """One question, its labels as they will be frozen. Instants and durations in microseconds.

    `reserves`: an allowed ask takes budget (it does not in the modes check and peek).
    """

    channel: str
    topic: str
    campaign: str | None = None
    team: str | None = None
    priority: int = 50
    weight: int = 1
    send_at_us: int | None = None
    lease_us: int | None = None
    on_expiry: OnExpiry | None = None
    reserves: bool = True

    @property
    def labels(self) -> Labels:
        return self.channel, self.topic, self.campaign, self.team


class Reason(NamedTuple):
    """One rule that refuses. `frees_at_us`: the earliest instant at which this rule alone would not."""

    code: Code
    rule: str
    frees_at_us: int | None


class BudgetLine(NamedTuple):
    """How one budget stands. `frees_at_us`: where it refused, the earliest instant at which the
    ask would fit it (None: not within 400 days)."""

    budget: str
    limit: int
    used: int
    frees_at_us: int | None
    shadow: bool


class Decision(NamedTuple):
    """A verdict that explains itself, and what a reservation made of it would hold.

    `observed`: the verdict that an observed policy would have given (the reasons are then its reasons).
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    retry_at_us: int | None
    retry_certain: bool
    budgets: tuple[BudgetLine, ...]
    start_us: int
    lease_end_us: int
    lease: Lease
    counts: bool
    under_ceiling: bool
    uncharged: tuple[str, ...]
    observed: Verdict | None = None

    def contact(self, ask: Ask, seq: int) -> Contact:
        """The contact that a reservation of this ask is, until somebody resolves it."""
        return Contact(
            seq,
            self.start_us,
            self.lease_end_us,
            ask.labels,
            ask.weight,
            ask.priority,
            self.lease,
            Kind.ASKED,
            self.counts,
            self.under_ceiling,
            self.uncharged,
        )
