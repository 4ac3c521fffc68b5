"""A service to measure: its own process, its own database on a server of the benchmark's own."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from bench.populate import POLICY, populate
from engine.store import embedded
from engine.store.migrations import migrate

KEY = "bench-key-of-more-than-thirty-two-characters"
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Service:
    url: str
    key: str
    pid: int


@contextmanager
def database(server: embedded.Server, customers: int, contacts: int, recent: int | None = None) -> Generator[str]:
    """A database with so many customers and contacts each, `recent` of them of late; dropped at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = server.url(name)
        try:
            migrate(url)
            with service(url):
                pass  # puts the policy in force
            populate(url, customers, contacts, recent)
            yield url
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def service(database_url: str, workers: int = 1) -> Generator[Service]:
    """The service, with a route that does nothing beside its own."""
    policy = Path(os.environ.get("TMPDIR", "/tmp")) / f"takt-bench-{os.getpid()}.yaml"  # noqa: S108 - a scratch file
    policy.write_text(POLICY)
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "TAKT_ADMIN_KEY": KEY,
        "TAKT_POLICY": str(policy),
        "PYTHONPATH": str(_ROOT),
    }
    prepare = "import asyncio; from engine.operations import start; from engine.settings import Settings\n"
    prepare += "s = Settings()\nwith start.locate(s) as w: asyncio.run(start.prepare(w, s))"
    subprocess.run([sys.executable, "-c", prepare], env=environment, check=True)
    with serving("bench.noop_service:app", environment, workers, factory=True, ready="/readyz") as (url, pid):
        yield Service(url, KEY, pid)


@contextmanager
def serving(
    app: str, environment: dict[str, str], workers: int, *, factory: bool, ready: str
) -> Generator[tuple[str, int]]:
    """An ASGI application under uvicorn in a process of its own, until it answers; ended by its pid."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--workers", str(workers)]
    command += ["--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools"]
    command += ["--factory"] if factory else []
    process = subprocess.Popen(command, env=environment, cwd=_ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url + ready, process)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError("the service ended before it answered")
        try:
            if httpx.get(url, timeout=2).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within a minute")
