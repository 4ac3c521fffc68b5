"""The page of budgets: empty, full, of one team alone, and with names that would like to be more than names."""

import asyncio
import csv
import io
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from engine.core.policy import DAY_US, HOUR_US
from engine.core.tokens import Scope
from engine.operations import traffic
from engine.store.database import Database
from tests.api.caller import Caller
from tests.conftest import set_clock
from tests.web.browser import Browser, words

HOSTILE = "=<script>alert(1)</script> \u202eevil\u202c 😀"
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  orders: {purpose: serve, exempt: true, counts: false}
budgets:
  - {name: push-weekly, channels: [push], limit: 2, window: {rolling: 7d}}
  - {name: tighter, channels: [push], limit: 1, window: {rolling: 7d}, shadow: true}
"""


@pytest.fixture
def takt(browser: Browser) -> Generator[Caller]:
    with Caller(browser.service, timeout_s=120) as caller:
        yield caller


def count(url: str) -> str:
    """What the scheduler does."""

    async def counted() -> str:
        database = Database(url, size=2)
        await database.open()
        try:
            return await traffic.count(database)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as pool:  # in a thread of its own: Playwright leaves no room for a loop in its own
        return pool.submit(asyncio.run, counted()).result()


def play(takt: Caller) -> None:
    """Two teams before the same customers, one sender past Takt, and orders that pass everything."""
    takt.call("POST", "/v1/policies", {"yaml": POLICY})
    for number in range(12):
        for team, message in (("shop", "s1"), ("shop", "s2"), (HOSTILE, "h1"), ("shop", "s3")):
            takt.ask(f"b{number}", message, channel="push", topic="promotions", team=team)
        takt.ask(f"b{number}", "o1", channel="push", topic="orders", team="care")
        takt.confirm(f"b{number}", "s1")
        takt.confirm(f"b{number}", "s2")
    now = datetime.now(UTC)
    sent = {"source": "agency", "type": "sent", "at": now.isoformat(), "channel": "email", "topic": "promotions"}
    takt.call("POST", "/v1/events", {"events": [{"id": "e1", "customer_id": "b0", **sent}]})
    takt.record("b1", "r1", now, channel="phone", sender="callers")


def test_the_page_says_what_to_do_while_there_is_nothing(ada: Browser) -> None:
    shown = words(ada.get("/budgets").text)
    assert "Nothing is counted yet" in shown
    assert "No scheduler runs, and so nobody counts." in shown
    count(ada.service.database_url)
    shown = words(ada.get("/budgets").text)
    assert "Nothing was asked in these 4 weeks." in shown
    assert "Nobody asked, and of nobody was it told that they sent." in shown
    assert "no scheduler runs" not in shown, "what was counted a moment ago is not late"


def test_the_page_tells_who_asked_who_was_refused_and_because_of_whom(ada: Browser, takt: Caller) -> None:
    play(takt)
    set_clock(ada.service.database_url, 3 * HOUR_US)
    count(ada.service.database_url)
    page = ada.get("/budgets")
    shown = words(page.text).replace("\xa0", " ")
    assert "60 messages were asked for in these 4 weeks: 36 allowed, 24 refused (40 %)." in shown
    assert "push-weekly refused the most: 24 (budget)." in shown
    assert "agency goes past 0 0 0 1 0" in shown
    assert "callers goes past 0 0 0 0 1" in shown
    assert "care 12 0 12 0 0" in shown
    assert "About 12 of 24 messages that budgets refused (50 %) would have had room" in shown
    assert "tighter 12 33.33 %" in shown, "what the budget in shadow would have refused of the allowed"
    assert "Enforced, they would have refused" in shown
    assert "push-weekly 100 %" in shown, "nothing is left to any of the twelve"
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    for address in ("/budgets?team=shop", "/budgets?channel=push&topic=promotions&team=shop&days=7"):
        shown = words(ada.get(address).text).replace("\xa0", " ")
        assert "36 messages were asked for" in shown, address
        assert "24 allowed, 12 refused" in shown, address
        assert "See everything." in shown
    assert "Nothing was asked in these 12 weeks." in words(ada.get("/budgets?days=84&channel=letter").text)


def test_the_sheet_has_the_figures_of_the_page_and_no_formula(ada: Browser) -> None:
    """After the test above, of the same company."""
    found = ada.get("/budgets/budgets.csv?days=7")
    assert found.headers["content-disposition"] == 'attachment; filename="budgets-7-days.csv"'
    rows = list(csv.reader(io.StringIO(found.text)))
    assert rows[0] == ["part", "name", "of", "figure", "value"]
    values = {tuple(row[:4]): row[4] for row in rows[1:]}
    assert values[("channel", "push", "", "allowed")] == "36"
    assert values[("rule", "push-weekly", "limit", "deferred")] == "24"
    assert values[("level", "push-weekly", "12", "saturated")] == "12"
    assert ("party", f"'{HOSTILE}", "", "deferred") in values
    assert ("crowding", f"'{HOSTILE}", "shop", "by others") in values
    assert not [each for row in rows for each in row if each.startswith(("=", "+", "-", "@"))]


def test_programs_get_the_same(ada: Browser, takt: Caller) -> None:
    told = takt.call("GET", "/v1/traffic?days=7&channel=push")
    assert (told["total"]["allowed"], told["total"]["deferred"], len(told["days"])) == (36, 24, 7)
    assert sum(each["allowed"] for each in told["days"]) == 36
    assert told["rules"] == [{"code": "limit", "rule": "push-weekly", "deferred": 24, "denied": 0}]
    assert {each["name"]: each["exempt"] for each in told["parties"]} == {"shop": 0, "care": 12, HOSTILE: 0}
    assert {(each["asker"], each["filler"], each["by_others"], each["looked_at"]) for each in told["crowding"]} == {
        (HOSTILE, "shop", True, 12),
        ("shop", "shop", False, 12),
    }
    assert takt.call("GET", "/v1/traffic?team=nobody")["total"]["asks"] == 0
    assert takt.send("GET", "/v1/traffic?days=8").status_code == 422
    assert takt.send("GET", "/v1/traffic?channel=fax").status_code == 422


def test_what_was_refused_and_allowed_later_that_day_is_told_as_allowed(ada: Browser, takt: Caller) -> None:
    takt.call("POST", "/v1/pauses", {"name": "outage", "channels": ["sms"]})
    assert takt.ask("b1", "again", channel="sms", topic="promotions")["verdict"] == "deny"
    takt.call("DELETE", "/v1/pauses/outage")
    assert takt.ask("b1", "again", channel="sms", topic="promotions")["verdict"] == "allow"
    count(ada.service.database_url)
    shown = words(ada.get("/budgets?channel=sms").text).replace("\xa0", " ")
    assert "1 message was asked for in these 4 weeks: 1 allowed, 0 refused" in shown
    assert "There were 2 asks, and 1 allowed message had been refused before on the same day." in shown
    assert "What refused" not in shown


def test_counts_that_are_late_say_so(ada: Browser) -> None:
    set_clock(ada.service.database_url, 2 * DAY_US)
    ada.sign_in()
    assert "no scheduler runs, so nobody counts on" in words(ada.get("/budgets").text)


def test_the_page_is_for_who_may_read_and_says_no_to_nonsense(browser: Browser) -> None:
    browser.sign_in(browser.service.make_key(Scope.DECIDE))
    assert browser.get("/budgets").status_code == 403
    browser.sign_in(browser.service.make_key(Scope.READ))
    assert browser.get("/budgets").status_code == 200
    for bad in ("days=8", "channel=fax", "days=", "topic=%00", f"team={'x' * 201}"):
        assert browser.get(f"/budgets?{bad}").status_code == 404, bad
    assert browser.get("/budgets?topic=never-heard-of&team=%F0%9F%98%80").status_code == 200
