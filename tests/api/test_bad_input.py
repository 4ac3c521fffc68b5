"""Bad input: a clear error that names the place; nothing changed, nothing lost, never a fault."""

import gzip
import json
import socket
from collections.abc import Generator
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api.limits import SINGLE_BYTES
from engine.store.labels import LABELS_MAX
from tests.api.bad_values import LISTS, MARK, SINGLES, bad_values, places
from tests.api.caller import PROBLEM_JSON, Caller, ask, is_problem, row_counts


@pytest.fixture(scope="module", autouse=True)
def nothing_lost(takt: Caller) -> Generator[None]:
    takt.ask("eve", "m-1")
    yield
    assert takt.customer("eve")["contacts"][0]["state"] == "reserved"


def send(takt: Caller, method: str, path: str, body: bytes | str, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else body.encode()
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return takt.http.request(method, path, content=content, headers=given)


@pytest.mark.parametrize("name", SINGLES)
def test_each_field_with_a_bad_value_is_named(takt: Caller, name: str) -> None:
    method, route, good = SINGLES[name]
    before = row_counts(takt.service.database_url)
    for path, template in places(good):
        for value in bad_values(path):
            response = send(takt, method, route, template.replace(f'"{MARK}"', value))
            assert is_problem(response, 422, "invalid"), (path, value)
            problems = response.json()["problems"]
            assert all(each["path"].startswith(path) for each in problems), (path, value, problems)
            assert all(len(each["found"]) < 300 and each["expected"] for each in problems), problems
    assert row_counts(takt.service.database_url) == before


@pytest.mark.parametrize("name", LISTS)
def test_in_a_list_only_the_item_with_a_bad_value_errs(takt: Caller, name: str) -> None:
    route, answers, good = LISTS[name]
    of = {"releases": "contacts", "records": "contacts"}.get(name, name)
    sibling = json.dumps({**good, "customer_id": f"sibling-{name}"})
    for path, template in places(good):
        items = [template.replace(f'"{MARK}"', value) for value in bad_values(path)]
        body = f'{{"{of}": [{sibling}, {", ".join(items)}, {sibling}]}}'
        response = send(takt, "POST", route, body)
        assert response.status_code == 200, response.text
        first, *wrong, last = response.json()[answers]
        for each in (first, last):
            assert "problems" not in each.get("error", {}), each
        for index, result in enumerate(wrong, 1):
            problems = result["error"]["problems"]
            assert result["error"]["status"] == 422
            assert all(each["path"].startswith(f"{of}[{index}].{path}") for each in problems), (
                items[index - 1],
                problems,
            )


@pytest.mark.parametrize("name", [*SINGLES, *LISTS])
def test_a_body_that_is_no_such_document_is_refused(takt: Caller, name: str) -> None:
    if name in SINGLES:
        method, route, good = SINGLES[name]
    else:
        method, (route, _, item) = "POST", LISTS[name]
        good = {{"releases": "contacts", "records": "contacts"}.get(name, name): [item]}
    text = json.dumps(good)
    key = next(iter(good))
    before = row_counts(takt.service.database_url)
    bodies: list[bytes] = [
        b"",
        b"  ",
        b"null",
        b"[]",
        b"42",
        b'"text"',
        b"nonsense",
        b"\x00",
        b"{",
        text[: len(text) // 2].encode(),
        text[:-1].encode(),
        text.encode() + b"}",
        text.encode() + text.encode(),
        b"\xff\xfe" + text.encode("utf-16-le"),
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("a", "\xff", 1).encode("latin-1"),
        text.replace('"', "'").encode(),
        gzip.compress(text.encode()),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        (text[:-1] + ', "deep": ' + "[" * 900 + "]" * 900 + "}").encode(),
        (text[:-1] + ', "deep": ' + "[" * 1_020 + "]" * 1_020 + "}").encode(),
        (text[:-1] + ', "unknown": 1}').encode(),
        (text[:-1] + f', "{"u" * 10_000}": 1}}').encode(),
        (text[:-1] + ', "\\ud800": 1}').encode(),
        (text[:-1] + ', "__proto__": {}}').encode(),
        (text[:-1] + "," + ",".join(f'"{n}": 0' for n in range(2_000)) + "}").encode(),
        (text[:-1] + f', "{key}": {json.dumps(good[key])}}}').encode(),
        (text[:-1] + f', "{key}" : {json.dumps(good[key])}}}').encode(),
        (text[:-1] + f', "\\u{ord(key[0]):04x}{key[1:]}": {json.dumps(good[key])}}}').encode(),
    ]
    for body in bodies:
        response = send(takt, method, route, body)
        assert is_problem(response, 422), body[:80]
        assert len(response.content) < 20_000, "an error does not grow with what it complains of"
    for kind in ("application/xml", "multipart/form-data; boundary=x", "text/csv", "application/x-yaml", "image/png"):
        assert is_problem(send(takt, method, route, text, Content_Type=kind), 415, "unsupported_media_type")
    packed = send(takt, method, route, gzip.compress(text.encode()), Content_Encoding="gzip")
    assert is_problem(packed, 415, "unsupported_media_type")
    assert row_counts(takt.service.database_url) == before


def test_json_is_read_as_json_whatever_simple_clients_call_it(takt: Caller) -> None:
    body = json.dumps(ask("eve", None, mode="peek"))
    for kind in (
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "text/plain",
        "APPLICATION/JSON",
    ):
        assert send(takt, "POST", "/v1/decisions", body, Content_Type=kind).status_code == 200
    spaced = body.replace('":', '" \n:')
    assert send(takt, "POST", "/v1/decisions", spaced).status_code == 200
    colons = json.dumps(ask('eve":":', None, mode="peek", campaign='\\": :"'))
    assert send(takt, "POST", "/v1/decisions", colons).json()["customer_id"] == 'eve":":'


@pytest.mark.parametrize("name", ["asks", "customers", "contacts"])
def test_a_list_that_is_none_is_refused_by_its_place(takt: Caller, name: str) -> None:
    route = LISTS[name][0]
    for items in ("[]", "{}", "null", '"a"', json.dumps([0] * 10_001)):
        response = send(takt, "POST", route, f'{{"{name}": {items}}}')
        assert is_problem(response, 422, "invalid")
        assert response.json()["problems"][0]["path"] == name
    assert is_problem(send(takt, "POST", route, f'{{"{name}": [], "{name}s": []}}'), 422, "invalid")


def test_a_name_too_many_is_refused_and_known_ones_are_answered(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-0", campaign="known")
    with psycopg.connect(takt.service.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO labels (number, name) VALUES (%s, 'the latest')", (LABELS_MAX,))
        try:
            refused = takt.send("POST", "/v1/decisions", ask(ada, "m-1", campaign="new"))
            known, new = takt.ask_all(ask(ada, "m-2", campaign="known"), ask(ada, "m-3", campaign="new"))
        finally:
            connection.execute("DELETE FROM labels WHERE number = %s", (LABELS_MAX,))
    assert is_problem(refused, 422, "too_many_names")
    assert known["verdict"] == "defer"
    assert (new["error"]["type"], new["error"]["status"]) == ("urn:takt:too_many_names", 422)


def test_a_million_mistakes_are_named_as_many_and_not_listed(takt: Caller) -> None:
    consents = [{**{str(n): 0 for n in range(3_000)}} for _ in range(100)]
    response = takt.send("PUT", "/v1/customers/eve", {"consents": consents})
    assert is_problem(response, 422, "invalid")
    assert "problems" in response.json()["problems"][0]["found"]


def answer_to(takt: Caller, head: str, *body: bytes) -> tuple[int, bytes]:
    """What is answered to a request whose body has not ended."""
    where = urlsplit(takt.service.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=30) as connection:
        start = f"POST /v1/decisions HTTP/1.1\r\nHost: takt\r\nX-API-Key: {takt.service.key}\r\n{head}\r\n\r\n"
        connection.sendall(start.encode())
        for chunk in body:
            connection.sendall(chunk)
        answer = b""
        while not answer.endswith(b"}"):
            received = connection.recv(65_536)
            assert received, answer
            answer += received
    return int(answer.split(b" ", 2)[1]), answer


def test_a_body_over_its_limit_is_refused_before_it_is_read(takt: Caller) -> None:
    status, answer = answer_to(takt, "Content-Length: 10000000000")
    assert (status, PROBLEM_JSON.encode() in answer, b'"body_too_large"' in answer) == (413, True, True)


def test_a_body_that_grows_past_its_limit_is_refused_in_the_middle(takt: Caller) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    status, answer = answer_to(takt, "Transfer-Encoding: chunked", *[chunk] * (SINGLE_BYTES // 0x10000 + 1))
    assert (status, b'"body_too_large"' in answer) == (413, True)
    body = " " * (16 * 1024 * 1024 + 1)
    assert is_problem(send(takt, "POST", "/v1/decisions/batch", body), 413, "body_too_large")


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        ["a" * 201, "a\0b", "a\nb", "\x7f", "%00", "%ED%A0%80", "%FF", "%C3%28", "a%0Ab", "a" * 60_000, "%2F" * 201],
        ids=lambda name: ascii(name[:12]),
    )
    def test_an_id_that_is_none_is_refused(self, takt: Caller, name: str) -> None:
        path = "/v1/customers/" + (name if "%" in name else quote(name, safe=""))
        for method, rest, body in (("GET", "", ""), ("GET", "/decisions", ""), ("PUT", "", "{}")):
            response = send(takt, method, path + rest, body)
            assert is_problem(response, 422, "invalid")
            assert response.json()["problems"][0]["path"] in ("customer_id", "path")

    def test_dots_and_slashes_lead_nowhere_else(self, takt: Caller) -> None:
        for path in (
            "/v1/customers/eve/../../policies",
            "/v1/customers/%2e%2e/policies",
            "//v1/policies",
            "/v1//policies",
        ):
            assert takt.http.get(takt.service.url + path).status_code in (404, 200)
        assert takt.http.get("/v1/customers/eve/%2E%2E/policies").status_code == 404


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(
        ["email", "eve", "UTC", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "\ud800", "\0", "release"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def answered(takt: Caller, method: str, route: str, body: bytes) -> None:
    response = send(takt, method, route, body)
    assert response.status_code < 500, response.text
    if response.is_error:
        assert is_problem(response, response.status_code)


@FUZZ
@given(st.sampled_from(sorted(SINGLES)), st.data())
def test_no_document_is_a_fault(takt: Caller, name: str, data: st.DataObject) -> None:
    method, route, good = SINGLES[name]
    # The policy in force must stay what the other tests know.
    route = "/v1/policies/validate" if route == "/v1/policies" else route
    document = dict(good)
    for field in data.draw(st.sets(st.sampled_from(sorted(good)), min_size=1, max_size=3)):
        document[field] = data.draw(JSON)
    if route == "/v1/pauses":
        document["until"] = "2026-01-01T00:00:01Z"
    document["customer_id"] = "fuzz" if "customer_id" in good else document.get("customer_id")
    if document["customer_id"] is None:
        del document["customer_id"]
    answered(takt, method, route.replace("/eve", "/fuzz"), json.dumps(document).encode())


@FUZZ
@given(st.sampled_from(sorted(LISTS)), st.lists(JSON, max_size=4), st.data())
def test_no_list_is_a_fault(takt: Caller, name: str, items: list[Any], data: st.DataObject) -> None:
    route, _, good = LISTS[name]
    of = {"releases": "contacts", "records": "contacts"}.get(name, name)
    field = data.draw(st.sampled_from(sorted(good)))
    changed = {**good, field: data.draw(JSON), "customer_id": "fuzz"}
    answered(takt, "POST", route, json.dumps({of: [*items, changed]}).encode())


@FUZZ
@given(st.sampled_from(sorted({route for _, route, _ in SINGLES.values()})), st.binary(max_size=200))
def test_no_bytes_are_a_fault(takt: Caller, route: str, body: bytes) -> None:
    method = "PUT" if "customers" in route else "POST"
    answered(takt, method, route, body)


@FUZZ
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.sampled_from(["", "/decisions"]))
def test_no_path_is_a_fault(takt: Caller, name: str, rest: str) -> None:
    response = takt.http.get(f"{takt.service.url}/v1/customers/{quote(name, safe='')}{rest}")
    assert response.status_code in (200, 404, 422)


@pytest.mark.parametrize("path", ["/v1%2Fdecisions", "/v1/decisions%2Fbatch"])
def test_a_slash_that_is_encoded_leads_to_no_route(takt: Caller, path: str) -> None:
    assert takt.http.post(takt.service.url + path, json={}).status_code == 404
