"""One service a file; each test brings customers of its own."""

import uuid
from collections.abc import Generator

import pytest

from tests.cli import command
from tests.service import Service


@pytest.fixture(scope="session", autouse=True)
def loaded() -> Generator[None]:
    yield
    command.unload()


@pytest.fixture
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture
def ada() -> str:
    return f"ada-{uuid.uuid4().hex[:8]}"
