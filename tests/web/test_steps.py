"""Addresses that are opened in another way than they are meant: those of steps, by whoever reloads or follows a link;
pages, by programs that ask for their head alone; and those that claim that something was done.
"""

import re
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute

from engine.core.tokens import Scope
from engine.web.pages import ROUTERS
from tests.api.caller import Caller
from tests.operations.plans import PLAN, POLICY
from tests.web.browser import Browser, forms, words

NAMES = {"key": "push-more", "number": "1", "at_us": "1", "day": "28", "chart": "metrics"}
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def addresses(method: str) -> set[str]:
    """Of all pages that take this, with names for what stands in braces."""
    return {route.path_format.format(**NAMES) for route in ROUTES if method in (route.methods or ())}


STEPS = sorted(addresses("POST") - addresses("GET"))
PAGES = sorted(addresses("GET"))


@pytest.fixture
def shop(ada: Browser) -> Browser:
    """With a draft of the experiment that addresses name."""
    ada.service.activate(POLICY)
    with Caller(ada.service) as takt:
        if takt.send("GET", "/v1/experiments/push-more").status_code == 404:
            takt.call("POST", "/v1/experiments", {"yaml": PLAN})
    return ada


@pytest.mark.parametrize("path", STEPS)
def test_the_address_of_a_step_is_a_page_that_leads_to_where_it_is_taken(shop: Browser, path: str) -> None:
    shown = shop.get(path)
    assert shown.status_code == 405
    assert shown.headers["allow"] == "POST"
    assert "Nothing was done. A step is taken here, by a button on another page." in words(shown.text)
    assert "Look up a customer" in shown.text
    led = re.search(r'button on another page.</p>\n<p><a href="([^"]+)">', shown.text)
    assert led is not None
    assert shop.get(led[1]).status_code == 200
    form = forms(shown.text)["/sign-out"]
    assert form["back"] == led[1]
    read = shop.http.get(path, headers={"Accept": "application/json"})
    assert (read.status_code, read.headers["allow"]) == (405, "POST")
    assert read.headers["content-type"] == "application/problem+json"
    head = shop.http.head(path)
    assert (head.status_code, head.content) == (405, b"")


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/experiments/push-more/start", "/experiments/push-more"),
        ("/experiments/push-more/holdout/end", "/experiments/push-more"),
        ("/policy/1/activate", "/policy/1"),
        ("/customer/erase", "/customers"),
        ("/pauses/end", "/"),
    ],
)
def test_the_page_of_a_step_is_the_one_with_its_form(shop: Browser, path: str, page: str) -> None:
    assert f'<p><a href="{page}">' in shop.get(path).text


def test_whoever_is_not_signed_in_is_led_to_the_page_of_a_step_too(browser: Browser) -> None:
    shown = browser.get("/experiments/push-more/start")
    assert shown.status_code == 405
    assert "Look up a customer" not in shown.text
    assert browser.get("/experiments/push-more").headers["location"].startswith("/sign-in?next=")


def test_nothing_is_sent_to_a_page(ada: Browser) -> None:
    refused = ada.post("/policy", name="x")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"
    assert "Nothing was done. This page is only read." in words(refused.text)
    assert '<p><a href="/policy">' in refused.text


@pytest.mark.parametrize("path", PAGES)
def test_the_head_of_a_page_is_that_of_the_page(shop: Browser, path: str) -> None:
    whole, head = shop.get(path), shop.http.head(path)
    assert head.status_code == whole.status_code
    assert head.content == b""
    for name in ("content-type", "content-security-policy", "location", "cache-control"):
        assert head.headers.get(name) == whole.headers.get(name)


def test_no_address_claims_that_something_was_done(ada: Browser) -> None:
    for word in ("erased", "paused", "activated"):
        for path in (f"/?done={word}", f"/customers?done={word}", f"/policy?done={word}"):
            assert 'role="status"' not in ada.get(path).text, path


def test_what_was_done_is_told_once_on_the_page_that_it_led_to(ada: Browser) -> None:
    done = ada.send("/customers", "/pauses", name="once", channel="sms")
    assert done.headers["location"] == "/customers"
    assert "takt_done" in done.headers["set-cookie"]
    assert "HttpOnly" in done.headers["set-cookie"]
    assert 'role="status"' not in ada.get("/policy").text, "of another page"
    assert ada.http.head("/customers").status_code == 200, "nobody saw it"
    assert "Stopped. No ask that arrives" in words(ada.get("/customers").text)
    assert 'role="status"' not in ada.get("/customers").text
    ada.send("/", "/pauses/end", name="once")


def test_nobody_forges_what_was_done(ada: Browser) -> None:
    done = ada.send("/", "/pauses", name="true", channel="sms")
    told = done.cookies["takt_done"]
    ada.get("/")
    ada.send("/", "/pauses/end", name="true")
    ada.get("/")
    mark = told.rpartition(".")[2]
    with Browser(ada.service) as other:
        other.sign_in(ada.service.make_key(Scope.READ))
        for browser, forged in (
            (other, told),
            (ada, f"erased.{mark}"),
            (ada, f"{quote('holdout/end', safe='')}.{mark}"),
            (ada, "paused."),
            (ada, "paused"),
            (ada, "."),
        ):
            shown = browser.http.get("/", headers={"Cookie": f"{session_of(browser)}; takt_done={forged}"})
            assert 'role="status"' not in shown.text, forged
            assert "Look up a customer" in shown.text
    again = ada.http.get("/", headers={"Cookie": f"{session_of(ada)}; takt_done={told}"})
    assert 'role="status"' in again.text, "the same cookie, in its own session"


def session_of(browser: Browser) -> str:
    return f"takt_session={browser.http.cookies['takt_session']}"
