"""One of all processes starts jobs: the others wait, and one takes over as soon as it is gone, however it went."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from engine.operations.jobs import JOBS
from tests.api.caller import eventually

END_S_MAX = 120.0
_LEADER = (
    "SELECT a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'takt scheduler %' AND l.objsubid = 1"
    " AND a.datname = current_database()"
)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def leaders(url: str) -> list[int]:
    """The process ids of those that hold the lock."""
    return [int(name.rpartition(" ")[2]) for name, _ in rows(url, _LEADER)]


@contextmanager
def scheduler(url: str, **environment: str) -> Generator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from engine.main import schedule; schedule()"],
        env={**os.environ, "DATABASE_URL": url, **environment},
        stdin=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(END_S_MAX)
        assert process.stdin is not None
        process.stdin.close()


def all_ran(url: str) -> bool:
    ended = {row[0] for row in rows(url, "SELECT job FROM job_runs WHERE outcome = 'done'")}
    return ended == {each.name for each in JOBS}


def test_one_of_two_leads_and_the_other_takes_over_when_it_is_killed(database_url: str) -> None:
    with scheduler(database_url) as first, scheduler(database_url) as second:
        eventually(lambda: len(leaders(database_url)) == 1)
        (leading,) = leaders(database_url)
        assert leading in (first.pid, second.pid)
        eventually(lambda: all_ran(database_url))
        os.kill(leading, signal.SIGKILL)
        other = second.pid if leading == first.pid else first.pid
        eventually(lambda: leaders(database_url) == [other])
    slots = rows(database_url, "SELECT job, slot_us, count(*) FROM job_runs GROUP BY 1, 2")
    assert all(count == 1 for _, _, count in slots)


def test_a_leader_that_loses_its_connection_stops_and_stands_again(database_url: str) -> None:
    with scheduler(database_url) as process:
        eventually(lambda: leaders(database_url) == [process.pid])
        was = rows(database_url, _LEADER)
        rows(database_url, f"SELECT pg_terminate_backend({was[0][1]})")
        eventually(lambda: bool(leaders(database_url)) and rows(database_url, _LEADER) != was)
        assert process.poll() is None


def test_the_scheduler_ends_with_whoever_started_it(database_url: str) -> None:
    with scheduler(database_url) as process:
        eventually(lambda: leaders(database_url) == [process.pid])
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(END_S_MAX) == 0
        eventually(lambda: not leaders(database_url))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_scheduler_ends_when_told(database_url: str, sent: signal.Signals) -> None:
    with scheduler(database_url) as process:
        eventually(lambda: leaders(database_url) == [process.pid])
        process.send_signal(sent)
        process.wait(END_S_MAX)
        eventually(lambda: not leaders(database_url))
