"""The policy's pages: words that say what the rules are, an editor that tells what is wrong, and what was before."""

import re
from html import unescape

import pytest

from engine.core.presets import PRESETS
from engine.core.tokens import Scope
from engine.operations.policy_file import load_policy
from engine.render import policy_words
from tests.api.caller import Caller
from tests.operations.plans import PLAN
from tests.operations.plans import POLICY as SHOP
from tests.web.browser import Browser, forms, words

EVERYTHING = """
schema: 1
unknown_timezone: deny
channels: {email: {consent: existing_customer}}
topics:
  promotions: {purpose: sell, consent: opt_in}
  orders: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 10, window: {rolling: 1d}}}
  survey: {purpose: ask}
budgets:
  - name: push-weekly
    channels: [push, email]
    topics: [promotions]
    limit: 1
    window: {rolling: 7d, tolerance: 30m}
    overrides: [{when: {lifecycle: new, age: {gte: 18}}, limit: 2}]
  - {name: any-daily, limit: 2, window: {calendar: day}, hold_back: {keep: 1, for_priority: 70}, weights: {phone: 3}}
  - {name: same, per: campaign, limit: 1, window: {rolling: 30d}, when_exceeded: deny}
  - {name: spacing, channels: [email], min_gap: 16h}
  - {name: ever, channels: [phone], limit: 2, window: lifetime}
  - {name: tighter, channels: [email], limit: 2, window: {rolling: 36h}, shadow: true}
quiet_hours:
  - {channels: [push, sms], from: "21:00", to: "08:00", days: [sat, sun], when: {country: DE}}
pauses:
  - {from: case_opened, until: case_closed, at_most: 14d, topics: [promotions]}
lease: 5m
max_lease: 24h
on_expiry: presume_sent
soft_bounces: {suppress_after: 3, within: 7d}
"""
SAYS = {
    "push-weekly": "at most 1 in any 7 days by email or push about promotions; 2 where age is at least 18 and lifecycle"
    " is new; later where it is full",
    "any-daily": "at most 2 on a day of the customer's own; weighed: phone 3; 1 of them kept for priority 70 and above;"
    " later where it is full",
    "same": "at most 1 in any 30 days; for each campaign by itself; denied where it is full",
    "spacing": "at least 16 hours between two contacts by email; later where it is full",
    "ever": "at most 2 ever by phone; later where it is full",
    "tighter": "at most 2 in any 36 hours by email; later where it is full; a shadow: it refuses nothing, and is"
    " counted",
    "promotions": "sells; only after a yes",
    "orders": "serves; unless they said no; passes every limit; uses no budget; at most 10 in any 1 day, beyond that"
    " denied",
    "quiet hours": "nothing from 21:00 to 08:00 of the customer's own time on Saturday, Sunday by push or sms where"
    " country is DE",
    "open cases": "nothing from case_opened to case_closed, at most 14 days about promotions",
    "email": "only after a yes or a purchase",
    "leases": "an allowed message is to be confirmed within 5 minutes, at most 1 day; then the message counts as sent",
    "unknown time zones": "are denied",
    "soft bounces": "3 within 7 days stop an address",
}


@pytest.fixture
def shop(ada: Browser) -> Browser:
    with Caller(ada.service) as takt:
        takt.call("POST", "/v1/policies", {"yaml": SHOP, "note": "the shop's"})
    return ada


def test_every_rule_says_in_words_what_it_is() -> None:
    policy = load_policy(EVERYTHING)
    rules = [*policy_words.budgets(policy), *policy_words.topics(policy), *policy_words.others(policy)]
    said = {words(str(each.name)): words(str(each.says)) for each in rules}
    assert {name: said[name] for name in SAYS} == SAYS


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_read_well(preset: str) -> None:
    policy = load_policy(PRESETS[preset])
    for each in (*policy_words.budgets(policy), *policy_words.topics(policy), *policy_words.others(policy)):
        assert "  " not in each.says
        assert not each.says.endswith(".")


def test_the_page_says_what_holds_and_what_was_before(shop: Browser) -> None:
    shown = words(shop.get("/policy").text)
    assert "push-weekly at most 1 in any 7 days by push about promotions" in shown
    assert "What the shop allows" in shown
    assert "the shop's" in shown
    assert "in force" in shown


def test_the_editor_tells_each_mistake_beside_the_text_and_changes_nothing(shop: Browser) -> None:
    before = words(shop.get("/policy").text)
    for bad, told in (
        (SHOP.replace("limit: 1\n", "limit: many\n"), "Line 11."),
        (SHOP.replace("rolling: 7d", "rolling: 7x"), "Line 12."),
        ("", "found"),
        ("a: [", "Line 1."),
        ("<script>alert(1)</script>", "found"),
    ):
        refused = shop.send("/policy/edit", "/policy/edit", yaml=bad, note="oops", do="activate")
        assert refused.status_code == 422, bad
        assert told in words(refused.text), bad
        assert "<script>alert" not in refused.text
        assert 'value="oops"' in refused.text
        assert 'value="activate"' not in refused.text
    assert words(shop.get("/policy").text).partition("As of")[0] == before.partition("As of")[0]


def test_the_editor_holds_the_text_to_the_letter(shop: Browser) -> None:
    text = "# 5 % of \u202ethose\n" + SHOP
    shown = shop.send("/policy/edit", "/policy/edit", yaml=text, note="5 %", do="check").text
    area = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", shown, re.DOTALL)
    assert area is not None
    assert unescape(area[1]) == text
    assert "\u202e" not in shown


def test_a_change_is_shown_before_it_is_put_in_force(shop: Browser) -> None:
    better = SHOP.replace("limit: 1\n", "limit: 3\n")
    checked = shop.send("/policy/edit", "/policy/edit", yaml=better, note="three", do="check")
    assert checked.status_code == 200
    assert "+    limit: 3" in words(checked.text).replace("+ limit", "+    limit")
    assert 'value="activate"' in checked.text
    done = shop.send("/policy/edit", "/policy/edit", yaml=better.replace("\n", "\r\n"), note="three", do="activate")
    assert done.headers["location"] == "/policy?done=activated"
    assert "at most 3 in any 7 days by push" in words(shop.get("/policy").text)
    with Caller(shop.service) as takt:
        found = takt.call("GET", "/v1/policies")
        number = found["versions"][1]["version"]
        assert "\r" not in takt.call("GET", f"/v1/policies/{found['versions'][0]['version']}")["yaml"]
    older = shop.get(f"/policy/{number}")
    assert "limit: 1" in words(older.text)
    shop.send(f"/policy/{number}", f"/policy/{number}/activate")
    assert "at most 1 in any 7 days by push" in words(shop.get("/policy").text)
    assert "It is in force" in words(shop.get(f"/policy/{number}").text)
    assert shop.get("/policy/999999").status_code == 404


def test_a_policy_that_a_running_experiment_forbids_is_refused_beside_the_text(shop: Browser) -> None:
    with Caller(shop.service) as takt:
        takt.call("POST", "/v1/experiments", {"yaml": PLAN})
        takt.call("POST", "/v1/experiments/push-more/start")
        refused = shop.send(
            "/policy/edit", "/policy/edit", yaml=SHOP.replace("push-weekly", "push-often"), do="activate"
        )
        takt.call("POST", "/v1/experiments/push-more/stop")
    assert refused.status_code == 422
    assert "push-more" in words(refused.text)


def test_who_may_only_read_sees_the_policy_and_changes_nothing(browser: Browser) -> None:
    browser.sign_in(browser.service.make_key(Scope.READ))
    text = browser.get("/policy").text
    assert "/policy/edit" not in text
    assert browser.get("/policy/edit").status_code == 403
    token = forms(text)["/sign-out"]["csrf"]
    assert browser.post("/policy/edit", csrf=token, yaml=SHOP, do="activate").status_code == 403
    assert browser.post("/policy/1/activate", csrf=token).status_code == 403
