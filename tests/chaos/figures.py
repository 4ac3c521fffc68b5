"""What a run was, in numbers: how much was asked and sent, what was broken, how long senders waited."""

import math
import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.evidence import LATE, NEVER, REVOKED, Evidence, Resolution, Violation


class Figures(NamedTuple):
    """Recovery: by fault, seconds from its mending (for kills: from the kill) to the first definite answer."""

    asks: int
    allowed: int
    sends: int
    resolutions: int
    unsubscribes: int
    returns: int
    events: int
    activations: int
    experiments: int
    treated: int
    requests: int
    unavailable: int
    silent: int
    late: int
    revoked: int
    faults: dict[str, int]
    recovery_s: dict[str, list[float]]


def figures(found: Evidence) -> Figures:
    kinds = Counter(each.kind for story in found.entries.values() for each in story if isinstance(each, Resolution))
    recovery: dict[str, list[float]] = {}
    for fault in found.faults:
        recovery.setdefault(fault["name"], []).append(_recovery_s(found, fault))
    return Figures(
        asks=len(found.asks),
        allowed=sum(each.allowed for each in found.asks),
        sends=len(found.sends),
        resolutions=len(found.resolved),
        unsubscribes=sum(each.closes for each in found.chosen),
        returns=sum(not each.closes for each in found.chosen),
        events=len(found.told),
        activations=len(found.activated),
        experiments=sum(each.ended < NEVER for each in found.ran.values()),
        treated=sum(bool(each.variants) for each in found.asks),
        requests=len(found.tries),
        unavailable=sum(each.status >= 500 for each in found.tries),
        silent=sum(each.status == 0 for each in found.tries),
        late=kinds[LATE],
        revoked=kinds[REVOKED],
        faults={name: len(each) for name, each in sorted(recovery.items())},
        recovery_s=recovery,
    )


def _recovery_s(found: Evidence, fault: dict[str, Any]) -> float:
    """From the kill, or else from the end of the fault, to the first answer that was asked for after it was mended.

    A tenth of a second more after a kill: what is left of a killed PostgreSQL may answer for some milliseconds.
    """
    since = fault["t"] if fault["name"].startswith("kill") else fault["mended"]
    port, asked = fault.get("port"), max(fault["mended"], since + 100_000)
    answers = (
        each.got for each in found.tries if each.asked >= asked and each.status == 200 and port in (None, each.port)
    )
    return (min(answers, default=fault["ready"]) - since) / 1e6


def report(found: Evidence, violations: Sequence[Violation], seconds: float, seed: int, verified: str) -> str:
    """The page `docs/chaos.md`. `verified`: what `takt verify` said afterwards."""
    told = figures(found)
    decided = told.asks + told.resolutions + told.unsubscribes + told.events
    checks = Counter(each.check for each in violations)
    rows = [
        f"| {name} | {told.faults[name]} | {_median(times):.2f} | {max(times):.2f} |"
        for name, times in sorted(told.recovery_s.items())
    ]
    verdict = "**No promise was broken.**" if not violations else f"**{len(violations)} violations**: {dict(checks)}."
    return _PAGE.format(
        date=datetime.now(UTC).date(), machine=machine(), busy=os.getloadavg()[1],
        seconds=seconds, seed=seed, verdict=verdict,
        rate=3 / max(decided, 1), decided=decided, kills=sum(told.faults.values()),
        lost=checks["2 lost"] + checks["2 numbering"] + checks["2 events"], over=checks["1 over"] + checks["1 sent"],
        rows="\n".join(rows), verified=_brief(verified), **told._asdict(),
    )  # fmt: skip


def _brief(verified: str) -> str:
    """Without the customers by name whom a clock ran ahead of."""
    return " ".join(verified.partition("\n  customer ")[0].rstrip(":").split())


def machine() -> str:
    """Processor and memory, as far as the system tells."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = Path("/proc/meminfo").read_text().split()[1]
    return f"{_cores()} cores, {model}, {int(pages) / 2**20:.0f} GB, {platform.system()} {platform.release()}"


def _cores() -> int:
    return sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) / 2) - 1]


_PAGE = """\
# Chaos: what was broken, and what held

Written by `make chaos`. Senders in a process of their own ask two processes of the service, over HTTP, for customers
whose budgets roll every few seconds; customers leave and come back, events tell of what was sent and done, twice and in
any order, and policies and experiments on a budget begin and end. Meanwhile processes are killed and frozen, sessions
ended, connections used up, the database stopped, its clock stepped back and ahead by up to a day, and the network
between one of the two and the database stalled, reset and cut as soon as COMMIT was sent. The clocks of some senders
and of both hosts of the service are a day wrong all the time. Senders write down what they intend before they ask, and
a fake provider what was really sent. A judge of less than 200 lines that shares no code with the engine then holds
these logs against the tables (`tests/chaos/oracle.py`). That it can find fault is shown by `make mutants`.

{verdict}

| {date}, {machine} | |
|---|---|
| load | {seconds:.0f} s, seed {seed} |
| the machine's own load average (it may have had other work) | {busy:.1f} |
| asks answered | {asks:,} ({allowed:,} allowed) |
| messages sent | {sends:,} |
| confirms and releases acknowledged | {resolutions:,} |
| unsubscribes acknowledged (by page, event and one click) | {unsubscribes:,}, of which {returns:,} re-subscribed |
| events acknowledged | {events:,} |
| activations of a policy | {activations:,} |
| experiments started and stopped | {experiments:,}, with {treated:,} asks under a variant |
| requests made | {requests:,}, of which {unavailable:,} answered 503 and {silent:,} not at all |
| contacts late, revoked (counted apart) | {late:,}, {revoked:,} |
| faults | {kills:,} |
| over a limit | {over} |
| acknowledged and lost | {lost} |
| `takt verify` afterwards | {verified} |

Seconds until the first answer to anybody, from the kill; where something was stopped, frozen or used up, from its end:

| fault | times | median | longest |
|---|---|---|---|
{rows}

## What this cannot show

* `kill -9` is not a power cut: what the operating system holds in memory survives the first and not the second.
  The settings that make the difference (`fsync`, `full_page_writes`, `synchronous_commit`) are checked at each start.
* None in {decided:,} bounds the rate at {rate:.1e} (3/n, at 95 %), under this load, on this machine.
* One machine has one clock. What is wrong on purpose is what the senders say, what the service's Python is told the
  time is, and what Takt's function in the database says; PostgreSQL and the provider go by the machine's.
* A clock that leaps ahead, be it back to the right time, ends leases and windows early by so much. Nothing can be done
  about it, and sends are held against a limit only if no leap lies between them. While a clock is off, time may stand
  still for a customer; of an unsubscribe and a re-subscribe at one instant the unsubscribe holds.
* A disk that lies, a full disk: not here.
* Senders are honest: who sends without asking, or after its lease, is found by other means.
* A message that was sent and not confirmed when an unsubscribe revoked its lease gives its budget back. Such sends are
  counted apart, as late ones are.
"""
