"""Columns of values as PostgreSQL's binary arrays: how a batch of rows crosses in one statement.

psycopg renders a list one element at a time in Python; for a column of whole numbers one `struct.pack` does, some ten
times faster. Columns of numbers hold no NULL: 0 is none.
"""

import struct
from typing import Any, Protocol

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_LENGTH = struct.Struct(">i")
_DOUBLE = struct.Struct(">id")
_NULL = _LENGTH.pack(-1)


class Column(Protocol):
    """A parameter that knows its type and its own bytes."""

    oid: int

    def packed(self) -> bytes: ...


class Int8s(list[int]):
    """A column of bigint."""

    oid = 1016

    def packed(self) -> bytes:
        return _ints(self, 20, 8, "q")


class Int4s(list[int]):
    """A column of integer."""

    oid = 1007

    def packed(self) -> bytes:
        return _ints(self, 23, 4, "i")


class Int2s(list[int]):
    """A column of smallint."""

    oid = 1005

    def packed(self) -> bytes:
        return _ints(self, 21, 2, "h")


class Float8s(list[float | None]):
    """A column of double precision; None is NULL."""

    oid = 1022

    def packed(self) -> bytes:
        pack = _DOUBLE.pack
        elements = b"".join([_NULL if each is None else pack(8, each) for each in self])
        return _header(len(self), 701, has_null=True) + elements


class Texts(list[str | None]):
    """A column of text."""

    oid = 1009

    def packed(self) -> bytes:
        pack = _LENGTH.pack
        elements = b"".join([_NULL if each is None else pack(len(text := each.encode())) + text for each in self])
        return _header(len(self), 25, has_null=True) + elements


class Byteas(list[bytes | None]):
    """A column of bytea."""

    oid = 1001

    def packed(self) -> bytes:
        pack = _LENGTH.pack
        elements = b"".join([_NULL if each is None else pack(len(each)) + each for each in self])
        return _header(len(self), 17, has_null=True) + elements


def _ints(values: list[int], oid: int, width: int, code: str) -> bytes:
    flat = [width] * (2 * len(values))
    flat[1::2] = values
    return _header(len(values), oid, has_null=False) + struct.pack(">" + ("i" + code) * len(values), *flat)


def _header(count: int, oid: int, *, has_null: bool) -> bytes:
    return struct.pack(">iiiii", 1, has_null, oid, count, 1) if count else struct.pack(">iii", 0, 0, oid)


class _Columns(Dumper):
    """The same for psycopg's own way of executing."""

    format = Format.BINARY

    def __init__(self, cls: Any, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self.oid = cls.oid

    def dump(self, obj: Any) -> Buffer | None:
        return obj.packed()


def register(context: AdaptContext) -> None:
    """Teach a connection these columns."""
    for column in (Int8s, Int4s, Int2s, Float8s, Texts, Byteas):
        context.adapters.register_dumper(column, _Columns)
