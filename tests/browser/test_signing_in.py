"""Signing in where a browser says least: over plain HTTP, at a host that is not the machine that it runs on."""

from collections.abc import Generator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect, sync_playwright

from engine.store.embedded import Server
from tests.browser.conftest import PATIENCE_MS, program
from tests.conftest import clean_database
from tests.service import Service, serving

pytestmark = pytest.mark.xdist_group("browser")

FORM = """<!doctype html><meta name="referrer" content="{policy}"><form method="post" action="{action}">
<input name="key" value="{key}"><button>Win a prize</button></form>"""


@pytest.fixture(scope="module")
def plain(server: Server, template: str) -> Generator[Service]:
    """At an address of the loopback, which the browser takes for another machine's."""
    with clean_database(server, template) as url, serving(url) as service:
        yield service


@pytest.fixture(scope="module")
def chromium(plain: Service) -> Generator[Browser]:
    """After the service, as in `conftest`."""
    executable = program()
    if executable is None:
        pytest.skip("THERE IS NO CHROMIUM: pages are not looked at. Install one (apt-get install chromium)")
    rules = "--host-resolver-rules=MAP takt.test 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu", rules])
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Browser) -> Generator[BrowserContext]:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def address(service: Service) -> str:
    return f"http://takt.test:{urlsplit(service.url).port}"


def test_takts_own_form_signs_in_and_changes_things(visitor: BrowserContext, plain: Service) -> None:
    page = visitor.new_page()
    page.goto(f"{address(plain)}/customers")
    page.get_by_label("Key").fill(plain.key)
    with page.expect_request(lambda each: each.method == "POST") as sent:
        page.get_by_role("button", name="Sign in").click()
    said = sent.value.all_headers()
    assert "sec-fetch-site" not in said, "what this test is about"
    assert said["origin"] == address(plain)
    page.wait_for_url("**/customers")
    page.get_by_text("Pause", exact=True).click()
    page.get_by_label("Name it").fill("outage")
    page.get_by_role("button", name="Stop these messages now").click()
    expect(page.get_by_role("status")).to_contain_text("Stopped.")
    page.reload()
    expect(page.get_by_text("Paused: everything.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_count(0)


@pytest.mark.parametrize("policy", ["unsafe-url", "no-referrer"])
def test_the_form_of_another_site_signs_nobody_in(visitor: BrowserContext, plain: Service, policy: str) -> None:
    def forged(route: Route) -> None:
        action = f"{address(plain)}/sign-in"
        route.fulfill(content_type="text/html", body=FORM.format(policy=policy, action=action, key=plain.key))

    page = visitor.new_page()
    page.route("http://evil.test/**", forged)
    page.goto("http://evil.test/")
    with page.expect_request(lambda each: each.method == "POST") as sent:
        page.get_by_role("button", name="Win a prize").click()
    assert sent.value.all_headers()["origin"] == ("null" if policy == "no-referrer" else "http://evil.test")
    expect(page.get_by_role("alert")).to_contain_text(
        "which page this form came from" if policy == "no-referrer" else "did not come from a page of this site"
    )
    assert visitor.cookies() == []
