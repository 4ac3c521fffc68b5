"""One service a file, under a policy that does not know what time of day it is; a customer a test."""

import uuid
from collections.abc import Generator

import pytest

from tests.api.caller import POLICY, Caller
from tests.service import Service


@pytest.fixture(scope="module")
def takt(shared_service: Service) -> Generator[Caller]:
    shared_service.activate(POLICY)
    with Caller(shared_service) as caller:
        yield caller


@pytest.fixture
def ada() -> str:
    """A customer of the test's own."""
    return f"ada-{uuid.uuid4().hex[:8]}"
