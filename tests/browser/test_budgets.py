"""The page of budgets in a real browser: found from the navigation, narrowed by its form, whole without scripts and on
a phone; axe finds nothing serious."""

import re

import pytest
from playwright.sync_api import expect

from tests.api.caller import Caller
from tests.browser.conftest import SCREENSHOTS, Open
from tests.browser.test_pages import overflows, serious
from tests.web.test_budgets import HOSTILE, count

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def counted(experiment: str, takt: Caller) -> str:
    """A company whose asks are counted, one of its teams with a name that turns the text around it; the address."""
    for number in range(20):
        takt.ask(f"c{number}", "again", channel="push", team=HOSTILE)
    count(takt.service.database_url)
    return "/budgets"


@pytest.mark.parametrize("look", ["light", "dark", "phone", "phone-dark"])
def test_the_page_keeps_nobody_out(signed_in: Open, counted: str, look: str) -> None:
    page = signed_in(phone="phone" in look, dark="dark" in look)
    pages = [("budgets", counted), ("overview-full", "/")]
    for name, path in pages if look in ("light", "phone-dark") else pages[:1]:
        page.goto(path)
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        assert serious(page) == []
        assert not overflows(page)


@pytest.mark.parametrize("scripts", [True, False])
def test_what_one_team_asked_is_found_and_saved(signed_in: Open, counted: str, scripts: bool) -> None:
    page = signed_in(scripts=scripts)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Budgets").click()
    expect(page.get_by_role("heading", name="Budgets", exact=True)).to_be_visible()
    expect(page.get_by_role("img").first).to_be_visible()
    whole = page.locator(".verdict .sentence").inner_text()
    page.get_by_label("Period").select_option("7 days")
    page.get_by_label("Team").select_option(index=1)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile(r"days=7&.*team=%3D"))
    sentence = page.locator(".verdict .sentence")
    expect(sentence).to_contain_text("in these 7 days")
    expect(sentence).to_contain_text("20 messages")
    assert sentence.inner_text() != whole
    page.get_by_text("Day by day").click()
    expect(page.get_by_role("columnheader", name="Day", exact=True)).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="All of this as CSV").click()
    assert saved.value.suggested_filename == "budgets-7-days.csv"
