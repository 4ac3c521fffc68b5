"""`takt customers import` and `takt contacts import`: good files, broken files, and imports that are run again."""

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from engine.client import Client
from tests.cli.command import Ended, environment, interruptible, takt
from tests.client.faults import RESET, SILENCE, proxy, status
from tests.service import Service

YESTERDAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, so that files have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def customers(service: Service, file: str, *more: str, stdin: bytes = b"") -> Ended:
    return takt(service, "customers", "import", file, *more, stdin=stdin)


def contacts(service: Service, file: str, *more: str, stdin: bytes = b"") -> Ended:
    return takt(service, "contacts", "import", file, *more, stdin=stdin)


def on_file(service: Service, customer_id: str) -> dict[str, Any]:
    with Client(service.url, service.key) as client:
        return client.customer(customer_id)


def used(service: Service, customer_id: str) -> int:
    lines = on_file(service, customer_id)["budgets"]
    return next(each["used"] for each in lines if each["budget"] == "email-weekly")


def test_odd_columns_of_parquet_refuse_their_rows(service: Service, folder: Path, ada: str) -> None:
    zone = pa.array([b"UTC", None])
    consents = pa.array([None, [{"channel": "email", "at": timedelta(1), "source": "form"}]])
    for name, column in (("time_zone", zone), ("consents", consents), ("took", pa.array([timedelta(1), None]))):
        parquet.write_table(pa.table({"customer_id": [f"{ada}-{name}"] * 2, name: column}), folder / "c.parquet")
        ended = customers(service, "c.parquet")
        assert (ended.code, ended.out.startswith("c.parquet: 1 row brought in")) == (1, True)
        assert ended.out.endswith("; 1 refused.\n")
        assert f": {name}: found " in ended.err


def test_customers_of_a_csv_file(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text(
        "customer_id,time_zone,country,orders,share,vip,postcode,code,consents\n"
        f'{ada},Europe/Berlin,"NO, really",3,0.5,true,10115,007,'
        '"[{""channel"": ""email"", ""at"": ""2026-01-15T08:30:00Z"", ""source"": ""form""}]"\n'
        f"{ada}-2,,,,,,,,\n"
    )
    ended = customers(service, "c.csv", "--text", "postcode")
    assert (ended.code, ended.out, ended.err) == (0, "c.csv: 2 rows brought in, of which 1 changed nothing.\n", "")
    found = on_file(service, ada)
    assert found["time_zone"] == "Europe/Berlin"
    assert found["attributes"] == {
        "country": "NO, really",
        "orders": 3,
        "share": 0.5,
        "vip": True,
        "postcode": "10115",
        "code": "007",
    }
    assert [each["channel"] for each in found["consents"]] == ["email"]
    again = customers(service, "c.csv", "--text", "postcode")
    assert again.out == "c.csv: 2 rows brought in, of which 2 changed nothing.\n"


def test_customers_of_every_format_are_the_same(service: Service, folder: Path, ada: str) -> None:
    rows = [
        {"customer_id": f"{ada}-{each}", "time_zone": "Asia/Tokyo", "orders": each, "vip": True} for each in range(3)
    ]
    (folder / "c.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    parquet.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")
    lines = [
        "customer_id;time_zone;orders;vip",
        *(f"{each['customer_id']};Asia/Tokyo;{each['orders']};true" for each in rows),
    ]
    (folder / "c.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())  # as a spreadsheet saves it
    assert customers(service, "c.jsonl").out == "c.jsonl: 3 rows brought in.\n"
    for file in ("c.parquet", "c.csv"):
        assert customers(service, file).out == f"{file}: 3 rows brought in, of which 3 changed nothing.\n"
    stdin = (folder / "c.jsonl").read_bytes()
    assert customers(service, "-", stdin=stdin).out == "stdin: 3 rows brought in, of which 3 changed nothing.\n"


def test_bad_rows_are_told_with_their_place_and_harm_no_other(service: Service, folder: Path, ada: str) -> None:
    lines = [
        b"customer_id,time_zone,note",
        b"a,Europe/Berlin,good",
        b"b,Nowhere/Land,unknown zone",
        b",Europe/Berlin,no id",
        b"c,Europe/Berlin",
        b"d,Europe/Berlin,nu\0l",
        b"e,Europe/Berlin,latin-1 \xfc",
        b'f,Europe/Berlin,"two\nlines"',
        b"",
        b"h,Europe/Berlin,good",
        b'g,Europe/Berlin,"never closed',
    ]
    (folder / "c.csv").write_bytes(
        b"\n".join(lines).replace(b"\na,", f"\n{ada},".encode()).replace(b"\nf,", f"\n{ada}-f,".encode())
    )
    ended = customers(service, "c.csv")
    assert ended.code == 1
    told = ended.err.splitlines()
    assert [each.split(": ")[0] for each in told] == [f"c.csv:{line}" for line in (4, 5, 7, 12, 3, 6)]
    assert "never" not in ended.out
    assert "cells" in told[1]
    assert "not UTF-8" in told[2]
    assert "time_zone: found 'Nowhere/Land'" in told[4]
    assert ended.out == "c.csv: 3 rows brought in; 6 refused.\n"
    assert on_file(service, f"{ada}-f")["attributes"] == {"note": "two\nlines"}


def test_bad_lines_of_json_are_told_and_harm_no_other(service: Service, folder: Path, ada: str) -> None:
    lines = [
        json.dumps({"customer_id": ada}).encode(),
        b'{"customer_id": "x", "a": NaN}',
        b"[]",
        b'{"customer_id": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"customer_id": "x", "a": ' + b"1" * 5_000 + b"}",
        b'{"customer_id": "\\ud800"}',
        b'{"customer_id": "x", "a": "\xff"}',
        b'{"customer_id": "x", "a": {"b": 1}}',
        b'{"customer_id": 12.5}',
        b'{"customer_id": true}',
        b"",
        json.dumps({"customer_id": f"{ada}-2"}).encode(),
        b'{"customer_id": "' + b"x" * 5_000_000 + b'"}',
        json.dumps({"customer_id": f"{ada}-3"}).encode(),
        b'{"customer_id": "cut off in the mid',
    ]
    (folder / "c.jsonl").write_bytes(b"\n".join(lines))
    ended = customers(service, "c.jsonl")
    assert ended.code == 1
    assert sorted(int(each.split(":")[1]) for each in ended.err.splitlines()) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15]
    assert ended.out.startswith("c.jsonl: 3 rows brought in")


def test_twenty_bad_rows_are_shown_and_the_others_counted(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text("customer_id,tier\n" + "x\n" * 50 + f"{ada},gold\n")
    ended = customers(service, "c.csv")
    assert len(ended.err.splitlines()) == 21
    assert ended.err.endswith("... and 30 more.\n")
    assert ended.out == "c.csv: 1 row brought in; 50 refused.\n"


def test_files_that_cannot_be_read_are_refused_in_one_sentence(service: Service, folder: Path) -> None:
    (folder / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    assert "No such file" in customers(service, "nowhere.csv").sentence
    assert "directory" in customers(service, ".").sentence
    assert "cut.parquet is not whole" in customers(service, "cut.parquet").sentence
    assert "stdin is empty" in customers(service, "-").sentence


def test_a_parquet_file_that_breaks_off_in_its_data_brings_in_what_came_before(
    service: Service, folder: Path, ada: str
) -> None:
    table = pa.table({"customer_id": [f"{ada}-{each}" for each in range(6_000)], "tier": ["gold"] * 6_000})
    parquet.write_table(table, folder / "c.parquet", row_group_size=2_000, compression="none", use_dictionary=False)
    whole = bytearray((folder / "c.parquet").read_bytes())
    place = whole.index(f"{ada}-4000".encode()) - 60
    whole[place : place + 50] = b"\xff" * 50
    (folder / "c.parquet").write_bytes(whole)
    ended = customers(service, "c.parquet")
    assert ended.code == 1
    assert "cannot be read after row 2000: " in ended.err
    assert "c.parquet: 2,000 rows brought in." in ended.err
    assert on_file(service, f"{ada}-1999")["attributes"] == {"tier": "gold"}


def test_contacts_count_once_however_often_and_in_whatever_format_they_come(
    service: Service, folder: Path, ada: str
) -> None:
    rows = [{"customer_id": ada, "channel": "email", "topic": "promotions", "at": YESTERDAY, "campaign": "autumn"}]
    rows += [rows[0] | {"at": YESTERDAY - timedelta(days=1), "campaign": None}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")
    (folder / "c.csv").write_text(
        "at,topic,channel,customer_id,campaign\n"
        + "".join(f"{each['at']:%Y-%m-%d %H:%M:%S},promotions,email,{ada},{each['campaign'] or ''}\n" for each in rows)
    )
    assert contacts(service, "c.parquet").out == "c.parquet: 2 rows brought in.\n"
    known = contacts(service, "c.csv", "--zone", "UTC").out
    assert known == "c.csv: 2 rows brought in, of which 2 changed nothing.\n"
    assert used(service, ada) == 2


def test_contacts_need_an_offset_known_columns_and_a_known_channel(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text(
        "customer_id,channel,topic,at,weight\n"
        f"{ada},email,promotions,2026-01-01T10:00:00,\n"
        f"{ada},pigeon,promotions,2026-01-01T10:00:00Z,\n"
        f"{ada},email,promotions,yesterday,\n"
        f"{ada},email,promotions,0001-01-01T00:00:00+14:00,\n"
        f"{ada},email,promotions,2026-01-01T10:00:00Z,heavy\n"
        f"{ada},email,,2026-01-01T10:00:00Z,\n"
        f"{ada},email,promotions,{YESTERDAY.isoformat()},3\n"
    )
    ended = contacts(service, "c.csv")
    assert ended.code == 1
    assert sorted(each.split(": ")[0] for each in ended.err.splitlines()) == [f"c.csv:{line}" for line in range(2, 8)]
    for wanted in ("--zone", "pigeon", "yesterday", "weight", "topic"):
        assert wanted in ended.err
    assert ended.out == "c.csv: 1 row brought in; 6 refused.\n"
    (folder / "d.csv").write_text(f"customer_id,channel,topic,at,campain\n{ada},email,promotions,{YESTERDAY},x\n")
    assert "--ignore campain" in contacts(service, "d.csv").sentence
    assert contacts(service, "d.csv", "--ignore", "campain").code == 0
    assert contacts(service, "d.csv", "--zone", "Nowhere/Land").code == 2


def test_an_import_that_is_cut_off_goes_on_where_it_stopped(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text("customer_id,tier\n" + "".join(f"{ada}-{each},gold\n" for each in range(6_000)))
    with proxy(service.url, status(200), "nothing goes wrong", status(500)) as between:
        ended = takt(service, "customers", "import", "c.csv", more={"TAKT_URL": between.url})
    assert ended.code == 1
    assert "c.csv: 5,000 rows brought in" in ended.err
    assert "--skip 5000" in ended.err
    assert customers(service, "c.csv", "--skip", "5000").out == "c.csv: 1,000 rows brought in.\n"


def test_ctrl_c_says_how_to_go_on(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text(f"customer_id\n{ada}\n")
    with proxy(service.url, status(200), *[SILENCE] * 9) as between:
        process = subprocess.Popen(
            interruptible("customers", "import", "c.csv"),
            env=environment(service, TAKT_URL=between.url),
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(between.bodies) < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.startswith("takt: interrupted\n")
    assert "--skip 0" in err


def test_a_batch_whose_answer_was_lost_is_brought_in_once(service: Service, folder: Path, ada: str) -> None:
    (folder / "c.csv").write_text(f"customer_id,channel,topic,at\n{ada},email,promotions,{YESTERDAY}\n")
    with proxy(service.url, status(200), RESET, RESET) as between:
        ended = takt(service, "contacts", "import", "c.csv", more={"TAKT_URL": between.url})
    assert ended.code == 0
    assert used(service, ada) == 1
