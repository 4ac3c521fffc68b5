"""What docs/pages.md says of the pages is so: its addresses are those there are, and scopes see what it says."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from engine.core.tokens import Scope
from engine.render.frame import PLACES
from engine.web.pages import ROUTERS
from tests.browser.picture import BYTES_MAX, PICTURE
from tests.service import Service
from tests.web.browser import Browser

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "pages.md").read_text()
ADDRESSES = re.findall(r"`(/[^`]*)`", TEXT)
SHOWN = {"KEY": "{key}", "INSTANT": "{at_us}", "DAY": "{day}", "CHART": "{chart}"}


def routes() -> set[str]:
    found = [each for router in ROUTERS for each in router.routes if isinstance(each, APIRoute)]
    return {each.path_format for each in found if "GET" in (each.methods or ())}


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_address_is_one_that_there_is(address: str) -> None:
    path = address.partition("?")[0]
    for written, placed in SHOWN.items():
        path = re.sub(rf"(?<=/){written}(?=[/.]|$)", placed, path)
    assert path in routes()


def test_each_place_of_the_navigation_is_explained() -> None:
    assert [each.path for each in PLACES if each.path not in ADDRESSES] == []


def test_keys_see_the_pages_that_it_says(shared_service: Service) -> None:
    pages = [each.path for each in PLACES]
    for scope in Scope:
        status = 200 if scope in (Scope.READ, Scope.ADMIN) else 403
        with Browser(shared_service) as browser:
            browser.sign_in(shared_service.make_key(scope))
            assert {browser.get(each).status_code for each in pages} == {status}, scope


def test_the_readme_shows_a_picture_with_words_for_it() -> None:
    found = re.search(r"!\[([^\]]+)\]\(docs/readout\.png\)", (ROOT / "README.md").read_text())
    assert found
    assert len(found.group(1)) > 40
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size < BYTES_MAX
