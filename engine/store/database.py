"""The way to the database: a pool, short transactions, the clock, and what must be true before anything is answered.

Connections run READ COMMITTED (a snapshot older than the lock it waits for counts too little) and commit durably; the
server is asked whether it obeys, at every start.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from engine.core.errors import DatabaseUnavailable, TaktError
from engine.store import columns

OLDEST_SERVER = 150_000
Connection = AsyncConnection[TupleRow]
Row = TupleRow

# psycopg is spoken in this floor alone; what the floor above must tell apart has a name here.
LockBusy = psycopg.errors.LockNotAvailable
ConnectionFailed = (psycopg.OperationalError, psycopg.InterfaceError)
DatabaseError = psycopg.Error

# A hot statement is planned once and runs by its indexes; a plan made while a table was small must not stay.
_SESSION = (
    "-c default_transaction_isolation=read\\ committed -c synchronous_commit=on -c jit=off -c timezone=UTC"
    " -c plan_cache_mode=force_generic_plan -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off"
)
STATEMENT_LIMIT_MS = 30_000


class UnfitDatabase(TaktError):
    """At start: the server is too old, could lose what it acknowledged, or is not migrated."""

    code = "unfit_database"


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, size: int = 8, wait_s: float = 2.0, lock_wait_ms: int = 200) -> None:
        self.url = url
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=wait_s,
            max_waiting=1_000,
            reconnect_timeout=5.0,
            open=False,
            check=None,
            configure=self._configure,
            kwargs={
                "autocommit": True,
                # What is hot is prepared in `exchange`. Had psycopg prepared anything of its own, it would deallocate
                # all there is after a rollback.
                "prepare_threshold": None,
                "connect_timeout": 5,
                # A peer that vanished without a word (a host that lost its power) is given up within seconds.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                "application_name": "takt",
                "options": f"{_SESSION} -c lock_timeout={lock_wait_ms} -c statement_timeout={STATEMENT_LIMIT_MS}",
            },
        )

    async def open(self) -> None:
        """Connect, and raise `UnfitDatabase` where the server could break a promise. Closed again where it fails."""
        told = _told_to_end()
        try:
            await self._pool.open(wait=True, timeout=30.0)
            _heed(told)
            async with self.connection() as connection:
                await check_server(connection)
        except PoolTimeout as error:
            await self.close()
            raise DatabaseUnavailable("the database does not answer: is DATABASE_URL right?") from error
        except BaseException:  # a pool that is left open has tasks that let nobody cancel them: their loop never ends
            await self.close()
            raise

    async def close(self) -> None:
        told = _told_to_end()
        await self._pool.close(timeout=5.0)
        _heed(told)

    @asynccontextmanager
    async def raw_connection(self) -> AsyncGenerator[Connection]:
        """A connection in autocommit mode, whose errors are psycopg's own once it was had."""
        told = _told_to_end()
        try:
            connection = await self._pool.getconn()
        except PoolTimeout as error:
            raise DatabaseUnavailable("no connection to the database was free in time") from error
        try:
            _heed(told)
            yield connection
        finally:
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection in autocommit mode; a failure to reach the database becomes `DatabaseUnavailable`."""
        told = _told_to_end()
        try:
            async with self._pool.connection() as connection:
                _heed(told)
                yield connection
        except PoolTimeout as error:
            raise DatabaseUnavailable("no connection to the database was free in time") from error
        except psycopg.errors.QueryCanceled as error:
            raise DatabaseUnavailable("the database took too long") from error
        except psycopg.errors.LockNotAvailable as error:
            raise DatabaseUnavailable("somebody else holds this customer's account") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseUnavailable("the database is not reachable") from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise UnfitDatabase("the database is not migrated to what this Takt knows: `takt db migrate`") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection in a transaction that commits at the end, before the caller goes on."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def clock_us(self) -> int:
        async with self.connection() as connection:
            return await clock_us(connection)

    @staticmethod
    async def _configure(connection: Connection) -> None:
        columns.register(connection)


def _told_to_end() -> int:
    """How often the running task was told to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _heed(told: int) -> None:
    """End the task if it was told to since then.

    The pool waits by `asyncio.wait_for`. Before Python 3.12 that keeps to itself a cancellation that arrives just as
    its wait is over, and what was told to end goes on for ever.
    """
    if _told_to_end() > told:
        raise asyncio.CancelledError


async def reach(url: str) -> None:
    """Connect once, and raise `DatabaseUnavailable` with the reason where that fails; a pool would try for seconds."""
    try:
        await (await AsyncConnection.connect(url, connect_timeout=5)).close()
    except psycopg.Error as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatabaseUnavailable(f"the database cannot be reached ({why}): is DATABASE_URL right?") from error


async def clock_us(connection: Connection) -> int:
    """The one clock: the database's, in microseconds since the epoch."""
    row = await (await connection.execute("SELECT takt_clock()")).fetchone()
    return row[0] if row else 0


async def check_server(connection: Connection) -> None:
    """Raise `UnfitDatabase` unless the server is new enough and keeps what it commits."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise UnfitDatabase(f"PostgreSQL {version // 10_000} is too old: Takt needs {OLDEST_SERVER // 10_000} or newer")
    wanted = {
        "fsync": ("on",),
        "full_page_writes": ("on",),
        "synchronous_commit": ("on", "remote_write", "remote_apply", "local"),
        "transaction_isolation": ("read committed",),
        "server_encoding": ("UTF8",),
    }
    for setting, allowed in wanted.items():
        row = await (await connection.execute("SELECT current_setting(%s)", (setting,))).fetchone()
        found = row[0] if row else "nothing"
        if found not in allowed:
            raise UnfitDatabase(f"the database runs with {setting} = {found}; Takt promises need {allowed[0]}")


async def ensure_weeks(connection: Connection, ahead: int = 3) -> None:
    """Make the weekly partitions from last week on; weeks whose rows already lie in the spare one stay there."""
    now_us = await clock_us(connection)
    week_us = 7 * 86_400 * 1_000_000
    for number in range(now_us // week_us - 1, now_us // week_us + ahead):
        for table in ("journal", "refusals", "resolutions"):
            try:
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {table}_w{number} PARTITION OF {table}"
                    f" FOR VALUES FROM ({number * week_us}) TO ({(number + 1) * week_us})".encode()
                )
            except (psycopg.errors.CheckViolation, psycopg.errors.DuplicateTable, psycopg.errors.LockNotAvailable):
                continue
