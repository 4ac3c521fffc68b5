"""Quiet hours by the wall clock of an instant, and the first instant at which they are over.

Pure. Whether an instant is quiet depends on nothing but the weekday and the time that the zone's wall clock shows then:
a clock that goes back may make it quiet again, one that goes forward may open early. Instants as in `windows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from engine.core.windows import DAY_US, MINUTE_US, Zone

_DAY_MIN: Final = 1440
_WEEK_MIN: Final = 7 * _DAY_MIN
_WEEK_US: Final = 7 * DAY_US


@dataclass(frozen=True, slots=True)
class QuietPeriod:
    """From one minute of the local day up to, and without, another; past midnight when `to_min` is the smaller one.

    `days` are the ISO weekdays (1 Monday to 7 Sunday) of the local date on which the period begins; None is every day.
    """

    from_min: int
    to_min: int
    days: frozenset[int] | None

    def __post_init__(self) -> None:
        for name, minute in (("from_min", self.from_min), ("to_min", self.to_min)):
            if not 0 <= minute < _DAY_MIN:
                raise ValueError(f"found {name} {minute}, expected a minute of the day from 0 to 1439")
        if self.from_min == self.to_min:
            raise ValueError(f"found from_min and to_min both {self.to_min}, expected two different minutes of the day")
        if self.days is not None and not (self.days and self.days <= _EVERY_DAY):
            raise ValueError(f"found days {sorted(self.days)}, expected weekdays from 1 (Monday) to 7, at least one")


_EVERY_DAY: Final = frozenset(range(1, 8))


def is_quiet(periods: Sequence[QuietPeriod], zone: Zone, t_us: int) -> bool:
    """Whether the wall clock shows a time within any of the periods."""
    return bool(periods) and _is_quiet_at(periods, _week_us(zone.local_us(t_us)) // MINUTE_US)


def next_open_us(periods: Sequence[QuietPeriod], zone: Zone, t_us: int, until_us: int) -> int | None:
    """The earliest instant in [t, until] that is not quiet, or None. One step for each change of the zone's offset."""
    while t_us <= until_us:
        if not is_quiet(periods, zone, t_us):
            return t_us
        openings = _openings(tuple(periods))
        if not openings:
            return None  # the whole week is quiet
        # While the offset holds, the wall clock runs evenly and quiet ends at an opening; then the clock may jump.
        offset_us, steady_until_us = zone.stretch(t_us)
        week_us = _week_us(t_us + offset_us)
        wait_us = min((opening * MINUTE_US - week_us) % _WEEK_US for opening in openings)
        t_us = min(t_us + wait_us, steady_until_us)
    return None


@lru_cache(maxsize=1024)
def _openings(periods: tuple[QuietPeriod, ...]) -> tuple[int, ...]:
    """The minutes of the week at which one of the periods ends and none goes on."""
    ends = {day * _DAY_MIN + one.to_min for one in periods for day in range(7)}
    return tuple(end for end in sorted(ends) if not _is_quiet_at(periods, end))


def _week_us(local_us: int) -> int:
    """What a wall clock shows, as time since Monday 00:00."""
    return (local_us + 3 * DAY_US) % _WEEK_US  # 1970-01-01 was a Thursday


def _is_quiet_at(periods: Sequence[QuietPeriod], week_min: int) -> bool:
    weekday, minute = divmod(week_min, _DAY_MIN)
    weekday += 1
    for one in periods:
        if one.from_min < one.to_min:
            if one.from_min <= minute < one.to_min and (one.days is None or weekday in one.days):
                return True
        elif minute >= one.from_min:
            if one.days is None or weekday in one.days:
                return True
        elif minute < one.to_min and (one.days is None or (weekday - 1 or 7) in one.days):
            return True
    return False
