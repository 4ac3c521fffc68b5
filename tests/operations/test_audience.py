"""The files of an audience: their formats, and what is wrong with a file or a row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.operations import audience
from engine.operations.audience import BadRow, UnreadableAudience, open_audience
from engine.operations.decider import Decider
from engine.operations.screen import screen
from tests.operations.audiences import CHECK, RESERVE, ids, reached, read, screened, write


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
