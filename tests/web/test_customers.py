"""A customer's page: why, what is left, and what is done there."""

import re
import time
import uuid
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import psycopg
import pytest

from engine.core.tokens import Scope, digest
from tests.api.caller import Caller, ask
from tests.web.browser import Browser, forms, words


@pytest.fixture
def takt(browser: Browser) -> Generator[Caller]:
    with Caller(browser.service) as caller:
        yield caller


@pytest.fixture
def anna() -> str:
    return f"anna-{uuid.uuid4().hex[:8]}"


def page(customer_id: str, **more: object) -> str:
    return f"/customer?{urlencode({'id': customer_id, **more})}"


def test_why_somebody_was_not_contacted_is_told_with_what_is_left(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m0", channel="email", campaign="spring")
    takt.confirm(anna, "m0")
    last = [takt.ask(anna, f"m{number}", channel="email") for number in range(1, 6)][-1]
    assert last["verdict"] != "allow"
    shown = words(ada.get(page(anna)).text)
    assert last["reasons"][0]["rule"] in shown
    assert last["reasons"][0]["text"] in shown
    assert "confirmed email, promotions, campaign spring" in shown
    assert "message m0" in shown


def test_when_the_next_unit_frees_is_told_of_each_budget_in_use(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m0", channel="email")
    takt.confirm(anna, "m0")
    budgets = takt.call("GET", f"/v1/customers/{anna}")["budgets"]
    rows = ada.get(page(anna)).text.partition('id="left"')[2].partition("</section>")[0].split('<tr role="row">')[2:]
    assert len(rows) == len(budgets)
    assert any(each["used"] and each["left"] for each in budgets)
    assert any(not each["used"] for each in budgets)
    for budget, row in zip(budgets, rows, strict=True):
        assert budget["budget"] in row
        assert ("<time " in row) == (budget["used"] > 0), words(row)
        assert ("nothing is used" in row) == (budget["used"] == 0)


def test_the_form_leads_to_the_page_and_back_from_who_is_not_known(ada: Browser) -> None:
    assert 'action="/customer"' in ada.get("/customers").text
    unknown = ada.get(page("nobody <b>here</b>"))
    assert unknown.status_code == 404
    assert "was never asked about" in words(unknown.text)
    assert "<b>here" not in unknown.text
    for bad in ("/customer", "/customer?id=", "/customer?id=a%00b", f"/customer?id={'x' * 201}", page("a", before=0)):
        assert ada.get(bad).status_code == 404, bad


def test_an_id_is_found_that_was_pasted_with_spaces(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    assert ada.get(page(f" {anna}  ")).headers["location"] == page(anna)
    takt.ask(f"{anna} ", "m", channel="in_app")
    assert ada.get(page(f"{anna} ")).status_code == 200, "somebody may be called so"
    assert ada.get(page("  ")).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "a&b=c#d?",
        "<script>alert(1)</script>",
        "\u05d0\u05d1\u05d2",
        "😀" * 20,
        "x" * 200,
        "gpj\u202e.exe",
        "50 % off",
    ],
)
def test_a_hostile_id_stays_a_name(ada: Browser, takt: Caller, name: str) -> None:
    takt.ask(name, "m", channel="in_app")
    shown = ada.get(page(name))
    assert shown.status_code == 200
    assert name.replace("\u202e", "\ufffd") in words(shown.text).replace("\xa0", " ") or name.startswith("<")
    assert "<script>alert" not in shown.text
    assert "\u202e" not in shown.text
    done = ada.send(page(name), "/customer/suppress", channel="email")
    assert done.headers["location"] == f"/customer?{urlencode({'id': name})}"
    assert "Stopped. Nothing is allowed there" in words(ada.follow(done).text)


def test_a_long_journal_is_turned_page_by_page(ada: Browser, takt: Caller, anna: str) -> None:
    for number in range(120):
        takt.ask(anna, f"m{number}", mode="check", channel="in_app")
    seen: list[str] = []
    path = page(anna)
    for _ in range(4):
        text = ada.get(path).text
        seen += [each for each in words(text).split() if each.startswith("m") and each[1:].isdigit()]
        older = re.findall(r'href="(/customer[^"]*before[^"]*)"', text)
        if not older:
            break
        path = older[0].replace("&amp;", "&")
    assert "The newest" in words(ada.get(path).text)
    assert len(seen) == len(set(seen))


def test_contacts_are_stopped_from_the_page(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    assert ada.send(page(anna), "/customer/suppress", channel="email", topic="").status_code == 303
    assert takt.ask(anna, "n", channel="email")["verdict"] == "deny"
    assert "No contact: email, every topic." in words(ada.get(page(anna)).text)
    assert ada.send(page(anna), "/customer/suppress", channel="pigeon").status_code == 422
    assert ada.send(page(anna), "/customer/suppress", topic="none of ours").status_code == 422


def test_steps_are_taken_on_whose_page_it_is_to_the_letter(ada: Browser, takt: Caller, anna: str) -> None:
    for each in (anna, f"{anna} "):
        takt.ask(each, "m", channel="in_app")
    assert ada.send(page(f"{anna} "), "/customer/suppress", channel="push").status_code == 303
    assert takt.ask(f"{anna} ", "n", channel="push")["reasons"][0]["code"] == "suppressed"
    assert not takt.customer(anna)["suppressions"]
    assert ada.send(page(f"{anna} "), "/customer/erase", sure=anna).status_code == 409
    assert ada.get(page(anna)).status_code == 200


def test_what_is_on_file_is_exported_merged_and_erased_from_the_page(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    takt.ask(f"{anna}-too", "m2", channel="in_app")
    told = ada.send(page(anna), "/customer/export")
    assert told.json()["customer_id"] == anna
    assert told.headers["content-disposition"] == 'attachment; filename="export.json"'
    assert ada.send(page(anna), "/customer/merge", other=f"{anna}-too").status_code == 303
    assert "message m2" in words(ada.get(page(anna)).text)
    assert ada.send(page(anna), "/customer/erase", sure="somebody else").status_code == 409
    assert ada.get(page(anna)).status_code == 200
    assert "Erased." in words(ada.follow(ada.send(page(anna), "/customer/erase", sure=anna)).text)
    assert takt.ask(anna, "m9", channel="in_app")["verdict"] == "deny"


def test_who_may_only_read_does_nothing_here(browser: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    browser.sign_in(browser.service.make_key(Scope.READ))
    text = browser.get(page(anna)).text
    assert "/customer/erase" not in text
    token = forms(text)["/sign-out"]["csrf"]
    for action in ("suppress", "export", "merge", "erase"):
        assert browser.post(f"/customer/{action}", csrf=token, id=anna, sure=anna).status_code == 403


def events(takt: Caller, customer_id: str, *happened: Mapping[str, object]) -> None:
    at = datetime.now(UTC).isoformat()
    named = [
        {"id": f"{customer_id}-{place}", "source": "app", "customer_id": customer_id, "at": at, **each}
        for place, each in enumerate(happened)
    ]
    told = takt.call("POST", "/v1/events", {"events": named})
    assert told["accepted"] == len(named), told


def test_what_they_did_stands_among_what_was_asked(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m0", channel="email")
    events(
        takt,
        anna,
        {"type": "sent", "channel": "email", "message_id": "m0"},
        {"type": "purchase", "value": 19.5},
        {"type": "clicked", "channel": "email", "message_id": "m0", "suspect": True},
        {"type": "unsubscribed", "channel": "email"},
    )
    shown = words(ada.get(page(anna)).text)
    assert shown.count("purchase value 19.5, told by app") == 1
    assert "clicked email" in shown
    assert "A machine is thought to have done it" in shown
    assert "unsubscribed email, told by app" in shown
    assert "No contact: email, every topic." in shown
    assert "Room in a budget lets nobody past what is said above." in shown
    assert "allowed, confirmed email, promotions" in shown
    assert " sent email" not in shown, "the journal tells it"
    takt.ask(anna, "m1", channel="email")
    denied = words(ada.get(page(anna)).text)
    assert "suppressed, email, every topic: the customer may not be contacted in this channel or topic." in denied


def test_of_many_pages_each_event_stands_on_one(ada: Browser, takt: Caller, anna: str) -> None:
    for number in range(8):
        takt.ask_all(*(ask(anna, f"m{number}-{each}", channel="in_app", mode="check") for each in range(20)))
        events(takt, anna, {"type": "purchase", "value": 1000 + number, "id": f"{anna}-p{number}"})
    path, seen, pages = page(anna), [], 0
    while path:
        text = ada.get(path).text
        seen += re.findall(r"value 1,00(\d)", text)
        older = re.findall(r'href="(/customer[^"]*before[^"]*)"', text)
        path, pages = (older[0].replace("&amp;", "&") if older else ""), pages + 1
    assert pages == 4
    assert seen == [str(number) for number in reversed(range(8))]


def test_what_is_on_file_is_told_in_words(ada: Browser, takt: Caller, anna: str) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e"
    takt.call(
        "PUT",
        f"/v1/customers/{anna}",
        {
            "time_zone": "Asia/Kathmandu",
            "attributes": {"tier": evil},
            "consents": [{"channel": "email", "given": True, "at": "2026-01-02T03:04:05Z", "source": evil}],
        },
    )
    limits = [{"channel": "push", "limit": None}, {"channel": "email", "limit": 2}, {"channel": "sms", "limit": 0}]
    takt.call("PUT", f"/v1/customers/{anna}/preferences", {"preferences": limits})
    takt.ask(anna, "m", channel="in_app", campaign="x" * 100, team=None)
    text = ada.get(page(anna)).text
    shown = words(text)
    assert "<img" not in text
    assert "\u202e" not in text
    assert "Asia/Kathmandu" in shown
    assert "Consents: email, every topic given 2 Jan 2026, told by <img" in shown
    for limit in ("push: as many as there are", "email: at most 2", "sms: none"):
        assert shown.count(limit) == 2, limit  # on file, and in the journal
    assert "None" not in shown


def test_whoever_was_erased_or_became_another_is_told_as_such(ada: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    takt.ask(f"{anna}-2", "m", channel="in_app")
    ada.send(page(anna), "/customer/merge", other=f"{anna}-2")
    assert "message m" in words(ada.get(page(f"{anna}-2")).text)
    ada.send(page(anna), "/customer/erase", sure=anna)
    gone = ada.get(page(anna))
    assert "message m" not in words(gone.text)
    assert "erasure" in words(gone.text) or gone.status_code == 404


def test_a_key_that_was_revoked_in_between_ends_the_session_at_once(browser: Browser, takt: Caller, anna: str) -> None:
    takt.ask(anna, "m", channel="in_app")
    secret = browser.service.make_key(Scope.READ, Scope.MANAGE)
    browser.sign_in(secret)
    token = forms(browser.get(page(anna)).text)["/customer/suppress"]
    with psycopg.connect(browser.service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE keys SET revoked_us = takt_clock() WHERE digest = %s", (digest(secret),))
    until = time.monotonic() + 60
    while browser.get(page(anna)).status_code == 200 and time.monotonic() < until:
        pass
    assert browser.get(page(anna)).headers["location"].startswith("/sign-in?next=")
    refused = browser.post("/customer/suppress", **{**token, "channel": "email", "topic": ""})
    assert refused.status_code == 401
    assert takt.ask(anna, "n", channel="email")["verdict"] == "allow"
