"""Readouts of holdouts as they were computed: never changed, never thinned out, never let go of.

One that was due some days after the ship is there once; those that somebody asked for beside them have no day.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from psycopg import Connection as SyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from engine.core.errors import NotFound
from engine.store.database import Connection
from engine.store.experiments import HOLDOUT, Holdout

Reader: TypeAlias = SyncConnection[TupleRow]  # of a readout: the connection that `analysis.alone` opens
_KEPT = "experiment, number, computed_us, as_of_us, took_us, day, call, readout"


class HeldSnapshot(NamedTuple):
    """`computed_us`: the instant of the database that it saw; what lies before `as_of_us` of that was analysed.
    `number` puts the readouts of a holdout in order, as those of its experiment (`snapshots`)."""

    experiment: int
    number: int
    computed_us: int
    as_of_us: int
    took_us: int
    day: int | None
    call: str
    readout: Mapping[str, Any]


class HeldRead(NamedTuple):
    """That there is a readout of a day."""

    day: int
    computed_us: int
    call: str


async def newest(connection: Connection, experiment: int, day: int | None = None) -> HeldSnapshot | None:
    """The newest; with `day` the one that was due then."""
    cursor = await connection.execute(
        f"SELECT {_KEPT} FROM holdout_readouts WHERE experiment = %s AND (%s::int IS NULL OR day = %s)"
        " ORDER BY number DESC LIMIT 1",
        (experiment, day, day),
    )
    row = await cursor.fetchone()
    return HeldSnapshot._make(row) if row else None


async def newest_asked(connection: Connection, experiment: int, ticket: int) -> HeldSnapshot | None:
    """The newest that somebody asked for, if it was begun after the ticket was drawn."""
    cursor = await connection.execute(
        f"SELECT {_KEPT} FROM holdout_readouts WHERE experiment = %s AND day IS NULL AND number > %s"
        " ORDER BY number DESC LIMIT 1",
        (experiment, ticket),
    )
    row = await cursor.fetchone()
    return HeldSnapshot._make(row) if row else None


async def read_days(connection: Connection, experiment: int) -> list[HeldRead]:
    """The days of which there is a readout."""
    cursor = await connection.execute(
        "SELECT day, computed_us, call FROM holdout_readouts WHERE experiment = %s AND day IS NOT NULL ORDER BY day",
        (experiment,),
    )
    return [HeldRead._make(row) for row in await cursor.fetchall()]


async def holdouts(connection: Connection) -> list[Holdout]:
    """All that there ever were, the oldest first."""
    cursor = await connection.execute(f"SELECT {HOLDOUT} FROM holdouts ORDER BY from_us, name")
    return [Holdout._make(row) for row in await cursor.fetchall()]


def computed(connection: Reader, experiment: int, day: int | None, ticket: int) -> int | None:
    """When the readout of a day was computed, or the newest that somebody asked for after the ticket was drawn."""
    row = connection.execute(
        "SELECT computed_us FROM holdout_readouts WHERE experiment = %s"
        " AND CASE WHEN %s::int IS NULL THEN day IS NULL AND number > %s ELSE day = %s END"
        " ORDER BY number DESC LIMIT 1",
        (experiment, day, ticket, day),
    ).fetchone()
    return row[0] if row else None


def clock_us(connection: Reader) -> int:
    row = connection.execute("SELECT takt_clock()").fetchone()
    return row[0] if row else 0


def current(connection: Reader) -> list[Holdout]:
    """All that there ever were, the oldest first, for a readout."""
    rows = connection.execute(f"SELECT {HOLDOUT} FROM holdouts ORDER BY from_us, name".encode()).fetchall()
    return [Holdout._make(row) for row in rows]


def policy(connection: Reader, version: int) -> dict[str, Any]:
    """What a version of the policy says, for a readout; raises `NotFound`."""
    row = connection.execute("SELECT data FROM policies WHERE version = %s", (version,)).fetchone()
    if row is None:
        raise NotFound(f"there is no version {version} of the policy")
    return row[0]


def add(connection: Reader, snapshot: HeldSnapshot) -> None:
    connection.execute(
        f"INSERT INTO holdout_readouts ({_KEPT}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (*snapshot[:7], Jsonb(dict(snapshot.readout))),
    )
