"""Files and frames, what is none of them, and what Hillstrom's file says."""

import os
from math import inf, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import tables
from experiments.aggregates import Cell
from experiments.design import (
    Columns,
    Outcome,
    Rate,
    Variant,
)
from experiments.errors import TableError
from experiments.moments import Counts, Moments
from tests.experiments.reading.wide_tables import AS, SPEND, frame, plan

SAMPLES = Path(os.environ.get("TAKT_SAMPLE_DATA", Path(__file__).parents[4] / "shared" / "data"))

HILLSTROM = SAMPLES / "hillstrom.csv"


def test_a_frame_and_a_file_agree_on_what_is_missing(tmp_path: Path) -> None:
    rows = frame(spend=[1.0, nan, inf, 4.0], visit=[1, None, 0, 1])
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    assert tables.aggregate(plan(SPEND), path) == tables.aggregate(plan(SPEND), rows)


def test_text_late_in_a_file_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{i},a,1,{i}" for i in range(60_000)]
    path.write_text("customer_id,variant,visit,spend\n" + "\n".join(rows) + "\n60000,b,0,n/a\n")
    with pytest.raises(TableError, match="text") as raised:
        tables.aggregate(plan(SPEND), path)
    assert raised.value.column == "spend"


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
            assert found.segments["channel"][str(channel)].units[cell] == count
    assert found.exclusions == ()
