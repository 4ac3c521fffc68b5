"""Who is told to end ends, whatever the pool does at that instant, and leaves nothing behind that does not.

`asyncio.wait_for` of Python 3.11 keeps a cancellation to itself that arrives just as its wait is over; the pool waits
by it, and its own tasks let nobody cancel them. So each piece of work is told at every instant there is: as each
callback is put into the loop's queue.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from engine.operations.decider import Decider
from engine.settings import Settings
from engine.store.database import Database

END_S_MAX = 120.0
Work = Callable[[], Coroutine[Any, Any, None]]


class Loop(asyncio.SelectorEventLoop):
    """Calls `tell` as the next but so many callback is put into its queue."""

    to_go = 0
    tell: Callable[[], object]

    def call_soon(self, *given: Any, **context: Any) -> asyncio.Handle:
        handle = super().call_soon(*given, **context)
        self.to_go -= 1
        if not self.to_go:
            self.tell()
        return handle


def told(work: Work, instant: int) -> bool:
    """Whether the work still ran at that instant. It must have ended by it then, and what it started, too."""
    loop = Loop()
    heard: list[bool] = []
    try:
        task = loop.create_task(work())
        loop.to_go, loop.tell = instant, lambda: heard.append(task.cancel())
        loop.run_until_complete(asyncio.wait([task], timeout=END_S_MAX))
        loop.to_go = 0
        assert task.done(), instant
        if left := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait(left, timeout=END_S_MAX))
        assert not asyncio.all_tasks(loop), instant
    finally:
        loop.close()
    assert task.cancelled() == any(heard), instant
    if not any(heard):
        assert task.exception() is None
    return any(heard)


def told_at_each_instant(work: Work) -> int:
    """How many there were."""
    instant = 1
    while told(work, instant):
        instant += 1
    return instant - 1


def test_whoever_opens_a_database_and_asks_it(database_url: str) -> None:
    async def work() -> None:
        database = Database(database_url, size=1)
        await database.open()
        try:
            async with database.transaction() as connection:
                await connection.execute("SELECT 1")
        finally:
            await database.close()

    assert told_at_each_instant(work) > 30


def test_whoever_waits_for_a_connection(database_url: str) -> None:
    async def work() -> None:
        database = Database(database_url, size=1)
        await database.open()
        is_held = asyncio.Event()
        others = [asyncio.create_task(hold(database, is_held))]
        try:
            await is_held.wait()
            async with database.connection() as connection:
                others.append(asyncio.create_task(hold(database, is_held)))
                await connection.execute("SELECT 1")
            async with database.raw_connection() as connection:
                await connection.execute("SELECT 1")
        finally:
            try:
                await asyncio.wait(others)
            finally:
                await database.close()

    async def hold(database: Database, is_held: asyncio.Event) -> None:
        async with database.connection() as connection:
            is_held.set()
            await connection.execute("SELECT pg_sleep(0.002)")

    assert told_at_each_instant(work) > 40


def test_whoever_closes_what_decides(database_url: str) -> None:
    async def work() -> None:
        decider = Decider(database_url, Settings(lanes=1))
        try:
            await decider.open()
        finally:
            await decider.close()

    assert told_at_each_instant(work) > 40
