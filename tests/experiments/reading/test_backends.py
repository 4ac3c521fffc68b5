"""The same plan on frames, files, DuckDB and PostgreSQL: the same numbers, and only aggregates leave any engine."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments import tables
from experiments.design import Columns
from experiments.errors import TableError
from experiments.risk import RiskTable
from tests.experiments.reading import long_tables as long
from tests.experiments.reading import wide_tables as wide
from tests.experiments.reading.engines import in_duckdb, in_postgres

# Ibis asks this DuckDB for the columns of a named table in a way that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")

LONG = long.plan(columns=Columns(event_id="event_id"), segments=("country",))
WIDE = wide.plan(*wide.EVERYTHING.metrics[1:], segments=("country",), testers={"17": "a"})


def wide_table(rows: int = 5_000) -> pa.Table:
    """With what can be wrong in it, and a mean that is large beside its spread."""
    random = np.random.default_rng(11)
    spend = 1e6 + np.where(random.random(rows) < 0.2, random.lognormal(3, 1, rows), 0.0)
    spend[::97], spend[::89] = np.nan, np.inf
    variant = random.choice(["a", "b", "c", ""], rows, p=[0.49, 0.49, 0.01, 0.01])
    return pa.table(
        {
            "customer_id": pa.array(np.arange(rows)),
            "variant": pa.array([each or None for each in variant]),
            "visit": pa.array(random.integers(0, 2, rows).astype(np.int32)),
            "spend": pa.array(spend),
            "days": pa.array(random.exponential(20, rows)),
            "gone": pa.array(random.random(rows) < 0.3),
            "closed": pa.array(random.random(rows) < 0.1),
            "erased": pa.array(random.integers(0, 2, rows)),
            "country": pa.array(random.choice(["DE", "AT", "CH"], rows)),
        }
    )


def long_tables() -> tuple[pa.Table, pa.Table]:
    exposures, events = long.population(5)
    return long.table(exposures), long.table(events)


def assert_same(one: object, other: object, where: str = "") -> None:
    """Equal but for the last digits of floats: within 1e-9."""
    if isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9), where
    elif is_dataclass(one):
        for each in fields(one):
            assert_same(getattr(one, each.name), getattr(other, each.name), f"{where}.{each.name}")
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}[{key}]")
    else:
        assert one == other, where


def test_the_wide_form_is_the_same_everywhere(postgres: Any, tmp_path: Path) -> None:
    table = wide_table()
    duckdb = ibis.duckdb.connect()
    pq.write_table(table, tmp_path / "rows.parquet")
    expected = tables.aggregate(WIDE, table)
    assert set(wide.codes(expected)) == {
        "tester",
        "no_variant",
        "unknown_variant",
        "no_outcome",
        "event_and_competing",
    }
    for source in (
        table.to_pandas(),
        tmp_path / "rows.parquet",
        in_duckdb(duckdb, rows=table)[0],
        in_postgres(postgres, rows=table)[0],
    ):
        assert_same(tables.aggregate(WIDE, source), expected)


def test_the_long_form_is_the_same_everywhere(postgres: Any, tmp_path: Path) -> None:
    exposures, events = long_tables()
    expected = tables.aggregate(LONG, exposures, events)
    duckdb = ibis.duckdb.connect()
    duckdb.raw_sql("SET TimeZone = 'Asia/Kolkata'")
    for name, table in (("exposures", exposures), ("events", events)):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert_same(tables.aggregate(LONG, tmp_path / "exposures.parquet", tmp_path / "events.parquet"), expected)
    assert_same(tables.aggregate(LONG, exposures.to_pandas(), events.to_pandas()), expected)
    mine = in_duckdb(duckdb, x=exposures, e=events), in_postgres(postgres, x=exposures, e=events)
    for each in mine:
        assert_same(tables.aggregate(LONG, *each), expected)
    assert_same(tables.aggregate(LONG, mine[0][0], events), expected)


def test_types_of_events_are_summed_apart_or_together_with_the_same_sums(postgres: Any, queries: list[str]) -> None:
    """PostgreSQL reads what happens often in passes of its own, but where one sum is of several such types."""
    exposures, events = long_tables()
    events = events.drop_columns("event_id")
    stop = replace(long.TIME, name="stop", event="session", competing=("sent", "erased"))
    for more, passes in (((), 4), ((stop,), 2)):
        plan = long.plan(*long.METRICS, *more, segments=("country",))
        expected = tables.aggregate(plan, exposures, events)
        name = f"of_{passes}"
        source = in_postgres(postgres, **{f"x_{name}": exposures, f"e_{name}": events})
        queries.clear()
        assert_same(tables.aggregate(plan, *source), expected)
        joined = {each.count(f'FROM "e_{name}"') for each in queries if f'"x_{name}"' in each and f'"e_{name}"' in each}
        assert joined == {passes}


def test_times_of_any_kind_are_the_same_instants() -> None:
    exposures, events = (each.to_pandas() for each in long_tables())
    expected = tables.aggregate(LONG, exposures, events)
    for unit in ("us", "ns"):
        for zone in (None, "Europe/Berlin"):
            x, e = exposures.copy(), events.copy()
            for frame, name in ((x, "entered_at"), (e, "at")):
                frame[name] = pd.to_datetime(frame[name]).dt.tz_convert(zone).dt.as_unit(unit)
            assert_same(tables.aggregate(LONG, x, e), expected)


def test_whole_numbers_are_microseconds_where_the_name_says_so(postgres: Any) -> None:
    exposures, events = (each.to_pandas() for each in long_tables())
    expected = tables.aggregate(LONG, exposures, events)
    micros = [
        pa.Table.from_pandas(frame.assign(**{name: pd.to_datetime(frame[at]).dt.as_unit("us").astype("int64")}))
        for frame, at, name in ((exposures, "entered_at", "entered_us"), (events, "at", "at_us"))
    ]
    named = replace(LONG, columns=replace(LONG.columns, entered="entered_us", at="at_us"))
    for engine in (micros, in_postgres(postgres, x=micros[0], e=micros[1])):
        assert_same(tables.aggregate(named, *engine), expected)
    for field, name in (("entered", "entered_us"), ("at", "at_us")):
        renamed = [each.rename_columns([name[:-1] if c == name else c for c in each.column_names]) for each in micros]
        with pytest.raises(TableError, match="expected times") as raised:
            tables.aggregate(replace(named, columns=replace(named.columns, **{field: name[:-1]})), *renamed)
        assert raised.value.column == name[:-1]


def test_no_rows_of_units_leave_the_engine(queries: list[str]) -> None:
    """Every query is run again and its rows counted: no more than days, statuses and arms (or reasons for none)."""
    horizon, arms, countries = 30, 5, 3
    for rows in (2_000, 40_000):
        duckdb = ibis.duckdb.connect()
        (table,) = in_duckdb(duckdb, rows=wide_table(rows))
        queries.clear()
        tables.aggregate(WIDE, table)
        sent = list(queries)
        assert len(sent) >= 5
        most = max(duckdb.raw_sql(f"SELECT count(*) FROM ({query})").fetchone()[0] for query in sent)
        assert most <= (horizon + 1) * 3 * arms * (1 + countries)


def test_no_events_leave_the_engine(queries: list[str]) -> None:
    exposures, events = long_tables()
    duckdb = ibis.duckdb.connect()
    mine = in_duckdb(duckdb, x=exposures, e=events)
    queries.clear()
    found = tables.aggregate(LONG, *mine)
    sent = list(queries)
    assert len(sent) >= 5
    most = max(duckdb.raw_sql(f"SELECT count(*) FROM ({query})").fetchone()[0] for query in sent)
    by_value = [of.outcomes for of in found.segments["country"].values()]
    risks = [
        each
        for outcomes in (found.outcomes, found.with_suspects, *by_value)
        for each in outcomes["time"].values()
        if isinstance(each, RiskTable)
    ]
    days_and_statuses = sum(len(each.events) + len(each.competing) + len(each.censored) for each in risks)
    not_at_risk = len(risks)  # a row a cell, at most
    assert days_and_statuses < most <= days_and_statuses + not_at_risk


def test_two_engines_are_refused(postgres: Any) -> None:
    exposures, events = long_tables()
    duckdb = ibis.duckdb.connect()
    with pytest.raises(TableError, match="two engines"):
        tables.aggregate(LONG, in_postgres(postgres, x=exposures)[0], in_duckdb(duckdb, e=events)[0])
    with pytest.raises(TableError, match="bound to no engine"):
        tables.aggregate(LONG, ibis.table({"customer_id": "int64"}, name="x"), events)
