"""Faults on purpose, at the moment they hurt: commits that wait or fail, and connections cut while one is on its way.

Nothing here sleeps as a proof: `until` polls what the server itself says, under a generous ceiling.
"""

import asyncio
import struct
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

CEILING_S = 120.0
GATE = 4_711  # the advisory lock that a held commit waits for


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds that must come to hold."""
    give_up = asyncio.get_running_loop().time() + CEILING_S
    while not holds():
        assert asyncio.get_running_loop().time() < give_up, what
        await asyncio.sleep(0.005)


def run(url: str, *statements: str) -> None:
    """Fails where a lock does not come: whoever has it may wait for the loop that this keeps."""
    with psycopg.connect(url, autocommit=True, options=f"-c lock_timeout={int(CEILING_S)}s") as connection:
        for each in statements:
            connection.execute(each.encode())


def count(url: str, query: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def waiting(url: str, event: str) -> int:
    """How many backends of this database wait for a lock of this kind (`advisory`, `transactionid`, `tuple`)."""
    return count(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        f" AND wait_event_type = 'Lock' AND wait_event = '{event}'",
    )


def at_commit(url: str, body: str) -> None:
    """Have every commit that wrote an account do this first, in PL/pgSQL."""
    run(
        url,
        "CREATE SEQUENCE IF NOT EXISTS commits",
        "CREATE OR REPLACE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS"
        f" $$ BEGIN {body} RETURN NULL; END $$",
        "DROP TRIGGER IF EXISTS at_commit ON accounts",
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION at_commit()",
    )


def as_ever(url: str) -> None:
    run(url, "DROP TRIGGER at_commit ON accounts")


HOLD = f"PERFORM pg_advisory_xact_lock_shared({GATE});"


@asynccontextmanager
async def held_commits(url: str) -> AsyncGenerator[Callable[[], None]]:
    """Commits wait at a gate until the function given is called."""
    at_commit(url, HOLD)
    with psycopg.connect(url, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        try:
            yield gate.close
        finally:
            gate.close()
            as_ever(url)


class Cut(Enum):
    """When a connection is cut, once: before the server hears of a COMMIT, as it hears, or when it has done it."""

    BEFORE = 0
    ON_ITS_WAY = 1
    AFTER = 2


class Proxy:
    """Stands before the server and cuts one connection at the next COMMIT after it was armed."""

    def __init__(self, server: Path) -> None:
        self.cuts = 0
        self._server = server
        self._armed: Cut | None = None

    def arm(self, cut: Cut) -> None:
        self._armed = cut

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_server = await asyncio.open_unix_connection(str(self._server))
        link = _Link(self, to_server, writer)
        tasks = [asyncio.create_task(link.ask(reader)), asyncio.create_task(link.answer(upstream))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            to_server.transport.abort()

    def take(self) -> Cut | None:
        """What to do with the COMMIT that has just come."""
        cut, self._armed = self._armed, None
        self.cuts += cut is not None
        return cut


class _Link:
    """One connection. Ends (and is cut) when one of its two directions does."""

    def __init__(self, proxy: Proxy, to_server: asyncio.StreamWriter, to_client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._to_server = to_server
        self._to_client = to_client
        self._commits: set[bytes] = set()  # the prepared statements that commit
        self._cut: Cut | None = None

    async def ask(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            size = await reader.readexactly(4)  # the first message has no type
            self._to_server.write(size + await reader.readexactly(struct.unpack(">i", size)[0] - 4))
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack(">i", head[1:])[0] - 4)
                if self._is_commit(head[:1], body):
                    self._cut = self._proxy.take()
                if self._cut is Cut.BEFORE:
                    return
                self._to_server.write(head + body)
                if self._cut is Cut.ON_ITS_WAY and head[:1] == b"S":  # sent whole: the server goes on without us
                    await self._to_server.drain()
                    self._to_server.transport.close()
                    return

    async def answer(self, upstream: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await upstream.read(65_536):
                if self._cut is Cut.AFTER:
                    if b"COMMIT\0" in data:
                        return
                elif self._cut is None:
                    self._to_client.write(data)

    def _is_commit(self, kind: bytes, body: bytes) -> bool:
        """Whether a message executes COMMIT; of prepared statements the names are learnt on the way."""
        if kind == b"Q":
            return body.startswith(b"COMMIT")
        if kind == b"P":
            name, query = body.split(b"\0")[:2]
            if query == b"COMMIT":
                self._commits.add(name)
        return kind == b"B" and body.split(b"\0")[1] in self._commits


@asynccontextmanager
async def proxied(url: str) -> AsyncGenerator[tuple[str, Proxy]]:
    """The address of the same database by way of a proxy."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    name = f".s.PGSQL.{query['port'][0]}"
    proxy = Proxy(Path(query["host"][0]) / name)
    with tempfile.TemporaryDirectory(prefix="takt-proxy-") as folder:
        server = await asyncio.start_unix_server(proxy.serve, f"{folder}/{name}")
        try:
            yield parts._replace(query=f"host={quote(folder)}&port={query['port'][0]}").geturl(), proxy
        finally:
            server.close()
