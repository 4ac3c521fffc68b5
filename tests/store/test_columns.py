"""Columns of values through PostgreSQL and back."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, connect

from engine.store.columns import Byteas, Float8s, Int2s, Int4s, Int8s, Texts, register

TYPES = {
    "bigint": Int8s,
    "integer": Int4s,
    "smallint": Int2s,
    "double precision": Float8s,
    "text": Texts,
    "bytea": Byteas,
}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def whole(bits: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


VALUES = {
    "bigint": whole(64),
    "integer": whole(32),
    "smallint": whole(16),
    "double precision": st.lists(st.none() | st.floats(allow_nan=False)),
    "text": st.lists(TEXT),
    "bytea": st.lists(st.none() | st.binary()),
}


def through(connection: Connection, kind: str, values: Sequence[object]) -> list[object]:
    query = f"SELECT array_agg(value ORDER BY place) FROM unnest(%b::{kind}[]) WITH ORDINALITY AS rows(value, place)"
    row = connection.execute(query.encode(), (TYPES[kind](values),)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0] or []


@pytest.fixture(scope="module")
def connection(server: object) -> object:
    with connect(server.url("postgres"), autocommit=True) as opened:  # type: ignore[attr-defined]
        register(opened)
        yield opened


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_goes_in_comes_out_in_its_order(connection: Connection, kind: str, data: st.DataObject) -> None:
    values = data.draw(VALUES[kind])
    assert through(connection, kind, values) == values


@pytest.mark.parametrize("kind", TYPES)
def test_an_empty_column_is_an_empty_array(connection: Connection, kind: str) -> None:
    row = connection.execute(f"SELECT cardinality(%b::{kind}[])".encode(), (TYPES[kind](),)).fetchone()
    assert row == (0,)


def test_several_columns_are_rows_together(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT * FROM unnest(%b, %b, %b, %b, %b)",
        (
            Int8s([-(2**63), 2**63 - 1]),
            Int4s([-1, 0]),
            Int2s([-(2**15), 2**15 - 1]),
            Texts(["", "日本 🦊"]),
            Byteas([None, b""]),
        ),
    ).fetchall()
    assert rows == [(-(2**63), -1, -(2**15), "", None), (2**63 - 1, 0, 2**15 - 1, "日本 🦊", b"")]


def test_what_does_not_fit_is_an_error_and_nothing_else(connection: Connection) -> None:
    for kind, value in (("bigint", 2**63), ("integer", -(2**31) - 1), ("smallint", 2**15)):
        with pytest.raises(Exception, match=r"range|format|requires|too large"):
            through(connection, kind, [value])
    with pytest.raises(UnicodeEncodeError):
        through(connection, "text", ["\ud800"])
    assert through(connection, "bigint", [1]) == [1]
