"""The policy's pages: words that say what the rules are, an editor that tells what is wrong, and what was before."""

import asyncio
import re
from html import unescape
from typing import Any

import httpx
import psycopg
import pytest

from engine.core.presets import PRESETS
from engine.core.tokens import Scope
from engine.operations import keys
from engine.operations.policy_file import load_policy
from engine.render import policy_words
from engine.store.database import Database
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


def limited(limit: int) -> str:
    return SHOP.replace("limit: 1\n", f"limit: {limit}\n")


def check(browser: Browser, text: str) -> dict[str, str]:
    """What the form bears after the text was checked."""
    shown = browser.send("/policy/edit", "/policy/edit", yaml=text, do="check")
    assert shown.status_code == 200, words(shown.text)
    return {**forms(shown.text)["/policy/edit"], "yaml": text}


def activate(browser: Browser, fields: dict[str, str]) -> httpx.Response:
    return browser.post("/policy/edit", **{**fields, "do": "activate"})


def policies_of(browser: Browser) -> dict[str, Any]:
    with Caller(browser.service) as takt:
        return takt.call("GET", "/v1/policies")


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
    fields = {**forms(checked.text)["/policy/edit"], "yaml": better.replace("\n", "\r\n"), "note": "three"}
    shown = words(shop.follow(activate(shop, fields)).text)
    assert "In force. It holds from the next ask on" in shown
    assert "at most 3 in any 7 days by push" in shown
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


def assert_refused(shop: Browser, refused: httpx.Response, text: str, change: str) -> None:
    """Nothing was put in force; the text is still there, and what it changes in what holds now; the next press does."""
    before = policies_of(shop)["in_force"]["ruleset"]
    assert refused.status_code == 409
    assert "Nothing was put in force" in words(refused.text)
    assert change in words(refused.text)
    fields = {**forms(refused.text)["/policy/edit"], "yaml": text}
    assert unescape(refused.text).count(text) == 1
    assert activate(shop, fields).status_code == 303
    assert policies_of(shop)["in_force"]["ruleset"] == before + 1


def test_what_was_not_checked_is_not_put_in_force(shop: Browser) -> None:
    before = policies_of(shop)["in_force"]
    for fields in (
        {**check(shop, limited(3)), "yaml": limited(4)},
        {**check(shop, limited(4)), "checked": ""},
        {**check(shop, limited(4)), "base": str(before["policy_version"] - 1)},
        {**check(shop, limited(4)), "base": "x"},
    ):
        refused = activate(shop, fields)
        assert refused.status_code == 409, fields
        assert policies_of(shop)["in_force"] == before
    assert_refused(shop, refused, limited(4), "- limit: 1 + limit: 4")


def test_what_somebody_else_checked_is_not_put_in_force(shop: Browser) -> None:
    with Browser(shop.service) as other:
        other.sign_in()
        theirs = check(other, limited(4))
    mine = check(shop, limited(3))
    refused = activate(shop, {**theirs, "csrf": mine["csrf"]})
    assert_refused(shop, refused, limited(4), "- limit: 1 + limit: 4")


def test_what_was_checked_against_another_version_is_not_put_in_force(shop: Browser) -> None:
    fields = check(shop, limited(4))
    with Caller(shop.service) as takt:
        takt.call("POST", "/v1/policies", {"yaml": limited(2)})
    assert_refused(shop, activate(shop, fields), limited(4), "- limit: 2 + limit: 4")


def test_a_pause_meanwhile_changes_nothing_of_what_was_checked(shop: Browser) -> None:
    fields = check(shop, limited(4))
    shop.send("/", "/pauses", name="meanwhile", channel="sms")
    assert activate(shop, fields).status_code == 303
    shop.send("/", "/pauses/end", name="meanwhile")


def test_an_older_version_takes_the_place_of_the_one_it_was_compared_with(shop: Browser) -> None:
    older = policies_of(shop)["in_force"]["policy_version"]
    with Caller(shop.service) as takt:
        takt.call("POST", "/v1/policies", {"yaml": limited(2)})
        fields = forms(shop.get(f"/policy/{older}").text)[f"/policy/{older}/activate"]
        newer = takt.call("POST", "/v1/policies", {"yaml": limited(5)})["policy_version"]
    refused = shop.post(f"/policy/{older}/activate", **fields)
    assert refused.status_code == 409
    assert "- limit: 5 + limit: 1" in words(refused.text)
    assert policies_of(shop)["in_force"]["policy_version"] == newer
    assert shop.post(f"/policy/{older}/activate", **{**fields, "base": str(newer)}).status_code == 409
    again = forms(refused.text)[f"/policy/{older}/activate"]
    assert shop.post(f"/policy/{older}/activate", **again).status_code == 303
    assert policies_of(shop)["in_force"]["policy_version"] == older


async def named_key(url: str, name: str) -> str:
    database = Database(url, size=1)
    await database.open()
    try:
        return (await keys.create(database, name, [Scope.ADMIN])).secret
    finally:
        await database.close()


def test_the_history_says_who_put_which_version_in_force_when_and_what_that_changed(shop: Browser) -> None:
    older = policies_of(shop)["in_force"]["policy_version"]
    with Caller(shop.service) as takt:
        newer = takt.call("POST", "/v1/policies", {"yaml": limited(6), "note": "six a week"})["policy_version"]
    with Browser(shop.service) as berta:
        berta.sign_in(asyncio.run(named_key(shop.service.database_url, "berta")))
        berta.send(f"/policy/{older}", f"/policy/{older}/activate")
    rows = [words(each) for each in re.findall(r"<tr role=\"row\">.*?</tr>", shop.get("/policy").text, re.DOTALL)[1:4]]
    assert [each.split()[0] for each in rows] == [str(older), str(newer), str(older)]
    assert [("berta" in each, "test" in each) for each in rows] == [(True, False), (False, True), (False, True)]
    assert "in force" in rows[0]
    assert "Put back in force. the shop's" in rows[0]
    assert "Put back" not in rows[1] + rows[2]
    assert "and put back in force by berta" in words(shop.get("/policy").text)
    shown = words(shop.get(f"/policy/{older}").text)
    assert "It is in force." in shown
    assert shown.count(f"version {newer}") == 1
    assert "What it changed the last time @@" in shown
    assert "- limit: 6 + limit: 1" in shown
    shown = words(shop.get(f"/policy/{newer}").text)
    assert "What it changed @@" in shown
    assert shown.count("- limit: 1 + limit: 6") == 2, "what it did, and what it would do again"


def test_every_version_there_ever_was_is_reached_from_the_newest(shop: Browser) -> None:
    with psycopg.connect(shop.service.database_url) as connection:
        kept = connection.execute(
            "INSERT INTO policies (created_us, author, note, source, data)"
            " SELECT created_us, author, note, source, data"
            " FROM (SELECT * FROM policies ORDER BY version DESC LIMIT 1), generate_series(1, 120) RETURNING version"
        ).fetchall()
        connection.execute(
            "INSERT INTO rulesets SELECT number + row_number() OVER (ORDER BY version), activated_us, version,"
            " tzdata_version, author, pauses, experiments, holdouts"
            " FROM (SELECT * FROM rulesets ORDER BY number DESC LIMIT 1), unnest(%s::integer[]) AS version",
            ([each[0] for each in kept],),
        )
    path, walked, seen = "/policy", list[str](), list[int]()
    while path:
        assert path not in walked
        walked.append(path)
        text = shop.get(path).text
        seen += [int(each) for each in re.findall(r'scope="row"><a href="/policy/(\d+)">', text)]
        older = re.search(r'<a href="(/policy\?before=\d+)">Older</a>', text)
        path = older[1] if older else ""
        assert ("The newest" in text) == (len(walked) > 1)
        assert f'<a href="/policy/{kept[-1][0]}">Version {kept[-1][0]}</a>, put in force by' in text
    assert {each[0] for each in kept} < set(seen)
    assert min(seen) == 1
    assert "Nothing is older" in words(shop.get("/policy?before=1").text)


def test_a_policy_that_a_running_experiment_forbids_is_refused_beside_the_text(shop: Browser) -> None:
    with Caller(shop.service) as takt:
        takt.call("POST", "/v1/experiments", {"yaml": PLAN})
        takt.call("POST", "/v1/experiments/push-more/start")
        refused = activate(shop, check(shop, SHOP.replace("push-weekly", "push-often")))
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
