"""What docs/operating.md shows of the scheduler is what the commands do and the code says."""

import re
import sys
from pathlib import Path

from engine.operations import prune
from engine.operations.jobs import JOBS
from tests.docs.test_docs import ROOT, blocks, run
from tests.service import serving

OPERATING = (ROOT / "docs" / "operating.md").read_text()


def test_the_scheduler_s_commands_run(database_url: str) -> None:
    ((language, body),) = blocks(OPERATING, "run").values()
    with serving(database_url) as service:
        path = f"export PATH={Path(sys.executable).parent}:$PATH DATABASE_URL='{database_url}'\n"
        printed = run(language, path + body, service)
    assert all(each.name in printed for each in JOBS)
    assert "breaker: done: 0 stopped" in printed


def test_every_job_is_in_its_table_with_how_often_it_runs() -> None:
    every = {"minute": 60, "10 minutes": 600, "hour": 3_600, "day": 86_400}
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (minute|10 minutes|hour|day) \|", OPERATING, re.MULTILINE))
    assert {name: every[text] * 1_000_000 for name, text in rows.items()} == {each.name: each.every_us for each in JOBS}


def test_what_is_kept_is_kept_for_as_long_as_is_said() -> None:
    told = re.findall(r"(\d+) days", OPERATING[OPERATING.index("## What is kept") :])
    said = (prune.REFUSALS_DAYS, prune.UNRESOLVED_DAYS, prune.HOURLY_SNAPSHOTS_DAYS, prune.RUNS_DAYS, prune.ALARMS_DAYS)
    assert [int(each) for each in told] == list(said)
