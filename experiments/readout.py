"""A readout: all that one analysis found, as one value that prints and becomes JSON.

It holds what the estimators and checks answered and derives the verdicts from that alone; it computes no statistics.
Nothing in it names a customer. `experiments.analysis` makes it, `experiments.reporting.text` prints it.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from experiments.aggregates import Exclusion
from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate
from experiments.estimators.dose import DoseTable, Recommendation, recommended
from experiments.estimators.value import BreakEven
from experiments.reporting.numbers import Scale
from experiments.reporting.verdicts import Calendar, Call, Interval, Result, Standing, Verdict, verdict


class CheckCode(StrEnum):
    """What is looked at before any effect. The first three and LEAK can make a readout invalid, the others warn."""

    SRM = "srm"
    SRM_PHASE = "srm_phase"
    SRM_SEQUENTIAL = "srm_sequential"
    LEAK = "leak"
    SRM_SEGMENT = "srm_segment"
    BALANCE = "balance"

    @property
    def invalidates(self) -> bool:
        return self not in (CheckCode.SRM_SEGMENT, CheckCode.BALANCE)


@dataclass(frozen=True, slots=True)
class Check:
    """One look at whether the arms can be compared at all. `where` narrows it (a phase, a segment, a metric).

    `p_value` is of the check, never of an effect; None where it has none. `effect_size`, of a look at shares against
    the weights, is Cohen's w, how far off they are whatever the number of customers (0.1 is small). `sentence` says
    what was found.
    """

    code: CheckCode
    is_alarm: bool
    sentence: str
    where: str = ""
    p_value: float | None = None
    effect_size: float | None = None


class CautionCode(StrEnum):
    """What could make a readout wrong although it is valid."""

    CHECK = "check"
    NO_TIMES = "no_times"
    NO_ESTIMATE = "no_estimate"
    AT_END_ONLY = "at_end_only"
    IMMATURE = "immature"
    EXCLUDED = "excluded"
    SUSPECTS = "suspects"
    RATE_AGAINST_SURVIVAL = "rate_against_survival"
    SHORT_RUN = "short_run"
    SHORT_PLAN = "short_plan"
    UNNAMED_UNITS = "unnamed_units"
    EMPTY_VARIANT = "empty_variant"
    NOT_COMPARED = "not_compared"


@dataclass(frozen=True, slots=True)
class Caution:
    """`code` is stable, `sentence` is not."""

    code: CautionCode
    sentence: str


@dataclass(frozen=True, slots=True)
class Group:
    """The customers of one variant who entered, mature or not, with the plan's weight and dose (the limit it sets)."""

    variant: str
    units: int
    weight: float
    is_control: bool = False
    dose: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """What one variant's customers did: `numerator` of `denominator`, and `value`, which the effect compares.

    Rates: customers with the outcome of `units`, and their quotient. Means and values: the total over `units`. Ratios:
    one total over another. Survival: events observed of `units`, and the estimate at the horizon, which is *not* their
    quotient. `value` is None where nobody is in.
    """

    variant: str
    units: int
    numerator: float
    denominator: float
    value: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """A curve after `day` whole days: `value` within [`low`, `high`], `at_risk` still watched when that day began."""

    day: int
    value: float
    low: float
    high: float
    at_risk: int


class LineKind(StrEnum):
    """INCIDENCE: the share that had the event by a day. STAYING: the share that had left by no event at all."""

    INCIDENCE = "incidence"
    STAYING = "staying"


@dataclass(frozen=True, slots=True)
class Line:
    """One variant's curve, with pointwise intervals that are each wrong with a probability of `alpha`."""

    variant: str
    kind: LineKind
    estimand: str
    method: str
    alpha: float
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant against the control. `estimate` decides; it alone has a p-value.

    `bound` may stop at any time: None where the metric does not decide or has no anytime method. `beside` holds what
    else is estimated of the same metric (the restricted mean beside an incidence): it decides nothing. `break_even` is
    there for a value whose loss of reach the plan does not give.
    """

    variant: str
    estimate: Estimate
    bound: Estimate | None = None
    beside: tuple[Estimate, ...] = ()
    break_even: BreakEven | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReadout:
    """One metric over all variants. `title` is what sentences call it, where the plan says so. `unit` says what a
    ratio's numbers are counted in, or the currency of money.

    `immature`: customers whose window is not over, who are in no arm here. `with_suspects`: the arms with suspect
    events counted, where there are any; they decide nothing. `note` is what the metric itself has to say.
    """

    name: str
    role: Role
    direction: Direction
    scale: Scale
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    margin: float | None = None
    unit: str | None = None
    at_end_only: bool = False
    immature: int = 0
    with_suspects: tuple[Arm, ...] = ()
    curves: tuple[Line, ...] = ()
    note: str = ""
    title: str | None = None

    @property
    def called(self) -> str:
        """The title, or the name where it has none."""
        return self.title or self.name

    def arm(self, variant: str) -> Arm:
        return next(each for each in self.arms if each.variant == variant)

    def comparison(self, variant: str) -> Comparison:
        return next(each for each in self.comparisons if each.variant == variant)


@dataclass(frozen=True, slots=True)
class Received:
    """What the customers of one variant got: `per_week` contacts a customer and week, over `units` of them."""

    variant: str
    dose: float | None
    per_week: float
    units: int


@dataclass(frozen=True, slots=True)
class Doses:
    """One metric at the tested doses, in intervals for all doses at once: of a primary those that decide it."""

    metric: str
    table: DoseTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """All that one analysis found. `groups` begin with the control. `verdicts` follow from the rest. `ended`: the day
    on which the experiment was ended, where that was before `end`, the planned one."""

    key: str
    hypothesis: str
    inference: Inference
    alpha: float
    start: date
    end: date
    min_days: int
    horizon_days: int
    as_of: date | None
    groups: tuple[Group, ...]
    metrics: tuple[MetricReadout, ...]
    received: tuple[Received, ...] = ()
    doses: tuple[Doses, ...] = ()
    checks: tuple[Check, ...] = ()
    cautions: tuple[Caution, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    ended: date | None = None

    @property
    def control(self) -> str:
        return next(each.variant for each in self.groups if each.is_control)

    @property
    def treatments(self) -> tuple[str, ...]:
        return tuple(each.variant for each in self.groups if not each.is_control)

    @property
    def calendar(self) -> Calendar:
        return Calendar(self.start, self.end, self.min_days, self.inference, self.as_of, self.ended)

    @property
    def problems(self) -> tuple[str, ...]:
        """What makes the arms incomparable, as sentences."""
        return tuple(each.sentence for each in self.checks if each.is_alarm and each.code.invalidates)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One a treatment, from the intervals, checks and dates above alone."""
        return tuple(
            verdict(variant, [result(each, variant) for each in self.metrics], self.problems, self.calendar)
            for variant in self.treatments
        )

    @property
    def recommendation(self) -> Recommendation | None:
        """The tested dose with the best value (the best first primary, where no metric is a value) among those whose
        guardrails are shown, and whose verdict is not against it. None before the end, where the arms cannot be
        compared, and where neither has doses. Money that leaves open what lost reach costs is no value: more contacts
        would always win."""
        ranks = {each.metric: _rank(self.metric(each.metric)) for each in self.doses}
        ranked = [each for each in self.doses if ranks[each.metric] is not None]
        if self.problems or not self.calendar.is_over or not ranked:
            return None
        chosen = min(ranked, key=lambda each: ranks[each.metric] or 0)
        guardrails = {each.name for each in self.metrics if each.role is Role.GUARDRAIL}
        allowed = [
            each.variant
            for each in self.verdicts
            if each.call not in (Call.STOP, Call.DO_NOT_SHIP)
            and all(how is Standing.GOOD for name, how in each.standings if name in guardrails)
        ]
        metric = self.metric(chosen.metric)
        undecided = [each.variant for each in metric.comparisons if not _is_better(metric, each.estimate)]
        of = "value" if metric.scale is Scale.MONEY else metric.called
        return recommended(chosen.table, allowed, metric.direction, undecided, of)

    def metric(self, name: str) -> MetricReadout:
        """The metric of that name; KeyError where there is none."""
        for each in self.metrics:
            if each.name == name:
                return each
        raise KeyError(name)

    def __str__(self) -> str:
        from experiments.reporting.text import page  # printing knows readouts, not the other way round

        return page(self)

    def to_json(self) -> str:
        """As JSON text, by the schema of docs/readout.md."""
        from experiments.reporting.json_form import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str | bytes) -> "Readout":
        """The readout that became this JSON. ValueError where it is none, naming the place."""
        from experiments.reporting.json_form import from_json

        return from_json(text)


def _rank(metric: MetricReadout) -> int | None:
    """By which metric a dose is chosen first; None: by such a one never."""
    if metric.scale is Scale.MONEY:
        return None if any(each.break_even for each in metric.comparisons) else 0
    return 1 if metric.role is Role.PRIMARY else None


def _is_better(metric: MetricReadout, estimate: Estimate) -> bool:
    """Whether the interval that decides lies wholly on the good side of 0."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low > 0 if metric.direction is Direction.INCREASE else estimate.high < 0


def result(metric: MetricReadout, variant: str) -> Result:
    """What of a metric the verdict on this variant looks at."""
    found = metric.comparison(variant)
    return Result(
        metric.name,
        metric.role,
        metric.direction,
        _interval(found.estimate),
        _interval(found.bound) if found.bound else None,
        metric.margin,
        metric.at_end_only,
    )


def _interval(estimate: Estimate) -> Interval | None:
    return None if estimate.low is None or estimate.high is None else Interval(estimate.low, estimate.high)
