"""The wide form: one row a unit, its outcomes in columns.

The columns are taken as complete: without an `as_of` each outcome's window is over. With one, windows that are not over
are immature and durations are cut at it; a column without a window cannot be cut, and is said to be as it stands.
Nothing here reads rows; what comes out is a table that the engine has yet to compute.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, assert_never

from experiments.aggregates import Exclusion
from experiments.design import Experiment, Mean, Metric, Outcome, Rate, Ratio, Reachable, Retention, Survival, Value
from experiments.errors import TableError
from experiments.reading.entries import Instant, checked, entry, micros, places, variant_code
from experiments.reading.event_metrics import longest
from experiments.reading.fields import DAY_US, Fields
from experiments.reading.measures import BOTH, CENSORED, COMPETING, EVENT, Kind, Measure, UnitTable, ended
from experiments.reading.reasons import Reason, exclusion
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine
from experiments.reading.sums import Sums

_SAMPLE = 2_000


@dataclass(frozen=True)
class WideForm:
    """What is to be computed. `uncut`: the metrics whose columns may hold what came after `as_of`."""

    units: UnitTable
    uncut: tuple[str, ...]

    def exclusions(self, sums: Sums) -> Iterable[Exclusion]:
        """What was not as it should be, and was taken nevertheless."""
        for measure, tied in sums.tied.items():
            yield exclusion(Reason.EVENT_AND_COMPETING, tied, f"metric {measure.metric!r}")
        count = sum(sums.units.values())
        if self.uncut and count:
            yield exclusion(Reason.OUTCOME_NOT_CUT, count, f"metrics {', '.join(map(repr, self.uncut))}")


def prepare(plan: Experiment, engine: Engine, table: Table, as_of: Instant, all_named: bool) -> WideForm:
    """The table with the columns of `measures`. Raises `TableError` for what a metric needs and the table lacks."""
    fields = Fields(engine, table, "the table")
    found = entry(plan, fields)
    as_of_us = micros(as_of)
    arm = checked(plan, variant_code(plan, found, all_named), found.entered, found.phase, as_of_us)
    columns = places(plan, arm, found.entered, found.phase)
    segments: dict[str, str] = {}
    for place, each in enumerate(plan.segments):
        segments[each] = f"s{place}"
        columns[f"s{place}"] = fields.text(each, "a segment of the plan")
    watched = None if as_of_us is None or found.entered is None else as_of_us - found.entered
    building = _Building(fields, watched, columns)
    measures = tuple(building.measure(place, each) for place, each in enumerate(plan.metrics))
    units = UnitTable(
        table=table.select(**columns),
        sample=table.limit(_SAMPLE).select(**columns),
        measures=measures,
        has_phase=found.phase is not None,
        has_entry_day=found.entered is not None,
        segments=segments,
    )
    is_early = as_of_us is not None and as_of_us < (micros(plan.end) or 0)
    return WideForm(units, tuple(building.uncut) if is_early else ())


@dataclass(frozen=True)
class _Building:
    """Adds a metric's columns to `columns`. `watched`: microseconds from entry to `as_of`, where both are known."""

    fields: Fields
    watched: Expression | None
    columns: dict[str, Expression] = field(default_factory=dict[str, Any])
    uncut: list[str] = field(default_factory=list[str])

    def measure(self, place: int, metric: Metric) -> Measure:
        x, y = f"x{place}", f"y{place}"
        kind, source, days = Kind.COUNTS, None, None
        match metric:
            case Rate():
                source, days = self._named(metric, metric.outcome.column), metric.outcome.within_days
                self.columns[x] = self._flag(metric, source)
            case Retention():
                source, days = self._named(metric, metric.outcome.column), metric.until_day
                self.columns[x] = self._flag(metric, source)
            case Reachable():
                source, days = self._named(metric, metric.column), metric.day + 1
                self.columns[x] = self._flag(metric, source)
            case Mean():
                kind, days = Kind.MOMENTS, metric.outcome.within_days
                number = self._number(metric, metric.outcome)
                self.columns[x] = number if metric.cap is None else ibis.least(number, float(metric.cap))
            case Ratio():
                kind = Kind.PAIRS
                days = longest(metric.numerator, metric.denominator)
                self._pair(x, y, self._number(metric, metric.numerator), self._number(metric, metric.denominator))
            case Value():
                kind = Kind.PAIRS
                days = longest(metric.revenue, metric.contacts, metric.lost_reach)
                self._pair(x, y, *self._value(metric))
            case Survival():
                kind = Kind.RISK
                self._survival(x, metric)
            case _:
                assert_never(metric)
        if self.watched is None or (days is None and kind is not Kind.RISK):
            self.uncut.append(metric.name)
        return Measure(
            metric.name, kind, x, y if kind is Kind.PAIRS else None, self._ripe(place, days, x, y), source=source
        )

    def _ripe(self, place: int, days: int | None, x: str, y: str) -> str | None:
        if days is None or self.watched is None:
            return None
        ripe = f"ripe{place}"
        self.columns[ripe] = self.watched >= days * DAY_US
        for each in (x, y):
            if each in self.columns:
                self.columns[each] = ibis.cases((self.columns[ripe], self.columns[each]))
        return ripe

    def _named(self, metric: Metric, column: str | None) -> str:
        if column is None:
            raise TableError(
                None, f"metric {metric.name!r} names no column, which the wide form (one row a unit) needs"
            )
        return column

    def _flag(self, metric: Metric, column: str) -> Expression:
        return self.fields.flag(column, _needed(metric))

    def _number(self, metric: Metric, outcome: Outcome) -> Expression:
        return self.fields.number(self._named(metric, outcome.column), _needed(metric))

    def _pair(self, x: str, y: str, one: Expression, other: Expression) -> None:
        known = one.notnull() & other.notnull()
        self.columns[x], self.columns[y] = ibis.cases((known, one)), ibis.cases((known, other))

    def _value(self, metric: Value) -> tuple[Expression, Expression]:
        money = self._number(metric, metric.revenue) * float(metric.margin_share)
        if metric.contacts is not None:
            money = money - self._number(metric, metric.contacts) * float(metric.cost_per_contact or 0)
        if metric.lost_reach is None:
            return money, ibis.literal(0).cast("float64")
        lost = self.fields.is_true(self._named(metric, metric.lost_reach.column), _needed(metric))
        return money, lost.cast("int32").cast("float64")

    def _survival(self, x: str, metric: Survival) -> None:
        """With an `as_of`, as in the long form: an event counts on a day that was watched to its end."""
        if metric.duration is None:
            raise TableError(None, f"metric {metric.name!r} names no duration, which the wide form needs")
        needed = _needed(metric)
        days = self.fields.number(metric.duration, needed)
        happened = self.fields.is_true(metric.event, needed)
        known = days.notnull() & (days >= 0) & happened.notnull()
        others = [self.fields.is_true(each, needed) for each in metric.competing]
        is_other: Expression = ibis.literal(False)
        for other in others:
            known, is_other = known & other.notnull(), is_other | other
        last: Expression = ibis.literal(metric.horizon_days, "int64")
        if self.watched is not None:
            last = ibis.least((self.watched // DAY_US).cast("int64"), last)
        of_event = ibis.cases((is_other, BOTH), else_=EVENT) if others else EVENT
        status = ibis.cases((happened, of_event), (is_other, COMPETING), else_=CENSORED)
        within = ended(days.floor().cast("int64"), status)
        self.columns[x] = ibis.cases((~known, None), (days < last, within), else_=ended(last, CENSORED))


def _needed(metric: Metric) -> str:
    return f"which metric {metric.name!r} needs"
