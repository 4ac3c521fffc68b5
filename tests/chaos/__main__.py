"""`python -m tests.chaos`: chaos for as long as you like, and `docs/chaos.md` with what came of it."""

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.chaos.figures import report
from tests.chaos.history import shortest
from tests.chaos.run import Plan, deployed
from tests.chaos.service import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill, freeze and starve a real Takt.")
    parser.add_argument("--seconds", type=float, default=600.0, help="of load; ten minutes if not given")
    parser.add_argument("--seed", type=int, default=None, help="what senders do and what is broken when")
    parser.add_argument("--asks-per-s", type=float, default=30.0)
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "chaos.md")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for all logs and the database")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed  # noqa: S311  no secret
    plan = Plan(seed=seed, asks_per_s=given.asks_per_s)
    print(f"{given.seconds:.0f} s of chaos, seed {seed}", flush=True)
    with deployed(plan, keep=given.keep) as run:
        run.load(given.seconds)
        violations = run.judge()
        agrees, words = run.deployment.verify()
        text = report(run.evidence, violations, given.seconds, seed, words)
        given.report.write_text(text)
        print(text)
        if violations:
            print(shortest(run.evidence, violations, seed))
    return 1 if violations or not agrees else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sys.exit(main())
