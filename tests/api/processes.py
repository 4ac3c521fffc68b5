"""Takt in processes of their own, on a database that a test gives them."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from engine.core.tokens import Scope
from tests.api.caller import make_key
from tests.service import START_S_MAX, Service


@contextmanager
def running(database_url: str, log: Path | None = None, **environment: str) -> Generator[Service]:
    """A process that serves the database. Unless somebody reads its log, that must hold no fault in the end."""
    key = make_key(database_url, Scope.ADMIN).secret
    with socket.socket() as listening, tempfile.TemporaryFile("w+") as written:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        command = [sys.executable, "-m", "uvicorn", "engine.main:app", "--factory", "--fd", str(listening.fileno())]
        process = subprocess.Popen(
            [*command, "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"],
            env={**os.environ, "DATABASE_URL": database_url, **environment},
            pass_fds=[listening.fileno()],
            stderr=written,
        )
        try:
            service = Service(f"http://127.0.0.1:{listening.getsockname()[1]}", key, database_url)
            _wait(service, process, written)
            yield service
        finally:
            process.terminate()
            process.wait(120)
            written.seek(0)
            said = written.read()
    if log is not None:
        log.write_text(said)
    else:
        assert "ERROR" not in said, said


def _wait(service: Service, process: "subprocess.Popen[bytes]", written: IO[str]) -> None:
    give_up = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < give_up:
        try:  # the socket listens already: a call waits until the process accepts it
            if httpx.get(f"{service.url}/livez", timeout=START_S_MAX).status_code == 200:
                return
        except httpx.TransportError:
            continue
    written.seek(0)
    raise AssertionError(f"the process did not come up (exit code {process.poll()}): {written.read()}")
