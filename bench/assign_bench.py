"""`python -m bench.assign_bench`: assignments a second, one at a time and vectorised, beside what others ship.

The same work for each, in turn, in one process and one thread: a text id, 80 % of traffic, two variants of equal
weight, no tracking. CPU seconds, the median of the rounds; ratios are medians of the ratios within a round, so that a
slow moment of the machine strikes both. The peers' own overhead is part of what their users pay; GrowthBook's hash
alone, without its evaluation, stands beside it.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from importlib import import_module
from statistics import median
from typing import Any

import duckdb
from growthbook import Experiment as GrowthBookExperiment
from growthbook import GrowthBook
from growthbook.core import chooseVariation, gbhash, getBucketRanges

from bench.report import Report, judged
from experiments.assignment import Allocation, sql
from experiments.design import Direction, Experiment, Mean, Outcome, Role, Variant

SINGLE_GOAL, MANY_GOAL = 300_000, 2_000_000
_KEY = "push-budget-2026q4"
_TRAFFIC = 0.8
_SINGLE, _MANY = "takt, one at a time", "takt, vectorised"

Assigner = Callable[[list[str]], Iterable[str | None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    measure(Report(), options.units, options.rounds)


def measure(report: Report, units: int, rounds: int) -> None:
    """Adds a section to the report."""
    ids = [f"customer-{i}" for i in range(units)]
    peers: dict[str, Assigner] = {
        _SINGLE: _takt_single(),
        _MANY: _takt_many(),
        "growthbook, run()": _growthbook(),
        "growthbook's hash alone": _growthbook_hash(),
        "eppo-server-sdk, get_string_assignment()": _eppo(),
        "takt's SQL in DuckDB, one thread": _takt_duckdb(ids),
    }
    for name, assigner in peers.items():
        _check_split(name, assigner(ids), units)
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, assigner in peers.items():
            started = time.process_time()
            assigner(ids)
            seconds[name].append(time.process_time() - started)
    report.section(f"Assignment: {units:,} ids, 80 % of traffic, two variants; CPU seconds of {rounds} rounds")
    for name, spent in seconds.items():
        rate = units / median(spent)
        ratios = {form: median(other / own for other, own in zip(spent, seconds[form], strict=True)) for form in peers}
        ratio = "" if name.startswith("takt") else f"takt {ratios[_SINGLE]:.1f} x, {ratios[_MANY]:.1f} x"
        goal = {_SINGLE: SINGLE_GOAL, _MANY: MANY_GOAL}.get(name)
        judgement = "" if goal is None else judged(rate, goal, "{:,.0f}/s")
        report.row(name, f"{rate:,.0f}/s", ratio, judgement)


def _check_split(name: str, variants: Iterable[str | None], units: int) -> None:
    """Whoever is faster by doing something else is no peer."""
    counts = Counter(variants)
    expected = {None: 0.2, "one": 0.4, "three": 0.4}
    for variant, share in expected.items():
        assert abs(counts[variant] / units - share) < 0.02, f"{name} gave {counts}"


def _plan() -> Experiment:
    spend = Mean(name="spend", role=Role.PRIMARY, direction=Direction.INCREASE, outcome=Outcome(column="spend"))
    return Experiment(
        key=_KEY,
        variants=(Variant("one", control=True), Variant("three")),
        metrics=(spend,),
        start=date(2026, 10, 5),
        end=date(2027, 1, 4),
        traffic=_TRAFFIC,
    )


def _takt_single() -> Assigner:
    assign = Allocation(_plan()).assign
    return lambda ids: [assign(each).variant for each in ids]


def _takt_many() -> Assigner:
    allocation = Allocation(_plan())
    return lambda ids: allocation.assign_many(ids).variants


def _takt_duckdb(ids: list[str]) -> Assigner:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE customers AS SELECT unnest($1) AS customer_id", [ids])
    select = sql(_plan(), "duckdb")

    def assign(_: list[str]) -> Iterable[str | None]:
        columns: Any = connection.execute(select).fetchnumpy()
        return columns["variant"].tolist()

    return assign


def _growthbook() -> Assigner:
    experiment = GrowthBookExperiment(
        _KEY, ["one", "three"], weights=[0.5, 0.5], coverage=_TRAFFIC, seed=_KEY, hashVersion=2
    )
    client = GrowthBook()

    def assign(each: str) -> str | None:
        client.set_attributes({"id": each})
        found = client.run(experiment)
        return found.value if found.inExperiment else None

    return lambda ids: [assign(each) for each in ids]


def _growthbook_hash() -> Assigner:
    ranges = getBucketRanges(2, _TRAFFIC, [0.5, 0.5])
    names: dict[int, str | None] = {0: "one", 1: "three", -1: None}

    def assign(each: str) -> str | None:
        number = gbhash(_KEY, each, 2)
        return None if number is None else names[chooseVariation(number, ranges)]

    return lambda ids: [assign(each) for each in ids]


def _eppo() -> Assigner:
    def split(variant: str, first: int, after: int) -> dict[str, Any]:
        traffic = {"salt": f"{_KEY}-traffic", "ranges": [{"start": 0, "end": int(10_000 * _TRAFFIC)}]}
        part = {"salt": f"{_KEY}-variant", "ranges": [{"start": first, "end": after}]}
        return {"variationKey": variant, "shards": [traffic, part]}

    flag = {
        "key": _KEY,
        "enabled": True,
        "variationType": "STRING",
        "variations": {name: {"key": name, "value": name} for name in ("one", "three")},
        "allocations": [
            {"key": "all", "rules": [], "doLog": False, "splits": [split("one", 0, 5000), split("three", 5000, 10_000)]}
        ],
        "totalShards": 10_000,
    }
    told = {"createdAt": "2026-10-05T00:00:00Z", "format": "SERVER", "environment": {"name": "bench"}}
    text = json.dumps(told | {"flags": {_KEY: flag}}).encode()
    eppo: Any = import_module("eppo_client")  # its own names are marked as private to it
    client = eppo.init(
        eppo.ClientConfig(
            api_key="none",
            base_url="http://127.0.0.1:9",  # nothing is asked for: the configuration is here
            assignment_logger=eppo.AssignmentLogger(),
            poll_interval_seconds=None,
            initial_configuration=eppo.Configuration(flags_configuration=text),
        )
    )
    assign = client.get_string_assignment
    return lambda ids: [assign(_KEY, each, {}, "") or None for each in ids]


if __name__ == "__main__":
    main()
