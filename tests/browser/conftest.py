"""A real Chromium before a real service. Whatever a page logs as an error, asks another host for or breaks its policy
with fails the test. Screenshots go to the folder that the run names.
"""

import os
import shutil
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    sync_playwright,
)

from engine.settings import Settings
from engine.store.embedded import Server
from tests.api.caller import Caller
from tests.api.unsubscribing import PUBLIC_URL
from tests.conftest import clean_database
from tests.operations.plans import PLAN, POLICY
from tests.service import Service, serving

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = Path(os.environ.get("TAKT_SCREENSHOTS", Path(__file__).parents[2] / ".takt" / "screenshots"))
WIDE, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
PATIENCE_MS = 60_000
_TOLD_ELSEWHERE = ("[DOM]", "Failed to load resource")  # advice; and answers, which are looked at as they come

Open = Callable[..., Page]


def program() -> str | None:
    """Where there is a Chromium, or something like it."""
    return next((found for each in _PROGRAMS if (found := shutil.which(each))), None)


def pytest_report_header() -> str:
    return f"screenshots of pages: {SCREENSHOTS}"


@pytest.fixture(scope="module")
def shared_service(server: Server, template: str) -> Generator[Service]:
    """One whose customers can unsubscribe, under the shop's policy."""
    settings = Settings(public_url=PUBLIC_URL)
    with clean_database(server, template) as url, serving(url, settings) as service:
        service.activate(POLICY)
        yield service


@pytest.fixture(scope="module")
def takt(shared_service: Service) -> Generator[Caller]:
    with Caller(shared_service, timeout_s=120) as caller:
        yield caller


@pytest.fixture(scope="module")
def experiment(takt: Caller) -> str:
    """The key of one that runs and was read: sixty customers, of whom some were refused and some left."""
    takt.call("POST", "/v1/experiments", {"yaml": PLAN})
    takt.call("POST", "/v1/experiments/push-more/start")
    for number in range(60):
        for message in range(2):
            takt.ask(f"c{number}", f"m{message}", channel="push")
    said = {"source": "app", "type": "unsubscribed", "channel": "push", "at": datetime.now(UTC).isoformat()}
    events = [{"id": f"e{number}", "customer_id": f"c{number}", **said} for number in range(0, 60, 7)]
    assert takt.call("POST", "/v1/events", {"events": events})["accepted"] == len(events)
    takt.call("POST", "/v1/experiments/push-more/readout")
    takt.call("POST", "/v1/experiments/push-more/notes", {"note": "Three of five testers did not notice."})
    return "push-more"


@pytest.fixture(scope="module")
def chromium(experiment: str) -> Generator[Browser]:
    """After the service: while Playwright is there, nothing else in its thread can have an event loop of its own."""
    executable = program()
    if executable is None:
        pytest.skip("THERE IS NO CHROMIUM: pages are not looked at. Install one (apt-get install chromium)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, shared_service: Service) -> Generator[Open]:
    """`opened(scripts=..., phone=..., dark=...)` is a page of a new visitor, who is watched for what must not be."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_TOLD_ELSEWHERE):
            faults.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith((shared_service.url, "data:")):
            faults.append(f"asked for {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            faults.append(f"{response.status} for {response.url}")

    def opened(
        *, scripts: bool = True, phone: bool = False, dark: bool = False, language: str = "en-GB", url: str = ""
    ) -> Page:
        context = chromium.new_context(
            base_url=url or shared_service.url,
            viewport=PHONE if phone else WIDE,
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            locale=language,
            timezone_id="Europe/Berlin",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("request", asked)
        page.on("response", answered)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def signed_in(opened: Open, shared_service: Service) -> Open:
    """The same, signed in with a key that may do everything."""

    def signed(**given: object) -> Page:
        page = opened(**given)
        page.goto("/sign-in")
        page.get_by_label("Key").fill(shared_service.key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        return page

    return signed
