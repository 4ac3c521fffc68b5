"""A secret is one for all processes, however they start."""

import asyncio

import psycopg
import pytest

from engine.store import secrets
from engine.store.database import Database
from tests.api.caller import eventually

pytestmark = pytest.mark.anyio
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_who_starts_while_another_makes_the_secret_waits_for_it(database_url: str) -> None:
    """On a slow disk a commit takes longer than the patience that sessions have for accounts."""
    first, second = Database(database_url, size=1), Database(database_url, size=1, lock_wait_ms=10)
    await first.open()
    await second.open()
    try:
        async with first.transaction() as connection:
            made = await secrets.secret(connection, "links")
            other = asyncio.create_task(_made(second))
            with psycopg.connect(database_url, autocommit=True) as watching:
                await asyncio.to_thread(eventually, lambda: watching.execute(_WAITS).fetchone() == (1,))
            await asyncio.sleep(0.1)  # ten times that patience
            assert not other.done()
        assert await other == made
    finally:
        await first.close()
        await second.close()


async def _made(database: Database) -> bytes:
    async with database.transaction() as connection:
        return await secrets.secret(connection, "links")
