"""The verdict on one variant: a pure function of the intervals shown, what makes them invalid, and dates.

Not an opinion, and no statistics of its own: whoever has a readout's numbers comes to the same verdict. What is unknown
counts neither way: neither as good nor as bad, neither inside a margin nor outside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from experiments.design import Direction, Inference, Role

WEEK_DAYS = 7


class Call(StrEnum):
    """What to do, in the order in which they are looked for: the first that applies holds."""

    INVALID = "invalid"
    STOP = "stop"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    INCONCLUSIVE = "inconclusive"
    KEEP_RUNNING = "keep_running"


class Standing(StrEnum):
    """Where an interval lies: wholly on the GOOD or BAD side of its line, or across it (OPEN). LATER: it decides at the
    end only, and that is not reached. UNKNOWN: there is no interval."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, in the metric's own unit; either may be infinite."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """What is shown of one metric for one variant: `interval` decides, `bound` may stop at any time.

    A guardrail's line is its margin, that of others is 0. `at_end_only`: the metric has no anytime method.
    """

    metric: str
    role: Role
    direction: Direction
    interval: Interval | None
    bound: Interval | None = None
    margin: float | None = None
    at_end_only: bool = False

    def __post_init__(self) -> None:
        if self.role is Role.GUARDRAIL and not (self.margin is not None and self.margin > 0):
            raise ValueError(f"the guardrail {self.metric} has a margin of {self.margin}, expected one above 0")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The dates that a verdict depends on. `as_of`: the readout holds the days before it; None: all that there will be.
    `ended`: when it was ended, where that was before `end`, the planned one.

    Decided at the end, and under `anytime` also after each whole week since the start, from `min_days` on: parts of a
    week would let its weekdays weigh unequally. An end before that was chosen by looking: it decides under `anytime`
    alone, whose intervals allow for it, from `min_days` on; no whole week will come then.
    """

    start: date
    end: date
    min_days: int
    inference: Inference
    as_of: date | None = None
    ended: date | None = None

    @property
    def is_over(self) -> bool:
        """Whether the planned end is reached."""
        return self.as_of is None or self.as_of >= self.end

    @property
    def is_cut_short(self) -> bool:
        """Whether it was ended before that, so that nothing more will come."""
        return self.ended is not None and not self.is_over

    @property
    def days(self) -> int:
        """Whole days that the readout holds, those after the planned end included; never below 0."""
        return max(0, ((self.as_of or self.end) - self.start).days)

    @property
    def decides(self) -> bool:
        """Whether a verdict may be reached on these dates."""
        if self.is_over:
            return True
        is_day = self.is_cut_short or self.days % WEEK_DAYS == 0
        return self.inference is Inference.ANYTIME and self.days >= self.min_days and is_day

    @property
    def next_decision(self) -> date:
        """The first date after `as_of` on which a verdict may be reached; the end where there is none before it."""
        if self.is_over or self.inference is Inference.FIXED:
            return self.end
        weeks = max(self.days // WEEK_DAYS + 1, -(-self.min_days // WEEK_DAYS))
        return min(self.end, self.start + timedelta(days=weeks * WEEK_DAYS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`call` on `variant`, and what led to it.

    `problems` name what makes the comparison invalid. `standings` give, for every primary and guardrail, how it stands
    on these dates. `because` names the metrics that decided, or those that keep it undecided. An inconclusive verdict
    says what it excludes: for each primary with an interval that may be read on these dates, effects outside of it.
    `until` is set where the call is to keep running: the planned end; `next_decision` the date on which it may be
    decided first.
    """

    variant: str
    call: Call
    problems: tuple[str, ...] = ()
    standings: tuple[tuple[str, Standing], ...] = ()
    because: tuple[str, ...] = ()
    excluded: tuple[tuple[str, Interval], ...] = ()
    until: date | None = None
    next_decision: date | None = None


def standing(result: Result, interval: Interval | None) -> Standing:
    """On which side of the metric's line this interval lies. An interval that touches the line is across it."""
    if interval is None:
        return Standing.UNKNOWN
    is_increase = result.direction is Direction.INCREASE
    worst, best = (interval.low, interval.high) if is_increase else (-interval.high, -interval.low)
    line = -(result.margin or 0.0) if result.role is Role.GUARDRAIL else 0.0
    if worst > line:
        return Standing.GOOD
    return Standing.BAD if best < line else Standing.OPEN


def verdict(variant: str, results: Sequence[Result], problems: Sequence[str], calendar: Calendar) -> Verdict:
    """The first that applies (docs/readout.md).

    1. *invalid*: there are `problems` (the shares of the variants are not those planned, a leak).
    2. *stop*: the bound of a primary is wholly bad, or that of a guardrail wholly outside its margin.
    3. On a date that decides, *ship*: a primary is wholly good, none wholly bad, every guardrail inside its margin;
       *do not ship*: a primary wholly bad or a guardrail wholly outside.
    4. At the end, planned or not, *inconclusive*; before it *keep running*: what was ended cannot be.

    Secondary and descriptive metrics inform and are not looked at.
    """
    deciding = [each for each in results if each.role in (Role.PRIMARY, Role.GUARDRAIL)]
    now = {each.metric: _standing_now(each, calendar) for each in deciding}
    stopping = [each.metric for each in deciding if standing(each, each.bound) is Standing.BAD]
    call, because = _call(deciding, now, stopping, calendar)
    if problems:
        call, because = Call.INVALID, ()
    is_running = call is Call.KEEP_RUNNING
    return Verdict(
        variant,
        call,
        problems=tuple(problems),
        standings=tuple(now.items()),
        because=tuple(because),
        excluded=_excluded(deciding, now) if call is Call.INCONCLUSIVE else (),
        until=calendar.end if is_running else None,
        next_decision=calendar.next_decision if is_running else None,
    )


def _excluded(results: Sequence[Result], now: dict[str, Standing]) -> tuple[tuple[str, Interval], ...]:
    return tuple(
        (each.metric, each.interval)
        for each in results
        if each.role is Role.PRIMARY and each.interval and now[each.metric] is not Standing.LATER
    )


def _standing_now(result: Result, calendar: Calendar) -> Standing:
    waits = not calendar.is_over and (result.at_end_only or calendar.inference is Inference.FIXED)
    return Standing.LATER if waits and result.interval is not None else standing(result, result.interval)


def _call(
    deciding: Sequence[Result], now: dict[str, Standing], stopping: list[str], calendar: Calendar
) -> tuple[Call, list[str]]:
    if stopping:
        return Call.STOP, stopping
    bad = [name for name, how in now.items() if how is Standing.BAD]
    good = [each.metric for each in deciding if each.role is Role.PRIMARY and now[each.metric] is Standing.GOOD]
    guardrails = [each.metric for each in deciding if each.role is Role.GUARDRAIL]
    if calendar.decides and bad:
        return Call.DO_NOT_SHIP, bad
    if calendar.decides and good and all(now[name] is Standing.GOOD for name in guardrails):
        return Call.SHIP, [*good, *guardrails]
    undecided = [name for name, how in now.items() if how is not Standing.GOOD]
    return (Call.INCONCLUSIVE if calendar.is_over or calendar.is_cut_short else Call.KEEP_RUNNING), undecided
