"""Being told all, being merged, being forgotten, over HTTP and by command (invariants 13 and 14)."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from engine.core.tokens import Scope
from tests.api.caller import POLICY, Caller
from tests.api.processes import running
from tests.cli.command import takt as command
from tests.operations.persons import dump
from tests.service import Service

WHO = "canary/9d2e@example.com"
PATH = "/v1/customers/" + quote(WHO, safe="")


def fill(takt: Caller) -> None:
    """All that HTTP takes about a customer."""
    takt.call(
        "PUT",
        PATH,
        {
            "time_zone": "Europe/Berlin",
            "attributes": {"nickname": "canary-nick"},
            "consents": [{"channel": "email", "given": True, "at": "2026-01-01T00:00:00Z", "source": "canary-form"}],
            "addresses": [{"channel": "email", "address": "canary-mail@example.com"}],
        },
    )
    ask = {"customer_id": WHO, "channel": "email", "topic": "newsletter"}
    takt.call("POST", "/v1/decisions", {**ask, "message_id": "canary-message-1"})
    takt.call("POST", "/v1/decisions", {**ask, "message_id": "canary-message-2"})
    takt.call("PUT", f"{PATH}/preferences", {"preferences": [{"channel": "push", "limit": 1}]})
    event = {"customer_id": WHO, "source": "shop", "type": "purchase", "at": "2026-01-02T00:00:00Z"}
    told = {"id": "canary-event", "value": 3, "properties": {"name": "canary-basket"}}
    takt.call("POST", "/v1/events", {"events": [{**event, **told}]})
    takt.call("POST", "/v1/suppressions", {"customer_id": WHO, "reason": "by_hand", "source": "canary-desk"})


def test_no_table_no_log_and_no_export_has_anything_of_who_was_erased(service: Service, tmp_path: Path):
    service.activate(POLICY)
    log = tmp_path / "log"
    with running(service.database_url, log) as process, Caller(process) as takt:
        fill(takt)
        told = json.dumps(takt.call("GET", f"{PATH}/export"))
        assert all(f"canary-{each}" in told for each in ("nick", "form", "message-1", "event", "basket", "desk"))
        assert "canary-mail" not in told + dump(service.database_url)
        done = takt.call("DELETE", PATH)
        assert (done["changed"], done["contacts"]) == (True, 1)
        assert done["events"] > 1, "what Takt keeps of whom it may write to goes with the rest"
        assert takt.send("GET", f"{PATH}/export").status_code == 404
        assert takt.send("GET", PATH).status_code == 404
        answer = takt.call("POST", "/v1/decisions", {"customer_id": WHO, "message_id": "canary-message-3",
                                                     "channel": "email", "topic": "newsletter"})  # fmt: skip
        assert (answer["verdict"], answer["reasons"][0]["code"]) == ("deny", "suppressed")
        (told_again,) = takt.call("POST", "/v1/events", {"events": [{"customer_id": WHO, "source": "shop",
            "id": "canary-late", "type": "purchase", "at": "2026-01-02T00:00:00Z"}]})["results"]  # fmt: skip
        assert told_again["error"]["code"] == "erased"
        assert takt.send("PUT", PATH, {"time_zone": "Europe/Paris"}).status_code == 409
        assert takt.call("DELETE", PATH)["changed"] is False
    assert "canary" not in dump(service.database_url)
    assert "canary" not in log.read_text()


def test_a_merged_customer_answers_for_both(shared_service: Service):
    shared_service.activate(POLICY)
    with Caller(shared_service) as takt:
        ask = {"channel": "email", "topic": "newsletter", "message_id": "m1"}
        takt.call("POST", "/v1/decisions", {"customer_id": "http-other", **ask})
        done = takt.call("POST", "/v1/customers/http-one/merge", {"from": "http-other"})
        assert (done["changed"], done["contacts"], done["customer_id"]) == (True, 1, "http-one")
        again = takt.call("POST", "/v1/decisions", {"customer_id": "http-other", **ask})
        assert (again["customer_id"], again["replayed"]) == ("http-one", True)
        assert takt.call("GET", "/v1/customers/http-other")["customer_id"] == "http-one"
        assert takt.call("POST", "/v1/customers/http-one/merge", {"from": "http-other"})["changed"] is False
        for into, other in (("http-one", "http-one"), ("http-other", "http-one"), ("http-other", "http-third")):
            assert takt.send("POST", f"/v1/customers/{into}/merge", {"from": other}).status_code == 409
        for wrong in ({}, {"from": ""}, {"from": "a", "to": "b"}, {"from": 3}):
            assert takt.send("POST", "/v1/customers/http-one/merge", wrong).status_code == 422


@pytest.mark.parametrize("scope", [Scope.READ, Scope.INGEST, Scope.DECIDE])
def test_only_who_manages_may_export_merge_or_erase(shared_service: Service, scope: Scope):
    with Caller(shared_service, shared_service.make_key(scope)) as takt:
        for method, path in (("GET", "/export"), ("POST", "/merge"), ("DELETE", "")):
            assert takt.send(method, f"/v1/customers/ada{path}", {"from": "b"}).status_code == 403


def test_commands_export_merge_and_erase(shared_service: Service):
    with Caller(shared_service) as takt:
        for who in ("cli-one", "cli-other"):
            takt.call("PUT", f"/v1/customers/{who}", {"time_zone": "Europe/Berlin"})
    merged = command(shared_service, "customers", "merge", "cli-one", "cli-other")
    assert merged.out.startswith("cli-other is cli-one from now on: 0 contacts and 0 events came along")
    told = json.loads(command(shared_service, "customers", "export", "cli-other").out)
    assert told["known_as"] == ["cli-one", "cli-other"]
    refused = command(shared_service, "customers", "erase", "cli-one")
    assert refused.code == 2
    assert command(shared_service, "customers", "erase", "cli-one", "--yes").out.startswith("cli-one is erased")
    again = json.loads(command(shared_service, "customers", "erase", "cli-one", "--yes", "--json").out)
    assert again["changed"] is False
    assert "nothing is on file" in command(shared_service, "customers", "export", "cli-one").err
