"""Calendar periods against a slow definition written with zoneinfo's datetimes, in every zone, 2024 to 2028.

The reference shares the zone data with the code under test and nothing else: it walks through five years, remembers
the latest local date seen so far and notes the minute at which a later one first appears.
"""

import bisect
import io
import random
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise

import pytest
import tzdata
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.windows import Calendar, UnknownTimeZone, period, tzdata_version, zone

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
# A month more on either side: the periods that hold the first and the last instant reach out of the five years.
BEGIN, END = datetime(2023, 11, 20, tzinfo=UTC), datetime(2029, 2, 10, tzinfo=UTC)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2028, 12, 31, 23, 59, tzinfo=UTC)

LISTED = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
NOT_PLACES = {"EST", "MST", "HST", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "UCT", "Universal", "Zulu", "Factory"}
ACCEPTED = [
    name
    for name in LISTED
    if name not in NOT_PLACES and (not name.startswith("Etc/") or name.removeprefix("Etc/") == "UTC")
]


def us(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


@dataclass(frozen=True)
class Reference:
    changes: tuple[datetime, ...]  # the first instant of each new offset
    starts: list[tuple[int, date]]  # where each local date begins, in order; several may begin at once
    began: dict[date, int]

    def period(self, calendar: Calendar, t_us: int) -> tuple[int, int]:
        today = self.starts[bisect.bisect_right(self.starts, (t_us, date.max)) - 1][1]
        if calendar is Calendar.DAY:
            first, after = today, today + DAY
        elif calendar is Calendar.WEEK:
            first = today - DAY * (today.isoweekday() - 1)
            after = first + 7 * DAY
        else:
            first = date(today.year, today.month, 1)
            after = date(today.year + today.month // 12, today.month % 12 + 1, 1)
        return self.began[first], self.began[after]


ALIKE: dict[tuple[timedelta | datetime, ...], Reference] = {}


@cache
def reference(info: zoneinfo.ZoneInfo) -> Reference:
    """Zones with the same offsets at the same times in these years share one: there are 71 among 552 names."""
    changes: list[datetime] = []
    key: list[timedelta | datetime] = [offset(info, BEGIN)]
    for before, after in pairwise(BEGIN + DAY * i for i in range((END - BEGIN).days + 1)):
        if (new := offset(info, after)) != key[-1]:
            minutes = [before + MINUTE * i for i in range(1, 1441)]
            changes.append(minutes[bisect.bisect_left(minutes, True, key=lambda at: offset(info, at) == new)])
            key += [changes[-1], new]
    if tuple(key) not in ALIKE:
        starts = list(starts_of_dates(info, changes))
        ALIKE[tuple(key)] = Reference(tuple(changes), starts, {day: at for at, day in starts})
    return ALIKE[tuple(key)]


def starts_of_dates(info: zoneinfo.ZoneInfo, changes: list[datetime]) -> Iterator[tuple[int, date]]:
    before, latest = BEGIN, wall(info, BEGIN).date()
    while before < END:
        if any(before < change <= before + DAY for change in changes):
            steps = [before + MINUTE * i for i in range(1, 1441)]
        else:  # the wall clock runs evenly, so the date changes once: look at its minute only
            clock = wall(info, before)
            midnight = before + (datetime.combine(clock + DAY, time.min) - clock)
            steps = [midnight - MINUTE, midnight]
        for at in steps:
            while wall(info, at).date() > latest:
                latest += DAY
                yield us(at), latest
        before += DAY


@cache
def info_of(name: str) -> zoneinfo.ZoneInfo:
    return info_of_data(files("tzdata.zoneinfo").joinpath(name).read_bytes())


@cache  # names for the same place have the same data
def info_of_data(data: bytes) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo.from_file(io.BytesIO(data))


def wall(info: zoneinfo.ZoneInfo, instant: datetime) -> datetime:
    return instant.astimezone(info).replace(tzinfo=None)


def offset(info: zoneinfo.ZoneInfo, instant: datetime) -> timedelta:
    found = instant.astimezone(info).utcoffset()
    assert found is not None
    assert found % MINUTE == timedelta(0), "the reference walks by the minute"
    return found


def test_every_zone_of_the_wheel_is_accepted_unless_it_is_an_offset() -> None:
    def accepted(name: str) -> bool:
        try:
            return zone(name).name == name
        except UnknownTimeZone:
            return False

    assert [name for name in LISTED if accepted(name)] == ACCEPTED
    assert len(ACCEPTED) > 500


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_wall_clock_is_that_of_zoneinfo_around_each_change_and_at_random_instants(name: str) -> None:
    dice = random.Random(name)  # noqa: S311 - chooses instants, guards nothing
    instants = [FIRST + (LAST - FIRST) * dice.random() for _ in range(50)]
    for change in reference(info_of(name)).changes:
        instants += [change + step for step in (-HOUR, -MINUTE, -MICROSECOND, 0 * HOUR, MICROSECOND, MINUTE, HOUR)]
    for instant in instants:
        clock = wall(info_of(name), instant).replace(tzinfo=UTC)
        assert zone(name).local_us(us(instant)) == us(clock), instant
        assert zone(name).offset_us(us(instant)) == us(clock) - us(instant), instant


def test_every_day_of_every_zone_is_that_of_the_slow_definition() -> None:
    # One zone for each history of offsets; that every name has its own history is shown above, the edges below.
    alike = {id(reference(info_of(name))): name for name in ACCEPTED}
    assert len(alike) > 50
    for name in alike.values():
        for (start_us, day), (end_us, _) in pairwise(reference(info_of(name)).starts):
            if start_us < end_us and 2024 <= day.year <= 2028:
                for t_us in (start_us, (start_us + end_us) // 2, end_us - 1):
                    assert period(Calendar.DAY, zone(name), t_us) == (start_us, end_us), (name, day)


@pytest.mark.parametrize("name", ACCEPTED)
def test_periods_around_each_change_and_at_random_instants_are_those_of_the_slow_definition(name: str) -> None:
    dice = random.Random(name)  # noqa: S311 - chooses instants, guards nothing
    instants = [FIRST, LAST, *(FIRST + (LAST - FIRST) * dice.random() for _ in range(10))]
    for change in reference(info_of(name)).changes:
        steps = (-DAY, -HOUR, -MINUTE, -2 * MICROSECOND, -MICROSECOND, 0 * DAY, MICROSECOND, MINUTE, HOUR, DAY)
        instants += [change + step for step in steps if FIRST <= change <= LAST]
    for instant in instants:
        for calendar in Calendar:
            expected = reference(info_of(name)).period(calendar, us(instant))
            assert period(calendar, zone(name), us(instant)) == expected, (calendar, instant)


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(ACCEPTED), st.sampled_from(Calendar), st.integers(us(FIRST), us(LAST)))
def test_any_instant_lies_in_the_period_of_the_slow_definition(name: str, calendar: Calendar, t_us: int) -> None:
    assert period(calendar, zone(name), t_us) == reference(info_of(name)).period(calendar, t_us)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(ACCEPTED),
    st.sampled_from(Calendar),
    st.integers(us(datetime(1900, 2, 2, tzinfo=UTC)), us(datetime(2199, 11, 30, tzinfo=UTC))),
)
def test_periods_partition_time_in_three_centuries(name: str, calendar: Calendar, t_us: int) -> None:
    start, end = period(calendar, zone(name), t_us)
    assert start <= t_us < end
    assert period(calendar, zone(name), start) == (start, end)
    assert period(calendar, zone(name), end - 1) == (start, end)
    assert period(calendar, zone(name), end)[0] == end
    assert period(calendar, zone(name), start - 1)[1] == start


@pytest.mark.parametrize(
    ("name", "start", "hours"),
    [
        pytest.param("Africa/Cairo", "2026-04-23T22:00", 23, id="Cairo 2026-04-24 has no midnight"),
        pytest.param("Asia/Beirut", "2026-03-28T22:00", 23, id="Beirut 2026-03-29 has no midnight"),
        pytest.param("America/Havana", "2026-03-08T05:00", 23, id="Havana 2026-03-08 has no midnight"),
        pytest.param("America/Santiago", "2026-09-06T04:00", 23, id="Santiago 2026-09-06 has no midnight"),
        pytest.param("America/Havana", "2025-11-02T04:00", 25, id="Havana 2025-11-02 goes back to its own midnight"),
        pytest.param("Africa/Cairo", "2026-10-28T21:00", 25, id="Cairo 2026-10-29 lives its last hour twice"),
        pytest.param("Europe/Berlin", "2026-03-28T23:00", 23, id="Berlin in spring"),
        pytest.param("Europe/Berlin", "2026-10-24T22:00", 25, id="Berlin in autumn"),
        pytest.param("Australia/Lord_Howe", "2026-10-03T13:30", 23.5, id="Lord Howe in spring"),
        pytest.param("Australia/Lord_Howe", "2026-04-04T13:00", 24.5, id="Lord Howe in autumn"),
        pytest.param("Asia/Kathmandu", "2026-06-14T18:15", 24, id="Kathmandu, 5:45 ahead"),
        pytest.param("Europe/Berlin", "2028-02-28T23:00", 24, id="a leap day"),
        pytest.param("America/New_York", "1969-12-31T05:00", 24, id="before 1970"),
        pytest.param("Pacific/Apia", "2011-12-29T10:00", 24, id="Apia 2011-12-29, the last before the date line"),
        pytest.param("Pacific/Apia", "2011-12-30T10:00", 24, id="Apia 2011-12-31: the 30th has length zero"),
        # At 00:01 the clock goes back to 23:01: the 29th has begun, so it has that hour too.
        pytest.param("America/St_Johns", "2006-10-29T02:30", 25, id="St John's 2006-10-29 repeats the eve"),
        # Where the 30th ends, the clock goes back by 23 hours.
        pytest.param("Pacific/Kwajalein", "1969-09-29T13:00", 47, id="Kwajalein 1969-09-30 comes twice"),
    ],
)
def test_a_day_begins_and_ends_where_the_definition_says(name: str, start: str, hours: float) -> None:
    start_us = us(datetime.fromisoformat(start).replace(tzinfo=UTC))
    end_us = start_us + HOUR * hours // MICROSECOND
    for t_us in (start_us, start_us + 1, (start_us + end_us) // 2, end_us - 1):
        assert period(Calendar.DAY, zone(name), t_us) == (start_us, end_us)
    assert period(Calendar.DAY, zone(name), start_us - 1)[1] == start_us
    assert period(Calendar.DAY, zone(name), end_us)[0] == end_us


@pytest.mark.parametrize(
    ("calendar", "name", "at", "start", "end"),
    [
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "UTC", "2027-02-28T23:59", "2027-02-01T00:00", "2027-03-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "Asia/Kathmandu", "2026-01-31T18:15", "2026-01-31T18:15", "2026-02-28T18:15"),
        ("month", "Europe/Berlin", "2026-03-31T21:59", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("month", "Pacific/Apia", "2011-12-30T10:00", "2011-12-01T10:00", "2011-12-31T10:00"),
        ("week", "UTC", "2026-01-04T23:59", "2025-12-29T00:00", "2026-01-05T00:00"),
        ("week", "UTC", "1969-12-31T23:59", "1969-12-29T00:00", "1970-01-05T00:00"),
        ("week", "Europe/Berlin", "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        ("week", "Pacific/Apia", "2011-12-31T00:00", "2011-12-26T10:00", "2012-01-01T10:00"),
    ],
)
def test_weeks_begin_on_monday_and_months_on_the_first(calendar: str, name: str, at: str, start: str, end: str) -> None:
    t_us, start_us, end_us = (us(datetime.fromisoformat(text).replace(tzinfo=UTC)) for text in (at, start, end))
    assert period(Calendar(calendar), zone(name), t_us) == (start_us, end_us)


@pytest.mark.parametrize(
    "name",
    [
        *("+02:00", "-0500", "UTC+2", "UTC+02:00", "GMT+2", "Etc/GMT+2", "Etc/GMT-14", "Etc/GMT", "Etc/UCT", "GMT"),
        *("EST", "MST", "HST", "CEST", "PST", "Z", "Zulu", "EST5", "CET-1CEST"),
        *("", " ", "Europe/Berlin ", "europe/berlin", "Europe/Berlin\n", "Europe", "Europe/", "Atlantis/Capital"),
        *("../zones", "Europe/../Europe/Berlin", "/etc/localtime", "./UTC", "Europe//Berlin", "..", "/"),
        *("Europe/Berlin\0", "\0", "\ud800", "Europe/\udcff", "x" * 100_000),
        *("localtime", "posixrules", "right/Europe/Berlin", "posix/Europe/Berlin", "Factory", "zone.tab", "tzdata.zi"),
        *("__init__.py", "leapseconds"),
    ],
    ids=lambda name: ascii(name[:24]),
)
def test_what_is_not_a_zone_is_refused_in_words(name: str) -> None:
    with pytest.raises(UnknownTimeZone, match="expected an IANA zone such as Europe/Berlin") as refused:
        zone(name)
    assert isinstance(refused.value, ValueError)
    assert ascii(name[:64])[:-1] in str(refused.value)
    assert len(str(refused.value).encode()) < 1000


def test_a_zone_comes_from_the_wheel_even_where_the_host_has_another(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path_factory.mktemp("zoneinfo")
    (host / "Asia").mkdir()
    (host / "Asia" / "Tokyo").write_bytes(files("tzdata.zoneinfo").joinpath("UTC").read_bytes())
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(host),))
    zoneinfo.reset_tzpath(to=[str(host)])
    try:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        assert noon.astimezone(zoneinfo.ZoneInfo.no_cache("Asia/Tokyo")).hour == 12
        assert zone("Asia/Tokyo").offset_us(us(noon)) == us(datetime(1970, 1, 1, 9, tzinfo=UTC))
    finally:
        zoneinfo.reset_tzpath()


def test_a_zone_is_made_once_and_prints_its_name() -> None:
    assert zone("Asia/Kathmandu") is zone("Asia/Kathmandu")
    assert repr(zone("Asia/Kathmandu")) == "zone('Asia/Kathmandu')"


def test_the_version_is_that_of_the_data() -> None:
    assert files("tzdata.zoneinfo").joinpath("tzdata.zi").read_text().splitlines()[0] == f"# version {tzdata_version()}"
    assert tzdata_version() == tzdata.IANA_VERSION


@pytest.mark.parametrize("year", [1066, 1899, 2202, 9999])
def test_instants_out_of_the_supported_years_are_refused(year: int) -> None:
    with pytest.raises(ValueError, match="1900 to 2199"):
        period(Calendar.DAY, zone("UTC"), us(datetime(year, 6, 1, tzinfo=UTC)))
