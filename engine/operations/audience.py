"""An audience file read as a stream: CSV or Parquet, some ten thousand rows at a time.

The file is looked through once before anything is asked, so that one which ends in the middle changes nothing. What
is wrong with a row alone is told with its place, and harms no other row.
"""

import csv
import re
from array import array
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TextIO

import numpy as np

from engine.core.errors import TaktError

PORTION: Final = 10_000
ID_CHARS_MAX: Final = 200
_MAGIC: Final = b"PAR1"
_DELIMITERS: Final = (",", ";", "\t")
LABEL: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_GUARDED: Final = ("'=", "'+", "'-", "'@")

pa: Any = import_module("pyarrow")  # it carries no types
pq: Any = import_module("pyarrow.parquet")


class UnreadableAudience(TaktError):
    """Raised when a file is not what its format asks for, names no column of ids, or ends in the middle."""

    code = "unreadable_audience"


class BadRow(NamedTuple):
    """A row that cannot be asked about. `place` is the line where it begins (CSV), or its number (Parquet)."""

    place: int
    why: str


class Portion(NamedTuple):
    """Some rows of the file. `carried` is a pyarrow.RecordBatch with all columns of the rows that are good."""

    customer_ids: list[str]
    places: list[int]
    carried: Any
    bad: list[BadRow]


class Audience(Protocol):
    """A file that was looked through. `schema` is a pyarrow.Schema; `unit` is what its places count.

    `repeated` holds hash(customer_id) of every id that may stand there twice.
    """

    path: Path
    unit: str
    schema: Any
    delimiter: str
    rows: int
    repeated: frozenset[int]

    def portions(self) -> Iterator[Portion]: ...


def open_audience(path: Path, column: str = "customer_id", id_chars_max: int = ID_CHARS_MAX) -> Audience:
    """Look through a file; raises `UnreadableAudience`. The format is known by the content, not by the name."""
    try:
        if not path.is_file():
            raise UnreadableAudience(
                f"{path}: " + ("it is no plain file" if path.exists() else "there is no such file")
            )
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
        if not start:
            raise UnreadableAudience(f"{path} is empty: a first line with the names of the columns was expected")
        if start == _MAGIC:
            return _ParquetAudience(path, column, id_chars_max)
        return _CsvAudience(path, column, id_chars_max)
    except OSError as error:
        raise UnreadableAudience(f"{path}: {error.strerror or error}") from error


def taken(rows: Any, indices: list[int]) -> Any:
    """Some rows of a pyarrow.RecordBatch."""
    return rows.take(pa.array(indices, pa.int64()))


def unguarded(cell: str) -> str:
    """An id without the apostrophe that keeps spreadsheets from taking it for a formula."""
    return cell[1:] if cell.startswith(_GUARDED) else cell


class _CsvAudience:
    unit = "line"

    def __init__(self, path: Path, column: str, id_chars_max: int) -> None:
        self.path = path
        self._id_chars_max = id_chars_max
        self.delimiter, names = self._header(column)
        self._column = names.index(column)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        hashes = array("q")
        for _, row in self._records():
            if len(row) > self._column:
                hashes.append(hash(unguarded(row[self._column])))
        self.rows = len(hashes)
        self.repeated = _repeated(hashes)

    def portions(self) -> Iterator[Portion]:
        rows: list[list[str]] = []
        portion = Portion([], [], None, [])
        for line, row in self._records():
            customer_id = unguarded(row[self._column]) if len(row) > self._column else ""
            why = self._problem(row, customer_id)
            if why is not None:
                portion.bad.append(BadRow(line, why))
            else:
                portion.customer_ids.append(customer_id)
                portion.places.append(line)
                rows.append(row)
            if len(portion.places) + len(portion.bad) >= PORTION:
                yield portion._replace(carried=self._batch(rows))
                rows = []
                portion = Portion([], [], None, [])
        yield portion._replace(carried=self._batch(rows))

    def _batch(self, rows: list[list[str]]) -> Any:
        columns = zip(*rows, strict=True) if rows else [()] * len(self.schema)
        return pa.record_batch([pa.array(each, pa.string()) for each in columns], schema=self.schema)

    def _problem(self, row: list[str], customer_id: str) -> str | None:
        if len(row) != len(self.schema):
            return f"{len(row)} cells where the header names {len(self.schema)} columns"
        if not _is_text("".join(row)):
            return "a cell that is not UTF-8"
        return _problem_of(customer_id, self._id_chars_max)

    def _header(self, column: str) -> tuple[str, list[str]]:
        """The delimiter under which the first line has the column, and the names there."""
        first: list[str] | None = None
        for delimiter in _DELIMITERS:
            with self._open() as file:
                try:
                    names: list[str] = next(csv.reader(file, delimiter=delimiter, strict=True))
                except csv.Error as error:
                    raise UnreadableAudience(f"{self.path}, line 1: {_said(error)}") from error
            if column in names:
                twice = {name for name in names if names.count(name) > 1}
                if twice:
                    raise UnreadableAudience(f"{self.path}, line 1: the column {min(twice)!r} is named twice")
                return delimiter, names
            first = first or names
        raise UnreadableAudience(f"{self.path}, line 1: {_lacks(column, first or [])}")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record with the line on which it begins; raises `UnreadableAudience`."""
        line = 1
        try:
            with self._open() as file:
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
                next(reader)
                line = reader.line_num + 1
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
        except csv.Error as error:
            raise UnreadableAudience(f"{self.path}, line {line}: {_said(error)}") from error

    def _open(self) -> TextIO:
        return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class _ParquetAudience:
    unit = "row"
    delimiter = ","

    def __init__(self, path: Path, column: str, id_chars_max: int) -> None:
        self.path = path
        self._id_chars_max = id_chars_max
        try:
            with pq.ParquetFile(path) as file:
                self.schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise UnreadableAudience(f"{path} is not a whole Parquet file: {_first_line(error)}") from error
        names: list[str] = self.schema.names
        if names.count(column) != 1:
            raise UnreadableAudience(f"{path}: {_lacks(column, names)}")
        self._column = names.index(column)
        self._check_type(column)
        hashes = array("q")
        for batch in self._batches():
            hashes.extend([hash(each) for each in _texts(batch.column(self._column))])
        self.rows = len(hashes)
        self.repeated = _repeated(hashes)

    def portions(self) -> Iterator[Portion]:
        row = 0
        for batch in self._batches():
            portion = Portion([], [], None, [])
            good: list[int] = []
            for index, customer_id in enumerate(_texts(batch.column(self._column))):
                row += 1
                why = _problem_of(customer_id, self._id_chars_max)
                if why is not None:
                    portion.bad.append(BadRow(row, why))
                else:
                    good.append(index)
                    portion.customer_ids.append(customer_id)
                    portion.places.append(row)
            yield portion._replace(carried=taken(batch, good) if portion.bad else batch)

    def _batches(self) -> Iterator[Any]:
        row = 0
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
                for batch in file.iter_batches(batch_size=PORTION):
                    yield batch
                    row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise UnreadableAudience(f"{self.path}, after row {row:,}: {_first_line(error)}") from error

    def _check_type(self, column: str) -> None:
        kind = self.schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UnreadableAudience(
                f"{self.path}: the column {column!r} is of the type {kind}; ids are text or whole numbers"
            )


def _texts(column: Any) -> list[str]:
    """A column of ids as texts; nothing is the empty text. What is not UTF-8 keeps its bytes as lone surrogates."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    data: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return [each.decode(errors="surrogateescape") if each else "" for each in data]


def _problem_of(customer_id: str, chars_max: int) -> str | None:
    if len(customer_id) <= chars_max and LABEL.fullmatch(customer_id) and _is_text(customer_id):
        return None
    if not customer_id:
        return "no customer id"
    if len(customer_id) > chars_max:
        return f"a customer id of {len(customer_id)} characters, where {chars_max} fit into a message id of its own"
    return "a customer id with control characters" if _is_text(customer_id) else "a customer id that is not UTF-8"


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _repeated(hashes: "array[int]") -> frozenset[int]:
    """Those that are there twice or more: eight bytes a row while the file is looked through, and none afterwards."""
    found = np.frombuffer(hashes, np.int64) if hashes else np.empty(0, np.int64)
    found.sort()
    return frozenset(found[1:][found[1:] == found[:-1]].tolist())


def _lacks(column: str, names: list[str]) -> str:
    if column in names:
        return f"the column {column!r} is named twice"
    shown = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    return f"there is no column {column!r} among {shown}: name the one with the customers' ids by --column"


def _said(error: csv.Error) -> str:
    text = str(error)
    if text == "unexpected end of data":
        return "a quoted cell begins here, and the file ends inside it"
    if text.startswith("field larger"):
        return f"a cell of more than {csv.field_size_limit():,} characters begins here: does a quote lack its end?"
    return f"no CSV ({text})"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
