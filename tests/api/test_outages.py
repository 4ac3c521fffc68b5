"""Invariant 11 over HTTP: where Takt cannot know it does not allow, says when to come again, and recovers by itself.

And trap 2: nothing is answered before the commit has returned.
"""

import json
import select
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from engine.settings import Settings
from engine.store import embedded
from tests.api.caller import POLICY, Caller, ask, at_once, eventually, is_problem, row_counts
from tests.api.wire import Wire, wire_to
from tests.conftest import clean_database
from tests.service import serving

SETTINGS = Settings(deadline_ms=1_500, bulk_deadline_ms=1_500)
ADDRESS = {"channel": "email", "address": "eve@example.com"}
SESSION = {"id": "s-1", "source": "web", "type": "session", "at": "2026-01-01T00:00:00Z", "customer_id": "eve"}
_HELD = 4_711
_WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


@pytest.fixture(scope="module")
def wired(server: embedded.Server, template: str) -> Generator[tuple[Caller, Wire, str]]:
    """A caller of a service behind a wire, the wire, and the database's own address."""
    with (
        clean_database(server, template) as url,
        wire_to(url) as wire,
        serving(wire.url, SETTINGS) as service,
        Caller(service) as takt,
    ):
        service.activate(POLICY)
        yield takt, wire, url
        wire.mend()


def facts(url: str) -> dict[str, int]:
    """How many rows there are, apart from labels: those are made before the transaction that uses them."""
    return {table: count for table, count in row_counts(url).items() if table != "labels"}


def recovered(takt: Caller, customer_id: str) -> None:
    eventually(lambda: takt.send("GET", "/readyz").status_code == 200)
    eventually(lambda: takt.send("POST", "/v1/decisions", ask(customer_id, "after")).status_code == 200)


def test_without_a_database_nothing_is_allowed_and_it_recovers_by_itself(
    wired: tuple[Caller, Wire, str], ada: str
) -> None:
    takt, wire, url = wired
    assert takt.ask(f"{ada}-0", "m-1")["verdict"] == "allow"
    before = facts(url)
    wire.cut()
    answers = at_once(lambda n=n: takt.send("POST", "/v1/decisions", ask(f"{ada}-{n}", "m-1")) for n in range(10, 22))
    for response in answers:
        assert is_problem(response, 503)
        assert int(response.headers["Retry-After"]) >= 1
    batch = takt.send("POST", "/v1/decisions/batch", {"asks": [ask(f"{ada}-30", "m-1")]})
    assert is_problem(batch, 503)
    assert int(batch.headers["Retry-After"]) >= 1
    assert takt.send("GET", "/livez").status_code == 200
    ready = takt.send("GET", "/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"] != "ok") == (503, True)
    assert facts(url) == before
    wire.mend()
    recovered(takt, ada)


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("POST", "/v1/decisions", ask("eve", None, mode="peek")),
        ("POST", "/v1/contacts/confirm", {"contacts": [{"customer_id": "eve", "message_id": "m"}]}),
        ("POST", "/v1/events", {"events": [SESSION]}),
        ("PUT", "/v1/customers/eve", {"time_zone": "UTC"}),
        ("PUT", "/v1/customers/eve", {"addresses": [ADDRESS]}),
        ("GET", "/v1/customers/eve", None),
        ("GET", "/v1/customers/eve/decisions", None),
        ("POST", "/v1/suppressions", {"customer_id": "eve"}),
        ("GET", "/v1/policies", None),
        ("POST", "/v1/policies", {"yaml": POLICY}),
        ("POST", "/v1/pauses", {"name": "outage"}),
    ],
)
def test_without_a_database_every_route_says_when_to_come_again(
    wired: tuple[Caller, Wire, str], ada: str, method: str, path: str, document: object
) -> None:
    takt, wire, _ = wired
    recovered(takt, ada)
    wire.cut()
    try:
        response = takt.send(method, path, document)
        assert is_problem(response, 503)
        assert int(response.headers["Retry-After"]) >= 1
    finally:
        wire.mend()


def test_a_database_that_falls_silent_is_waited_for_until_the_deadline(
    wired: tuple[Caller, Wire, str], ada: str
) -> None:
    takt, wire, _ = wired
    recovered(takt, ada)
    calls: list[tuple[str, str, object]] = [
        ("POST", "/v1/decisions", ask(ada, "m-1")),
        ("POST", "/v1/decisions", ask(ada, None, mode="peek")),
        ("POST", "/v1/decisions/batch", {"asks": [ask(ada, "m-2")]}),
        ("POST", "/v1/events", {"events": [SESSION]}),
        ("PUT", f"/v1/customers/{ada}", {"addresses": [ADDRESS]}),
        ("GET", f"/v1/customers/{ada}", None),
        ("GET", f"/v1/customers/{ada}/decisions", None),
    ]
    wire.stall()
    began = time.monotonic()
    try:
        for response in at_once(lambda call=call: takt.send(*call) for call in calls):
            assert is_problem(response, 503)
        assert takt.send("GET", "/readyz").status_code == 503
        assert is_problem(takt.send("POST", "/v1/decisions", ask(ada, "m-1")), 503), "nor is its key known any more"
        assert time.monotonic() - began < 60
    finally:
        wire.mend()
    recovered(takt, f"{ada}-2")


def test_ended_connections_are_replaced_without_a_fault(wired: tuple[Caller, Wire, str], ada: str) -> None:
    takt, _, url = wired
    recovered(takt, ada)
    name = urlsplit(url).path.strip("/")
    for round_ in range(5):
        at_once(lambda n=n: takt.send("GET", f"/v1/customers/{n}") for n in range(6))  # several connections are open
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )
        answers = at_once(
            lambda n=n, id_=f"{ada}-{round_}": takt.send("POST", "/v1/decisions", ask(f"{id_}-{n}", "m-1"))
            for n in range(8)
        )
        for response in answers:
            assert response.status_code == 200 or is_problem(response, 503)
    recovered(takt, f"{ada}-end")


@contextmanager
def at_commit(url: str, body: str) -> Generator[None]:
    """Run PL/pgSQL whenever a transaction that changed an account commits."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0"
            f" AS $$ BEGIN {body}; RETURN NULL; END $$".encode()
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION at_commit()"
        )
        try:
            yield
        finally:
            connection.execute("SET lock_timeout = 0; DROP FUNCTION at_commit CASCADE")


def request(takt: Caller, path: str, document: object) -> socket.socket:
    """A request on its way, its answer not read yet."""
    where = urlsplit(takt.service.url)
    body = json.dumps(document).encode()
    connection = socket.create_connection((where.hostname or "", where.port or 0), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: takt\r\nX-API-Key: {takt.service.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_nothing_is_answered_before_the_commit_has_returned(wired: tuple[Caller, Wire, str], ada: str) -> None:
    takt, _, url = wired
    recovered(takt, f"{ada}-0")
    takt.ask(ada, "m-1")
    before = facts(url)
    paths: list[tuple[str, object]] = [
        ("/v1/decisions", ask(ada, "m-2", mode="check")),
        ("/v1/contacts/confirm", {"contacts": [{"customer_id": ada, "message_id": "m-1"}]}),
        ("/v1/suppressions", {"customer_id": ada}),
    ]
    with at_commit(url, f"PERFORM pg_advisory_xact_lock({_HELD})"), psycopg.connect(url, autocommit=True) as holder:
        for path, document in paths:
            holder.execute("SELECT pg_advisory_lock(%s)", (_HELD,))
            with request(takt, path, document) as connection:
                eventually(lambda: holder.execute(_WAITING, (_HELD,)).fetchone())
                assert select.select([connection], [], [], 0.2)[0] == [], "silent while the commit is on its way"
                assert facts(url) == before
                holder.execute("SELECT pg_advisory_unlock(%s)", (_HELD,))
                assert connection.recv(12) == b"HTTP/1.1 200"
            after = facts(url)
            assert after != before
            before = after


@pytest.mark.parametrize(
    ("failure", "status"),
    [("RAISE 'no'", 500), ("RAISE 'full' USING ERRCODE = '53100'", 503), ("RAISE 'away' USING ERRCODE = '57P01'", 503)],
)
def test_what_could_not_be_committed_is_not_answered_with_success(
    wired: tuple[Caller, Wire, str], ada: str, failure: str, status: int
) -> None:
    takt, _, url = wired
    recovered(takt, f"{ada}-0")
    with at_commit(url, failure):
        before = facts(url)
        assert is_problem(takt.send("POST", "/v1/decisions", ask(ada, "m-1")), status)
        suppression = takt.send("POST", "/v1/suppressions", {"customer_id": ada})
        assert is_problem(suppression, status)
        assert facts(url) == before
    assert takt.ask(ada, "m-1")["verdict"] == "allow"


def test_a_client_that_goes_away_takes_nobody_with_it(wired: tuple[Caller, Wire, str], ada: str) -> None:
    takt, _, url = wired
    recovered(takt, f"{ada}-0")
    with at_commit(url, f"PERFORM pg_advisory_xact_lock({_HELD})"), psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (_HELD,))
        for n in range(6):
            request(takt, "/v1/decisions", ask(f"{ada}-{n}", "m-1")).close()
        stays = request(takt, "/v1/decisions", ask(f"{ada}-stays", "m-1"))
        holder.execute("SELECT pg_advisory_unlock(%s)", (_HELD,))
        with stays:
            assert stays.recv(12) == b"HTTP/1.1 200"
    assert takt.ask(f"{ada}-stays", "m-1")["replayed"]


def test_a_queue_that_is_full_refuses_at_once(database_url: str, ada: str) -> None:
    with serving(database_url, Settings(queue_asks=1, deadline_ms=5_000)) as service, Caller(service) as takt:
        service.activate(POLICY)
        held = at_commit(database_url, f"PERFORM pg_advisory_xact_lock({_HELD})")
        with held, psycopg.connect(database_url, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (_HELD,))
            sent = [request(takt, "/v1/decisions", ask(f"{ada}-{n}", "m-1")) for n in range(12)]
            refused = eventually(lambda: select.select(sent, [], [], 1.0)[0])
            for connection in refused:
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(65_536)
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503")
                assert b"retry-after: 1" in head.lower()
                assert b'"overloaded"' in body
            holder.execute("SELECT pg_advisory_unlock(%s)", (_HELD,))
            for connection in sent:
                connection.close()
        assert httpx.get(f"{service.url}/readyz", timeout=60).status_code == 200
