"""Events in: batches over HTTP and a file, those that only have to be kept apart from those that do something.

Customers are those of the benchmark's database. A customer's first session or purchase of a day moves attributes that
rules read, so the first round of those is told under the locks of the accounts, as sends and unsubscribes are.
"""

import asyncio
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from bench.report import Report, judged
from bench.screen_bench import process_s, server_s
from bench.service import Service

GOAL_PER_S = 50_000
_SIZE = 10_000
_CUSTOMERS = 20_000
_AT_ONCE = 4
_FILE_ROWS = 200_000

Line = Callable[[int], str]  # an event of a place, as JSON without its id, source and time


def measure(report: Report, one: Service, seconds: int, server_pid: int, folder: Path) -> None:
    """All of it, on a service whose customers are named c0, c1, ..."""
    report.section(f"Events in batches of {_SIZE:,} over HTTP, {_AT_ONCE} on their way at once, one worker")
    first = asyncio.run(_post(one, "first", _passive, 0.0))
    report.row("sessions and purchases, the first of the day for each customer", f"{first:,.0f} events/s")
    for what, run, line, goal in (
        ("sessions, purchases and opens, each kept", "passive", _passive, True),
        ("sends and deliveries that nobody asked for", "sends", _sent, False),
        ("unsubscribes", "unsubscribes", _unsubscribed, False),
    ):
        busy = process_s(one.pid), server_s(server_pid)
        began = time.perf_counter()
        rate = asyncio.run(_post(one, run, line, float(seconds)))
        brought = rate * (time.perf_counter() - began)
        ours, theirs = (
            (now - then) / brought * 1e6
            for now, then in zip((process_s(one.pid), server_s(server_pid)), busy, strict=True)
        )
        spent = f"{rate:,.0f} events/s; {ours:.0f} us of the service, {theirs:.0f} us of PostgreSQL an event"
        report.row(what, spent, "", judged(rate, GOAL_PER_S, "{:,.0f}/s") if goal else "")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "events.csv"
    _write(file, _FILE_ROWS)
    took_s = [_imported(one, file) for _ in range(2)]
    report.section(f"`takt events import` of {_FILE_ROWS:,} rows of CSV")
    for what, took in zip(("new", "all known already"), took_s, strict=True):
        report.row(what, f"{_FILE_ROWS / took:,.0f} events/s")


async def _post(one: Service, run: str, line: Line, seconds: float) -> float:
    """Events a second. Without seconds each customer's events come once."""
    bodies = [_body(run, line, number * _SIZE) for number in range(max(_AT_ONCE, 2 * _CUSTOMERS // _SIZE))]
    headers = {"Authorization": f"Bearer {one.key}", "Content-Type": "application/json"}
    brought = 0
    until = time.perf_counter() + seconds

    async with httpx.AsyncClient(base_url=one.url, headers=headers, timeout=120) as client:

        async def sender(number: int) -> None:
            nonlocal brought
            for turn, body in _turns(bodies[number::_AT_ONCE], until if seconds else None):
                response = await client.post("/v1/events", content=body.replace(b"%d", str(turn).encode()))
                response.raise_for_status()
                brought += _SIZE

        began = time.perf_counter()
        await asyncio.gather(*(sender(number) for number in range(_AT_ONCE)))
        return brought / (time.perf_counter() - began)


def _turns(bodies: Sequence[bytes], until: float | None) -> Iterable[tuple[int, bytes]]:
    """Each body once; or one after the other until then, each time as other events."""
    turn = 0
    while turn < len(bodies) if until is None else time.perf_counter() < until:
        yield turn, bodies[turn % len(bodies)]
        turn += 1


def _body(run: str, line: Line, first: int) -> bytes:
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    told = f'"source":"{run}","at":"{at}"'
    events = ",".join(f'{{"id":"{run}-%d-{first + place}",{told},{line(first + place)}}}' for place in range(_SIZE))
    return f'{{"events":[{events}]}}'.encode()


def _customer(place: int) -> str:
    return f"c{place % _CUSTOMERS}"


def _passive(place: int) -> str:
    kind = ("session", "purchase", "opened")[place // _CUSTOMERS % 3]
    more = {"session": ',"value":84,"properties":{"pages":7}', "purchase": ',"value":49.9,"margin":12.5'}
    return f'"type":"{kind}","customer_id":"{_customer(place)}"{more.get(kind, "")}'


def _sent(place: int) -> str:
    kind = ("sent", "delivered")[place // _CUSTOMERS % 2]
    message = f"m-%d-{place % _CUSTOMERS}"
    return (
        f'"type":"{kind}","customer_id":"{_customer(place)}","channel":"email","topic":"promotions",'
        f'"message_id":"{message}"'
    )


def _unsubscribed(place: int) -> str:
    return f'"type":"unsubscribed","customer_id":"{_customer(place)}","channel":"sms"'


def _write(file: Path, rows: int) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["id", "source", "type", "customer_id", "at", "value", "margin"])
        for row in range(rows):
            moment = (at + timedelta(milliseconds=row)).isoformat()
            writer.writerow([f"{at.timestamp()}-{row}", "shop", "purchase", _customer(row), moment, "49.9", "12.5"])


def _imported(one: Service, file: Path) -> float:
    environment = {**os.environ, "TAKT_URL": one.url, "TAKT_KEY": one.key}
    command = [str(Path(sys.executable).with_name("takt")), "events", "import", str(file)]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began
