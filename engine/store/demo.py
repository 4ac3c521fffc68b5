"""Databases for simulations, and their clock.

Only a database made as `demo` or `test` may hold a clock that differs from the server's: of others the table refuses
it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import AsyncConnection, sql

from engine.core.errors import Conflict, DatabaseUnavailable
from engine.store.database import Connection

_MAKING_LOCK = 7_236_875_001


def beside(url: str, name: str) -> str:
    """The address of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{quote(name, safe='')}"))


async def set_clock(connection: Connection, at_us: int | None) -> None:
    """Let `takt_clock()` say this instant now, and go on from there; None: the server's own time."""
    await connection.execute(
        "UPDATE deployment SET clock_offset_us ="
        " coalesce(%s - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0)",
        (at_us,),
    )


async def set_kind(connection: Connection, kind: str) -> None:
    """Say what this database is for."""
    await connection.execute("UPDATE deployment SET kind = %s", (kind,))


async def kind_of(connection: Connection) -> str:
    """What this database is for: production, demo or test."""
    row = await (await connection.execute("SELECT kind FROM deployment")).fetchone()
    return row[0] if row else "production"


async def extent(connection: Connection) -> tuple[int, int]:
    """How many customers there are, and since when the first policy was in force."""
    cursor = await connection.execute("SELECT (SELECT count(*) FROM accounts), min(activated_us) FROM rulesets")
    row = await cursor.fetchone()
    return (row[0], row[1] or 0) if row else (0, 0)


async def busiest_customer(connection: Connection) -> str:
    """Whoever has the longest story: of those who turned push off, where there are any."""
    cursor = await connection.execute(
        "SELECT customer_id FROM accounts ORDER BY customer_id IN (SELECT e.customer_id FROM events e"
        " JOIN labels l ON l.number = e.kind WHERE l.name = 'push_disabled') DESC, seq DESC, customer_id LIMIT 1"
    )
    row = await cursor.fetchone()
    return row[0] if row else ""


class Databases:
    """The databases of a server, while nobody else makes or drops one of them this way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def exists(self, name: str) -> bool:
        """One whose drop was broken off (a limit of -2 says so) is there no more: it can only be dropped again."""
        cursor = await self._connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s AND datconnlimit <> -2", (name,)
        )
        return await cursor.fetchone() is not None

    async def create(self, name: str) -> None:
        await self._run("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", name)

    async def drop(self, name: str) -> None:
        """Whoever is connected to it is thrown out."""
        await self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    async def rename(self, name: str, to: str) -> None:
        """Raises `Conflict` while anybody is connected to it."""
        await self._run("ALTER DATABASE {} RENAME TO {}", name, to)

    async def _run(self, statement: str, *names: str) -> None:
        try:
            await self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # pyright: ignore
        except psycopg.errors.InsufficientPrivilege as error:
            raise Conflict(
                f"the demo has a database of its own, {names[0]}, and the role of DATABASE_URL may not make or drop it"
            ) from error
        except psycopg.errors.ObjectInUse as error:
            raise Conflict(f"somebody is connected to the database {names[0]}: end them first") from error


@asynccontextmanager
async def databases(url: str) -> AsyncGenerator[Databases]:
    """Raises `DatabaseUnavailable`, and `Conflict` where somebody else is at it."""
    try:
        connection = await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=5, application_name="takt-demo"
        )
    except psycopg.OperationalError as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatabaseUnavailable(f"the database cannot be reached ({why}): is DATABASE_URL right?") from error
    async with connection:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (_MAKING_LOCK,))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            raise Conflict("another `takt demo` is being made on this server: wait for it")
        yield Databases(connection)
