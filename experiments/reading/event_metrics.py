"""Metrics on events, as definitions: what is summed over a unit's events, and what of it is the unit's outcome.

Definitions are functions of a table, so that the same ones serve a whole table and a sample of it. Events have `kind`,
`off` (microseconds since their unit entered), and `channel`, `suspect`, `hard`, `day` (calendar days since entry) and
values where needed. Units have the sums, `watched` (microseconds from entry to `as_of`), and `watched_days`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import assert_never

from experiments.design import (
    Clock,
    Experiment,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Survival,
    Value,
)
from experiments.reading import reach
from experiments.reading.fields import DAY_US
from experiments.reading.measures import CENSORED, COMPETING, EVENT, Kind, Measure, Part, ended
from experiments.reading.reasons import Reason
from experiments.reading.relations import Expression, Table, ibis

SENT = "sent"
_WEEK_US = 7 * DAY_US
Definition = Callable[[Table], Expression]


def kinds(metric: Metric) -> frozenset[str]:
    """The types of events that a metric looks at."""
    if isinstance(metric, Survival):
        return frozenset({metric.event, *metric.competing}) | reach.lifts_of((metric.event, *metric.competing))
    if isinstance(metric, Reachable):
        return reach.AS_TOLD if metric.as_told else reach.KINDS
    return frozenset(each.event for each in outcomes(metric) if each.event is not None)


def outcomes(metric: Metric) -> tuple[Outcome, ...]:
    """Where a metric's numbers come from; none for those that have events of their own."""
    match metric:
        case Rate() | Mean() | Retention():
            return (metric.outcome,)
        case Ratio():
            return (metric.numerator, metric.denominator)
        case Value():
            return tuple(each for each in (metric.revenue, metric.contacts, metric.lost_reach) if each is not None)
        case Survival() | Reachable():
            return ()
        case _:
            assert_never(metric)


def channels(metric: Metric) -> frozenset[str]:
    """The channels that a metric asks for."""
    named = (
        [metric.channel] if isinstance(metric, Survival | Reachable) else [each.channel for each in outcomes(metric)]
    )
    return frozenset(each for each in named if each is not None)


@dataclass(frozen=True)
class Known:
    """What is known of the events: their types, those with suspects, whether bounces say if they are hard, the earliest
    instant. What a plan asks of types that are not there, or of suspects where there are none, is not looked for."""

    kinds: frozenset[str] = frozenset()
    suspect_kinds: frozenset[str] = frozenset()
    has_hard: bool = False
    first_us: int | None = None


@dataclass
class Definitions:
    """`sums`, by name, over a unit's events, and of which types these are; `columns`, by name, of the unit; and the
    measures made of these."""

    plan: Experiment
    known: Known
    sums: dict[str, Definition] = field(default_factory=dict[str, Definition])
    kinds_of: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    columns: dict[str, Definition] = field(default_factory=dict[str, Definition])
    measures: list[Measure] = field(default_factory=list[Measure])
    _names: dict[object, str] = field(default_factory=dict[object, str])

    def filled(self, name: str, value: Expression | None) -> Expression:
        """A sum in units without events: 0, but no first or last instant. None: there are no such events at all."""
        if value is None:
            return ibis.literal(0, "int64") if name.startswith("sum") else ibis.null("int64")
        return value.fill_null(0) if name.startswith("sum") else value

    def add(self, metric: Metric) -> None:
        """The metric's outcome; with suspects too, if it has any; and what it was before entry, if it has a window."""
        self._outcome(metric, Part.OUTCOME)
        if kinds(metric) & self.known.suspect_kinds:
            self._outcome(metric, Part.WITH_SUSPECTS)
        if self.known.first_us is not None:
            self._before(metric, self.known.first_us)

    def add_received(self) -> None:
        """Contacts a unit and week, of units that were watched for a week at least, within the plan's horizon."""
        horizon_us = self.plan.horizon_days * DAY_US
        sent = self._window(Outcome(event=SENT), 0, self.plan.horizon_days, Part.OUTCOME)
        self._measure(
            "received",
            Kind.MOMENTS,
            lambda units: units[sent] * (float(_WEEK_US) / ibis.least(units["watched"], horizon_us)),
            ripe=lambda units: units["watched"] >= _WEEK_US,
            part=Part.RECEIVED,
        )

    def _outcome(self, metric: Metric, part: Part) -> None:
        match metric:
            case Rate():
                count = self._window(replace(metric.outcome, value=None), 0, metric.outcome.within_days, part)
                ripe = _watched(metric.outcome.within_days)
                self._measure(metric.name, Kind.COUNTS, lambda units: units[count] > 0, ripe=ripe, part=part)
            case Mean():
                x = self._number(metric.outcome, part, metric.cap)
                self._measure(metric.name, Kind.MOMENTS, x, ripe=_watched(metric.outcome.within_days), part=part)
            case Ratio():
                x, y = self._number(metric.numerator, part), self._number(metric.denominator, part)
                ripe = _watched(longest(metric.numerator, metric.denominator))
                self._measure(metric.name, Kind.PAIRS, x, y, ripe, part)
            case Value():
                ripe = _watched(longest(*outcomes(metric)))
                self._measure(metric.name, Kind.PAIRS, *self._value(metric, part), ripe, part)
            case Retention():
                self._retention(metric, part)
            case Reachable():
                self._reachable(metric, part)
            case Survival():
                self._survival(metric, part)
            case _:
                assert_never(metric)

    def _measure(
        self,
        metric: str,
        kind: Kind,
        x: Definition,
        y: Definition | None = None,
        ripe: Definition | None = None,
        part: Part = Part.OUTCOME,
        null_is: Reason = Reason.NO_OUTCOME,
    ) -> None:
        place = len(self.measures)
        names = [name for name, each in ((f"x{place}", x), (f"y{place}", y)) if each is not None]
        for name, value in zip(names, (x, y), strict=False):
            if value is not None:
                self.columns[name] = value if ripe is None else _where(ripe, value)
        if ripe is not None:
            self.columns[f"ripe{place}"] = ripe
        y_name = f"y{place}" if y is not None else None
        ripe_name = f"ripe{place}" if ripe is not None else None
        self.measures.append(Measure(metric, kind, f"x{place}", y_name, ripe_name, part, null_is=null_is))

    def _sum(self, key: object, of: Collection[str | None], definition: Definition, prefix: str = "sum") -> str:
        """Its name; equal keys share one sum. `of`: the types of its events."""
        name = self._names.setdefault(key, f"{prefix}{len(self._names)}")
        self.sums.setdefault(name, definition)
        self.kinds_of.setdefault(name, self.known.kinds.intersection(of))
        return name

    def _trusted(self, events: Table, condition: Expression, part: Part) -> Expression:
        if part is Part.WITH_SUSPECTS or not self.known.suspect_kinds:
            return condition
        return condition & ~events["suspect"]

    def _window(self, outcome: Outcome, low: int, high: int | None, part: Part) -> str:
        """How many events, or the sum of their values, from day `low` to before day `high`."""
        if outcome.event not in self.known.kinds:
            return self._sum(None, (), lambda events: events.count(where=ibis.literal(False)))

        def definition(events: Table) -> Expression:
            inside = _of(events, outcome.event, outcome.channel) & (events["off"] >= low * DAY_US)
            inside = inside if high is None else inside & (events["off"] < high * DAY_US)
            inside = self._trusted(events, inside, part)
            return events.count(where=inside) if outcome.value is None else events[value(outcome)].sum(where=inside)

        with_suspects = part is Part.WITH_SUSPECTS
        key = (outcome.event, outcome.channel, outcome.value, low, high, with_suspects)
        return self._sum(key, {outcome.event}, definition)

    def _number(self, outcome: Outcome, part: Part, cap: float | None = None) -> Definition:
        name = self._window(outcome, 0, outcome.within_days, part)

        def definition(units: Table) -> Expression:
            number: Expression = units[name].cast("float64")
            return number if cap is None else ibis.least(number, float(cap))

        return definition

    def _value(self, metric: Value, part: Part) -> tuple[Definition, Definition]:
        revenue = self._number(metric.revenue, part)
        contacts = None if metric.contacts is None else self._number(metric.contacts, part)
        lost = None if metric.lost_reach is None else self._number(replace(metric.lost_reach, value=None), part)

        def money(units: Table) -> Expression:
            earned = revenue(units) * float(metric.margin_share)
            return earned if contacts is None else earned - contacts(units) * float(metric.cost_per_contact or 0)

        def loss(units: Table) -> Expression:
            return ibis.literal(0).cast("float64") if lost is None else (lost(units) > 0).cast("int32").cast("float64")

        return money, loss

    def _retention(self, metric: Retention, part: Part) -> None:
        if metric.clock is Clock.ROLLING:
            outcome = replace(metric.outcome, value=None, within_days=None)
            count = self._window(outcome, metric.from_day, metric.until_day, part)
            ripe = _watched(metric.until_day)
        else:

            def by_calendar(events: Table) -> Expression:
                days = (events["day"] >= metric.from_day) & (events["day"] < metric.until_day) & (events["off"] >= 0)
                inside = _of(events, metric.outcome.event, metric.outcome.channel) & days
                return events.count(where=self._trusted(events, inside, part))

            count = self._sum((metric.name, part is Part.WITH_SUSPECTS), {metric.outcome.event}, by_calendar)
            ripe = _lived(metric.until_day)
        self._measure(metric.name, Kind.COUNTS, lambda units: units[count] > 0, ripe=ripe, part=part)

    def _reachable(self, metric: Reachable, part: Part) -> None:
        end = reach.end_us(metric)
        pairs: list[tuple[str, str]] = []
        for place, (loss, lift) in enumerate(reach.losses_and_lifts(metric, self.known.has_hard)):
            key = (metric.name, part is Part.WITH_SUSPECTS, place)
            ends = [
                self._last((*key, of), kinds(metric), each, end, part) for of, each in (("loss", loss), ("lift", lift))
            ]
            pairs.append((ends[0], ends[1]))

        def definition(units: Table) -> Expression:
            reached: Expression = ibis.literal(True)
            for loss, lift in pairs:
                reached = reached & ~_is_gone(units, loss, lift)
            return reached

        self._measure(metric.name, Kind.COUNTS, definition, ripe=lambda units: units["watched"] >= end, part=part)

    def _last(self, key: object, of: Collection[str], condition: Definition, end_us: int, part: Part) -> str:
        def definition(events: Table) -> Expression:
            inside = self._trusted(events, condition(events) & (events["off"] < end_us), part)
            return events["off"].max(where=inside)

        return self._sum(key, of, definition, "last")

    def _survival(self, metric: Survival, part: Part) -> None:
        """An event counts on a day that was watched to its end, as those do without whom its rate would be none.

        Who was gone before entry, and had not come back, is not at risk. Events that happen again leave nobody gone.
        """
        gone: list[tuple[str, str]] = []
        for place, (loss, lift) in enumerate(reach.exits_and_lifts(metric)):
            key = (metric.name, part is Part.WITH_SUSPECTS, place)
            ends = [
                self._last((*key, of), kinds(metric), each, 0, part) for of, each in (("exit", loss), ("lift", lift))
            ]
            gone.append((ends[0], ends[1]))
        first = self._first({metric.event}, metric.channel, part)
        other = self._first(set(metric.competing), None, part) if metric.competing else None
        horizon = metric.horizon_days

        def end(units: Table) -> Expression:
            return units[first] if other is None else ibis.least(*_both(units[first], units[other]))

        def definition(units: Table) -> Expression:
            watched = ibis.least((units["watched"] // DAY_US).cast("int64"), horizon)
            day = (end(units) // DAY_US).cast("int64")
            is_event = ibis.literal(True) if other is None else units[first] == end(units)
            happened = ended(day, ibis.cases((is_event, EVENT), else_=COMPETING))
            never = [(_is_gone(units, loss, lift), None) for loss, lift in gone]
            return ibis.cases(*never, (day < watched, happened), else_=ended(watched, CENSORED))

        self._measure(metric.name, Kind.RISK, definition, part=part, null_is=Reason.GONE_BEFORE_ENTRY)

    def _first(self, events_of: Collection[str], channel: str | None, part: Part) -> str:
        def definition(events: Table) -> Expression:
            inside = events["kind"].isin(sorted(events_of)) & (events["off"] >= 0)
            inside = inside if channel is None else inside & (events["channel"] == channel)
            return events["off"].min(where=self._trusted(events, inside, part))

        key = ("first", tuple(sorted(events_of)), channel, part is Part.WITH_SUSPECTS)
        return self._sum(key, events_of, definition, "first")

    def _before(self, metric: Metric, first_us: int) -> None:
        """The same in as many days before entry, of units whose days before entry the events cover."""
        match metric:
            case Rate() | Mean():
                days, outcome = metric.outcome.within_days, metric.outcome
            case Retention():
                days, outcome = metric.until_day - metric.from_day, metric.outcome
            case _:
                return
        if days is None:
            return
        is_mean = isinstance(metric, Mean)
        cap = metric.cap if isinstance(metric, Mean) else None
        name = self._window(outcome if is_mean else replace(outcome, value=None), -days, 0, Part.OUTCOME)

        def number(units: Table) -> Expression:
            found: Expression = units[name].cast("float64")
            return found if cap is None else ibis.least(found, float(cap))

        covered = _covered(days, first_us)
        if is_mean:
            self._measure(metric.name, Kind.MOMENTS, number, ripe=covered, part=Part.BEFORE)
        else:
            self._measure(metric.name, Kind.COUNTS, lambda units: units[name] > 0, ripe=covered, part=Part.BEFORE)


def value(outcome: Outcome) -> str:
    """The name of the column of a value."""
    return f"v_{outcome.value}"


def days_needed(metric: Metric) -> int:
    """For how many days after entry a metric looks at what happens; 0 where it has no end of its own."""
    match metric:
        case Rate() | Mean() | Ratio() | Value():
            return max((each.within_days or 0 for each in outcomes(metric)), default=0)
        case Retention():
            return metric.until_day + (2 if metric.clock is Clock.CALENDAR else 0)  # a local date ends up to 2 days on
        case Reachable():
            return metric.day + 1
        case Survival():
            return metric.horizon_days
        case _:
            assert_never(metric)


def longest(*given: Outcome | None) -> int | None:
    """The days after which all these windows are over; None if one of them has no end."""
    days = [each.within_days for each in given if each is not None]
    return None if None in days else max(each for each in days if each is not None)


def _of(events: Table, kind: str | None, channel: str | None) -> Expression:
    same: Expression = events["kind"] == kind
    return same if channel is None else same & (events["channel"] == channel)


def _watched(days: int | None) -> Definition | None:
    return None if days is None else lambda units: units["watched"] >= days * DAY_US


def _lived(days: int) -> Definition:
    return lambda units: units["watched_days"] >= days


def _covered(days: int, first_us: int) -> Definition:
    return lambda units: units["entered"] - days * DAY_US >= first_us


def _is_gone(units: Table, loss: str, lift: str) -> Expression:
    """By its last loss, unless a later instant brought it back."""
    return units[loss].notnull() & ~(units[lift] > units[loss]).fill_null(False)


def _where(ripe: Definition, value: Definition) -> Definition:
    return lambda units: ibis.cases((ripe(units), value(units)))


def _both(one: Expression, other: Expression) -> tuple[Expression, Expression]:
    """Each where it is known, else the other: engines differ in what the least of null is."""
    return ibis.coalesce(one, other), ibis.coalesce(other, one)
