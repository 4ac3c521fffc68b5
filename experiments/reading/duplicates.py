"""Whether each row of the wide form is a unit of its own, found out in the engine.

All units are looked at, exactly. In DuckDB whole numbers that lie close together are marked in a bitmap, six times
faster than a distinct count of ten million of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.counted import counted
from experiments.design import Experiment
from experiments.errors import TableError
from experiments.reading.fields import Fields
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine

_LONGEST_BITMAP = 1 << 29  # bits: 64 MiB
_LARGEST = 1 << 63  # what a bitmap marks is signed
_SPARSEST = 32  # bits a row; beyond it marking costs more than counting


@ibis.udf.agg.builtin(signature=(("int64", "int64", "int64"), "string"))
def bitstring_agg(number: Any, low: int, high: int) -> str:  # pyright: ignore[reportReturnType] - DuckDB has the body
    """A bit for each number from `low` to `high` that occurs."""


@ibis.udf.scalar.builtin(signature=(("string",), "int64"))
def bit_count(bits: Any) -> int:  # pyright: ignore[reportReturnType] - DuckDB has the body
    """How many bits are set."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The table without units that were seen in two variants, and how many these were.

    `all_named`: no row lacks a unit.
    """

    table: Table
    all_named: bool
    in_two_variants: int = 0


def checked(plan: Experiment, engine: Engine, table: Table) -> Checked:
    """Raises `TableError` where a unit stands in several rows of one variant."""
    fields = Fields(engine, table, "the table")
    wanted: dict[str, Expression] = {}
    unit = None
    if plan.columns.unit is not None:
        unit = fields.unit(plan.columns.unit, "which names the unit of a row (columns.unit: null, if nothing does)")
        wanted |= {"n": unit.count(), "rows": table.count()}
        if unit.type().is_integer():
            wanted |= {"low": unit.min(), "high": unit.max()}
    found: Mapping[str, Any] = engine.row(table.aggregate(**wanted)) if wanted else {}
    if unit is None or _distinct(engine, table, unit, found) == found["n"]:
        return Checked(table, unit is None or found["n"] == found["rows"])
    return _without_conflicts(plan, engine, table, unit)


def _distinct(engine: Engine, table: Table, unit: Expression, found: Mapping[str, Any]) -> int:
    n, low, high = found["n"], found.get("low") or 0, found.get("high") or 0
    is_numbered = engine.name == "duckdb" and found.get("low") is not None
    if is_numbered and high < _LARGEST and high - low < min(_LONGEST_BITMAP, _SPARSEST * n):
        marked: Expression = bit_count(bitstring_agg(unit, low, high))
        return engine.row(table.aggregate(n=marked))["n"]
    return engine.row(table.aggregate(n=unit.nunique()))["n"]


def _without_conflicts(plan: Experiment, engine: Engine, table: Table, unit: Expression) -> Checked:
    variant: Expression = table[plan.columns.variant].cast("string")
    rows = table.select(unit=unit, variant=variant)
    rows = rows.filter(rows["unit"].notnull())
    repeated = rows.group_by("unit").aggregate(n=rows.count(), low=rows["variant"].min(), high=rows["variant"].max())
    repeated = repeated.filter(repeated["n"] > 1)
    in_two: Expression = (repeated["low"] != repeated["high"]).fill_null(False)
    one: Expression = repeated["unit"].cast("string").min(where=~in_two)
    found = engine.row(
        repeated.aggregate(same=repeated.count(where=~in_two), two=repeated.count(where=in_two), one=one)
    )
    if found["same"]:
        stand = f"{counted(found['same'], 'unit')} {'stands' if found['same'] == 1 else 'stand'}"
        sentence = f"{stand} in more than one row ({found['one']!r} is one), expected one row each"
        raise TableError(plan.columns.unit, sentence)
    left = table.mutate(takt_unit=unit)
    conflicts = repeated.select(takt_unit="unit")
    kept = left.anti_join(conflicts, "takt_unit").drop("takt_unit")
    return Checked(kept, False, found["two"])
