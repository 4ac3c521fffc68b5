"""Where rows lie: files, frames in memory and Ibis tables, each made an Ibis table of one engine.

Files and frames are read by a DuckDB of this analysis' own. What leaves an engine leaves through `Engine.rows`, and
only aggregates do: no module of the library fetches the rows of a table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from experiments.errors import TableError
from experiments.reading.csv_files import Named, load
from experiments.reading.relations import Table, ibis, is_table, pyarrow

Source: TypeAlias = Any  # str | PathLike | ibis Table | any data frame that Ibis understands: none of these is imported
_PARQUET = frozenset({".parquet", ".pq"})
_CSV = frozenset({".csv", ".tsv", ".txt"})
_JSON = frozenset({".json", ".jsonl", ".ndjson"})
_PACKED = frozenset({".gz", ".zst"})


class _Rows(Protocol):
    def to_pylist(self) -> list[dict[str, Any]]: ...


class _Backend(Protocol):
    """What is used of an Ibis backend."""

    name: str
    compiler: Any

    def to_pyarrow(self, expr: Any) -> _Rows: ...
    def sql(self, query: str, *, schema: Any) -> Table: ...
    def raw_sql(self, query: str) -> Any: ...


@dataclass(frozen=True)
class Engine:
    """The engine that computes. `name` is what Ibis calls it."""

    backend: _Backend

    @property
    def name(self) -> str:
        return self.backend.name

    def rows(self, aggregates: Table) -> list[dict[str, Any]]:
        """The rows of an aggregate. What the engine cannot compute is a `TableError` with its own words."""
        try:
            return self.backend.to_pyarrow(aggregates).to_pylist()
        except MemoryError:
            raise
        except Exception as error:  # every engine has errors of its own: what they share is that the table is wrong
            raise TableError(None, f"{self.name} cannot read the table: {_first_line(error)}") from error

    def row(self, aggregates: Table) -> Mapping[str, Any]:
        """The one row of an aggregate over all rows."""
        return self.rows(aggregates)[0]


def open_tables(
    table: Source, events: Source | None, of_units: Named, of_events: Named
) -> tuple[Engine, Table, Table | None]:
    """The tables as those of one engine, with what the plan says of columns of text files.

    Raises `TableError` for what is no table, and for two engines.
    """
    given = [each for each in (table, events) if is_table(each)]
    backends = {id(backend): backend for backend in map(_backend, given) if backend is not None}
    if len(backends) > 1:
        raise TableError(None, "exposures and events lie in two engines, and are joined in one: bring them together")
    backend = next(iter(backends.values()), None) or _own_duckdb()
    opened = _open(table, backend, "exposures", of_units)
    return Engine(backend), opened, None if events is None else _open(events, backend, "events", of_events)


def _own_duckdb() -> _Backend:
    backend: _Backend = ibis.duckdb.connect()
    backend.raw_sql("SET TimeZone = 'UTC'")
    return backend


def _backend(table: Table) -> _Backend | None:
    """None for a table in memory, which any engine takes."""
    backends, has_unbound = table._find_backends()  # `get_backend` would open a default one for a table in memory
    if has_unbound:
        raise TableError(None, "the Ibis table is bound to no engine, so that nothing can be read from it")
    if len(backends) > 1:
        raise TableError(None, "the Ibis table joins two engines: bring its parts together first")
    return backends[0] if backends else None


def _open(source: Source, backend: _Backend, name: str, named: Named) -> Table:
    if is_table(source):
        return source
    if isinstance(source, str | PathLike):
        if backend.name != "duckdb":
            raise TableError(None, f"exposures and events are joined in one engine, and {backend.name} reads no files")
        return _read(Path(fspath(source)), backend, name, named)
    try:
        return ibis.memtable(pyarrow.table(source))
    except Exception as error:  # as many kinds of errors as there are frames
        if column := re.search(r"Conversion failed for column (.+) with type", str(error)):
            sentence = f"{name} hold values of several kinds in it, expected one kind"
            raise TableError(column.group(1), sentence) from error
        raise TableError(None, f"no table can be made of the {type(source).__name__}: {_first_line(error)}") from error


def _read(path: Path, backend: _Backend, name: str, named: Named) -> Table:
    """A file. Text is parsed once into the engine."""
    kinds = [each.lower() for each in path.suffixes]
    kind = kinds[-2] if len(kinds) > 1 and kinds[-1] in _PACKED else (kinds[-1] if kinds else "")
    if not any(each in path.name for each in "*?[") and not path.exists():
        raise TableError(None, f"there is no file {str(path)!r}")
    quoted = "'" + str(path).replace("'", "''") + "'"
    try:
        if kind in _PARQUET:
            return _of(backend, f"read_parquet({quoted})")
        if kind in _CSV:
            load(backend.raw_sql, quoted, f"takt_{name}", named)
        if kind in _JSON:
            backend.raw_sql(f"CREATE TEMP TABLE takt_{name} AS FROM read_json({quoted}, sample_size=-1)")
        if kind in _CSV | _JSON:
            return _of(backend, f"takt_{name}")
    except Exception as error:  # of the engine: each has its own
        raise TableError(None, f"{path.name} cannot be read: {_first_line(error)}") from error
    raise TableError(None, f"found the file {path.name!r}, expected one that ends in .csv, .parquet, .jsonl or .json")


def _of(backend: _Backend, named: str) -> Table:
    """A table of the own DuckDB. Ibis would ask for its columns in a way that this DuckDB calls deprecated."""
    query = f"SELECT * FROM {named}"  # noqa: S608 - of names of our own, and a quoted path
    described = backend.raw_sql(f"DESCRIBE {query}").fetchall()
    kinds = backend.compiler.type_mapper
    return backend.sql(query, schema=ibis.schema({row[0]: kinds.from_string(row[1]) for row in described}))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
