"""Declared segments: their units and outcomes by variant and phase, which add up to the whole."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import tables
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import Columns, Phase
from experiments.errors import TableError
from experiments.moments import Counts, Moments
from experiments.risk import RiskTable
from tests.experiments.reading import long_tables as long
from tests.experiments.reading import wide_tables as wide
from tests.experiments.reading.engines import in_duckdb, in_postgres
from tests.experiments.reading.wide_tables import SPEND, frame, plan

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # as in the tests of backends
PHASES = (Phase(date(2026, 3, 1), {"a": 1, "b": 1}), Phase(date(2026, 3, 20), {"a": 1, "b": 3}))
OF_WIDE = (replace(PHASES[0], start=date(2026, 1, 1)), replace(PHASES[1], start=date(2026, 1, 20)))
SEGMENTS = ("country", "tier")


def without_days(by_cell: Mapping[Cell, Any]) -> dict[Cell, Any]:
    """The cells of all days together; those without anybody are left out."""
    found: dict[Cell, Any] = {}
    for cell, each in by_cell.items():
        if each if isinstance(each, int) else each.count:
            key = Cell(cell.variant, cell.phase)
            found[key] = found[key] + each if key in found else each
    return found


def assert_adds_up(found: Aggregates, columns: tuple[str, ...]) -> None:
    assert tuple(found.segments) == columns
    for values in found.segments.values():
        assert sum_of([each.units for each in values.values()]) == without_days(found.units)
        for metric, by_cell in found.outcomes.items():
            added, whole = sum_of([each.outcomes[metric] for each in values.values()]), without_days(by_cell)
            assert added.keys() == whole.keys()
            for cell in whole:
                assert_near(added[cell], whole[cell])


def sum_of(parts: list[Mapping[Cell, Any]]) -> dict[Cell, Any]:
    found: dict[Cell, Any] = {}
    for part in parts:
        for cell, each in without_days(part).items():
            assert cell.entry_day is None
            found[cell] = found[cell] + each if cell in found else each
    return found


def assert_near(one: Aggregate, other: Aggregate) -> None:
    if isinstance(one, Counts | RiskTable):
        assert one == other
        return
    for each in fields(one):
        near = pytest.approx(getattr(other, each.name), rel=1e-9, abs=1e-9)
        assert getattr(one, each.name) == near, each.name


def in_engines(postgres: Any, **given: pa.Table) -> list[list[Any]]:
    """The tables as frames, and in a DuckDB and a PostgreSQL."""
    frames = [each.to_pandas() for each in given.values()]
    return [frames, in_duckdb(ibis.duckdb.connect(), **given), in_postgres(postgres, **given)]


def tiered(rows: pa.Table) -> pa.Table:
    """With a segment that some lack."""
    return rows.append_column("tier", pa.array([["1", "2", None][each % 3] for each in range(len(rows))]))


def test_values_add_up_to_the_whole_in_the_long_form(postgres: Any) -> None:
    exposures, events = long.population(7)
    given = in_engines(postgres, x=tiered(long.table(exposures)), e=long.table(events))
    phased = long.plan(columns=Columns(event_id="event_id"), segments=SEGMENTS, phases=PHASES)
    found = [tables.aggregate(phased, *each) for each in given]
    for each in found:
        assert_adds_up(each, SEGMENTS)
        assert {value: of.units for value, of in each.segments["country"].items()} == {
            value: of.units for value, of in found[0].segments["country"].items()
        }
    assert list(found[1].segments["tier"]) == list(found[2].segments["tier"]) == ["(none)", "1", "2"]
    assert {cell.phase for cell in found[0].segments["tier"]["1"].units} == {0, 1}


def test_values_add_up_to_the_whole_in_the_wide_form(postgres: Any) -> None:
    rows = frame(
        visit=[0, 1, 1, 0] * 50,
        spend=[(7 * each) % 11 / 3 for each in range(200)],
        days=[each % 40 + 0.5 for each in range(200)],
        gone=[each % 3 == 0 for each in range(200)],
        closed=[each % 7 == 1 for each in range(200)],
        erased=[False] * 200,
        phase=[each % 5 == 0 for each in range(200)],
        country=[None if each % 9 == 0 else f"c{each % 4}" for each in range(200)],
    )
    rows["phase"] = rows["phase"].astype(int)
    phased = plan(*wide.EVERYTHING.metrics[1:], segments=SEGMENTS, phases=OF_WIDE)
    for (source,) in in_engines(postgres, rows=tiered(pa.Table.from_pandas(rows))):
        assert_adds_up(tables.aggregate(phased, source), SEGMENTS)


VALUES = st.sampled_from(["x", "y", "", "(none)", None])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), VALUES, VALUES), min_size=1, max_size=40))
def test_values_of_any_table_add_up(rows: list[tuple[str, bool, str | None, str | None]]) -> None:
    table = pa.table(
        {
            "customer_id": pa.array(range(len(rows)), pa.int64()),
            **{
                name: pa.array([row[i] for row in rows], kind)
                for i, (name, kind) in enumerate(
                    [("variant", pa.string()), ("visit", pa.bool_()), ("country", pa.string()), ("tier", pa.string())]
                )
            },
        }
    )
    assert_adds_up(tables.aggregate(plan(segments=SEGMENTS), table), SEGMENTS)


def test_a_segment_holds_units_and_outcomes_by_variant_and_phase() -> None:
    rows = pd.DataFrame(
        [
            # variant, phase, country, visit, spend, days, gone
            ("a", 0, "DE", 1, 2.0, 3.5, True),
            ("a", 0, "DE", 0, 4.0, 9.0, False),
            ("a", 1, "DE", 1, 6.0, 3.0, True),
            ("b", 1, "AT", 1, None, 40.0, False),
            ("c", 0, "CH", 1, 1.0, 1.0, False),
            ("b", 0, None, 0, 0.0, -1.0, False),
        ],
        columns=["variant", "phase", "country", "visit", "spend", "days", "gone"],
    ).assign(customer_id=range(6), closed=False, erased=False)
    found = tables.aggregate(plan(SPEND, wide.LEFT, segments=("country",), phases=OF_WIDE), rows).segments["country"]
    assert list(found) == ["(none)", "AT", "DE"]
    assert found["DE"].units == {Cell("a", 0): 2, Cell("a", 1): 1, Cell("b"): 0}
    assert found["DE"].outcomes == {
        "visit": {Cell("a", 0): Counts(1, 2), Cell("a", 1): Counts(1, 1), Cell("b"): Counts()},
        "spend": {
            Cell("a", 0): Moments(2, 3.0, 2.0, 0.0, 2),
            Cell("a", 1): Moments(1, 6.0, nonzero=1),
            Cell("b"): Moments(),
        },
        "left": {
            Cell("a", 0): RiskTable({3: 1}, {}, {9: 1}),
            Cell("a", 1): RiskTable({3: 1}),
            Cell("b"): RiskTable(),
        },
    }
    assert found["AT"].outcomes["left"] == {Cell("a"): RiskTable(), Cell("b", 1): RiskTable({}, {}, {30: 1})}
    assert found["AT"].outcomes["spend"][Cell("b", 1)] == Moments()
    assert found["(none)"].units == {Cell("a"): 0, Cell("b", 0): 1}
    assert found["(none)"].outcomes["left"][Cell("b", 0)] == RiskTable()


def test_what_is_no_outcome_is_counted_once_however_many_segments_there_are() -> None:
    rows = frame(days=[-1.0, 2.0], gone=[1, 1], closed=[0, 0], erased=[0, 0], country=["DE", "AT"], tier=[1, 2])
    for segments in ((), ("country",), SEGMENTS):
        found = tables.aggregate(plan(wide.LEFT, segments=segments), rows)
        assert wide.codes(found) == {"no_outcome": 1}


def test_without_segments_no_query_is_added(queries: list[str]) -> None:
    rows = frame(
        spend=[1.0, 2.0], days=[1.0, 2.0], gone=[1, 1], closed=[0, 0], erased=[0, 0], country=["DE", "AT"], tier=[1, 2]
    )
    sent: dict[int, int] = {}
    for segments in ((), ("country",), SEGMENTS):
        queries.clear()
        tables.aggregate(plan(SPEND, wide.LEFT, segments=segments), rows)
        sent[len(segments)] = len(queries)
    assert sent == {0: sent[0], 1: sent[0] + 1, 2: sent[0] + 1}


def test_a_missing_segment_is_named() -> None:
    with pytest.raises(TableError) as raised:
        tables.aggregate(plan(segments=("country",)), frame(visit=[0]))
    assert raised.value.column == "country"


@pytest.mark.parametrize("segments", [("letter",), ("variant", "letter")])
@pytest.mark.parametrize("first", [0, 3_000])
def test_a_segment_of_too_many_values_is_an_error(segments: tuple[str, ...], first: int) -> None:
    """Whether the first rows show it or not."""
    rows = frame(visit=[0] * (4_000 + first), letter=["a"] * first + [str(each) for each in range(4_000)])
    with pytest.raises(TableError, match="more than 1,000 values, too many") as raised:
        tables.aggregate(plan(segments=segments), rows)
    assert raised.value.column == "letter"


def test_a_segment_of_a_thousand_values_is_one() -> None:
    found = tables.aggregate(plan(segments=("letter",)), frame(letter=[str(each % 1_000) for each in range(3_000)]))
    assert len(found.segments["letter"]) == 1_000
