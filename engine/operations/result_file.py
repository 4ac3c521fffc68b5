"""A file of answers, CSV or Parquet by its name: written beside its target, which appears whole or not at all.

Cells of a CSV that a spreadsheet would take for a formula are prefixed with an apostrophe; Parquet needs none.
"""

import csv
import fcntl
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from engine.core.cells import harmless
from engine.core.errors import Conflict, TaktError

pa: Any = import_module("pyarrow")  # it carries no types
pq: Any = import_module("pyarrow.parquet")

FORMATS: Final = (".csv", ".parquet")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(Enum):
    TEXT = "text"
    INSTANT = "instant"  # microseconds
    FLAG = "flag"


class Column(NamedTuple):
    """A column that Takt writes. One of the same name that was carried along is replaced."""

    name: str
    kind: Kind


class UnfitTarget(TaktError):
    """Raised when a result cannot be written where it was wanted."""

    code = "unfit_target"


class ResultFile:
    """Rows carried along, with Takt's own columns behind. A context manager: left without `finish`, nothing stays."""

    def __init__(self, path: Path, carried: Any, own: Sequence[Column], delimiter: str = ",") -> None:
        if path.suffix not in FORMATS:
            raise UnfitTarget(f"{path}: name it {' or '.join(FORMATS)}, for that is how the format is known")
        names = {each.name for each in own}
        self.path = path
        self.rows = 0
        self._kept = [index for index, name in enumerate(carried.names) if name not in names]
        self._part = path.with_name(path.name + ".part")
        self._file = os.fdopen(_claim(self._part, path), "wb")
        fields = [carried.field(index) for index in self._kept]
        form = _Csv if path.suffix == ".csv" else _Parquet
        self._form: _Form = form(self._file, fields, own, delimiter)

    def write(self, carried: Any, own: Sequence[Sequence[object]]) -> None:
        """Append rows: a pyarrow.RecordBatch, and a column of values for each of Takt's own."""
        if carried.num_rows:
            self._form.write([carried.column(index) for index in self._kept], own)
            self.rows += carried.num_rows

    def finish(self) -> None:
        """Put the file in its place, durably. What was there before is replaced."""
        self._form.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._part, self.path)
        self._file.close()
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._part.unlink(missing_ok=True)
            with suppress(pa.ArrowException, OSError, ValueError):  # as on a full disk: nothing of it is kept
                self._form.close()
            with suppress(OSError):
                self._file.close()


class _Form(Protocol):
    def write(self, carried: list[Any], own: Sequence[Sequence[object]]) -> None: ...
    def close(self) -> None: ...


class _Csv:
    def __init__(self, file: Any, fields: list[Any], own: Sequence[Column], delimiter: str) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        self._writer = csv.writer(self._text, delimiter=delimiter, lineterminator="\n")
        self._kinds = [each.kind for each in own]
        self._writer.writerow([*_guarded([each.name for each in fields]), *(each.name for each in own)])

    def write(self, carried: list[Any], own: Sequence[Sequence[object]]) -> None:
        columns = [_cells(each) for each in carried]
        columns += [_own_cells(kind, column) for kind, column in zip(self._kinds, own, strict=True)]
        self._writer.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    def __init__(self, file: Any, fields: list[Any], own: Sequence[Column], delimiter: str) -> None:
        del delimiter
        types = {Kind.TEXT: pa.string(), Kind.INSTANT: pa.timestamp("us", "UTC"), Kind.FLAG: pa.bool_()}
        self._types = [types[each.kind] for each in own]
        self._schema = pa.schema([*fields, *(pa.field(each.name, types[each.kind]) for each in own)])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, carried: list[Any], own: Sequence[Sequence[object]]) -> None:
        arrays = [pa.array(column, kind) for kind, column in zip(self._types, own, strict=True)]
        self._writer.write_batch(pa.record_batch([*carried, *arrays], schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def instant_text(at_us: int) -> str:
    """An instant as RFC 3339 has it."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


def _claim(part: Path, target: Path) -> int:
    """An empty file that nobody else writes; what a killed run left there is discarded."""
    try:
        while True:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(part)):
                    os.ftruncate(descriptor, 0)
                    return descriptor
            except FileNotFoundError:
                pass  # its writer finished, or gave up, between the two calls
            except BlockingIOError:
                os.close(descriptor)
                raise Conflict(f"{target} is being written by another process") from None
            os.close(descriptor)
    except OSError as error:
        raise UnfitTarget(f"{target} cannot be written: {error.strerror or error}") from error


def _guarded(cells: list[str]) -> list[str]:
    return [harmless(cell) for cell in cells]


def _cells(column: Any) -> list[str]:
    """A column that was carried along, as the texts of a CSV."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            return _guarded([each or "" for each in column.to_pylist()])
        except UnicodeDecodeError:
            data: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
            return _guarded([(each or b"").decode(errors="replace") for each in data])
    values: list[object] = column.to_pylist()
    texts = ["" if each is None else each.isoformat() if isinstance(each, datetime) else str(each) for each in values]
    if pa.types.is_boolean(kind):
        return [each.lower() for each in texts]
    return texts if pa.types.is_integer(kind) or pa.types.is_floating(kind) else _guarded(texts)


def _own_cells(kind: Kind, column: Sequence[Any]) -> list[str]:
    match kind:
        case Kind.TEXT:
            return _guarded([each or "" for each in column])
        case Kind.INSTANT:
            return ["" if each is None else instant_text(each) for each in column]
        case Kind.FLAG:
            return ["" if each is None else "true" if each else "false" for each in column]
