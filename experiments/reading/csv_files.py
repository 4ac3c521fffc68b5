"""Text files, in which a column's name and the plan say what it holds, where their look would mislead.

Names stay as they are written: `True`, `1.0`, `2.10` and `007` are no flags and no numbers. Times are ISO ones alone:
05/01/2026 is a day in January or in May.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from experiments.design import Experiment

_Query = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Named:
    """The columns that a plan names, by what they hold: `names` of few values, `units` of customers and of events."""

    names: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        return self.names | self.units | self.times


def of_units(plan: Experiment, *, is_long: bool) -> Named:
    """The columns of units and their outcomes, or of exposures."""
    columns = plan.columns
    zone = [columns.time_zone] if is_long else []
    return Named(_some([columns.variant, *plan.segments, *zone]), _some([columns.unit]), _some([columns.entered]))


def of_events(plan: Experiment, event_id: str, source: str) -> Named:
    columns = plan.columns
    names = _some([columns.event, columns.channel, source])
    return Named(names, _some([columns.unit, columns.event_id or event_id]), _some([columns.at]))


def load(query: _Query, path: str, table: str, named: Named) -> None:
    """Reads a file into `table`. `path` is quoted. All its rows decide the type of a column, not the first alone.

    Units that are whole numbers as one would print them become numbers, which join with those of other files; times
    become instants where all are ISO ones. Others stay text, of which `fields` says what was expected.
    """
    described = query(f"DESCRIBE FROM read_csv({path})").fetchall()
    there = [str(row[0]) for row in described if row[0] in named.all]
    types = ", ".join(f"{_text(each)}: 'VARCHAR'" for each in there)
    given = f", header = true, types = {{{types}}}" if there else ""
    query(f"CREATE TEMP TABLE {table} AS FROM read_csv({path}, sample_size = -1{given})")
    for column in there:
        name = '"' + column.replace('"', '""') + '"'
        if column in named.units:
            odd = f"TRY_CAST({name} AS BIGINT)::VARCHAR IS DISTINCT FROM {name}"
            _retype(query, table, name, "BIGINT", odd)
        elif column in named.times:
            _retype(query, table, name, "TIMESTAMPTZ", f"TRY_CAST({name} AS TIMESTAMPTZ) IS NULL")


def _retype(query: _Query, table: str, name: str, kind: str, odd: str) -> None:
    counted = f"SELECT count({name}), count(*) FILTER ({name} IS NOT NULL AND {odd}) FROM {table}"  # noqa: S608 - quoted
    known, odd_ones = query(counted).fetchone()
    if known and not odd_ones:
        query(f"ALTER TABLE {table} ALTER {name} TYPE {kind}")


def _some(names: Iterable[str | None]) -> frozenset[str]:
    return frozenset(each for each in names if each is not None)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
