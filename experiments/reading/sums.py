"""From one row a unit, in an engine, to aggregates: two queries at most, whose rows are cells and never units; one more
where the plan declares segments.

Moments are taken about the median of a few units, so that a large mean costs no digits; the second are the engine's own
(by updates of Welford's kind), so that numbers that do not vary have none. DuckDB and PostgreSQL agree to 1e-9.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from experiments.aggregates import Aggregate, Cell
from experiments.design import Experiment
from experiments.errors import TableError
from experiments.moments import Counts, Moments, PairMoments
from experiments.reading.entries import reason_of
from experiments.reading.measures import (
    ARM,
    BOTH,
    CENSORED,
    COMPETING,
    ENTRY_DAY,
    EVENT,
    PHASE,
    Kind,
    Measure,
    Part,
    UnitTable,
    day_and_status,
)
from experiments.reading.reasons import Reason
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine
from experiments.risk import RiskTable

_MOST_VALUES = 1_000  # of a segment: a column with more is no segment, and its values are no aggregate
_SEGMENT, _VALUE, _NO_VALUE = "segment", "value", "(none)"
_EMPTY: Mapping[Kind, Aggregate] = {
    Kind.COUNTS: Counts(),
    Kind.MOMENTS: Moments(),
    Kind.PAIRS: PairMoments(m3_x=0.0),
    Kind.RISK: RiskTable(),
}


@dataclass
class Group:
    """Units and what they sum up to. `of[measure][cell]` has every variant of the plan, if with no unit."""

    units: dict[Cell, int] = field(default_factory=dict[Cell, int])
    of: dict[Measure, dict[Cell, Aggregate]] = field(default_factory=dict[Measure, dict[Cell, Aggregate]])


@dataclass
class Sums(Group):
    """What came out of the engine: of all units, and of those of each value of each segment."""

    immature: dict[Measure, int] = field(default_factory=dict[Measure, int])
    unusable: dict[Measure, int] = field(default_factory=dict[Measure, int])
    tied: dict[Measure, int] = field(default_factory=dict[Measure, int])  # units with an event and a competing one
    left_out: dict[Reason, int] = field(default_factory=dict[Reason, int])
    segments: dict[str, dict[str, Group]] = field(default_factory=dict[str, dict[str, Group]])
    sums: dict[str, int] = field(default_factory=dict[str, int])


def summed(plan: Experiment, engine: Engine, units: UnitTable) -> Sums:
    """Runs the queries. Raises `TableError` for a flag that is neither 0 nor 1, and a segment with too many values."""
    sums = Sums(of={each: {} for each in units.measures}, segments={each: {} for each in units.segments})
    shifts = _shifts(engine, units)
    by_segment = _by_segment(units) if units.segments else None
    tallies = _tallies(engine, units, by_segment)
    for row in _counted(units, tallies) if _are_all_tallied(units) else engine.rows(_moments(units, shifts)):
        _take_moments(plan, units, shifts, row, sums)
    if by_segment is not None:
        _take_segments(plan, engine, units, shifts, by_segment, sums)
    _take_tallies(plan, units, tallies, sums)
    for group in (sums, *(group for by_value in sums.segments.values() for group in by_value.values())):
        _complete(plan, group)
    return sums


def _tallies(engine: Engine, units: UnitTable, by_segment: Table | None) -> list[dict[str, Any]]:
    wanted = [_risk(units, place) for place, each in enumerate(units.measures) if each.kind is Kind.RISK]
    if by_segment is not None:
        outcomes = _outcomes(units)
        wanted += [_risk(units, place, by_segment) for place, each in outcomes.items() if each.kind is Kind.RISK]
    if not wanted:
        return []
    return engine.rows(ibis.union(*wanted) if len(wanted) > 1 else wanted[0])


def _are_all_tallied(units: UnitTable) -> bool:
    """Whether the tallies say all that is to be known, so that the units need not be read again."""
    return bool(units.measures) and not units.sums and all(e.kind is Kind.RISK and not e.ripe for e in units.measures)


def _counted(units: UnitTable, tallies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many units each cell has, by the first of the tallies: each has all of them."""
    count: Counter[tuple[int, ...]] = Counter()
    for row in tallies:
        if row["tally"] == 0 and row[_SEGMENT] is None:
            count[tuple(row[key] for key in _keys(units))] += row["n"]
    return [dict(zip(_keys(units), key, strict=True)) | {"n": n} for key, n in count.items()]


def _complete(plan: Experiment, group: Group) -> None:
    """With zeros for the variants in which nobody is."""
    seen = {cell.variant for cell in group.units}
    for variant in plan.variants:
        if variant.name not in seen:
            group.units[Cell(variant.name)] = 0
    for measure, by_cell in group.of.items():
        for cell in group.units:
            by_cell.setdefault(cell, _EMPTY[measure.kind])


def _keys(units: UnitTable) -> list[str]:
    return [*_keys_in_segment(units), *([ENTRY_DAY] if units.has_entry_day else [])]


def _keys_in_segment(units: UnitTable) -> list[str]:
    return [ARM, *([PHASE] if units.has_phase else [])]


def _outcomes(units: UnitTable) -> dict[int, Measure]:
    """By their places, the measures that are kept by segment too."""
    return {place: each for place, each in enumerate(units.measures) if each.part is Part.OUTCOME}


def _by_segment(units: UnitTable) -> Table:
    """The analysed units once for each segment, under its place and with their value: all segments in one pass."""
    table = units.table.filter(units.table[ARM] >= 0)
    names = list(units.segments.values())
    columns = {name for each in _outcomes(units).values() for name in (each.x, each.y) if name is not None}
    kept = table.select(*_keys_in_segment(units), *names, *sorted(columns))
    if len(names) == 1:
        placed = kept.mutate(**{_SEGMENT: ibis.literal(0, "int64")})
    else:
        placed = kept.mutate(**{_SEGMENT: ibis.range(0, len(names)).unnest().cast("int64")})
    values = [(placed[_SEGMENT] == place, placed[name]) for place, name in enumerate(names)]
    return placed.mutate(**{_VALUE: ibis.cases(*values).fill_null(_NO_VALUE)}).drop(*names)


def _shifts(engine: Engine, units: UnitTable) -> dict[Measure, float]:
    """About where the numbers lie: a median of the sample, 0 where it has none. A segment that names customers is found
    out here, before anything is summed for each of them."""
    measures = [each for each in units.measures if each.kind in {Kind.MOMENTS, Kind.PAIRS}]
    wanted: dict[str, Expression] = {f"c{i}": units.sample[each.x].median() for i, each in enumerate(measures)}
    wanted |= {f"n_{each}": units.sample[each].nunique() for each in units.segments.values()}
    found: Mapping[str, Any] = engine.row(units.sample.aggregate(**wanted)) if wanted else {}
    for column, name in units.segments.items():
        if found[f"n_{name}"] > _MOST_VALUES:
            raise _too_many(column)
    return {each: float(found[f"c{i}"] or 0) for i, each in enumerate(measures)}


def _moments(units: UnitTable, shifts: Mapping[Measure, float]) -> Table:
    """One row a cell, and one for each reason why units are left out."""
    table = units.table
    wanted: dict[str, Expression] = {"n": table.count()}
    for i, each in enumerate(units.measures):
        if each.ripe is not None:
            wanted[f"unripe{i}"] = table.count(where=~table[each.ripe])
        if each.kind is not Kind.RISK:
            wanted |= {f"{name}{i}": value for name, value in _sums_of(each, table, shifts.get(each, 0.0)).items()}
    wanted |= {f"sum_{each}": table[each].sum() for each in units.sums}
    return table.group_by(_keys(units)).aggregate(**wanted)


def _sums_of(measure: Measure, table: Table, shift: float) -> dict[str, Expression]:
    x: Expression = table[measure.x]
    off = x - shift if shift else x
    match measure.kind:
        case Kind.COUNTS if x.type().is_boolean():
            return {"count": x.count(), "ones": _how_many(x)}
        case Kind.COUNTS:
            return {"count": x.count(), "ones": _how_many(x == 1), "wrong": _how_many((x != 0) & (x != 1))}
        case Kind.MOMENTS:
            return {
                "count": x.count(),
                "off": off.mean(),
                "var": off.var(how="pop"),
                "cubes": (off * off * off).sum(),
                "nonzero": _how_many(x != 0),
            }
        case Kind.PAIRS:
            y: Expression = table[measure.y]
            return {
                "count": x.count(),
                "off": off.mean(),
                "mean_y": y.mean(),
                "var": off.var(how="pop"),
                "var_y": y.var(how="pop"),
                "cov": off.cov(y, how="pop"),
                "cubes": (off * off * off).sum(),
            }
        case Kind.RISK:
            return {}
        case _:
            assert_never(measure.kind)


def _how_many(flag: Expression) -> Expression:
    """Of rows; null of none. Engines sum faster than they filter."""
    return flag.cast("int32").sum()


def _take_moments(
    plan: Experiment, units: UnitTable, shifts: Mapping[Measure, float], row: Mapping[str, Any], sums: Sums
) -> None:
    if row[ARM] < 0:
        reason = reason_of(row[ARM])
        sums.left_out[reason] = sums.left_out.get(reason, 0) + row["n"]
        return
    _take_cell(plan, units, shifts, row, sums)
    for name in units.sums:
        sums.sums[name] = sums.sums.get(name, 0) + int(row[f"sum_{name}"] or 0)
    for i, each in enumerate(units.measures):
        unripe = row.get(f"unripe{i}") or 0
        sums.immature[each] = sums.immature.get(each, 0) + unripe
        if each.kind is not Kind.RISK:
            sums.unusable[each] = sums.unusable.get(each, 0) + row["n"] - unripe - row[f"count{i}"]


def _take_cell(
    plan: Experiment, units: UnitTable, shifts: Mapping[Measure, float], row: Mapping[str, Any], group: Group
) -> None:
    cell = _cell(plan, row)
    group.units[cell] = row["n"]
    for i, each in enumerate(units.measures):
        if each in group.of and each.kind is not Kind.RISK:
            found = {name: row.get(f"{name}{i}") for name in _NAMES}
            group.of[each][cell] = _aggregate(each, found, shifts.get(each, 0.0))


def _take_segments(
    plan: Experiment,
    engine: Engine,
    units: UnitTable,
    shifts: Mapping[Measure, float],
    by_segment: Table,
    sums: Sums,
) -> None:
    """One row a segment, value, variant and phase: more of them than there may be are not brought."""
    wanted: dict[str, Expression] = {"n": by_segment.count()}
    for i, each in _outcomes(units).items():
        if each.kind is not Kind.RISK:
            wanted |= {f"{name}{i}": value for name, value in _sums_of(each, by_segment, shifts.get(each, 0.0)).items()}
    most = len(units.segments) * _MOST_VALUES * len(plan.variants) * max(1, len(plan.phases))
    found = by_segment.group_by(*_keys_in_segment(units), _SEGMENT, _VALUE).aggregate(**wanted).limit(most + 1)
    for row in engine.rows(found):
        _take_cell(plan, units, shifts, row, _of_value(units, row[_SEGMENT], row[_VALUE], sums))
    for column, by_value in sums.segments.items():  # of the rows beyond the most, one column at least has too many
        if len(by_value) > _MOST_VALUES:
            raise _too_many(column)


def _too_many(column: str) -> TableError:
    return TableError(column, f"has more than {_MOST_VALUES:,} values, too many for a segment")


def _of_value(units: UnitTable, segment: int, value: str, sums: Sums) -> Group:
    by_value = sums.segments[list(units.segments)[segment]]
    return by_value.setdefault(value, Group(of={each: {} for each in _outcomes(units).values()}))


_NAMES = ("count", "ones", "wrong", "off", "mean_y", "var", "var_y", "cov", "cubes", "nonzero")


def _aggregate(measure: Measure, found: Mapping[str, Any], shift: float) -> Aggregate:
    n = int(found["count"])
    if found["wrong"]:
        sentence = f"found {found['wrong']:,} values other than 0 and 1, which metric {measure.metric!r} counts"
        raise TableError(measure.source, sentence)
    if measure.kind is Kind.COUNTS:
        return Counts(int(found["ones"] or 0), n)
    if not n:
        return _EMPTY[measure.kind]
    off, m2 = float(found["off"]), n * max(0.0, float(found["var"]))
    mean = shift + off
    m3 = float(found["cubes"]) - 3 * off * m2 - n * off**3 if m2 else 0.0
    if measure.kind is Kind.PAIRS:
        m2_y = n * max(0.0, float(found["var_y"]))
        return PairMoments(n, mean, float(found["mean_y"]), m2, m2_y, n * float(found["cov"]), m3)
    return Moments(n, mean, m2, m3, int(found["nonzero"]))


def _cell(plan: Experiment, row: Mapping[str, Any]) -> Cell:
    day = row.get(ENTRY_DAY)
    return Cell(plan.variants[int(row[ARM])].name, int(row.get(PHASE) or 0), None if day is None else int(day))


def _risk(units: UnitTable, place: int, by_segment: Table | None = None) -> Table:
    """One row a cell, day and status, in each segment and value if so given. All tallies have the same columns, so that
    one query brings them all."""
    table: Table = units.table if by_segment is None else by_segment
    keys = _keys(units) if by_segment is None else [*_keys_in_segment(units), _SEGMENT, _VALUE]
    counted = table.group_by(*keys, code=table[units.measures[place].x].cast("int64")).aggregate(n=table.count())
    kinds = {ENTRY_DAY: "int64", _SEGMENT: "int64", _VALUE: "string"}
    columns = [*_keys(units), _SEGMENT, _VALUE]
    rest: dict[str, Expression] = {each: ibis.null(kinds[each]) for each in columns if each not in keys}
    found = counted.mutate(tally=ibis.literal(place, "int64"), **rest)
    return found.select(*columns, "n", "code", "tally")


def _take_tallies(plan: Experiment, units: UnitTable, rows: list[dict[str, Any]], sums: Sums) -> None:
    days: dict[tuple[int | None, str, Measure, Cell], tuple[dict[int, int], ...]] = defaultdict(
        lambda: ({}, {}, {}, {})
    )
    for row in rows:
        if row[ARM] < 0:
            continue
        segment, measure = row[_SEGMENT], units.measures[int(row["tally"])]
        if row["code"] is not None:
            day, status = day_and_status(row["code"])
            days[segment, row[_VALUE] or "", measure, _cell(plan, row)][status][day] = row["n"]
            if status == BOTH and segment is None:
                sums.tied[measure] = sums.tied.get(measure, 0) + row["n"]
        elif segment is None:
            sums.unusable[measure] = sums.unusable.get(measure, 0) + row["n"]
    for (segment, value, measure, cell), found in days.items():
        group = sums if segment is None else _of_value(units, segment, value, sums)
        events = Counter(found[EVENT]) + Counter(found[BOTH])
        group.of[measure][cell] = RiskTable(events, found[COMPETING], found[CENSORED])
