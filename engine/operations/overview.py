"""What the first page says of now: how much was asked, what customers make of it, and whether everything runs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.core.breaker import judge
from engine.core.policy import DAY_US, Channel
from engine.operations import jobs
from engine.operations.jobs import Status
from engine.operations.volumes import is_late
from engine.store import hourly, hourly_reading, outcomes, volumes
from engine.store.database import Database, clock_us
from engine.store.hourly_reading import Added, Stretch
from engine.store.outcomes import DayOutcomes, Rates
from engine.store.volumes import Tally

WEEKS_DAYS: Final = 28
USUAL_DAYS: Final = 7
_ALARMS: Final = 5
_ALARM_DAYS: Final = 7


class Overview(NamedTuple):
    """`usual`: what came in the seven days before yesterday, together. `until_us`: how far is counted. `status` has
    the alarms of the last week."""

    now_us: int
    until_us: int | None
    is_late: bool
    today: Tally
    yesterday: Tally
    usual: Tally
    rates: list[Rates]
    status: Status


async def overview(database: Database) -> Overview:
    """As of now; days are of UTC."""
    status = await jobs.status(database, alarms=_ALARMS)
    async with database.transaction() as connection:
        now_us = await clock_us(connection)
        until_us = await hourly.until_us(connection, hourly.ASKS)
        today = now_us // DAY_US
        stretch = Stretch((today - WEEKS_DAYS + 1) * DAY_US, (today + 1) * DAY_US)
        counted = await hourly_reading.added(connection, stretch)
        days = dict(volumes.by_day(counted, stretch))
        usual = Tally()
        for day in range(today - 1 - USUAL_DAYS, today - 1):
            usual = usual.plus(days.get(day, Tally()))
        told = await outcomes.since(connection, today - WEEKS_DAYS + 1, today)
    recent = [each for each in status.alarms if each.at_us > now_us - _ALARM_DAYS * DAY_US]
    return Overview(
        now_us,
        until_us,
        is_late(until_us, now_us),
        days.get(today, Tally()),
        days.get(today - 1, Tally()),
        usual,
        _rates(counted, told, today),
        status._replace(alarms=recent),
    )


def _rates(counted: Added, days: Sequence[DayOutcomes], today: int) -> list[Rates]:
    """Of every channel in which anything was sent or came of it in four weeks, and of none."""
    sent = {each.name: each.tally for each in volumes.named(counted.channels)}
    found: list[Rates] = []
    for channel in (*(each.value for each in Channel), None):  # who leaves everything names no channel
        own = [each for each in days if each.channel == channel]
        week = [each for each in own if each.day > today - USUAL_DAYS]
        tally = sent.get(channel, Tally())
        contacts = tally.allowed + tally.past
        judged = judge(sum(each.complained for each in week), sum(each.audible for each in week))
        if contacts or own:
            delivered, audible = sum(each.delivered for each in own), sum(each.audible for each in own)
            unsubscribed, complained = sum(each.unsubscribed for each in own), sum(each.complained for each in own)
            found.append(Rates(channel, contacts, delivered, audible, unsubscribed, complained, judged))
    return found
