"""Who may do what: keys, their scopes, their teams, their end; and headers that try to confuse."""

import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from engine.core.tokens import Scope
from tests.api.caller import Caller, advance_clock, ask, eventually, is_problem, make_key, revoke_key

_ASK = ("POST", "/v1/decisions", Scope.DECIDE)
ROUTES = [
    _ASK,
    ("POST", "/v1/decisions/batch", Scope.DECIDE),
    ("POST", "/v1/contacts/confirm", Scope.DECIDE),
    ("POST", "/v1/contacts/release", Scope.DECIDE),
    ("POST", "/v1/contacts/record", Scope.INGEST),
    ("POST", "/v1/provider-rates", Scope.INGEST),
    ("GET", "/v1/traffic", Scope.READ),
    ("PUT", "/v1/customers/ada", Scope.INGEST),
    ("POST", "/v1/customers/batch", Scope.INGEST),
    ("GET", "/v1/customers/ada", Scope.READ),
    ("GET", "/v1/customers/ada/decisions", Scope.READ),
    ("PUT", "/v1/customers/ada/preferences", Scope.INGEST),
    ("POST", "/v1/suppressions", Scope.INGEST),
    ("POST", "/v1/suppressions/lift", Scope.MANAGE),
    ("GET", "/v1/policies", Scope.READ),
    ("POST", "/v1/policies", Scope.MANAGE),
    ("POST", "/v1/policies/validate", Scope.READ),
    ("GET", "/v1/policies/999", Scope.READ),
    ("POST", "/v1/policies/999/activate", Scope.MANAGE),
    ("POST", "/v1/pauses", Scope.MANAGE),
    ("DELETE", "/v1/pauses/outage", Scope.MANAGE),
    ("POST", "/v1/events", Scope.INGEST),
    ("GET", "/v1/customers/ada/export", Scope.MANAGE),
    ("POST", "/v1/customers/ada/merge", Scope.MANAGE),
    ("DELETE", "/v1/customers/ada", Scope.MANAGE),
    ("POST", "/v1/assignments", Scope.DECIDE),
    ("GET", "/v1/experiments", Scope.READ),
    ("POST", "/v1/experiments", Scope.MANAGE),
    ("POST", "/v1/experiments/validate", Scope.READ),
    ("GET", "/v1/experiments/pushes", Scope.READ),
    *[("POST", f"/v1/experiments/pushes/{step}", Scope.MANAGE) for step in ("start", "ramp", "phase", "stop", "ship")],
    ("POST", "/v1/experiments/pushes/notes", Scope.MANAGE),
    ("POST", "/v1/experiments/pushes/holdout/end", Scope.MANAGE),
    ("GET", "/v1/experiments/pushes/readout", Scope.READ),
    ("POST", "/v1/experiments/pushes/readout", Scope.MANAGE),
    ("GET", "/v1/experiments/pushes/holdout/readout", Scope.READ),
    ("POST", "/v1/experiments/pushes/holdout/readout", Scope.MANAGE),
]
# Health is for whoever runs the service; a customer's token is all the key that the page of choices wants.
KEYLESS = {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/u/{token}"), ("POST", "/u/{token}")}
PLACES = {"/ada": "/{customer_id}", "/999": "/{version}", "/outage": "/{name}", "/pushes": "/{key}"}


@pytest.fixture(scope="module")
def keys(takt: Caller) -> dict[Scope, str]:
    return {scope: make_key(takt.service.database_url, scope).secret for scope in Scope}


def with_key(takt: Caller, key: str, method: str, path: str, document: object = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.request(method, takt.service.url + path, headers=headers, json=document, timeout=30)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_wants_its_scope(takt: Caller, keys: dict[Scope, str], method: str, path: str, scope: Scope) -> None:
    nobody = httpx.request(method, takt.service.url + path, content=b"}{ not JSON", timeout=30)
    assert is_problem(nobody, 401, "unauthenticated")
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    assert is_problem(with_key(takt, "takt_wrong", method, path), 401, "unauthenticated")
    for other in Scope:
        response = with_key(takt, keys[other], method, path)
        if other in (scope, Scope.ADMIN):
            assert response.status_code not in (401, 403), response.text
        else:
            assert is_problem(response, 403, "forbidden")
            assert scope.value in response.json()["detail"]


def test_every_route_but_health_and_a_customers_own_wants_a_key(takt: Caller) -> None:
    listed = {
        (method.upper(), path)
        for path, methods in takt.http.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    templates = {(method, re.sub("|".join(PLACES), lambda found: PLACES[found[0]], path)) for method, path, _ in ROUTES}
    assert listed - templates == KEYLESS
    assert templates <= listed


class TestTeams:
    def test_a_key_of_one_team_speaks_for_it(self, takt: Caller, ada: str) -> None:
        key = make_key(takt.service.database_url, Scope.DECIDE, teams=["crm"]).secret
        with Caller(takt.service, key) as crm:
            crm.ask(ada, "m-1")
            crm.ask(ada, "m-1", team="crm")
            refused = crm.send("POST", "/v1/decisions", ask(ada, "m-2", team="sales"))
            assert is_problem(refused, 403, "forbidden")
        (contact,) = takt.customer(ada)["contacts"]
        assert contact["team"] == "crm"

    def test_a_key_of_several_must_name_one_of_them(self, takt: Caller, ada: str) -> None:
        key = make_key(takt.service.database_url, Scope.DECIDE, teams=["crm", "sales"]).secret
        with Caller(takt.service, key) as both:
            assert is_problem(both.send("POST", "/v1/decisions", ask(ada, "m-1")), 403, "forbidden")
            nameless, foreign, good = both.call(
                "POST",
                "/v1/decisions/batch",
                {"asks": [ask(ada, "m-1"), ask(ada, "m-2", team="hr"), ask(ada, "m-3", team="sales")]},
            )["answers"]
            assert [nameless["error"]["status"], foreign["error"]["status"]] == [403, 403]
            assert good["state"] == "reserved"

    def test_a_key_of_any_team_speaks_for_whom_it_names(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1", team="anybody")
        takt.ask(ada, "m-2", channel="push")
        assert {each["team"] for each in takt.customer(ada)["contacts"]} == {"anybody", None}

    def test_a_key_of_no_team_speaks_for_none(self, takt: Caller, ada: str) -> None:
        key = make_key(takt.service.database_url, Scope.DECIDE, teams=[]).secret
        with Caller(takt.service, key) as nobody:
            assert is_problem(nobody.send("POST", "/v1/decisions", ask(ada, "m-1")), 403)
            assert is_problem(nobody.send("POST", "/v1/decisions", ask(ada, "m-1", team="crm")), 403)

    def test_records_carry_the_key_s_team_too(self, takt: Caller, ada: str) -> None:
        key = make_key(takt.service.database_url, Scope.INGEST, teams=["agency"]).secret
        record = {"customer_id": ada, "message_id": "v-1", "channel": "letter", "topic": "promotions"}
        contacts = [{**record, "at": "2026-01-01T00:00:00Z"}, {**record, "at": "2026-01-01T00:00:00Z", "team": "crm"}]
        with Caller(takt.service, key) as agency:
            good, foreign = agency.call("POST", "/v1/contacts/record", {"contacts": contacts})["results"]
        assert good["applied"]
        assert foreign["error"]["status"] == 403


class TestTheEndOfAKey:
    def test_comes_by_itself(self, takt: Caller) -> None:
        key = make_key(takt.service.database_url, Scope.READ, expires_in_s=60).secret
        assert with_key(takt, key, "GET", "/v1/policies").status_code == 200
        advance_clock(takt.service.database_url, 60)
        eventually(lambda: with_key(takt, key, "GET", "/v1/policies").status_code == 401)

    def test_comes_with_its_revocation(self, takt: Caller) -> None:
        made = make_key(takt.service.database_url, Scope.READ)
        assert with_key(takt, made.secret, "GET", "/v1/policies").status_code == 200
        revoke_key(takt.service.database_url, made.key_id)
        eventually(lambda: with_key(takt, made.secret, "GET", "/v1/policies").status_code == 401)

    def test_does_not_wait_for_a_key_that_was_unknown_to_be_made(self, takt: Caller) -> None:
        secret = f"takt_{'k' * 43}"
        assert with_key(takt, secret, "GET", "/v1/policies").status_code == 401
        make_key(takt.service.database_url, Scope.READ, secret=secret)
        eventually(lambda: with_key(takt, secret, "GET", "/v1/policies").status_code == 200)


def test_a_flood_of_wrong_keys_costs_good_ones_nothing_but_time(takt: Caller, ada: str) -> None:
    with httpx.Client(base_url=takt.service.url, timeout=30) as http:
        for n in range(200):
            assert http.get("/v1/policies", headers={"X-API-Key": f"takt_{n}"}).status_code == 401
    assert takt.ask(ada, "m-1")["verdict"] == "allow"


def raw(takt: Caller, *headers: bytes) -> tuple[int, bytes]:
    """The status and body of an answer to a GET with exactly these header lines."""
    where = urlsplit(takt.service.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=60) as connection:
        head = [b"GET /v1/policies HTTP/1.1", b"Host: takt", b"Connection: close", *headers]
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")
        answer = b"".join(_received(connection))
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), body


def _received(connection: socket.socket) -> Iterator[bytes]:
    while chunk := connection.recv(65_536):
        yield chunk


class TestHeaders:
    def test_a_key_is_taken_from_either_header_in_any_case(self, takt: Caller) -> None:
        key = takt.service.key.encode()
        for header in (
            b"Authorization: Bearer " + key,
            b"authorization: bearer   " + key + b"  ",
            b"X-API-Key: " + key,
            b"x-api-key:" + key,
        ):
            assert raw(takt, header)[0] == 200, header

    def test_two_keys_are_one_too_many(self, takt: Caller) -> None:
        key = takt.service.key.encode()
        bearer, plain = b"Authorization: Bearer " + key, b"X-API-Key: " + key
        for headers in ((bearer, bearer), (plain, plain), (bearer, plain), (b"Authorization: Bearer wrong", plain)):
            assert raw(takt, *headers)[0] == 401, headers

    @pytest.mark.parametrize(
        "header",
        [
            b"X-API-Key:",
            b"X-API-Key:    ",
            b"Authorization: Bearer",
            b"Authorization: Bearer ",
            b"Authorization:",
            b"Authorization: Basic dGFrdDp0YWt0",
            b"Authorization: takt_key_without_scheme",
            b"X-API-Key: \xff\xfe\xe4\xf6",
            "X-API-Key: schlüssel🗝".encode(),
            b"X-API-Key: " + b"k" * 60_000,
            b"X-API-Key: ' OR 1=1 --",
        ],
        ids=lambda header: repr(header[:30]),
    )
    def test_what_is_no_key_is_refused(self, takt: Caller, header: bytes) -> None:
        status, body = raw(takt, header)
        assert status == 401
        assert b'"code":"unauthenticated"' in body

    @pytest.mark.parametrize("header", [b"X-API-Key: a\x00b", b"X-API-Key\x00: a", b"Content-Length: 1x"])
    def test_what_is_no_http_is_refused(self, takt: Caller, header: bytes) -> None:
        assert raw(takt, header)[0] == 400

    def test_every_answer_is_hardened(self, takt: Caller) -> None:
        for response in (takt.http.get("/v1/policies"), takt.http.get("/nowhere"), takt.http.get("/livez")):
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in response.headers["content-security-policy"]
