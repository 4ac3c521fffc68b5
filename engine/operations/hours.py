"""Counting the asks of the hours since the last count: exactly once each, whatever breaks off a round.

A batch is one transaction under a lock that whoever counts must have. The hour that is open is counted anew each time,
and for some minutes the one before it: what was stamped in it may have been committed after its end. A clock that is
ahead for an hour makes no gap: a round begins where the last one ended, or now, whichever is earlier. Hours that are
far back become days.
"""

from typing import Final, NamedTuple

from engine.core.policy import DAY_US, HOUR_US
from engine.store import hourly, pruning
from engine.store.database import Connection, Database, clock_us

FIRST_DAYS: Final = 84  # how far the first count goes back: what the page can show
ASKS_A_BATCH: Final = 500_000
ASKS_A_ROUND: Final = 5_000_000
BATCHES_A_ROUND: Final = 200
MARGIN_US: Final = 600_000_000  # after its end an hour is counted anew for so long; no transaction of an ask takes it
HOURLY_DAYS: Final = 9  # further back there are days
_SPAN_MOST: Final = 24


class Round(NamedTuple):
    """What a round did: asks counted, and until when; None where somebody else was at it."""

    asks: int
    until_us: int | None
    is_behind: bool


async def count(database: Database) -> Round:
    """Count what came since the last round, in batches of hours that grow while they hold little."""
    from_us: int | None = None
    asks, span = 0, 1
    for _ in range(BATCHES_A_ROUND):
        async with database.transaction() as connection:
            if not await hourly.alone(connection):
                return Round(asks, None, is_behind=False)
            now_us = await clock_us(connection)
            if from_us is None:
                from_us = await _begin_us(connection, now_us)
            to_us = min(from_us + span * HOUR_US, hour_of(now_us) + HOUR_US)
            found = await hourly.count(connection, from_us, to_us)
            until_us = min(to_us, now_us)
            await hourly.reach(connection, hourly.ASKS, until_us)
        asks, from_us = asks + found, to_us
        span = min(span * 2, _SPAN_MOST) if 2 * found <= ASKS_A_BATCH else max(span // 2, 1)
        if to_us > now_us:
            await _fold(database, now_us)
            return Round(asks, until_us, is_behind=False)
        if asks >= ASKS_A_ROUND:
            return Round(asks, until_us, is_behind=True)
    return Round(asks, from_us, is_behind=True)


def hour_of(instant_us: int) -> int:
    """The beginning of the hour that an instant lies in."""
    return instant_us // HOUR_US * HOUR_US


async def _begin_us(connection: Connection, now_us: int) -> int:
    """Where a round begins: a little before the last one ended. The first of all, where refusals begin to be kept."""
    until_us = await hourly.until_us(connection, hourly.ASKS)
    if until_us is not None:
        folded_us = await hourly.until_us(connection, hourly.FOLDED) or 0
        return max(hour_of(min(until_us, now_us) - MARGIN_US), folded_us)
    return hour_of(max(now_us - FIRST_DAYS * DAY_US, await pruning.whole_since_us(connection)))


async def _fold(database: Database, now_us: int) -> None:
    """Make days of the hours that are far back, and were looked at for whose contacts filled budgets."""
    for _ in range(BATCHES_A_ROUND):
        async with database.transaction() as connection:
            crowding_us = await hourly.until_us(connection, hourly.CROWDING)
            if crowding_us is None or not await hourly.alone(connection):
                return
            end_us = min(now_us - HOURLY_DAYS * DAY_US, crowding_us) // DAY_US * DAY_US
            day_us = await hourly.until_us(connection, hourly.FOLDED) or end_us - FIRST_DAYS * DAY_US
            if day_us >= end_us:
                return
            await hourly.fold(connection, day_us)
            await hourly.reach(connection, hourly.FOLDED, day_us + DAY_US)
