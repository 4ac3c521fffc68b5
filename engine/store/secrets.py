"""Secrets of the deployment: 256 random bits a purpose, made once and the same in every process.

Where the environment gives TAKT_SECRET, all are derived from that and none is kept here (`core.tokens.derived`).
"""

import secrets

from engine.store.database import Connection


async def secret(connection: Connection, name: str) -> bytes:
    """The secret of that name, made now if there is none. The transaction should be short."""
    await connection.execute("SET LOCAL lock_timeout = '10s'")  # another process may be making it, on a slow disk
    await connection.execute(
        "INSERT INTO secrets (name, value) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
        (name, secrets.token_bytes(32)),
    )
    row = await (await connection.execute("SELECT value FROM secrets WHERE name = %s", (name,))).fetchone()
    if row is None:
        raise LookupError(name)
    return bytes(row[0])


async def kept(connection: Connection, name: str) -> bytes | None:
    """The secret of that name, if one was made."""
    row = await (await connection.execute("SELECT value FROM secrets WHERE name = %s", (name,))).fetchone()
    return None if row is None else bytes(row[0])
