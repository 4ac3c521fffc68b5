"""A server that dies is started again by those who keep it running; one that was stopped stays stopped."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psycopg
import pytest

from engine.store import embedded

WAIT_S_MAX = 120.0


@pytest.fixture(scope="module")
def folder() -> Generator[Path]:
    """A folder that the server's user can reach. pytest's own are 0700."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    yield made / "data"
    embedded.stop(made / "data", force=True)
    shutil.rmtree(made)


def kill(folder: Path) -> int:
    pid = embedded.status(folder).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not embedded.status(folder).running)
    return pid


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_died_is_started_again_at_the_same_address(folder: Path) -> None:
    with embedded.attach(folder) as server:
        dead = kill(folder)
        assert server.revive()
        assert embedded.status(folder).pid != dead
        assert answers(server.url())
        assert not server.revive()


def test_a_server_that_was_stopped_stays_stopped(folder: Path) -> None:
    with embedded.attach(folder) as server:
        embedded.stop(folder, force=True)
        assert not server.revive()
        assert not embedded.status(folder).running


def test_who_has_left_starts_nothing(folder: Path) -> None:
    with embedded.attach(folder):
        left = embedded.attach(folder)
        left.leave()
        kill(folder)
        assert not left.revive()


def test_while_it_is_kept_running_nobody_has_to_ask(folder: Path) -> None:
    with embedded.attach(folder) as server, server.kept_running():
        kill(folder)
        wait(lambda: embedded.status(folder).running)
        assert answers(server.url())
    assert not embedded.status(folder).running
