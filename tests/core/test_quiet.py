"""Quiet hours against a slow definition written with zoneinfo's datetimes, in every zone, 2024 to 2028.

The reference shares the zone data with the code under test and nothing else: it reads the wall clock of each minute
and, for the next open instant, tries one minute after the other.
"""

import random
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.quiet import QuietPeriod, is_quiet, next_open_us
from engine.core.windows import UnknownTimeZone, zone

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
EPOCH, FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 2024, 2029))


def us(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def clock(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def quiet(start: str, end: str, *days: int) -> QuietPeriod:
    return QuietPeriod(clock(start), clock(end), frozenset(days) or None)


@cache
def info(name: str) -> zoneinfo.ZoneInfo:
    with files("tzdata.zoneinfo").joinpath(name).open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file, key=name)


def slow_is_quiet(periods: Sequence[QuietPeriod], wall: datetime) -> bool:
    """A period that begins on some date covers this wall clock: today's, or one that began yesterday."""
    for one in periods:
        for began in (wall.date(), wall.date() - DAY):
            midnight = datetime.combine(began, datetime.min.time())
            start = midnight + MINUTE * one.from_min
            end = midnight + MINUTE * one.to_min + (DAY if one.to_min < one.from_min else timedelta(0))
            if start <= wall < end and (one.days is None or began.isoweekday() in one.days):
                return True
    return False


def slow_walls(name: str, minute: int, count: int) -> Iterator[datetime]:
    """The wall clock at this minute since 1970 and at those after it."""
    for i in range(count):
        yield (EPOCH + MINUTE * (minute + i)).astimezone(info(name)).replace(tzinfo=None)


def slow_next_open_us(periods: Sequence[QuietPeriod], name: str, t_us: int, until_us: int) -> int | None:
    """All changes of these years lie on whole minutes in UTC, so an opening other than t itself does too."""
    minute = t_us // MINUTE_US
    for i, wall in enumerate(slow_walls(name, minute, until_us // MINUTE_US - minute + 1)):
        if not slow_is_quiet(periods, wall):
            return max(t_us, (minute + i) * MINUTE_US)
    return None


def accepted() -> list[str]:
    def known(name: str) -> bool:
        try:
            return bool(zone(name))
        except UnknownTimeZone:
            return False

    return [name for name in files("tzdata").joinpath("zones").read_text(encoding="ascii").split() if known(name)]


ACCEPTED = accepted()


@cache
def changes() -> list[tuple[str, int]]:
    """Zone and minute of the changes of offset, one for each (offset before, offset after, weekday and time before).

    Quiet hours see nothing but the wall clock, and changes alike in these three show it the same for days around.
    """
    found: dict[tuple[timedelta | None, timedelta | None, int, str], tuple[str, int]] = {}
    distinct = {files("tzdata.zoneinfo").joinpath(name).read_bytes(): name for name in ACCEPTED}
    days = [FIRST + DAY * i for i in range((LAST - FIRST).days + 1)]
    for name in distinct.values():
        tz = info(name)
        for before, after in pairwise(days):
            if before.astimezone(tz).utcoffset() != (new := after.astimezone(tz).utcoffset()):
                at = next(t for i in range(1441) if (t := before + MINUTE * i).astimezone(tz).utcoffset() == new)
                last = (at - MINUTE).astimezone(tz)
                key = (last.utcoffset(), new, last.isoweekday(), f"{last:%H:%M}")
                found.setdefault(key, (name, (at - EPOCH) // MINUTE))
    return sorted(found.values())


REACH = 26 * 60  # minutes on either side: a period of a whole day that ends or begins at the change is seen in full


@cache
def walls_around(name: str, change: int) -> list[datetime]:
    return list(slow_walls(name, change - REACH, 2 * REACH))


POLICIES = [
    (quiet("21:00", "08:00"),),
    (quiet("00:00", "01:00"),),
    (quiet("23:00", "00:00"), quiet("00:30", "02:15", 1, 5, 7)),
    (quiet("01:30", "02:30"), quiet("02:30", "03:00", 7), quiet("22:00", "01:15", 6, 7)),
    (quiet("20:00", "09:00"), quiet("09:00", "20:00", 6, 7)),
    (quiet("12:05", "12:00", 1, 3, 4, 5, 6, 7),),
]


@pytest.mark.parametrize("periods", POLICIES, ids=lambda periods: f"policy {POLICIES.index(periods)}")
def test_minutes_around_every_change_of_every_zone_are_those_of_the_slow_definition(
    periods: tuple[QuietPeriod, ...],
) -> None:
    assert len(changes()) > 40
    for name, change in changes():
        walls = walls_around(name, change)
        flags = [slow_is_quiet(periods, wall) for wall in walls]
        until_us = (change + REACH) * MINUTE_US - 1
        opens_us: int | None = None
        for i in reversed(range(2 * REACH)):
            minute_us = (change - REACH + i) * MINUTE_US
            opens_us = opens_us if flags[i] else minute_us
            if abs(i - REACH) > 120 and i % 5:
                continue  # farther off every fifth minute is enough: no period here begins or ends at any other
            for step_us in (0, 1, MINUTE_US - 1):
                t_us = minute_us + step_us
                assert is_quiet(periods, zone(name), t_us) is flags[i], (name, walls[i], step_us)
                expected = opens_us if flags[i] else t_us
                assert next_open_us(periods, zone(name), t_us, until_us) == expected, (name, walls[i], step_us)


@pytest.mark.parametrize("name", ACCEPTED)
def test_random_instants_of_every_zone_are_those_of_the_slow_definition(name: str) -> None:
    dice = random.Random(name)  # noqa: S311 - chooses instants, guards nothing
    for periods in dice.sample(POLICIES, 2):
        t_us = dice.randrange((FIRST - EPOCH) // timedelta(microseconds=1), (LAST - EPOCH) // timedelta(microseconds=1))
        wall = (EPOCH + timedelta(microseconds=t_us)).astimezone(info(name)).replace(tzinfo=None)
        assert is_quiet(periods, zone(name), t_us) is slow_is_quiet(periods, wall)
        until_us = t_us + DAY_US // 2
        assert next_open_us(periods, zone(name), t_us, until_us) == slow_next_open_us(periods, name, t_us, until_us)


minutes = st.integers(0, 1439) | st.sampled_from([0, 1, 60, 90, 120, 150, 180, 1380, 1439])
weekdays = st.none() | st.frozensets(st.integers(1, 7), min_size=1)
any_period = st.tuples(minutes, minutes, weekdays).filter(lambda p: p[0] != p[1]).map(lambda p: QuietPeriod(*p))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_periods_near_any_change_are_those_of_the_slow_definition(data: st.DataObject) -> None:
    name, change = data.draw(st.sampled_from(changes()))
    periods = data.draw(st.lists(any_period, max_size=5))
    t_us = change * MINUTE_US + data.draw(st.integers(-DAY_US, DAY_US) | st.integers(-3, 3))
    until_us = t_us + data.draw(st.integers(-1, 2 * DAY_US))
    wall = (EPOCH + timedelta(microseconds=t_us)).astimezone(info(name)).replace(tzinfo=None)
    assert is_quiet(periods, zone(name), t_us) is slow_is_quiet(periods, wall)
    expected = slow_next_open_us(periods, name, t_us, until_us) if t_us <= until_us else None
    assert next_open_us(periods, zone(name), t_us, until_us) == expected


@pytest.mark.parametrize(
    ("name", "periods", "at", "opens"),
    [
        pytest.param("UTC", [quiet("21:00", "08:00")], "2026-06-01T20:59:59.999999", None, id="open until the last us"),
        pytest.param("UTC", [quiet("21:00", "08:00")], "2026-06-01T21:00", "2026-06-02T08:00", id="from is quiet"),
        pytest.param("UTC", [quiet("21:00", "08:00")], "2026-06-02T07:59:59.999999", "2026-06-02T08:00", id="last us"),
        pytest.param("UTC", [quiet("21:00", "08:00")], "2026-06-02T08:00", None, id="to is open"),
        pytest.param("UTC", [quiet("21:00", "08:00", 5)], "2026-06-06T03:00", "2026-06-06T08:00", id="Friday's night"),
        pytest.param("UTC", [quiet("21:00", "08:00", 5)], "2026-06-05T03:00", None, id="Thursday's night is not"),
        pytest.param(
            "UTC", [quiet("21:00", "08:00", 7)], "2026-06-08T03:00", "2026-06-08T08:00", id="Sunday to Monday"
        ),
        pytest.param(
            "UTC",
            [quiet("21:00", "08:00"), quiet("08:00", "20:00", 7), quiet("20:00", "21:00", 7)],
            "2026-06-06T21:00",
            "2026-06-08T08:00",
            id="three periods without a gap",
        ),
        pytest.param("UTC", [quiet("21:00", "08:00")], "1969-12-31T23:00", "1970-01-01T08:00", id="over 1970"),
        pytest.param("Asia/Kathmandu", [quiet("21:00", "08:00")], "2026-06-01T15:15", "2026-06-02T02:15", id="5:45"),
        # Cairo has no 00:00 to 01:00 on that day: quiet ends, or never begins, at the jump.
        pytest.param(
            "Africa/Cairo", [quiet("23:00", "00:30")], "2026-04-23T21:30", "2026-04-23T22:00", id="to skipped"
        ),
        pytest.param("Africa/Cairo", [quiet("00:00", "01:00")], "2026-04-23T22:00", None, id="period skipped"),
        pytest.param(
            "Africa/Cairo", [quiet("00:30", "02:00")], "2026-04-23T22:00", "2026-04-23T23:00", id="from skipped"
        ),
        # Berlin has 02:00 to 03:00 twice (00:00Z and 01:00Z).
        pytest.param(
            "Europe/Berlin", [quiet("02:00", "02:30")], "2026-10-25T00:10", "2026-10-25T00:30", id="first time"
        ),
        pytest.param("Europe/Berlin", [quiet("02:00", "02:30")], "2026-10-25T01:00", "2026-10-25T01:30", id="again"),
        pytest.param(
            "Europe/Berlin", [quiet("02:30", "04:00")], "2026-10-25T00:45", "2026-10-25T01:00", id="opens early"
        ),
        # Havana goes back from 01:00 on Sunday to 00:00, Cairo from 00:00 on Friday to 23:00 on Thursday.
        pytest.param("America/Havana", [quiet("00:30", "02:00", 7)], "2025-11-02T04:40", "2025-11-02T05:00", id="fold"),
        pytest.param("Africa/Cairo", [quiet("22:00", "23:00", 4)], "2026-10-29T19:30", "2026-10-29T20:00", id="before"),
        pytest.param("Africa/Cairo", [quiet("23:00", "23:30", 4)], "2026-10-29T21:00", "2026-10-29T21:30", id="after"),
        # Apia went from Thursday to Saturday: Friday's night never began.
        pytest.param(
            "Pacific/Apia", [quiet("21:00", "08:00", 4)], "2011-12-30T08:00", "2011-12-30T10:00", id="Thursday"
        ),
        pytest.param("Pacific/Apia", [quiet("21:00", "08:00", 5)], "2011-12-30T10:00", "2011-12-30T18:00", id="Friday"),
    ],
)
def test_quiet_ends_where_the_wall_clock_says(
    name: str, periods: list[QuietPeriod], at: str, opens: str | None
) -> None:
    t_us, opens_us = us(at), us(opens or at)
    assert is_quiet(periods, zone(name), t_us) is (opens is not None)
    assert next_open_us(periods, zone(name), t_us, t_us + 8 * DAY_US) == opens_us
    assert next_open_us(periods, zone(name), t_us, opens_us) == opens_us
    assert next_open_us(periods, zone(name), t_us, opens_us - 1) is None


def test_periods_over_the_whole_week_never_open_and_say_so_at_once() -> None:
    whole = [quiet("00:00", "23:59"), quiet("23:59", "00:00")]
    t_us = us("2026-06-01T12:00")
    assert next_open_us(whole, zone("Europe/Berlin"), t_us, t_us + 400 * DAY_US) is None


def test_one_open_minute_a_week_is_found() -> None:
    periods = [quiet("12:01", "12:00"), quiet("12:00", "12:01", 1, 2, 3, 4, 5, 6)]
    assert next_open_us(periods, zone("UTC"), us("2026-06-01T12:00"), us("2027-06-01T12:00")) == us("2026-06-07T12:00")


def test_without_periods_it_is_never_quiet() -> None:
    t_us = us("2026-06-01T03:00")
    assert not is_quiet([], zone("UTC"), t_us)
    assert next_open_us([], zone("UTC"), t_us, t_us) == t_us
    assert next_open_us([], zone("UTC"), t_us, t_us - 1) is None


@pytest.mark.parametrize(
    ("from_min", "to_min", "days", "words"),
    [
        (480, 480, None, "both 480, expected two different"),
        (-1, 480, None, "from_min -1, expected a minute of the day"),
        (1440, 480, None, "from_min 1440"),
        (480, 1440, None, "to_min 1440"),
        (480, 540, frozenset({0}), r"days \[0\], expected weekdays"),
        (480, 540, frozenset({7, 8}), r"days \[7, 8\]"),
        (480, 540, frozenset[int](), "at least one"),
    ],
)
def test_a_period_that_means_nothing_is_refused(
    from_min: int, to_min: int, days: frozenset[int] | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        QuietPeriod(from_min, to_min, days)
