"""Signing in and out: by a key, by a link that is good once, and what a session lets nobody else do."""

import asyncio
import re
import secrets

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.tokens import Scope, digest
from engine.operations.sign_in import LINK_S, SESSION_S, Sessions, make_link
from engine.settings import Settings
from engine.store.database import Database
from tests.api.caller import advance_clock, eventually
from tests.service import Service, serving
from tests.web.browser import Browser, forms, words

SESSIONS = Sessions([b"k" * 32])


def link(service: Service, key: str) -> str:
    async def made() -> str:
        database = Database(service.database_url, size=1)
        await database.open()
        try:
            return await make_link(database, key)
        finally:
            await database.close()

    return asyncio.run(made())


def test_whoever_is_not_signed_in_is_led_there_and_back(browser: Browser) -> None:
    sent = browser.get("/?from=a%26b")
    assert sent.status_code == 303
    asked = browser.get(sent.headers["location"])
    assert asked.status_code == 200
    back = forms(asked.text)["/sign-in"]["next"]
    assert back == "/?from=a%26b"
    assert browser.post("/sign-in", key=browser.service.key, next=back).headers["location"] == back


@pytest.mark.parametrize("elsewhere", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\nx", ""])
def test_nobody_is_led_to_another_site(browser: Browser, elsewhere: str) -> None:
    assert browser.post("/sign-in", key=browser.service.key, next=elsewhere).headers["location"] == "/"


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(browser: Browser) -> None:
    cookie = browser.sign_in().headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Max-Age={SESSION_S}" in cookie
    assert browser.service.key not in cookie


@pytest.mark.parametrize("key", ["", "takt_wrong", "x" * 5_000, "ключ"])
def test_a_wrong_key_opens_nothing(browser: Browser, key: str) -> None:
    refused = browser.sign_in(key or " ")
    assert refused.status_code == 401
    assert "unknown, expired or revoked" in words(refused.text)
    assert "set-cookie" not in refused.headers
    assert browser.get("/").status_code == 303


def test_a_revoked_key_ends_its_sessions(browser: Browser) -> None:
    key = browser.service.make_key(Scope.READ)
    browser.sign_in(key)
    assert browser.get("/").status_code == 200
    with psycopg.connect(browser.service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE keys SET revoked_us = takt_clock() WHERE digest = %s", (digest(key),))
    eventually(lambda: browser.get("/").status_code == 303)  # it is believed for half a second
    assert browser.get("/").headers["location"] == "/sign-in"


def test_a_key_that_may_not_read_is_told_so(browser: Browser) -> None:
    browser.sign_in(browser.service.make_key(Scope.DECIDE))
    refused = browser.get("/")
    assert refused.status_code == 403
    assert "lacks the scope 'read'" in words(refused.text)


def test_signing_out_forgets_the_session(ada: Browser) -> None:
    assert ada.get("/").status_code == 200
    ada.send("/", "/sign-out")
    assert ada.get("/").status_code == 303


def follow(browser: Browser, code: str) -> httpx.Response:
    shown = browser.get(f"/sign-in?code={code}")
    assert shown.status_code == 200
    assert "set-cookie" not in shown.headers
    return browser.post("/sign-in", **forms(shown.text)["/sign-in"])


def test_a_link_signs_in_once_by_a_click(browser: Browser) -> None:
    code = link(browser.service, browser.service.key)
    for _ in range(3):  # machines that look at every link use none up
        assert browser.get(f"/sign-in?code={code}").status_code == 200
    assert browser.get("/").status_code == 303
    assert browser.post("/sign-in", site="cross-site", code=code).status_code == 403
    assert follow(browser, code).headers["location"] == "/"
    assert browser.get("/").status_code == 200
    with Browser(browser.service) as other:
        used = follow(other, code)
        assert used.status_code == 410
        assert "used before" in words(used.text)
        assert other.get("/").status_code == 303
        assert follow(other, "x").status_code == 410


def test_a_link_is_over_after_a_while_and_with_its_key(browser: Browser) -> None:
    key = browser.service.make_key(Scope.READ)
    old, of_a_dead_key = link(browser.service, key), link(browser.service, key)
    with psycopg.connect(browser.service.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE sign_in_links SET expires_us = expires_us - %s WHERE digest = %s", (LINK_S * 1_000_000, digest(old))
        )
        assert follow(browser, old).status_code == 410
        connection.execute("UPDATE keys SET revoked_us = takt_clock() WHERE digest = %s", (digest(key),))
    assert follow(browser, of_a_dead_key).status_code == 410


def test_a_session_is_over_by_the_clock_of_the_database(ada: Browser) -> None:
    assert ada.get("/").status_code == 200
    advance_clock(ada.service.database_url, SESSION_S)
    assert ada.get("/").status_code == 303
    ada.sign_in()
    assert ada.get("/").status_code == 200
    advance_clock(ada.service.database_url, -SESSION_S)
    assert ada.get("/").status_code == 303
    ada.sign_in()
    assert ada.get("/").status_code == 200


def test_behind_a_proxy_the_public_address_is_ours_and_by_https_the_cookie_is_for_https_alone(
    database_url: str,
) -> None:
    for address, origin, is_secure in (
        ("https://[2001:DB8:0::1]:443/x", "https://[2001:db8::1]", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", False),
    ):
        with serving(database_url, Settings(public_url=address)) as service, Browser(service) as browser:
            assert ("Secure" in browser.sign_in().headers["set-cookie"]) is is_secure
            assert says(browser, origin=origin) == 303
            for other in (
                "https://[2001:db8::1]:8443",
                "http://[2001:db8::1]",
                "http://127.0.0.1",
                "https://x.example",
            ):
                assert says(browser, origin=other) == 403


def test_a_browser_keeps_files_under_the_address_of_their_version_alone(browser: Browser) -> None:
    page = browser.get("/sign-in").text
    for path in re.findall(r'"(/static/[^"]+)"', page):
        assert "immutable" in browser.get(path).headers["cache-control"]
        for other in (path.partition("?")[0], path[:-1], path + "0"):
            assert browser.get(other).headers["cache-control"] == "no-store"


def says(browser: Browser, **headers: str) -> int:
    """What signing in answers to a browser that says this of where its form came from."""
    named = {each.replace("_", "-"): value for each, value in headers.items()}
    answer = browser.http.post("/sign-in", data={"key": browser.service.key}, headers=named)
    assert ("set-cookie" in answer.headers) is (answer.status_code == 303)
    return answer.status_code


OURS = (
    ("http://takt.intern:8000", "takt.intern:8000"),
    ("http://takt.intern", "takt.intern"),
    ("http://takt.intern", "TAKT.intern:80"),
    ("https://takt.example.com", "takt.example.com"),  # a proxy ended TLS
    ("https://takt.example.com", "takt.example.com:443"),
    ("http://[fd00::1]:8000", "[fd00::1]:8000"),
    ("http://10.0.0.5:8000", "10.0.0.5:8000"),
)
OTHERS = (
    ("http://evil.example", "takt.intern:8000"),
    ("http://takt.intern", "takt.intern:8000"),
    ("http://takt.intern:8001", "takt.intern:8000"),
    ("http://takt.intern.evil.example:8000", "takt.intern:8000"),
    ("http://takt.intern:8000@evil.example", "takt.intern:8000"),
    ("http://takt.intern:8000.evil.example", "takt.intern:8000"),
    ("https://takt.intern", "takt.intern:80"),
    ("http://[fd00::1]:8000", "[fd00::2]:8000"),
    ("http://[fd00::1", "[fd00::1"),
    ("http://", ""),
    ("takt.intern:8000", "takt.intern:8000"),
    ("ftp://takt.intern", "takt.intern"),
    ("null", "takt.intern:8000"),
    ("", "takt.intern:8000"),
)


@pytest.mark.parametrize(("origin", "host"), OURS)
def test_without_tls_a_browser_says_by_origin_that_the_form_is_ours(browser: Browser, origin: str, host: str) -> None:
    assert says(browser, origin=origin, host=host) == 303


@pytest.mark.parametrize(("origin", "host"), OTHERS)
def test_without_tls_another_sites_form_signs_nobody_in(browser: Browser, origin: str, host: str) -> None:
    assert says(browser, origin=origin, host=host) == 403


def test_of_a_browser_that_says_nothing_no_form_signs_in(browser: Browser) -> None:
    assert says(browser) == 403
    assert says(browser, sec_fetch_site="none") == 303
    assert says(browser, sec_fetch_site="cross-site", origin=browser.service.url) == 403, "the browser knows better"
    assert says(browser, sec_fetch_site="same-origin", origin="https://takt.example.com") == 303, "behind a proxy"


def test_another_sites_form_signs_nobody_in(browser: Browser) -> None:
    refused = browser.post("/sign-in", site="cross-site", key=browser.service.key)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_a_form_needs_the_token_of_its_own_session(ada: Browser) -> None:
    hidden = forms(ada.get("/").text)["/pauses"]
    for site, fields in (
        ("same-origin", {}),
        ("same-origin", {"csrf": "0" * 64}),
        ("same-origin", {"csrf": "ß"}),
        ("cross-site", hidden),
        ("same-site", hidden),
    ):
        refused = ada.post("/pauses", site=site, **{**fields, "name": "forged"})
        assert refused.status_code == 403, (site, fields)
    for origin, status in (("http://evil.example", 403), ("null", 422), (ada.service.url, 422)):  # an empty name
        sent = ada.http.post("/pauses", data={**hidden, "name": ""}, headers={"origin": origin})
        assert sent.status_code == status, origin
    with Browser(ada.service) as other:
        other.sign_in()
        assert other.post("/pauses", **{**hidden, "name": "forged"}).status_code == 403
    assert "forged" not in ada.get("/").text


@given(st.integers(0, 10_000_000), st.binary(min_size=32, max_size=32))
def test_a_session_says_what_was_sealed(began_s: int, key_digest: bytes) -> None:
    cookie = SESSIONS.begin(key_digest, began_s)
    session = SESSIONS.open(cookie)
    assert session is not None
    assert (session.key_digest, session.began_s) == (key_digest, began_s)
    assert not session.has_expired(began_s + SESSION_S - 1)
    assert session.has_expired(began_s + SESSION_S)
    assert session.wrote(session.csrf)
    assert not session.wrote(session.csrf[:-1])
    assert SESSIONS.open(SESSIONS.begin(key_digest, began_s)) != session


def test_no_altered_session_opens() -> None:
    cookie = SESSIONS.begin(b"d" * 32, 1)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    opened = 0
    for place in range(len(cookie) - 1):  # the last letter has bits that say nothing
        for letter in letters:
            altered = cookie[:place] + letter + cookie[place + 1 :]
            opened += altered != cookie and SESSIONS.open(altered) is not None
    assert opened == 0
    for other in ("", "x", cookie[:-3], cookie * 2, "é" * 20, secrets.token_urlsafe(73)):
        assert SESSIONS.open(other) is None


def test_a_session_sealed_with_the_secret_before_is_still_good() -> None:
    cookie = SESSIONS.begin(b"d" * 32, 1)
    renewed = Sessions([b"n" * 32, b"k" * 32])
    assert renewed.open(cookie) == SESSIONS.open(cookie)
    assert Sessions([b"n" * 32]).open(cookie) is None


def test_a_page_lets_nothing_in_from_elsewhere(ada: Browser) -> None:
    for path in ("/", "/sign-in", "/nothing"):
        shown = ada.get(path)
        (policy,) = shown.headers.get_list("content-security-policy")
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "same-origin", "with no-referrer Origin would be null"
        for forbidden in ("http:", "https:", "<style", " onclick", " style=", "javascript:"):
            assert forbidden not in re.sub(r">[^<]*<", "><", shown.text), forbidden
        assert all(re.search(r'src="/static/', each) for each in re.findall(r"<script[^>]*>", shown.text))


def test_an_error_leads_on_whoever_is_signed_in_and_shows_others_nothing(browser: Browser) -> None:
    stranger = browser.get("/nothing")
    assert stranger.status_code == 404
    assert "Look up a customer" not in stranger.text
    browser.sign_in(browser.service.make_key(Scope.DECIDE))
    assert "Look up a customer" not in browser.get("/experiments").text
    browser.sign_in(browser.service.make_key(Scope.READ))
    for path in ("/nothing", "/experiments/none", "/customer?id=nobody-at-all", "/customer?id="):
        lost = browser.get(path)
        assert lost.status_code == 404, path
        assert 'href="/experiments"' in lost.text, path
        assert "Look up a customer" in lost.text, path
        assert "<title>There is nothing here" in lost.text, path
    refused = browser.post("/pauses", **forms(browser.get("/").text)["/sign-out"], name="x")
    assert refused.status_code == 403
    assert forms(refused.text)["/sign-out"]["back"] == "/"
