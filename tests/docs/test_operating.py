"""What docs/operating.md shows of the scheduler is what the commands do and the code says."""

import re
import sys
from pathlib import Path

from engine.operations import prune, prune_contacts
from engine.operations.jobs import JOBS
from engine.store import pruning
from engine.store.metadata import TABLES
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


def test_every_table_is_kept_for_as_long_as_is_said() -> None:
    page = (ROOT / "docs" / "pruning.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    named = {table: told for first, told, *_ in rows for table in re.findall(r"`([a-z_]+)`", first)}
    assert set(TABLES.tables) <= set(named)
    days = {table: int(found[1]) for table, told in named.items() if (found := re.search(r"(\d+) days", told))}
    assert days == {
        "journal": prune_contacts.CONTACTS_DAYS,
        "resolutions": prune_contacts.CONTACTS_DAYS,
        "refusals": prune.REFUSALS_DAYS,
        "unresolved_events": prune.UNRESOLVED_DAYS,
        "snapshots": prune.HOURLY_SNAPSHOTS_DAYS,
        "job_runs": prune.RUNS_DAYS,
        "alarms": prune.ALARMS_DAYS,
        "hourly_asks": prune.HOURS_DAYS,
        "hourly_crowding": prune.HOURS_DAYS,
        "budget_levels": prune.HOURS_DAYS,
    }
    waits = [int(each) for each in re.findall(r"(\d+) days (?:before it|after its)", page)]
    assert waits == [pruning.READ_BACK_DAYS, pruning.GRACE_DAYS]
