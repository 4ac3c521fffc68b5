"""Tables brought into an engine."""

from typing import Any

import pyarrow as pa


def in_duckdb(engine: Any, **given: pa.Table) -> list[Any]:
    for name, table in given.items():
        engine.con.register(f"given_{name}", table)
        engine.raw_sql(f"CREATE TABLE {name} AS FROM given_{name}")
    return [engine.table(name) for name in given]


def in_postgres(engine: Any, **given: pa.Table) -> list[Any]:
    return [engine.create_table(name, table) for name, table in given.items()]
