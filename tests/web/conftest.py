"""One service a file, and a browser a test."""

from collections.abc import Generator

import pytest

from tests.service import Service
from tests.web.browser import Browser


@pytest.fixture
def browser(shared_service: Service) -> Generator[Browser]:
    with Browser(shared_service) as found:
        yield found


@pytest.fixture
def ada(browser: Browser) -> Browser:
    """Signed in with a key that may do everything."""
    assert browser.sign_in().status_code == 303
    return browser
