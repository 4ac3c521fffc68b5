"""What must be true of a database before anything is answered, and the weeks it is cut into."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from engine.store import database as database_module
from engine.store import embedded
from engine.store.database import Database, UnfitDatabase, check_server, clock_us, ensure_weeks
from tests.api.caller import eventually
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio
WEEK_US = 7 * 86_400 * 1_000_000
TABLES = ("journal", "refusals", "resolutions")


@pytest.fixture
async def connection(database_url: str) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as opened:
        yield opened


class TestAServerIsRefused:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [("synchronous_commit", "off"), ("default_transaction_isolation", "repeatable read")],
    )
    async def test_where_a_connection_would_lose_or_misread(
        self, connection: AsyncConnection[TupleRow], setting: str, value: str
    ) -> None:
        await check_server(connection)
        await connection.execute(f"SET {setting} = '{value}'".encode())
        with pytest.raises(UnfitDatabase, match=value.split()[0]):
            await check_server(connection)

    async def test_where_it_is_too_old(
        self, connection: AsyncConnection[TupleRow], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database_module, "OLDEST_SERVER", 990_000)
        with pytest.raises(UnfitDatabase, match="too old"):
            await check_server(connection)

    async def test_where_its_database_is_not_in_utf_8(self, server: embedded.Server) -> None:
        async with await AsyncConnection.connect(server.url("postgres"), autocommit=True) as admin:
            await admin.execute("DROP DATABASE IF EXISTS test_latin")
            await admin.execute("CREATE DATABASE test_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
            try:
                with pytest.raises(UnfitDatabase, match="LATIN1"):
                    await Database(server.url("test_latin"), size=1).open()
            finally:
                await admin.execute("DROP DATABASE test_latin WITH (FORCE)")

    async def test_where_it_does_not_wait_for_its_disk(self, careless: embedded.Server) -> None:
        with pytest.raises(UnfitDatabase, match="fsync"):
            await Database(careless.url(), size=1).open()


@pytest.fixture
def careless(tmp_path: Path) -> Generator[embedded.Server]:
    """A server of its own, with `fsync` off."""
    with embedded.attach(tmp_path / "careless") as server, psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")
        eventually(lambda: admin.execute("SHOW fsync").fetchone() == ("off",))
        yield server


async def test_settings_of_the_database_do_not_reach_takt_s_connections(database_url: str) -> None:
    """Isolation and durability are said by each connection itself, so that no default can undo them."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        row = admin.execute("SELECT current_database()").fetchone()
        assert row is not None
        for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'", "jit = on"):
            admin.execute(f"ALTER DATABASE {row[0]} SET {setting}".encode())
    database = Database(database_url, size=1)
    await database.open()
    try:
        async with database.connection() as connection:
            shown = [
                (await (await connection.execute(f"SHOW {name}".encode())).fetchone() or ("",))[0]
                for name in ("synchronous_commit", "transaction_isolation", "jit", "TimeZone")
            ]
        assert shown == ["on", "read committed", "off", "UTC"]
    finally:
        await database.close()


class TestWeeks:
    async def test_ahead_are_made_for_every_table(self, connection: AsyncConnection[TupleRow]) -> None:
        await ensure_weeks(connection)
        now_us = await clock_us(connection)
        made = await weeks(connection)
        for table in TABLES:
            wanted = {f"{table}_w{number}" for number in range(now_us // WEEK_US - 1, now_us // WEEK_US + 3)}
            assert wanted <= made
        await ensure_weeks(connection)
        assert await weeks(connection) == made

    async def test_rows_lie_in_the_week_of_their_instant(self, connection: AsyncConnection[TupleRow]) -> None:
        await ensure_weeks(connection)
        now_us = await clock_us(connection)
        for seq, at_us in enumerate((now_us, now_us // WEEK_US * WEEK_US, (now_us // WEEK_US + 1) * WEEK_US - 1), 2):
            await insert(connection, seq, at_us)
        assert await found_in(connection) == {f"resolutions_w{now_us // WEEK_US}"}

    async def test_far_ahead_lie_in_the_spare_one_and_stay_there(
        self, connection: AsyncConnection[TupleRow], database_url: str
    ) -> None:
        await ensure_weeks(connection)
        now_us = await clock_us(connection)
        far_us = now_us + 40 * WEEK_US
        await insert(connection, 2, far_us)
        assert await found_in(connection) == {"resolutions_w_other"}
        set_clock(database_url, 40 * WEEK_US)
        await ensure_weeks(connection)
        made = await weeks(connection)
        assert f"resolutions_w{far_us // WEEK_US}" not in made, "its rows lie in the spare one"
        assert f"resolutions_w{far_us // WEEK_US + 1}" in made
        assert f"journal_w{far_us // WEEK_US}" in made
        await insert(connection, 3, far_us + 1)
        assert await found_in(connection) == {"resolutions_w_other"}

    async def test_are_not_waited_for_by_writers_nor_fail_them(
        self, connection: AsyncConnection[TupleRow], database_url: str
    ) -> None:
        with psycopg.connect(database_url) as writer:
            writer.execute("LOCK TABLE journal IN ROW EXCLUSIVE MODE")
            await connection.execute("SET lock_timeout = '50ms'")
            await ensure_weeks(connection)
        made = await weeks(connection)
        await ensure_weeks(connection)
        assert await weeks(connection) >= made


async def weeks(connection: AsyncConnection[TupleRow]) -> set[str]:
    cursor = await connection.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    return {row[0] for row in await cursor.fetchall()}


async def insert(connection: AsyncConnection[TupleRow], seq: int, at_us: int) -> None:
    await connection.execute(
        "INSERT INTO resolutions (at_us, end_us, seq, contact_seq, kind, customer_id) VALUES (%s, 0, %s, 1, 1, 'ada')",
        (at_us, seq),
    )


async def found_in(connection: AsyncConnection[TupleRow]) -> set[str]:
    cursor = await connection.execute("SELECT DISTINCT tableoid::regclass::text FROM resolutions")
    return {row[0] for row in await cursor.fetchall()}
