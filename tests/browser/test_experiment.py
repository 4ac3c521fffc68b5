"""An experiment's page in a real browser: what is decided on the first screen, charts that answer to a pointer under
the same policy of content, steps whose refusal is told where they were tried, and files of it all.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SCREENSHOTS, Open
from tests.browser.test_pages import overflows, serious

pytestmark = pytest.mark.xdist_group("browser")


def test_what_to_do_why_how_sure_and_what_it_costs_stand_on_the_first_screen(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"/experiments/{experiment}")
    verdict = page.get_by_label("Verdict")
    for each in (".call", ".sentence", ".answers"):
        expect(verdict.locator(each).first).to_be_in_viewport(ratio=1)
    expect(verdict.get_by_text("What it costs")).to_be_in_viewport(ratio=1)
    others = page.get_by_text("Other outcomes", exact=False).first
    expect(others).to_be_visible()
    expect(page.get_by_role("rowheader", name=re.compile("complained_28")).first).to_be_hidden()


@pytest.mark.parametrize("phone", [False, True])
def test_a_chart_answers_to_a_pointer_once_somebody_asks(signed_in: Open, experiment: str, phone: bool) -> None:
    page = signed_in(phone=phone, dark=phone)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/experiments/{experiment}")
    button = page.get_by_role("button", name="Explore").first
    expect(button).to_be_visible()
    assert not [each for each in asked if "/static/vega" in each]
    button.click()
    expect(page.locator(".stage canvas").first).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("One interval for each metric")).first).to_be_visible()
    assert len([each for each in asked if "/static/vega" in each]) == 1
    assert serious(page) == []
    assert not overflows(page)
    page.screenshot(path=SCREENSHOTS / f"experiment-explored-{'phone' if phone else 'wide'}.png", full_page=True)


def test_nothing_offers_to_explore_without_scripts(signed_in: Open, experiment: str) -> None:
    page = signed_in(scripts=False)
    page.goto(f"/experiments/{experiment}")
    expect(page.get_by_role("link", name="PNG").first).to_be_visible()
    offers = page.locator("button", has_text="Explore").all()
    assert offers
    for each in offers:
        expect(each).to_be_hidden()


def test_a_step_that_is_refused_says_why_where_it_was_tried(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"/experiments/{experiment}")
    page.get_by_label("Of the audience, in %").fill("20")
    page.get_by_role("button", name="Take more customers in").click()
    expect(page.locator("form", has=page.get_by_label("Of the audience, in %")).get_by_role("alert")).to_contain_text(
        "can only grow"
    )
    expect(page.get_by_label("Of the audience, in %")).to_have_value("20")
    assert serious(page) == []


def test_a_readout_is_saved_as_picture_and_as_sheet(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.goto(f"/experiments/{experiment}")
    with page.expect_download() as picture:
        page.get_by_role("link", name="PNG").first.click()
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as sheet:
        page.get_by_role("link", name="CSV of its intervals").click()
    assert sheet.value.suggested_filename.startswith(f"{experiment}-")
    assert "reachable" in Path(sheet.value.path()).read_text()
