"""What was asked and what came of it, as pages show it: read from the counts alone, however large the journal is."""

from typing import Final

from engine.core.policy import DAY_US
from engine.store import hourly, hourly_reading, jobs
from engine.store import levels as level_store
from engine.store import volumes as told
from engine.store.database import Database, clock_us
from engine.store.hourly import Outcome
from engine.store.hourly_reading import Stretch
from engine.store.volumes import Volumes

PERIODS: Final = (7, 28, 84)
_LATE_US: Final = 30 * 60 * 1_000_000  # three rounds of the job


async def volumes(
    database: Database, days: int, channel: str | None = None, topic: str | None = None, team: str | None = None
) -> Volumes:
    """The last days, today among them; days are of UTC."""
    async with database.transaction() as connection:
        now_us = await clock_us(connection)
        from_us = (now_us // DAY_US - days + 1) * DAY_US
        stretch = Stretch(from_us, from_us + days * DAY_US, channel, topic, team)
        until_us = await hourly.until_us(connection, hourly.ASKS)
        found = await hourly_reading.added(connection, stretch)
        levels_us, levels = await level_store.newest(connection, now_us)
        topics, teams = await hourly_reading.names(connection, from_us)
        return Volumes(
            stretch=stretch,
            days_shown=days,
            now_us=now_us,
            until_us=until_us,
            is_late=is_late(until_us, now_us),
            has_leader=await jobs.leader(connection) is not None,
            total=told.tally(found.days),
            days=told.by_day(found, stretch),
            rules=told.ruled(found.rules, Outcome.DEFERRED, Outcome.DENIED),
            would=told.ruled(found.rules, Outcome.WOULD_DEFER, Outcome.WOULD_DENY),
            shadows=told.ruled(found.rules, Outcome.SHADOW),
            channels=told.named(found.channels),
            topics=told.named(found.topics),
            parties=told.parties(found.parties),
            crowding=sorted(await hourly_reading.crowding(connection, stretch), key=lambda each: -each.messages),
            crowding_since_us=await hourly_reading.crowding_since_us(connection, stretch),
            crowding_us=await hourly.until_us(connection, hourly.CROWDING),
            levels=levels,
            levels_us=levels_us,
            topic_names=topics,
            team_names=teams,
        )


def is_late(until_us: int | None, now_us: int) -> bool:
    """Whether what is counted until an instant should be counted further by now."""
    return until_us is None or now_us - until_us > _LATE_US
