"""The programme in a real browser: what came of an experiment is found from any page, and saved as a table."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SCREENSHOTS, Open
from tests.browser.test_pages import overflows, serious
from tests.operations.ended import a_result, ended
from tests.service import Service

pytestmark = pytest.mark.xdist_group("browser")


def test_what_came_of_everything_is_read_and_saved_on_a_phone(
    signed_in: Open, shared_service: Service, tmp_path: Path
) -> None:
    url = shared_service.database_url
    ended(url, "helped", a_result(0.05, 0.01), state="shipped", note="It keeps them.", hypothesis="More.")
    ended(url, "hurt", a_result(-0.05, 0.01), hypothesis="\u05d0\u05d1 😀 " + "x" * 190)
    page = signed_in(phone=True, dark=True)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Programme").click()
    row = page.get_by_role("row").filter(has_text="helped")
    expect(row).to_contain_text("customers kept +500 in 10,000 customers (+400 to +600)")
    expect(row).to_contain_text("It keeps them.")
    page.screenshot(path=SCREENSHOTS / "programme-full-phone-dark.png", full_page=True)
    assert serious(page) == []
    assert not overflows(page)
    page.get_by_role("navigation", name="Results").get_by_role("link", name="harmful").click()
    expect(page.get_by_role("row").filter(has_text="hurt")).to_be_visible()
    expect(page.get_by_text("helped")).to_have_count(0)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as CSV").click()
    saved.value.save_as(tmp_path / "programme.csv")
    assert "hurt,harmful,three,stop,kept" in (tmp_path / "programme.csv").read_text()
