"""Links that sign a person in: made for a key, followed once, and over after a while."""

from typing import Final

from engine.store.database import Connection

_GOOD: Final = "keys.revoked_us IS NULL AND coalesce(keys.expires_us > takt_clock(), true)"
_ADD: Final = (
    "INSERT INTO sign_in_links (expires_us, digest, key_id)"
    f" SELECT takt_clock() + %s, %s, key_id FROM keys WHERE digest = %s AND {_GOOD}"
)
_TAKE: Final = (
    "WITH taken AS (DELETE FROM sign_in_links WHERE digest = %s RETURNING key_id, expires_us)"
    f" SELECT keys.digest FROM taken JOIN keys USING (key_id) WHERE taken.expires_us > takt_clock() AND {_GOOD}"
)


async def add(connection: Connection, digest: bytes, key_digest: bytes, lasts_us: int) -> bool:
    """Keep a link by the digest of its code; those that are over go. False where no such key is good."""
    await connection.execute("DELETE FROM sign_in_links WHERE expires_us <= takt_clock()")
    return (await connection.execute(_ADD.encode(), (lasts_us, digest, key_digest))).rowcount > 0


async def take(connection: Connection, digest: bytes) -> bytes | None:
    """The digest of the key that a link is for, which is of no use from now on; None where there is none, or the key is
    no longer good."""
    row = await (await connection.execute(_TAKE.encode(), (digest,))).fetchone()
    return bytes(row[0]) if row else None
