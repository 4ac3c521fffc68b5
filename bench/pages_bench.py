"""Every page of the demo: how long the service takes for it, and how many bytes a readout's page has. Part of
`make bench-pages`.

The demo is played anew, for its pages change with what is played. One reader over one connection on the loopback
address: the time from the request to the last byte, which is the service's and PostgreSQL's. Then the same of a copy
with 100 experiments, each with as many readouts as a month brings, and of a customer with 10,000 rows in the journal;
and of the pages that list what runs, while all of them do.
Goals: 100 ms in the median for each, 300,000 bytes for a readout's page, and 90 s for the demo to be played.
"""

import asyncio
import os
import re
import statistics
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import psycopg
from psycopg import sql

from bench.report import Report, judged
from bench.service import KEY, serving
from engine.core.tokens import Scope
from engine.demo import companies, making
from engine.operations import keys
from engine.operations.start import Where
from engine.render.frame import PLACES
from engine.settings import Settings
from engine.store import embedded
from engine.store.database import Database

_GOAL_MS: Final = 100.0
_GOAL_BYTES: Final = 300_000.0
_GOAL_DEMO_S: Final = 90.0
_FEWEST, _MOST, _ENOUGH_S = 7, 40, 2.0
_EXPERIMENTS: Final = 100
_READOUTS: Final = 30
_ROWS: Final = 10_000
_BATCH: Final = 2_000
_LONG: Final = "reader-of-everything"
_HOUR_US: Final = 3_600_000_000

# Copies of the demo's own experiments and readouts: every fourth was shipped without a holdout, the others stopped.
_COPIES = f"""
WITH made AS (
    INSERT INTO experiments (key, state, on_harm, created_us, started_us, ended_us, shipped, source, plan)
    SELECT e.key || '-' || n, CASE WHEN n %% 4 = 0 THEN 'shipped' ELSE 'stopped' END, e.on_harm, e.created_us,
        e.started_us, takt_clock() - n * {_HOUR_US}::bigint,
        CASE WHEN n %% 4 = 0 THEN e.plan #>> '{{variants,1,name}}' END, e.source, e.plan
    FROM generate_series(1, %s) n JOIN experiments e ON e.number = 1 + n %% 4
    RETURNING number, key, ended_us
), logged AS (
    INSERT INTO experiment_log (experiment, entry, at_us, action, author, note, data)
    SELECT number, 1, ended_us, 'stop', 'bench', 'It had run long enough.', '{{}}' FROM made
)
INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)
SELECT m.number, s.number - k, s.computed_us - k * 24 * {_HOUR_US}::bigint, s.as_of_us, s.took_us, s.call, s.readout
FROM made m JOIN experiments e ON e.key = regexp_replace(m.key, '-[0-9]+$', '')
CROSS JOIN LATERAL (SELECT * FROM snapshots WHERE experiment = e.number ORDER BY number DESC LIMIT 1) s
CROSS JOIN generate_series(0, %s - 1) k
"""
_GO_ON = b"UPDATE experiments SET state = 'running', ended_us = NULL, shipped = NULL WHERE state <> 'draft'"
_OF_RUNNING: Final = ("/", "/experiments?state=running")


class Timed(NamedTuple):
    ms: float
    size: int
    rounds: int


def measure(report: Report, scratch: Path) -> None:
    """Of the demo, and of one with much in it."""
    with embedded.attach(scratch) as server:
        begun = time.perf_counter()
        url = _demo(server, scratch)
        made_s = time.perf_counter() - begun
        report.section("The demo: 3,000 customers, twelve weeks, four experiments")
        judgement = judged(made_s, _GOAL_DEMO_S, "{:.0f} s", at_most=True)
        report.row("played through the operations, and read", f"{made_s:.0f} s", "", judgement)
        report.section("Pages of the demo")
        with _reading(url) as reader:
            someone = _someone(url)
            for path in _pages(reader, someone):
                _row(report, reader, path)
            _row(report, reader, _choices(reader), "/u/... (the page on which a customer chooses)")
        report.section(f"The same with {_EXPERIMENTS} experiments, and a customer with {_ROWS:,} rows in the journal")
        with _copy(server, url) as full:
            with psycopg.connect(full, autocommit=True) as connection:
                connection.execute(_COPIES, (_EXPERIMENTS - 4, _READOUTS))  # type: ignore[arg-type]
                connection.execute("ANALYZE")
            with _reading(full) as reader:
                _ask_much(reader)
                for path in _pages(reader, _LONG):
                    _row(report, reader, path)
                last = f"/customer?id={_LONG}&before=100"
                _row(report, reader, last, f"{last} (its last page)")
                with psycopg.connect(full, autocommit=True) as connection:
                    running = connection.execute(_GO_ON).rowcount
                for path in _OF_RUNNING:
                    _row(report, reader, path, f"{path} (while {running} experiments run)")


def _row(report: Report, reader: httpx.Client, path: str, name: str | None = None) -> None:
    found = _timed(reader, path)
    is_readout = path.startswith("/experiments/")
    size = judged(found.size, _GOAL_BYTES, "{:,.0f} bytes", at_most=True) if is_readout else ""
    measured = f"{found.ms:.1f} ms ({found.size:,} bytes, {found.rounds} times)"
    report.row(name or path, measured, size, judged(found.ms, _GOAL_MS, "{:.0f} ms", at_most=True))


def _timed(reader: httpx.Client, path: str) -> Timed:
    """The median of some seconds, after one that warms up."""
    _get(reader, path)
    times: list[float] = []
    size = 0
    while len(times) < _FEWEST or (len(times) < _MOST and sum(times) < _ENOUGH_S):
        began = time.perf_counter()
        size = len(_get(reader, path).content)
        times.append(time.perf_counter() - began)
    return Timed(1_000 * statistics.median(times), size, len(times))


def _get(reader: httpx.Client, path: str) -> httpx.Response:
    response = reader.get(path)
    if response.status_code != 200:
        raise RuntimeError(f"{path} was answered with {response.status_code}")
    return response


def _pages(reader: httpx.Client, customer: str) -> list[str]:
    """All that a reader comes by, from the navigation on."""
    places = [each.path for each in PLACES]
    listed = _links(_get(reader, "/experiments").text, r'href="(/experiments/[^"/?#]+)"')
    subjects = listed[:5]
    older = _links(_get(reader, "/experiments/push-budget").text, r'href="(/experiments/push-budget/readouts/\d+)"')
    versions = _links(_get(reader, "/policy").text, r'href="(/policy/[^"]+)"')
    return [
        *places,
        "/budgets?days=84",
        *subjects,
        *(["/experiments/push-budget"] if "/experiments/push-budget" not in subjects else []),
        *older[-1:],
        "/programme.csv",
        *versions[:3],
        f"/customer?id={quote(customer)}",
    ]


def _links(text: str, pattern: str) -> list[str]:
    return list(dict.fromkeys(re.findall(pattern, text)))


def _demo(server: embedded.Server, scratch: Path) -> str:
    """The database of a new demo, in the server of the scratch folder."""

    def on_day(day: int) -> None:
        if day % 14 == 0:
            print(f"  playing the demo: day {day}")

    where = Where(server.url(), True)
    settings = Settings(data_dir=scratch)
    return asyncio.run(making.made(where, settings, companies.demo(), fresh=True, on_day=on_day)).where.url


@contextmanager
def _copy(server: embedded.Server, url: str) -> Generator[str]:
    """The same demo under another name; dropped at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(making.NAME))
        connection.execute(made)
        try:
            yield url.replace(making.NAME, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _reading(url: str) -> Generator[httpx.Client]:
    """Somebody who is signed in to a service on this database, and may do everything."""
    asyncio.run(_add_key(url))
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "TAKT_PUBLIC_URL": "https://takt.example",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    with (
        serving("bench.noop_service:app", environment, 1, factory=True, ready="/readyz") as (address, _),
        httpx.Client(base_url=address, timeout=60, headers={"Accept": "text/html"}) as reader,
    ):
        # The cookie is marked Secure, for customers come by https: it is sent here all the same.
        signed = reader.post("/sign-in", data={"key": KEY}, headers={"Sec-Fetch-Site": "same-origin"})
        reader.headers["Cookie"] = signed.headers["set-cookie"].partition(";")[0]
        reader.cookies.clear()
        yield reader


async def _add_key(url: str) -> None:
    database = Database(url, size=1)
    await database.open()
    try:
        await keys.create(database, "bench", [Scope.ADMIN], secret=KEY)
    finally:
        await database.close()


def _someone(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT customer_id FROM accounts ORDER BY seq DESC, customer_id LIMIT 1").fetchone()
    return str(row[0]) if row else ""


def _ask_much(reader: httpx.Client) -> None:
    """Half of it allowed, for no budget is about messages in the app; half refused."""
    for first in range(0, _ROWS, _BATCH):
        asks = [
            {
                "message_id": f"m{number}",
                "customer_id": _LONG,
                "channel": "in_app" if number % 2 else "email",
                "topic": "newsletter",
                "campaign": f"spring-{number % 7}",
            }
            for number in range(first, first + _BATCH)
        ]
        _post(reader, "/v1/decisions/batch", {"asks": asks})


def _choices(reader: httpx.Client) -> str:
    """The path of the page on which a customer chooses, from a message's headers."""
    ask = {"message_id": uuid.uuid4().hex, "customer_id": "chooser", "channel": "email", "topic": "newsletter"}
    header: str = _post(reader, "/v1/decisions", ask).json()["headers"]["List-Unsubscribe"]
    return header.strip("<>").removeprefix("https://takt.example")


def _post(reader: httpx.Client, path: str, body: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}
    return reader.post(path, json=body, headers=headers).raise_for_status()
