"""What one process acknowledged binds the others at once: activations, pauses, unsubscribes; keys within a second."""

import threading
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from engine.core.tokens import Scope
from engine.store import embedded
from tests.api.caller import POLICY, Caller, ask, at_once, eventually, is_problem, make_key, revoke_key
from tests.api.processes import running
from tests.api.test_outages import at_commit
from tests.conftest import clean_database

PAIR = tuple[Caller, Caller]


@pytest.fixture(scope="module")
def pair(server: embedded.Server, template: str) -> Generator[PAIR]:
    with clean_database(server, template) as url, ExitStack() as stack:
        services = at_once([lambda: stack.enter_context(running(url))] * 2)
        first, second = (stack.enter_context(Caller(each)) for each in services)
        first.call("POST", "/v1/policies", {"yaml": POLICY})
        yield first, second


def test_an_activation_binds_the_next_ask_in_every_process(pair: PAIR, ada: str) -> None:
    for round_ in range(10):
        acting, asking = pair if round_ % 2 else reversed(pair)
        strict = POLICY.replace("limit: 1,", f"limit: {round_ % 2},")
        ruleset = acting.call("POST", "/v1/policies", {"yaml": strict})["ruleset"]
        answer = asking.ask(f"{ada}-{round_}", "m-1")
        assert (answer["ruleset"], answer["verdict"]) == (ruleset, "allow" if round_ % 2 else "deny")
    pair[0].call("POST", "/v1/policies", {"yaml": POLICY})


def test_a_pause_binds_the_next_ask_in_every_process(pair: PAIR, ada: str) -> None:
    first, second = pair
    for round_ in range(5):
        first.call("POST", "/v1/pauses", {"name": "outage"})
        assert second.ask(f"{ada}-{round_}", "m-1")["verdict"] == "deny"
        first.call("DELETE", "/v1/pauses/outage")
        assert second.ask(f"{ada}-{round_}", "m-1")["verdict"] == "allow"


def test_an_unsubscribe_binds_the_next_ask_in_every_process(pair: PAIR, ada: str) -> None:
    first, second = pair
    for round_ in range(10):
        customer_id = f"{ada}-{round_}"
        assert second.ask(customer_id, "m-1")["state"] == "reserved"
        assert first.suppress(customer_id)["revoked"] == 1
        assert second.ask(customer_id, "m-1")["reasons"][0]["code"] == "revoked"
        assert second.ask(customer_id, "m-2", channel="push")["reasons"][0]["code"] == "suppressed"


def test_a_budget_is_one_over_all_processes(pair: PAIR, ada: str) -> None:
    first, second = pair
    for round_ in range(5):
        customer_id = f"{ada}-{round_}"
        calls = [lambda n=n, id_=customer_id: pair[n % 2].ask(id_, f"m-{n}")["verdict"] for n in range(16)]
        assert at_once(calls).count("allow") == 1
        same = [lambda n=n, id_=customer_id: pair[n % 2].ask(id_, "push-1", channel="push") for n in range(16)]
        assert [each["replayed"] for each in at_once(same)].count(False) == 1
        assert first.used(customer_id) == second.used(customer_id) == 1
        resolved = at_once([lambda n=n, id_=customer_id: pair[n % 2].confirm(id_, "push-1") for n in range(16)])
        assert [each["applied"] for each in resolved].count(True) == 1


def test_a_revoked_key_is_refused_within_a_second_in_every_process(pair: PAIR) -> None:
    url = pair[0].service.database_url
    made = make_key(url, Scope.READ)
    with Caller(pair[0].service, made.secret) as first, Caller(pair[1].service, made.secret) as second:
        for caller in (first, second):
            assert caller.send("GET", "/v1/policies").status_code == 200
        revoke_key(url, made.key_id)
        refused = time.monotonic() + 1.0  # who asks later is refused; a slow machine only asks later still
        while time.monotonic() < refused:
            for caller in (first, second):
                caller.send("GET", "/v1/policies")  # so that each process has just heard of the key
        for caller in (first, second):
            assert caller.send("GET", "/v1/policies").status_code == 401


def test_a_fault_is_logged_by_its_kind_and_place_and_names_nobody(pair: PAIR, ada: str, tmp_path: Path) -> None:
    url = pair[0].service.database_url
    fault = "RAISE 'no % today', NEW.customer_id USING DETAIL = NEW.customer_id"
    with running(url, tmp_path / "log") as service, Caller(service) as takt, at_commit(url, fault):
        response = takt.send("POST", "/v1/decisions", ask(ada, "secret-message", campaign="secret-campaign"))
        assert is_problem(response, 500)
        assert ada not in response.text
    said = (tmp_path / "log").read_text()
    assert "psycopg.errors.RaiseException" in said
    assert "settle.py" in said
    for secret in (ada, "secret", takt.service.key, "takt_"):
        assert secret not in said, said


def test_keys_rotate_under_load_and_no_valid_request_is_refused(pair: PAIR, ada: str) -> None:
    url = pair[0].service.database_url
    current = make_key(url, Scope.DECIDE)
    seen: list[int] = []
    ended = threading.Event()

    def load(caller: Caller) -> None:
        n = 0
        with httpx.Client(base_url=caller.service.url, timeout=30) as http:
            while not ended.is_set():
                n += 1
                body = ask(f"{ada}-{n}", None, mode="check")
                seen.append(http.post("/v1/decisions", json=body, headers={"X-API-Key": current.secret}).status_code)

    threads = [threading.Thread(target=load, args=(each,)) for each in (*pair, *pair)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            old, current = current, make_key(url, Scope.DECIDE)
            was = len(seen)
            eventually(lambda was=was: len(seen) > was + 40)  # every request under way has taken the new key by now
            revoke_key(url, old.key_id)
            was = len(seen)
            eventually(lambda was=was: len(seen) > was + 40)
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
    assert set(seen) == {200}
    assert len(seen) > 300
