"""One service a file; each test brings customers of its own."""

import uuid

import pytest

from tests.service import Service


@pytest.fixture
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture
def ada() -> str:
    return f"ada-{uuid.uuid4().hex[:8]}"
