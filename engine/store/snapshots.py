"""Readouts as they were computed, kept with the instant that they are of. Never changed; a page reads, and waits for
no analysis.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import Connection as SyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from engine.store.database import Connection

_SNAPSHOT = "experiment, computed_us, as_of_us, took_us, call, readout"


class Snapshot(NamedTuple):
    """`computed_us`: the instant of the database that it saw; what lies before `as_of_us` of that was analysed."""

    experiment: int
    computed_us: int
    as_of_us: int
    took_us: int
    call: str
    readout: Mapping[str, Any]


async def newest(connection: Connection, experiment: int, at_us: int | None = None) -> Snapshot | None:
    """The newest snapshot; with `at_us` the newest that was there by then."""
    cursor = await connection.execute(
        f"SELECT {_SNAPSHOT} FROM snapshots WHERE experiment = %s AND computed_us <= coalesce(%s, computed_us)"
        " ORDER BY computed_us DESC LIMIT 1",
        (experiment, at_us),
    )
    row = await cursor.fetchone()
    return Snapshot._make(row) if row else None


async def newest_calls(connection: Connection) -> dict[int, tuple[str, int]]:
    """What the newest readout of each experiment says in a word, and when it was computed."""
    cursor = await connection.execute(
        "SELECT e.number, s.call, s.computed_us FROM experiments e CROSS JOIN LATERAL (SELECT call, computed_us"
        " FROM snapshots WHERE experiment = e.number ORDER BY computed_us DESC LIMIT 1) s"
    )
    return {number: (call, computed_us) for number, call, computed_us in await cursor.fetchall()}


async def days(connection: Connection, experiment: int, limit: int) -> list[tuple[int, str]]:
    """When the last readout of each day (UTC) was computed and what it says in a word, the newest first."""
    cursor = await connection.execute(
        "SELECT computed_us, call FROM (SELECT DISTINCT ON (computed_us / 86400000000) computed_us, call FROM snapshots"
        " WHERE experiment = %s ORDER BY computed_us / 86400000000 DESC, computed_us DESC) d"
        " ORDER BY computed_us DESC LIMIT %s",
        (experiment, limit),
    )
    return [(computed_us, call) for computed_us, call in await cursor.fetchall()]


def newest_since(connection: SyncConnection[TupleRow], experiment: int, since_us: int) -> int | None:
    """When the newest snapshot was computed, if that is not before `since_us`."""
    row = connection.execute(
        "SELECT max(computed_us) FROM snapshots WHERE experiment = %s AND computed_us >= %s", (experiment, since_us)
    ).fetchone()
    return row[0] if row else None


def add(connection: SyncConnection[TupleRow], snapshot: Snapshot) -> None:
    connection.execute(
        f"INSERT INTO snapshots ({_SNAPSHOT}) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (experiment, computed_us) DO NOTHING",
        (*snapshot[:5], Jsonb(dict(snapshot.readout))),
    )
