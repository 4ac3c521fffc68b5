"""Letting go of what is old, with the totals kept: how long what is kept, and one round of it.

What a readout that is still to come goes back to stays, however old: contacts and events wait for it.
"""

from datetime import UTC, datetime
from typing import Final

from engine.core.account import LINGER_US
from engine.core.policy import DAY_US
from engine.operations.prune_contacts import CONTACTS_DAYS, LetGo, prune_contacts
from engine.settings import Settings
from engine.store import alarms, jobs
from engine.store import pruning as store
from engine.store.database import Database, clock_us
from engine.store.pruning import WEEK_US

REFUSALS_DAYS: Final = 30
UNRESOLVED_DAYS: Final = 90
HOURLY_SNAPSHOTS_DAYS: Final = 14
RUNS_DAYS: Final = 14
ALARMS_DAYS: Final = 400
EVENTS_AT_ONCE: Final = 10_000


async def prune(database: Database, settings: Settings) -> str:
    """One round. Each part is a transaction of its own: a round that breaks off is taken up by the next."""
    async with database.connection() as connection:
        now_us = await clock_us(connection)
        need = await store.needed(connection, now_us)
    # Windows reach back by as much; what lingers beyond is for clocks that step back.
    oldest_us = now_us - CONTACTS_DAYS * DAY_US - LINGER_US, now_us - settings.keep_events_days * DAY_US
    contacts_us, events_us = (each if need is None else min(each, need.since_us) for each in oldest_us)
    refused = await _refusals(database, _weeks_us(now_us - REFUSALS_DAYS * DAY_US))
    contacts = await prune_contacts(database, _weeks_us(contacts_us))
    events = await _events(database, events_us)
    async with database.transaction() as connection:
        unresolved = await store.move_unresolved(connection, now_us - UNRESOLVED_DAYS * DAY_US)
        snapshots = await store.thin_snapshots(connection, now_us - HOURLY_SNAPSHOTS_DAYS * DAY_US)
        await jobs.forget(connection, now_us - RUNS_DAYS * DAY_US)
        await alarms.forget(connection, now_us - ALARMS_DAYS * DAY_US)
    waiting = ""
    if need is not None and need.since_us < max(oldest_us):
        waiting = f"; what is younger than {_day(need.since_us)} waits for {need.what}"
    return f"{refused}; {_told(contacts)}; {events} events, {unresolved} unresolved; {snapshots} snapshots{waiting}"


async def _refusals(database: Database, before_us: int) -> str:
    async with database.connection() as connection:
        weeks = await store.old_weeks(connection, store.REFUSALS, before_us)
    dropped = [week for week in weeks if await store.drop_refusals(database, week)]
    async with database.transaction() as connection:
        # No further than by weeks: of a day in which one was let go of, all were.
        stray = await store.move_stray_refusals(connection, before_us)
    busy = f", {len(weeks) - len(dropped)} weeks were busy" if len(dropped) < len(weeks) else ""
    return f"{len(dropped)} weeks and {stray} more refusals{busy}"


async def _events(database: Database, before_us: int) -> int:
    async with database.connection() as connection:
        await store.keep_since(connection, store.EVENTS, before_us)
    events = reached_us = 0
    while True:
        async with database.transaction() as connection:
            moved, reached_us = await store.move_events(connection, reached_us, before_us, EVENTS_AT_ONCE)
        events += moved
        if moved < EVENTS_AT_ONCE:
            return events


def _told(done: LetGo) -> str:
    busy = f", {done.busy} busy" if done.busy else ""
    return f"{done.contacts} contacts and {done.resolutions} resolutions, {done.weeks} weeks dropped{busy}"


def _weeks_us(instant_us: int) -> int:
    """The beginning of the week that an instant lies in."""
    return instant_us // WEEK_US * WEEK_US


def _day(instant_us: int) -> str:
    return datetime.fromtimestamp(instant_us / 1e6, UTC).date().isoformat()
