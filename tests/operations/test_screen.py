"""An audience screened: told apart with reasons, started again, by several processes, and as a command."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from engine.core.errors import InvalidAsk
from engine.core.policy import DAY_US, HOUR_US
from engine.core.presets import PRESETS
from engine.core.verdict import Verdict
from engine.operations import audience, policies
from engine.operations.audience import UnreadableAudience, open_audience
from engine.operations.decider import Decider
from engine.operations.resolve import ConfirmCommand, ReleaseCommand
from engine.operations.screen import screen
from engine.operations.screening import COLUMNS, Outcome
from tests.api.caller import eventually
from tests.operations.audiences import CHECK, RESERVE, contacts, entries, ids, reached, read, screened, write
from tests.service import Service


def takts(url: str) -> int:
    """The connections of Takt's processes to this database."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'takt'"
        ).fetchone()
        return row[0] if row else 0


@pytest.mark.anyio
async def test_allowed_and_refused_are_told_apart_with_reasons_and_all_columns(
    decider: Decider, tmp_path: Path
) -> None:
    await reached(decider, "bob")
    path = write(tmp_path / "in.csv", ("name", "customer_id", "mail"), ("Ada", "ada", "a@x"), ("Bob", "bob", "b@x"))
    tally = await screened(decider, path)
    (ada,), (bob,) = read(tmp_path / "allowed.csv"), read(tmp_path / "refused.csv")
    assert list(ada) == ["name", "customer_id", "mail", *(each.name for each in COLUMNS)]
    assert (ada["name"], ada["mail"], ada["message_id"]) == ("Ada", "a@x", "autumn:1:ada")
    assert (ada["verdict"], ada["state"], ada["reasons"], ada["retry_at"]) == ("allow", "reserved", "", "")
    assert (bob["verdict"], bob["state"], bob["reasons"]) == ("defer", "", "min_gap spacing")
    assert bob["retry_at"].endswith("Z")
    assert bob["retry_certain"] == "true"
    assert bob["lease_expires_at"] == ""
    assert tally.outcomes == {Outcome.ALLOWED: 1, Outcome.DEFERRED: 1}
    assert tally.reasons == {("min_gap", "spacing"): 1}
    frees_us = tally.freed_by_us(0.5)
    assert frees_us is not None
    assert 14 * HOUR_US < frees_us - await decider.database.clock_us() <= 16 * HOUR_US


@pytest.mark.anyio
async def test_without_reserving_nobody_is_charged(decider: Decider, tmp_path: Path, database_url: str) -> None:
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",))
    await screened(decider, path, CHECK)
    assert read(tmp_path / "allowed.csv")[0]["state"] == ""
    assert contacts(database_url) == 0


@pytest.mark.anyio
async def test_started_again_a_run_charges_nobody_twice_and_writes_the_same(
    decider: Decider, tmp_path: Path, database_url: str
) -> None:
    await reached(decider, "bob")
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",), ("bob",), ("eve",))
    await screened(decider, path)
    first = (tmp_path / "allowed.csv").read_bytes(), contacts(database_url)
    tally = await screened(decider, path)
    assert ((tmp_path / "allowed.csv").read_bytes(), contacts(database_url)) == first
    assert (tally.resumed, tally.outcomes[Outcome.ALLOWED]) == (2, 2)


@pytest.mark.anyio
async def test_broken_off_in_the_middle_what_was_there_stays_and_the_next_start_completes_it(
    decider: Decider, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "PORTION", 2)
    path = write(tmp_path / "in.csv", ("customer_id", "name"), *((f"c{n}", "x") for n in range(9)))
    (tmp_path / "allowed.csv").write_text("from yesterday")
    opened = open_audience(path)
    path.write_text(path.read_text() + '"and now it is being written to')
    with pytest.raises(UnreadableAudience, match="line 11"):
        await screen(decider, opened, RESERVE, tmp_path / "allowed.csv")
    assert (tmp_path / "allowed.csv").read_text() == "from yesterday"
    assert sorted(os.listdir(tmp_path)) == ["allowed.csv", "in.csv"]
    assert 0 < contacts(database_url) <= 9

    write(path, ("customer_id", "name"), *((f"c{n}", "x") for n in range(9)))
    tally = await screen(decider, open_audience(path), RESERVE, tmp_path / "allowed.csv")
    assert ids(tmp_path / "allowed.csv") == [f"c{n}" for n in range(9)]
    assert contacts(database_url) == 9
    assert tally.resumed > 0


@pytest.mark.anyio
async def test_what_was_sent_since_is_not_allowed_again(decider: Decider, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",), ("bob",))
    await screened(decider, path)
    await decider.settle(ConfirmCommand("ada", "autumn:1:ada"))
    tally = await screened(decider, path)
    assert ids(tmp_path / "allowed.csv") == ["bob"]
    assert [(row["verdict"], row["state"]) for row in read(tmp_path / "refused.csv")] == [("allow", "confirmed")]
    assert tally.outcomes == {Outcome.ALLOWED: 1, Outcome.SENT: 1}


@pytest.mark.anyio
async def test_an_id_that_is_in_use_with_other_content_is_a_bad_row(decider: Decider, tmp_path: Path) -> None:
    await screened(decider, write(tmp_path / "in.csv", ("customer_id",), ("ada",)))
    path = write(tmp_path / "in.csv", ("customer_id",), ("bob",), ("ada",))
    tally = await screened(decider, path, replace(RESERVE, topic="newsletter"))
    assert ids(tmp_path / "allowed.csv") == ["bob"]
    ((line, why),) = tally.bad_rows
    assert line == 3
    assert "in use with another topic" in why


@pytest.mark.anyio
async def test_an_observed_policy_allows_and_says_what_it_would_have_said(decider: Decider, tmp_path: Path) -> None:
    await policies.activate(
        decider.database, PRESETS["considerate"].replace("mode: enforce", "mode: observe"), author="test"
    )
    await reached(decider, "bob")
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",), ("bob",))
    tally = await screened(decider, path, CHECK)
    assert tally.outcomes == {Outcome.ALLOWED: 2}
    assert tally.observed == {Verdict.ALLOW: 1, Verdict.DEFER: 1}
    assert tally.reasons == {("min_gap", "spacing"): 1}


@pytest.mark.anyio
async def test_a_planned_send_is_judged_and_held_for_its_time(decider: Decider, tmp_path: Path) -> None:
    await reached(decider, "ada")
    send_at_us = (await decider.database.clock_us()) + 2 * DAY_US
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",))
    tally = await screened(decider, path, replace(RESERVE, send_at_us=send_at_us))
    assert (tally.outcomes[Outcome.ALLOWED], tally.held_until_us) == (1, send_at_us + HOUR_US)


@pytest.mark.anyio
async def test_what_would_be_wrong_with_every_ask_is_said_before_any(
    decider: Decider, tmp_path: Path, database_url: str
) -> None:
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",))
    too_far = replace(RESERVE, send_at_us=await decider.database.clock_us() + 15 * DAY_US)
    with pytest.raises(InvalidAsk, match="14 days"):
        await screened(decider, path, too_far)
    for wrong in ({"run": "a:b"}, {"topic": ""}, {"campaign": "x" * 180}, {"team": "a\nb"}, {"priority": 101}):
        with pytest.raises(InvalidAsk):
            replace(RESERVE, **wrong)  # type: ignore[arg-type]
    assert entries(database_url) == 0


def test_worker_processes_charge_once_and_end_with_whoever_started_them(service: Service, tmp_path: Path) -> None:
    database_url = service.database_url
    own = takts(database_url)
    write(tmp_path / "in.csv", ("customer_id",), *([f"c{n}"] for n in range(30_000)))
    campaign = ["--channel", "email", "--topic", "promotions", "--campaign", "autumn", "--run", "1", "--reserve"]
    arguments = ["in.csv", *campaign, "--out", "allowed.csv", "--processes", "2"]
    command = [sys.executable, "-c", "from engine.main import main; main()", "screen", *arguments]
    started = subprocess.Popen(
        command, env={**os.environ, "DATABASE_URL": database_url}, cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    waited = threading.Event()
    while not contacts(database_url):
        assert started.poll() is None, "it ended before it could be killed"
        waited.wait(0.02)
    started.kill()
    started.wait()
    eventually(lambda: takts(database_url) <= own)  # workers that outlived it would stay for ever
    assert not (tmp_path / "allowed.csv").exists()

    done = takt(database_url, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "allowed.csv") == [f"c{n}" for n in range(30_000)]
    assert contacts(database_url) == 30_000


@pytest.mark.anyio
async def test_the_command_says_how_many_and_fails_where_rows_were_not_answered(
    decider: Decider, tmp_path: Path, database_url: str
) -> None:
    await reached(decider, "bob")
    write(tmp_path / "in.csv", ("customer_id",), ("ada",), ("bob",), ("ada",))
    campaign = ["--channel", "email", "--topic", "promotions", "--campaign", "autumn", "--run", "1", "--reserve"]
    done = takt(database_url, tmp_path, "in.csv", *campaign, "--out", "allowed.csv", "--refused", "refused.csv")
    assert done.returncode == 0, done.stderr
    for line in ("1  allowed", "1  deferred", "1  duplicates", "1  min_gap spacing"):
        assert line in done.stdout

    write(tmp_path / "in.csv", ("customer_id",), ("ada",), ("",))
    done = takt(database_url, tmp_path, "in.csv", *campaign, "--out", "allowed.csv")
    assert done.returncode == 1
    assert "in.csv, line 3: no customer id" in done.stderr
    assert ids(tmp_path / "allowed.csv") == ["ada"]

    assert takt(database_url, tmp_path, "allowed.csv", "--recheck").returncode == 0
    await decider.settle(ReleaseCommand("ada", "autumn:1:ada"))
    done = takt(database_url, tmp_path, "allowed.csv", "--recheck")
    assert done.returncode == 1
    assert "ada  released" in done.stdout
    done = takt(database_url, tmp_path, "missing.csv", *campaign, "--out", "allowed.csv")
    assert done.returncode == 1
    assert done.stderr == "takt: missing.csv: there is no such file\n"
    assert takt(database_url, tmp_path, "in.csv", *campaign, "--out", "in.csv").returncode == 2


def takt(database_url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.main import main; main()", "screen", *arguments]
    environment = {**os.environ, "DATABASE_URL": database_url}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
