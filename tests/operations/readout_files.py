"""The same customers as the service's, told to files by their world; and when two readouts are the same."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.analysis import analyze
from experiments.design import Experiment
from experiments.readout import Readout
from experiments.reporting.weekly import Weekly
from tests.operations.readout_worlds import DAY_US, START_US, World, events, exposures, moment

NOW_US = START_US + 45 * DAY_US


def from_files(world: World, plan: Experiment, folder: Path, as_of_us: int = NOW_US) -> Readout:
    """Of the same customers, told again by the world itself and written to files."""
    by_divergence = plan.is_about_budgets
    schema = pa.schema(
        [("customer_id", pa.string()), ("variant", pa.string()), ("entered_at", pa.timestamp("us", "UTC"))]
    )
    schema = schema.append(pa.field("phase", pa.int64())).append(pa.field("time_zone", pa.string()))
    for name in plan.segments:
        schema = schema.append(pa.field(name, pa.string()))
    entered = [
        {**row, **{name: _text(row[name]) for name in plan.segments}}
        for row in exposures(world, by_divergence=by_divergence)
    ]
    pq.write_table(pa.Table.from_pylist(entered, schema), folder / "exposures.parquet")
    fields = [("customer_id", pa.string()), ("type", pa.string()), ("at", pa.timestamp("us", "UTC"))]
    fields += [("channel", pa.string()), ("suspect", pa.bool_()), ("hard", pa.bool_())]
    fields += [(name, pa.float64()) for name in ("value", "margin", "pages")]
    told = events(world, by_divergence=by_divergence)
    pq.write_table(pa.Table.from_pylist(told, pa.schema(fields)), folder / "events.parquet")
    return analyze(plan, folder / "exposures.parquet", folder / "events.parquet", as_of=moment(as_of_us))


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def assert_equal(one: Readout, other: Readout) -> None:
    """In everything but what was left out of tables that hold others too, to 1e-9."""
    assert [each.name for each in one.metrics] == [each.name for each in other.metrics]
    for ours, theirs in zip(one.metrics, other.metrics, strict=True):
        assert ours.immature == theirs.immature, ours.name
        for mine, its in zip((*ours.arms, *ours.with_suspects), (*theirs.arms, *theirs.with_suspects), strict=True):
            assert (mine.variant, mine.units) == (its.variant, its.units)
            numbers, expected = ([each.numerator, each.denominator, each.value] for each in (mine, its))
            assert_close(numbers, expected, ours.name)
        for mine, its in zip(ours.comparisons, theirs.comparisons, strict=True):
            for left, right in ((mine.estimate, its.estimate), (mine.bound, its.bound)):
                numbers, expected = (
                    [each.effect, each.low, each.high, each.p_value] if each else [] for each in (left, right)
                )
                assert_close(numbers, expected, ours.name)
    assert one.groups == other.groups
    assert one.verdicts == other.verdicts
    received, others = ([each.per_week for each in of.received] for of in (one, other))
    assert_close([*received], [*others], "received")


def assert_close(one: list[float | None], other: list[float | None], name: str) -> None:
    assert [each is None for each in one] == [each is None for each in other], name
    known = [each for each in other if each is not None]
    assert [each for each in one if each is not None] == pytest.approx(known, rel=1e-9, abs=1e-12), name


def assert_same_weeks(kept: list[dict[str, Any]], weeks: Sequence[Weekly]) -> None:
    assert [(each["metric"], each["variant"], each["cohort"]) for each in kept] == [
        (each.metric, each.variant, dict(each.cohort)) for each in weeks
    ]
    assert {each["metric"] for each in kept} == {"days"}
    for ours, theirs in zip(kept, weeks, strict=True):
        assert [each["week"] for each in ours["effects"]] == [1, 2, 3, 4][: len(theirs.effects)]
        numbers = [each[name] for each in ours["effects"] for name in ("effect", "low", "high")]
        assert_close(numbers, [end for each in theirs.effects for end in (each.effect, each.low, each.high)], "weeks")
