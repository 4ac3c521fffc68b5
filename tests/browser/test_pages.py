"""Every page in a real browser: what one comes for works, by mouse, by keyboard, without scripts and on a phone; axe
finds nothing serious; and each is photographed, light and dark, wide and small, for a person to look at.
"""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.api.caller import Caller
from tests.api.unsubscribing import path_of
from tests.browser.conftest import SCREENSHOTS, Open

PAGES = {
    "overview": "/",
    "experiments": "/experiments",
    "experiment": "/experiments/push-more",
    "programme": "/programme",
    "policy": "/policy",
    "policy-edit": "/policy/edit",
    "policy-version": "/policy/1",
    "customers": "/customers",
    "customer": "/customer?id=c0",
    "nothing": "/nothing",
}
SERIOUS = ("serious", "critical")


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody out."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in SERIOUS
    ]


def overflows(page: Page) -> bool:
    """Whether the page itself has to be pushed sideways to be read."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.parametrize("look", ["light", "dark", "phone", "phone-dark"])
def test_pages_keep_nobody_out(opened: Open, signed_in: Open, experiment: str, look: str) -> None:
    looks = {"phone": "phone" in look, "dark": "dark" in look}
    stranger, ada = opened(**looks), signed_in(**looks)
    faults: dict[str, list[str]] = {}
    for name, path in {"sign-in": "/sign-in", **PAGES}.items():
        page = stranger if name == "sign-in" else ada
        page.goto(path)
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        faults[name] = serious(page) + ["it has to be pushed sideways"] * overflows(page)
    assert {name: found for name, found in faults.items() if found} == {}


def test_signing_in_by_keyboard_leads_to_where_one_wanted(opened: Open, experiment: str, takt: Caller) -> None:
    page = opened()
    page.goto("/experiments?state=running")
    expect(page.get_by_role("heading", name="Sign in to Takt")).to_be_visible()
    assert serious(page) == []
    page.keyboard.type(takt.service.key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/experiments?state=running")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")


def test_a_readout_answers_from_its_first_screen(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.goto("/experiments")
    page.get_by_role("link", name=experiment).click()
    verdict = page.get_by_label("Verdict")
    expect(verdict).to_be_in_viewport()
    expect(verdict).to_contain_text("three against one")
    expect(page.get_by_role("heading", name="What changed for customers")).to_be_in_viewport()
    expect(page.get_by_role("img").first).to_be_visible()
    expect(page.get_by_text("Three of five testers did not notice.").first).to_be_visible()


def test_times_are_those_of_the_reader_and_utc_on_hovering(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.goto(f"/experiments/{experiment}")
    time = page.locator("footer time")
    at = time.get_attribute("datetime") or ""
    shown = page.evaluate(
        "at => new Intl.DateTimeFormat('en-GB', {dateStyle: 'medium', timeStyle: 'short', timeZone: 'Europe/Berlin'})"
        ".format(new Date(at))",
        at,
    )
    expect(time).to_have_text(shown)
    expect(time).to_have_attribute("title", f"{at[:10]} {at[11:19]} UTC")


def test_the_editor_tells_a_mistake_and_then_changes_the_policy(signed_in: Open, takt: Caller) -> None:
    page = signed_in()
    page.goto("/policy")
    page.get_by_role("link", name="Change it").click()
    text = page.get_by_label("Policy, in YAML")
    good = text.input_value()
    text.fill(good.replace("min_gap: 3d", "min_gap: soon"))
    with page.expect_response(lambda each: each.request.method == "POST"):
        page.get_by_role("button", name="See what it would change").click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Line \d+\."))
    page.get_by_label("Policy, in YAML").fill(good.replace("min_gap: 3d", "min_gap: 4d"))
    page.get_by_label("Why").fill("once every four days")
    page.get_by_role("button", name="See what it would change").click()
    expect(page.locator(".diff .added")).to_contain_text("4d")
    assert serious(page) == []
    page.get_by_role("button", name="Put it in force").click()
    expect(page.get_by_role("status")).to_contain_text("In force")
    expect(page.get_by_text("at least 4 days between two contacts")).to_be_visible()


def test_why_not_is_found_from_any_page(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.get_by_role("search").get_by_label("Look up a customer").fill("c0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="c0")).to_be_visible()
    expect(page.locator(".journal")).to_contain_text("the budget has no room")


@pytest.mark.parametrize("scripts", [True, False])
def test_messages_are_stopped_from_any_page_with_scripts_and_without(
    signed_in: Open, takt: Caller, scripts: bool
) -> None:
    page = signed_in(scripts=scripts)
    page.get_by_text("Pause", exact=True).click()
    page.get_by_label("Channel").select_option("sms")
    page.get_by_label("Name it").fill("outage")
    page.get_by_role("button", name="Stop these messages now").click()
    expect(page.get_by_text("Paused: sms.")).to_be_visible()
    assert takt.ask("zoe", "m", channel="sms")["verdict"] != "allow"
    page.get_by_role("button", name="Let them go on").click()
    expect(page.get_by_text("Paused: sms.")).to_have_count(0)


def test_pages_are_whole_without_scripts(signed_in: Open, experiment: str) -> None:
    page = signed_in(scripts=False)
    for path in PAGES.values():
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(f"/experiments/{experiment}")
    page.get_by_text("The plan as it was written").click()
    expect(page.get_by_text("Three pushes a week lose nobody.").last).to_be_visible()
    page.get_by_role("button", name="Read it now").click()
    expect(page.get_by_role("status")).to_have_text("Read anew.")


@pytest.mark.parametrize(
    ("language", "lead"), [("en-GB", "How often may we write to you?"), ("de-DE", "Wie oft dürfen")]
)
def test_a_customer_chooses_and_leaves_on_a_phone(opened: Open, takt: Caller, language: str, lead: str) -> None:
    customer = f"phone-{language}"
    answer = takt.ask(customer, "m", channel="email", topic="newsletter")
    page = opened(phone=True, language=language)
    page.goto(path_of(answer))
    expect(page.get_by_text(lead)).to_be_visible()
    page.screenshot(path=SCREENSHOTS / f"choices-{language}.png", full_page=True)
    assert serious(page) == []
    assert not overflows(page)
    page.locator("select").first.select_option("none")
    page.locator("button").first.click()
    expect(page.get_by_role("status")).to_be_visible()
    assert takt.ask(customer, "m2", channel="email", topic="newsletter")["verdict"] == "deny"


def test_a_customer_opts_down_on_a_phone(opened: Open, takt: Caller) -> None:
    answer = takt.ask("less", "m", channel="email", topic="newsletter")
    page = opened(phone=True, dark=True)
    page.goto(path_of(answer))
    page.get_by_label(re.compile("^E-mail")).select_option("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved. It holds from now on.")
    expect(page.get_by_label(re.compile("^E-mail"))).to_have_value("1")
    page.screenshot(path=SCREENSHOTS / "choices-opted-down.png", full_page=True)
    assert serious(page) == []
    assert not overflows(page)
    assert takt.customer("less")["preferences"] == [{"channel": "email", "topic": None, "limit": 1}]
    assert takt.ask("less", "m2", channel="email", topic="newsletter")["verdict"] == "defer"
