"""`takt demo`: broken off it leaves nothing, made once it stays, and what it prints and docs/demo.md shows works."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from engine.store import embedded
from tests.cli.command import END_S_MAX, TAKT, interruptible, started
from tests.docs.test_docs import ROOT, blocks

SMALL = ("--port", "0", "--customers", "100", "--weeks", "2")
MAKE_S_MAX = 300.0
DOCUMENT = (ROOT / "docs" / "demo.md").read_text()


@pytest.fixture(scope="module")
def data_dir() -> Generator[Path]:
    """Of a server of its own: the demo's database has one name."""
    made = Path(tempfile.mkdtemp(prefix="takt-demo-"))
    made.chmod(0o711)
    yield made / "data"
    embedded.stop(made / "data", force=True)
    shutil.rmtree(made)


def environment(data_dir: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("TAKT_") and name != "DATABASE_URL"
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "TAKT_DATA_DIR": str(data_dir), "TAKT_SCHEDULER": "false"}


@contextmanager
def demo(data_dir: Path, *more: str) -> Generator[str]:
    """The demo, served; what it printed."""
    command = [TAKT, "demo", *SMALL, *more]
    with started(command, env=environment(data_dir), stdout=subprocess.PIPE) as process:
        timer = threading.Timer(MAKE_S_MAX, process.kill)
        timer.start()
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Ctrl-C ends it"):
                break
        timer.cancel()
        assert "Ctrl-C ends it" in printed, printed
        yield printed
        process.send_signal(signal.SIGTERM)
        process.wait(END_S_MAX)


def databases(url: str) -> set[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def exported(printed: str) -> dict[str, str]:
    """The variables that the printed lines set, as a shell reads them."""
    lines = [line.strip() for line in printed.splitlines() if line.startswith("  export ")]
    shown = subprocess.run(
        ["bash", "-ec", "\n".join([*lines, "env"])],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout
    found = dict(each.split("=", 1) for each in shown.splitlines() if "=" in each)
    return {name: found[name] for name in ("TAKT_URL", "TAKT_KEY", "DATABASE_URL")}


def test_a_demo_broken_off_in_the_middle_is_no_demo(data_dir: Path) -> None:
    with embedded.attach(data_dir) as server:
        command = interruptible("demo", *SMALL)
        with started(command, env=environment(data_dir), stderr=subprocess.DEVNULL) as process:
            waited = threading.Event()
            while process.poll() is None and "takt_demo_making" not in databases(server.url("postgres")):
                waited.wait(0.01)
            process.send_signal(signal.SIGINT)
            assert process.wait(END_S_MAX) != 0
        assert not databases(server.url("postgres")) & {"takt_demo", "takt_demo_making"}


def test_a_demo_is_made_once_and_what_is_shown_of_it_works(data_dir: Path) -> None:
    with embedded.attach(data_dir) as server, psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE takt_demo")
        connection.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'takt_demo'")  # half dropped
    with demo(data_dir) as printed:
        assert "100 customers are simulated" in printed
        assert "It was there already" not in printed
        variables = exported(printed)
        ready = httpx.get(f"{variables['TAKT_URL']}/readyz").json()
        assert (ready["status"], ready["deployment"]) == ("ok", "demo")
        for key in ("push-budget", "short-newsletter", "checkout-aa", "loud-subjects"):
            assert re.search(rf"^  {key} \((running|stopped)\): \w+", printed, re.MULTILINE), printed
        customer = re.search(r"takt why (\S+)", printed)
        assert customer
        told = {**environment(data_dir), **variables, "CUSTOMER": customer[1]}
        runs = blocks(DOCUMENT, "run")
        assert list(runs) == ["why", "readout", "ship", "ask", "verify"]
        for name, (_, body) in runs.items():
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", body],
                env=told,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, (name, done.stdout, done.stderr)
            assert name != "verify" or "all agree" in " ".join(done.stdout.split())
    with demo(data_dir) as printed:
        assert "It was there already" in printed
        assert exported(printed)["TAKT_KEY"] == variables["TAKT_KEY"]
        key = {"Authorization": f"Bearer {variables['TAKT_KEY']}"}
        # In the terminal where the printed lines were pasted.
        pasted = {**environment(data_dir), "DATABASE_URL": exported(printed)["DATABASE_URL"]}
        refused = subprocess.run([TAKT, "demo", *SMALL], env=pasted, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "unset it" in refused.stderr
        shipped = httpx.get(f"{exported(printed)['TAKT_URL']}/v1/experiments/push-budget", headers=key).json()
        assert shipped["shipped"] == "one"


def test_a_database_of_that_name_which_no_demo_made_is_left_alone(data_dir: Path) -> None:
    with embedded.attach(data_dir) as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS takt_demo WITH (FORCE)")
            connection.execute("CREATE DATABASE takt_demo")
        command = [TAKT, "demo", *SMALL, "--fresh"]
        done = subprocess.run(
            command, env=environment(data_dir), capture_output=True, text=True, timeout=END_S_MAX, check=False
        )
        assert done.returncode == 1
        assert "no demo" in done.stderr
        assert "takt_demo" in databases(server.url("postgres"))
