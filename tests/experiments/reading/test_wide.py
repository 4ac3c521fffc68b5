"""The wide form: one row a unit, from frames and files to aggregates."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import tables
from experiments.aggregates import Aggregates, Cell
from experiments.design import (
    Columns,
    Direction,
    Experiment,
    Form,
    Mean,
    Metric,
    Outcome,
    Phase,
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
from tests.experiments.table_oracle import moments

SAMPLES = Path(os.environ.get("TAKT_SAMPLE_DATA", Path(__file__).parents[4] / "shared" / "data"))
HILLSTROM = SAMPLES / "hillstrom.csv"
AS: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
VISIT = Rate(name="visit", outcome=Outcome(column="visit"), role=Role.PRIMARY, direction=Direction.INCREASE)
SPEND = Mean(name="spend", outcome=Outcome(column="spend"), **AS)
LEFT = Survival(name="left", event="gone", competing=("closed", "erased"), duration="days", horizon_days=30, **AS)


def plan(*metrics: Metric, **given: Any) -> Experiment:
    return Experiment(
        **{
            "key": "wide",
            "variants": (Variant("a", control=True), Variant("b")),
            "metrics": (VISIT, *metrics),
            "start": date(2026, 1, 1),
            "end": date(2026, 3, 1),
            **given,
        }
    )


def frame(**columns: Any) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    usual: dict[str, Sequence[Any]] = {
        "customer_id": range(rows),
        "variant": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2),
        "visit": [0] * rows,
    }
    return pd.DataFrame({**usual, **columns})


def codes(aggregates: Aggregates) -> dict[str, int]:
    return {each.code: each.count for each in aggregates.exclusions}


def test_a_flag_counts_whether_it_is_true_or_one_or_a_float() -> None:
    for values in ([True, False, True, True], [1, 0, 1, 1], [1.0, 0.0, 1.0, 1.0]):
        found = tables.aggregate(plan(), frame(visit=values))
        assert found.outcomes["visit"] == {Cell("a"): Counts(2, 2), Cell("b"): Counts(1, 2)}
        assert found.units == {Cell("a"): 2, Cell("b"): 2}
        assert found.exclusions == ()
        assert found.as_of is None


def test_moments_are_those_of_the_numbers() -> None:
    random = np.random.default_rng(7)
    spend = np.where(random.random(3_000) < 0.1, random.lognormal(3, 1, 3_000), 0.0)
    variant = np.where(random.random(3_000) < 0.3, "a", "b")
    found = tables.aggregate(plan(SPEND), frame(spend=spend, variant=variant))
    for each in "ab":
        expected = moments(spend[variant == each])
        of = found.outcomes["spend"][Cell(each)]
        assert isinstance(of, Moments)
        assert (of.count, of.nonzero) == (expected[0], expected[4])
        assert (of.mean, of.m2, of.m3) == pytest.approx(expected[1:4], rel=1e-9)


def test_a_large_mean_costs_no_digits() -> None:
    random = np.random.default_rng(8)
    spread = random.exponential(1, 2_000)
    found = tables.aggregate(plan(SPEND), frame(spend=1e6 + spread, variant=["a"] * 2_000))
    of = found.outcomes["spend"][Cell("a")]
    assert isinstance(of, Moments)
    _, mean, m2, m3, _ = moments((1e6 + spread) - 1e6)
    assert of.mean == pytest.approx(1e6 + mean, rel=1e-14)
    assert (of.m2, of.m3) == pytest.approx((m2, m3), rel=1e-9)


def test_numbers_that_do_not_vary_have_no_variance_at_all() -> None:
    found = tables.aggregate(plan(SPEND), frame(spend=[0.1, 0.3] * 5_000))
    for name, value in (("a", 0.1), ("b", 0.3)):
        of = found.outcomes["spend"][Cell(name)]
        assert isinstance(of, Moments)
        assert (of.m2, of.m3, of.nonzero) == (0.0, 0.0, 5_000)
        assert of.mean == pytest.approx(value, rel=1e-12)


def test_numbers_above_the_cap_count_as_it() -> None:
    capped = Mean(name="spend", outcome=Outcome(column="spend"), cap=10, **AS)
    found = tables.aggregate(plan(capped), frame(spend=[5, 3, 500, 10]))
    assert found.outcomes["spend"][Cell("a")] == Moments(2, 7.5, 12.5, 0.0, 2)


def test_ratios_and_values_keep_pairs() -> None:
    ratio = Ratio(name="ratio", numerator=Outcome(column="clicks"), denominator=Outcome(column="sent"), **AS)
    value = Value(
        name="value",
        revenue=Outcome(column="spend"),
        margin_share=0.5,
        contacts=Outcome(column="sent"),
        cost_per_contact=0.25,
        lost_reach=Outcome(column="visit"),
        **AS,
    )
    rows = frame(
        clicks=[1, 2, 3, 4, 0, 1], sent=[2, 8, 4, 4, 2, 6], spend=[10.0, 0, 4, 4, 0, 30], visit=[0, 1, 1, 0, 0, 1]
    )
    found = tables.aggregate(plan(ratio, value), rows)
    for name, x, y in (
        ("ratio", rows["clicks"], rows["sent"]),
        ("value", 0.5 * rows["spend"] - 0.25 * rows["sent"], rows["visit"]),
    ):
        for variant in "ab":
            one, other = x[rows["variant"] == variant], y[rows["variant"] == variant]
            of = found.outcomes[name][Cell(variant)]
            assert isinstance(of, PairMoments)
            n, mean_x, m2_x, m3_x, _ = moments(one)
            _, mean_y, m2_y, _, _ = moments(other)
            c_xy = sum((one - mean_x) * (other - mean_y))
            found_moments = (of.count, of.mean_x, of.mean_y, of.m2_x, of.m2_y, of.c_xy, of.m3_x)
            assert found_moments == pytest.approx((n, mean_x, mean_y, m2_x, m2_y, c_xy, m3_x), abs=1e-12)


def test_a_risk_table_counts_days_and_what_ended_them() -> None:
    rows = frame(
        variant=["a"] * 8,
        days=[0.5, 3, 3.9, 10, 12, 29.99, 30, 45],
        gone=[True, False, True, True, False, True, True, False],
        closed=[False, True, False, True, False, False, False, False],
        erased=[False] * 8,
    )
    found = tables.aggregate(plan(LEFT), rows).outcomes["left"]
    expected = RiskTable({0: 1, 3: 1, 10: 1, 29: 1}, {3: 1}, {12: 1, 30: 2})
    assert found[Cell("a")] == expected
    assert found[Cell("b")] == RiskTable()


def test_durations_that_say_nothing_are_counted() -> None:
    rows = frame(
        variant=["a"] * 6,
        days=[5, -1, nan, inf, 4, 4],
        gone=[1, 1, 1, 1, None, 1],
        closed=[0, 0, 0, 0, 0, 0],
        erased=[0, 0, 0, 0, 0, None],
    )
    found = tables.aggregate(plan(LEFT), rows)
    assert found.outcomes["left"][Cell("a")] == RiskTable({5: 1})
    assert codes(found) == {"no_outcome": 5}


def test_retention_and_reachability_are_columns() -> None:
    stayed = Retention(name="stayed", outcome=Outcome(column="stayed"), form=Form.ON_DAY, from_day=7, until_day=8, **AS)
    reach = Reachable(name="reach", day=28, column="reach", **AS)
    found = tables.aggregate(plan(stayed, reach), frame(stayed=[1, 0, 1, 0], reach=[True, True, False, True]))
    assert found.outcomes["stayed"] == {Cell("a"): Counts(2, 2), Cell("b"): Counts(0, 2)}
    assert found.outcomes["reach"] == {Cell("a"): Counts(1, 2), Cell("b"): Counts(2, 2)}


@pytest.mark.parametrize("nothing", [nan, inf, -inf, None])
def test_an_outcome_that_is_no_number_is_left_out_of_its_metric_alone(nothing: float | None) -> None:
    table = pa.table(
        {"customer_id": [1, 2, 3], "variant": ["a", "a", "b"], "visit": [1, 1, 0], "spend": [2.0, nothing, 4.0]}
    )
    found = tables.aggregate(plan(SPEND), table)
    assert found.outcomes["spend"] == {Cell("a"): Moments(1, 2.0, 0.0, 0.0, 1), Cell("b"): Moments(1, 4.0, 0.0, 0.0, 1)}
    assert found.outcomes["visit"][Cell("a")] == Counts(2, 2)
    assert found.units[Cell("a")] == 2
    (excluded,) = found.exclusions
    assert (excluded.code, excluded.count) == ("no_outcome", 1)
    assert "'spend'" in excluded.sentence


def test_a_frame_and_a_file_agree_on_what_is_missing(tmp_path: Path) -> None:
    rows = frame(spend=[1.0, nan, inf, 4.0], visit=[1, None, 0, 1])
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    assert tables.aggregate(plan(SPEND), path) == tables.aggregate(plan(SPEND), rows)


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_flag_that_is_neither_0_nor_1_is_an_error(value: float) -> None:
    with pytest.raises(TableError, match="1 values other than 0 and 1, which metric 'visit'") as raised:
        tables.aggregate(plan(), frame(visit=[0, value, 1, 1]))
    assert raised.value.column == "visit"


def test_text_where_a_number_is_wanted_is_an_error() -> None:
    with pytest.raises(TableError, match="text, expected numbers, which metric 'spend' needs") as raised:
        tables.aggregate(plan(SPEND), frame(spend=["1", "2", "n/a"]))
    assert raised.value.column == "spend"


def test_text_late_in_a_file_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{i},a,1,{i}" for i in range(60_000)]
    path.write_text("customer_id,variant,visit,spend\n" + "\n".join(rows) + "\n60000,b,0,n/a\n")
    with pytest.raises(TableError, match="text") as raised:
        tables.aggregate(plan(SPEND), path)
    assert raised.value.column == "spend"


def test_several_kinds_in_one_column_are_an_error() -> None:
    with pytest.raises(TableError, match="several kinds") as raised:
        tables.aggregate(plan(SPEND), frame(spend=[1, "two", None]))
    assert raised.value.column == "spend"


@pytest.mark.parametrize("column", ["customer_id", "variant", "visit", "spend", "days", "gone", "closed"])
def test_a_missing_column_is_named(column: str) -> None:
    rows = frame(spend=[1.0, 2.0], days=[1, 2], gone=[0, 1], closed=[0, 0], erased=[0, 0]).drop(columns=column)
    with pytest.raises(TableError, match="has no such column") as raised:
        tables.aggregate(plan(SPEND, LEFT), rows)
    assert raised.value.column == column


def test_a_missing_segment_is_named() -> None:
    with pytest.raises(TableError) as raised:
        tables.aggregate(plan(segments=("country",)), frame(visit=[0]))
    assert raised.value.column == "country"


@pytest.mark.parametrize(
    "metric",
    [
        Mean(name="bought", outcome=Outcome(event="purchase"), is_count=True, **AS),
        Reachable(name="bought", day=28, **AS),
        Survival(name="bought", event="visit", horizon_days=30, **AS),
        Value(name="bought", revenue=Outcome(event="purchase", value="value"), **AS),
    ],
)
def test_a_metric_on_events_alone_is_named(metric: Metric) -> None:
    with pytest.raises(TableError, match="'bought' names no"):
        tables.aggregate(plan(metric), frame(visit=[0]))


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


def test_segments_count_units() -> None:
    rows = frame(visit=[0] * 6, country=["DE", "AT", "DE", None, "DE", "AT"], tier=[1, 1, 2, 2, 2, 2])
    found = tables.aggregate(plan(segments=("country", "tier")), rows)
    assert found.segments == {
        "country": {"DE": {"a": 3, "b": 0}, "AT": {"a": 0, "b": 2}, "(none)": {"a": 0, "b": 1}},
        "tier": {"1": {"a": 1, "b": 1}, "2": {"a": 2, "b": 2}},
    }


def test_a_segment_of_too_many_values_is_an_error() -> None:
    with pytest.raises(TableError, match="too many") as raised:
        tables.aggregate(plan(segments=("customer_id",)), frame(visit=[0] * 4_000))
    assert raised.value.column == "customer_id"


EVERYTHING = plan(
    SPEND,
    LEFT,
    Ratio(name="ratio", numerator=Outcome(column="spend"), denominator=Outcome(column="visit"), **AS),
    segments=("country",),
)
EMPTY = Aggregates(
    units={Cell("a"): 0, Cell("b"): 0},
    outcomes={
        "visit": {Cell("a"): Counts(), Cell("b"): Counts()},
        "spend": {Cell("a"): Moments(), Cell("b"): Moments()},
        "left": {Cell("a"): RiskTable(), Cell("b"): RiskTable()},
        "ratio": {Cell("a"): PairMoments(m3_x=0.0), Cell("b"): PairMoments(m3_x=0.0)},
    },
    segments={"country": {}},
)


def test_tables_without_rows_give_zeros(tmp_path: Path) -> None:
    names = ["customer_id", "variant", "visit", "spend", "days", "gone", "closed", "erased", "country"]
    header = tmp_path / "header.csv"
    header.write_text(",".join(names) + "\n")
    assert tables.aggregate(EVERYTHING, header) == EMPTY
    assert tables.aggregate(EVERYTHING, pd.DataFrame({name: [] for name in names})) == EMPTY
    assert tables.aggregate(EVERYTHING, pd.DataFrame({name: pd.Series([], dtype=object) for name in names})) == EMPTY
    assert tables.aggregate(EVERYTHING, pa.table({name: pa.array([], pa.string()) for name in names})) == EMPTY


def test_one_unit_is_enough_for_aggregates() -> None:
    rows = frame(spend=[3.0], days=[2], gone=[1], closed=[0], erased=[0], country=["DE"])
    found = tables.aggregate(EVERYTHING, rows)
    assert found.outcomes["spend"] == {Cell("a"): Moments(1, 3.0, 0.0, 0.0, 1), Cell("b"): Moments()}


def test_csv_and_json_lines_are_read(tmp_path: Path) -> None:
    rows = frame(spend=[1.5, 2.5, 0.0], visit=[True, False, True])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_csv(tmp_path / "rows.csv.gz", index=False)
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    expected = tables.aggregate(plan(SPEND), rows)
    for name in ("rows.csv", "rows.csv.gz", "rows.jsonl"):
        assert tables.aggregate(plan(SPEND), tmp_path / name) == expected
        assert tables.aggregate(plan(SPEND), str(tmp_path / name)) == expected


@pytest.mark.parametrize(("source", "says"), [("nowhere.csv", "no file"), (42, "no table can be made of the int")])
def test_what_is_no_table_is_an_error(source: Any, says: str) -> None:
    with pytest.raises(TableError, match=says):
        tables.aggregate(plan(), source)


def test_a_file_of_an_unknown_kind_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(TableError, match="expected one that ends in"):
        tables.aggregate(plan(), tmp_path / "rows.xlsx")
    (tmp_path / "rows.parquet").write_bytes(b"no parquet")
    with pytest.raises(TableError, match="cannot"):
        tables.aggregate(plan(), tmp_path / "rows.parquet")


@pytest.mark.skipif(not HILLSTROM.exists(), reason=f"{HILLSTROM} is not there: TAKT_SAMPLE_DATA names its folder")
def test_hillstrom_is_what_pandas_says() -> None:
    hillstrom = plan(
        Rate(name="conversion", outcome=Outcome(column="conversion"), **AS),
        SPEND,
        variants=(Variant("No E-Mail", control=True), Variant("Mens E-Mail"), Variant("Womens E-Mail")),
        columns=Columns(unit=None, variant="segment"),
        segments=("channel",),
    )
    found = tables.aggregate(hillstrom, HILLSTROM)
    rows = pd.read_csv(HILLSTROM)
    for name, of in rows.groupby("segment"):
        cell = Cell(str(name))
        assert found.units[cell] == len(of)
        assert found.outcomes["visit"][cell] == Counts(sum(of["visit"]), len(of))
        assert found.outcomes["conversion"][cell] == Counts(sum(of["conversion"]), len(of))
        spend = found.outcomes["spend"][cell]
        assert isinstance(spend, Moments)
        assert (spend.mean, spend.variance) == pytest.approx((of["spend"].mean(), of["spend"].var()), rel=1e-12)
        n = len(of)
        biased = of["spend"].skew() * (n - 2) / (n * (n - 1)) ** 0.5
        assert spend.skewness == pytest.approx(biased, rel=1e-9)
        for channel, count in of["channel"].value_counts().items():
            assert found.segments["channel"][str(channel)][cell.variant] == count
    assert found.exclusions == ()


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False), st.sampled_from([nan, inf, -inf, 0.0]))
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([0, 1, None]), NUMBERS), max_size=30)


@settings(max_examples=25)
@given(ROWS)
def test_any_table_gives_counts_moments_or_counted_exclusions(
    rows: list[tuple[str | None, int | None, float | None]],
) -> None:
    table = pa.table(
        {
            "customer_id": pa.array(range(len(rows)), pa.int64()),
            "variant": pa.array([each[0] for each in rows], pa.string()),
            "visit": pa.array([each[1] for each in rows], pa.int64()),
            "spend": pa.array([each[2] for each in rows], pa.float64()),
        }
    )
    found = tables.aggregate(plan(SPEND), table)
    missing = 0
    # Of the whole column: all arms' sums are taken about one value of it.
    size = max((abs(each[2]) for each in rows if each[2] is not None and abs(each[2]) < inf), default=1.0)
    for variant in "ab":
        visits = [each[1] for each in rows if each[0] == variant]
        spent = [each[2] for each in rows if each[0] == variant]
        finite = [each for each in spent if each is not None and abs(each) < inf]
        missing += visits.count(None) + len(spent) - len(finite)
        known = [each for each in visits if each is not None]
        assert found.units[Cell(variant)] == len(visits)
        assert found.outcomes["visit"][Cell(variant)] == Counts(sum(known), len(known))
        of, expected = found.outcomes["spend"][Cell(variant)], moments(finite)
        assert isinstance(of, Moments)
        assert (of.count, of.nonzero) == (expected[0], expected[4])
        assert of.mean == pytest.approx(expected[1], abs=1e-9 * size)
        assert of.m2 == pytest.approx(expected[2], abs=1e-9 * size**2)
        assert of.m3 == pytest.approx(expected[3], abs=1e-9 * size**3)
    excluded = sum(each.count for each in found.exclusions)
    assert excluded == missing + sum(each[0] not in {"a", "b"} for each in rows)
