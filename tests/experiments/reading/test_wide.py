"""The wide form: one row a unit, from frames to aggregates."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import tables
from experiments.aggregates import Aggregates, Cell
from experiments.design import (
    Form,
    Mean,
    Metric,
    Outcome,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
)
from experiments.errors import TableError
from experiments.moments import Counts, Moments, PairMoments
from experiments.risk import RiskTable
from tests.experiments.reading.wide_tables import AS, EVERYTHING, LEFT, SPEND, codes, frame, plan
from tests.experiments.table_oracle import moments


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


def test_an_event_beside_a_competing_one_is_the_event_and_counted() -> None:
    rows = frame(
        variant=["a"] * 5,
        days=[10, 3, 40, 4, -1],
        gone=[True, True, True, False, True],
        closed=[True, False, True, True, True],
        erased=[True, False, False, True, False],
    )
    found = tables.aggregate(plan(LEFT), rows)
    assert found.outcomes["left"][Cell("a")] == RiskTable({3: 1, 10: 1}, {4: 1}, {30: 1})
    assert codes(found) == {"no_outcome": 1, "event_and_competing": 1}


def test_survival_alone_finds_the_same_units_as_beside_another_metric() -> None:
    """Alone, its own tally is all that is read: who is left out, and the variants that nobody is in, come from it."""
    rows = frame(
        variant=["a", "a", None, "other", "a", "a"],
        customer_id=["1", "2", "3", "4", "tester", None],
        days=[10.0, nan, 3.0, 4.0, 5.0, 6.0],
        gone=[True] * 6,
        closed=[False] * 6,
        erased=[True, *[False] * 5],
        country=["de", "de", "at", "at", "de", "at"],
    )
    beside = plan(LEFT, testers={"tester": "b"}, segments=("country",))
    primary = replace(LEFT, role=Role.PRIMARY)
    found, alone = (tables.aggregate(each, rows) for each in (beside, replace(beside, metrics=(primary,))))
    assert alone.units == found.units == {Cell("a"): 2, Cell("b"): 0}
    assert alone.outcomes == {"left": found.outcomes["left"]}
    assert sorted(map(repr, alone.exclusions)) == sorted(map(repr, found.exclusions))
    assert {"tester", "no_unit", "no_variant", "unknown_variant", "event_and_competing"} <= set(codes(alone))


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


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_flag_that_is_neither_0_nor_1_is_an_error(value: float) -> None:
    with pytest.raises(TableError, match="1 values other than 0 and 1, which metric 'visit'") as raised:
        tables.aggregate(plan(), frame(visit=[0, value, 1, 1]))
    assert raised.value.column == "visit"


def test_text_where_a_number_is_wanted_is_an_error() -> None:
    with pytest.raises(TableError, match="text, expected numbers, which metric 'spend' needs") as raised:
        tables.aggregate(plan(SPEND), frame(spend=["1", "2", "n/a"]))
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
