"""A scratch deployment: PostgreSQL in a folder of its own, and processes of the service on it.

The first service has the database as its own, and starts it again when it dies. The others reach it by DATABASE_URL,
over a network that the harness holds in its hands. The clock of each one's host is a day wrong (`hosts`).

Signals go only to processes that were started here: services by their handle, PostgreSQL by the number that its own
folder names, after a look at what that process is.
"""

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psycopg

from engine.store import embedded
from tests.chaos.policy import YAML
from tests.chaos.proxy import Proxy

ROOT = Path(__file__).parents[2]
REAL = ("-c", "from engine.main import main; main()")
CONNECTIONS = 40  # what the scratch server allows, so that taking them all is cheap
SKEWS_S = (86_400, -86_400)  # how wrong the clocks of the services' hosts are
READY_S = 60.0  # a ceiling for a loaded machine, not a promise: how long it took is reported


class EndedAtStart(RuntimeError):
    """A service ended instead of becoming ready. `words` are its last."""

    def __init__(self, words: str) -> None:
        super().__init__(f"the service ended:\n{words}")
        self.words = words


class Deployment:
    """PostgreSQL and `count` services. Use it in a `with`."""

    def __init__(
        self,
        folder: Path,
        *,
        launch: Sequence[str] = REAL,
        environment: Mapping[str, str] | None = None,
        count: int = 2,
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.key = "chaos_" + secrets.token_hex(32)
        self.ports = [free_port() for _ in range(count)]
        self._launch = launch
        self._services: list[subprocess.Popen[bytes]] = []
        self._server: embedded.Server | None = None
        self._cluster = Path()
        self._proxy: Proxy | None = None

    def __enter__(self) -> "Deployment":
        policy = self.folder / "policy.yaml"
        policy.write_text(YAML)
        try:
            self.attach()
            self.configure({"max_connections": str(CONNECTIONS)})
            self._proxy = Proxy(self.url, str(self.folder))
            for index in range(len(self.ports)):
                self._services.append(self._start(index))
                self.wait_ready(index)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for service in self._services:
            if service.poll() is None:
                service.send_signal(signal.SIGCONT)
                service.kill()
            service.wait()
        if self._proxy is not None:
            self._proxy.close()
        embedded.stop(self.data_dir, force=True)
        if self._server is not None:
            self._server.leave()

    # Services.

    def kill(self, index: int) -> int:
        """SIGKILL; returns its number."""
        service = self._services[index]
        service.kill()
        service.wait()
        return service.pid

    def restart(self, index: int) -> None:
        """Start a new process in place of one that was killed."""
        self._services[index] = self._start(index)

    def send_signal(self, index: int, number: signal.Signals) -> int:
        self._services[index].send_signal(number)
        return self._services[index].pid

    def wait_ready(self, index: int) -> None:
        """Until the service says that it can decide; raises where it ended instead."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self._services[index].poll() is not None:
                raise EndedAtStart(self.words(index))
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.ports[index]}/readyz", timeout=5.0).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the service is not ready after {READY_S:.0f} s:\n{self.words(index)}")

    def words(self, index: int) -> str:
        """The last lines of what a service said."""
        text = (self.folder / f"service-{index}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-30:])

    def verify(self) -> tuple[bool, str]:
        """What `takt verify` makes of the database: whether all agrees, and its words."""
        command = [sys.executable, *REAL, "verify"]
        ended = subprocess.run(command, cwd=ROOT, env=self._variables(0), capture_output=True, text=True, check=False)
        return ended.returncode == 0, (ended.stdout + ended.stderr).strip()

    def _start(self, index: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, *self._launch, "serve", "--port", str(self.ports[index])]
        with (self.folder / f"service-{index}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self._variables(index), stdout=log, stderr=log)

    def _variables(self, index: int) -> dict[str, str]:
        where = {"TAKT_DATA_DIR": str(self.data_dir)} if index == 0 else {"DATABASE_URL": self.proxy.url}
        return {
            **where,
            **{name: value for name, value in os.environ.items() if not name.startswith(("TAKT_", "DATABASE_URL"))},
            "PYTHONPATH": str(Path(__file__).parent / "hosts"),
            "CHAOS_SKEW_S": str(SKEWS_S[index % len(SKEWS_S)]),
            "TAKT_POLICY": str(self.folder / "policy.yaml"),
            "TAKT_ADMIN_KEY": self.key,
            "TAKT_PUBLIC_URL": "https://takt.example",  # so that mails come with their one click
        }

    # PostgreSQL.

    @property
    def proxy(self) -> Proxy:
        """The network of all services but the first."""
        if self._proxy is None:
            raise RuntimeError("no server was started yet")
        return self._proxy

    def attach(self) -> None:
        """Start the server where none runs."""
        server = embedded.attach(self.data_dir)
        if self._server is not None:
            self._server.leave()
        self._server = server
        self._cluster = server.data_dir

    def configure(self, settings: Mapping[str, str]) -> None:
        """Settings of the server that outlive its restart; it is restarted for them."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        self.stop_server()
        self.attach()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("no server was started yet")
        return self._server.url()

    def kill_postmaster(self) -> int:
        """SIGKILL of the server's first process; the others end when they notice."""
        pid = embedded.status(self.data_dir).pid
        if pid is None:
            raise RuntimeError("no server runs")
        self._check_is_ours(pid)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_another(self, pid: int) -> None:
        """Until a server runs that is not this one; nobody but the services starts it."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            status = embedded.status(self.data_dir)
            if status.running and status.pid != pid:
                return
            time.sleep(0.01)
        raise RuntimeError(f"the services did not start PostgreSQL again within {READY_S:.0f} s")

    def signal_backend(self, pid: int, number: signal.Signals) -> None:
        """A signal to one of the server's processes."""
        status = Path(f"/proc/{pid}/stat").read_text()
        self._check_is_ours(int(status.rsplit(") ", 1)[1].split()[1]))
        os.kill(pid, number)

    def stop_server(self) -> None:
        embedded.stop(self.data_dir, force=True)

    def _check_is_ours(self, pid: int) -> None:
        """That a process is the server of this folder."""
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if Path(os.fsdecode(words[0])).name != "postgres" or os.fsencode(self._cluster) not in words:
            raise RuntimeError(f"process {pid} is not the server that was started here")


def free_port() -> int:
    """A port that nobody listens on, below those the kernel gives away: it must stay free while a service restarts."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311  no secret
        with socket.socket() as looked, contextlib.suppress(OSError):
            looked.bind(("127.0.0.1", port))
            return port
