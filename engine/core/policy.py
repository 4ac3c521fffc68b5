"""A policy: the rules by which Takt decides, as frozen values.

Values only: how a policy is read from YAML or JSON, and what makes one invalid, stands in `policy_reader`.
What always holds here: a `Policy` that exists is valid, and two policies are equal exactly when they decide alike.
Durations are integer microseconds (`_us`), limits and weights are whole numbers, None means "no limit" or "every".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from engine.core.quiet import QuietPeriod
from engine.core.windows import Calendar

Scalar: TypeAlias = str | int | float | bool

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

NO_WEIGHTS: Mapping[str, int] = MappingProxyType({})


class Channel(StrEnum):
    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    IN_APP = "in_app"
    PHONE = "phone"
    LETTER = "letter"


class Purpose(StrEnum):
    """What a topic is for: to serve the customer, to sell, or to ask (surveys)."""

    SERVE = "serve"
    SELL = "sell"
    ASK = "ask"


class ConsentRule(StrEnum):
    """What must be on file before a contact: a yes, a purchase, or merely no refusal. Strictest first."""

    OPT_IN = "opt_in"
    EXISTING_CUSTOMER = "existing_customer"
    OPT_OUT = "opt_out"


class PolicyMode(StrEnum):
    ENFORCE = "enforce"
    OBSERVE = "observe"


class WhenExceeded(StrEnum):
    DEFER = "defer"
    DENY = "deny"


class Per(StrEnum):
    """A budget kept once for each campaign, topic or team instead of once for the customer."""

    CAMPAIGN = "campaign"
    TOPIC = "topic"
    TEAM = "team"


class OnExpiry(StrEnum):
    """What a lease that nobody resolved means: the budget returns, or the message is presumed sent."""

    RELEASE = "release"
    PRESUME_SENT = "presume_sent"


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one attribute. A missing attribute, or one of another type, meets no condition but `ne`."""

    attribute: str
    operator: Operator
    value: Scalar | frozenset[Scalar]


@dataclass(frozen=True, slots=True)
class Rolling:
    """Any stretch of `length_us`, less a tolerance for the jitter of daily jobs."""

    length_us: int
    tolerance_us: int = 0

    @property
    def effective_us(self) -> int:
        return self.length_us - self.tolerance_us


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """The customer's own day, week (from Monday) or month."""

    calendar: Calendar


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Everything there ever was."""


Window: TypeAlias = Rolling | CalendarWindow | Lifetime


@dataclass(frozen=True, slots=True)
class Override:
    """Another limit (None: no limit) for customers who meet all conditions; the first override that matches wins."""

    when: tuple[Condition, ...]
    limit: int | None


@dataclass(frozen=True, slots=True)
class HoldBack:
    """`keep` of the limit is kept for asks of at least `for_priority`."""

    keep: int
    for_priority: int


@dataclass(frozen=True, slots=True)
class Selector:
    """Which asks a rule is about; None selects every value."""

    channels: frozenset[str] | None = None
    topics: frozenset[str] | None = None
    campaigns: frozenset[str] | None = None
    teams: frozenset[str] | None = None

    def selects(self, channel: str, topic: str, campaign: str | None, team: str | None) -> bool:
        return (
            (self.channels is None or channel in self.channels)
            and (self.topics is None or topic in self.topics)
            and (self.campaigns is None or campaign in self.campaigns)
            and (self.teams is None or team in self.teams)
        )


EVERYTHING = Selector()


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on a customer's contacts in a window, or (`is_gap`) a least distance between two of them.

    A gap is a rolling window of that length with a limit of 1 in which every contact weighs 1.
    """

    name: str
    window: Window
    limit: int | None
    selector: Selector = EVERYTHING
    per: Per | None = None
    weights: Mapping[str, int] = field(default_factory=lambda: NO_WEIGHTS)
    overrides: tuple[Override, ...] = ()
    when_exceeded: WhenExceeded = WhenExceeded.DEFER
    hold_back: HoldBack | None = None
    shadow: bool = False
    is_gap: bool = False


class Change(NamedTuple):
    """A budget as the policy has it, and as a variant of an experiment does."""

    before: Budget
    after: Budget


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that an exempt topic may send; beyond it an ask is denied."""

    limit: int
    window: Window


@dataclass(frozen=True, slots=True)
class Topic:
    """What a topic is for, which consent it needs, and whether it uses or passes budgets."""

    purpose: Purpose = Purpose.SELL
    consent: ConsentRule = ConsentRule.OPT_OUT
    exempt: bool = False
    counts: bool = True
    ceiling: Ceiling | None = None


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the customer's wall clock in which nothing selected is sent, where all conditions hold."""

    period: QuietPeriod
    selector: Selector = EVERYTHING
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class CasePause:
    """From an event (a service case opens) until another, selected contacts rest, at most for a time."""

    from_event: str
    until_event: str
    at_most_us: int
    selector: Selector = EVERYTHING


@dataclass(frozen=True, slots=True)
class SoftBounces:
    suppress_after: int = 5
    within_us: int = 30 * DAY_US


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole set of rules. `topics` empty: any topic is accepted, with the defaults of `Topic`."""

    topics: Mapping[str, Topic]
    budgets: tuple[Budget, ...]
    unknown_timezone: str | None
    channels: Mapping[str, ConsentRule] = field(default_factory=lambda: MappingProxyType({}))
    quiet_hours: tuple[QuietHours, ...] = ()
    pauses: tuple[CasePause, ...] = ()
    mode: PolicyMode = PolicyMode.ENFORCE
    lease_us: int = 5 * MINUTE_US
    max_lease_us: int = DAY_US
    on_expiry: OnExpiry = OnExpiry.RELEASE
    soft_bounces: SoftBounces = SoftBounces()
