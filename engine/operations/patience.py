"""Waiting no longer than an answer is of use: a database that falls silent must not silence Takt."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from engine.core.errors import DatabaseUnavailable

T = TypeVar("T")


async def in_time(work: Coroutine[Any, Any, T], wait_s: float) -> T:
    """What the work returns; raises `DatabaseUnavailable` where that takes longer.

    The work is cancelled then and not awaited: a driver on a silent connection also waits to end its query.
    """
    return await shared_in_time(asyncio.create_task(work), wait_s, is_own=True)


async def shared_in_time(task: asyncio.Task[T], wait_s: float, *, is_own: bool = False) -> T:
    """The same for work that others wait for too: it goes on, whoever leaves."""
    try:
        done, _ = await asyncio.wait((task,), timeout=wait_s)
        if done:
            return task.result()
        raise DatabaseUnavailable("the database did not answer in time")
    finally:
        if not task.done():
            task.add_done_callback(_heard)
            if is_own:
                task.cancel()


def _heard(task: asyncio.Task[Any]) -> None:
    """Nobody waits any more for what became of it."""
    if not task.cancelled():
        task.exception()
