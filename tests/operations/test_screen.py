"""An audience screened: the formats, what is wrong with a file or a row, starting again, and looking again."""

import csv
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.core.errors import Conflict, InvalidAsk, NotFound
from engine.core.policy import DAY_US, HOUR_US
from engine.core.presets import PRESETS
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Verdict
from engine.operations import audience, policies
from engine.operations.audience import BadRow, UnreadableAudience, open_audience
from engine.operations.decider import Decider
from engine.operations.file import Suppress
from engine.operations.recheck import open_screened, recheck
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand
from engine.operations.result_file import FORMULA_STARTS, ResultFile, UnfitTarget
from engine.operations.screen import screen
from engine.operations.screening import COLUMNS, Outcome, Screening, Tally
from tests.service import Service

CHECK = Screening("email", "promotions", "autumn", "1", team="crm")
RESERVE = replace(CHECK, reserves=True, lease_us=HOUR_US)


def write(path: Path, *rows: Sequence[str], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def ids(path: Path) -> list[str]:
    return [row["customer_id"] for row in read(path)]


def contacts(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM journal").fetchone()
        return row[0] if row else 0


def entries(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT coalesce(sum(seq), 0) FROM accounts").fetchone()
        return row[0] if row else 0


def takts(url: str) -> int:
    """The connections of Takt's processes to this database."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'takt'"
        ).fetchone()
        return row[0] if row else 0


async def reached(decider: Decider, *customers: str) -> None:
    """They had an e-mail an hour ago: the next one has to wait."""
    now_us = await decider.database.clock_us()
    await decider.settle_all([RecordCommand(who, "old", "email", "promotions", now_us - HOUR_US) for who in customers])


async def screened(decider: Decider, path: Path, screening: Screening = RESERVE) -> Tally:
    folder = path.parent
    return await screen(decider, open_audience(path), screening, folder / "allowed.csv", folder / "refused.csv")


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
async def test_a_customer_who_is_there_twice_has_one_row(
    decider: Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "PORTION", 2)
    rows = [("ada", "1"), ("bob", "2"), ("ada", "3"), ("eve", "4"), ("eve", "5"), ("ada", "6")]
    tally = await screened(decider, write(tmp_path / "in.csv", ("customer_id", "n"), *rows), CHECK)
    assert [(row["customer_id"], row["n"]) for row in read(tmp_path / "allowed.csv")] == [rows[0], rows[1], rows[3]]
    assert (tally.duplicates, tally.rows) == (3, 6)


@pytest.mark.anyio
async def test_bad_rows_are_named_by_line_and_harm_no_other(decider: Decider, tmp_path: Path) -> None:
    lines = [
        b"customer_id,name",
        b'ada,"two',
        b'lines"',
        b",nobody",
        b"b\x00b,x",
        b"caf\xe9,x",
        b"bob,caf\xe9",
        b"x" * 200 + b",x",
        b"",
        b"eve",
        "zoë,ë".encode(),
    ]
    (tmp_path / "in.csv").write_bytes(b"\n".join(lines))
    opened = open_audience(tmp_path / "in.csv", id_chars_max=CHECK.id_chars_max)
    tally = await screen(decider, opened, CHECK, tmp_path / "allowed.csv")
    assert ids(tmp_path / "allowed.csv") == ["ada", "zoë"]
    assert tally.bad == 6
    assert tally.bad_rows == [
        BadRow(4, "no customer id"),
        BadRow(5, "a customer id with control characters"),
        BadRow(6, "a cell that is not UTF-8"),
        BadRow(7, "a cell that is not UTF-8"),
        BadRow(8, "a customer id of 200 characters, where 191 fit into a message id of its own"),
        BadRow(10, "1 cells where the header names 2 columns"),
    ]


@pytest.mark.anyio
async def test_an_id_that_is_in_use_with_other_content_is_a_bad_row(decider: Decider, tmp_path: Path) -> None:
    await screened(decider, write(tmp_path / "in.csv", ("customer_id",), ("ada",)))
    path = write(tmp_path / "in.csv", ("customer_id",), ("bob",), ("ada",))
    tally = await screened(decider, path, replace(RESERVE, topic="newsletter"))
    assert ids(tmp_path / "allowed.csv") == ["bob"]
    ((line, why),) = tally.bad_rows
    assert line == 3
    assert "in use with another topic" in why


def _truncated_parquet(path: Path) -> None:
    pq.write_table(pa.table({"customer_id": [f"c{n}" for n in range(50_000)]}), path)
    path.write_bytes(path.read_bytes()[:-100])


def _damaged_parquet(path: Path) -> None:
    pq.write_table(pa.table({"customer_id": [f"c{n}" for n in range(50_000)]}), path, row_group_size=25_000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3_000] = b"\xff" * 3_000
    path.write_bytes(data)


def _ids_of_another_type(path: Path) -> None:
    pq.write_table(pa.table({"customer_id": [1.5]}), path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a quote that does not end": (
        lambda path: path.write_text('customer_id\nada\n"bob\neve\n'),
        "line 3: a quoted cell",
    ),
    "text behind a quote": (lambda path: path.write_text('customer_id\n"ada"x\n'), "line 2: no CSV"),
    "a cell without end": (lambda path: path.write_text('customer_id\nada\n"' + "x\n" * 100_000), "line 3: a cell of"),
    "no such column": (lambda path: path.write_text("id;name\n1;2\n"), "line 1: there is no column 'customer_id'"),
    "a column named twice": (
        lambda path: path.write_text("customer_id,a,a\n"),
        "line 1: the column 'a' is named twice",
    ),
    "nothing at all": (lambda path: path.touch(), "is empty"),
    "a folder": (lambda path: path.mkdir(), "no plain file"),
    "no file": (lambda path: None, "no such file"),
    "Parquet without its end": (_truncated_parquet, "is not a whole Parquet file"),
    "Parquet damaged inside": (_damaged_parquet, r"after row [0-9,]+"),
    "Parquet with other ids": (_ids_of_another_type, "is of the type double; ids are text or whole numbers"),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_file_is_refused_in_one_sentence_that_names_the_place(fault: str, tmp_path: Path) -> None:
    make, place = UNREADABLE[fault]
    make(tmp_path / "in")
    with pytest.raises(UnreadableAudience, match=place) as caught:
        open_audience(tmp_path / "in")
    assert str(tmp_path / "in") in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.anyio
async def test_parquet_in_and_out_keeps_types(decider: Decider, tmp_path: Path) -> None:
    await reached(decider, "2")
    table = pa.table({"customer_id": [1, None, 2], "score": [0.5, 1.5, -2.5], "tags": [["a"], [], None]})
    pq.write_table(table, tmp_path / "in.parquet")
    out, refused = tmp_path / "allowed.parquet", tmp_path / "refused.parquet"
    tally = await screen(decider, open_audience(tmp_path / "in.parquet"), RESERVE, out, refused)
    assert tally.bad_rows == [BadRow(2, "no customer id")]
    allowed = pq.read_table(out)
    assert [allowed.schema.field(each).type for each in table.column_names] == table.schema.types
    (row,) = allowed.to_pylist()
    assert (row["customer_id"], row["score"], row["tags"], row["message_id"]) == (1, 0.5, ["a"], "autumn:1:1")
    assert row["retry_at"] is None
    assert row["lease_expires_at"].utcoffset().total_seconds() == 0
    assert pq.read_table(refused).to_pylist()[0]["reasons"] == "min_gap spacing"


@pytest.mark.anyio
async def test_formats_mix_and_a_semicolon_stays(decider: Decider, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", ("customer_id", "name"), ("ada", "A;B"), delimiter=";")
    await screened(decider, path, CHECK)
    assert read(tmp_path / "allowed.csv", ";")[0]["name"] == "A;B"
    await screen(decider, open_audience(path), CHECK, tmp_path / "allowed.parquet")
    assert pq.read_table(tmp_path / "allowed.parquet").to_pylist()[0]["name"] == "A;B"
    again = open_audience(tmp_path / "allowed.parquet")
    await screen(decider, again, replace(CHECK, run="2"), tmp_path / "again.csv")
    (row,) = read(tmp_path / "again.csv")
    assert (row["name"], row["message_id"]) == ("A;B", "autumn:2:ada")


@pytest.mark.anyio
async def test_cells_that_a_spreadsheet_would_run_are_guarded_and_ids_come_back(
    decider: Decider, tmp_path: Path
) -> None:
    evil = [f"{start}1" for start in "=+-@"]
    path = write(tmp_path / "in.csv", ("customer_id", "note"), *((each, each) for each in evil))
    await screened(decider, path, replace(RESERVE, campaign="=x"))
    rows = read(tmp_path / "allowed.csv")
    assert [row["note"] for row in rows] == [f"'{each}" for each in evil]
    assert not any(cell[:1] in FORMULA_STARTS and cell for row in rows for cell in row.values())
    found = await recheck(decider.database, open_screened(tmp_path / "allowed.csv"))
    assert found.states == {"reserved": 4}


@pytest.mark.anyio
async def test_recheck_names_who_must_not_be_sent_any_more_and_changes_nothing(
    decider: Decider, tmp_path: Path, database_url: str
) -> None:
    everybody = ["kept", "sent", "released", "gone", "late"]
    await screened(decider, write(tmp_path / "in.csv", ("customer_id",), *([each] for each in everybody)))
    await decider.settle(ConfirmCommand("sent", "autumn:1:sent"))
    await decider.settle(ReleaseCommand("released", "autumn:1:released"))
    now_us = await decider.database.clock_us()
    bounce = Suppression(Scope("email"), SuppressionReason.HARD_BOUNCE, now_us, "provider", binds_exempt=True)
    await decider.settle_all([Suppress("gone", bounce), Suppress("late", bounce)])
    await decider.settle(ConfirmCommand("late", "autumn:1:late"))
    with (tmp_path / "allowed.csv").open("a") as file:
        file.write("stranger,autumn:1:stranger,allow,reserved,,,true,\n")

    before = entries(database_url)
    opened = open_screened(tmp_path / "allowed.csv")
    found = await recheck(decider.database, opened, tmp_path / "still.csv", tmp_path / "lost.csv")
    assert entries(database_url) == before
    assert ids(tmp_path / "still.csv") == ["kept"]
    lost = {row["customer_id"]: row["state"] for row in read(tmp_path / "lost.csv")}
    assert lost == dict(found.named)
    assert lost == {
        "sent": "confirmed",
        "released": "released",
        "gone": "revoked",
        "late": "late",
        "stranger": "unknown",
    }
    assert (found.sendable, found.lost) == (1, 5)


@pytest.mark.anyio
async def test_recheck_wants_a_file_whose_messages_were_reserved(decider: Decider, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",))
    with pytest.raises(UnreadableAudience, match="no column 'message_id'"):
        open_screened(path)
    await screened(decider, path, CHECK)
    with pytest.raises(NotFound, match="--reserve"):
        await recheck(decider.database, open_screened(tmp_path / "allowed.csv"), tmp_path / "still.csv")
    assert not (tmp_path / "still.csv").exists()


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


def test_a_target_is_written_by_one_process_and_appears_whole(tmp_path: Path) -> None:
    schema = pa.schema([("customer_id", pa.string())])
    with ResultFile(tmp_path / "out.csv", schema, COLUMNS), pytest.raises(Conflict, match="written by another"):
        ResultFile(tmp_path / "out.csv", schema, COLUMNS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.csv.part").write_text("left by a kill")
    with ResultFile(tmp_path / "out.csv", schema, COLUMNS) as file:
        file.finish()
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]
    assert "left by a kill" not in (tmp_path / "out.csv").read_text()
    for target in (tmp_path / "out.xlsx", tmp_path / "no such folder" / "out.csv"):
        with pytest.raises(UnfitTarget):
            ResultFile(target, schema, COLUMNS)


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
    while takts(database_url) > own:  # workers that outlived it would stay for ever
        waited.wait(0.02)
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
