"""The page on which customers choose: what it shows, what a choice does, and that a look does nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Generator
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest

from engine.operations.choices import CHANGES_A_DAY
from engine.settings import Settings
from engine.store.embedded import Server
from tests.api.caller import Caller
from tests.api.unsubscribing import ONE_CLICK, PUBLIC_URL, customer, events, fields_of, path_of, rows
from tests.conftest import clean_database
from tests.service import serving

POLICY = """
schema: 1
unknown_timezone: UTC
topics:
  promotions: {purpose: sell}
  product-news: {purpose: sell}
  calls: {purpose: sell, consent: opt_in}
  order-updates: {purpose: serve, exempt: true, counts: false}
budgets:
  - {name: email-weekly, channels: [email], limit: 2, window: {rolling: 7d}, overrides: [{when: {vip: true}, limit: 7}]}
  - {name: email-daily, channels: [email], limit: 1, window: {calendar: day}, shadow: true}
  - {name: sms-monthly, channels: [sms], limit: 2, window: {rolling: 30d}}
  - {name: news-monthly, topics: [product-news], limit: 4, window: {calendar: month}}
"""
EN, DE = {"Accept-Language": "en-GB,en;q=0.8"}, {"Accept-Language": "fr, de-AT;q=0.7, en;q=0.5"}


@pytest.fixture(scope="module")
def takt(server: Server, template: str) -> Generator[Caller]:
    with clean_database(server, template) as url, serving(url, Settings(public_url=PUBLIC_URL)) as service:
        service.activate(POLICY)
        with Caller(service) as caller:
            yield caller


@pytest.fixture
def path(takt: Caller, ada: str) -> str:
    return path_of(takt.ask(ada, "m-0", campaign="autumn"))


def show(takt: Caller, path: str, language: dict[str, str] = EN) -> str:
    with customer(takt) as browser:
        answered = browser.get(path, headers=language)
        assert answered.status_code == 200
        return answered.text


def choose(takt: Caller, path: str, **changed: str) -> str:
    """Send the page's form as a browser would, with some lists set otherwise: `__topic`, `channel__`, `a__b`."""
    fields = fields_of(show(takt, path))
    for name, value in changed.items():
        key = "to:" + name.replace("__", "/").replace("_", "-")
        assert key in fields
        fields[key] = value
    with customer(takt) as browser:
        answered = browser.post(path, data=fields, headers=EN)
        assert answered.status_code == 200
        return answered.text


class TestWhatIsShown:
    def test_are_the_channels_and_topics_the_customer_can_get(self, takt: Caller, path: str) -> None:
        fields = fields_of(show(takt, path))
        assert {key for key in fields if key.startswith("to:")} == {
            "to:email/promotions",
            "to:email/",
            "to:sms/",
            "to:/promotions",
            "to:/product-news",
        }
        assert set(fields.values()) == {"usual"}

    def test_a_consent_opens_its_topic(self, takt: Caller, ada: str, path: str) -> None:
        assert "Calls" not in show(takt, path)
        consent = {"topic": "calls", "at": "2026-01-01T00:00:00Z", "source": "form"}
        takt.call("PUT", f"/v1/customers/{ada}", {"consents": [consent]})
        assert "Calls" in show(takt, path)

    def test_limits_are_told_in_the_time_of_the_budget_they_replace(self, takt: Caller, ada: str, path: str) -> None:
        page = show(takt, path)
        for text in (
            "<small>usual: at most 2 a week</small>",
            "<small>usual: at most 2 in 30 days</small>",
            "<small>usual: at most 4 a month</small>",
            ">at most 3 in 30 days</option>",
            ">at most 1 a month</option>",
        ):
            assert text in page
        takt.call("PUT", f"/v1/customers/{ada}", {"attributes": {"vip": True}})
        assert "<small>usual: at most 7 a week</small>" in show(takt, path)

    def test_topics_that_are_always_sent_are_named_as_such(self, takt: Caller, path: str) -> None:
        page = show(takt, path)
        assert "<li><bdi>Order updates</bdi></li>" in page
        assert "order-updates" not in page

    def test_a_line_stopped_by_something_else_offers_nothing(self, takt: Caller, ada: str, path: str) -> None:
        takt.suppress(ada, channel="sms", reason="hard_bounce")
        page = show(takt, path)
        assert "to:sms/" not in page
        assert "for a reason other than your choice" in page
        with customer(takt) as browser:
            browser.post(path, data={"was:sms/": "none", "to:sms/": "usual"})
        assert takt.ask(ada, "m-1", channel="sms")["verdict"] == "deny"

    def test_what_was_left_and_needs_a_consent_offers_no_return(self, takt: Caller, ada: str, path: str) -> None:
        choose(takt, path, __promotions="none")
        no = {"given": False, "at": "2026-01-01T00:00:00Z", "source": "form"}
        takt.call("PUT", f"/v1/customers/{ada}", {"consents": [{**no, "topic": "promotions"}]})
        page = show(takt, path)
        assert "to:/promotions" not in page
        assert "they need your consent" in page
        with customer(takt) as browser:
            back = browser.post(path, data={"was:/promotions": "none", "to:/promotions": "usual"}, headers=EN)
            assert "Nothing was changed." in back.text
            takt.call("PUT", f"/v1/customers/{ada}", {"consents": [no]})
            page = browser.post(path, data={"was:/": "usual", "to:/": "none"}, headers=EN).text
        assert "You have left everything." in page
        assert "Messages need your consent" in page
        assert "<form" not in page
        assert "Order updates" in page
        assert [each[0] for each in events(takt, ada)] == ["unsubscribed", "unsubscribed"]

    def test_in_german_where_that_is_read(self, takt: Caller, path: str) -> None:
        page = show(takt, path, DE)
        assert '<html lang="de">' in page
        assert "<small>üblich: höchstens 2 in der Woche</small>" in page
        with customer(takt) as browser:
            for language, code in [("", "en"), ("fr", "en"), ("de;q=0, en", "en"), ("*", "en"), ("DE-de", "de")]:
                answered = browser.get(path, headers={"Accept-Language": language})
                assert f'<html lang="{code}">' in answered.text
                assert answered.headers["vary"] == "Accept-Language"
            assert '<html lang="de">' in browser.get("/u/nothing", headers=DE).text

    def test_nobody_watches_and_nothing_comes_from_elsewhere(self, takt: Caller, path: str) -> None:
        with customer(takt) as browser:
            answered = browser.get(path, headers=EN)
        policies = answered.headers.get_list("content-security-policy")
        assert any(
            "default-src 'none'; style-src 'sha256-" in each and "form-action 'self'" in each for each in policies
        )
        assert answered.headers["x-robots-tag"] == "noindex, nofollow"
        assert answered.headers["cache-control"] == "no-store"
        assert answered.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in answered.headers
        for forbidden in ("<script", "http:", "https:", "<img", "@import", "url(", " on", "style="):
            assert forbidden not in re.sub(r">[^<]*<", "><", answered.text), forbidden
        assert path not in answered.text


class TestAChoice:
    def test_binds_the_next_ask_and_is_an_outcome(self, takt: Caller, ada: str, path: str) -> None:
        page = choose(takt, path, email__="1")
        assert '<p class="notice" role="status">Saved. It holds from now on.</p>' in page
        assert fields_of(page)["was:email/"] == "1"
        assert takt.ask(ada, "m-1")["verdict"] == "defer", "the reservation is the one of the week"
        assert takt.customer(ada)["preferences"] == [{"channel": "email", "topic": None, "limit": 1}]
        ((kind, channel, topic, _, properties),) = events(takt, ada)
        assert (kind, channel, topic, properties) == ("opted_down", "email", None, {"from": "usual", "to": "1"})

    def test_goes_up_as_it_goes_down_by_the_limit_it_replaces(self, takt: Caller, ada: str, path: str) -> None:
        for value in ("3", "2", "usual"):
            choose(takt, path, email__=value)
        choose(takt, path, __product_news="5")
        choose(takt, path, __promotions="10")
        assert [each[0] for each in events(takt, ada)] == [
            "opted_up",  # 2 a week to 3
            "opted_down",
            "opted_up",  # free of an own limit again
            "opted_up",
            "opted_down",  # of promotions the policy says nothing
        ]
        assert {(each["topic"], each["limit"]) for each in takt.customer(ada)["preferences"]} == {
            ("product-news", 5),
            ("promotions", 10),
        }

    def test_of_none_is_an_unsubscribe_and_taking_it_back_a_return(self, takt: Caller, ada: str, path: str) -> None:
        choose(takt, path, __promotions="none")
        assert takt.ask(ada, "m-0")["verdict"] == "deny", "what was reserved is revoked"
        (fact,) = takt.customer(ada)["suppressions"]
        assert (fact["channel"], fact["topic"], fact["reason"]) == (None, "promotions", "unsubscribe")
        assert takt.ask(ada, "m-1", topic="product-news")["verdict"] == "allow"
        choose(takt, path, __promotions="3")
        assert takt.customer(ada)["suppressions"] == []
        assert takt.customer(ada)["preferences"] == [{"channel": None, "topic": "promotions", "limit": 3}]
        assert takt.ask(ada, "m-2")["verdict"] == "allow"
        assert [each[0] for each in events(takt, ada)] == ["unsubscribed", "resubscribed"]

    def test_after_one_click_shows_what_was_left_and_takes_it_back(self, takt: Caller, ada: str, path: str) -> None:
        other = path_of(takt.ask(ada, "m-1", topic="product-news"))
        with customer(takt) as mail:
            page = mail.post(path, data=ONE_CLICK, headers=EN).text
        assert "You are unsubscribed." in page
        assert fields_of(page)["to:email/promotions"] == "none"
        assert fields_of(show(takt, other))["to:email/promotions"] == "none", "also where another message leads"
        choose(takt, other, email__promotions="usual")
        assert takt.ask(ada, "m-2")["verdict"] == "allow", "the reservation that the click revoked gave its budget back"
        assert takt.customer(ada)["suppressions"] == []

    def test_leaving_everything_needs_a_tick_and_has_a_way_back(self, takt: Caller, ada: str, path: str) -> None:
        page = show(takt, path)
        (leave,) = re.findall(r'<input type="checkbox"[^>]*>', page)
        assert "required" in leave
        assert "checked" not in leave
        with customer(takt) as browser:
            unticked = browser.post(path, data={"was:/": "usual"}, headers=EN)
            assert "Nothing was changed." in unticked.text
            assert takt.ask(ada, "m-0", campaign="autumn")["state"] == "reserved"
            left = browser.post(path, data={"was:/": "usual", "to:/": "none"}, headers=EN)
            assert "You have left everything." in left.text
            assert takt.ask(ada, "m-1", channel="letter")["verdict"] == "deny"
            assert takt.ask(ada, "m-2", topic="order-updates")["verdict"] == "allow", "what is always sent"
            back = browser.post(path, data=fields_of(left.text), headers=EN)
        assert "to:email/" in back.text
        assert takt.ask(ada, "m-3", channel="letter")["verdict"] == "allow"
        assert [each[0] for each in events(takt, ada)] == ["unsubscribed", "resubscribed"]

    def test_a_form_sent_as_it_came_changes_nothing(self, takt: Caller, ada: str, path: str) -> None:
        """As by a scanner that sends every form it meets."""
        choose(takt, path, email__="3", __product_news="none")
        before = rows(takt.service.database_url)
        with customer(takt) as scanner:
            page = show(takt, path)
            for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
                assert "Nothing was changed." in scanner.post(path, data=fields_of(form), headers=EN).text
        assert rows(takt.service.database_url) == before

    def test_from_a_page_that_is_behind_undoes_no_later_one(self, takt: Caller, ada: str, path: str) -> None:
        behind = fields_of(show(takt, path))
        choose(takt, path, email__="none")
        with customer(takt) as browser:
            browser.post(path, data={**behind, "to:/product-news": "1"})
        (fact,) = takt.customer(ada)["suppressions"]
        assert fact["channel"] == "email"
        assert takt.customer(ada)["preferences"] == [{"channel": None, "topic": "product-news", "limit": 1}]

    def test_is_said_to_be_saved_only_where_it_is(self, takt: Caller, path: str) -> None:
        with customer(takt) as browser:
            for fields, told in (
                ({"to:fax/": "none"}, "Nothing was changed."),
                ({"to:email/": "all"}, "Nothing was changed."),
                ({"to:fax/": "none", "to:email/": "1"}, "Not everything could be saved."),
                ({"to:email/": "1"}, "Saved."),
            ):
                assert told in browser.post(path, data=fields, headers=EN).text

    def test_may_be_changed_so_often_a_day_and_left_at_any_time(self, takt: Caller, ada: str, path: str) -> None:
        plain, more = f"choice:{ada}:", CHANGES_A_DAY - 1
        with psycopg.connect(takt.service.database_url, autocommit=True) as connection, customer(takt) as browser:
            assert browser.post(path, data={"to:email/": "1"}).status_code == 200
            connection.execute(
                "INSERT INTO events SELECT (jsonb_populate_record(e, jsonb_build_object('event_key', n, 'event_id',"
                " %s::text || n))).* FROM events e, generate_series(1, %s) n WHERE e.customer_id = %s",
                (plain, more, ada),
            )
            refused = browser.post(path, data={"to:email/": "2"}, headers=EN)
            assert (refused.status_code, "very often today" in refused.text) == (429, True)
            assert fields_of(refused.text)["to:email/"] == "1"
            assert browser.post(path, data={"to:email/": "none"}).status_code == 200
            assert takt.ask(ada, "m-1")["verdict"] == "deny"
            assert browser.post(path, data={"was:email/": "none", "to:email/": "usual"}).status_code == 429
            assert takt.ask(ada, "m-2")["verdict"] == "deny", "in doubt not allowed"
            connection.execute("UPDATE events SET received_us = received_us - 86400000000")
            assert browser.post(path, data={"was:email/": "none", "to:email/": "usual"}).status_code == 200

    def test_sent_twice_is_one(self, takt: Caller, ada: str, path: str) -> None:
        fields = {**fields_of(show(takt, path)), "to:email/": "1"}
        with customer(takt) as browser:
            for _ in range(3):
                assert browser.post(path, data=fields).is_success
        assert len(events(takt, ada)) == 1

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("email/", "0"),
            ("email/", "-1"),
            ("email/", "1001"),
            ("email/", "٣"),
            ("email/", "all"),
            ("email/", "limit"),
            ("email/promotions", "3"),
            ("fax/", "none"),
            ("/order-updates", "none"),
            ("/nothing-like-it", "none"),
            ("letter/promotions", "none"),
            ("", "none"),
            ("email", "none"),
        ],
    )
    def test_that_the_page_does_not_offer_changes_nothing(
        self, takt: Caller, ada: str, path: str, name: str, value: str
    ) -> None:
        with customer(takt) as browser:
            assert browser.post(path, data={f"to:{name}": value}).status_code == 200
        assert events(takt, ada) == []
        assert len(takt.journal(ada)["entries"]) == 1

    def test_keeps_what_others_put_on_file(self, takt: Caller, ada: str, path: str) -> None:
        own = [
            {"channel": "push", "limit": 4},
            {"topic": "product-news", "limit": None},
            {"channel": "sms", "limit": 0},
        ]
        takt.call("PUT", f"/v1/customers/{ada}/preferences", {"preferences": own})
        fields = fields_of(show(takt, path))
        assert (fields["to:push/"], fields["to:/product-news"], fields["to:sms/"]) == ("4", "all", "none")
        before = len(events(takt, ada))
        choose(takt, path, email__="1")
        assert len(takt.customer(ada)["preferences"]) == 4
        assert [each[0] for each in events(takt, ada)[before:]] == ["opted_down"]
        choose(takt, path, sms__="usual")
        assert takt.ask(ada, "m-1", channel="sms")["verdict"] == "allow"

    def test_can_be_told_again_from_the_journal(self, takt: Caller, ada: str, path: str) -> None:
        choose(takt, path, email__="1", __promotions="none")
        choose(takt, path, __promotions="usual")
        takt.ask(ada, "m-9")
        done = subprocess.run(
            [str(Path(sys.executable).with_name("takt")), "verify", "--json"],
            env={"DATABASE_URL": takt.service.database_url, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Tags(HTMLParser):
    """The elements of a page, and what stands in them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "safe\u202egpj.exe",
    "</select></form><form action='https://evil.example'>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "مرحبا",
    "a" * 200,
    "Ünï🦊/with/slashes & 'quotes'",
    "to:email/",
]


def test_names_of_topics_are_text_whatever_is_in_them_and_a_hundred_fit(server: Server, template: str) -> None:
    plain = [f"topic {number}" for number in range(100 - len(HOSTILE))]
    budget = {"name": "own", "topics": plain, "limit": 9, "window": "lifetime"}
    policy = json.dumps({"schema": 1, "unknown_timezone": "UTC", "budgets": [budget]})
    with clean_database(server, template) as url, serving(url, Settings(public_url=PUBLIC_URL)) as service:
        service.activate(policy)
        with Caller(service) as takt, customer(takt) as browser:
            first, *_ = [takt.ask("ada", name, topic=name) for name in HOSTILE]
            path = path_of(first)
            page = browser.get(path, headers=EN).text
            tags = Tags()
            tags.feed(page)
            assert not tags.of("script")
            assert not tags.of("img")
            assert all("action" not in each for each in tags.of("form"))
            assert "\u202e" not in re.sub(r'"[^"]*"', "", page), "it would turn the text around it"
            assert "{{ 7 * 7 }}" in page
            assert {f"to:/{name}" for name in HOSTILE + plain} <= {each["name"] for each in tags.of("select")}
            saved = browser.post(path, data={f"to:/{name}": "1" for name in HOSTILE + plain}, headers=EN)
            assert saved.status_code == 200
            assert len(takt.customer("ada")["preferences"]) == 100
            assert len(events(takt, "ada")) == 100


def test_every_field_has_a_label_and_headings_are_in_order(takt: Caller, ada: str, path: str) -> None:
    tags = Tags()
    tags.feed(show(takt, path))
    (page,) = tags.of("html")
    assert page["lang"] == "en"
    labelled = {each["for"] for each in tags.of("label")}
    fields = [each for each in tags.of("select") + tags.of("input") if each.get("type") != "hidden"]
    assert {each["id"] for each in fields} == labelled
    assert len({each["id"] for each in fields}) == len(fields)
    assert len(tags.of("h1")) == 1
    assert len(tags.of("legend")) == len(tags.of("fieldset")) > 0
    assert all(not each.get("tabindex") for _, each in tags.found)
    (viewport,) = [each for each in tags.of("meta") if each.get("name") == "viewport"]
    assert "maximum-scale" not in str(viewport["content"]), "who needs it larger can make it so"
    assert any(each.get("name") == "robots" for each in tags.of("meta"))
