"""The scheduler's book: which job ran in which slot, and how it ended; and who leads.

A slot is claimed by writing its row, so a job runs once a slot whoever tries. A run that was killed never ended, which
is what its row says; the next slot is another row.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from engine.core.errors import NotFound
from engine.store.database import Connection

_LEADER_LOCK: Final = 7_236_871_010
_RUN: Final = "job, slot_us, started_us, ended_us, outcome, note"
NAME_PREFIX: Final = "takt scheduler "


class Run(NamedTuple):
    """A run of a job. `ended_us` None: it runs, or was killed. `outcome` is `done` or `failed`."""

    job: str
    slot_us: int
    started_us: int
    ended_us: int | None
    outcome: str | None
    note: str


async def claim(connection: Connection, job: str, slot_us: int) -> bool:
    """Whether this slot was nobody's yet, and is the caller's now."""
    cursor = await connection.execute(
        "INSERT INTO job_runs (job, slot_us, started_us) VALUES (%s, %s, takt_clock()) ON CONFLICT DO NOTHING"
        " RETURNING slot_us",
        (job, slot_us),
    )
    return await cursor.fetchone() is not None


async def end(connection: Connection, job: str, slot_us: int, outcome: str, note: str) -> None:
    await connection.execute(
        "UPDATE job_runs SET ended_us = takt_clock(), outcome = %s, note = %s WHERE job = %s AND slot_us = %s",
        (outcome, note, job, slot_us),
    )


async def run(connection: Connection, job: str, slot_us: int) -> Run:
    """The run of a slot that was claimed."""
    cursor = await connection.execute(f"SELECT {_RUN} FROM job_runs WHERE job = %s AND slot_us = %s", (job, slot_us))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"the run of {job!r} is not on record")
    return Run._make(row)


async def newest(connection: Connection, outcome: str | None = None) -> dict[str, Run]:
    """The newest run of each job that ever ran; with `outcome`, the newest that ended so."""
    cursor = await connection.execute(
        f"SELECT DISTINCT ON (job) {_RUN} FROM job_runs WHERE %s::text IS NULL OR outcome = %s"
        " ORDER BY job, slot_us DESC",
        (outcome, outcome),
    )
    return {row[0]: Run._make(row) for row in await cursor.fetchall()}


async def forget(connection: Connection, before_us: int) -> int:
    """Let go of old runs, but for the newest of each job; how many."""
    cursor = await connection.execute(
        "DELETE FROM job_runs r WHERE slot_us < %s"
        " AND EXISTS (SELECT 1 FROM job_runs n WHERE n.job = r.job AND n.slot_us > r.slot_us AND n.outcome = 'done')",
        (before_us,),
    )
    return cursor.rowcount


async def leader(connection: Connection) -> str | None:
    """Where the leader runs, as it named itself; None where nobody leads."""
    cursor = await connection.execute(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (l.classid::bigint << 32 | l.objid::bigint) = %s",
        (_LEADER_LOCK,),
    )
    row = await cursor.fetchone()
    return row[0].removeprefix(NAME_PREFIX) if row else None


class Seat:
    """A connection that may hold the lock of the leader. The lock is let go of with it, however it ends."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def take(self) -> bool:
        """Whether nobody else leads, and so this does now."""
        cursor = await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_LEADER_LOCK,))
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    async def lost(self) -> None:
        """Returns when the connection is gone, and with it the lock. Nothing is asked: the socket says so at once."""
        try:
            async for _ in self._connection.notifies():
                pass
        except psycopg.Error:
            return


@asynccontextmanager
async def seat(url: str, name: str) -> AsyncGenerator[Seat]:
    """A seat for whoever wants to lead. `name` says where; raises what `database.ConnectionFailed` names."""
    connection = await AsyncConnection.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=5,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        application_name=f"{NAME_PREFIX}{name}"[:63],
        # And the server gives up, within seconds, a leader whose host lost its power: another may lead then.
        options="-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
        " -c idle_session_timeout=0 -c statement_timeout=10000",
    )
    try:
        yield Seat(connection)
    finally:
        await connection.close()
