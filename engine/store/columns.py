"""Columns of values as PostgreSQL's binary arrays: how a batch of rows crosses in one statement.

psycopg renders a list one element at a time in Python; for a column of whole numbers one `struct.pack` does, some ten
times faster. Columns of numbers hold no NULL: 0 is none.
"""

import struct
from typing import Any, ClassVar

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)


class Int8s(list[int]):
    """A column of bigint."""


class Int4s(list[int]):
    """A column of integer."""


class Int2s(list[int]):
    """A column of smallint."""


class Texts(list[str]):
    """A column of text."""


class Byteas(list[bytes | None]):
    """A column of bytea."""


class _Column(Dumper):
    format = Format.BINARY
    element_oid: ClassVar[int]

    def dump(self, obj: Any) -> Buffer | None:
        if not obj:
            return struct.pack(">iii", 0, 0, self.element_oid)
        return struct.pack(">iiiii", 1, 1, self.element_oid, len(obj), 1) + self._elements(obj)

    def _elements(self, values: Any) -> bytes:
        raise TypeError(f"{type(self).__name__} says nothing of its elements")


class _Ints(_Column):
    width: ClassVar[int]
    code: ClassVar[str]

    def _elements(self, values: list[int]) -> bytes:
        flat = [self.width] * (2 * len(values))
        flat[1::2] = values
        return struct.pack(">" + ("i" + self.code) * len(values), *flat)


class _Int8s(_Ints):
    oid, element_oid, width, code = 1016, 20, 8, "q"


class _Int4s(_Ints):
    oid, element_oid, width, code = 1007, 23, 4, "i"


class _Int2s(_Ints):
    oid, element_oid, width, code = 1005, 21, 2, "h"


class _Texts(_Column):
    oid, element_oid = 1009, 25

    def _elements(self, values: list[str]) -> bytes:
        pack = _LENGTH.pack
        return b"".join([pack(len(data)) + data for data in map(str.encode, values)])


class _Byteas(_Column):
    oid, element_oid = 1001, 17

    def _elements(self, values: list[bytes | None]) -> bytes:
        pack = _LENGTH.pack
        return b"".join([_NULL if data is None else pack(len(data)) + data for data in values])


def register(context: AdaptContext) -> None:
    """Teach a connection these columns."""
    for column, dumper in ((Int8s, _Int8s), (Int4s, _Int4s), (Int2s, _Int2s), (Texts, _Texts), (Byteas, _Byteas)):
        context.adapters.register_dumper(column, dumper)
