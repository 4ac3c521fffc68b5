"""Rounds of pruning on databases whose clock a test has moved."""

import psycopg

from engine.operations.prune import prune
from engine.settings import Settings
from engine.store.database import Database


async def a_round(database: Database) -> str:
    """A round of today, as it is where there was one on every day before."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO kept_since VALUES ('round', takt_clock())"
            " ON CONFLICT (name) DO UPDATE SET since_us = EXCLUDED.since_us"
        )
    return await prune(database, Settings())
