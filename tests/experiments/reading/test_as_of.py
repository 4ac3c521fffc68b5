"""Up to when a table is read: strictly before `as_of`, in both forms, and what it is when nobody says."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from experiments import tables
from experiments.aggregates import Aggregates
from experiments.design import Clock, Mean, Outcome, Rate, Role
from experiments.moments import Counts, Moments
from experiments.risk import RiskTable
from tests.experiments.reading import long_tables as long
from tests.experiments.reading import wide_tables as wide
from tests.experiments.reading.long_tables import LEFT, SENT, SPEND, START, TIME, codes, event, exposure, whole
from tests.experiments.table_oracle import DAY

US = timedelta(microseconds=1)


def test_an_event_at_the_instant_is_not_before_it() -> None:
    events = [event(1, "sent", 5 * DAY, channel="push"), event(1, "sent", 5 * DAY - US, channel="push")]
    found = long.aggregate((SENT,), [exposure(1)], events, as_of=START + 5 * DAY)
    assert whole(found, "sent") == Moments(1, 1.0, 0.0, 0.0, 1)
    assert codes(found) == {"event_after_as_of": 1}


def test_a_unit_that_enters_at_the_instant_is_not_in_it() -> None:
    found = long.aggregate((SENT,), [exposure(1), exposure(2, entered=START + DAY)], [long.LATEST], as_of=START + DAY)
    assert sum(found.units.values()) == 1
    assert codes(found)["entered_after_as_of"] == 1
    entered = pd.to_datetime(["2026-01-01", "2026-01-02"])
    in_wide = tables.aggregate(wide.plan(), wide.frame(visit=[1, 1], entered_at=entered), as_of=date(2026, 1, 2))
    assert sum(in_wide.units.values()) == 1


def test_by_default_the_last_event_and_the_last_entry_are_in() -> None:
    last = START + 20 * DAY
    for exposures, events in (
        ([exposure(1)], [event(1, "sent", 20 * DAY, channel="push")]),
        ([exposure(1), exposure(2, entered=last)], [event(1, "sent", DAY, channel="push")]),
    ):
        found = long.aggregate((SENT,), exposures, events)
        assert found.as_of == last.date()
        assert sum(found.units.values()) == len(exposures)
        assert whole(found, "sent").total == 1.0
        assert found.exclusions == ()


@pytest.mark.parametrize(
    ("metrics", "days"),
    [((LEFT,), 21), ((TIME,), 21), ((SPEND, TIME), 21), ((long.retention(Clock.CALENDAR),), 21)],
)
def test_a_typo_in_a_year_moves_no_instant_beyond_the_plan(metrics: tuple[Any, ...], days: int) -> None:
    typo = event(1, "unsubscribed", timedelta(0), entered=datetime(2099, 4, 1, tzinfo=UTC))
    found = long.aggregate(metrics, [exposure(1)], [event(1, "session", DAY), typo])
    assert found.as_of == date(2026, 5, 1) + days * DAY
    if metrics != (long.retention(Clock.CALENDAR),):  # which looks at no such event
        assert codes(found)["event_after_as_of"] == 1


def test_the_last_to_enter_is_watched_for_the_longest_window_by_default() -> None:
    slow = Rate(
        name="slow",
        outcome=Outcome(event="unsubscribed", within_days=21),
        role=Role.PRIMARY,
        direction=LEFT.direction,
    )
    entered = datetime(2026, 5, 1, tzinfo=UTC) - US
    events = [event(1, "unsubscribed", 21 * DAY - US, entered=entered), event(9, "session", 400 * DAY)]
    found = long.aggregate((slow,), [exposure(1, entered=entered)], events)
    assert whole(found, "slow") == Counts(1, 1)


DURATIONS: dict[str, Any] = {
    "variant": ["a"] * 6,
    "days": [2.0, 4.9, 5.0, 9.0, 3.0, 40.0],
    "gone": [True, True, True, True, False, False],
    "closed": [False] * 6,
    "erased": [False] * 6,
}


def at_entry(rows: int) -> Any:
    return pd.to_datetime(["2026-01-01"] * rows)


def test_durations_of_the_wide_form_are_cut_at_an_early_instant() -> None:
    rows = wide.frame(**DURATIONS, entered_at=at_entry(6))
    left = wide.plan(wide.LEFT)
    full = tables.aggregate(left, rows, as_of=date(2026, 2, 28))
    assert whole(full, "left") == RiskTable({2: 1, 4: 1, 5: 1, 9: 1}, {}, {3: 1, 30: 1})
    early = tables.aggregate(left, rows, as_of=datetime(2026, 1, 6, 12, tzinfo=UTC))
    assert whole(early, "left") == RiskTable({2: 1, 4: 1}, {}, {3: 1, 5: 3})
    assert whole(tables.aggregate(left, rows, as_of=datetime(2026, 1, 1, 1, tzinfo=UTC)), "left").censored == {0: 6}


def uncut(found: Aggregates) -> list[str]:
    return [each.sentence for each in found.exclusions if each.code == "outcome_not_cut"]


def test_an_early_instant_says_which_outcomes_it_could_not_cut() -> None:
    windowed = Mean(
        name="spend", outcome=Outcome(column="spend", within_days=3), role=Role.SECONDARY, direction=LEFT.direction
    )
    rows = wide.frame(**DURATIONS, spend=[1.0] * 6)
    given = wide.plan(windowed, wide.LEFT)
    timed = tables.aggregate(given, rows.assign(entered_at=at_entry(6)), as_of=date(2026, 1, 20))
    sentence = "6 units whose outcome cannot be cut at the instant of this analysis, taken as it stands in metrics "
    assert uncut(timed) == [sentence + "'visit'"]
    assert uncut(tables.aggregate(given, rows, as_of=date(2026, 1, 20))) == [sentence + "'visit', 'spend', 'left'"]
    assert uncut(tables.aggregate(given, rows, as_of=date(2026, 3, 1))) == []
    assert uncut(tables.aggregate(given, rows)) == []
