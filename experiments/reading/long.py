"""The long form: exposures and events with times, joined and brought to one row a unit inside the engine.

A unit enters with its first exposure. Events of types that no metric looks at are passed over before anything is
joined; all metrics are computed in one pass over the others.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from experiments.aggregates import Exclusion
from experiments.design import Clock, Experiment, Reachable, Retention
from experiments.errors import TableError
from experiments.reading import event_survey
from experiments.reading.entries import Instant, checked, code, entry, micros, places, variant_code
from experiments.reading.event_metrics import SENT, Definitions, Known, days_needed
from experiments.reading.event_survey import Survey
from experiments.reading.fields import DAY_US, Fields
from experiments.reading.measures import ARM, PHASE, UnitTable
from experiments.reading.reasons import Reason, exclusion
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine
from experiments.reading.sums import Sums
from experiments.reading.zones import Calendars

_SAMPLE = 2_000
_MOST_ZONES = 2_000
_OWN_PASS = 0.1  # of the events: types that make up as much are summed in a pass of their own
_MATCHED, _EARLY, _SUSPECTS, _ZONELESS = "matched", "early", "suspects", "zoneless"


@dataclass(frozen=True)
class LongForm:
    """What is to be computed, and what the first look counted."""

    units: UnitTable
    as_of_us: int | None
    survey: Survey
    exposures_without_unit: int
    exposures: int
    duplicated_events: int
    has_hard: bool
    asks_reach: bool

    def exclusions(self, sums: Sums) -> Iterable[Exclusion]:
        """Those of rows: what `sums` counted are units."""
        survey, matched = self.survey, sums.sums.get(_MATCHED, 0)
        units = sum(sums.units.values()) + sum(sums.left_out.values())
        counts = [
            (Reason.NO_UNIT, self.exposures_without_unit),
            (Reason.REPEATED_EXPOSURE, self.exposures - self.exposures_without_unit - units),
            (Reason.EVENT_BEFORE_ENTRY, sums.sums.get(_EARLY, 0)),
            (Reason.EVENT_AFTER_AS_OF, survey.after_as_of),
            (Reason.EVENT_WITHOUT_TIME, survey.without_time),
            (Reason.EVENT_WITHOUT_UNIT, survey.without_unit),
            (Reason.DUPLICATED_EVENT, self.duplicated_events),
            (Reason.SUSPECT_EVENT, sums.sums.get(_SUSPECTS, 0)),
            (Reason.BOUNCE_OF_UNKNOWN_KIND, survey.bounces if self.asks_reach and not self.has_hard else 0),
            (Reason.UNKNOWN_TIME_ZONE, sums.sums.get(_ZONELESS, 0)),
        ]
        of_others = survey.count - self.duplicated_events - matched
        of_others -= survey.without_time + survey.without_unit + survey.after_as_of
        counts.append((Reason.EVENT_OF_OTHERS, max(0, of_others)))
        yield from (exclusion(reason, count) for reason, count in counts if count)
        for name, count in survey.without_value.items():
            if count:
                yield exclusion(Reason.EVENT_WITHOUT_VALUE, count, repr(name))


def prepare(plan: Experiment, engine: Engine, exposures: Table, events: Table, as_of: Instant) -> LongForm:
    """Looks once at each table, and says what to compute. Raises `TableError` for what a metric needs and lacks."""
    if plan.columns.unit is None:
        raise TableError(None, "the plan says that units have no name (columns.unit), which joins exposures to events")
    entered = _exposures(plan, Fields(engine, exposures, "the table of exposures"))
    fields = Fields(engine, events, "the table of events")
    unit = fields.unit(plan.columns.unit, "which names the unit of an event")
    if unit.type().is_string() != entered["unit"].type().is_string():
        kinds = f"{unit.type()}, and the table of exposures {entered['unit'].type()}"
        raise TableError(plan.columns.unit, f"{fields.what} holds {kinds}: expected names of one type")
    columns = event_survey.columns_of(plan, fields, unit)
    looked = events.select(**columns)
    given_us = micros(as_of)
    latest_us = _latest(plan) if given_us is None else given_us
    survey = event_survey.survey(plan, engine, looked, latest_us)
    of_exposures = engine.row(
        entered.aggregate(n=entered.count(), units=entered["unit"].count(), last=entered["entered"].max())
    )
    as_of_us = given_us
    if as_of_us is None:
        seen = [each + 1 for each in (survey.last_us, of_exposures["last"]) if each is not None]
        as_of_us = min(max(seen), latest_us) if seen else None
    wanted = _wanted(looked, event_survey.needed_kinds(plan), as_of_us or 0)
    duplicated = 0
    if "id" in looked.columns:
        named = wanted.filter(wanted["id"].notnull())
        count = engine.row(named.aggregate(n=named.count()))["n"]
        distinct: Table = named.select(*_identity(named)).distinct()
        duplicated = count - engine.row(distinct.aggregate(n=distinct.count()))["n"]
        if duplicated:
            wanted = _deduplicated(wanted)
    known = Known(frozenset(survey.kinds), survey.suspect_kinds, "hard" in looked.columns, survey.first_us)

    def of(kinds: Collection[str]) -> Table:
        """Chosen before anything is computed of them: what a query names twice, PostgreSQL would write down."""
        if duplicated:
            return wanted.filter(wanted["kind"].isin(sorted(kinds)))
        chosen = events.filter(columns["kind"].isin(sorted(kinds)))
        return _wanted(chosen.select(**columns), kinds, as_of_us or 0)

    units = _Joining(plan, engine, entered, of, as_of_us or 0, survey, known, bool(duplicated)).unit_table()
    return LongForm(
        units,
        as_of_us,
        survey,
        of_exposures["n"] - of_exposures["units"],
        of_exposures["n"],
        duplicated,
        known.has_hard,
        any(isinstance(each, Reachable) for each in plan.metrics),
    )


def _latest(plan: Experiment) -> int:
    """When the last who may enter has been watched for as long as the plan asks: what is later, as by a typo in a year,
    moves no `as_of`."""
    days = max(plan.horizon_days, *map(days_needed, plan.metrics))
    return (micros(plan.end) or 0) + days * DAY_US


def _exposures(plan: Experiment, fields: Fields) -> Table:
    """One row an exposure: unit, arm, entered, phase, zone and segments."""
    fields.instant(plan.columns.entered, "the time of entry")  # the long form has no windows without it
    found = entry(plan, fields)
    columns: dict[str, Any] = {"unit": found.unit, ARM: variant_code(plan, found), "entered": found.entered}
    if found.phase is not None:
        columns[PHASE] = found.phase
    if fields.has(plan.columns.time_zone) and _by_calendar(plan):
        columns["zone"] = fields.text(plan.columns.time_zone, "the time zone of a customer").fill_null("")
    for place, each in enumerate(plan.segments):
        columns[f"s{place}"] = fields.text(each, "a segment of the plan").fill_null("(none)")
    return fields.table.select(**columns)


def _by_calendar(plan: Experiment) -> bool:
    return any(isinstance(each, Retention) and each.clock is Clock.CALENDAR for each in plan.metrics)


def _wanted(events: Table, kinds: Collection[str], as_of_us: int) -> Table:
    usable = events["unit"].notnull() & (events["at"] < as_of_us)
    return events.filter(usable & events["kind"].isin(sorted(kinds)) if kinds else ibis.literal(False))


def _identity(events: Table) -> list[str]:
    """What makes two rows one event: id, source and customer. Another customer's event may bear the same id."""
    return [each for each in ("source", "unit", "id") if each in events.columns]


def _deduplicated(events: Table) -> Table:
    """Of rows of one event the earliest; rows without an id are what they are."""
    window = ibis.window(group_by=_identity(events), order_by=[events["at"], events["kind"]])
    numbered = events.mutate(place=ibis.row_number().over(window))
    return numbered.filter((numbered["place"] == 0) | numbered["id"].isnull()).drop("place")


@dataclass(frozen=True)
class _Joining:
    """From exposures and wanted events to one row a unit."""

    plan: Experiment
    engine: Engine
    exposures: Table
    events: Callable[[Collection[str]], Table]  # those of these types
    as_of_us: int
    survey: Survey
    known: Known
    is_dear: bool  # to read the events more than once

    def unit_table(self) -> UnitTable:
        definitions = Definitions(self.plan, self.known)
        for each in self.plan.metrics:
            definitions.add(each)
        if self.plan.is_about_budgets and SENT in self.survey.kinds:
            definitions.add_received()
        calendars = self._calendars()
        table = self._units(self.exposures, definitions, calendars)
        optional = {_SUSPECTS: self.known.suspect_kinds, _ZONELESS: calendars}
        sums = [_MATCHED, _EARLY, *(each for each, there in optional.items() if there)]
        return UnitTable(
            table=table,
            sample=self._units(self.exposures.limit(_SAMPLE), definitions, calendars),
            measures=tuple(definitions.measures),
            has_phase=PHASE in self.exposures.columns,
            has_entry_day=True,
            segments={each: f"s{place}" for place, each in enumerate(self.plan.segments)},
            sums=tuple(sums),
        )

    def _calendars(self) -> Calendars | None:
        if not _by_calendar(self.plan):
            return None
        zones: list[str] = []
        if "zone" in self.exposures.columns:
            distinct = self.exposures.select("zone").distinct().limit(_MOST_ZONES + 1)
            zones = [each["zone"] for each in self.engine.rows(distinct)]
            if len(zones) > _MOST_ZONES:
                raise TableError(self.plan.columns.time_zone, f"has more than {_MOST_ZONES:,} values: no time zones")
        low = micros(self.plan.start) or 0
        return Calendars(zones, min(low, self.as_of_us), self.as_of_us)

    def _units(self, exposures: Table, definitions: Definitions, calendars: Calendars | None) -> Table:
        entries = self._entries(exposures)
        analysed = entries.filter(entries[ARM] >= 0).select(
            "unit", "entered", *(["zone"] if "zone" in entries.columns else [])
        )
        joined: Table = entries
        passes = self._passes(definitions)
        for place, kinds in enumerate(passes):
            found = self._per_unit(place, kinds, analysed, definitions, calendars)
            joined = joined.left_join(found, joined["unit"] == found[f"unit{place}"])
        columns: dict[str, Expression] = {
            name: definitions.filled(name, joined[name] if definitions.kinds_of[name] else None)
            for name in definitions.sums
        }
        for name in (_MATCHED, _EARLY, _SUSPECTS):
            counted = [joined[f"{name}{place}"].fill_null(0) for place in range(len(passes))]
            columns[name] = sum(counted[1:], counted[0]) if counted else ibis.literal(0, "int64")
        columns["watched"] = self.as_of_us - joined["entered"]
        if calendars:
            zone = joined["zone"] if "zone" in entries.columns else None
            today = calendars.day(ibis.literal(self.as_of_us, "int64"), zone)
            columns["watched_days"] = today - calendars.day(joined["entered"], zone)
            is_known = ibis.literal(False) if zone is None else calendars.is_known(zone)
            columns[_ZONELESS] = ibis.cases((is_known, 0), else_=1)
        units = joined.mutate(**columns)
        arm, phase = units[ARM], units[PHASE] if PHASE in entries.columns else None
        kept = {**places(self.plan, arm, units["entered"], phase)}
        kept |= {f"s{place}": units[f"s{place}"] for place in range(len(self.plan.segments))}
        kept |= {name: definition(units) for name, definition in definitions.columns.items()}
        kept |= {name: units[name] for name in (_MATCHED, _EARLY, _SUSPECTS, _ZONELESS) if name in units.columns}
        return units.select(**kept)

    def _entries(self, exposures: Table) -> Table:
        """One row a unit: what its first exposure says; left out, if others speak of another variant."""
        named = exposures.filter(exposures["unit"].notnull())
        at_first = [each for each in named.columns if each not in {"unit", ARM, "entered"}]
        first: dict[str, Expression] = {
            each: named[each].fill_null(-1 if each == PHASE else "").argmin(named["entered"]) for each in at_first
        }
        grouped = named.group_by("unit").aggregate(
            low=named[ARM].min(), high=named[ARM].max(), entered=named["entered"].min(), **first
        )
        tester = code(Reason.TESTER)
        arm = ibis.cases(
            (grouped["high"] == tester, tester),
            (grouped["low"] != grouped["high"], code(Reason.IN_TWO_VARIANTS)),
            else_=grouped["high"],
        )
        phase = grouped[PHASE] if PHASE in grouped.columns else None
        arm = checked(self.plan, arm.cast("int16"), grouped["entered"], phase, self.as_of_us)
        return grouped.mutate(**{ARM: arm}).drop("low", "high")

    def _passes(self, definitions: Definitions) -> list[frozenset[str]]:
        """The types of events that are summed together; all types of one sum are in one pass.

        PostgreSQL holds each event against each sum: there, what makes up much of them is summed alone, against the few
        sums that are of it. DuckDB does so a thousand events at a time, and would take twice as long.
        """
        counts = self.survey.kinds
        least = _OWN_PASS * self.survey.count
        is_apart = self.engine.name == "postgres" and not self.is_dear
        often = [each for each, count in counts.items() if is_apart and count >= least]
        found = [frozenset({each}) for each in often]
        found.append(frozenset(counts).difference(often))
        for of in definitions.kinds_of.values():
            together = [each for each in found if each & of]
            if len(together) > 1:
                found = [each for each in found if not each & of] + [frozenset[str]().union(*together)]
        return [each for each in found if each]

    def _per_unit(
        self,
        place: int,
        kinds: frozenset[str],
        analysed: Table,
        definitions: Definitions,
        calendars: Calendars | None,
    ) -> Table:
        """The sums of events of these types. What all of them have in common is a constant, of which no engine need
        look at each."""
        chosen = self.events(kinds)
        suspects = kinds & self.known.suspect_kinds
        constants: dict[str, Expression] = {} if suspects else {"suspect": ibis.literal(False)}
        if len(kinds) == 1:
            constants["kind"] = ibis.literal(*kinds)
        joined = chosen.mutate(**constants).inner_join(analysed, "unit")
        columns: dict[str, Expression] = {"off": joined["at"] - joined["entered"]}
        if calendars:
            zone = joined["zone"] if "zone" in analysed.columns else None
            columns["day"] = calendars.day(joined["at"], zone) - calendars.day(joined["entered"], zone)
        events = joined.mutate(**columns)
        wanted = {
            name: definition(events)
            for name, definition in definitions.sums.items()
            if definitions.kinds_of[name] and definitions.kinds_of[name] <= kinds
        }
        wanted[f"{_MATCHED}{place}"] = events.count()
        wanted[f"{_EARLY}{place}"] = events.count(where=events["off"] < 0)
        is_suspect = events["suspect"] & (events["off"] >= 0) if suspects else ibis.literal(False)
        wanted[f"{_SUSPECTS}{place}"] = events.count(where=is_suspect)
        return events.group_by(**{f"unit{place}": events["unit"]}).aggregate(**wanted)
