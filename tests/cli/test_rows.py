"""Files of rows as they come: every broken one is told apart, and reading is flat in memory."""

import gzip
import tracemalloc
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from engine.cli.rows import Bad, Row, UnreadableFile, read_rows


def rows_of(path: Path) -> list[Row | Bad]:
    with read_rows(str(path)) as read:
        return list(read.rows)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"PAR1 and then nothing", "is not whole"),
        ("customer_id\nada\n".encode("utf-16"), "UTF-16"),
        (gzip.compress(b"customer_id\nada\n", mtime=0), "binary data"),
        (b"caf\xe9,x\n", "not UTF-8"),
        (b' [{"customer_id": "ada"}]', "one JSON list"),
        (b"customer_id,a,a\n", "twice"),
        (b"customer_id,,a\n", "without a name"),
        (b'"customer_id\n', "header"),
    ],
)
def test_a_file_that_cannot_be_says_why(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=why):
        rows_of(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_any_spreadsheet(tmp_path: Path, delimiter: str, end: str) -> None:
    path = tmp_path / "file"
    lines = [delimiter.join(each) for each in (("customer_id", "name"), ("ada", '"A ""x"" B"'), ("bob", ""))]
    path.write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
    assert [each.values for each in rows_of(path) if isinstance(each, Row)] == [
        {"customer_id": "ada", "name": 'A "x" B'},
        {"customer_id": "bob", "name": ""},
    ]


def test_places_count_lines_also_after_rows_of_several(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('a,b\n1,"x\ny"\n\n2,z\n')
    assert [each.place for each in rows_of(path)] == [f"{path}:2", f"{path}:5"]


def test_a_quote_that_is_never_closed_costs_the_rows_it_swallows_and_no_more_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('a,b\n1,x\n2,"y\n' + "3,z\n" * 200_000)
    found = rows_of(path)
    assert isinstance(found[0], Row)
    bad = found[1]
    assert isinstance(bad, Bad)
    assert bad.place == f"{path}:3"
    assert "up to line" in bad.why
    assert bad.lines == int(bad.why.rpartition("up to line ")[2].split(":")[0]) - 2
    assert bad.lines + sum(isinstance(each, Row) for each in found) == 200_002
    assert isinstance(found[-1], Row)


def test_a_big_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("customer_id,name\n" + "".join(f"c-{each},{'x' * 90}\n" for each in range(100_000)))
    tracemalloc.start()
    with read_rows(str(path)) as read:
        count = sum(1 for _ in read.rows)
        assert read.position() == path.stat().st_size
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert most < 1_000_000


def test_parquet_keeps_its_types_and_counts_rows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    parquet.write_table(pa.table({"customer_id": [7, None], "tags": [["a"], []]}), path)
    with read_rows(str(path)) as read:
        assert (read.columns, read.size) == (["customer_id", "tags"], 2)
        assert list(read.rows) == [
            Row(f"{path}:1", {"customer_id": 7, "tags": ["a"]}),
            Row(f"{path}:2", {"customer_id": None, "tags": []}),
        ]
