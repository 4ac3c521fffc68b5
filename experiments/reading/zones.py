"""Calendar days in the customers' own time zones, as an expression that any engine computes.

Engines convert times by zones in ways of their own. Here the offsets come from the tz data that Python reads, as cases
over the zones that occur and the changes of their clocks in the time that is looked at.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from experiments.reading.fields import DAY_US
from experiments.reading.relations import Expression, ibis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000
Steps = tuple[tuple[int | None, int], ...]  # until (microseconds, None: for good), offset in seconds


class Calendars:
    """The local days between two instants in the zones given. Offsets such as `+02:00` and unknown names are UTC."""

    def __init__(self, zones: Iterable[str], low_us: int, high_us: int) -> None:
        known = available_timezones()
        self.known = sorted({each for each in zones if each in known})
        by_steps: dict[Steps, list[str]] = defaultdict(list)
        for each in self.known:
            by_steps[_steps(ZoneInfo(each), low_us, high_us)].append(each)
        self._by_steps = dict(by_steps)

    def day(self, at_us: Expression, zone: Expression | None) -> Expression:
        """The number of the local date, from 1970-01-01 = 0."""
        branches: list[tuple[Expression, int]] = []
        for steps, zones in self._by_steps.items():
            if zone is None or steps == ((None, 0),):
                continue
            for until, offset in steps:
                among = zone.isin(zones)
                branches.append((among if until is None else among & (at_us < until), offset * _SECOND_US))
        offset = ibis.cases(*branches, else_=0).cast("int64") if branches else ibis.literal(0, "int64")
        return ((at_us + offset) // DAY_US).cast("int64")

    def is_known(self, zone: Expression) -> Expression:
        return zone.isin(self.known).fill_null(False) if self.known else ibis.literal(False)


def _steps(zone: ZoneInfo, low_us: int, high_us: int) -> Steps:
    """When the clocks of a zone change from `low_us` to `high_us`, to the second."""
    low, high = low_us // _SECOND_US, high_us // _SECOND_US + 1
    found: list[tuple[int | None, int]] = []
    at, offset = low, _offset(zone, low)
    while at < high:
        after = min(at + 86_400, high)
        if _offset(zone, after) != offset:
            changed = _change(zone, at, after)
            found.append((changed * _SECOND_US, offset))
            at, offset = changed, _offset(zone, changed)
        else:
            at = after
    return (*found, (None, offset))


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """The first second after `low` whose offset is not that of `low`."""
    before = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high


def _offset(zone: ZoneInfo, at_s: int) -> int:
    offset = (_EPOCH + timedelta(seconds=at_s)).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
