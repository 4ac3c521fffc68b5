"""Somebody at the pages, over HTTP and without scripts: what a form needs is read from the page that shows it."""

import re
from html import unescape
from html.parser import HTMLParser

import httpx

from tests.service import Service


class Browser:
    """Follows no redirect by itself, keeps cookies, and says what browsers say of where a form came from."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.http = httpx.Client(base_url=service.url, timeout=120.0, headers={"Accept": "text/html"})

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def sign_in(self, key: str | None = None) -> httpx.Response:
        return self.post("/sign-in", key=key or self.service.key)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def post(self, path: str, site: str = "same-origin", **fields: str) -> httpx.Response:
        return self.http.post(path, data=fields, headers={"Sec-Fetch-Site": site})

    def follow(self, done: httpx.Response) -> httpx.Response:
        """The page that a step leads to."""
        assert done.status_code == 303, done.text
        return self.get(done.headers["location"])

    def send(self, page: str, action: str, **fields: str) -> httpx.Response:
        """The form with that action on a page, with its hidden fields and these."""
        hidden = forms(self.get(page).text)[action]
        return self.post(action, **{**hidden, **fields})


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._fields = self.found.setdefault(given.get("action") or "", {})
        if tag == "input" and given.get("type") == "hidden" and self._fields is not None:
            self._fields[given.get("name") or ""] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None


def forms(html: str) -> dict[str, dict[str, str]]:
    """The hidden fields of each form, by its action."""
    parser = _Forms()
    parser.feed(html)
    return parser.found


def words(html: str) -> str:
    """What a page says, without its tags."""
    inline = re.sub(r"</?(bdi|time|strong|small|span|wbr)[^>]*>", "", html)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inline)).split())
