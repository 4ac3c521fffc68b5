"""Columns of a table as values of a known kind: numbers, flags, text, instants; in an engine, nothing is fetched.

A column that is missing or of another kind is a `TableError` that names it and who needs it. In a table without rows
every column is of the right kind: an empty file says nothing about its types.
"""

from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from typing import Any

from experiments.errors import TableError
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine

DAY_US = 86_400_000_000
_LAST_S = 9e12  # of what an int64 counts in microseconds
_TIMES = "times (in a file as ISO text: 2026-01-05, or 2026-01-05T10:00:00Z)"
LARGEST = 1e90  # a number beyond it counts as infinite: its third power would be


@ibis.udf.scalar.builtin(signature=((None,), "int64"))
def epoch_us(at: Any) -> int:  # pyright: ignore[reportReturnType] - DuckDB has the body
    """Microseconds since 1970, UTC."""


@ibis.udf.scalar.builtin(signature=(("string", None), "float64"))
def date_part(what: str, at: Any) -> float:  # pyright: ignore[reportReturnType] - PostgreSQL has the body
    """`epoch`: seconds since 1970, UTC, whatever the session's time zone."""


class Fields:
    """The columns of one table. `what` says which table a sentence is about."""

    def __init__(self, engine: Engine, table: Table, what: str) -> None:
        self.engine, self.table, self.what = engine, table, what

    def has(self, column: str | None) -> bool:
        return column is not None and column in self.table.columns

    def unit(self, column: str, needed_by: str) -> Expression:
        """A name: text or whole numbers, as they are; anything else as text."""
        found = self._find(column, needed_by)
        kind = found.type()
        if kind.is_floating():
            if self._is_empty:
                return _nothing(found, "string")
            raise TableError(column, f"{self.what} holds {kind}, expected text or whole numbers, which name units")
        return found if kind.is_string() or kind.is_integer() else found.cast("string")

    def text(self, column: str, needed_by: str) -> Expression:
        """A name of few values, as text."""
        found = self._find(column, needed_by)
        if found.type().is_nested():
            raise TableError(column, f"{self.what} holds {found.type()}, expected text, {needed_by}")
        return found if found.type().is_string() else found.cast("string")

    def one_of(self, names: Sequence[str], column: str, needed_by: str) -> Expression:
        """One of these names, or other text. Truth values and fractional numbers, which a data frame or another file
        made of such names, are taken for the name that reads as they do."""
        found = self._find(column, needed_by)
        kind = found.type()
        if not (kind.is_boolean() or kind.is_floating()) or self._is_empty:
            return self.text(column, needed_by)
        read = {_as_flag(each) if kind.is_boolean() else _as_number(each): each for each in names}
        if None in read or len(read) < len(names):
            sentence = f"{self.what} holds {kind}, expected one of {', '.join(map(repr, names))} as text, {needed_by}"
            raise TableError(column, sentence)
        return ibis.cases(*((found == value, each) for value, each in read.items()), else_=found.cast("string"))

    def number(self, column: str, needed_by: str) -> Expression:
        """A finite number as float64; null where there is none."""
        found = self._find(column, needed_by)
        kind = found.type()
        if kind.is_boolean():
            return found.cast("int32").cast("float64")
        if kind.is_integer():
            return found.cast("float64")
        if kind.is_floating() or kind.is_decimal():  # PostgreSQL's numeric may be NaN or infinite too
            number = found if kind.is_float64() else found.cast("float64")
            return ibis.cases(
                (number.abs() <= LARGEST, number)
            )  # NaN is above every number or below none: never within
        return self._wrong(column, kind, "numbers", needed_by, "float64")

    def whole(self, column: str, needed_by: str) -> Expression:
        """A whole number as int64; null where there is none."""
        found = self._find(column, needed_by)
        if found.type().is_integer():
            return found.cast("int64")
        if found.type().is_floating():  # what a data frame makes of whole numbers among which one is missing
            number = self.number(column, needed_by)
            return ibis.cases((number == number.floor(), number)).cast("int64")
        return self._wrong(column, found.type(), "whole numbers", needed_by, "int64")

    def flag(self, column: str, needed_by: str) -> Expression:
        """True or false as a boolean, 0 or 1 as a number; null where there is none."""
        found = self._find(column, needed_by)
        return found if found.type().is_boolean() else self.number(column, needed_by)

    def is_true(self, column: str, needed_by: str) -> Expression:
        """A flag as a boolean; null where there is none."""
        flag = self.flag(column, needed_by)
        return flag if flag.type().is_boolean() else flag != 0

    def instant(self, column: str, needed_by: str) -> Expression:
        """Microseconds since 1970 as int64. A time without a zone is UTC, a date its first instant in UTC.

        Whole numbers are such microseconds already, in a column whose name says so: that ends in `_us`.
        """
        found = self._find(column, needed_by)
        kind = found.type()
        if kind.is_int64() and column.endswith("_us"):
            return found
        if kind.is_date():
            found = found.cast("timestamp")
        elif not kind.is_timestamp():
            return self._wrong(column, kind, _TIMES, needed_by, "int64")
        if self.engine.name == "duckdb":
            has_zone = kind.is_timestamp() and kind.timezone is not None
            return epoch_us(
                found.cast("timestamp('UTC')") if has_zone else found
            )  # nanoseconds with a zone become micro
        if self.engine.name == "postgres":
            seconds = date_part("epoch", found)  # infinity is a time there, and no instant
            return (ibis.cases((seconds.abs() < _LAST_S, seconds)) * 1e6).round().cast("int64")
        return found.truncate("s").epoch_seconds().cast("int64") * 1_000_000 + found.microsecond().cast("int64")

    def _find(self, column: str, needed_by: str) -> Expression:
        if column not in self.table.columns:
            near = ", ".join(self.table.columns[:12])
            raise TableError(column, f"{self.what} has no such column, {needed_by}; it has {near or 'none'}")
        return self.table[column]

    def _wrong(self, column: str, kind: Any, expected: str, needed_by: str, empty: str) -> Expression:
        if kind.is_null() or self._is_empty:
            return _nothing(self.table[column], empty)
        raise TableError(column, f"{self.what} holds {_called(kind)}, expected {expected}, {needed_by}")

    @cached_property
    def _is_empty(self) -> bool:
        return self.engine.row(self.table.limit(1).aggregate(n=self.table.limit(1).count()))["n"] == 0


def _called(kind: Any) -> str:
    return (
        "text" if kind.is_string() else "values of several kinds" if kind.is_unknown() or kind.is_json() else str(kind)
    )


def _as_flag(name: str) -> bool | None:
    return {"true": True, "false": False}.get(name.lower())


def _as_number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _nothing(column: Expression, kind: str) -> Expression:
    """A column of nulls, of a table without rows or a column without values. Ibis takes literal nulls apart."""
    return ibis.cases((column.notnull(), 0)).cast(kind)
