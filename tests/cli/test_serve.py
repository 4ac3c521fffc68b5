"""`takt serve` as an operator meets it: started on nothing, ended by the signal that supervisors send."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from engine.store import embedded
from tests.cli.command import END_S_MAX, TAKT, started


@pytest.fixture
def reachable() -> Generator[Path]:
    """A folder that the server's user can reach: pytest's own are 0700."""
    made = Path(tempfile.mkdtemp(prefix="takt-serve-"))
    made.chmod(0o711)
    yield made
    embedded.stop(made / "data", force=True)
    shutil.rmtree(made)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_told_to_end_takes_its_database_along(reachable: Path, workers: str) -> None:
    environment = {**os.environ, "TAKT_DATA_DIR": str(reachable / "data")}
    environment.pop("DATABASE_URL", None)
    command = [TAKT, "serve", "--port", "0", "--workers", workers]
    with started(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert "Takt answers at" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(END_S_MAX)
    assert not embedded.status(reachable / "data").running
