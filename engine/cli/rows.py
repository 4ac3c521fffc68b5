"""Files of rows (CSV, JSON lines, Parquet) read in a stream: flat memory, and nothing lost to a bad row.

What a file is, its first bytes say. Every row knows its place, `file:line`; one that cannot be read comes as a `Bad`
row in its place, and reading goes on where it can. Texts of CSV are guessed at by nobody here.
"""

import csv
import json
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, cast

from engine.core.errors import TaktError

_LINE_BYTES_MOST = 4 * 1024 * 1024
_PARQUET = b"PAR1"
_DELIMITERS = ",;\t"
_PARQUET_ROWS = 2_000


class UnreadableFile(TaktError):
    """Raised where a file as a whole cannot be what was expected."""

    code = "unreadable_file"


class Row(NamedTuple):
    """`is_text`: all values are texts, because the format knows nothing else."""

    place: str
    values: dict[str, Any]
    is_text: bool = False


class Bad(NamedTuple):
    """A row that cannot be read, or is not what it should be. `lines`: how many of the file it took with it."""

    place: str
    why: str
    lines: int = 1


@dataclass
class Rows:
    """A file being read. `columns` is None where only the rows know. `size` and `position()` are in one unit."""

    name: str
    columns: list[str] | None
    size: int | None
    position: Callable[[], int]
    rows: Iterator[Row | Bad] = field(repr=False)


@contextmanager
def read_rows(file: str) -> Generator[Rows]:
    """The rows of a file, `-` for stdin. Raises `UnreadableFile` or `OSError`."""
    if file == "-":
        yield _rows("stdin", sys.stdin.buffer, None)
        return
    path = Path(file)
    with path.open("rb") as opened:
        yield _rows(file, opened, path.stat().st_size if path.is_file() else None)


def _rows(name: str, file: BufferedReader | Any, size: int | None) -> Rows:
    beginning: bytes = file.peek(4096)[:4096]
    if not beginning:
        raise UnreadableFile(f"{name} is empty")
    if beginning.startswith(_PARQUET):
        return _parquet(name, file, size)
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableFile(f"{name} is in UTF-16: save it as UTF-8")
    if b"\0" in beginning.partition(b"\n")[0]:
        raise UnreadableFile(f"{name} holds binary data: CSV, JSON lines or Parquet was expected")
    lines = _Lines(name, file)
    first = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        raise UnreadableFile(f"{name} is one JSON list: JSON lines, an object a line, were expected")
    if first == b"{":
        return Rows(name, None, size, lambda: lines.bytes_read, _json_rows(lines))
    return _csv(name, lines, size)


class _Lines:
    """Lines as text. Bytes that are not UTF-8 come as lone surrogates, which no valid text holds."""

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        self.number = 0
        self.bytes_read = 0
        self.too_long = False
        self._file = file

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(_LINE_BYTES_MOST):
            self.number += 1
            self.bytes_read += len(line)
            self.too_long = len(line) == _LINE_BYTES_MOST and not line.endswith(b"\n")
            if self.too_long:
                self._skip_to_end()
                line = b"\n"
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield line.decode(errors="surrogateescape")

    def place(self, number: int | None = None) -> str:
        return f"{self.name}:{self.number if number is None else number}"

    def _skip_to_end(self) -> None:
        while part := self._file.readline(_LINE_BYTES_MOST):
            self.bytes_read += len(part)
            if part.endswith(b"\n"):
                return


def _json_rows(lines: _Lines) -> Iterator[Row | Bad]:
    for line in lines:
        if lines.too_long:
            yield Bad(lines.place(), "the line is too long")
        elif line.strip():
            yield _json_row(line, lines.place())


def _json_row(line: str, place: str) -> Row | Bad:
    if _is_not_utf8(line):
        return Bad(place, "the line is not UTF-8")
    try:
        data: object = json.loads(line, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return Bad(place, f"the line is not JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        return Bad(place, f"the line is not JSON: {error}")
    if not isinstance(data, dict):
        return Bad(place, "the line is not a JSON object")
    return Row(place, cast("dict[str, Any]", data))


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _csv(name: str, lines: _Lines, size: int | None) -> Rows:
    texts = iter(lines)
    header = next(texts, "")
    if _is_not_utf8(header):
        raise UnreadableFile(f"{name} is not UTF-8: its first line cannot be read")
    delimiter = max(_DELIMITERS, key=header.count)

    def source() -> Iterator[str]:
        yield header
        yield from texts

    reader = csv.reader(source(), delimiter=delimiter, strict=True)
    no_cells: list[str] = []
    try:
        columns = [each.strip() for each in next(reader, no_cells)]
    except csv.Error as error:
        raise UnreadableFile(f"{name}:1: the header cannot be read: {error}") from None
    if len(set(columns)) < len(columns) or not all(columns):
        raise UnreadableFile(f"{name}:1: the header names a column twice, or has one without a name")
    return Rows(name, columns, size, lambda: lines.bytes_read, _csv_rows(reader, columns, lines))


def _csv_rows(reader: Any, columns: list[str], lines: _Lines) -> Iterator[Row | Bad]:
    while True:
        begins = lines.number + 1
        try:
            cells: list[str] = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _of_lines(Bad(lines.place(begins), f"the row cannot be read: {error}"), begins, lines.number)
            continue
        if not cells and not lines.too_long:
            continue
        row = _csv_row(cells, columns, lines.place(begins), lines.too_long)
        yield _of_lines(row, begins, lines.number) if isinstance(row, Bad) else row


def _of_lines(bad: Bad, begins: int, ends: int) -> Bad:
    """The same, with how far it goes: a quote that is not closed takes in whatever follows."""
    count = ends - begins + 1
    if count <= 1:
        return bad
    return Bad(bad.place, f"{bad.why}; it takes in {count:,} lines, up to line {ends}: is a quote not closed?", count)


def _csv_row(cells: list[str], columns: list[str], place: str, too_long: bool) -> Row | Bad:
    if too_long:
        return Bad(place, "the line is too long")
    if len(cells) != len(columns):
        return Bad(place, f"the row has {len(cells)} cells, the header {len(columns)}")
    if any(map(_is_not_utf8, cells)):
        return Bad(place, "the row is not UTF-8")
    return Row(place, dict(zip(columns, cells, strict=True)), is_text=True)


def _is_not_utf8(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)


def _parquet(name: str, file: Any, size: int | None) -> Rows:
    if size is None:
        raise UnreadableFile(f"{name}: Parquet is read from its end, so it cannot come through a pipe")
    pa: Any = import_module("pyarrow")  # here, because it takes longer to load than most files to import
    parquet: Any = import_module("pyarrow.parquet")
    try:
        opened = parquet.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{name} is not whole: {_first_line(error)}") from None
    columns = cast("list[str]", opened.schema_arrow.names)
    done = 0

    def rows() -> Iterator[Row | Bad]:
        nonlocal done
        try:
            for batch in opened.iter_batches(batch_size=_PARQUET_ROWS):
                for values in _values(batch):
                    done += 1
                    place = f"{name}:{done}"
                    yield Bad(place, values) if isinstance(values, str) else Row(place, values)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise UnreadableFile(f"{name} cannot be read after row {done}: {_first_line(error)}") from None

    return Rows(name, columns, opened.metadata.num_rows, lambda: done, rows())


def _values(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Each row's values, or why they are none that Python has, as times to the nanosecond are."""
    try:
        yield from cast("list[dict[str, Any]]", batch.to_pylist())
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        if batch.num_rows == 1:
            yield f"the row cannot be read: {_first_line(error)}"
            return
        for place in range(batch.num_rows):
            yield from _values(batch.slice(place, 1))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
