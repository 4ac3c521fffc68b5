"""The job that counts for the pages: asks by the hour, whose contacts fill budgets, how full they are, what came of it.

Parts are independent: one that fails keeps no other from being done, and is told of in the end.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from engine.core.errors import TaktError, Unavailable
from engine.core.policy import DAY_US
from engine.operations import crowding, fullness, hours
from engine.store import hourly, outcomes
from engine.store.database import Database, clock_us

OUTCOME_DAYS: Final = 28
AGAIN_DAYS: Final = 3  # so many of the last days are counted anew: events come late
LEVELS, OUTCOMES = "levels", "outcomes"  # the names in `counted_until`

log = logging.getLogger("takt.traffic")


async def count(database: Database) -> str:
    """One round, and what it did, in words; raises `Unavailable` where a part failed."""
    said: list[str] = []
    failed: list[str] = []
    parts: dict[str, Callable[[Database], Awaitable[str]]] = {
        "hours": _hours,
        "crowding": _crowding,
        "levels": _levels,
        "outcomes": _outcomes,
    }
    for name, part in parts.items():
        try:
            said.append(await part(database))
        except Exception as error:
            log.exception("counting %s failed", name)
            failed.append(f"{name}: {error if isinstance(error, TaktError) else type(error).__name__}")
    told = "; ".join(filter(None, said))
    if failed:
        raise Unavailable(f"failed: {'; '.join(failed)}. Done: {told}")
    return told


async def catch_up(database: Database) -> None:
    """Everything there is to count, at once: for a company whose past was just made."""
    while (await hours.count(database)).is_behind:
        pass
    while (await crowding.look(database)).is_behind:
        pass
    await count(database)


async def _hours(database: Database) -> str:
    found = await hours.count(database)
    if found.until_us is None:
        return "somebody else is counting"
    return f"{found.asks} asks" + (", more to come" if found.is_behind else "")


async def _crowding(database: Database) -> str:
    found = await crowding.look(database)
    return f"{found.looked_at} refusals looked at" + (", more to come" if found.is_behind else "")


async def _levels(database: Database) -> str:
    if not await _is_due(database, LEVELS):
        return ""
    return f"{await fullness.measure(database)} customers"


async def _outcomes(database: Database) -> str:
    """The last days anew, each in a transaction of its own; the first time, four weeks."""
    if not await _is_due(database, OUTCOMES):
        return ""
    async with database.connection() as connection:
        today = await clock_us(connection) // DAY_US
        newest = await outcomes.newest_day(connection)
    days = OUTCOME_DAYS if newest is None else min(OUTCOME_DAYS, max(AGAIN_DAYS, today - newest + AGAIN_DAYS))
    for day in range(today - days + 1, today + 1):
        async with database.transaction() as connection:
            if not await hourly.alone(connection):
                return "somebody else is counting"
            await outcomes.count(connection, day, 1)
    return f"{days} days of outcomes"


async def _is_due(database: Database, name: str) -> bool:
    """Whether this hour's turn is still nobody's, and is the caller's now. What fails then waits for the next hour."""
    async with database.transaction() as connection:
        if not await hourly.alone(connection):
            return False
        now_us = await clock_us(connection)
        last_us = await hourly.until_us(connection, name)
        if last_us is not None and hours.hour_of(last_us) == hours.hour_of(now_us):
            return False
        await hourly.reach(connection, name, now_us)
        return True
