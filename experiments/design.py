"""The plan of an experiment: who is assigned to what, and what will be read, fixed before it starts.

Values only, frozen and validated when built: whatever is here was checked. `experiments.plan_reader` makes them from
YAML and says where a plan is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

Scalar: TypeAlias = bool | int | float | str
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Role(StrEnum):
    """PRIMARY decides, a GUARDRAIL must not get worse by more than its margin; the others inform."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"
    DESCRIPTIVE = "descriptive"


class Direction(StrEnum):
    """Which way is good."""

    INCREASE = "increase"
    DECREASE = "decrease"


class Inference(StrEnum):
    """FIXED is read once, at the planned end; ANYTIME may be read at any time."""

    FIXED = "fixed"
    ANYTIME = "anytime"


class Clock(StrEnum):
    """How days are counted: ROLLING by 24 hours from entry, CALENDAR by the customer's own dates."""

    ROLLING = "rolling"
    CALENDAR = "calendar"


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm. `dose` is the limit that it sets; `policy` the patch of a budget experiment, as the engine reads it."""

    name: str
    weight: float = 1.0
    control: bool = False
    dose: float | None = None
    policy: Mapping[str, Any] = _NOTHING


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of constant weights and traffic, from a date on. Analysed as a stratum."""

    start: date
    weights: Mapping[str, float]
    traffic: float = 1.0


@dataclass(frozen=True, slots=True)
class Layer:
    """Experiments of one layer exclude each other: each has slots of 10,000 of its own, [first, after)."""

    name: str
    first: int
    after: int


@dataclass(frozen=True, slots=True)
class Holdout:
    """Customers kept out of all experiments: a share, chosen by a seed of its own."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Condition:
    """An attribute compared with a value: `equal`, `not_equal`, `at_least`, `below`, or `among` several."""

    attribute: str
    equal: Scalar | None = None
    among: tuple[Scalar, ...] | None = None
    at_least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where one number a unit comes from: a column of the wide form, or events of the long form.

    Of the events of type `event` (in `channel`, if given) within `within_days` of entry: how many, or with `value` the
    sum of that field.
    """

    column: str | None = None
    event: str | None = None
    value: str | None = None
    channel: str | None = None
    within_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """`margin`: how much worse a guardrail may get, in the metric's own unit, always above 0."""

    name: str
    role: Role
    direction: Direction
    margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(_Metric):
    """The share of units with the outcome: its column is true or 1, or it has an event."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(_Metric):
    """The mean of a number a unit (kinds `mean` and `count`). Units without are 0 in the long form.

    `cap`: numbers above it count as it; declared in the plan, never chosen after the data.
    """

    outcome: Outcome
    cap: float | None = None
    is_count: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(_Metric):
    """The total of one outcome over the total of another, by unit: descriptive where the treatment moves both."""

    numerator: Outcome
    denominator: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention(_Metric):
    """The share of mature units with the event on day `from_day` .. `until_day` - 1 since entry.

    Three names, three meanings: `on_day: n`; `from_day: a, until_day: b`; `on_or_after_day: n, until_day: b`. The last
    alone may stand beside a survival curve. `form` keeps the name. A unit is mature once it was watched to `until_day`.
    """

    outcome: Outcome
    form: str
    from_day: int
    until_day: int
    clock: Clock = Clock.ROLLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable(_Metric):
    """The share of mature units that can be reached in a channel at the end of day `day`: no unsubscribe, hard bounce,
    complaint or closed account in its scope without a later re-consent. Wide form: a column that says so."""

    day: int
    channel: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival(_Metric):
    """Time to an event, before a horizon, with those who left by a competing event kept apart.

    Long form: events of the types `event` and `competing`. Wide form: `duration` holds days, `event` and `competing`
    name columns that say which of the two ended it (neither: censored).
    """

    event: str
    horizon_days: int
    competing: tuple[str, ...] = ()
    duration: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(_Metric):
    """Net value a unit: margin of revenue, less the cost of contacts, less the loss of lost reach.

    `loss_of_reach` is what a customer who can no longer be reached costs; without it the readout gives the break-even.
    """

    revenue: Outcome
    margin_share: float = 1.0
    contacts: Outcome | None = None
    cost_per_contact: float = 0.0
    lost_reach: Outcome | None = None
    loss_of_reach: float | None = None
    currency: str = "EUR"


Metric: TypeAlias = Rate | Mean | Ratio | Retention | Reachable | Survival | Value


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of tables are called. `unit` None: each row of the wide form is a unit that nothing names."""

    unit: str | None = "customer_id"
    variant: str = "variant"
    entered: str = "entered_at"
    phase: str = "phase"
    event: str = "type"
    at: str = "at"
    event_id: str | None = None
    channel: str = "channel"
    suspect: str = "suspect"
    time_zone: str = "time_zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole plan. `seed` decides the assignment and never changes; by default it is the key."""

    key: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    start: date
    end: date
    hypothesis: str = ""
    seed: str = ""
    traffic: float = 1.0
    layer: Layer | None = None
    holdout: Holdout | None = None
    phases: tuple[Phase, ...] = ()
    audience: tuple[Condition, ...] = ()
    testers: Mapping[str, str] = _NOTHING
    min_days: int = 14
    horizon_days: int = 90
    segments: tuple[str, ...] = ()
    alpha: float = 0.05
    inference: Inference = Inference.ANYTIME
    columns: Columns = field(default_factory=Columns)

    @property
    def control(self) -> Variant:
        return next(each for each in self.variants if each.control)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        return tuple(each for each in self.variants if not each.control)

    @property
    def is_about_budgets(self) -> bool:
        """Whether the budget is the treatment: then outcomes are per customer, and the dose is read too."""
        return any(each.policy or each.dose is not None for each in self.variants)
