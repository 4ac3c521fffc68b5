"""Assignment in SQL says what assignment in Python says, whatever ids, seeds and names hold."""

from math import inf

import duckdb
import psycopg
import pytest

from experiments.assignment import Reason, assign, assign_many, sql
from experiments.design import Condition, Experiment, Holdout, Layer, Phase
from tests.experiments.assignment_plans import LATER, START, everything_at_once, plan, rows

COLUMNS = "(id text, stored text, entered date, country text, vip boolean, age double precision)"


def expected_rows(meant: Experiment) -> list[tuple[str | None, str | None, str | None]]:
    units, stored, entered, country, vip, age = map(list, zip(*rows(), strict=True))
    attributes = {"country": country, "vip": vip, "age": age}
    found = assign_many(meant, units, stored, attributes=attributes, entered=entered)
    return sorted((unit, found[i].variant, found[i].reason.value) for i, unit in enumerate(units))


def plans() -> list[Experiment]:
    return [
        plan(),
        plan(phases=(Phase(START, {"one": 1, "three": 1}), Phase(LATER, {"one": 1, "three": 1}, 0))),
        everything_at_once(),
        plan(("b", 1), ("one", 2), layer=Layer("push-budget", 1000, 9000), holdout=Holdout("always-on", 0.05)),
        plan(traffic=0.3, phases=(Phase(START, {"one": 2, "three": 1}, 0.5),)),
    ]


def select(meant: Experiment, dialect: str) -> str:
    return sql(meant, dialect, "units_given", "id", stored="stored", entered="entered")


def test_duckdb_says_what_python_says() -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE units_given {COLUMNS}")
        connection.executemany("INSERT INTO units_given VALUES (?, ?, ?, ?, ?, ?)", rows())
        for meant in plans():
            assert sorted(connection.execute(select(meant, "duckdb")).fetchall()) == expected_rows(meant)


def test_postgresql_says_what_python_says(database_url: str) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE units_given {COLUMNS}".encode())
        cursor.executemany("INSERT INTO units_given VALUES (%s, %s, %s, %s, %s, %s)", rows())
        for meant in plans():
            found = cursor.execute(select(meant, "postgres").encode()).fetchall()
            assert sorted(found) == expected_rows(meant)


def test_sql_takes_numbers_as_their_digits_and_gives_nothing_for_null(database_url: str) -> None:
    expected = [*((str(i), assign(plan(), i).variant, "assigned") for i in range(5)), (None, None, None)]
    given_units = "(VALUES (0), (1), (2), (3), (4), (NULL)) AS t(id)"
    with duckdb.connect() as connection:
        assert connection.execute(sql(plan(), "duckdb", given_units, "id") + " ORDER BY unit").fetchall() == expected
    with psycopg.connect(database_url) as connection:
        found = connection.execute((sql(plan(), "postgres", given_units, "id") + " ORDER BY unit").encode()).fetchall()
        assert found == expected


def test_sql_without_dates_of_entry_says_that_they_are_unknown() -> None:
    phased = plan(phases=(Phase(START, {"one": 1, "three": 1}), Phase(LATER, {"one": 1, "three": 2})))
    with duckdb.connect() as connection:
        assert connection.execute(sql(phased, "duckdb", "(SELECT 'a' AS id)", "id")).fetchall() == [
            ("a", None, "entry_unknown")
        ]


NAN = float("nan")
WHOLE = (17, 18, 30, None)
AGES = {  # by dialect and type of the column: what it can hold
    ("duckdb", "double"): (*WHOLE, NAN, inf, -inf),
    ("duckdb", "real"): (*WHOLE, NAN, inf),
    ("duckdb", "numeric(9, 2)"): WHOLE,
    ("duckdb", "integer"): WHOLE,
    ("postgres", "double precision"): (*WHOLE, NAN, inf, -inf),
    ("postgres", "real"): (*WHOLE, NAN, inf),
    ("postgres", "numeric"): (*WHOLE, NAN),
    ("postgres", "integer"): WHOLE,
}
CONDITIONS = (
    Condition("age", equal=18),
    Condition("age", among=(17, 18)),
    Condition("age", at_least=18),
    Condition("age", below=18),
    Condition("age", at_least=18, below=65),
)


@pytest.mark.parametrize(("dialect", "kind"), AGES)
def test_a_number_that_is_none_is_missing_in_python_and_in_both_dialects(
    dialect: str, kind: str, database_url: str
) -> None:
    ages = AGES[dialect, kind]
    literals = ["NULL" if age is None else f"'{age}'" for age in ages]
    table = f"(VALUES {', '.join(f'({i}, CAST({age} AS {kind}))' for i, age in enumerate(literals))}) AS t(id, age)"
    with duckdb.connect() as duck, psycopg.connect(database_url) as postgres:
        for condition in CONDITIONS:
            meant = plan(audience=(condition,))
            expected = [assign(meant, i, attributes={"age": age}).reason.value for i, age in enumerate(ages)]
            assert set(expected) == {"audience_unknown", "not_in_audience", "assigned"}
            text = sql(meant, dialect, table, "id") + " ORDER BY unit"
            found = duck.execute(text) if dialect == "duckdb" else postgres.execute(text.encode())
            assert [reason for _, _, reason in found.fetchall()] == expected


def test_nan_as_a_text_is_a_text_like_any_other(database_url: str) -> None:
    meant = plan(audience=(Condition("name", equal="NaN"),))
    assert assign(meant, "a", attributes={"name": "NaN"}).reason is Reason.ASSIGNED
    with duckdb.connect() as duck, psycopg.connect(database_url) as postgres:
        table = "(SELECT 'a' AS id, CAST('NaN' AS text) AS name)"
        assert duck.execute(sql(meant, "duckdb", table, "id")).fetchall()[0][2] == "assigned"
        found = postgres.execute(sql(meant, "postgres", f"{table} AS t", "id").encode()).fetchall()
        assert found[0][2] == "assigned"


def test_a_dialect_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="oracle"):
        sql(plan(), "oracle")
