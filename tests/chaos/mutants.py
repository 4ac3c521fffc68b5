"""A harness that cannot fail proves nothing: services with one deliberate fault each, all of which must be caught.

`python -m tests.chaos.mutants [NAME ...]` prints which check caught which, and after how many seconds of load. The
service without a fault goes through the same and must pass.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.mutant_service import FAULTS
from tests.chaos.run import Plan, deployed
from tests.chaos.service import EndedAtStart

LIMIT_S = 60.0
_DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "mutants.md"
_INTRODUCTION = """\
# Mutants

A harness that cannot fail proves nothing. `make mutants` runs services with one deliberate fault each under the load
of the chaos harness; each must be caught within 60 s of load by a check of the outside oracle, or refused at start.
Written by that command on {day}.

| mutant | the fault | harm done | caught by | after |
|---|---|---|---|---|
"""
LOAD_S = 6.0
KILLS = ("kill service",)
CRASHES = ("kill postmaster",)
CLOCKS = ("step clock back", "step clock ahead")
REFUSED = "refused at start"


@dataclass(frozen=True)
class Mutant:
    """A fault, and what harm brings it to light."""

    name: str
    harm: tuple[str, ...] = ()
    is_refused: bool = False
    customers: int = 10  # few, so that they meet; more where budgets must have room


MUTANTS = (
    Mutant("no-lock"),
    Mutant("lock-and-read-in-one"),
    Mutant("lock-of-this-process"),
    Mutant("repeatable-read-checked", is_refused=True),
    Mutant("clock-of-the-transaction"),
    Mutant("clock-that-steps-back", CLOCKS),
    Mutant("clock-that-stands-still"),
    Mutant("clock-of-the-host"),
    Mutant("presume-sent-at-the-answer"),
    Mutant("count-from-the-reservation"),
    Mutant("answer-before-commit", KILLS),
    Mutant("answers-stored-outside", KILLS),
    Mutant("commit-without-waiting", CRASHES),
    Mutant("commit-without-waiting-checked", is_refused=True),
    Mutant("charge-one-by-one"),
    Mutant("confirm-whatever-it-is"),
    Mutant("release-whatever-it-is"),
    Mutant("unsubscribe-without-the-lock"),
    Mutant("unsubscribe-without-revoking"),
    Mutant("clamped-counter"),
    Mutant("window-closed-at-its-end", customers=60),
    Mutant("window-ends-too-early", customers=60),
    Mutant("messages-forgotten"),
    Mutant("rules-kept"),
    Mutant("rules-kept-for-a-second"),
    Mutant("limits-of-the-control"),
    Mutant("variants-not-on-record"),
    Mutant("events-without-a-key"),
    Mutant("events-kept-after-the-answer", KILLS),
    Mutant("unsubscribes-by-event-unheard"),
    Mutant("keys-believed-too-long", ("revoke key",)),
    Mutant("doubt-taken-for-done", ("cut commits",)),
    Mutant("allow-when-in-doubt", ("stop database",)),
)


@dataclass(frozen=True)
class Catch:
    """How a mutant fared. `checks`: how often each check spoke; empty if none did."""

    checks: dict[str, int]
    seconds: float
    words: str = ""


def hunt(mutant: Mutant, seed: int, limit_s: float = LIMIT_S) -> Catch:
    """Load a mutant until a check speaks, or for `limit_s`."""
    plan = Plan(seed, mutant.harm, pause_s=(0.5, 2.0), customers=mutant.customers, senders=24, asks_per_s=40.0)
    try:
        with deployed(plan, launch=("-m", "tests.chaos.mutant_service", mutant.name)) as run:
            began = time.monotonic()
            while True:
                run.load(LOAD_S)
                violations = run.judge()
                seconds = time.monotonic() - began
                if violations or seconds > limit_s:
                    first = min(violations, key=lambda each: each.at, default=None)
                    checks = Counter(each.check for each in violations)
                    return Catch(dict(checks.most_common()), seconds, first.text if first else "")
    except EndedAtStart as ended:
        return Catch({REFUSED: 1}, 0.0, ended.words.splitlines()[-1])


def is_as_expected(mutant: Mutant, catch: Catch) -> bool:
    if mutant.name == "none":
        return not catch.checks
    return bool(catch.checks) and (REFUSED in catch.checks) is mutant.is_refused


def main() -> int:
    parser = argparse.ArgumentParser(description="Show that the chaos harness catches deliberate faults.")
    parser.add_argument("names", nargs="*", help="only these (`none`: the service as it is)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chosen = [
        each for each in (Mutant("none", KILLS + CRASHES), *MUTANTS) if not given.names or each.name in given.names
    ]
    print(f"{'mutant':32} {'after':>6}  caught by", flush=True)
    failed, rows = 0, list[str]()
    for mutant in chosen:
        catch = hunt(mutant, given.seed)
        good = is_as_expected(mutant, catch)
        failed += not good
        rows.append(_row(mutant, catch))
        checks = ", ".join(f"{check} ({count})" for check, count in catch.checks.items()) or "nothing"
        print(f"{mutant.name:32} {catch.seconds:5.1f}s  {checks}{'' if good else '   <-- UNEXPECTED'}", flush=True)
        if catch.words:
            print(f"{'':41}{catch.words[:110]}", flush=True)
    if not given.names:
        _DOCUMENT.write_text(_INTRODUCTION.format(day=datetime.now(UTC).date()) + "\n".join(rows) + "\n")
        print(f"written to {_DOCUMENT}")
    return 1 if failed else 0


def _row(mutant: Mutant, catch: Catch) -> str:
    fault = " ".join((FAULTS[mutant.name].__doc__ or "").split())
    caught = "refused at start" if REFUSED in catch.checks else ", ".join(catch.checks) or "nothing"
    return f"| {mutant.name} | {fault} | {', '.join(mutant.harm) or 'load alone'} | {caught} | {catch.seconds:.0f} s |"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sys.exit(main())
