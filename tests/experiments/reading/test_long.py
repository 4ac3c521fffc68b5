"""The long form: exposures and events with times, against an oracle that follows each unit in plain Python."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments import tables
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import (
    Clock,
    Columns,
    Direction,
    Experiment,
    Form,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
    Variant,
)
from experiments.errors import TableError
from experiments.moments import Counts, Moments, PairMoments
from experiments.risk import RiskTable
from tests.experiments.table_oracle import DAY, LongOracle, Row, moments

START = datetime(2026, 3, 1, tzinfo=UTC)
AS: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
LEFT = Rate(name="left", outcome=Outcome(event="unsubscribed", within_days=14), **{**AS, "role": Role.PRIMARY})
SPEND = Mean(name="spend", outcome=Outcome(event="purchase", value="value", within_days=14), cap=90, **AS)
SENT = Mean(name="sent", outcome=Outcome(event="sent", channel="push"), is_count=True, **AS)
TIME = Survival(name="time", event="unsubscribed", competing=("account_closed", "erased"), horizon_days=21, **AS)
PUSH, EMAIL = (Reachable(name=each, channel=each, day=9, **AS) for each in ("push", "email"))


def retention(clock: Clock) -> Retention:
    outcome = Outcome(event="session")
    form = Form.ON_OR_AFTER
    return Retention(name=f"stay_{clock}", outcome=outcome, form=form, from_day=3, until_day=9, clock=clock, **AS)


METRICS: tuple[Metric, ...] = (
    LEFT,
    SPEND,
    SENT,
    TIME,
    PUSH,
    EMAIL,
    retention(Clock.ROLLING),
    retention(Clock.CALENDAR),
    Ratio(
        name="per_message",
        numerator=Outcome(event="unsubscribed"),
        denominator=Outcome(event="sent"),
        **{**AS, "role": Role.DESCRIPTIVE},
    ),
    Value(
        name="net",
        revenue=Outcome(event="purchase", value="value", within_days=14),
        margin_share=0.4,
        contacts=Outcome(event="sent", within_days=14),
        cost_per_contact=0.1,
        lost_reach=Outcome(event="unsubscribed", within_days=14),
        **AS,
    ),
)


def plan(*metrics: Metric, **given: Any) -> Experiment:
    """Of these metrics, the first of which is the primary one."""
    if metrics and all(each.role is not Role.PRIMARY for each in metrics):
        metrics = (replace(metrics[0], role=Role.PRIMARY), *metrics[1:])
    return Experiment(
        **{
            "key": "long",
            "variants": (Variant("a", control=True, dose=1), Variant("b", dose=3)),
            "metrics": metrics or METRICS,
            "start": START.date(),
            "end": date(2026, 5, 1),
            "horizon_days": 21,
            **given,
        }
    )


def table(rows: list[Row]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def exposure(unit: Any, variant: str = "a", entered: datetime = START, **more: Any) -> Row:
    return {"customer_id": unit, "variant": variant, "entered_at": entered, **more}


def event(
    unit: Any, kind: str, after: timedelta, value: float | None = 0.0, entered: datetime = START, **more: Any
) -> Row:
    return {"customer_id": unit, "type": kind, "at": entered + after, "channel": None, "value": value, **more}


LATEST = event(-1, "nothing", 60 * DAY)
"""Of nobody who is analysed: with it all windows are over."""


def aggregate(metrics: tuple[Metric, ...], exposures: list[Row], events: list[Row], **given: Any) -> Aggregates:
    as_of = given.pop("as_of", None)
    return tables.aggregate(plan(*metrics, **given), table(exposures), table(events), as_of=as_of)


def whole(found: Aggregates, metric: str) -> Any:
    """Over all cells."""
    first, *others = found.outcomes[metric].values()
    total: Any = first
    for each in others:
        total = total + each
    return total


def codes(found: Aggregates) -> dict[str, int]:
    return {each.code: each.count for each in found.exclusions}


KINDS = {
    "sent": 0.3,
    "session": 0.25,
    "purchase": 0.1,
    "unsubscribed": 0.06,
    "resubscribed": 0.03,
    "consented": 0.02,
    "complained": 0.02,
    "hard_bounced": 0.01,
    "bounced": 0.03,
    "account_closed": 0.02,
    "erased": 0.01,
    "push_disabled": 0.05,
    "push_enabled": 0.03,
    "uninstalled": 0.02,
    "survey": 0.05,
}


def population(seed: int, units: int = 400, many: int = 6_000) -> tuple[list[Row], list[Row]]:
    """Customers over whom all sorts of things happen, near the edges of days too."""
    random = np.random.default_rng(seed)
    zones = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "UTC", "Mars", None]
    exposures = [
        exposure(
            unit,
            "ab"[int(random.integers(2))],
            START + timedelta(microseconds=int(random.integers(40 * 86_400_000_000))),
            time_zone=zones[int(random.integers(len(zones)))],
            country=["DE", "AT"][int(random.integers(2))],
        )
        for unit in range(units)
    ]
    events: list[Row] = []
    for place in range(many):
        unit = int(random.integers(units))
        entered = exposures[unit]["entered_at"]
        whole_days = timedelta(days=int(random.integers(-20, 30)))
        edge = timedelta(microseconds=int(random.choice([-1, 0, 1])))
        anywhere = timedelta(seconds=float(random.random()) * 86_400)
        kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
        row = event(unit, kind, whole_days + (edge if random.random() < 0.3 else anywhere), entered=entered)
        row["value"] = float(random.lognormal(3, 1))
        row["channel"] = [None, "push", "email"][int(random.integers(3))]
        row["suspect"] = bool(random.random() < 0.05)
        row["hard"] = bool(random.random() < 0.5)
        row["event_id"] = f"e{place}"
        events.append(row)
        if random.random() < 0.03:
            events.append(dict(row, at=row["at"] + timedelta(hours=5)))
    return exposures, events


def expected(oracle: LongOracle, metric: str, units: list[Any], suspects: bool = False) -> Any:
    """What the metric is over these units."""

    def total(unit: Any, kind: str, high: int | None, channel: str | None = None) -> list[Row]:
        return oracle.within(unit, kind, 0, high, channel=channel, suspects=suspects)

    ripe = [each for each in units if oracle.is_watched(each, 14)]
    match metric:
        case "left":
            return [bool(total(each, "unsubscribed", 14)) for each in ripe]
        case "spend":
            return [min(90.0, sum(row["value"] for row in total(each, "purchase", 14))) for each in ripe]
        case "sent":
            return [len(total(each, "sent", None, "push")) for each in units]
        case "push" | "email":
            return [oracle.is_reachable(each, metric, 9) for each in units if oracle.is_watched(each, 10)]
        case "stay_rolling":
            return [
                bool(oracle.within(each, "session", 3, 9, suspects=suspects))
                for each in units
                if oracle.is_watched(each, 9)
            ]
        case "stay_calendar":
            found = [oracle.is_retained(each, "session", 3, 9) for each in units]
            return [each for each in found if each is not None]
        case "per_message":
            return [(len(total(each, "unsubscribed", None)), len(total(each, "sent", None))) for each in units]
        case "net":
            return [
                (
                    0.4 * sum(row["value"] for row in total(each, "purchase", 14)) - 0.1 * len(total(each, "sent", 14)),
                    bool(total(each, "unsubscribed", 14)),
                )
                for each in ripe
            ]
        case _:
            raise AssertionError(metric)


def check(of: Aggregate, numbers: list[Any]) -> None:
    match of:
        case Counts():
            assert of == Counts(sum(numbers), len(numbers))
        case Moments():
            count, mean, m2, m3, nonzero = moments(numbers)
            assert (of.count, of.nonzero) == (count, nonzero)
            assert (of.mean, of.m2, of.m3) == pytest.approx((mean, m2, m3), rel=1e-9, abs=1e-7)
        case PairMoments():
            count, mean_x, m2_x, m3_x, _ = moments(each[0] for each in numbers)
            _, mean_y, m2_y, _, _ = moments(each[1] for each in numbers)
            c_xy = sum((x - mean_x) * (y - mean_y) for x, y in numbers)
            assert of.count == count
            sums = (of.mean_x, of.mean_y, of.m2_x, of.m2_y, of.c_xy, of.m3_x)
            assert sums == pytest.approx((mean_x, mean_y, m2_x, m2_y, c_xy, m3_x), rel=1e-9, abs=1e-7)
        case RiskTable():
            raise AssertionError("is looked at by itself")


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("as_of", [None, START + timedelta(days=25, microseconds=1)])
def test_all_metrics_are_what_following_each_unit_says(seed: int, as_of: datetime | None) -> None:
    exposures, events = population(seed)
    instant = as_of or max(each["at"] for each in events)
    oracle = LongOracle(exposures, events, instant, START.date())
    units = {unit: row for unit, row in oracle.units.items() if row["entered_at"] <= instant}
    found = aggregate(
        METRICS, exposures, events, as_of=as_of, columns=Columns(event_id="event_id"), segments=("country",)
    )
    cells: dict[Cell, list[Any]] = {}
    for unit, row in units.items():
        cells.setdefault(Cell(row["variant"], 0, row["entry_day"]), []).append(unit)
    assert found.units == {cell: len(of) for cell, of in cells.items()}
    assert found.as_of == instant.date()
    for metric in METRICS:
        by_cell = found.outcomes[metric.name]
        assert set(by_cell) == set(cells)
        for cell, of in cells.items():
            if metric is TIME:
                days: dict[str, dict[int, int]] = {"events": {}, "competing": {}, "censored": {}}
                for unit in of:
                    day, status = oracle.ended(unit, "unsubscribed", ("account_closed", "erased"), 21)
                    days[status][day] = days[status].get(day, 0) + 1
                assert by_cell[cell] == RiskTable(**days)
            else:
                check(by_cell[cell], expected(oracle, metric.name, of))
        if metric.name in {"left", "spend", "net", "push", "email", "stay_rolling", "stay_calendar"}:
            assert found.immature[metric.name] == len(units) - whole(found, metric.name).count
    for name in ("left", "spend", "sent", "net", "per_message", "stay_rolling"):
        for cell, of in cells.items():
            check(found.with_suspects[name][cell], expected(oracle, name, of, suspects=True))
    assert sum(sum(each.values()) for each in found.segments["country"].values()) == len(units)
    counted = codes(found)
    assert counted.get("entered_after_as_of", 0) == len(exposures) - len(units)
    unnamed = sum(row.get("time_zone") in {None, "Mars"} for row in units.values())
    assert counted["unknown_time_zone"] == unnamed
    before = sum(
        each["at"] < units[unit]["entered_at"]
        for unit, of in oracle.events.items()
        if unit in units
        for each in of
        if each["type"] != "survey"
    )
    assert counted["event_before_entry"] == before


def test_what_units_had_before_and_what_they_received() -> None:
    exposures, events = population(3)
    first = START - 5 * DAY
    events = [*(each for each in events if each["at"] > first), event(0, "survey", timedelta(0), entered=first)]
    oracle = LongOracle(exposures, events, max(each["at"] for each in events), START.date())
    found = aggregate((LEFT, SPEND, retention(Clock.ROLLING)), exposures, events, columns=Columns(event_id="event_id"))
    for variant in "ab":
        of = [unit for unit, row in oracle.units.items() if row["variant"] == variant]
        covered = [unit for unit in of if oracle.units[unit]["entered_at"] - 14 * DAY >= first]
        assert covered != of
        lost = [bool(oracle.within(unit, "unsubscribed", -14, 0)) for unit in covered]
        spent = [min(90.0, sum(row["value"] for row in oracle.within(unit, "purchase", -14, 0))) for unit in covered]
        stayed = [
            bool(oracle.within(unit, "session", -6, 0))
            for unit in of
            if oracle.units[unit]["entered_at"] - 6 * DAY >= first
        ]
        for name, numbers in (("left", lost), ("spend", spent), (f"stay_{Clock.ROLLING}", stayed)):
            check(found.before[name][variant], [float(each) for each in numbers])
        weekly: list[float] = []
        for unit in of:
            watched = oracle.as_of - oracle.units[unit]["entered_at"]
            if watched >= 7 * DAY:
                weekly.append(len(oracle.within(unit, "sent", 0, 21)) * (7 * DAY / min(watched, 21 * DAY)))
        check(found.received[variant], weekly)


def test_a_plan_without_doses_has_nothing_received() -> None:
    variants = (Variant("a", control=True), Variant("b"))
    found = aggregate((SENT,), [exposure(1)], [event(1, "sent", DAY), LATEST], variants=variants)
    assert found.received == {}
    assert found.before == {}


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


LOST, CLOSED = "unsubscribed", "account_closed"


@pytest.mark.parametrize(
    ("events", "table_of"),
    [
        ([(LOST, 2.0)], RiskTable({2: 1})),
        ([(LOST, 2.0), (CLOSED, 2.0)], RiskTable({2: 1})),
        ([(LOST, 2.0), (CLOSED, 1.99)], RiskTable({}, {1: 1})),
        ([(LOST, 3.5), (LOST, 2.5), (CLOSED, 4.0)], RiskTable({2: 1})),
        ([(LOST, -1.0), (CLOSED, -2.0)], RiskTable({}, {}, {10: 1})),
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


def test_events_that_cannot_be_used_are_counted() -> None:
    events = [
        event(1, "purchase", DAY, 5.0, event_id="one"),
        event(1, "purchase", 2 * DAY, 5.0, event_id="one"),
        event(1, "purchase", DAY, None, event_id="two"),
        event(1, "purchase", DAY, float("inf"), event_id="three"),
        event(1, "purchase", -DAY, 7.0, event_id="four"),
        event(1, "purchase", DAY, 9.0, event_id=None),
        event(1, "purchase", DAY, 9.0, event_id=None),
        event(9, "purchase", DAY, 9.0, event_id="five"),
        event(None, "purchase", DAY, 9.0, event_id="six"),
        dict(event(1, "purchase", DAY, 9.0, event_id="seven"), at=None),
        event(1, "purchase", 50 * DAY, 9.0, event_id="eight"),
        event(1, "purchase", DAY, 100.0, event_id="nine", suspect=True),
        event(9, "other", DAY),
    ]
    found = aggregate((SPEND,), [exposure(1)], events, columns=Columns(event_id="event_id"), as_of=START + 20 * DAY)
    assert whole(found, "spend") == Moments(1, 23.0, 0.0, 0.0, 1)
    (suspected,) = (each for each in found.with_suspects["spend"].values() if isinstance(each, Moments) and each.count)
    assert suspected == Moments(1, 90.0, 0.0, 0.0, 1)
    assert codes(found) == {
        "duplicated_event": 1,
        "event_without_value": 2,
        "event_before_entry": 1,
        "event_of_others": 1,
        "event_without_unit": 1,
        "event_without_time": 1,
        "event_after_as_of": 1,
        "suspect_event": 1,
    }


def test_exposures_that_cannot_be_used_are_counted() -> None:
    exposures = [
        exposure(1, "a", START + DAY),
        exposure(1, "a", START),
        exposure(2, "a"),
        exposure(2, "b"),
        exposure(None, "a"),
        exposure(3, "c"),
        dict(exposure(4), variant=None),
        dict(exposure(5), entered_at=None),
        exposure(6, "a", START - DAY),
        exposure(7, "b", START + 400 * DAY),
        exposure(8, "b"),
    ]
    found = aggregate((LEFT,), exposures, [LATEST], testers={"8": "b"})
    assert found.units == {Cell("a", 0, 0): 1, Cell("b"): 0}
    assert codes(found) == {
        "no_unit": 1,
        "repeated_exposure": 2,
        "in_two_variants": 1,
        "unknown_variant": 1,
        "no_variant": 1,
        "no_entry_time": 1,
        "entered_before_start": 1,
        "entered_after_end": 1,
        "tester": 1,
    }


def test_a_unit_is_what_its_first_exposure_says() -> None:
    exposures = [exposure(1, entered=START + DAY, country="DE"), exposure(1, entered=START, country="AT")]
    found = aggregate((LEFT,), exposures, [event(1, LOST, timedelta(0)), LATEST], segments=("country",))
    assert found.segments["country"] == {"AT": {"a": 1, "b": 0}}
    assert whole(found, "left") == Counts(1, 1)


def test_without_events_nothing_happened_to_anybody() -> None:
    no_events = table([LATEST]).slice(0, 0)
    found = tables.aggregate(plan(LEFT, SPEND, TIME, PUSH), table([exposure(1), exposure(2, "b")]), no_events)
    assert found.units == {Cell("a", 0, 0): 1, Cell("b", 0, 0): 1}
    assert found.immature == {"left": 2, "spend": 2, "push": 2}
    assert whole(found, "time") == RiskTable({}, {}, {0: 2})
    later = tables.aggregate(plan(LEFT, SPEND, TIME, PUSH), table([exposure(1)]), no_events, as_of=START + 30 * DAY)
    assert whole(later, "left") == Counts(0, 1)
    assert whole(later, "spend") == Moments(1)
    assert whole(later, "push") == Counts(1, 1)


def test_without_exposures_there_are_zeros() -> None:
    empty = table([exposure(1, time_zone="UTC", country="DE")]).slice(0, 0)
    found = tables.aggregate(plan(segments=("country",)), empty, table([dict(LATEST, suspect=False)]))
    assert found.units == {Cell("a"): 0, Cell("b"): 0}
    assert whole(found, "left") == Counts()
    assert whole(found, "spend") == Moments()
    assert whole(found, "net") == PairMoments(m3_x=0.0)
    assert whole(found, "time") == RiskTable()
    nothing = tables.aggregate(plan(), empty, table([LATEST]).slice(0, 0))
    assert nothing.as_of is None
    assert nothing.exclusions == ()


@pytest.mark.parametrize(
    ("metrics", "break_it", "column", "says"),
    [
        ((SPEND,), lambda x, e: (x, e.drop_columns("value")), "value", "'spend'"),
        ((SENT,), lambda x, e: (x, e.drop_columns("channel")), "channel", "'sent'"),
        ((LEFT,), lambda x, e: (x, e.drop_columns("type")), "type", "type of an event"),
        ((LEFT,), lambda x, e: (x, e.drop_columns("at")), "at", "time of an event"),
        ((LEFT,), lambda x, e: (x, e.drop_columns("customer_id")), "customer_id", "unit of an event"),
        ((LEFT,), lambda x, e: (x.drop_columns("entered_at"), e), "entered_at", "time of entry"),
        ((LEFT,), lambda x, e: (x.drop_columns("variant"), e), "variant", "variant of a unit"),
        ((LEFT,), lambda x, e: (with_column(x, "entered_at", ["today"]), e), "entered_at", "expected times"),
        ((LEFT,), lambda x, e: (with_column(x, "customer_id", ["one"]), e), "customer_id", "names of one type"),
        ((SPEND,), lambda x, e: (x, with_column(e, "value", ["much", "more"])), "value", "expected numbers"),
    ],
)
def test_what_a_metric_lacks_is_named(
    metrics: tuple[Metric, ...],
    break_it: Callable[[pa.Table, pa.Table], tuple[pa.Table, pa.Table]],
    column: str,
    says: str,
) -> None:
    exposures, events = break_it(table([exposure(1)]), table([event(1, "sent", DAY), LATEST]))
    with pytest.raises(TableError, match=says) as raised:
        tables.aggregate(plan(*metrics), exposures, events)
    assert raised.value.column == column


def with_column(given: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return given.set_column(given.column_names.index(name), name, pa.array(values))


def test_a_metric_on_a_column_alone_is_named() -> None:
    column = Rate(name="visit", outcome=Outcome(column="visit"), **AS)
    with pytest.raises(TableError, match="'visit' names no event"):
        aggregate((LEFT, column), [exposure(1)], [LATEST])


def test_units_without_names_have_no_events() -> None:
    either = Rate(name="left", outcome=Outcome(column="left", event="unsubscribed"), **AS)
    with pytest.raises(TableError, match="units have no name"):
        aggregate((either,), [exposure(1)], [LATEST], columns=Columns(unit=None))


def test_an_event_is_the_same_by_id_source_and_customer_alone() -> None:
    """Two shops, or two customers, may count their events from 1; a column `id` is looked at without being named."""
    events = [
        {**event(1, "purchase", DAY, 5.0), "id": "1", "source": "shop"},
        {**event(1, "purchase", DAY, 5.0), "id": "1", "source": "shop"},
        {**event(1, "purchase", DAY, 5.0), "id": "1", "source": "till"},
        {**event(2, "purchase", DAY, 5.0), "id": "1", "source": "shop"},
    ]
    found = aggregate((SPEND,), [exposure(1), exposure(2)], events, as_of=START + 20 * DAY)
    assert codes(found) == {"duplicated_event": 1}
    spent = found.outcomes["spend"].values()
    assert sum(each.total for each in spent if isinstance(each, Moments)) == 15.0
