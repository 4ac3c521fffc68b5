"""The long form: exposures and events with times, against an oracle that follows each unit in plain Python."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from experiments import tables
from experiments.aggregates import Aggregate, Cell
from experiments.design import (
    Clock,
    Columns,
    Variant,
)
from experiments.moments import Counts, Moments, PairMoments
from experiments.risk import RiskTable
from tests.experiments.reading.long_tables import (
    LATEST,
    LEFT,
    METRICS,
    PUSH,
    SENT,
    SPEND,
    START,
    TIME,
    aggregate,
    codes,
    event,
    exposure,
    plan,
    population,
    retention,
    table,
    whole,
)
from tests.experiments.table_oracle import DAY, LongOracle, Row, moments


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
    instant = as_of or max(each["at"] for each in events) + timedelta(microseconds=1)
    oracle = LongOracle(exposures, events, instant, START.date())
    units = {unit: row for unit, row in oracle.units.items() if row["entered_at"] < instant}
    found = aggregate(
        METRICS, exposures, events, as_of=as_of, columns=Columns(event_id="event_id"), segments=("country",)
    )
    cells: dict[Cell, list[Any]] = {}
    for unit, row in units.items():
        cells.setdefault(Cell(row["variant"], 0, row["entry_day"]), []).append(unit)
    assert found.units == {cell: len(of) for cell, of in cells.items()}
    assert found.as_of == instant.date()
    gone = 0
    for metric in METRICS:
        by_cell = found.outcomes[metric.name]
        assert set(by_cell) == set(cells)
        for cell, of in cells.items():
            if metric is TIME:
                days: dict[str, dict[int, int]] = {"events": {}, "competing": {}, "censored": {}}
                for unit in of:
                    ended = oracle.ended(unit, "unsubscribed", ("account_closed", "erased"), 21)
                    if ended is None:
                        gone += 1
                        continue
                    day, status = ended
                    days[status][day] = days[status].get(day, 0) + 1
                assert by_cell[cell] == RiskTable(**days)
            else:
                check(by_cell[cell], expected(oracle, metric.name, of))
        if metric.name in {"left", "spend", "net", "push", "email", "stay_rolling", "stay_calendar"}:
            assert found.immature[metric.name] == len(units) - whole(found, metric.name).count
    for name in ("left", "spend", "sent", "net", "per_message", "stay_rolling"):
        for cell, of in cells.items():
            check(found.with_suspects[name][cell], expected(oracle, name, of, suspects=True))
    assert sum(sum(each.units.values()) for each in found.segments["country"].values()) == len(units)
    counted = codes(found)
    assert 0 < counted["gone_before_entry"] == gone
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
    until = max(each["at"] for each in events) + timedelta(microseconds=1)
    oracle = LongOracle(exposures, events, until, START.date())
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


def test_a_unit_is_what_its_first_exposure_says() -> None:
    exposures = [exposure(1, entered=START + DAY, country="DE"), exposure(1, entered=START, country="AT")]
    found = aggregate((LEFT,), exposures, [event(1, "unsubscribed", timedelta(0)), LATEST], segments=("country",))
    assert {value: of.units for value, of in found.segments["country"].items()} == {"AT": {Cell("a"): 1, Cell("b"): 0}}
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
