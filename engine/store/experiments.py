"""Experiments on record: their plans and states, who did what to them, and the holdouts that shipping leaves.

Whoever writes here holds the activation lock (`policies.lock_activation`), so that nothing is in two minds about what
runs. The log is only ever appended to.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from psycopg import Connection as SyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from engine.core.errors import DatabaseUnavailable, NotFound
from engine.store.database import Connection

_RECORD = "number, key, state, on_harm, created_us, started_us, ended_us, shipped, source, plan"
HOLDOUT = "name, seed, share, policy_version, experiment, from_us, until_us, ended_us"


class Record(NamedTuple):
    """An experiment: `source` is its plan as it was written, `plan` as it stands, both in the form of the file."""

    number: int
    key: str
    state: str
    on_harm: str
    created_us: int
    started_us: int | None
    ended_us: int | None
    shipped: str | None
    source: str
    plan: dict[str, Any]


class Entry(NamedTuple):
    """One thing that was done to an experiment, or noted about it."""

    entry: int
    at_us: int
    action: str
    author: str
    note: str
    data: dict[str, Any]


class Holdout(NamedTuple):
    """A share of customers under the budgets of an older version of the policy. `until_us` is when it is to end, and
    `ended_us` when it did: then, or sooner by hand."""

    name: str
    seed: str
    share: float
    policy_version: int
    experiment: int | None
    from_us: int
    until_us: int
    ended_us: int | None

    @property
    def over_us(self) -> int:
        """From when on it binds nobody."""
        return self.until_us if self.ended_us is None else self.ended_us


async def find(connection: Connection, key: str) -> Record | None:
    cursor = await connection.execute(f"SELECT {_RECORD} FROM experiments WHERE key = %s", (key,))
    row = await cursor.fetchone()
    return Record._make(row) if row else None


async def experiment(connection: Connection, key: str) -> Record:
    """The experiment of that key; raises `NotFound`."""
    found = await find(connection, key)
    if found is None:
        raise NotFound(f"there is no experiment {key!r}")
    return found


async def numbered(connection: Connection, number: int) -> Record:
    """The experiment of that number; raises `NotFound`."""
    cursor = await connection.execute(f"SELECT {_RECORD} FROM experiments WHERE number = %s", (number,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no experiment {number}")
    return Record._make(row)


def current(connection: SyncConnection[TupleRow], number: int) -> Record:
    """The experiment of that number, for a readout; raises `NotFound`."""
    row = connection.execute(f"SELECT {_RECORD} FROM experiments WHERE number = %s".encode(), (number,)).fetchone()
    if row is None:
        raise NotFound(f"there is no experiment {number}")
    return Record._make(row)


async def names(connection: Connection, numbers: Collection[int]) -> dict[int, tuple[str, tuple[str, ...]]]:
    """The key of each experiment, and what its variants are called, in the plan's order."""
    cursor = await connection.execute(
        "SELECT number, key, jsonb_path_query_array(plan, '$.variants[*].name') FROM experiments"
        " WHERE number = ANY(%s)",
        (list(numbers),),
    )
    return {number: (key, tuple(variants)) for number, key, variants in await cursor.fetchall()}


async def experiments(connection: Connection, state: str | None, limit: int) -> list[Record]:
    """The newest first; those in one state, if it is given."""
    cursor = await connection.execute(
        f"SELECT {_RECORD} FROM experiments WHERE %s::text IS NULL OR state = %s ORDER BY number DESC LIMIT %s",
        (state, state, limit),
    )
    return [Record._make(row) for row in await cursor.fetchall()]


async def running(connection: Connection) -> list[Record]:
    """Those that decisions know, in the order of their numbers."""
    cursor = await connection.execute(f"SELECT {_RECORD} FROM experiments WHERE state = 'running' ORDER BY number")
    return [Record._make(row) for row in await cursor.fetchall()]


async def ended_unread(connection: Connection, since_us: int) -> list[Record]:
    """Those that have ended since an instant, and whose newest readout is not as of their end. One that was computed
    later may have looked before the end was there to see, or under a clock that was set back."""
    cursor = await connection.execute(
        f"SELECT {_RECORD} FROM experiments e WHERE ended_us >= %s AND ended_us IS DISTINCT FROM"
        " (SELECT as_of_us FROM snapshots s WHERE s.experiment = e.number ORDER BY s.number DESC LIMIT 1)"
        " ORDER BY number",
        (since_us,),
    )
    return [Record._make(row) for row in await cursor.fetchall()]


async def add(connection: Connection, key: str, on_harm: str, source: str, plan: Mapping[str, Any]) -> Record:
    """Keep a draft."""
    cursor = await connection.execute(
        "INSERT INTO experiments (key, state, on_harm, created_us, source, plan)"
        f" VALUES (%s, 'draft', %s, takt_clock(), %s, %s) RETURNING {_RECORD}",
        (key, on_harm, source, Jsonb(dict(plan))),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DatabaseUnavailable("the experiment was not written")
    return Record._make(row)


async def save(connection: Connection, record: Record) -> None:
    """Write down what became of an experiment; its number, key and creation stay."""
    await connection.execute(
        "UPDATE experiments SET state = %s, on_harm = %s, started_us = %s, ended_us = %s, shipped = %s, source = %s,"
        " plan = %s WHERE number = %s",
        (
            record.state,
            record.on_harm,
            record.started_us,
            record.ended_us,
            record.shipped,
            record.source,
            Jsonb(record.plan),
            record.number,
        ),
    )


async def log(connection: Connection, number: int) -> list[Entry]:
    """Everything that was done to an experiment, the oldest first."""
    cursor = await connection.execute(
        "SELECT entry, at_us, action, author, note, data FROM experiment_log WHERE experiment = %s ORDER BY entry",
        (number,),
    )
    return [Entry._make(row) for row in await cursor.fetchall()]


async def add_entry(
    connection: Connection, number: int, action: str, author: str, note: str, data: Mapping[str, Any]
) -> None:
    await connection.execute(
        "INSERT INTO experiment_log (experiment, entry, at_us, action, author, note, data)"
        " SELECT %s, coalesce(max(entry), 0) + 1, takt_clock(), %s, %s, %s, %s FROM experiment_log"
        " WHERE experiment = %s",
        (number, action, author, note, Jsonb(dict(data)), number),
    )


async def requested(connection: Connection, number: int, request_id: str) -> Entry | None:
    """The entry that a request of this id made."""
    cursor = await connection.execute(
        "SELECT entry, at_us, action, author, note, data FROM experiment_log"
        " WHERE experiment = %s AND data->>'request_id' = %s",
        (number, request_id),
    )
    row = await cursor.fetchone()
    return Entry._make(row) if row else None


async def add_holdout(connection: Connection, holdout: Holdout) -> None:
    await connection.execute(
        f"INSERT INTO holdouts ({HOLDOUT}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", tuple(holdout)
    )


async def holdout_of(connection: Connection, number: int) -> Holdout | None:
    """The holdout that shipping an experiment left."""
    cursor = await connection.execute(f"SELECT {HOLDOUT} FROM holdouts WHERE experiment = %s", (number,))
    row = await cursor.fetchone()
    return Holdout._make(row) if row else None
