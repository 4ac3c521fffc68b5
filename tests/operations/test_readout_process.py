"""The process of a readout: it ends with whoever waits for it, and what goes wrong in it is told."""

import asyncio
from collections.abc import Generator

import psycopg
import pytest
from psycopg.rows import TupleRow

from engine.core.errors import DatabaseUnavailable, NotFound
from engine.operations.readout_process import refreshed
from engine.store import snapshots
from engine.store.analysis import LOCK_CLASS
from tests.operations.readout_worlds import DAY_US, START_US, World
from tests.operations.rulesets import plan

pytestmark = pytest.mark.anyio

_COMPUTING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'takt-readout' AND datname = current_database()"
_WAITING = f"{_COMPUTING} AND wait_event = 'advisory'"


@pytest.fixture
def world(database_url: str) -> Generator[World]:
    made = World(database_url, plan("a-a", start="2026-10-05"), START_US + 40 * DAY_US)
    made.enter("ann", 0, START_US)
    made.settle()
    yield made
    made.close()


async def held_up(world: World, connection: psycopg.Connection[TupleRow]) -> "asyncio.Task[int]":
    """A readout that waits for a lock which `connection` holds."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, world.number))
    task = asyncio.create_task(refreshed(world.url, world.number, 0))
    await asyncio.to_thread(until, connection, _WAITING, True)
    return task


def until(connection: psycopg.Connection[TupleRow], query: str, there_are: bool) -> None:
    """Wait until a query finds rows, or none any more."""
    while bool(connection.execute(query.encode()).fetchall()) is not there_are:
        pass


async def test_it_computes_and_keeps(world: World) -> None:
    computed_us = await refreshed(world.url, world.number, 0)
    with psycopg.connect(world.url) as connection:
        assert connection.execute("SELECT computed_us FROM snapshots").fetchall() == [(computed_us,)]


async def test_what_had_begun_before_somebody_asked_is_not_given_to_them(world: World) -> None:
    with psycopg.connect(world.url, autocommit=True) as watching, psycopg.connect(world.url) as ending:
        ending.execute("LOCK experiments IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(refreshed(world.url, world.number, 0))
        await asyncio.to_thread(until, watching, f"{_COMPUTING} AND wait_event = 'relation'", True)
        asked = snapshots.next_number(watching)  # it has looked already, and not told yet
        ending.execute("UPDATE experiments SET state = 'stopped', ended_us = takt_clock()")
        ending.commit()
        before_us, after_us = await first, await refreshed(world.url, world.number, asked)
        found = watching.execute(
            "SELECT computed_us, readout->'readout'->'ended' <> 'null' FROM snapshots ORDER BY number"
        ).fetchall()
    assert found == [(before_us, False), (after_us, True)]


async def test_nobody_computes_for_who_has_gone(world: World) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        task = await held_up(world, connection)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, connection, _COMPUTING, False)
        connection.execute("SELECT pg_advisory_unlock_all()")
        assert connection.execute("SELECT count(*) FROM snapshots").fetchone() == (0,)
    assert await refreshed(world.url, world.number, 0), "the next one finds the way free"


async def test_a_connection_that_breaks_is_told_as_what_it_is(world: World) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        task = await held_up(world, connection)
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({_COMPUTING}) found".encode())
        with pytest.raises(DatabaseUnavailable):
            await task


async def test_what_cannot_be_computed_is_told(world: World) -> None:
    with pytest.raises(NotFound):
        await refreshed(world.url, 99, 0)
    with pytest.raises(DatabaseUnavailable):
        await refreshed("postgresql://127.0.0.1:1/nowhere", world.number, 0)
