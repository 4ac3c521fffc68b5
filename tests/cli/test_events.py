"""`takt events import`: every format, broken rows, imports that are run again, and addresses that are nobody's yet."""

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from tests.cli.command import Ended, environment, interruptible, takt
from tests.client.faults import FINE, SILENCE, SWALLOW, proxy
from tests.service import Service

YESTERDAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, so that files have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def events(service: Service, file: str, *more: str, stdin: bytes = b"") -> Ended:
    return takt(service, "events", "import", file, *more, stdin=stdin)


def kept(service: Service, customer_id: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(service.database_url) as connection:
        return connection.execute(
            "SELECT l.name, s.name, e.at_us, e.value, e.flags, e.properties FROM events e"
            " JOIN labels l ON l.number = e.kind JOIN labels s ON s.number = e.source WHERE customer_id = %s"
            " AND l.name NOT LIKE 'takt:%%' ORDER BY e.at_us, l.name DESC",
            (customer_id,),
        ).fetchall()


def rows(customer_id: str) -> list[dict[str, Any]]:
    """Three purchases."""
    return [
        {
            "id": f"order-{each}",
            "source": "shop",
            "type": "purchase",
            "customer_id": customer_id,
            "at": (YESTERDAY + timedelta(minutes=each)).isoformat(),
            "value": 10.5 + each,
            "basket": each,
        }
        for each in range(3)
    ]


def test_events_of_every_format_are_the_same(service: Service, folder: Path, ada: str) -> None:
    given = rows(ada)
    (folder / "e.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
    typed = [each | {"at": datetime.fromisoformat(each["at"])} for each in given]
    parquet.write_table(pa.Table.from_pylist(typed), folder / "e.parquet")
    lines = [";".join(given[0]), *(";".join(map(str, each.values())) for each in given)]
    (folder / "e.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())  # as a spreadsheet saves it
    assert events(service, "e.jsonl") == (0, "e.jsonl: 3 rows brought in.\n", "")
    for file in ("e.parquet", "e.csv"):
        assert events(service, file).out == f"{file}: 3 rows brought in, of which 3 changed nothing.\n"
    stdin = (folder / "e.jsonl").read_bytes()
    assert events(service, "-", stdin=stdin).out == "stdin: 3 rows brought in, of which 3 changed nothing.\n"
    at_us = int(YESTERDAY.timestamp()) * 1_000_000
    assert kept(service, ada) == [
        ("purchase", "shop", at_us + each * 60_000_000, 10.5 + each, 0, {"basket": each}) for each in range(3)
    ]


def test_what_a_file_does_not_say_options_do(service: Service, folder: Path, ada: str) -> None:
    (folder / "e.csv").write_text(f"customer_id,at,value,secret\n{ada},{YESTERDAY:%Y-%m-%d} 12:00,5,x\n")
    options = ["--type", "survey", "--source", "crm", "--zone", "Asia/Tokyo", "--ignore", "secret"]
    assert events(service, "e.csv", *options).out == "e.csv: 1 row brought in.\n"
    noon_in_tokyo = YESTERDAY.replace(hour=3, minute=0, second=0)
    assert kept(service, ada) == [("survey", "crm", int(noon_in_tokyo.timestamp()) * 1_000_000, 5.0, 0, None)]
    assert events(service, "e.csv", *options).out == "e.csv: 1 row brought in, of which 1 changed nothing.\n"


def test_rows_without_an_id_have_that_of_what_they_say(service: Service, folder: Path, ada: str) -> None:
    (folder / "a.csv").write_text(f"customer_id,at,type,source\n{ada},{YESTERDAY.isoformat()},session,web\n" * 1)
    (folder / "b.csv").write_text(f"source,type,at,customer_id\nweb,session,{YESTERDAY.isoformat()},{ada}\n" * 1)
    assert events(service, "a.csv").out == "a.csv: 1 row brought in.\n"
    assert events(service, "b.csv").out == "b.csv: 1 row brought in, of which 1 changed nothing.\n"


def test_bad_rows_are_told_with_their_place_and_harm_no_other(service: Service, folder: Path, ada: str) -> None:
    at = YESTERDAY.isoformat()
    lines = [
        "customer_id,type,source,at,value,suspect,properties",
        f"{ada},session,web,{at},,,",
        f"{ada},Session,web,{at},,,",
        f"{ada},session,web,soon,,,",
        f"{ada},session,web,{at},much,,",
        f"{ada},session,web,{at},,perhaps,",
        f"{ada},session,web,{at},,,[1]",
        f"{ada},,web,{at},,,",
        f",session,web,{at},,,",
        f"{ada},session,web,2999-01-01T00:00:00Z,,,",
        f'{ada},clicked,web,{at},,true,"{{""pages"": 3}}"',
    ]
    (folder / "e.csv").write_text("\n".join(lines))
    ended = events(service, "e.csv")
    assert (ended.code, ended.out) == (1, "e.csv: 2 rows brought in; 8 refused.\n")
    told = {each.split(": ")[0]: each for each in ended.err.splitlines()}
    assert set(told) == {f"e.csv:{line}" for line in range(3, 11)}
    assert "value: found 'much'" in told["e.csv:5"]
    assert "suspect: found 'perhaps'" in told["e.csv:6"]
    assert [(each[0], each[4], each[5]) for each in kept(service, ada)] == [
        ("session", 0, None),
        ("clicked", 1, {"pages": 3}),
    ]


def test_columns_that_json_has_not_refuse_their_rows_and_lose_no_other(
    service: Service, folder: Path, ada: str
) -> None:
    """A duration was "a fault of Takt", and nothing was brought in."""
    count = 3
    odd: dict[str, Any] = {
        "took": pa.array([None, timedelta(seconds=3), None]),
        "within": pa.array([{"took": None}, None, {"took": timedelta(days=1)}]),
        "sizes": pa.array([[("s", 1)], None, None], type=pa.map_(pa.string(), pa.int32())),
    }
    same = {"customer_id": [ada] * count, "type": ["session"] * count, "source": ["web"] * count}
    parquet.write_table(pa.table(same | {"at": [YESTERDAY] * count} | odd), folder / "e.parquet")
    ended = events(service, "e.parquet")
    assert (ended.code, ended.out) == (1, "e.parquet: 1 row brought in; 2 refused.\n")
    told = ended.err.splitlines()
    assert [each.split(": ")[:2] for each in told] == [["e.parquet:2", "took"], ["e.parquet:3", "within"]]
    assert all("--ignore leaves a column out" in each for each in told)
    assert [each[5] for each in kept(service, ada)] == [{"within": {"took": None}, "sizes": [["s", 1]]}]
    more = [each for name in ("took", "within") for each in ("--ignore", name)]
    assert events(service, "e.parquet", *more).code == 0


def test_times_that_python_has_not_refuse_their_rows_alone(service: Service, folder: Path, ada: str) -> None:
    at_us = int(YESTERDAY.timestamp()) * 1_000_000
    at = pa.array([at_us, 2**62, at_us + 1], type=pa.timestamp("us", tz="UTC"))
    same = {"customer_id": [ada] * 3, "type": ["session"] * 3, "source": ["web"] * 3}
    parquet.write_table(pa.table(same | {"at": at}), folder / "e.parquet")
    ended = events(service, "e.parquet")
    assert (ended.code, ended.out) == (1, "e.parquet: 2 rows brought in; 1 refused.\n")
    assert ended.err.startswith("e.parquet:2: the row cannot be read: ")


def test_a_quote_that_is_never_closed_refuses_what_it_takes_in(service: Service, folder: Path, ada: str) -> None:
    """2,593 lines were "1 refused"."""
    at = YESTERDAY.isoformat()
    row = f"{ada},session,web,{at},"
    lines = ["customer_id,type,source,at,note", row + "a", row + '"open', *[row + "x" * 200] * 30, row + '"b" c']
    (folder / "e.csv").write_text("\n".join(lines))
    ended = events(service, "e.csv")
    assert (ended.code, ended.out) == (1, "e.csv: 1 row brought in; 32 refused.\n")
    assert ended.err.startswith("e.csv:3: the row cannot be read: ")
    assert ended.err.endswith("; it takes in 32 lines, up to line 34: is a quote not closed?\n")


def test_a_leap_second_is_the_end_of_its_minute(service: Service, folder: Path, ada: str) -> None:
    (folder / "e.csv").write_text(f"customer_id,type,source,at\n{ada},session,web,{YESTERDAY:%Y-%m-%d}T23:59:60Z\n")
    assert events(service, "e.csv").code == 0
    ((_, _, at_us, *_),) = kept(service, ada)
    assert at_us % 86_400_000_000 == 86_400_000_000 - 1


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("customer_id,at,type", "source"),
        ("at,type,source", "customer_id (or address and channel)"),
        ("address,at,type,source", "customer_id (or address and channel)"),
    ],
)
def test_a_file_that_cannot_be_events_is_refused_as_a_whole(
    service: Service, folder: Path, header: str, told: str
) -> None:
    (folder / "e.csv").write_text(f"{header}\n{'a,' * header.count(',')}a\n")
    assert events(service, "e.csv").sentence.startswith(f"takt: e.csv has no column {told}: it has ")


def test_events_of_unknown_addresses_wait_and_say_so(service: Service, folder: Path, ada: str) -> None:
    given = [{**each, "address": f"{ada}@example.com", "channel": "email"} for each in rows(ada)]
    for each in given:
        del each["customer_id"]
    (folder / "e.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
    ended = events(service, "e.jsonl")
    assert (ended.code, ended.out) == (0, "e.jsonl: 3 rows brought in.\n")
    assert ended.err == "3 wait for the customer of their address: put it with the customer's `addresses`.\n"
    addresses = json.dumps([{"channel": "email", "address": f"{ada}@example.com"}])
    (folder / "c.jsonl").write_text(json.dumps({"customer_id": ada, "addresses": addresses}))
    assert takt(service, "customers", "import", "c.jsonl").code == 0
    assert len(kept(service, ada)) == 3


def test_sends_that_do_nothing_are_counted(service: Service, folder: Path, ada: str) -> None:
    given = {"type": "sent", "source": ada, "at": YESTERDAY.isoformat(), "customer_id": ada}
    sends = [given | {"message_id": "nobody-asked"}, given | {"channel": "email"}]
    (folder / "e.jsonl").write_text("".join(json.dumps(each) + "\n" for each in sends))
    ended = events(service, "e.jsonl")
    assert (ended.code, ended.out) == (0, "e.jsonl: 2 rows brought in.\n")
    assert ended.err == "1 does nothing: it names no channel, and a message that nobody asked for.\n"


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_import_that_broke_off_goes_on_where_it_stopped(
    service: Service, folder: Path, ada: str, how: signal.Signals, code: int
) -> None:
    at = YESTERDAY.isoformat()
    lines = ["customer_id,type,source,at,id", *(f"{ada},session,{ada},{at},{each}" for each in range(5_500))]
    (folder / "e.csv").write_text("\n".join(lines))
    with proxy(service.url, FINE, FINE, *[SILENCE] * 9) as between:
        process = subprocess.Popen(
            interruptible("events", "import", "e.csv"),
            env=environment(service, TAKT_URL=between.url),
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(between.bodies) < 3:
            assert process.poll() is None
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "e.csv: 5,000 rows brought in" in err
    assert "--skip 5000" in err
    assert events(service, "e.csv", "--skip", "5000").out == "e.csv: 500 rows brought in.\n"
    again = events(service, "e.csv")
    assert again.out == "e.csv: 5,500 rows brought in, of which 5,500 changed nothing.\n", "or simply all of it again"
    assert len(kept(service, ada)) == 5_500


def test_a_batch_whose_answer_was_lost_is_brought_in_once(service: Service, folder: Path, ada: str) -> None:
    (folder / "e.jsonl").write_text(json.dumps(rows(ada)[0]))
    with proxy(service.url, FINE, SWALLOW) as between:
        ended = takt(service, "events", "import", "e.jsonl", more={"TAKT_URL": between.url})
    assert ended.code == 0
    assert len(kept(service, ada)) == 1
