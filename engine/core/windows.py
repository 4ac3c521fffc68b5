"""Calendar days, weeks and months of a customer's time zone, in whole microseconds.

Pure: no clock, and no I/O but the time-zone data. Instants (`..._us`) are microseconds since 1970-01-01 00:00 UTC, from
1900 to 2199; wall clocks are microseconds since 1970-01-01 00:00 local. A zone's transitions are found once, a year
or so at a time; after that everything is integer arithmetic. Days, weeks and months partition time: each instant lies
in exactly one of each, and none is empty. Rolling windows need no zone and are plain subtraction elsewhere.
"""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final, assert_never
from zoneinfo import ZoneInfo

import tzdata

MINUTE_US: Final = 60_000_000
DAY_US: Final = 86_400_000_000


class Calendar(StrEnum):
    DAY = "day"
    WEEK = "week"  # begins on Monday
    MONTH = "month"


class UnknownTimeZone(ValueError):
    """Raised by `zone` when a name is not that of an IANA zone; offsets and abbreviations of offsets are not."""


def period(calendar: Calendar, zone: "Zone", t_us: int) -> tuple[int, int]:
    """The day, week or month of the zone which contains the instant, as [start, end) in UTC microseconds.

    A date begins at the earliest instant whose local date is that date or a later one. So a day without midnight begins
    at its transition, a date which a zone skips (Apia, 2011-12-30) is never returned, and where clocks go back over
    midnight the repeated part of the old date belongs to the new one.
    """
    day = zone.local_us(t_us) // DAY_US
    while True:
        span = _span(calendar, zone, day)
        if t_us < span[1]:
            return span
        day += 1  # the clock went back over midnight: a later date has begun already


def zone(name: str) -> "Zone":
    """The zone of that name, always the same object; raises `UnknownTimeZone`."""
    return _zone(name)


def tzdata_version() -> str:
    """The IANA release that all zones here come from, such as "2026a"."""
    return tzdata.IANA_VERSION


class Zone:
    """The UTC offsets of one IANA zone over time. Made by `zone`; safe to share between threads."""

    __slots__ = ("_chunks", "_info", "name")

    def __init__(self, name: str, info: ZoneInfo) -> None:
        self.name: Final = name
        self._info: Final = info
        # Filled on demand and bounded by the years supported: 271 chunks at most. Two threads may both compute a chunk;
        # they compute the same one.
        self._chunks: Final[dict[int, _Chunk]] = {}

    def __repr__(self) -> str:
        return f"zone({self.name!r})"

    def offset_us(self, t_us: int) -> int:
        """Local time minus UTC at the instant."""
        # This is `stretch` once more, without its call and its tuple: it is asked several times for each decision.
        starts, offsets = self._chunks.get(t_us >> _CHUNK_BITS) or self._chunk(t_us)
        return offsets[bisect_right(starts, t_us) - 1]

    def local_us(self, t_us: int) -> int:
        """What the wall clock shows at the instant."""
        return t_us + self.offset_us(t_us)

    def stretch(self, t_us: int) -> tuple[int, int]:
        """The offset at the instant, and an instant after it until which (exclusive) that offset holds.

        It may hold for longer: a stretch also ends where the next chunk of transitions begins.
        """
        starts, offsets = self._chunks.get(t_us >> _CHUNK_BITS) or self._chunk(t_us)
        i = bisect_right(starts, t_us)
        return offsets[i - 1], starts[i]

    def first_us(self, wall_us: int) -> int:
        """The earliest instant at which the wall clock shows `wall_us` or more."""
        t_us = wall_us - DAY_US  # offsets are shorter than a day, so no earlier instant shows as much
        while True:
            offset_us, until_us = self.stretch(t_us)
            first_us = max(t_us, wall_us - offset_us)
            if first_us < until_us:
                return first_us
            t_us = until_us

    def _chunk(self, t_us: int) -> "_Chunk":
        index = t_us >> _CHUNK_BITS
        if not _FIRST_CHUNK <= index <= _LAST_CHUNK:
            raise ValueError(
                f"found the instant {t_us}, expected microseconds since 1970 within the years 1900 to 2199"
            )
        chunk = self._chunks[index] = _sample(self._info, index << _CHUNK_BITS, (index + 1) << _CHUNK_BITS)
        return chunk


# The starts of stretches of one offset, closed by the end of the chunk, and the offset of each: one fewer than starts.
_Chunk = tuple[tuple[int, ...], tuple[int, ...]]

_CHUNK_BITS: Final = 45  # 407 days: found by a shift; 0.3 ms to fill, which the first ask in a zone pays
_FIRST_CHUNK: Final = -2_208_988_800_000_000 >> _CHUNK_BITS  # 1900-01-01
_LAST_CHUNK: Final = 7_258_118_400_000_000 >> _CHUNK_BITS  # 2200-01-01, where the last day of 2199 ends

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_STRIDE_S: Final = 3 * 86_400

# Names in the data which stand for an offset and not for a place. The last three are links to places nowadays (EST is
# Panama), yet who writes them means the offset, and would be sent no summer time.
_OFFSETS: Final = frozenset(
    ("Factory", "GMT", "GMT+0", "GMT-0", "GMT0", "Greenwich", "UCT", "Universal", "Zulu", "EST", "HST", "MST")
)


@lru_cache(maxsize=8192)
def _span(calendar: Calendar, zone: Zone, day: int) -> tuple[int, int]:
    """The calendar period that holds a local date, given as days since 1970-01-01."""
    match calendar:
        case Calendar.DAY:
            first, after = day, day + 1
        case Calendar.WEEK:
            first = day - (day + 3) % 7  # 1970-01-01 was a Thursday
            after = first + 7
        case Calendar.MONTH:
            begin = date.fromordinal(day + _EPOCH_ORDINAL).replace(day=1)
            first = begin.toordinal() - _EPOCH_ORDINAL
            after = (begin + timedelta(days=31)).replace(day=1).toordinal() - _EPOCH_ORDINAL
        case _:
            assert_never(calendar)
    return zone.first_us(first * DAY_US), zone.first_us(after * DAY_US)


@lru_cache(maxsize=1024)  # more than there are names; a refused name raises, so it is not kept
def _zone(name: str) -> Zone:
    # Only names listed by the wheel are opened, so that no name can be a path out of it.
    if name not in _names():
        found = ascii(name if len(name) <= 64 else name[:64] + "...")
        raise UnknownTimeZone(f"found the time zone {found}, expected an IANA zone such as Europe/Berlin, or UTC")
    # From the `tzdata` wheel: `ZoneInfo(name)` would prefer the host's own database, and two hosts would put the same
    # contact into two days; its search path and its cache are global to the process, and not ours to change.
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return Zone(name, ZoneInfo.from_file(file, key=name))


@cache
def _names() -> frozenset[str]:
    listed = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return frozenset(name for name in listed if name == "Etc/UTC" or not (name.startswith("Etc/") or name in _OFFSETS))


def _sample(info: ZoneInfo, start_us: int, end_us: int) -> _Chunk:
    """The stretches of one offset in [start, end), by a look at every third day and a bisection where two differ.

    A look every three days misses nothing: no two transitions of any zone are nearer than 6.9 days (tzdata 2026f, from
    the beginning to 2199), and all are at whole seconds.
    """

    def offset_at(t_s: int) -> timedelta | None:
        return (_EPOCH + timedelta(seconds=t_s)).astimezone(info).utcoffset()

    starts = [start_us]
    offset = offset_at(start_us // 1_000_000)
    offsets = [offset]
    low_s = start_us // 1_000_000
    last_s = (end_us - 1) // 1_000_000
    while low_s < last_s:
        high_s = next_s = min(low_s + _STRIDE_S, last_s)
        if offset_at(high_s) != offset:
            while high_s - low_s > 1:
                middle_s = (low_s + high_s) // 2
                if offset_at(middle_s) == offset:
                    low_s = middle_s
                else:
                    high_s = middle_s
            offset = offset_at(high_s)
            starts.append(high_s * 1_000_000)
            offsets.append(offset)
        low_s = next_s
    return (*starts, end_us), tuple(_microseconds(offset) for offset in offsets)


def _microseconds(offset: timedelta | None) -> int:
    if offset is None:
        raise AssertionError("zoneinfo knows the offset of every instant")
    return offset // timedelta(microseconds=1)
