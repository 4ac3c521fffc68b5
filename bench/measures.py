"""The measurements of `make bench`, each a few rows of the report."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from bench.load import Load, hammer, post_batches
from bench.report import Report, judged
from bench.screen_bench import Run, process_s, server_s
from bench.service import Service, serving


def warm(one: Service, customers: int) -> None:
    hammer(one.url, "/v1/decisions", one.key, customers, run=_run("warm"), seconds=3)


def singles(report: Report, one: Service, customers: int, seconds: int, rounds: int) -> None:
    """Single asks, and pairs of ask and confirm, beside a route of the same app that does nothing."""
    noop: list[Load] = []
    asks: list[Load] = []
    pairs: list[Load] = []
    for _ in range(rounds):
        noop.append(hammer(one.url, "/noop", one.key, customers, run=_run("noop"), seconds=seconds))
        asks.append(hammer(one.url, "/v1/decisions", one.key, customers, run=_run("ask"), seconds=seconds))
        pairs.append(
            hammer(one.url, "/v1/decisions", one.key, customers, run=_run("pair"), seconds=seconds, pairs=True)
        )
    report.section(f"Single asks over HTTP: 64 connections, one worker, {customers:,} customers with history")
    report.row("a route of the same app that does nothing", _shown(noop))
    for what, loads, goal in (("ask", asks, 0.65), ("ask and confirm in turn, requests", pairs, 0.0)):
        ratio = median(each.per_s / nothing.per_s for each, nothing in zip(loads, noop, strict=True))
        verdict = judged(ratio, goal, "{:.0%}") if goal else ""
        report.row(f"{what}, durably committed", _shown(loads), f"{ratio:.0%} of nothing", verdict)


def peer(report: Report, one: Service, customers: int, seconds: int, rounds: int) -> None:
    """What a team would write by hand: FastAPI, `limits` and Redis, the same four budgets."""
    if shutil.which("redis-server") is None:
        report.section("Against FastAPI, `limits` and Redis: not measured, redis-server is not installed")
        return
    with _redis() as address:
        environment = {**os.environ, "PEER_REDIS": address}
        with serving("bench.peer:app", environment, 1, factory=False, ready="/docs") as (url, _pid):
            theirs: list[Load] = []
            ours: list[Load] = []
            for _ in range(rounds):
                theirs.append(hammer(url, "/ask", "none", customers, run=_run("peer"), seconds=seconds))
                ours.append(hammer(one.url, "/v1/decisions", one.key, customers, run=_run("ours"), seconds=seconds))
    ratio = median(mine.per_s / other.per_s for mine, other in zip(ours, theirs, strict=True))
    report.section("Against what a team would write by hand: FastAPI, `limits`, Redis with append-only file")
    report.row("theirs: test four budgets, charge four; no lock, no journal", _shown(theirs))
    report.row("ask, durably committed", _shown(ours), f"{ratio:.1f} times theirs", judged(ratio, 8.0, "{:.0f} times"))


def batches(report: Report, one: Service, customers: int, seconds: int, server_pid: int) -> None:
    """With the processor time that an ask costs the service and the server: what a busy machine leaves comparable."""
    report.section("Batches over HTTP, four on their way at once, one worker")
    for size in (100, 1_000, 10_000):
        busy = process_s(one.pid), server_s(server_pid)
        flow = post_batches(one.url, one.key, customers, run=_run("batch"), size=size, seconds=seconds)
        ours, theirs = (
            (now - then) / flow.asks * 1e6
            for now, then in zip((process_s(one.pid), server_s(server_pid)), busy, strict=True)
        )
        spent = f"{ours:.0f} us of the service, {theirs:.0f} us of PostgreSQL an ask"
        report.row(
            f"batches of {size:,}", f"{flow.per_s:,.0f} asks/s; {spent}", "", judged(flow.per_s, 25_000, "{:,.0f}/s")
        )


def two_workers(report: Report, two: Service, customers: int, seconds: int) -> None:
    report.section("The same with two workers")
    rate = post_batches(two.url, two.key, customers, run=_run("batch2"), size=1_000, seconds=seconds).per_s
    report.row("batches of 1,000", f"{rate:,.0f} asks/s")
    loads = [hammer(two.url, "/v1/decisions", two.key, customers, run=_run("ask2"), seconds=seconds)]
    report.row("single asks", _shown(loads))


def hot(report: Report, one: Service, customers: int, seconds: int) -> None:
    """Every ask for one customer: most are refused, all wait for the same lock."""
    everyone = hammer(one.url, "/v1/decisions", one.key, customers, run=_run("all"), seconds=seconds)
    single = hammer(one.url, "/v1/decisions", one.key, 1, run=_run("hot"), seconds=seconds)
    report.section("One hot customer")
    report.row("asks spread over all customers", _shown([everyone]))
    report.row("all asks for one", _shown([single]), f"{single.per_s / everyone.per_s:.0%} of spread")


def beside(report: Report, one: Service, customers: int, seconds: int) -> None:
    """Single asks while batches of 10,000 pass."""
    alone = hammer(one.url, "/v1/decisions", one.key, customers, run=_run("alone"), seconds=seconds)
    rates: list[float] = []
    batches_running = threading.Thread(
        target=lambda: rates.append(
            post_batches(
                one.url, one.key, customers, run=_run("bulk"), size=10_000, seconds=seconds + 2, at_once=1
            ).per_s
        )
    )
    batches_running.start()
    time.sleep(1)
    busy = hammer(one.url, "/v1/decisions", one.key, customers, run=_run("busy"), seconds=seconds)
    batches_running.join()
    report.section("Single asks beside batches of 10,000")
    report.row("single asks alone", _shown([alone]))
    report.row("single asks beside the batches", _shown([busy]), f"p99 {busy.p99_ms / alone.p99_ms:.1f} times alone")
    report.row("the batches", f"{rates[0]:,.0f} asks/s")


def footprint(report: Report, one: Service, database_url: str, customers: int) -> None:
    """Bytes of tables and of WAL that an allowed ask leaves."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")  # and let the pages take their full images in the log before it counts
        post_batches(one.url, one.key, customers, run=_run("pages"), size=1_000, seconds=6)
        before = _sizes(connection)
        rate = post_batches(one.url, one.key, customers, run=_run("bytes"), size=1_000, seconds=6).per_s
        after = _sizes(connection)
    asks = after[2] - before[2]
    report.section("What an ask leaves on disk")
    report.row("in the journal, its index with it", f"{(after[0] - before[0]) / asks:,.0f} bytes")
    report.row("in the write-ahead log, full page images with it", f"{(after[1] - before[1]) / asks:,.0f} bytes")
    report.row("measured over", f"{asks:,} asks at {rate:,.0f}/s")


@dataclass(frozen=True)
class Peer:
    """One of several databases that are asked the same in turn."""

    customers: int
    history: int
    recent: int
    service: Service


def screening(report: Report, customers: int, folder: Path) -> None:
    """`takt screen` as its user runs it; of a tenth of the customers too, whose memory must be the same."""
    fewer, all_of_them = (_screened(number, folder) for number in (customers // 10, customers))
    report.section(f"`takt screen` of {customers:,} customers with ten contacts each")
    goals_s = {"check": 25.0 * customers / 1e6, "reserve": 60.0 * customers / 1e6}
    for run in all_of_them:
        goal = judged(run.wall_s, goals_s[run.what], "{:.0f} s", at_most=True) if run.what in goals_s else ""
        report.row(run.what, f"{run.wall_s:.0f} s, {customers / run.wall_s:,.0f} customers/s", "", goal)
    peak_mb, before_mb = (max(run.peak_mb for run in runs) for runs in (all_of_them, fewer))
    report.row("peak memory of a process", f"{peak_mb:.0f} MB", f"{peak_mb / before_mb:.0%} of that of a tenth", "flat")


def _screened(customers: int, folder: Path) -> list[Run]:
    # From a process of its own, and a small one: a child's peak memory begins with that of whoever started it.
    command = [sys.executable, "-m", "bench.screen_bench", str(customers), "--scratch", str(folder), "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Run(**each) for each in json.loads(printed.splitlines()[-1])]


def growth(report: Report, peers: list[Peer], seconds: int, rounds: int) -> None:
    """Batches of 1,000, which leave least to HTTP: each database in turn, beside the smallest in the same round."""
    for peer_ in peers:
        warm(peer_.service, peer_.customers)
    rates = [
        [
            post_batches(
                each.service.url, each.service.key, each.customers, run=_run("grow"), size=1_000, seconds=seconds
            ).per_s
            for each in peers
        ]
        for _ in range(rounds)
    ]
    report.section("Growth: batches of 1,000")
    for place, each in enumerate(peers):
        ratio = median(row[place] / row[0] for row in rates)
        goal = judged(ratio, 0.8, "{:.0%} of the smallest") if place else ""
        rows = each.customers * each.history
        what = f"{each.customers:,} customers, {rows:,} journal rows, {each.recent} in an account"
        rate = median(row[place] for row in rates)
        report.row(what, f"{rate:,.0f} asks/s", f"{ratio:.0%} of the smallest", goal)


def _sizes(connection: psycopg.Connection) -> tuple[int, int, int]:
    row = connection.execute(
        "SELECT (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'journal'::regclass),"
        " pg_current_wal_lsn() - '0/0'::pg_lsn, (SELECT sum(seq) FROM accounts)"
    ).fetchone()
    if row is None:
        raise RuntimeError("the database said nothing")
    return int(row[0]), int(row[1]), int(row[2])


def _shown(loads: list[Load]) -> str:
    rate = median(each.per_s for each in loads)
    p50, p99 = median(each.p50_ms for each in loads), median(each.p99_ms for each in loads)
    errors = sum(each.errors for each in loads)
    return f"{rate:,.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms" + (f", {errors} errors" if errors else "")


_runs = 0


def _run(name: str) -> str:
    """A name that no other run has, so that no message id comes twice."""
    global _runs  # noqa: PLW0603 - a counter of the process
    _runs += 1
    return f"{name}{os.getpid()}x{_runs}"


@contextmanager
def _redis() -> Generator[str]:
    """A Redis of the benchmark's own, its persistence on; ended by its pid."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _await_port(port)
            yield f"async+redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _await_port(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("redis-server did not start")
