"""`python -m tests.calibration.service`: all seeds, and `docs/calibration-service.md` with what came of them."""

import argparse
import asyncio
import pickle
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from engine.demo.companies import small
from engine.store import embedded
from tests.calibration.claims import Verdict
from tests.calibration.service.claiming import findings
from tests.calibration.service.playing import own_database, seen
from tests.calibration.service.report import report
from tests.calibration.service.scoring import Score, score
from tests.conftest import TEST_DATA_DIR

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.calibration.service", description="Count how often readouts of the service are right."
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="the first seed; 1 if not given")
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=63)
    parser.add_argument("--workers", type=int, default=2, help="seeds that are played at the same time; 2 if not given")
    parser.add_argument(
        "--kept", type=Path, help="a folder of scores: what is there, by the same code, is not played again"
    )
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "calibration-service.md")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    scores = played(seeds, given.customers, given.days, given.workers, given.kept)
    found = findings(scores)
    given.report.write_text(report(found, scores, given.customers, given.days))
    for each in found:
        print(f"{each.verdict:13}  {each.tally.coverage:.3f} of {each.tally.known}  {each.case.name}")
    return 1 if any(each.verdict is Verdict.FAILS for each in found) else 0


def played(seeds: range, customers: int, days: int, workers: int, kept: Path | None = None) -> list[Score]:
    """In the order of the seeds; each in a process, on a database of its own."""
    with embedded.attach(TEST_DATA_DIR), ProcessPoolExecutor(workers) as pool:
        started = time.monotonic()
        waiting = [pool.submit(partial(one, seed, customers, days, kept)) for seed in seeds]
        scores: list[Score] = []
        for future in as_completed(waiting):
            each = future.result()
            scores.append(each)
            print(f"{len(scores):4} of {len(seeds)}  {time.monotonic() - started:6.0f} s  seed {each.seed}", flush=True)
            for sentence in each.wrong:
                print(f"      {sentence}", flush=True)
    return sorted(scores, key=lambda each: each.seed)


def one(seed: int, customers: int, days: int, kept: Path | None = None) -> Score:
    there = kept / f"{seed}-{customers}-{days}.pickle" if kept else None
    if there and there.exists():
        return pickle.loads(there.read_bytes())  # noqa: S301 written by this command
    with embedded.attach(TEST_DATA_DIR) as server, own_database(server) as url:
        found = score(asyncio.run(seen(url, small(customers, days), seed)))
    if there:
        there.parent.mkdir(parents=True, exist_ok=True)
        beside = there.with_suffix(".part")
        beside.write_bytes(pickle.dumps(found))
        beside.rename(there)
    return found


if __name__ == "__main__":
    sys.exit(main())
