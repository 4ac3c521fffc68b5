"""What is read of an experiment: its metrics, each with its role, and where its numbers come from.

Values only, frozen and checked when built. A metric knows nothing of the experiment that it belongs to: what only
shows there (a ratio that a budget moves, a horizon that is too far) is checked by `design`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from experiments.plans.checking import DAYS_MAX, NUMBER_MAX, As, Checks, described, set_field

EVENTS_MAX: Final = 20


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


class Clock(StrEnum):
    """How days are counted: ROLLING by 24 hours from entry, CALENDAR by the customer's own dates."""

    ROLLING = "rolling"
    CALENDAR = "calendar"


class Form(StrEnum):
    """The three meanings of retention, each by the field that begins it. Only ON_OR_AFTER may stand beside a survival
    curve."""

    ON_DAY = "on_day"
    WITHIN = "from_day"
    ON_OR_AFTER = "on_or_after_day"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where one number a unit comes from: a column of the wide form, or events of the long form, or one of either.

    Of the events of type `event` (in `channel`, if given) within `within_days` of entry: how many, or with `value` the
    sum of that field. `value` and `channel` say nothing about the column.
    """

    column: str | None = None
    event: str | None = None
    value: str | None = None
    channel: str | None = None
    within_days: int | None = None

    def __post_init__(self) -> None:
        check = Checks()
        for name in ("column", "event", "value", "channel"):
            if getattr(self, name) is not None:
                check.text(name, getattr(self, name))
        if self.within_days is not None:
            check.whole("within_days", self.within_days, 1, DAYS_MAX)
        if self.column is None and self.event is None:
            check.add("", As("neither column nor event"), "a column (one row a unit), an event, or both")
        for name in ("value", "channel"):
            if self.event is None and getattr(self, name) is not None:
                check.add(name, getattr(self, name), f"no {name} without an event: a column is taken as it is")
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyMetric:
    """What all metrics have. `margin`: how much worse a guardrail may get, in the metric's own unit, always above 0.

    `title`: what sentences call it, a noun in the singular ("share who unsubscribed"); its name where there is none.
    """

    name: str
    role: Role
    direction: Direction
    margin: float | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(AnyMetric):
    """The share of units with the outcome: its column is true or 1, or it has an event."""

    outcome: Outcome

    def __post_init__(self) -> None:
        check = _checks(self, is_share=True)
        _outcome(check, "outcome", self.outcome, sums="a rate counts units; kind mean sums values")
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(AnyMetric):
    """The mean of a number a unit (kinds `mean` and `count`). Units without are 0 in the long form.

    `cap`: numbers above it count as it; declared in the plan, never chosen after the data.
    """

    outcome: Outcome
    cap: float | None = None
    is_count: bool = False

    def __post_init__(self) -> None:
        check = _checks(self)
        check.flag("is_count", self.is_count)
        sums = "a count counts events; kind mean sums values" if self.is_count is True else None
        outcome = _outcome(check, "outcome", self.outcome, sums)
        if outcome and outcome.event is not None and outcome.value is None and not self.is_count:
            check.add("outcome.value", As("nothing"), "the field of the event to sum; kind count counts events")
        if self.cap is not None:
            check.number("cap", self.cap, above=0)
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(AnyMetric):
    """The total of one outcome over the total of another, by unit: descriptive where the treatment moves both."""

    numerator: Outcome
    denominator: Outcome

    def __post_init__(self) -> None:
        check = _checks(self)
        over, under = (_outcome(check, name, getattr(self, name)) for name in ("numerator", "denominator"))
        if over and under:
            if not (over.column and under.column) and not (over.event and under.event):
                check.add(
                    "denominator",
                    As("no table that holds both parts"),
                    "two columns or two events (each may name both)",
                )
            if over.within_days != under.within_days:
                days = As(" and ".join(described(each.within_days) for each in (over, under)))
                check.add("denominator.within_days", days, "the same days for both parts")
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention(AnyMetric):
    """The share of mature units with the event on day `from_day` .. `until_day` - 1 since entry.

    Three names, three meanings: `on_day: n`; `from_day: a, until_day: b`; `on_or_after_day: n, until_day: b`. The last
    alone may stand beside a survival curve. `form` keeps the name. A unit is mature once it was watched to `until_day`.
    """

    outcome: Outcome
    form: Form
    from_day: int
    until_day: int
    clock: Clock = Clock.ROLLING

    def __post_init__(self) -> None:
        check = _checks(self, is_share=True)
        outcome = _outcome(check, "outcome", self.outcome, sums="retention counts units; kind mean sums values")
        if outcome and outcome.within_days is not None:
            check.add("outcome.within_days", outcome.within_days, "none: the days of retention are in its own fields")
        set_field(self, "clock", check.choice("clock", self.clock, Clock))
        form = check.choice("form", self.form, Form)
        set_field(self, "form", form)
        first = check.whole("from_day", self.from_day, 0, DAYS_MAX)
        until = check.whole("until_day", self.until_day, 1, DAYS_MAX + 1)
        if first is not None and until is not None:
            if until <= first:
                check.add("until_day", until, f"a day after day {first}: it is the first that no longer counts")
            elif form is Form.ON_DAY and until != first + 1:
                check.add("until_day", until, f"{first + 1} where the form is on_day")
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable(AnyMetric):
    """The share of mature units that can be reached in a channel at the end of day `day`: no unsubscribe, hard bounce,
    complaint or closed account in its scope without a later re-consent. Wide form: a column that says so.

    `as_told`: somebody who keeps account of it tells, by events `takt:unreachable` and `takt:reachable`, each of its
    channel or, without one, of all; then nothing else is looked at. No plan says so: the service does.
    """

    day: int
    channel: str | None = None
    column: str | None = None
    as_told: bool = False

    def __post_init__(self) -> None:
        check = _checks(self, is_share=True)
        check.whole("day", self.day, 0, DAYS_MAX)
        for name in ("channel", "column"):
            if getattr(self, name) is not None:
                check.text(name, getattr(self, name))
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival(AnyMetric):
    """Time to an event, before a horizon, with those who left by a competing event kept apart.

    Long form: events of the types `event` and `competing`. Wide form: `duration` holds days, `event` and `competing`
    name columns that say which of the two ended it (neither: censored). Its margin is a share: of cumulative incidence
    at the horizon.
    """

    event: str
    horizon_days: int
    competing: tuple[str, ...] = ()
    duration: str | None = None
    channel: str | None = None

    def __post_init__(self) -> None:
        check = _checks(self, is_share=True)
        check.whole("horizon_days", self.horizon_days, 1, DAYS_MAX)
        for name in ("duration", "channel"):
            if getattr(self, name) is not None:
                check.text(name, getattr(self, name))
        event = check.text("event", self.event)
        set_field(self, "competing", check.texts("competing", self.competing, EVENTS_MAX))
        if event is not None and event in self.competing:
            check.add("competing", event, "events other than the one that is waited for")
        for path, name in (("event", event), *((f"competing[{i}]", each) for i, each in enumerate(self.competing))):
            if name and _INACTIVITY.search(name):
                check.add(path, name, "an event that says it: inactivity is a state with returns, which ends nothing")
        check.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(AnyMetric):
    """Net value a unit: margin of revenue, less the cost of contacts, less the loss of lost reach.

    `loss_of_reach` is what a customer who can no longer be reached costs; without it the readout gives the break-even.
    `cost_per_contact` is there where `contacts` is, and only there: nobody says by silence that contacts are free.
    """

    revenue: Outcome
    margin_share: float = 1.0
    contacts: Outcome | None = None
    cost_per_contact: float | None = None
    lost_reach: Outcome | None = None
    loss_of_reach: float | None = None
    currency: str = "EUR"

    @property
    def is_open(self) -> bool:
        """Whether reach is lost and nothing says what that costs: what is compared then is money alone."""
        return self.lost_reach is not None and self.loss_of_reach is None

    def __post_init__(self) -> None:
        check = _checks(self)
        revenue = _outcome(check, "revenue", self.revenue)
        if revenue and revenue.event is not None and revenue.value is None:
            check.add("revenue.value", As("nothing"), "the field of the event that holds the money")
        check.number("margin_share", self.margin_share, above=0, most=1)
        if self.contacts is not None:
            _outcome(check, "contacts", self.contacts)
            if self.cost_per_contact is None:
                check.add(
                    "cost_per_contact", As("nothing"), "what a contact costs: a number from 0, where they are named"
                )
        elif self.cost_per_contact is not None:
            check.add("cost_per_contact", self.cost_per_contact, "none where contacts does not say what is counted")
        if self.cost_per_contact is not None:
            check.number("cost_per_contact", self.cost_per_contact, least=0)
        if self.lost_reach is not None:
            _outcome(check, "lost_reach", self.lost_reach, sums="a lost customer is lost once")
        elif self.loss_of_reach is not None:
            check.add("loss_of_reach", self.loss_of_reach, "none where lost_reach does not say who is lost")
        if self.loss_of_reach is not None:
            check.number("loss_of_reach", self.loss_of_reach, least=0)
        currency = check.text("currency", self.currency)
        if currency and not _CURRENCY.fullmatch(currency):
            check.add("currency", self.currency, "a code of three letters such as EUR")
        check.close()


Metric: TypeAlias = Rate | Mean | Ratio | Retention | Reachable | Survival | Value


def _checks(metric: AnyMetric, is_share: bool = False) -> Checks:
    """Begin the checks of a metric: its name, role, direction and margin."""
    check = Checks()
    check.text("name", metric.name)
    if metric.title is not None:
        check.text("title", metric.title)
    role = check.choice("role", metric.role, Role)
    set_field(metric, "role", role)
    set_field(metric, "direction", check.choice("direction", metric.direction, Direction))
    if role is Role.GUARDRAIL:
        unit = "a share below 1" if is_share else "in the metric's own unit"
        if metric.margin is None:
            check.add("margin", As("nothing"), f"how much worse the guardrail may get: a number above 0, {unit}")
        elif check.number("margin", metric.margin) is not None:
            if metric.margin <= 0:
                check.add(
                    "margin", metric.margin, f"a number above 0: how much worse, {unit}; direction says which way"
                )
            elif metric.margin >= (1 if is_share else NUMBER_MAX):
                check.add("margin", metric.margin, f"{unit} (0.002 is 0.2 points)" if is_share else unit)
    elif role and metric.margin is not None:
        check.add("margin", metric.margin, f"no margin: the role is {role.value}, and only a guardrail has one")
    return check


def _outcome(check: Checks, path: str, value: object, sums: str | None = None) -> Outcome | None:
    """An outcome; where only units or events are counted, `sums` says why it must name no value to sum."""
    outcome = check.part(path, value, Outcome)
    if outcome and sums and outcome.value is not None:
        check.add(f"{path}.value", outcome.value, f"no value: {sums}")
    return outcome


_INACTIVITY: Final = re.compile(r"dormant|dormanc|inactiv|lapse", re.IGNORECASE)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
