"""A job runs once a slot, whoever tries; what became of it is on record, also where it failed or was killed."""

import asyncio
from collections.abc import AsyncGenerator

import psycopg
import pytest

from engine.core.errors import Conflict, NotFound
from engine.core.policy import DAY_US
from engine.operations import jobs
from engine.operations.jobs import JOBS, Job
from engine.settings import Settings
from engine.store import jobs as store
from engine.store.database import Database
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio
MINUTE_US = 60_000_000


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url, size=8)
    await opened.open()
    yield opened
    await opened.close()


class Counting:
    """A job's work that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, _database: Database, _settings: Settings) -> str:
        self.runs += 1
        return f"run {self.runs}"


async def test_of_many_who_try_one_runs_a_slot(database: Database) -> None:
    work = Counting()
    job = Job("count", DAY_US, work, "")
    ran = await asyncio.gather(*(jobs.run_slot(database, Settings(), job) for _ in range(20)))
    done = [each for each in ran if each is not None]
    assert (work.runs, len(done)) == (1, 1)
    assert (done[0].outcome, done[0].note) == ("done", "run 1")
    assert done[0].slot_us == await database.clock_us() // DAY_US * DAY_US


async def test_slots_go_by_takt_s_clock_and_missed_ones_are_not_made_up_for(database: Database) -> None:
    work = Counting()
    job = Job("count", MINUTE_US, work, "")
    await jobs.run_slot(database, Settings(), job)
    set_clock(database.url, 30 * DAY_US)
    later = await jobs.run_slot(database, Settings(), job)
    assert later is not None
    assert later.slot_us >= 30 * DAY_US
    assert work.runs == 2
    set_clock(database.url, 0)
    assert work.runs == 2, "a clock that steps back"


async def test_a_run_that_was_killed_never_ended_and_the_next_slot_goes_on(database: Database) -> None:
    job = Job("count", DAY_US, Counting(), "")
    async with database.connection() as connection:
        slot_us = job.slot_us(await database.clock_us())
        assert await store.claim(connection, job.name, slot_us)  # by a process that died right after
    assert await jobs.run_slot(database, Settings(), job) is None
    set_clock(database.url, DAY_US)
    assert await jobs.run_slot(database, Settings(), job) is not None
    async with database.connection() as connection:
        assert (await store.run(connection, job.name, slot_us)).ended_us is None


async def test_a_run_that_is_broken_off_does_not_say_that_it_ended(database: Database) -> None:
    begun = asyncio.Event()

    async def forever(_database: Database, _settings: Settings) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    job = Job("forever", DAY_US, forever, "")
    running = asyncio.create_task(jobs.run_slot(database, Settings(), job))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with database.connection() as connection:
        assert (await store.newest(connection))["forever"].ended_us is None


async def test_a_failure_is_told_in_takt_s_own_words_alone(database: Database) -> None:
    async def conflicts(_database: Database, _settings: Settings) -> str:
        raise Conflict("two of them")

    async def quotes(_database: Database, _settings: Settings) -> str:
        raise psycopg.errors.UniqueViolation("Key (customer_id)=(ada) already exists")

    for work, note in ((conflicts, "two of them"), (quotes, "UniqueViolation")):
        run = await jobs.run_now(database, Settings(), Job(work.__name__, DAY_US, work, ""))
        assert (run.outcome, run.note) == ("failed", note)


async def test_a_run_by_hand_takes_no_slot(database: Database) -> None:
    work = Counting()
    job = Job("count", DAY_US, work, "")
    await jobs.run_now(database, Settings(), job)
    await jobs.run_now(database, Settings(), job)
    assert await jobs.run_slot(database, Settings(), job) is not None
    assert work.runs == 3


async def test_every_job_runs_on_an_empty_database(database: Database) -> None:
    for job in JOBS:
        run = await jobs.run_slot(database, Settings(), job)
        assert run is not None
        assert run.outcome == "done", run
    status = await jobs.status(database)
    assert status.leader is None
    assert [each.job for each in status.jobs] == list(JOBS)
    assert all(each.last is not None and each.last == each.done for each in status.jobs)
    assert all(0 < each.next_us - status.now_us <= each.job.every_us for each in status.jobs)


def test_an_unknown_job_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="alarms, breaker, traffic, readouts, holdouts, prune"):
        jobs.job("readout")
