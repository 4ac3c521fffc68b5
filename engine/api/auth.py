"""Who is asking: the API key that a request bears, its scopes and its teams."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Request

from engine.core.errors import Forbidden, Unauthenticated
from engine.core.tokens import Scope, digest
from engine.operations.authenticate import allow
from engine.store.keys import Key

_LONGEST: Final = 1_000
_BEARERS: Final = (b"authorization", b"x-api-key")


async def bearer(request: Request) -> Key:
    """The good key of a request; raises `Unauthenticated`."""
    return await request.app.state.authenticator.key(digest(_secret(request)))


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
        return allow(await bearer(request), scope)

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
