"""Statements in one round trip, against a real server: what comes back, what an error leaves, and what a break does."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from engine.store.columns import Byteas, Int8s, Texts
from engine.store.database import Connection, Database
from engine.store.exchange import BEGIN, COMMIT, Call, exchange

NUMBERS: Call = ("SELECT n * 2, n::text FROM unnest(%b) AS n", (Int8s([1, 2, 3]),))
FAILS: Call = ("SELECT 1 / (SELECT count(*) FROM unnest(%b))", (Texts(),))


def on(url: str, work: Callable[[Database, Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        database = Database(url, size=2)
        await database.open()
        try:
            async with database.raw_connection() as connection:
                await work(database, connection)
        finally:
            await database.close()

    asyncio.run(run())


def test_each_statement_returns_its_rows(database_url: str):
    async def work(_database: Database, connection: Connection) -> None:
        for _ in range(3):  # prepared at first, then known by name
            rows = await exchange(connection, BEGIN, NUMBERS, ("SELECT 1 WHERE false", ()), COMMIT)
            assert rows == [[], [(2, "1"), (4, "2"), (6, "3")], [], []]

    on(database_url, work)


def test_an_error_ends_the_rest_and_leaves_the_connection_in_its_transaction(database_url: str):
    async def work(_: Database, connection: Connection) -> None:
        await connection.execute("CREATE TABLE seen (n bigint)")
        insert: Call = ("INSERT INTO seen SELECT * FROM unnest(%b)", (Int8s([1]),))
        with pytest.raises(psycopg.errors.DivisionByZero):
            await exchange(connection, BEGIN, insert, FAILS, insert, COMMIT)
        assert not connection.closed
        await connection.rollback()
        assert await exchange(connection, ("SELECT count(*) FROM seen", ())) == [[(0,)]]
        await exchange(connection, insert)  # prepared before the error, and known
        with pytest.raises(psycopg.errors.DivisionByZero):
            await exchange(connection, FAILS)
        assert await exchange(connection, NUMBERS) == [[(2, "1"), (4, "2"), (6, "3")]]

    on(database_url, work)


def test_a_statement_that_does_not_parse_is_an_error_each_time(database_url: str):
    async def work(_database: Database, connection: Connection) -> None:
        for _ in range(2):
            with pytest.raises(psycopg.errors.SyntaxError):
                await exchange(connection, ("SELEC 1", ()), NUMBERS)
        assert await exchange(connection, NUMBERS) == [[(2, "1"), (4, "2"), (6, "3")]]

    on(database_url, work)


def test_more_than_any_socket_buffer_passes_both_ways(database_url: str):
    async def work(_: Database, connection: Connection) -> None:
        data = [bytes([n]) * 1_000_000 for n in range(40)]
        echo: Call = ("SELECT b FROM unnest(%b) WITH ORDINALITY AS rows(b, n) ORDER BY n", (Byteas(data),))
        for rows in await exchange(connection, echo, echo):
            assert [row[0] for row in rows] == data

    on(database_url, work)


def test_a_connection_that_breaks_is_closed_and_says_so(database_url: str):
    async def work(database: Database, connection: Connection) -> None:
        pid = connection.info.backend_pid
        sleeping = asyncio.create_task(exchange(connection, NUMBERS, ("SELECT pg_sleep(600)", ())))
        async with database.connection() as other:
            ended = False
            while not ended:
                asleep = (
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
                )
                ended = await (await other.execute(asleep, (pid,))).fetchone() is not None
        with pytest.raises(psycopg.OperationalError):
            await sleeping
        assert connection.closed
        with pytest.raises(psycopg.OperationalError):
            await exchange(connection, NUMBERS)

    on(database_url, work)


def test_one_who_is_cancelled_leaves_no_connection_in_the_middle(database_url: str):
    async def work(database: Database, connection: Connection) -> None:
        pid = connection.info.backend_pid
        waiting = asyncio.create_task(exchange(connection, NUMBERS, ("SELECT pg_sleep(600)", ())))
        async with database.connection() as other:
            asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while not await (await other.execute(asleep, (pid,))).fetchone():
                pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert connection.closed
        async with database.connection() as other:
            left = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            while await (await other.execute(left, (pid,))).fetchone():
                pass

    on(database_url, work)
