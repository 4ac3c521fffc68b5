"""A real PostgreSQL for every test that wants one: the embedded server, and a clean database a test by template."""

import os
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from engine.core.presets import PRESETS
from engine.operations import policies
from engine.operations.decider import Decider
from engine.settings import Settings
from engine.store import embedded
from engine.store.migrations import migrate, newest_revision
from tests.order import ByFile, in_order
from tests.service import Service, serving

# A slow machine is no fault of the data's.
hypothesis_settings.register_profile(
    "gate", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("TAKT_HYPOTHESIS", "gate"))

TEST_DATA_DIR = Path(os.environ.get("TAKT_TEST_DATA_DIR", Path(__file__).parent.parent / ".takt" / "test"))
_TEMPLATE_LOCK = 7_236_871_900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return ByFile(config, log)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Generator[embedded.Server]:
    """The embedded server, shared by all test processes; the last to leave stops it."""
    with embedded.attach(TEST_DATA_DIR) as attached:
        yield attached


@pytest.fixture(scope="session")
def template(server: embedded.Server) -> str:
    return migrated_template(server)


def migrated_template(server: embedded.Server) -> str:
    """A migrated database of kind `test`, made once for each form of the migrations."""
    texts = "".join(path.read_text() for path in sorted(Path("alembic/versions").glob("*.py")))
    name = f"template_{newest_revision()}_{uuid.uuid5(uuid.NAMESPACE_OID, texts).hex[:12]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            making = f"{name}_{uuid.uuid4().hex[:8]}"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
            migrate(server.url(making))
            with psycopg.connect(server.url(making), autocommit=True) as made:
                made.execute("UPDATE deployment SET kind = 'test'")
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(making), sql.Identifier(name))
            )
    return name


@pytest.fixture
def database_url(server: embedded.Server, template: str) -> Generator[str]:
    """The address of a clean, migrated database."""
    with clean_database(server, template) as url:
        yield url


@contextmanager
def clean_database(server: embedded.Server, template: str) -> Generator[str]:
    name = f"test_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(create)
        yield server.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def test_settings() -> Settings:
    return Settings(lanes=2)


@pytest.fixture
async def decider(database_url: str, test_settings: Settings) -> AsyncGenerator[Decider]:
    """An open Decider under the preset `considerate`."""
    opened = Decider(database_url, test_settings)
    await opened.open()
    try:
        await policies.activate(opened.database, PRESETS["considerate"], author="test")
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def service(database_url: str) -> Generator[Service]:
    """A running service under the preset `considerate`: `.url`, `.key` (it may do everything), `.database_url`."""
    with serving(database_url) as running:
        yield running


@pytest.fixture(scope="module")
def shared_service(server: embedded.Server, template: str) -> Generator[Service]:
    """As `service`, but one for all tests of a file: each brings customers of its own."""
    with clean_database(server, template) as url, serving(url) as running:
        yield running


def set_clock(url: str, offset_us: int) -> None:
    """Move the clock of a test database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE deployment SET clock_offset_us = %s", (offset_us,))
