"""A readout in the service against the barest SQL of the same tables: part of `make bench-experiments`, or alone by
`python -m bench.readout_bench 1000000`.

So many exposed customers with 20 events and 4 confirmed contacts each: ten sessions, opens, clicks, a purchase, and of
every hundred customers a few who leave, complain or bounce. The plan is that of a budget experiment with three metrics;
the standard ones are added as for every experiment. Goal: 20 s at a million customers. Beside it, in the same run, one
hand-written statement that joins the same exposures and events and sums one outcome of each of the three: less no
readout can do. Of both also the processor time of PostgreSQL with its workers, which says more on a busy machine. Then
how long it takes to read the snapshot (goal: 10 ms).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from bench.report import Report, judged
from bench.screen_bench import server_s
from engine.operations.readout import refresh
from engine.operations.readouts import Readouts
from engine.store import embedded
from engine.store.database import Database
from engine.store.migrations import migrate

_DAY_US = 86_400_000_000
_STEP = 100_000
_KINDS = (
    *("session", "opened", "clicked", "purchase", "unsubscribed", "complained", "bounced", "opted_down", "rating"),
    *("bench", "promotions"),
)
_PLAN: dict[str, Any] = {
    "key": "bench",
    "unit": "customer_id",
    "variants": [
        {"name": "one", "control": True, "dose": 1},
        {"name": "three", "dose": 3, "policy": {"budgets": {"push-weekly": {"limit": 3}}}},
    ],
    "metrics": [
        {"name": "reachable", "kind": "reachable", "channel": "push", "day": 28, "role": "primary"},
        {"name": "gone", "kind": "rate", "event": "unsubscribed", "within_days": 28, "role": "guardrail",
         "margin": 0.002, "direction": "decrease"},
        {"name": "spend", "kind": "mean", "event": "purchase", "value": "value", "within_days": 28,
         "role": "secondary"},
    ],
}  # fmt: skip
_BARE = """
SELECT variant, count(*), sum(gone), avg(spend), var_pop(spend), sum(lost) FROM (
    SELECT x.customer_id, x.variant,
        (count(*) FILTER (WHERE e.kind = {unsubscribed} AND e.at_us < x.diverged_us + {window}) > 0)::int AS gone,
        coalesce(sum(e.value) FILTER (WHERE e.kind = {purchase} AND e.at_us < x.diverged_us + {window}), 0) AS spend,
        count(*) FILTER (WHERE e.kind = ANY({losses}::int[]) AND e.at_us < x.diverged_us + {window}) AS lost
    FROM exposures x LEFT JOIN events e ON e.customer_id = x.customer_id AND e.at_us >= x.diverged_us
    WHERE x.experiment = 1 AND x.diverged_us IS NOT NULL GROUP BY x.customer_id, x.variant
) units GROUP BY variant
"""


class _Taken(NamedTuple):
    """Seconds that passed, and seconds of a processor that the server took."""

    passed_s: float
    busy_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("customers", type=int, nargs="*", default=[1_000_000], help="how many; 1,000,000 by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "takt-bench")
    options = parser.parse_args()
    report = Report("python -m bench.readout_bench")
    with embedded.attach(options.scratch) as server:
        for customers in options.customers:
            measure(report, server, customers, options.rounds)


def measure(report: Report, server: embedded.Server, customers: int, rounds: int) -> None:
    """Adds the section to the report."""
    report.section(f"A readout in the service: {customers:,} exposed customers, {20 * customers:,} events")
    with _database(server) as url:
        numbers = _populate(url, customers)
        readouts: list[_Taken] = []
        bare: list[_Taken] = []
        for _ in range(rounds):
            bare.append(_timed(server.pid, lambda: _bare(url, numbers)))
            readouts.append(_timed(server.pid, lambda: refresh(url, 1)))
        (ours, busy), (theirs, theirs_busy) = _median(readouts), _median(bare)
        goal = judged(ours, 20, "{:.0f} s", at_most=True) if customers >= 1_000_000 else ""
        report.row("the barest SQL, three outcomes", f"{theirs:.2f} s")
        report.row("a readout with the standard metrics", f"{ours:.2f} s", f"{ours / theirs:.1f} times as long", goal)
        compared = f"{busy / theirs_busy:.1f} times as long"
        report.row("processor time of PostgreSQL", f"{busy:.2f} s, and {theirs_busy:.2f} s", compared)
        read = asyncio.run(_read(url))
        report.row("its snapshot, read", f"{read:.1f} ms", "", judged(read, 10, "{:.0f} ms", at_most=True))


def _timed(server_pid: int, work: Callable[[], object]) -> _Taken:
    busy, begun = server_s(server_pid), time.perf_counter()
    work()
    return _Taken(time.perf_counter() - begun, server_s(server_pid) - busy)


def _median(rounds: list[_Taken]) -> _Taken:
    return _Taken(*(statistics.median(each) for each in zip(*rounds, strict=True)))


def _bare(url: str, numbers: dict[str, int]) -> None:
    losses = [numbers[each] for each in ("unsubscribed", "complained")]
    query = sql.SQL(_BARE).format(
        unsubscribed=numbers["unsubscribed"],
        purchase=numbers["purchase"],
        losses=sql.Literal(losses),
        window=28 * _DAY_US,
    )
    with psycopg.connect(url, options="-c work_mem=128MB -c jit=off") as connection:
        connection.execute(query).fetchall()


async def _read(url: str) -> float:
    """Milliseconds, the median of some."""
    opened = Database(url, size=1)
    await opened.open()
    try:
        taken: list[float] = []
        for _ in range(50):
            begun = time.perf_counter()
            await Readouts(opened).newest("bench")
            taken.append(1000 * (time.perf_counter() - begun))
        return statistics.median(taken)
    finally:
        await opened.close()


@contextmanager
def _database(server: embedded.Server) -> Generator[str]:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            migrate(server.url(name))
            yield server.url(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _populate(url: str, customers: int) -> dict[str, int]:
    """An experiment of 60 days that everybody entered within 30. Returns the numbers of the labels."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO labels (name) SELECT unnest(%s::text[])", (list(_KINDS),))
        numbers: dict[str, int] = dict(connection.execute("SELECT name, number FROM labels").fetchall())
        found = connection.execute("SELECT takt_clock() - 60 * %s, current_date - 60, current_date", (_DAY_US,))
        start_us, start, today = found.fetchone() or (0, None, None)
        start_us -= start_us % _DAY_US
        plan = {**_PLAN, "start": str(start), "end": str(today)}
        plan["metrics"] = [{"direction": "increase", **each} for each in _PLAN["metrics"]]
        connection.execute(
            "INSERT INTO experiments (key, state, on_harm, created_us, started_us, source, plan)"
            " VALUES ('bench', 'running', 'alert', %s, %s, '', %s)",
            (start_us, start_us, json.dumps(plan)),
        )
        for first in range(0, customers, _STEP):
            last = min(first + _STEP, customers) - 1
            for statement in _rows(numbers, first, last, start_us):
                connection.execute(statement.encode())
        connection.execute("VACUUM (ANALYZE) events, exposures, journal, resolutions")
        connection.execute("CHECKPOINT")
    return numbers


def _rows(numbers: dict[str, int], first: int, last: int, start_us: int) -> list[str]:
    entered = f"({start_us} + (hashint8(c) & 1048575) * {30 * _DAY_US // 1_048_576}::bigint)"
    of = f"FROM generate_series({first}, {last}) c"
    kind = (
        f"CASE WHEN k <= 10 THEN {numbers['session']} WHEN k <= 15 THEN {numbers['opened']} WHEN k <= 17 THEN"
        f" {numbers['clicked']} WHEN k = 18 THEN {numbers['rating']} WHEN k = 19 THEN {numbers['purchase']}"
        f" WHEN c % 100 < 2 THEN {numbers['unsubscribed']} WHEN c % 100 < 3 THEN {numbers['complained']}"
        f" WHEN c % 100 < 6 THEN {numbers['bounced']} WHEN c % 100 < 8 THEN {numbers['opted_down']}"
        f" ELSE {numbers['session']} END"
    )
    at = f"{entered} + (hashint8(c * 32 + k) & 1048575) * {60 * _DAY_US // 1_048_576}::bigint - {30 * _DAY_US}"
    sent = f"{entered} + k * {6 * _DAY_US} + 1"
    return [
        "INSERT INTO exposures (assigned_us, eligible_us, diverged_us, experiment, variant, phase, flags, customer_id)"
        f" SELECT {entered}, {entered}, {entered}, 1, hashint8(c + 7) & 1, 0, 0, 'c' || c {of}",
        "INSERT INTO events (at_us, received_us, event_key, message_key, value, kind, source, topic, campaign, channel,"
        f" flags, customer_id, event_id) SELECT {at}, {at}, c * 32 + k, 0, CASE WHEN k = 19 THEN c % 97 END, {kind},"
        f" {numbers['bench']}, 0, 0, 2, 0, 'c' || c, 'e' || k {of}, generate_series(1, 20) k",
        "INSERT INTO journal (at_us, start_us, end_us, message_key, seq, ruleset, topic, campaign, team, sender,"
        " channel, weight, priority, attempt, flags, customer_id, message_id)"
        f" SELECT {sent}, {sent}, {sent} + 1, c * 8 + k, 2 * k - 1, 1, {numbers['promotions']}, 0, 0, 0, 2, 1, 50, 1,"
        f" 17, 'c' || c, 'm' || k {of}, generate_series(1, 4) k",
        "INSERT INTO resolutions (at_us, end_us, seq, contact_seq, kind, customer_id)"
        f" SELECT {sent} + 1, {sent} + 1, 2 * k, 2 * k - 1, 1, 'c' || c {of}, generate_series(1, 4) k",
    ]


if __name__ == "__main__":
    main()
