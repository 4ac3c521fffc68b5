"""takt analyze: what it prints and writes is the library's readout, and what it cannot read is one sentence."""

import csv
import json
import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from engine.render.page import page
from experiments import Experiment
from experiments import analyze as analyze_table
from experiments.readout import Readout
from tests.cli.command import Ended, takt

SAMPLE = Path(os.environ.get("TAKT_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hillstrom.csv"
EVIL = "<script>alert(1)</script>"
PLAN = """
key: pushes
hypothesis: More pushes sell more.
variants:
  - {name: one, control: true, dose: 1}
  - {name: "<script>alert(1)</script>", dose: 3}
start: 2026-10-05
end: 2026-11-02
min_days: 7
horizon_days: 28
metrics:
  - {name: bought, kind: rate, column: bought, event: purchase, within_days: 7, role: primary, direction: increase}
  - {name: left, kind: rate, column: left, event: left, within_days: 7, role: guardrail, direction: decrease,
     margin: 0.05}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """2,000 customers of whom 20 in 100 buy under the control and 30 under the other variant; 5 in 100 leave."""
    path = tmp_path / "customers.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["customer_id", "variant", "bought", "left"])
        for number in range(2_000):
            is_treated = number % 2 == 1
            bought = number // 2 % 100 < (30 if is_treated else 20)
            rows.writerow([f"c{number}", EVIL if is_treated else "one", int(bought), int(number // 2 % 100 < 5)])
    return path


def analyze(file: Path, plan: Path, *more: str | Path) -> Ended:
    return takt(None, "analyze", str(file), "--plan", str(plan), *map(str, more))


def test_it_prints_the_readout_of_the_library(customers: Path, plan: Path) -> None:
    ended = analyze(customers, plan)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert ended.out == f"{analyze_table(Experiment.from_yaml(plan), customers)}\n"
    assert "300 of 1,000 (30 %) against 200 of 1,000 (20 %)" in ended.out
    assert f"Ship {EVIL}" in ended.out


def test_it_writes_the_same_readout_as_json_and_as_a_page(customers: Path, plan: Path, tmp_path: Path) -> None:
    as_json, as_html = tmp_path / "readout.json", tmp_path / "readout.html"
    ended = analyze(customers, plan, "--json", as_json, "--html", as_html)
    assert ended.code == 0, ended.err
    readout = Readout.from_json(as_json.read_text())
    assert ended.out == f"{readout}\n"
    assert as_html.read_text() == page(readout)
    assert ended.err == f"-> {as_json}\n-> {as_html}\n"
    assert EVIL not in as_html.read_text()
    assert "c1999" not in as_json.read_text() + as_html.read_text()


def test_events_are_read_up_to_the_date_that_is_named(plan: Path, tmp_path: Path) -> None:
    exposures, events = tmp_path / "exposures.csv", tmp_path / "events.csv"
    start = datetime(2026, 10, 5, 12, tzinfo=UTC)
    with exposures.open("w", newline="") as people, events.open("w", newline="") as happenings:
        entered, happened = csv.writer(people), csv.writer(happenings)
        entered.writerow(["customer_id", "variant", "entered_at"])
        happened.writerow(["customer_id", "type", "at"])
        for number in range(400):
            at = start + timedelta(days=number % 10)
            entered.writerow([f"c{number}", EVIL if number % 2 else "one", at.isoformat()])
            if number % 4 < 2:
                happened.writerow([f"c{number}", "purchase", (at + timedelta(days=3)).isoformat()])
    ended = analyze(exposures, plan, "--events", events, "--as-of", "2026-10-12", "--json", tmp_path / "out.json")
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["as_of"] == "2026-10-12"
    assert Readout.from_json(json.dumps(told)) == analyze_table(
        Experiment.from_yaml(plan), exposures, events, as_of=date(2026, 10, 12)
    )
    assert told != json.loads(analyze_table(Experiment.from_yaml(plan), exposures, events).to_json())


def test_what_cannot_be_read_is_one_sentence(customers: Path, plan: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.csv"
    assert "nowhere.csv" in analyze(nowhere, plan).sentence
    assert "nowhere.yaml" in analyze(customers, tmp_path / "nowhere.yaml").sentence
    assert analyze(customers, customers).sentence.startswith("takt: ")
    assert "events.csv" in analyze(customers, plan, "--events", tmp_path / "events.csv").sentence
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert analyze(empty, plan).sentence.startswith("takt: ")
    noise = tmp_path / "noise.parquet"
    noise.write_bytes(bytes(range(256)))
    assert "noise.parquet" in analyze(noise, plan).sentence
    missing = tmp_path / "missing.csv"
    missing.write_text("customer_id,variant,bought\na,one,1\n")
    assert "left" in analyze(missing, plan).sentence
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PLAN.replace("margin: 0.05", "margin: -0.05"))
    assert "line 14: metrics[1].margin" in analyze(customers, wrong).sentence


def test_all_that_is_wrong_with_a_plan_is_told_at_once(customers: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PLAN.replace("margin: 0.05", "margin: -0.05").replace("kind: rate", "kind: rates"))
    ended = analyze(customers, wrong)
    assert ended.code == 1
    assert ended.err.count("\n  line ") >= 2


def test_a_typing_error_overwrites_nothing(customers: Path, plan: Path, tmp_path: Path) -> None:
    before = customers.read_bytes(), plan.read_bytes()
    out = tmp_path / "out"
    for wrong in (
        ("--json", customers),
        ("--html", plan),
        ("--json", out, "--html", out),
        ("--as-of", "tomorrow"),
        ("--as-of", "2026-13-01"),
    ):
        ended = analyze(customers, plan, *wrong)
        assert ended.code == 2
        assert ended.out == ""
    assert (customers.read_bytes(), plan.read_bytes()) == before
    assert not out.exists()


def test_where_nothing_can_be_written_the_readout_is_printed_all_the_same(
    customers: Path, plan: Path, tmp_path: Path
) -> None:
    ended = analyze(customers, plan, "--html", tmp_path / "no" / "folder.html")
    assert "No such file or directory" in ended.sentence
    assert "VERDICT" in ended.out


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"{SAMPLE} is not there: TAKT_SAMPLE_DATA names its folder")
def test_a_real_table_of_64_000_customers_says_what_a_plain_count_says(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        """
key: hillstrom-2008
unit: null
variants: [{name: No E-Mail, control: true}, {name: Mens E-Mail}, {name: Womens E-Mail}]
start: 2008-03-01
end: 2008-03-15
metrics:
  - {name: visit, kind: rate, column: visit, role: primary, direction: increase}
  - {name: conversion, kind: rate, column: conversion, role: primary, direction: increase}
  - {name: spend, kind: mean, column: spend, role: secondary, direction: increase}
inference: fixed
columns: {variant: segment}
"""
    )
    units: Counter[str] = Counter()
    visits: Counter[str] = Counter()
    with SAMPLE.open(newline="") as file:
        for row in csv.DictReader(file):
            units[row["segment"]] += 1
            visits[row["segment"]] += int(row["visit"])
    ended = analyze(SAMPLE, plan, "--html", tmp_path / "readout.html")
    assert ended.code == 0, ended.err
    for name in ("Mens E-Mail", "Womens E-Mail"):
        assert f"Ship {name}" in ended.out
        assert f"{visits[name]:,} of {units[name]:,}" in ended.out
        assert f"{visits[name]:,} of {units[name]:,}" in (tmp_path / "readout.html").read_text()
