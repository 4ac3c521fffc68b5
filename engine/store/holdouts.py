"""Holdouts that end: because their time is over, or by hand. Who ends one holds the activation lock."""

from engine.store.database import Connection


async def end(connection: Connection, now_us: int) -> list[str]:
    """Note of those whose time is over that they have ended, once each; their names."""
    cursor = await connection.execute(
        "UPDATE holdouts SET ended_us = until_us WHERE ended_us IS NULL AND until_us <= %s RETURNING name", (now_us,)
    )
    return sorted(row[0] for row in await cursor.fetchall())


async def end_one(connection: Connection, name: str, now_us: int) -> None:
    """Note that one has ended before its time."""
    await connection.execute("UPDATE holdouts SET ended_us = %s WHERE name = %s", (now_us, name))
