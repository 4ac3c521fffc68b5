"""A whole readout of a Parquet file against others' barest ones: `python -m bench.analyze_bench 1000000`.

One row a customer, five metrics: two rates, a mean, a count, and time to leaving with a competing event. Beside it, of
the same file in the same run, tea-tasting's means of five columns through the same engine (goal: no slower than twice),
and lifelines' log-rank of the survival metric alone (goal: a tenth of its time), once with times to the second and once
with whole days, of which lifelines first counts the rows as we do. Customers are numbers, each looked at for a second
row; tea-tasting looks for none. The median of the rounds stands.
"""

import argparse
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tea_tasting as tt
from lifelines.statistics import logrank_test

from bench.report import Report, judged
from experiments.aggregates import Aggregates, Cell
from experiments.analysis import analyze, readout_of
from experiments.design import Direction, Experiment, Inference, Mean, Metric, Outcome, Rate, Role, Survival, Variant
from experiments.moments import Counts, Moments

_CHUNK = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("customers", type=int, nargs="*", default=[10_000_000], help="how many; 10,000,000 by default")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        for customers in options.customers:
            measure(report, customers, options.rounds, Path(scratch))


def measure(report: Report, customers: int, rounds: int, scratch: Path) -> None:
    """Adds the section to the report."""
    report.section(f"A readout of {customers:,} customers, five metrics, from Parquet through DuckDB")
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"customers-{customers}.parquet"
    write(path, customers)
    ours, means = timed(rounds, lambda: analyze(plan(*_means(), _survival("days")), path), lambda: of_means(path))
    ratio = ours / means
    measured = f"{ours:.2f} s; tea-tasting's means {means:.2f} s"
    report.row("readout of all five", measured, f"{ratio:.2f}", _at_most(ratio, 2))
    for column, what in (("days", "times to the second"), ("whole_days", "times in whole days")):
        of = plan(_survival(column))
        alone, log_rank = timed(rounds, partial(analyze, of, path), partial(of_survival, path, column))
        ratio = alone / log_rank
        measured = f"{alone:.2f} s; lifelines' log-rank {log_rank:.2f} s"
        report.row(f"readout of survival alone, {what}", measured, f"{ratio:.2f}", _at_most(ratio, 0.1))
    report.section("A readout of 20 metrics from moments: ten rates, ten means, three variants")
    made = _of_twenty()
    report.row("readout of 20 metrics", f"{1000 * made:.1f} ms", "", judged(1000 * made, 50, "{:.0f} ms", at_most=True))


def _of_twenty() -> float:
    """Seconds, of the fastest of some: whatever else runs, this work takes no less."""
    as_rate = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
    metrics: list[Metric] = [Rate(name=f"rate_{k}", outcome=Outcome(column=f"r{k}"), **as_rate) for k in range(10)]
    metrics += [Mean(name=f"mean_{k}", outcome=Outcome(column=f"m{k}"), **as_rate) for k in range(9)]
    metrics.append(Mean(name="spend", outcome=Outcome(column="s"), role=Role.PRIMARY, direction=Direction.INCREASE))
    cells = [Cell(name) for name in ("control", "treatment", "other")]
    rates = {cell: Counts(800 + 10 * k, 20_000) for k, cell in enumerate(cells)}
    means = {cell: Moments(20_000, 1.0 + 0.02 * k, 50_000.0, 90_000.0, 4_000) for k, cell in enumerate(cells)}
    of: dict[str, dict[Cell, Any]] = {each.name: rates if isinstance(each, Rate) else means for each in metrics}
    planned = replace(plan(*metrics), variants=(*plan(*metrics).variants, Variant("other")))
    given = Aggregates(dict.fromkeys(cells, 20_000), of)
    return min(timeit.repeat(lambda: readout_of(planned, given), number=1, repeat=20))


def _at_most(ratio: float, goal: float) -> str:
    return judged(ratio, goal, "at most {:g}", at_most=True)


def plan(*metrics: Metric) -> Experiment:
    return Experiment(
        key="bench",
        variants=(Variant("control", control=True), Variant("treatment")),
        metrics=metrics,
        start=date(2026, 1, 1),
        end=date(2026, 6, 1),
        inference=Inference.FIXED,
    )


def _means() -> tuple[Metric, ...]:
    increase, decrease = Direction.INCREASE, Direction.DECREASE
    left = Outcome(column="unsubscribed")
    return (
        Rate(name="visit", outcome=Outcome(column="visit"), role=Role.PRIMARY, direction=increase),
        Rate(name="unsubscribed", outcome=left, role=Role.GUARDRAIL, direction=decrease, margin=0.002),
        Mean(name="spend", outcome=Outcome(column="spend"), role=Role.SECONDARY, direction=increase),
        Mean(name="orders", outcome=Outcome(column="orders"), is_count=True, role=Role.SECONDARY, direction=increase),
    )


def _survival(duration: str) -> Survival:
    return Survival(
        name="time_to_leave",
        event="gone",
        competing=("closed",),
        duration=duration,
        horizon_days=90,
        role=Role.PRIMARY,
        direction=Direction.DECREASE,
    )


def write(path: Path, customers: int) -> None:
    """Customers in no order; one in twenty buys."""
    random = np.random.default_rng(1)
    numbers = random.permutation(customers)
    writer: pq.ParquetWriter | None = None
    for begin in range(0, customers, _CHUNK):
        ids = numbers[begin : begin + _CHUNK]
        n = len(ids)
        orders = random.binomial(1, 0.05, n) * random.geometric(0.6, n)
        days = np.round(np.minimum(random.exponential(200, n), 120) * 86_400) / 86_400
        end = random.random(n)
        watched = days < 120
        table = pa.table(
            {
                "customer_id": ids,
                "variant": np.where(random.random(n) < 0.5, "control", "treatment"),
                "visit": random.random(n) < 0.15,
                "unsubscribed": random.random(n) < 0.01,
                "spend": orders * random.lognormal(3, 1, n),
                "orders": orders,
                "days": days,
                "whole_days": np.floor(days).astype(np.int32),
                "gone": watched & (end < 0.6),
                "closed": watched & (end >= 0.6),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def of_means(path: Path) -> object:
    table = ibis.duckdb.connect().read_parquet(path)
    names = ("visit", "unsubscribed", "spend", "orders", "gone")
    return tt.Experiment({name: tt.Mean(name) for name in names}).analyze(table, control="control")


def of_survival(path: Path, column: str) -> object:
    """From the same file: lifelines takes arrays."""
    table = pq.read_table(path, columns=["variant", column, "gone"])
    treated = table["variant"].to_numpy() == "treatment"
    days, gone = table[column].to_numpy(), table["gone"].to_numpy()
    arms: list[Any] = [days[treated], days[~treated], gone[treated], gone[~treated]]
    return logrank_test(*arms)


def timed(rounds: int, one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Medians, measured in turn, after a round that is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for each in range(rounds + 1):
        for of, taken in zip((one, other), seconds, strict=True):
            begin = time.perf_counter()
            of()
            if each:
                taken.append(time.perf_counter() - begin)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    main()
