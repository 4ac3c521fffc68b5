"""Clocks and days for the oracle: the wall clock of zoneinfo, where days begin, calendar periods, quiet hours.

By brute force, and with nothing of the code under test that computes: where a day begins is found by trying.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

from engine.core.policy import CalendarWindow
from engine.core.quiet import QuietPeriod

DAY_US = 24 * 3600 * 1_000_000
QUARTER_US = 15 * 60 * 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def zoneinfo(name: str) -> ZoneInfo:
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def wall(zone: ZoneInfo, instant: int) -> datetime:
    return (EPOCH + timedelta(microseconds=instant)).astimezone(zone).replace(tzinfo=None)


@cache
def begins(zone: ZoneInfo, day: date) -> int:
    """The earliest instant whose local date is that date or a later one: every quarter of an hour is tried."""
    instant = (day.toordinal() - date(1970, 1, 1).toordinal() - 1) * DAY_US
    while wall(zone, instant).date() < day:
        instant += QUARTER_US
    return instant


def periods(window: CalendarWindow, zone: ZoneInfo, start: int, end: int) -> list[tuple[int, int]]:
    """The calendar periods that meet [start, end]."""
    first = wall(zone, start).date() - timedelta(days=35)
    last = wall(zone, end).date() + timedelta(days=35)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    opening = {
        "day": days,
        "week": [day for day in days if day.isoweekday() == 1],
        "month": [day for day in days if day.day == 1],
    }[window.calendar.value]
    edges = [begins(zone, day) for day in opening]
    return [(low, high) for low, high in pairwise(edges) if low <= end and start < high]


def is_quiet(zone: ZoneInfo, period: QuietPeriod, instant: int) -> bool:
    clock = wall(zone, instant)
    minute = clock.hour * 60 + clock.minute
    days = period.days or frozenset(range(1, 8))
    opens, closes = period.from_min, period.to_min
    today, yesterday = clock.isoweekday() in days, (clock - timedelta(days=1)).isoweekday() in days
    if opens < closes:
        return today and opens <= minute < closes
    return (today and minute >= opens) or (yesterday and minute < closes)
