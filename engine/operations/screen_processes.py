"""Worker processes that ask about portions of an audience, each with a Decider of its own.

One process of Python is busy with one core while the database's server needs less than half of another. Measured on
two cores beside other work, 60,000 asks: two processes did 1.2 to 1.5 times as many a second as one, three no more
than two. Each takes some 110 MB. A worker ends with the process that started it, however that ends.
"""

import asyncio
import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Final

from engine.core.errors import Unavailable
from engine.operations import collector
from engine.operations.audience import Portion
from engine.operations.decider import Decider
from engine.operations.screen import Asker, ask
from engine.operations.screening import Screening, Sorted
from engine.settings import Settings

PAYS_FROM: Final = 100_000
PAY: Final = 2


def processes_for(customers: int) -> int:
    """How many processes pay for so many customers on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PAY) if customers >= PAYS_FROM else 1


@contextmanager
def workers(count: int, database_url: str, settings: Settings, screening: Screening) -> Generator[Asker]:
    """Processes that ask about a portion each, until the block ends."""
    pool = ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_begin, initargs=(database_url, settings, screening)
    )

    async def asker(portion: Portion) -> Sorted:
        work = partial(_work, portion.customer_ids, portion.places)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except BrokenProcessPool:
            raise Unavailable("a worker process has died: start the same run again") from None

    try:
        yield asker
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """What a worker process holds while it lives."""

    loop: asyncio.AbstractEventLoop
    decider: Decider
    screening: Screening


def _begin(database_url: str, settings: Settings, screening: Screening) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.loop = asyncio.new_event_loop()
    _Worker.decider = Decider(database_url, settings)
    _Worker.screening = screening
    _Worker.loop.run_until_complete(_Worker.decider.open())
    collector.ease()


def _work(customer_ids: Sequence[str], places: Sequence[int]) -> Sorted:
    return _Worker.loop.run_until_complete(ask(_Worker.decider, _Worker.screening, customer_ids, places))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
