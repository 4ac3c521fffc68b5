"""The pause switch on every page."""

import pytest

from engine.core.tokens import Scope
from tests.api.caller import Caller
from tests.web.browser import Browser, forms, words


def ask(service: Caller, customer_id: str, channel: str) -> str:
    return service.ask(customer_id, "m-1", channel=channel, topic="promotions")["verdict"]


def test_a_pause_stops_asks_at_once_and_ends_by_a_button(ada: Browser) -> None:
    with Caller(ada.service) as takt:
        done = ada.send("/", "/pauses", name="outage", channel="email")
        assert done.headers["location"] == "/"
        shown = words(ada.get(done.headers["location"]).text)
        assert "Stopped. No ask that arrives from now on is allowed there." in shown
        assert "Paused: email. outage, until somebody ends it." in shown
        assert ask(takt, "anna", "email") != "allow"
        assert ask(takt, "anna", "in_app") == "allow"
        assert ada.send("/", "/pauses/end", name="outage").headers["location"] == "/"
        assert ask(takt, "berta", "email") == "allow"
        assert "Paused" not in words(ada.get("/").text)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": ""}, 422),
        ({"name": "Out age"}, 422),
        ({"name": "<script>"}, 422),
        ({"name": "x", "channel": "pigeon"}, 422),
        ({"name": "x", "topic": "nothing-of-ours"}, 422),
        ({"name": "breaker:email"}, 422),
    ],
)
def test_a_pause_that_means_nothing_pauses_nothing(ada: Browser, fields: dict[str, str], status: int) -> None:
    refused = ada.send("/", "/pauses", **fields)
    assert refused.status_code == status
    assert "<script>" not in refused.text
    assert "Paused:" not in words(ada.get("/").text)


def test_what_is_not_there_cannot_end(ada: Browser) -> None:
    ada.send("/", "/pauses", name="real", topic="promotions")
    assert ada.send("/", "/pauses/end", name="unreal").status_code == 404
    assert ada.send("/", "/pauses", name="real").status_code == 409
    ada.send("/", "/pauses/end", name="real")


def test_who_may_only_read_has_no_switch_and_may_not_use_one(browser: Browser) -> None:
    browser.sign_in(browser.service.make_key(Scope.READ))
    page = browser.get("/").text
    assert 'action="/pauses"' not in page
    refused = browser.post("/pauses", **forms(page)["/sign-out"], name="mine")
    assert refused.status_code == 403
    assert "lacks the scope 'manage'" in words(refused.text)
