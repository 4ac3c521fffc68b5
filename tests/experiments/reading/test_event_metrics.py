"""Metrics on events: windows, first events, states and calendar days, one unit at a time."""

from datetime import UTC, datetime, timedelta

import pytest

from experiments.design import (
    Clock,
    Form,
    Outcome,
    Retention,
    Survival,
)
from experiments.moments import Counts
from experiments.risk import RiskTable
from tests.experiments.reading.long_tables import (
    AS,
    EMAIL,
    LATEST,
    LEFT,
    PUSH,
    START,
    TIME,
    aggregate,
    codes,
    event,
    exposure,
    whole,
)
from tests.experiments.table_oracle import DAY

LOST, CLOSED = "unsubscribed", "account_closed"


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        (timedelta(0), True),
        (timedelta(microseconds=-1), False),
        (14 * DAY - timedelta(microseconds=1), True),
        (14 * DAY, False),
    ],
)
def test_a_window_has_its_beginning_and_not_its_end(after: timedelta, counts: bool) -> None:
    found = aggregate((LEFT,), [exposure(1)], [event(1, "unsubscribed", after), LATEST])
    assert whole(found, "left") == Counts(int(counts), 1)


@pytest.mark.parametrize(("as_of", "count"), [(14 * DAY, 1), (14 * DAY - timedelta(microseconds=1), 0)])
def test_a_unit_is_mature_once_its_window_is_over(as_of: timedelta, count: int) -> None:
    found = aggregate((LEFT,), [exposure(1)], [event(1, "unsubscribed", DAY)], as_of=START + as_of)
    assert whole(found, "left") == Counts(count, count)
    assert found.immature == {"left": 1 - count}
    assert sum(found.units.values()) == 1


@pytest.mark.parametrize(
    ("events", "table_of"),
    [
        ([(LOST, 2.0)], RiskTable({2: 1})),
        ([(LOST, 2.0), (CLOSED, 2.0)], RiskTable({2: 1})),
        ([(LOST, 2.0), (CLOSED, 1.99)], RiskTable({}, {1: 1})),
        ([(LOST, 3.5), (LOST, 2.5), (CLOSED, 4.0)], RiskTable({2: 1})),
        ([(LOST, -1.0), (CLOSED, -2.0), ("resubscribed", -0.5)], RiskTable({}, {}, {10: 1})),
        ([(LOST, 9.99)], RiskTable({9: 1})),
        ([(LOST, 10.2)], RiskTable({}, {}, {10: 1})),
        ([(CLOSED, 10.2)], RiskTable({}, {}, {10: 1})),
    ],
)
def test_the_first_event_wins_and_an_unfinished_day_is_not_watched(
    events: list[tuple[str, float]], table_of: RiskTable
) -> None:
    rows = [event(1, kind, timedelta(days=after)) for kind, after in events]
    found = aggregate((TIME,), [exposure(1)], rows, as_of=START + timedelta(days=10.5))
    assert whole(found, "time") == table_of


@pytest.mark.parametrize(
    ("history", "is_gone"),
    [
        ([(LOST, -1.0)], True),
        ([(CLOSED, -300.0), (LOST, 2.0)], True),
        ([(LOST, -2.0), ("resubscribed", -1.0)], False),
        ([(LOST, -1.0), ("consented", -2.0)], True),
        ([(LOST, -1.0), ("consented", -1.0)], True),
        ([(LOST, -1.0), ("resubscribed", 1.0)], True),
        ([(LOST, 0.0)], False),
        ([("session", -1.0)], False),
    ],
)
def test_who_was_gone_before_entry_is_not_at_risk_and_is_counted(
    history: list[tuple[str, float]], is_gone: bool
) -> None:
    rows = [event(1, kind, timedelta(days=after)) for kind, after in history]
    found = aggregate((TIME,), [exposure(1), exposure(2)], [*rows, LATEST])
    assert whole(found, "time").count == 2 - is_gone
    assert codes(found).get("gone_before_entry", 0) == is_gone
    assert "no_outcome" not in codes(found)
    assert sum(found.units.values()) == 2


def test_what_happens_again_leaves_everybody_at_risk() -> None:
    again = Survival(name="again", event="purchase", horizon_days=21, **AS)
    found = aggregate((again,), [exposure(1)], [event(1, "purchase", -DAY), event(1, "purchase", 3 * DAY), LATEST])
    assert whole(found, "again") == RiskTable({3: 1})
    assert codes(found) == {"event_before_entry": 1}


@pytest.mark.parametrize(
    ("kind", "channel", "is_gone"),
    [(LOST, "push", True), (LOST, None, True), (LOST, "email", False), (CLOSED, "email", True)],
)
def test_who_left_another_channel_before_entry_is_at_risk_in_this_one(
    kind: str, channel: str | None, is_gone: bool
) -> None:
    in_push = Survival(name="in_push", event=LOST, competing=(CLOSED,), channel="push", horizon_days=21, **AS)
    found = aggregate((in_push,), [exposure(1)], [event(1, kind, -DAY, channel=channel), LATEST])
    assert whole(found, "in_push").count == 1 - is_gone


def test_push_turned_on_again_brings_back_who_had_turned_it_off() -> None:
    off = Survival(name="off", event="push_disabled", competing=("uninstalled",), horizon_days=21, **AS)
    turned_off = event(1, "push_disabled", -2 * DAY)
    assert whole(aggregate((off,), [exposure(1)], [turned_off, LATEST]), "off").count == 0
    for kind, count in (("push_enabled", 1), ("resubscribed", 0)):
        found = aggregate((off,), [exposure(1)], [turned_off, event(1, kind, -DAY), LATEST])
        assert whole(found, "off").count == count


def test_events_after_the_horizon_are_censored_at_it() -> None:
    found = aggregate((TIME,), [exposure(1)], [event(1, LOST, 21 * DAY), LATEST])
    assert whole(found, "time") == RiskTable({}, {}, {21: 1})


@pytest.mark.parametrize(
    ("history", "push", "email"),
    [
        ([], True, True),
        ([("unsubscribed", 1, None)], False, False),
        ([("unsubscribed", 1, "push")], False, True),
        ([("unsubscribed", -300, "push")], False, True),
        ([("unsubscribed", 1, "push"), ("resubscribed", 2, "push")], True, True),
        ([("unsubscribed", 1, "push"), ("resubscribed", 2, "email")], False, True),
        ([("unsubscribed", 2, "push"), ("consented", 1, "push")], False, True),
        ([("unsubscribed", 2, "push"), ("consented", 2, "push")], False, True),
        ([("unsubscribed", 10, "push")], True, True),
        ([("push_disabled", 1, None)], False, True),
        ([("push_disabled", 1, None), ("push_enabled", 2, None)], True, True),
        ([("push_disabled", 1, None), ("consented", 2, None)], False, True),
        ([("uninstalled", 1, None)], False, True),
        ([("account_closed", 1, None)], False, False),
        ([("hard_bounced", 1, "email")], True, False),
        ([("bounced", 1, "email")], True, True),
        ([("complained", 1, "email"), ("push_enabled", 2, None)], True, False),
    ],
)
def test_reachable_is_the_state_at_the_end_of_the_day(
    history: list[tuple[str, int, str | None]], push: bool, email: bool
) -> None:
    events = [event(1, kind, day * DAY, channel=channel) for kind, day, channel in history]
    found = aggregate((PUSH, EMAIL), [exposure(1)], [*events, LATEST])
    assert (whole(found, "push"), whole(found, "email")) == (Counts(int(push), 1), Counts(int(email), 1))


def test_bounces_that_do_not_say_whether_they_are_hard_are_counted() -> None:
    bounced = event(1, "bounced", DAY, channel="email")
    assert codes(aggregate((EMAIL,), [exposure(1)], [bounced, LATEST]))["bounce_of_unknown_kind"] == 1
    found = aggregate((EMAIL,), [exposure(1)], [dict(bounced, hard=True), dict(LATEST, hard=False)])
    assert "bounce_of_unknown_kind" not in codes(found)
    assert whole(found, "email") == Counts(0, 1)


def test_calendar_days_are_the_units_own_through_a_change_of_clocks() -> None:
    """Berlin went from 02:00 to 03:00 on 2026-03-29: the evening of the 28th is one date before the next noon."""
    entered = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # 23:30 in Berlin
    outcome = Outcome(event="session")
    next_day = Retention(
        name="next", outcome=outcome, form=Form.ON_DAY, from_day=1, until_day=2, clock=Clock.CALENDAR, **AS
    )
    for at, counts in (
        (datetime(2026, 3, 28, 22, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), False),
    ):
        rows = [exposure(1, entered=entered, time_zone="Europe/Berlin")]
        events = [event(1, "session", timedelta(0), entered=at), LATEST]
        assert whole(aggregate((next_day,), rows, events), "next") == Counts(int(counts), 1)
    events = [event(1, "session", timedelta(0), entered=datetime(2026, 3, 29, 1, tzinfo=UTC)), LATEST]
    found = aggregate((next_day,), [exposure(1, entered=entered)], events)
    assert whole(found, "next") == Counts(1, 1)
    assert codes(found)["unknown_time_zone"] == 1
