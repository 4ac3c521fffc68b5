"""Who is asking: API keys with scopes and teams.

A key is looked up by the digest of its secret and believed for half a second, so that a revoked one is refused within
one, in every process, and a hot sender costs no query an ask.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from engine.core.errors import Forbidden, Unauthenticated
from engine.core.tokens import Scope, digest
from engine.store import keys
from engine.store.database import Database
from engine.store.keys import Key

_BELIEVED_S = 0.5
_REMEMBERED = 10_000


class Authenticator:
    """The keys that this process has seen lately."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[bytes, tuple[float, Key | None]] = {}

    async def key(self, request: Request) -> Key:
        """The good key of a request; raises `Unauthenticated`."""
        secret = _secret(request)
        hashed = digest(secret)
        until, key = self._seen.get(hashed, (0.0, None))
        now = time.monotonic()
        if now >= until:
            key = await self._look_up(hashed)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[hashed] = (now + _BELIEVED_S, key)
        if key is None:
            raise Unauthenticated("this key is unknown, expired or revoked")
        return key

    async def _look_up(self, hashed: bytes) -> Key | None:
        async with self._database.connection() as connection:
            found = await keys.find(connection, hashed)
        if found is None:
            return None
        key, now_us = found
        return key if key.is_good(now_us) else None


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
    if team is None:
        raise Forbidden(f"this key speaks for several teams ({', '.join(key.teams)}): name one in `team`")
    raise Forbidden(f"this key may not speak for the team {team!r}")


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
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return secret.strip()
    secret = request.headers.get("x-api-key", "")
    if not secret:
        raise Unauthenticated("no key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    return secret
