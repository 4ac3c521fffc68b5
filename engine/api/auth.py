"""Who is asking: API keys with scopes and teams.

A key is looked up by the digest of its secret and believed for half a second, so that a revoked one is refused within
one, in every process, and a hot sender costs no query an ask. Only digests are compared, in the database: what the
time of that comparison could tell is part of a SHA-256, from which nobody finds 256 random bits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Request

from engine.core.errors import Forbidden, Unauthenticated
from engine.core.tokens import Scope, digest
from engine.operations.patience import shared_in_time
from engine.store import keys
from engine.store.database import Database
from engine.store.keys import Key

_BELIEVED_S: Final = 0.5
_REMEMBERED: Final = 10_000
_LOOK_UPS_AT_ONCE: Final = 2  # a flood of wrong keys must leave connections to the lanes
_PATIENCE_S: Final = 3.0
_LONGEST: Final = 1_000
_BEARERS: Final = (b"authorization", b"x-api-key")


class Authenticator:
    """The keys that this process has seen lately. Good and unknown ones apart: no flood of these drives those out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._good: dict[bytes, tuple[float, Key]] = {}
        self._unknown: dict[bytes, float] = {}
        self._under_way: dict[bytes, asyncio.Task[Key | None]] = {}
        self._turns = asyncio.Semaphore(_LOOK_UPS_AT_ONCE)

    async def key(self, request: Request) -> Key:
        """The good key of a request; raises `Unauthenticated`."""
        hashed = digest(_secret(request))
        now = time.monotonic()
        until, key = self._good.get(hashed, (0.0, None))
        if now < until and key is not None:
            return key
        if now >= self._unknown.get(hashed, 0.0):
            key = await self._look_up_once(hashed)
            if key is not None:
                return key
        raise Unauthenticated("this key is unknown, expired or revoked")

    async def _look_up_once(self, hashed: bytes) -> Key | None:
        """One query, however many requests bear the same key; a waiter that goes away does not end it for the rest."""
        task = self._under_way.get(hashed)
        if task is None:
            task = self._under_way[hashed] = asyncio.create_task(self._look_up(hashed))
            task.add_done_callback(lambda _: self._under_way.pop(hashed, None))
        return await shared_in_time(task, _PATIENCE_S)

    async def _look_up(self, hashed: bytes) -> Key | None:
        async with self._turns:
            until = time.monotonic() + _BELIEVED_S  # before the query: what it finds may be as old as this
            async with self._database.connection() as connection:
                found = await keys.find(connection, hashed)
        key = found[0] if found is not None and found[0].is_good(found[1]) else None
        for memory in (self._good, self._unknown):
            memory.pop(hashed, None)
            if len(memory) >= _REMEMBERED:
                memory.clear()
        if key is None:
            self._unknown[hashed] = until
        else:
            self._good[hashed] = (until, key)
        return key


def allow(key: Key, scope: Scope) -> Key:
    """The key, if it has the scope; raises `Forbidden`."""
    if scope.value not in key.scopes and Scope.ADMIN.value not in key.scopes:
        raise Forbidden(f"this key ({key.name}) lacks the scope {scope.value!r}")
    return key


def team_of(key: Key, team: str | None) -> str | None:
    """The team that a request speaks for: the key's own, or the field's where the key may speak for it."""
    if key.teams is None or (team is not None and team in key.teams):
        return team
    if team is None and len(key.teams) == 1:
        return key.teams[0]
    if team is None and key.teams:
        raise Forbidden(f"this key speaks for several teams ({', '.join(key.teams)}): name one in `team`")
    raise Forbidden("this key speaks for no team" if team is None else f"this key may not speak for the team {team!r}")


def require(scope: Scope) -> Callable[[Request], Awaitable[Key]]:
    """A dependency: the request's key, which has this scope."""

    async def dependency(request: Request) -> Key:
        return allow(await request.app.state.authenticator.key(request), scope)

    return dependency


Decides = Annotated[Key, Depends(require(Scope.DECIDE))]
Ingests = Annotated[Key, Depends(require(Scope.INGEST))]
Reads = Annotated[Key, Depends(require(Scope.READ))]
Manages = Annotated[Key, Depends(require(Scope.MANAGE))]


def _secret(request: Request) -> str:
    """The one key that a request bears. With two, a gateway before us might have checked the other one."""
    given = [each for each in request.scope["headers"] if each[0] in _BEARERS]
    if not given:
        raise Unauthenticated("no key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    if len(given) > 1:
        raise Unauthenticated("more than one key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`, once")
    name, value = given[0]
    secret = value.decode("latin-1").strip()
    if name == b"authorization":
        scheme, _, secret = secret.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("another scheme than `Authorization: Bearer KEY`")
    if not 0 < len(secret := secret.strip()) <= _LONGEST:
        raise Unauthenticated("a key that is empty or too long")
    return secret
