"""`takt scheduler`: how the jobs stand, and one run by hand."""

import json

from tests.cli.command import takt
from tests.service import Service


def test_a_job_run_by_hand_shows_in_the_status(service: Service) -> None:
    ran = takt(service, "scheduler", "run", "holdouts")
    assert (ran.code, ran.out) == (0, "holdouts: done: 0 read; 0 ended\n")
    shown = takt(service, "scheduler", "status")
    assert "Nobody leads" in shown.err
    (line,) = (each for each in shown.out.splitlines() if each.startswith("holdouts"))
    assert "done: 0 read; 0 ended" in line
    assert "s ago" in line


def test_the_status_is_there_for_programs(service: Service) -> None:
    found = json.loads(takt(service, "scheduler", "status", "--json").out)
    assert found["leader"] is None
    assert {each["job"]: each["every_s"] for each in found["jobs"]} == {
        "alarms": 60, "breaker": 600, "traffic": 600, "readouts": 3_600, "holdouts": 3_600, "prune": 86_400,
    }  # fmt: skip
    assert (found["alarms"], found["alarms_waiting"]) == ([], 0)


def test_an_unknown_job_is_told_with_those_there_are(service: Service) -> None:
    assert takt(service, "scheduler", "run", "readout").sentence == (
        "takt: there is no job 'readout': there are alarms, breaker, traffic, readouts, holdouts, prune"
    )


def test_a_secret_that_signs_nothing_is_told_before_anything_runs(service: Service) -> None:
    more = {"TAKT_ALARM_URL": "http://127.0.0.1:9", "TAKT_ALARM_SECRET": "nothing"}
    assert "TAKT_ALARM_SECRET" in takt(service, "scheduler", "run", "alarms", more=more).sentence
