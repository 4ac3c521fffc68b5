"""From a plan and a table to a readout: what comes together in it, and what importing loads."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments as ex
from experiments.aggregates import Aggregates, Cell
from experiments.design import Columns
from experiments.readout import CautionCode, Readout
from experiments.reporting.verdicts import Call
from tests.experiments.planned import ALL, CHURN, SPEND, TWO, VISIT, a_plan, a_value, codes


def test_units_of_a_variant_that_the_plan_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="'ten'"):
        ex.readout_of(a_plan(), replace(ALL, units={**ALL.units, Cell("ten"): 3}))


def test_each_treatment_has_a_verdict_of_its_own() -> None:
    found = ex.readout_of(a_plan(), ALL)
    assert [(each.variant, each.call) for each in found.verdicts] == [("three", Call.SHIP), ("five", Call.STOP)]


def test_nobody_at_all_is_a_readout_that_says_so() -> None:
    for plan in (a_plan(), a_plan(VISIT, CHURN, a_value(None), replace(a_value(2.0), name="other_value"))):
        found = ex.readout_of(plan, Aggregates({}, {}))
        assert {each.call for each in found.verdicts} == {Call.INCONCLUSIVE}
        assert CautionCode.EMPTY_VARIANT in codes(found)
        assert "not enough data" in str(found)
        assert Readout.from_json(found.to_json()) == found


def test_importing_loads_neither_statistics_nor_engines_of_tables() -> None:
    seen = "import sys, experiments; print(sorted({'ibis', 'scipy', 'numpy', 'duckdb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(ex.__all__) <= set(dir(ex))
    assert all(getattr(ex, name) is not None for name in ex.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ex.nothing


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # of DuckDB, by Ibis
def test_a_file_and_a_frame_are_read_to_the_same_verdict(tmp_path: Path) -> None:
    plan = a_plan(VISIT, SPEND, variants=TWO, columns=Columns(unit="id", variant="arm"), inference="fixed")
    drawn = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "id": range(4_000),
            "arm": ["one", "three"] * 2_000,
            "visit": (drawn.random(4_000) < np.tile([0.1, 0.2], 2_000)).astype(int),
            "spend": drawn.gamma(2, 3, 4_000),
        }
    )
    frame.to_csv(tmp_path / "customers.csv", index=False)
    of_frame, of_file = ex.analyze(plan, frame), ex.analyze(plan, tmp_path / "customers.csv")
    assert of_frame.verdicts[0].call is Call.SHIP
    assert of_frame.verdicts == of_file.verdicts
    counted = frame.groupby("arm").visit.agg(["sum", "count"])
    for variant in ("one", "three"):
        arm = of_frame.metric("visit").arm(variant)
        assert (arm.numerator, arm.denominator) == tuple(counted.loc[variant])
