"""Who does harm: kills, freezes, starves and stops what the harness started, one fault at a time, from a seed.

Each fault is written down before it begins and after it was mended. `down` in the log is a time in which the service
could not know anything: an allow asked and answered within it came from nowhere. After each fault all services must say
that they are ready again, by themselves; how long senders waited is told from their own logs.
"""

import contextlib
import hashlib
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.chaos.caller import TIMEOUT_S
from tests.chaos.policy import SECOND_US
from tests.chaos.records import Log, host_us
from tests.chaos.service import CONNECTIONS, Deployment

STATEMENT_S = 30
STEP_US_MAX = 86_340 * SECOND_US  # a day, less a minute in which a sender's clock may still be ahead of it by a day


class Nemesis:
    """Does faults until it is told to stop."""

    def __init__(self, deployment: Deployment, log: Path, seed: str, faults: tuple[str, ...] | None = None) -> None:
        self._deployment = deployment
        self._log = Log(log)
        self._calls = Log(log.with_name("client-nemesis.jsonl"))
        self._rng = random.Random(seed)  # noqa: S311  no secret
        self._faults: dict[str, Callable[[], dict[str, Any] | None]] = {
            "kill service": self.kill_service,
            "kill postmaster": self.kill_postmaster,
            "kill backend": self.kill_backend,
            "terminate backend": self.terminate_backend,
            "freeze service": self.freeze_service,
            "freeze backend": self.freeze_backend,
            "exhaust connections": self.exhaust_connections,
            "stop database": self.stop_database,
            "hold lock": self.hold_lock,
            "kill everything": self.kill_everything,
            "revoke key": self.revoke_key,
            "stall network": self.stall_network,
            "reset network": self.reset_network,
            "cut commits": self.cut_commits,
            "step clock back": self.step_clock_back,
            "step clock ahead": self.step_clock_ahead,
        }
        self._chosen = tuple(self._faults) if faults is None else faults
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self, pause_s: tuple[float, float]) -> None:
        """All faults in a shuffled order, again and again."""
        order: list[str] = []
        while self._chosen and not self._stopping.wait(self._rng.uniform(*pause_s)):
            if not order:
                order = self._rng.sample(self._chosen, len(self._chosen))
            self.do(order.pop())

    def do(self, name: str) -> None:
        """One fault, from its beginning until all services are ready again."""
        began_us = host_us()
        self._write("begin", name)
        about = self._faults[name]() or {}
        mended_us = host_us()
        for index in range(len(self._deployment.ports)):
            self._deployment.wait_ready(index)
        times = {"t": began_us, "mended": mended_us, "ready": host_us()}
        self._log.write_now({"kind": "fault", "name": name, **times, **about})

    # The faults.

    def kill_service(self) -> dict[str, Any]:
        index = self._any_service()
        port = self._deployment.ports[index]
        self._write("killed", "service", pid=self._deployment.kill(index), port=port)
        self._deployment.restart(index)
        return {"port": port}

    def kill_everything(self) -> None:
        """All services and the database at once: nobody is left who remembers."""
        for index in range(len(self._deployment.ports)):
            self._deployment.kill(index)
        self._write("killed", "postmaster", pid=self._deployment.kill_postmaster())
        for index in range(len(self._deployment.ports)):
            self._deployment.restart(index)  # the first of them starts the server again
            self._deployment.wait_ready(index)

    def kill_postmaster(self) -> None:
        """Nobody mends it: the services start it again."""
        pid = self._deployment.kill_postmaster()
        self._write("killed", "postmaster", pid=pid)
        self._deployment.wait_for_another(pid)

    def kill_backend(self) -> None:
        """SIGKILL of one backend: PostgreSQL throws out everybody and recovers."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            pid = self._any_backend()
            if pid is not None:
                self._deployment.signal_backend(pid, signal.SIGKILL)
                self._write("killed", "backend", pid=pid)

    def terminate_backend(self) -> None:
        with self._connection() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                " WHERE application_name = 'takt' ORDER BY random() LIMIT 1) chosen"
            )

    def freeze_service(self) -> dict[str, Any]:
        """Longer than most leases; what it was about to answer is answered afterwards."""
        index = self._any_service()
        self._deployment.send_signal(index, signal.SIGSTOP)
        self._stopping.wait(self._rng.uniform(2, 5))
        self._deployment.send_signal(index, signal.SIGCONT)
        return {"port": self._deployment.ports[index]}

    def freeze_backend(self) -> None:
        """A session that neither answers nor ends, perhaps with locks in its hands."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            pid = self._any_backend()
            if pid is not None:
                self._deployment.signal_backend(pid, signal.SIGSTOP)
                try:
                    self._stopping.wait(self._rng.uniform(1, 3))
                finally:
                    self._deployment.signal_backend(pid, signal.SIGCONT)

    def exhaust_connections(self) -> None:
        """Take every connection that the server has to give; the services' own are thrown out for it."""
        taken: list[psycopg.Connection[Any]] = []
        try:
            taken.append(self._connected())
            deadline, quiet = time.monotonic() + 10, 0
            while time.monotonic() < deadline and quiet < 2:
                grew = self._take_all(taken)
                quiet = 0 if self._throw_out(taken[0]) or grew else quiet + 1
            if quiet:
                self._stay_down("exhausted", is_certain=lambda: not self._throw_out(taken[0]))
        finally:
            for connection in taken:
                connection.close()

    def stop_database(self) -> None:
        self._deployment.stop_server()
        try:
            self._stay_down("stopped")
        finally:
            self._deployment.attach()

    def hold_lock(self) -> None:
        """Somebody's session sits on the hottest customer's account."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            held = connection.execute(
                "SELECT customer_id FROM accounts ORDER BY seq DESC LIMIT 1 FOR UPDATE"
            ).fetchone()
            self._stay_down("locked", is_certain=lambda: held is not None, customer=held[0] if held else "")
            connection.execute("ROLLBACK")

    def revoke_key(self) -> None:
        """A key is made, used and revoked; a second later no process may take it any more."""
        key, name = "chaos_" + secrets.token_hex(32), f"key-{secrets.token_hex(4)}"
        digest = hashlib.sha256(key.encode()).digest()
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO keys (key_id, name, digest, scopes, created_us)"
                " VALUES (%s, %s, %s, ARRAY['decide'], takt_clock())",
                (name, name, digest),
            )
            for port in self._deployment.ports:
                self._use(key, name, port, "key")
            connection.execute("UPDATE keys SET revoked_us = takt_clock() WHERE key_id = %s", (name,))
        since = host_us() + SECOND_US
        self._log.write_now({"kind": "down", "why": "revoked", "from": since, "until": 2**62, "customer": name})
        self._stopping.wait(1.05)
        for port in self._deployment.ports:
            self._use(key, name, port, "revoked key")

    def stall_network(self) -> dict[str, Any]:
        """Nothing arrives, and nothing breaks."""
        proxy = self._deployment.proxy
        proxy.stall(flows=False)
        try:
            self._stopping.wait(self._rng.uniform(1, 4))
        finally:
            proxy.stall(flows=True)
        return {"port": self._deployment.ports[-1]}

    def reset_network(self) -> dict[str, Any]:
        self._deployment.proxy.reset()
        return {"port": self._deployment.ports[-1]}

    def cut_commits(self) -> dict[str, Any]:
        """Connections break as soon as COMMIT was sent on them: half of the commits happen, and nobody is told."""
        proxy = self._deployment.proxy
        before = proxy.cut_commits(cuts=True)
        try:
            self._stopping.wait(self._rng.uniform(1, 3))
        finally:
            cut = proxy.cut_commits(cuts=False) - before
        return {"port": self._deployment.ports[-1], "commits": cut}

    def step_clock_back(self) -> dict[str, Any]:
        """The database's clock falls behind by up to a day; when it is put right, it leaps."""
        return self._step_clock(-self._rng.randint(SECOND_US, STEP_US_MAX))

    def step_clock_ahead(self) -> dict[str, Any]:
        """The database's clock leaps ahead by up to a day, and steps back: of whom it met meanwhile it ran ahead."""
        return self._step_clock(self._rng.randint(SECOND_US, STEP_US_MAX))

    # What they need.

    def _step_clock(self, by_us: int) -> dict[str, Any]:
        """Of the two steps the one that leaps ahead is written down too: it ends leases and windows, and may."""
        from_us = host_us()
        self._set_clock(by_us)
        stepped_us = host_us()
        try:
            self._stopping.wait(self._rng.uniform(1, 3))
        finally:
            mending_us = host_us()
            self._set_clock(0)
            until_us = host_us()
        leap = (from_us, stepped_us) if by_us > 0 else (mending_us, until_us)
        self._log.write_now({"kind": "clock", "by": by_us, "from": from_us, "until": until_us, "leap": leap})
        return {"by": by_us}

    def _set_clock(self, offset_us: int) -> None:
        """By the one function that all of Takt's SQL asks for the time; databases for tests may set it."""
        with self._connection() as connection:
            connection.execute("UPDATE deployment SET kind = 'test', clock_offset_us = %s", (offset_us,))

    def _use(self, key: str, customer: str, port: int, op: str) -> None:
        """One peek under a key, written down as clients do."""
        body = {"customer_id": customer, "channel": "email", "topic": "news", "mode": "peek"}
        asked_us = host_us()
        try:
            response = httpx.post(
                f"http://127.0.0.1:{port}/v1/decisions", json=body, headers={"X-API-Key": key}, timeout=TIMEOUT_S
            )
        except httpx.HTTPError:
            return
        if response.status_code < 500:
            id_ = secrets.token_hex(8)
            answer = {"port": port, "asked": asked_us, "t": host_us(), "status": response.status_code}
            self._calls.write_now({"kind": "intent", "id": id_, "op": op, "t": asked_us, "body": body})
            self._calls.write_now({"kind": "answer", "id": id_, "body": response.json(), "definite": True, **answer})

    def _any_service(self) -> int:
        return self._rng.randrange(len(self._deployment.ports))

    def _any_backend(self) -> int | None:
        with self._connection() as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'takt' ORDER BY random() LIMIT 1"
            ).fetchone()
        return row[0] if row else None

    def _throw_out(self, connection: "psycopg.Connection[Any]") -> bool:
        """End the services' sessions; whether there were any."""
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'takt'"
        ).fetchall()
        return bool(ended)

    def _take_all(self, taken: "list[psycopg.Connection[Any]]") -> bool:
        """Take what is free; whether there was anything."""
        before = len(taken)
        with contextlib.suppress(psycopg.OperationalError):
            while len(taken) < 2 * CONNECTIONS:
                taken.append(psycopg.connect(self._deployment.url, autocommit=True))
        return len(taken) > before

    def _stay_down(self, why: str, is_certain: Callable[[], bool] = lambda: True, **about: Any) -> None:
        """Some seconds; written down as down only where it is certain afterwards that nobody slipped through."""
        from_us = host_us()
        self._stopping.wait(self._rng.uniform(2, 4))
        until_us = host_us()
        if is_certain():
            self._log.write_now({"kind": "down", "why": why, "from": from_us, "until": until_us, **about})

    @contextlib.contextmanager
    def _connection(self) -> "Generator[psycopg.Connection[Any]]":
        with self._connected() as connection:
            connection.execute(f"SET statement_timeout = '{STATEMENT_S}s'".encode())
            yield connection

    def _connected(self) -> "psycopg.Connection[Any]":
        """A connection, once the server has recovered from the fault before."""
        deadline = time.monotonic() + STATEMENT_S
        while True:
            try:
                return psycopg.connect(self._deployment.url, autocommit=True, connect_timeout=10)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _write(self, kind: str, name: str, **about: Any) -> None:
        self._log.write_now({"kind": kind, "name": name, "t": host_us(), **about})
