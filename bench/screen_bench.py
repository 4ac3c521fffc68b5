"""`takt screen` of N customers as its user runs it: seconds, CPU, peak memory: `python -m bench.screen_bench 100000`.

Customers have ten contacts over the last four weeks, under the preset `considerate`; a database on a server of the
benchmark's own. Screened without reservation, with it, started again (all replayed), and rechecked. On a shared
machine compare CPU seconds, and ratios of one run; memory must not grow with N. CPU is that of all processes of the
command, the peak that of the largest.
"""

import argparse
import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from engine.core.presets import PRESETS
from engine.operations import policies
from engine.store import embedded
from engine.store.database import Database, ensure_weeks
from engine.store.migrations import migrate

_DAY_US = 86_400_000_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_CONTACTS = 10
_ZONES = "(ARRAY['Europe/Berlin', 'Europe/London', 'America/New_York', NULL])[1 + c %% 4]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("customers", type=int, nargs="+", help="how many; several make several measurements")
    parser.add_argument("--parquet", action="store_true", help="Parquet in and out, instead of CSV")
    parser.add_argument("--json", action="store_true", help="the figures once more, as JSON")
    parser.add_argument("--processes", type=int, help="as the command's own option; by default what it chooses")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "takt-screen-bench")
    options = parser.parse_args()
    print(f"{'customers':>10} {'what':<16} {'wall s':>8} {'asks/s':>8} {'python s':>9} {'server s':>9} {'peak MB':>8}")
    with embedded.attach(options.scratch / "pg") as server:
        for customers in options.customers:
            suffix = ".parquet" if options.parquet else ".csv"
            runs = measure(server, customers, options.scratch, suffix, options.processes)
            if options.json:
                print(json.dumps([asdict(each) for each in runs]))


@dataclass(frozen=True)
class Run:
    """One command: what it did, how long it took, and the most memory that one of its processes held."""

    what: str
    wall_s: float
    peak_mb: float


def measure(
    server: embedded.Server, customers: int, folder: Path, suffix: str = ".csv", processes: int | None = None
) -> list[Run]:
    """Screens all customers of a database made for it, in each way that the command has."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            migrate(server.url(name))
            asyncio.run(_prepare(server.url(name)))
            populate(server.url(name), customers)
            audience = folder / f"audience{suffix}"
            write_audience(audience, customers)
            allowed, refused = folder / f"allowed{suffix}", folder / f"refused{suffix}"
            campaign = ["--channel", "email", "--topic", "promotions", "--campaign", "autumn", "--run", "1"]
            if processes is not None:
                campaign += ["--processes", str(processes)]
            files = ["--out", str(allowed), "--refused", str(refused)]
            ways = (
                ("check", [str(audience), *campaign, *files]),
                ("reserve", [str(audience), *campaign, *files, "--reserve"]),
                ("started again", [str(audience), *campaign, *files, "--reserve"]),
                ("recheck", [str(allowed), "--recheck"]),
            )
            return [run(server, what, customers, arguments) for what, arguments in ways]
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def run(server: embedded.Server, what: str, customers: int, arguments: list[str]) -> Run:
    """One command in a process of its own, with what it and the database's server used."""
    with psycopg.connect(server.url("postgres")) as connection:
        name = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'").fetchone()
    environment = {**os.environ, "DATABASE_URL": server.url(name[0] if name else "")}
    began, served = time.perf_counter(), server_s(server.pid)
    command = [sys.executable, "-c", "from engine.main import main; main()", "screen", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    output = process.stdout.read().decode() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    python_s = usage.ru_utime + usage.ru_stime
    print(
        f"{customers:>10,} {what:<16} {wall_s:>8.1f} {customers / wall_s:>8,.0f} {python_s:>9.1f}"
        f" {server_s(server.pid) - served:>9.1f} {usage.ru_maxrss / 1024:>8,.0f}",
        flush=True,
    )
    return Run(what, wall_s, usage.ru_maxrss / 1024)


def write_audience(path: Path, customers: int) -> None:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("customer_id", "name", "country"))
            writer.writerows((f"c{n}", f"Person {n}", "DE") for n in range(customers))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(each, pa.string()) for each in ("customer_id", "name", "country")])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, customers, 100_000):
            some = range(first, min(first + 100_000, customers))
            columns = [[f"c{n}" for n in some], [f"Person {n}" for n in some], ["DE"] * len(some)]
            writer.write_batch(pa.record_batch([pa.array(each) for each in columns], schema=schema))


def populate(url: str, customers: int) -> None:
    """Ten recorded contacts a customer, over three channels and 28 days, each customer's at days of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO labels (name) VALUES ('promotions'), ('spring') ON CONFLICT DO NOTHING")
        numbers = dict(connection.execute("SELECT name, number FROM labels").fetchall())
        topic, campaign = numbers["promotions"], numbers["spring"]
        now_us = connection.execute("SELECT takt_clock()").fetchone()[0]  # type: ignore[index]
        at = f"({now_us} - (1 + (c * 7 + k * 11) %% 28)::bigint * {_DAY_US} - c %% 1000 * 1000000::bigint)"
        channel = "(1 + (c + k) %% 3)::int2"
        recorded, pairs = now_us - _DAY_US, f"generate_series(%s::int, %s::int) c, generate_series(1, {_CONTACTS}) k"
        entry = (
            f"int4send(k) || int8send({at}) || int8send({at}) || int2send({channel}) || int4send({topic})"
            f" || int4send({campaign}) || int4send(0) || int2send(1::int2) || '\\x3218'::bytea"
        )
        for first in range(0, customers, 100_000):
            some = (first, min(first + 100_000, customers) - 1)
            connection.execute(
                "INSERT INTO journal (at_us, start_us, end_us, message_key, seq, ruleset, topic, campaign, team,"
                " sender, channel, weight, priority, attempt, flags, customer_id, message_id)"
                f" SELECT {recorded}, {at}, {at}, hashtextextended('c' || c || ':h' || k, 0), k, 1, {topic},"
                f" {campaign}, 0, 0, {channel}, 1, 50, 1, 24, 'c' || c, 'h' || k FROM {pairs}".encode(),
                some,
            )
            connection.execute(
                "INSERT INTO accounts (customer_id, seq, latest_us, complete_since_us, contacts)"
                f" SELECT 'c' || c, {_CONTACTS}, {recorded}, 0,"
                f" '\\x01'::bytea || int2send({_CONTACTS}::int2) || int2send(0::int2)"
                f" || string_agg({entry}, ''::bytea ORDER BY k) FROM {pairs} GROUP BY c".encode(),
                some,
            )
            connection.execute(
                f"""INSERT INTO customers (customer_id, time_zone, attributes) SELECT 'c' || c, {_ZONES},"""
                """ '{"country": "DE"}' FROM generate_series(%s::int, %s::int) c""".encode(),
                some,
            )
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


async def _prepare(url: str) -> None:
    database = Database(url, size=2)
    await database.open()
    async with database.connection() as connection:
        await ensure_weeks(connection)
    await policies.activate(database, PRESETS["considerate"], author="bench")
    await database.close()


def process_s(pid: int) -> float:
    """The CPU seconds of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def server_s(postmaster: int) -> float:
    """The CPU seconds of the server: its own, of the children it has waited for, and of those that live."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == postmaster:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            total += sum(map(int, fields[11:13]))
    return total * _TICK_S


if __name__ == "__main__":
    main()
