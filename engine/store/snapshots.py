"""Readouts as they were computed, kept with the instant that they are of. Never changed; a page reads, and waits for
no analysis.

Which is newer, their numbers tell, and no clock: each is drawn before its readout looks at the database, and those of
one experiment are computed one after the other. So a later number has seen all that an earlier one saw.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from psycopg import Connection as SyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from engine.core.policy import DAY_US
from engine.store.database import Connection

_NEXT = "SELECT nextval('readout_numbers')"
_SNAPSHOT = "experiment, number, computed_us, as_of_us, took_us, call, readout"


class Snapshot(NamedTuple):
    """`computed_us`: the instant of the database that it saw; what lies before `as_of_us` of that was analysed.
    `number` puts the readouts of an experiment in order."""

    experiment: int
    number: int
    computed_us: int
    as_of_us: int
    took_us: int
    call: str
    readout: Mapping[str, Any]


class Past(NamedTuple):
    """An effect as a snapshot has it: of the interval that decided then, and of the bound that could stop, the ends.
    An end is a number, "infinity" with or without a minus, or None."""

    as_of_us: int
    inference: str
    metric: str
    variant: str
    effect: Any
    low: Any
    high: Any
    bound_low: Any
    bound_high: Any


class Reading(NamedTuple):
    """An effect as it was read as of an instant; `low` and `high` are of an interval that holds at every look, None
    where the metric has none."""

    as_of_us: int
    metric: str
    variant: str
    effect: float
    low: float | None
    high: float | None

    @property
    def day(self) -> int:
        """The day in UTC before whose end it was read, counted from 1970."""
        return (self.as_of_us - 1) // DAY_US


async def ticket(connection: Connection) -> int:
    """A number that is later than that of every readout begun before, and earlier than of any begun from now on."""
    row = await (await connection.execute(_NEXT)).fetchone()
    return row[0] if row else 0


async def newest(connection: Connection, experiment: int) -> Snapshot | None:
    cursor = await connection.execute(
        f"SELECT {_SNAPSHOT} FROM snapshots WHERE experiment = %s ORDER BY number DESC LIMIT 1", (experiment,)
    )
    row = await cursor.fetchone()
    return Snapshot._make(row) if row else None


async def newest_by(connection: Connection, experiment: int, at_us: int) -> Snapshot | None:
    """The one that was computed at an instant, or else the newest of those that were by then."""
    cursor = await connection.execute(
        f"SELECT {_SNAPSHOT} FROM snapshots WHERE experiment = %s AND computed_us <= %s"
        " ORDER BY computed_us = %s DESC, number DESC LIMIT 1",
        (experiment, at_us, at_us),
    )
    row = await cursor.fetchone()
    return Snapshot._make(row) if row else None


async def days(connection: Connection, experiment: int, limit: int) -> list[tuple[int, str]]:
    """When the last readout of each day (UTC) was computed and what it says in a word, the newest first."""
    cursor = await connection.execute(
        "SELECT computed_us, call FROM (SELECT DISTINCT ON (computed_us / 86400000000) computed_us, call, number"
        " FROM snapshots WHERE experiment = %s ORDER BY computed_us / 86400000000 DESC, number DESC) d"
        " ORDER BY number DESC LIMIT %s",
        (experiment, limit),
    )
    return [(computed_us, call) for computed_us, call in await cursor.fetchall()]


async def daily(connection: Connection, experiment: int, until_us: int, limit: int) -> list[int]:
    """When the newest snapshot as of each day (UTC) was computed, of those computed by an instant, the newest first."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON ((as_of_us - 1) / 86400000000) computed_us FROM snapshots"
        " WHERE experiment = %s AND computed_us <= %s"
        " ORDER BY (as_of_us - 1) / 86400000000 DESC, number DESC LIMIT %s",
        (experiment, until_us, limit),
    )
    return [computed_us for (computed_us,) in await cursor.fetchall()]


async def pasts(
    connection: Connection, experiment: int, computed_us: Collection[int], schema: int
) -> dict[int, list[Past]]:
    """The effects that decide, by when the snapshot that has them was computed. Each document is unpacked once, and
    only these numbers leave the database; one of another schema has none."""
    cursor = await connection.execute(
        "WITH d AS MATERIALIZED (SELECT computed_us, as_of_us, readout -> 'readout' AS r FROM snapshots"
        " WHERE experiment = %s AND computed_us = ANY(%s))"
        " SELECT d.computed_us, d.as_of_us, d.r ->> 'inference', m ->> 'name', c ->> 'variant',"
        " c #> '{estimate,effect}', c #> '{estimate,low}', c #> '{estimate,high}', c #> '{bound,low}',"
        " c #> '{bound,high}' FROM d CROSS JOIN LATERAL"
        """ jsonb_path_query(d.r, '$.metrics[*] ? (@.role == "primary" || @.role == "guardrail")') m"""
        " CROSS JOIN LATERAL jsonb_path_query(m, '$.comparisons[*]') c WHERE d.r ->> 'schema' = %s",
        (experiment, list(computed_us), str(schema)),
    )
    found: dict[int, list[Past]] = {each: [] for each in computed_us}
    for at_us, *past in await cursor.fetchall():
        found[at_us].append(Past._make(past))
    return found


def next_number(connection: SyncConnection[TupleRow]) -> int:
    """The number of a readout that is about to look at the database."""
    row = connection.execute(_NEXT).fetchone()
    return row[0] if row else 0


def since(connection: SyncConnection[TupleRow], experiment: int, ticket: int) -> int | None:
    """When the newest snapshot was computed, if it was begun after the ticket was drawn."""
    row = connection.execute(
        "SELECT computed_us FROM snapshots WHERE experiment = %s AND number > %s ORDER BY number DESC LIMIT 1",
        (experiment, ticket),
    ).fetchone()
    return row[0] if row else None


def add(connection: SyncConnection[TupleRow], snapshot: Snapshot) -> None:
    connection.execute(
        f"INSERT INTO snapshots ({_SNAPSHOT}) VALUES (%s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (experiment, computed_us) DO NOTHING",
        (*snapshot[:6], Jsonb(dict(snapshot.readout))),
    )
