"""Engines in which tables lie, and what is sent to them."""

from collections.abc import Generator
from typing import Any

import ibis
import pytest


@pytest.fixture
def postgres(database_url: str) -> Generator[Any]:
    """In a session whose time zone is not UTC, and has a daylight saving time."""
    connected: Any = ibis.connect(database_url)
    connected.raw_sql("SET TIME ZONE 'America/New_York'").close()
    yield connected
    connected.disconnect()


@pytest.fixture
def queries() -> Generator[list[str]]:
    """What Ibis sends to an engine."""
    sent: list[str] = []
    ibis.options.verbose, ibis.options.verbose_log = True, sent.append
    yield sent
    ibis.options.verbose, ibis.options.verbose_log = False, None
