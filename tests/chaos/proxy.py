"""A network between a service and PostgreSQL that stalls, resets, and cuts in the middle of a commit.

A cut commit may have reached the server or not: who sent it cannot know. The harness is told by what it broke, not by
what came of it.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import psycopg.conninfo

T = TypeVar("T")
_PREPARED = re.compile(rb"P.{4}([^\0]+)\0COMMIT\0", re.DOTALL)  # PostgreSQL's Parse: a name, and what it stands for
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset
_CHUNK = 65_536


class Proxy:
    """Listens on a port of its own as long as it is open; each connection goes on to the server's Unix socket."""

    def __init__(self, url: str, seed: str) -> None:
        about = psycopg.conninfo.conninfo_to_dict(url)
        self._socket = f"{about['host']}/.s.PGSQL.{about['port']}"
        self._database, self._role = about["dbname"], about["user"]
        self._rng = random.Random(seed)  # noqa: S311  no secret
        self._flows: asyncio.Event
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._handlers: set[asyncio.Task[Any] | None] = set()
        self._commit_names = {b"COMMIT\0"}
        self._cuts = False
        self._cut = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(self._listen())

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._role}@127.0.0.1:{port}/{self._database}?sslmode=disable"

    def close(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stall(self, *, flows: bool) -> None:
        """Hold back all that is on its way, in both directions, or let it go on."""
        self._do(self._let(flows=flows))

    def reset(self) -> None:
        """Break every connection that there is."""
        self._do(self._reset())

    def cut_commits(self, *, cuts: bool) -> int:
        """Break each connection on which a commit is sent, from now on or no more; returns how many so far."""
        self._cuts = cuts
        return self._cut

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _listen(self) -> asyncio.Server:
        self._flows = asyncio.Event()
        self._flows.set()
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._server.close()
        await self._reset()
        await asyncio.gather(*filter(None, self._handlers), return_exceptions=True)

    async def _let(self, *, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def _reset(self) -> None:
        for each in list(self._connections):
            _break(*each)

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_unix_connection(self._socket)
        except OSError:  # no server: the client sees a connection that ends
            _break(client)
            return
        both = client, server
        self._connections.add(both)
        handler = asyncio.current_task()
        self._handlers.add(handler)
        muted = asyncio.Event()
        back = asyncio.create_task(self._pass(answers, client, muted))
        forth = asyncio.create_task(self._requests(reader, server, muted))
        try:
            await asyncio.wait((back, forth), return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.cancel()
            forth.cancel()
            self._connections.discard(both)
            _break(*both)
            await asyncio.gather(back, forth, return_exceptions=True)
            self._handlers.discard(handler)

    async def _requests(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, muted: asyncio.Event) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._flows.wait()
            self._commit_names.update(_PREPARED.findall(chunk))
            is_commit = any(each in chunk for each in self._commit_names)
            if self._cuts and is_commit:
                self._cut += 1
                muted.set()  # nothing is heard of it any more
                if self._rng.random() < 0.5:
                    server.write(chunk)
                    await server.drain()
                    await asyncio.sleep(self._rng.uniform(0, 0.05))
                return
            server.write(chunk)
            await server.drain()

    async def _pass(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter, muted: asyncio.Event) -> None:
        while chunk := await answers.read(_CHUNK):
            await self._flows.wait()
            if not muted.is_set():
                client.write(chunk)
                await client.drain()


def _break(*writers: asyncio.StreamWriter) -> None:
    for each in writers:
        found: socket.socket | None = each.get_extra_info("socket")
        if found is not None and found.family == socket.AF_INET:
            with contextlib.suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        each.transport.abort()
