"""Whose key this is: looked up by the digest of its secret, and believed for half a second.

So a revoked key is refused within one, in every process, and a hot sender costs no query an ask. Only digests are
compared, in the database: what the time of that comparison could tell is part of a SHA-256, from which nobody finds 256
random bits.
"""

import asyncio
import time
from typing import Final

from engine.core.errors import Forbidden, Unauthenticated
from engine.core.tokens import Scope
from engine.operations.patience import shared_in_time
from engine.store import keys
from engine.store.database import Database
from engine.store.keys import Key

_BELIEVED_S: Final = 0.5
_REMEMBERED: Final = 10_000
_LOOK_UPS_AT_ONCE: Final = 2  # a flood of wrong keys must leave connections to the lanes
_PATIENCE_S: Final = 3.0


class Authenticator:
    """The keys that this process has seen lately. Good and unknown ones apart: no flood of these drives those out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._good: dict[bytes, tuple[float, Key]] = {}
        self._unknown: dict[bytes, float] = {}
        self._under_way: dict[bytes, asyncio.Task[Key | None]] = {}
        self._turns = asyncio.Semaphore(_LOOK_UPS_AT_ONCE)

    async def key(self, digest: bytes) -> Key:
        """The good key whose secret has this digest; raises `Unauthenticated`."""
        now = time.monotonic()
        until, key = self._good.get(digest, (0.0, None))
        if now < until and key is not None:
            return key
        if now >= self._unknown.get(digest, 0.0):
            key = await self._look_up_once(digest)
            if key is not None:
                return key
        raise Unauthenticated("this key is unknown, expired or revoked")

    async def _look_up_once(self, digest: bytes) -> Key | None:
        """One query, however many requests bear the same key; a waiter that goes away does not end it for the rest."""
        task = self._under_way.get(digest)
        if task is None:
            task = self._under_way[digest] = asyncio.create_task(self._look_up(digest))
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        return await shared_in_time(task, _PATIENCE_S)

    async def _look_up(self, digest: bytes) -> Key | None:
        async with self._turns:
            until = time.monotonic() + _BELIEVED_S  # before the query: what it finds may be as old as this
            async with self._database.connection() as connection:
                found = await keys.find(connection, digest)
        key = found[0] if found is not None and found[0].is_good(found[1]) else None
        for memory in (self._good, self._unknown):
            memory.pop(digest, None)
            if len(memory) >= _REMEMBERED:
                memory.clear()
        if key is None:
            self._unknown[digest] = until
        else:
            self._good[digest] = (until, key)
        return key


def may(key: Key, scope: Scope) -> bool:
    """Whether the key has the scope; one that may do everything has all."""
    return scope.value in key.scopes or Scope.ADMIN.value in key.scopes


def allow(key: Key, scope: Scope) -> Key:
    """The key, if it has the scope; raises `Forbidden`."""
    if not may(key, scope):
        raise Forbidden(f"this key ({key.name}) lacks the scope {scope.value!r}")
    return key
