"""Load from outside the service: wrk for single asks, and a client that posts batches."""

import asyncio
import re
import shutil
import subprocess
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import httpx

_SCRIPT = Path(__file__).parent / "asks.lua"


@dataclass(frozen=True)
class Load:
    """Requests a second, and the latency that half and 99 in 100 of them stayed within."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True)
class Flow:
    """Asks a second that were answered in batches, and how many these were."""

    per_s: float
    asks: int


def have_wrk() -> bool:
    return shutil.which("wrk") is not None


def hammer(
    url: str,
    path: str,
    key: str,
    customers: int,
    *,
    run: str,
    seconds: int = 8,
    connections: int = 64,
    pairs: bool = False,
) -> Load:
    """Single asks over keep-alive connections, each of its own message id, for customers drawn at random."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(_SCRIPT), url + path, "--"]
    command += [str(customers), run, key, path, *(["pairs"] if pairs else [])]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if rate is None:
        raise RuntimeError(f"wrk said nothing that can be read:\n{printed}")
    return Load(float(rate[1]), _latency_ms(printed, 50), _latency_ms(printed, 99), int(errors[1]) if errors else 0)


def _latency_ms(printed: str, percentile: int) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s)", printed, re.MULTILINE)
    if found is None:
        return float("nan")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def post_batches(
    url: str, key: str, customers: int, *, run: str, size: int, seconds: float = 8.0, at_once: int = 4
) -> Flow:
    """Asks a second through batches of one size, some of them on their way at once."""
    return asyncio.run(_post_batches(url, key, customers, run, size, seconds, at_once))


def post_to_all(url: str, key: str, customers: int, *, run: str, size: int) -> None:
    """One ask for each customer, in batches."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
        for number in range(-(-customers // size)):
            body = _batch(customers, f"{run}-{number}", size, number * size)
            client.post("/v1/decisions/batch", content=body).raise_for_status()


async def _post_batches(url: str, key: str, customers: int, run: str, size: int, seconds: float, at_once: int) -> Flow:
    # Many bodies, and others in each run: customers who are asked for again and again would be refused, not allowed.
    first = zlib.crc32(run.encode())
    bodies = [_batch(customers, f"{run}-%d-{number}", size, first + number * size) for number in range(at_once * 10)]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answered = 0
    until = time.perf_counter() + seconds

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:

        async def one(number: int) -> None:
            nonlocal answered
            turn = 0
            while time.perf_counter() < until:
                body = bodies[(number + turn * at_once) % len(bodies)].replace(b"%d", str(turn).encode())
                response = await client.post("/v1/decisions/batch", content=body)
                response.raise_for_status()
                answered += size
                turn += 1

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(at_once)))
        return Flow(answered / (time.perf_counter() - began), answered)


def _batch(customers: int, prefix: str, size: int, first: int) -> bytes:
    """A body for customers of the places first, first + 1, ... in one walk over all of them."""
    asks = ",".join(
        f'{{"message_id":"{prefix}-{index}","customer_id":"c{(first + index) * 104_729 % customers}",'
        f'"channel":"email","topic":"promotions","campaign":"b{index % 7}"}}'
        for index in range(size)
    )
    return f'{{"asks":[{asks}]}}'.encode()
