"""Letting go of what is old, with the totals kept: how long what is kept, and one round of it.

Contacts are not pruned: the journal keeps them all.
"""

from typing import Final

from engine.core.policy import DAY_US
from engine.settings import Settings
from engine.store import alarms, jobs
from engine.store import pruning as store
from engine.store.database import Database

REFUSALS_DAYS: Final = 30
UNRESOLVED_DAYS: Final = 90
HOURLY_SNAPSHOTS_DAYS: Final = 14
RUNS_DAYS: Final = 14
ALARMS_DAYS: Final = 400
_AT_ONCE: Final = 10_000


async def prune(database: Database, settings: Settings) -> str:
    """One round. Each part is a transaction of its own: a round that breaks off is taken up by the next."""
    now_us = await database.clock_us()
    before_us = now_us - REFUSALS_DAYS * DAY_US
    async with database.connection() as connection:
        weeks = await store.old_weeks(connection, before_us)
    dropped = [week for week in weeks if await store.drop_refusals(database, week)]
    async with database.transaction() as connection:
        # No further than by weeks: of a day in which one was let go of, all were.
        stray = await store.move_stray_refusals(connection, before_us // store.WEEK_US * store.WEEK_US)
    events = 0
    while True:
        async with database.transaction() as connection:
            moved = await store.move_events(connection, now_us - settings.keep_events_days * DAY_US, _AT_ONCE)
        events += moved
        if moved < _AT_ONCE:
            break
    async with database.transaction() as connection:
        unresolved = await store.move_unresolved(connection, now_us - UNRESOLVED_DAYS * DAY_US)
        snapshots = await store.thin_snapshots(connection, now_us - HOURLY_SNAPSHOTS_DAYS * DAY_US)
        await jobs.forget(connection, now_us - RUNS_DAYS * DAY_US)
        await alarms.forget(connection, now_us - ALARMS_DAYS * DAY_US)
    busy = f", {len(weeks) - len(dropped)} weeks were busy" if len(dropped) < len(weeks) else ""
    return (
        f"{len(dropped)} weeks and {stray} more refusals{busy}; {events} events, {unresolved} unresolved;"
        f" {snapshots} snapshots"
    )
