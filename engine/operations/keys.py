"""Making, listing and ending API keys."""

from collections.abc import Iterable
from typing import NamedTuple

from engine.core.errors import NotFound
from engine.core.tokens import Scope, digest, new_key, new_key_id
from engine.store import keys as store
from engine.store.database import Database, clock_us
from engine.store.keys import Key

_SECOND_US = 1_000_000


class NewKey(NamedTuple):
    """A key's secret is here, and nowhere else ever again."""

    key_id: str
    secret: str


async def create(
    database: Database,
    name: str,
    scopes: Iterable[Scope],
    teams: Iterable[str] | None = None,
    expires_in_s: int | None = None,
    secret: str | None = None,
) -> NewKey:
    """Make a key. With `secret`, that one is let in (again, harmlessly): how a container is given its first."""
    made = NewKey(new_key_id(), secret or new_key())
    async with database.transaction() as connection:
        expires_us = None
        if expires_in_s is not None:
            expires_us = await clock_us(connection) + expires_in_s * _SECOND_US
        chosen = None if teams is None else list(teams)
        await store.add(connection, made.key_id, name, digest(made.secret), list(scopes), chosen, expires_us)
    return made


async def listed(database: Database) -> list[Key]:
    async with database.connection() as connection:
        return await store.all_keys(connection)


async def revoke(database: Database, key_id: str) -> None:
    """End a key: it is refused within a second, in every process."""
    async with database.transaction() as connection:
        if not await store.revoke(connection, key_id):
            raise NotFound(f"there is no key {key_id!r}: `takt keys list` shows them")
