"""One process of all starts jobs: the one that holds an advisory lock, on a connection of its own.

With the connection it loses the lock, and stops at once what it had started; whoever waits for the lock asks every
second, so another goes on within seconds. Two that both think they lead, for the moment that it takes one of them to
hear of its loss, do no harm: a slot is claimed once.
"""

import asyncio
import logging
import os
import socket
from typing import Final

from engine.core.errors import TaktError
from engine.scheduler.beat import beating
from engine.settings import Settings
from engine.store.database import ConnectionFailed, Database
from engine.store.jobs import Seat, seat

_ASKED_EVERY_S: Final = 1.0
_AFTER_AN_ERROR_S: Final = 3.0

log = logging.getLogger("takt.scheduler")


async def stand(url: str, settings: Settings) -> None:
    """Wait to lead, lead, and wait again, until cancelled. A database that is away is waited for.

    A connection that is broken off may say that it was lost, and not that it was cancelled: who was told to end ends.
    """
    task = asyncio.current_task()
    while task is None or not task.cancelling():
        try:
            async with seat(url, f"{socket.gethostname()} {os.getpid()}") as taken:
                while not await taken.take():  # noqa: ASYNC110 - what is awaited is another process's end
                    await asyncio.sleep(_ASKED_EVERY_S)
                await _lead(taken, url, settings)
        except (*ConnectionFailed, TaktError) as error:
            log.warning(
                "the scheduler cannot work: %s", error if isinstance(error, TaktError) else type(error).__name__
            )
            await asyncio.sleep(_AFTER_AN_ERROR_S)


async def _lead(taken: Seat, url: str, settings: Settings) -> None:
    database = Database(url, size=4, lock_wait_ms=2_000)
    await database.open()
    try:
        with beating(database, settings):
            await taken.lost()
    finally:
        await database.close()
    log.warning("this process leads no more: its connection is gone")
