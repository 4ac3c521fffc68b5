"""What a file or a frame makes of names, times and numbers that it takes for others, and what is made of that again."""

from datetime import date
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments import tables
from experiments.aggregates import Cell
from experiments.design import Experiment, Variant
from experiments.errors import TableError
from experiments.moments import Moments
from tests.experiments.reading import long_tables
from tests.experiments.reading.wide_tables import SPEND, codes, frame, plan


def between(one: str, other: str, **given: Any) -> Experiment:
    return plan(variants=(Variant(one, control=True), Variant(other)), **given)


@pytest.mark.parametrize("names", [("True", "False"), ("1.0", "2.10"), ("01", "1"), ("2026-01-01", "2026-01-02")])
def test_variants_in_a_csv_are_what_is_written_there(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"customer_id,variant,visit\n1,{names[0]},1\n2,{names[1]},0\n3,{names[0]},0\n4,,0\n")
    found = tables.aggregate(between(*names), path)
    assert found.units == {Cell(names[0]): 2, Cell(names[1]): 1}
    assert codes(found) == {"no_variant": 1}


def test_units_and_segments_in_a_csv_are_what_is_written_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("customer_id,variant,visit,code\n7,a,1,010\n007,b,0,10\n07,a,0,1.0\n")
    found = tables.aggregate(plan(segments=("code",)), path)
    assert sum(found.units.values()) == 3
    assert set(found.segments["code"]) == {"010", "10", "1.0"}


def test_whole_numbers_of_a_csv_join_with_those_of_a_frame(tmp_path: Path) -> None:
    exposures = pd.DataFrame(
        {"customer_id": [1, 2], "variant": ["a", "b"], "entered_at": ["2026-03-05", "2026-03-06T10:00:00+01:00"]}
    )
    events = pd.DataFrame(
        {
            "customer_id": [1, 2],
            "type": ["unsubscribed"] * 2,
            "at": pd.to_datetime(["2026-03-05 01:00", "2026-03-06 08:59"]),
        }
    )
    exposures.to_csv(tmp_path / "exposures.csv", index=False)
    found = tables.aggregate(
        long_tables.plan(long_tables.LEFT), tmp_path / "exposures.csv", events, as_of=date(2026, 4, 28)
    )
    assert found.units == {Cell("a", 0, 4): 1, Cell("b", 0, 5): 1}
    assert codes(found) == {"event_before_entry": 1}


@pytest.mark.parametrize("written", ["05/01/2026", "02.01.2026 10:00", "5-1-2026", "1767225600"])
def test_times_in_a_csv_that_are_not_iso_are_refused_with_the_column(tmp_path: Path, written: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"customer_id,variant,visit,entered_at\n1,a,1,{written}\n2,b,0,2026-01-06\n")
    with pytest.raises(TableError, match="in a file as ISO text: 2026-01-05") as raised:
        tables.aggregate(plan(), path)
    assert raised.value.column == "entered_at"


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("0", "1"), [0.0, 1.0, 1.0, nan]),
        (("1.0", "2.10"), [1.0, 2.1, 2.1, nan]),
        (("false", "True"), [False, True, True, None]),
    ],
)
def test_variants_that_a_frame_took_for_numbers_or_flags_are_found(names: tuple[str, str], values: list[Any]) -> None:
    column = pd.array(values, dtype="boolean") if None in values else values
    found = tables.aggregate(between(*names), frame(variant=column, visit=[1, 0, 1, 0]))
    assert found.units == {Cell(names[0]): 1, Cell(names[1]): 2}
    assert codes(found) == {"no_variant": 1}


@pytest.mark.parametrize(
    ("names", "values"), [(("a", "b"), [0.0, 1.0]), (("1", "1.0"), [1.0, 1.0]), (("on", "off"), [True, False])]
)
def test_variants_that_no_number_or_flag_tells_apart_are_refused(names: tuple[str, str], values: list[Any]) -> None:
    with pytest.raises(TableError, match=f"expected one of '{names[0]}', '{names[1]}' as text") as raised:
        tables.aggregate(between(*names), frame(variant=values, visit=[1, 0]))
    assert raised.value.column == "variant"


def test_an_instant_of_analysis_may_be_iso_text_and_nothing_else_that_is_no_date() -> None:
    rows = frame(entered_at=pd.to_datetime(["2026-01-05", "2026-02-26"]))
    for text in ("2026-02-25", "2026-02-25T00:00:00Z"):
        assert tables.aggregate(plan(), rows, as_of=text) == tables.aggregate(plan(), rows, as_of=date(2026, 2, 25))
    for wrong in ("25.02.2026", "", 5):
        with pytest.raises(TableError, match="as the instant of analysis"):
            tables.aggregate(plan(), rows, as_of=wrong)  # pyright: ignore[reportArgumentType]


def test_large_unsigned_units_that_lie_close_together_are_counted() -> None:
    units = np.arange(100, dtype=np.uint64) + np.uint64(2**63)
    assert sum(tables.aggregate(plan(), frame(customer_id=units)).units.values()) == 100
    units[1] = units[0]
    with pytest.raises(TableError, match="1 unit stands in more than one row"):
        tables.aggregate(plan(), frame(customer_id=units, variant=["a"] * 100))


def test_numeric_nan_and_infinity_of_postgres_are_no_outcomes(postgres: Any) -> None:
    postgres.raw_sql(
        "CREATE TABLE odd AS SELECT n AS customer_id, 'a' AS variant, 0 AS visit, s::numeric AS spend"
        " FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, 'Infinity'), (4, '-Infinity'), (5, NULL), (6, '1e95')) AS t (n, s)"
    ).close()
    found = tables.aggregate(plan(SPEND), postgres.table("odd"))
    assert codes(found) == {"no_outcome": 5}
    spend = found.outcomes["spend"][Cell("a")]
    assert isinstance(spend, Moments)
    assert (spend.count, spend.mean) == (1, 1.5)


def test_times_of_postgres_that_are_infinite_are_none(postgres: Any) -> None:
    postgres.raw_sql(
        "CREATE TABLE timeless AS SELECT n AS customer_id, 'a' AS variant, 0 AS visit, t::timestamptz AS entered_at"
        " FROM (VALUES (1, '2026-01-05'), (2, 'infinity'), (3, '-infinity')) AS v (n, t)"
    ).close()
    found = tables.aggregate(plan(), postgres.table("timeless"))
    assert codes(found) == {"no_entry_time": 2}
    assert found.units[Cell("a", 0, 4)] == 1
