"""From any table to aggregates: files, data frames, and whatever Ibis speaks to. Only aggregates leave the engine.

Two forms. *Wide*: one row a unit, outcomes in columns. *Long*: a table of exposures and one of events, with times. The
columns are called what `plan.columns` says.
"""

from collections.abc import Iterable, Mapping

from experiments.aggregates import Aggregate, Aggregates, Cell, Exclusion, Segment
from experiments.design import Experiment
from experiments.moments import Counts, Moments
from experiments.reading import csv_files, duplicates, long, wide
from experiments.reading.entries import AsOf, Instant, day_of, instant_of, micros
from experiments.reading.event_survey import ID, SOURCE
from experiments.reading.measures import Measure, Part
from experiments.reading.reasons import Reason, exclusion
from experiments.reading.sources import Engine, Source, open_tables
from experiments.reading.sums import Group, Sums, summed


def aggregate(plan: Experiment, table: Source, events: Source | None = None, *, as_of: AsOf = None) -> Aggregates:
    """Counts, moments and risk tables of the plan's metrics, by variant, phase and day of entry.

    `table` is a path (.csv, .parquet, .jsonl, .json), a data frame (pandas, polars, pyarrow) or an Ibis table; with
    `events` it holds exposures (the long form), without it units and their outcomes (the wide form). Both tables lie in
    one engine. Long form: a unit enters with its first exposure, day k of its outcomes is the k-th 24 hours from then,
    counted from 0, and what is not over at `as_of` is no outcome yet. Only what lies before `as_of` is looked at: an
    instant or a date (its first instant in UTC), also as ISO text; by default just after the latest in the tables, but
    never later than the plan's end and its longest window or horizon. Rows of events with one id, source and customer
    are one event. Wide form: outcomes are taken as complete, and the run as over, unless `as_of` says otherwise;
    outcomes with a window and durations are then cut at it where the table has times of entry, others are taken as they
    stand.

    Raises `TableError`, with the column, for what cannot be analysed. What is left out is counted in `exclusions`.
    """
    as_of = instant_of(as_of)
    of_units = csv_files.of_units(plan, is_long=events is not None)
    engine, opened, opened_events = open_tables(table, events, of_units, csv_files.of_events(plan, ID, SOURCE))
    if opened_events is None:
        return _of_wide(plan, engine, opened, as_of)
    form = long.prepare(plan, engine, opened, opened_events, as_of)
    sums = summed(plan, engine, form.units)
    return _aggregates(sums, (*_exclusions(sums), *form.exclusions(sums)), form.as_of_us)


def _of_wide(plan: Experiment, engine: Engine, table: Source, as_of: Instant) -> Aggregates:
    checked = duplicates.checked(plan, engine, table)
    form = wide.prepare(plan, engine, checked.table, as_of, checked.all_named)
    sums = summed(plan, engine, form.units)
    conflicts = (exclusion(Reason.IN_TWO_VARIANTS, checked.in_two_variants),) if checked.in_two_variants else ()
    return _aggregates(sums, (*_exclusions(sums), *conflicts, *form.exclusions(sums)), micros(as_of))


def _exclusions(sums: Sums) -> Iterable[Exclusion]:
    for reason in Reason:
        if sums.left_out.get(reason):
            yield exclusion(reason, sums.left_out[reason])
    for measure, count in sums.unusable.items():
        if count and measure.part is Part.OUTCOME:
            yield exclusion(measure.null_is, count, f"metric {measure.metric!r}")


def _aggregates(sums: Sums, exclusions: tuple[Exclusion, ...], as_of_us: int | None) -> Aggregates:
    parts: dict[Part, dict[str, Mapping[Cell, Aggregate]]] = {part: {} for part in Part}
    for measure, by_cell in sums.of.items():
        parts[measure.part][measure.metric] = by_cell
    received = {name: by_cell for by_cell in parts[Part.RECEIVED].values() for name, by_cell in [("", by_cell)]}
    return Aggregates(
        units=sums.units,
        outcomes=parts[Part.OUTCOME],
        with_suspects=parts[Part.WITH_SUSPECTS],
        segments={column: _segment(by_value) for column, by_value in sums.segments.items()},
        received=_by_variant(received[""]) if received else {},
        before={metric: _by_variant(by_cell) for metric, by_cell in parts[Part.BEFORE].items()},
        immature={each.metric: count for each, count in sums.immature.items() if _is_windowed(each)},
        exclusions=exclusions,
        as_of=None if as_of_us is None else day_of(as_of_us),
    )


def _segment(by_value: Mapping[str, Group]) -> dict[str, Segment]:
    return {
        value: Segment(group.units, {measure.metric: by_cell for measure, by_cell in group.of.items()})
        for value, group in sorted(by_value.items())
    }


def _is_windowed(measure: Measure) -> bool:
    return measure.part is Part.OUTCOME and measure.ripe is not None


def _by_variant(by_cell: Mapping[Cell, Aggregate]) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    for cell, each in by_cell.items():
        moments = each.moments if isinstance(each, Counts) else each
        if isinstance(moments, Moments):
            found[cell.variant] = found.get(cell.variant, Moments()) + moments
    return found
