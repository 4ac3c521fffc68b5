"""Letting go of what is old, with the totals kept: for how long each thing is kept, and one round of it.

What a readout that is still to come goes back to stays, however old: contacts and events wait for it. A round believes
the clock no farther than the rounds before it reached: a clock that is a year ahead for an hour has nothing deleted.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias

from engine.core.account import LINGER_US
from engine.core.errors import TaktError, Unavailable
from engine.core.policy import DAY_US
from engine.operations.prune_contacts import CONTACTS_DAYS, LetGo, prune_contacts
from engine.settings import Settings
from engine.store import alarms, hourly, jobs
from engine.store import pruning as store
from engine.store.database import Connection, Database, clock_us
from engine.store.pruning import WEEK_US, Need

REFUSALS_DAYS: Final = 30
UNRESOLVED_DAYS: Final = 90
HOURLY_SNAPSHOTS_DAYS: Final = 14
RUNS_DAYS: Final = 14
ALARMS_DAYS: Final = 400
HOURS_DAYS: Final = 400
EVENTS_AT_ONCE: Final = 10_000
STEP_DAYS: Final = 2  # from one round to the next, at most: rounds are daily, so those that were missed are made up for
_Part: TypeAlias = Callable[[], Awaitable[str]]

log = logging.getLogger("takt.prune")


async def prune(database: Database, settings: Settings) -> str:
    """One round. Each part is a transaction of its own: a round that breaks off is taken up by the next. A part that
    fails keeps no other from being done; `Unavailable` tells of it in the end. The first round of all only notes when
    it was.
    """
    async with database.transaction() as connection:
        clock = await clock_us(connection)
        now_us = await store.reckon(connection, clock, STEP_DAYS * DAY_US)
        need = None if now_us is None else await store.needed(connection, now_us)
    if now_us is None:
        return "the first round: it lets go of nothing"
    # Windows reach back by as much; what lingers beyond is for clocks that step back.
    oldest_us = now_us - CONTACTS_DAYS * DAY_US - LINGER_US, now_us - settings.keep_events_days * DAY_US
    contacts_us, events_us = (each if need is None else min(each, need.since_us) for each in oldest_us)
    said: list[str] = []
    failed: list[str] = []
    for name, part in _parts(database, now_us, contacts_us, events_us).items():
        try:
            said.append(await part())
        except Exception as error:
            log.exception("pruning %s failed", name)
            failed.append(f"{name}: {error if isinstance(error, TaktError) else type(error).__name__}")
    told = "; ".join([*filter(None, said), *_waits(need, max(oldest_us), clock, now_us)])
    if failed:
        raise Unavailable(f"failed: {'; '.join(failed)}. Done: {told}")
    return told


def _parts(database: Database, now_us: int, contacts_us: int, events_us: int) -> dict[str, _Part]:
    """What a round does, by what it is about; each says what it did, or nothing."""

    async def contacts() -> str:
        return _told(await prune_contacts(database, _weeks_us(contacts_us)))

    async def events() -> str:
        return f"{await _events(database, events_us)} events"

    def few(
        forget: Callable[[Connection, int], Awaitable[int]], days: int, what: str = ""
    ) -> Callable[[], Awaitable[str]]:
        async def part() -> str:
            async with database.transaction() as connection:
                gone = await forget(connection, now_us - days * DAY_US)
            return what and f"{gone} {what}"

        return part

    return {
        "refusals": lambda: _refusals(database, _weeks_us(now_us - REFUSALS_DAYS * DAY_US)),
        "contacts": contacts,
        "events": events,
        "unresolved events": few(store.move_unresolved, UNRESOLVED_DAYS, "unresolved"),
        "snapshots": few(store.thin_snapshots, HOURLY_SNAPSHOTS_DAYS, "snapshots"),
        "runs": few(jobs.forget, RUNS_DAYS),
        "alarms": few(alarms.forget, ALARMS_DAYS),
        "hourly counts": few(hourly.forget, HOURS_DAYS),
    }


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
    events = reached_us = 0
    while True:
        async with database.transaction() as connection:
            moved, reached_us = await store.move_events(connection, reached_us, before_us, EVENTS_AT_ONCE)
        events += moved
        if moved < EVENTS_AT_ONCE:
            return events


def _waits(need: Need | None, oldest_us: int, clock: int, now_us: int) -> list[str]:
    """What this round did not do yet, and why."""
    found: list[str] = []
    if need is not None and need.since_us < oldest_us:
        found.append(f"what is younger than {_day(need.since_us)} waits for {need.what}")
    if clock - now_us >= DAY_US:
        found.append(f"the clock says {_day(clock)}, this round went as if it were {_day(now_us)}")
    return found


def _told(done: LetGo) -> str:
    busy = f", {done.busy} busy" if done.busy else ""
    return f"{done.contacts} contacts and {done.resolutions} resolutions, {done.weeks} weeks dropped{busy}"


def _weeks_us(instant_us: int) -> int:
    """The beginning of the week that an instant lies in."""
    return instant_us // WEEK_US * WEEK_US


def _day(instant_us: int) -> str:
    return datetime.fromtimestamp(instant_us / 1e6, UTC).date().isoformat()
