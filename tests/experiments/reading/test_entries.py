"""Who is analysed, in which arm, phase and since when, in the wide form."""

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from experiments import tables
from experiments.aggregates import Cell
from experiments.design import (
    Columns,
    Direction,
    Outcome,
    Phase,
    Rate,
    Role,
)
from experiments.errors import TableError
from experiments.moments import Counts
from tests.experiments.reading.wide_tables import codes, frame, plan


def test_units_and_variants_that_the_plan_does_not_have_are_counted() -> None:
    table = pa.table(
        {
            "customer_id": pa.array([1, 2, 3, 4, None, 6, 7]),
            "variant": ["a", "b", "c", None, "a", "c", "a"],
            "visit": [1, 1, 1, 1, 1, 1, 1],
        }
    )
    found = tables.aggregate(plan(testers={"7": "a", "x": "b"}), table)
    assert codes(found) == {"no_unit": 1, "tester": 1, "no_variant": 1, "unknown_variant": 2}
    assert found.units == {Cell("a"): 1, Cell("b"): 1}


def test_testers_are_found_among_names_too() -> None:
    found = tables.aggregate(plan(testers={"x": "b"}), frame(customer_id=["x", "y"]))
    assert codes(found) == {"tester": 1}


@pytest.mark.parametrize("scale", [1, 1_000_003, "text"])
def test_a_unit_in_two_rows_is_an_error(scale: int | str) -> None:
    units: list[Any] = [1, 2, 3, 1, 4, 5, 3]
    units = [f"c{each}" for each in units] if scale == "text" else [each * int(scale) for each in units]
    with pytest.raises(TableError, match="2 units stand in more than one row") as raised:
        tables.aggregate(plan(), frame(customer_id=units, variant=["a"] * 7))
    assert raised.value.column == "customer_id"


def test_units_in_two_variants_are_left_out_and_counted() -> None:
    found = tables.aggregate(plan(), frame(customer_id=[1, 1, 2, 3, 4, 4], variant=list("abaaba")))
    assert codes(found) == {"in_two_variants": 2}
    assert found.units == {Cell("a"): 2, Cell("b"): 0}


def test_rows_may_be_units_without_a_name() -> None:
    nameless = plan(columns=Columns(unit=None))
    found = tables.aggregate(nameless, frame(visit=[1, 0, 1]).drop(columns="customer_id"))
    assert found.units == {Cell("a"): 2, Cell("b"): 1}


def test_units_are_kept_apart_by_phase_and_day_of_entry() -> None:
    phased = plan(
        phases=(
            Phase(date(2026, 1, 1), {"a": 1, "b": 1}),
            Phase(date(2026, 1, 15), {"a": 1, "b": 3}),
        )
    )
    entered = pd.to_datetime(["2026-01-01", "2026-01-14 23:59:59.999999", "2026-01-15", "2026-02-01"], format="mixed")
    found = tables.aggregate(phased, frame(variant=["a"] * 4, visit=[1, 0, 1, 0], entered_at=entered))
    assert found.units == {
        Cell("a", 0, 0): 1,
        Cell("a", 0, 13): 1,
        Cell("a", 1, 14): 1,
        Cell("a", 1, 31): 1,
        Cell("b"): 0,
    }
    assert found.outcomes["visit"][Cell("a", 1, 14)] == Counts(1, 1)
    assert found.as_of is None
    columned = tables.aggregate(phased, frame(variant=["a"] * 5, phase=[0, 1, 2, None, -1]))
    assert columned.units == {Cell("a", 0): 1, Cell("a", 1): 1, Cell("b"): 0}
    assert codes(columned) == {"phase_outside_plan": 3}
    with pytest.raises(TableError, match="plan with phases") as raised:
        tables.aggregate(phased, frame(visit=[0]))
    assert raised.value.column == "phase"


def test_entries_outside_the_plan_are_counted() -> None:
    entered = pd.to_datetime(
        ["2025-12-31 23:59", None, "2026-01-01", "2026-02-28 23:59", "2026-03-01"], utc=True, format="mixed"
    )
    found = tables.aggregate(plan(), frame(entered_at=entered))
    assert codes(found) == {"entered_before_start": 1, "no_entry_time": 1, "entered_after_end": 1}
    assert sum(found.units.values()) == 2


def test_with_an_instant_of_analysis_outcomes_may_be_immature() -> None:
    visit = Rate(
        name="visit", outcome=Outcome(column="visit", within_days=7), role=Role.PRIMARY, direction=Direction.INCREASE
    )
    entered = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-20"])
    rows = frame(variant=["a"] * 4, visit=[1, 1, 1, 1], entered_at=entered)
    week = plan(metrics=(visit,))
    assert tables.aggregate(week, rows).immature == {}
    for as_of in (date(2026, 1, 9), datetime(2026, 1, 9, tzinfo=UTC), datetime(2026, 1, 9)):  # noqa: DTZ001 - is UTC
        found = tables.aggregate(week, rows, as_of=as_of)
        assert found.immature == {"visit": 1}
        assert codes(found) == {"entered_after_as_of": 1}
        assert sum((each for each in found.outcomes["visit"].values()), Counts()) == Counts(2, 2)
        assert sum(found.units.values()) == 3
        assert found.as_of == date(2026, 1, 9)
