"""The jobs on APScheduler: kept in memory, fired at the slots of Takt's clock."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# APScheduler declares no types: what it returns is read off its code, and that of an abstract method is None.

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import time_ns
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from engine.core.errors import TaktError
from engine.operations import jobs
from engine.operations.jobs import JOBS, Job
from engine.settings import Settings
from engine.store.database import Database, DatabaseError

_BEHIND_US: Final = 250_000
"""How far behind a slot's begin a job fires, so that clocks which differ by a little agree that it has begun."""

log = logging.getLogger("takt.scheduler")


class Clock:
    """Takt's clock, as this process last saw it: the database's, which in a demo travels."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ahead_us = 0

    async def look(self) -> None:
        self._ahead_us = await self._database.clock_us() - time_ns() // 1_000

    def ahead_of(self, now: datetime) -> int:
        """Takt's time, in microseconds, when this process says `now`."""
        return round(now.timestamp() * 1_000_000) + self._ahead_us


class Slots(BaseTrigger):
    """Fires at once, for the slot that may be nobody's yet, and then at the begin of each."""

    def __init__(self, job: Job, clock: Clock) -> None:
        self._job = job
        self._clock = clock

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        if previous_fire_time is None:
            return now
        takt_us = self._clock.ahead_of(now)
        next_us = self._job.slot_us(takt_us - _BEHIND_US) + self._job.every_us + _BEHIND_US
        return now + timedelta(microseconds=next_us - takt_us)


@contextmanager
def beating(database: Database, settings: Settings) -> Generator[None]:
    """Every job at its times, until the block ends: whatever runs then is broken off."""
    clock = Clock(database)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a long job is passed over is what is wanted
    scheduler = AsyncIOScheduler(timezone="UTC")
    for job in JOBS:
        arguments = database, settings, clock, job
        # However late a job comes to its turn, it runs once for the slot that it then is.
        scheduler.add_job(_fire, Slots(job, clock), arguments, id=job.name, misfire_grace_time=None, coalesce=True)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


async def _fire(database: Database, settings: Settings, clock: Clock, job: Job) -> None:
    try:
        await clock.look()
        await jobs.run_slot(database, settings, job)
    except (TaktError, DatabaseError):  # the next slot comes
        log.warning("the job %s could not run", job.name, exc_info=True)
    except asyncio.CancelledError:  # by `shutdown`: APScheduler would log it as a fault
        return
