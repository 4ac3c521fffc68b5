"""`python -m tests.calibration`: all cases, and `docs/statistics.md` with what came of them."""

import argparse
import sys
import time
from pathlib import Path

from tests.calibration.cases import all_cases
from tests.calibration.claims import Finding, Verdict, generator, judge
from tests.calibration.report import report

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.calibration", description="Count how often intervals are wrong."
    )
    parser.add_argument("--simulations", type=int, default=10_000, help="of each case; 10,000 if not given")
    parser.add_argument("--seed", type=int, default=20261005)
    parser.add_argument(
        "--only", default="", help="cases whose family or name contains this; then no report is written"
    )
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "statistics.md")
    given = parser.parse_args()
    cases = [each for each in all_cases() if given.only.lower() in f"{each.family}: {each.name}".lower()]
    findings: list[Finding] = []
    for case in cases:
        started = time.process_time()
        found = judge(case, case.run(generator(case, given.seed), given.simulations), len(all_cases()))
        findings.append(found)
        tally = found.tally
        print(
            f"{found.verdict:13}  {tally.coverage:.4f}  {tally.below:5} {tally.above:5}  "
            f"{time.process_time() - started:5.1f} s  {case.family}: {case.name}",
            flush=True,
        )
    if not given.only:
        given.report.write_text(report(findings, given.simulations, given.seed, time.process_time()))
    return 1 if any(each.verdict is Verdict.FAILS for each in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
