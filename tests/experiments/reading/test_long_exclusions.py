"""The long form, where rows or columns of it cannot be used: each is counted or named."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from experiments import tables
from experiments.aggregates import Cell
from experiments.design import (
    Columns,
    Metric,
    Outcome,
    Rate,
)
from experiments.errors import TableError
from experiments.moments import Moments
from tests.experiments.reading.long_tables import (
    AS,
    LATEST,
    LEFT,
    SENT,
    SPEND,
    START,
    aggregate,
    codes,
    event,
    exposure,
    plan,
    table,
    whole,
)
from tests.experiments.table_oracle import DAY


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
