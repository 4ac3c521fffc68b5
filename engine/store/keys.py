"""API keys: who holds one, by the digest of its secret. The secret itself is shown once and kept nowhere."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.store.database import Connection

_COLUMNS = "key_id, name, scopes, teams, created_us, expires_us, revoked_us"


class Key(NamedTuple):
    """`teams` None: the key may speak for any team."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    teams: tuple[str, ...] | None
    created_us: int
    expires_us: int | None
    revoked_us: int | None

    def is_good(self, now_us: int) -> bool:
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


async def add(
    connection: Connection,
    key_id: str,
    name: str,
    digest: bytes,
    scopes: Sequence[str],
    teams: Sequence[str] | None,
    expires_us: int | None,
) -> None:
    """Keep a key; one of the same digest is kept as it is."""
    await connection.execute(
        "INSERT INTO keys (key_id, name, digest, scopes, teams, created_us, expires_us)"
        " VALUES (%s, %s, %s, %s, %s, takt_clock(), %s) ON CONFLICT (digest) DO NOTHING",
        (key_id, name, digest, list(scopes), list(teams) if teams is not None else None, expires_us),
    )


async def find(connection: Connection, digest: bytes) -> tuple[Key, int] | None:
    """The key of a digest and the time now, or None."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS}, takt_clock() FROM keys WHERE digest = %s".encode(), (digest,)
    )
    row = await cursor.fetchone()
    return (_key(row), row[-1]) if row else None


async def all_keys(connection: Connection) -> list[Key]:
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created_us, key_id".encode())
    return [_key(row) for row in await cursor.fetchall()]


async def revoke(connection: Connection, key_id: str) -> bool:
    """End a key; whether there was one."""
    cursor = await connection.execute(
        "UPDATE keys SET revoked_us = coalesce(revoked_us, takt_clock()) WHERE key_id = %s", (key_id,)
    )
    return cursor.rowcount > 0


def _key(row: Sequence[object]) -> Key:
    key_id, name, scopes, teams, created_us, expires_us, revoked_us = row[:7]
    return Key(key_id, name, tuple(scopes), None if teams is None else tuple(teams), created_us, expires_us, revoked_us)  # type: ignore[arg-type]
