"""The jobs there are, what one run of a job is, and how they stand.

No promise depends on a job having run: what a job does is either for people to look at, or to let go of what is old.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.core.errors import NotFound, TaktError
from engine.operations import alarms, breaker, prune, traffic, watch
from engine.settings import Settings
from engine.store import alarms as alarm_store
from engine.store import jobs as store
from engine.store.alarms import Alarm
from engine.store.database import Database, clock_us
from engine.store.jobs import Run

_SECOND_US: Final = 1_000_000
_NOTE_MAX: Final = 500

log = logging.getLogger("takt.jobs")


@dataclass(frozen=True, slots=True)
class Job:
    """What runs once every `every_us` of Takt's clock, in slots that begin at multiples of it."""

    name: str
    every_us: int
    work: Callable[[Database, Settings], Awaitable[str]]
    about: str

    def slot_us(self, now_us: int) -> int:
        return now_us // self.every_us * self.every_us


JOBS: Final = (
    Job("alarms", 60 * _SECOND_US, alarms.tell, "tell alarms until somebody took them"),
    Job("breaker", 600 * _SECOND_US, lambda database, _: breaker.look(database), "stop what is complained about"),
    Job("traffic", 600 * _SECOND_US, lambda database, _: traffic.count(database), "count asks for the pages"),
    Job("readouts", 3_600 * _SECOND_US, lambda database, _: watch.read_all(database), "read running experiments"),
    Job(
        "holdouts",
        3_600 * _SECOND_US,
        lambda database, _: watch.keep_holdouts(database),
        "read and end holdouts in time",
    ),
    Job("prune", 86_400 * _SECOND_US, prune.prune, "let go of what is old, totals kept"),
)


class Standing(NamedTuple):
    """A job, its newest run, the newest that did what it should, and the next slot."""

    job: Job
    last: Run | None
    done: Run | None
    next_us: int


class Status(NamedTuple):
    """`leader`: where the process runs that starts jobs; None where none does."""

    now_us: int
    leader: str | None
    jobs: list[Standing]
    alarms: list[Alarm]
    alarms_waiting: int


def job(name: str) -> Job:
    """The job of this name; raises `NotFound`."""
    found = next((each for each in JOBS if each.name == name), None)
    if found is None:
        raise NotFound(f"there is no job {name!r}: there are {', '.join(each.name for each in JOBS)}")
    return found


async def run_slot(database: Database, settings: Settings, job: Job) -> Run | None:
    """Run a job for the slot of now; None where that was somebody's already. Slots that were missed stay so."""
    async with database.connection() as connection:
        slot_us = job.slot_us(await clock_us(connection))
        if not await store.claim(connection, job.name, slot_us):
            return None
    return await _run(database, settings, job, slot_us)


async def run_now(database: Database, settings: Settings, job: Job) -> Run:
    """Run a job once, beside its slots."""
    async with database.connection() as connection:
        slot_us = await clock_us(connection)
        while not await store.claim(connection, job.name, slot_us):
            slot_us += 1
    return await _run(database, settings, job, slot_us)


async def status(database: Database, *, alarms: int = 10) -> Status:
    """How everything stands."""
    async with database.transaction() as connection:
        now_us = await clock_us(connection)
        last, done = await store.newest(connection), await store.newest(connection, "done")
        return Status(
            now_us,
            await store.leader(connection),
            [
                Standing(each, last.get(each.name), done.get(each.name), each.slot_us(now_us) + each.every_us)
                for each in JOBS
            ],
            await alarm_store.newest(connection, alarms),
            await alarm_store.waiting(connection),
        )


async def _run(database: Database, settings: Settings, job: Job, slot_us: int) -> Run:
    """Whatever happens is written down, unless this process is ended: then the row says so by not ending."""
    try:
        outcome, note = "done", await job.work(database, settings)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.exception("the job %s failed", job.name)
        # Only Takt's own words: a database's quote the row that it refused.
        outcome, note = "failed", str(error) if isinstance(error, TaktError) else type(error).__name__
    async with database.transaction() as connection:
        await store.end(connection, job.name, slot_us, outcome, note[:_NOTE_MAX])
        return await store.run(connection, job.name, slot_us)
