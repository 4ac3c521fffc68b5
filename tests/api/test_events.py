"""`POST /v1/events`: every form, what became of each event, and what they did."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from engine.core.tokens import Scope
from tests.api.caller import DAY_S, POLICY, Caller, advance_clock, is_problem, row_counts
from tests.service import Service

CLOUD_JSON = "application/cloudevents+json"
CLOUD_BATCH = "application/cloudevents-batch+json"


def ago(**since: float) -> str:
    return (datetime.now(UTC) - timedelta(**since)).isoformat()


def event(customer_id: str | None, type_: str = "session", **more: Any) -> dict[str, Any]:
    given = {"id": f"{type_}-1", "source": f"test-{customer_id}", "type": type_, "at": ago(hours=1)}
    return given | ({} if customer_id is None else {"customer_id": customer_id}) | more


def cloud(customer_id: str, type_: str = "session", **data: Any) -> dict[str, Any]:
    given = {"specversion": "1.0", "id": f"{type_}-1", "source": f"test-{customer_id}", "type": type_}
    return given | {"time": ago(hours=1), "subject": customer_id, "data": data}


def post(takt: Caller, body: object, kind: str = "application/json", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return takt.http.post("/v1/events", content=content, headers=given)


def bring(takt: Caller, *events: dict[str, Any]) -> list[Any]:
    """What became of each: a result, or the places of its problems."""
    results = takt.call("POST", "/v1/events", {"events": events})["results"]
    return [each.get("result") or [problem["path"] for problem in each["error"]["problems"]] for each in results]


def reached(takt: Caller, customer_id: str, *addresses: str) -> Any:
    listed = [{"channel": "email", "address": each} for each in addresses]
    return takt.call("PUT", f"/v1/customers/{customer_id}", {"addresses": listed})


def rows(service: Service, query: str) -> list[Any]:
    with psycopg.connect(service.database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def kept(takt: Caller, customer_id: str) -> list[str]:
    """The types of a customer's events that were told; those with a colon follow from them."""
    query = f"SELECT l.name FROM events e JOIN labels l ON l.number = e.kind WHERE customer_id = '{customer_id}'"
    return sorted(name for (name,) in rows(takt.service, query) if ":" not in name)


def reasons(takt: Caller, customer_id: str) -> list[str]:
    return [each["reason"] for each in takt.customer(customer_id)["suppressions"]]


@pytest.fixture
def somewhere() -> str:
    """An address of the test's own."""
    return f"{uuid.uuid4().hex[:12]}@example.com"


def test_events_are_counted_and_answered_in_their_order(takt: Caller, ada: str) -> None:
    events = [event(ada), event(ada, "Session"), event(ada), event(ada, "purchase", value=9.5)]
    answer = takt.call("POST", "/v1/events", {"events": events})
    assert [answer[name] for name in ("accepted", "duplicates", "unresolved", "unplaced", "failed")] == [2, 1, 0, 0, 1]
    assert [each.get("result") for each in answer["results"]] == ["accepted", None, "duplicate", "accepted"]
    assert answer["results"][1]["error"]["problems"][0]["path"] == "events[1].type"
    assert bring(takt, event(ada), event(ada, "purchase", value=9.5)) == ["duplicate", "duplicate"]


def test_a_send_occupies_budget_without_a_message_id_and_what_occupies_nothing_is_answered_so(
    takt: Caller, ada: str
) -> None:
    sends = [
        event(ada, "sent", id="1", channel="email"),
        event(ada, "delivered", id="2", message_id="nobody-asked"),
        event(ada, "sent", id="3"),
    ]
    assert bring(takt, *sends) == ["accepted", "unplaced", ["events[2].channel"]]
    assert takt.call("POST", "/v1/events", {"events": sends[:2]})["duplicates"] == 2
    assert [each["channel"] for each in takt.customer(ada)["contacts"]] == ["email"]
    assert kept(takt, ada) == ["delivered", "sent"]


def test_a_hard_bounce_suppresses_or_is_answered_to_do_nothing(takt: Caller, ada: str) -> None:
    bounces = [event(ada, "bounced", id=str(n), bounce="hard") for n in range(3)]
    told = [bounces[0], bounces[1] | {"message_id": "nobody-asked"}, bounces[2] | {"channel": "email"}]
    assert bring(takt, *told[:2]) == [["events[0].channel"], "unplaced"]
    takt.call("PUT", f"/v1/customers/{ada}", {"time_zone": "UTC"})
    assert reasons(takt, ada) == []
    assert bring(takt, told[2]) == ["accepted"]
    assert reasons(takt, ada) == ["hard_bounce"]


def test_choices_that_come_by_other_ways_are_events_too(takt: Caller, ada: str) -> None:
    limits = {"preferences": [{"channel": "push", "limit": 1}]}
    for _ in range(2):
        takt.suppress(ada, channel="email")
        takt.call("PUT", f"/v1/customers/{ada}/preferences", limits)
    assert [each for each in kept(takt, ada) if not each.startswith("takt:")] == ["opted_down", "unsubscribed"]


def test_a_list_of_nothing_but_mistakes_names_each(takt: Caller, ada: str) -> None:
    before = row_counts(takt.service.database_url)
    assert bring(takt, event(ada, at="soon"), event(None), event(ada, bounce="hard")) == [
        ["events[0].at"],
        ["events[1].customer_id"],
        ["events[2].bounce"],
    ]
    assert row_counts(takt.service.database_url) == before


def test_one_event_may_come_by_itself(takt: Caller, ada: str) -> None:
    response = post(takt, event(ada))
    assert (response.status_code, response.json()["accepted"]) == (200, 1)
    assert is_problem(post(takt, event(ada, at="soon")), 422, "invalid")


def test_every_form_brings_the_same_event(takt: Caller, ada: str) -> None:
    told = cloud(ada, "purchase", value=9.5, properties={"basket": [1, 2]})
    headers = {
        f"ce_{name}": quote(told[name], safe=":+/") for name in ("specversion", "id", "source", "time", "subject")
    }
    native = event(ada, "purchase", value=9.5, properties={"basket": [1, 2]})
    forms = [
        (native, "application/json", {}),
        (told, CLOUD_JSON, {}),
        (told | {"type": "takt.purchase", "traceparent": "00-1-2-00"}, f"{CLOUD_JSON}; charset=utf-8", {}),
        ([told], CLOUD_BATCH, {}),
        (told["data"], "application/json", {**headers, "ce_type": "takt.purchase", "ce_traceparent": "00"}),
        (told["data"] | {"customer_id": ada}, "application/json", {**headers, "ce_type": "purchase"}),
    ]
    for turn, (body, kind, more) in enumerate(forms):
        response = post(takt, body, kind, **more)
        assert response.json()["results"] == [{"result": "duplicate" if turn else "accepted"}], response.text
    assert kept(takt, ada) == ["purchase"]


def test_what_is_wrong_with_a_cloudevent_is_named_as_its_sender_names_it(takt: Caller, ada: str) -> None:
    good = cloud(ada)
    cases: dict[str, dict[str, Any]] = {
        "specversion": {"specversion": "0.3"},
        "time": {"time": "2999-01-01T00:00:00Z"},
        "subject": {"data": {"customer_id": "another"}},
        "data.channel": {"data": {"channel": "pigeon"}},
        "data.unknown": {"data": {"unknown": 1}},
        "data_base64": {"data_base64": "AAAA"},
        "datacontenttype": {"datacontenttype": "text/xml"},
        "data.customer_id": {"subject": None},
        "type": {"type": "erased"},
        "source": {"source": "takt"},
    }
    for path, change in cases.items():
        response = post(takt, good | change, CLOUD_JSON)
        assert is_problem(response, 422, "invalid")
        assert response.json()["problems"][0]["path"] == path
    answer = post(takt, [good, good | {"time": "now"}, 7], CLOUD_BATCH).json()
    assert answer["results"][0] == {"result": "accepted"}
    assert [each["error"]["problems"][0]["path"] for each in answer["results"][1:]] == ["[1].time", "[2]"]


def test_the_forms_of_cloudevents_are_told_apart_with_care(takt: Caller, ada: str) -> None:
    assert post(takt, [], CLOUD_BATCH).json()["results"] == [], "CloudEvents allow an empty batch"
    assert is_problem(post(takt, {"events": []}, CLOUD_BATCH), 422)
    assert is_problem(post(takt, [cloud(ada)], CLOUD_JSON), 422)
    assert is_problem(post(takt, [cloud(ada)]), 422)
    assert is_problem(post(takt, b"", ce_specversion="1.0", ce_id="1"), 422)
    assert is_problem(post(takt, {}, ce_specversion="1.0", ce_id="%ff", ce_type="session"), 422)
    assert is_problem(post(takt, b"<event/>", "application/xml", ce_specversion="1.0"), 415)


def test_more_events_than_a_list_may_have_are_refused_as_a_whole(takt: Caller, ada: str) -> None:
    before = row_counts(takt.service.database_url)
    many = [event(ada, id=f"e{n}") for n in range(10_001)]
    assert is_problem(post(takt, {"events": many}), 422, "invalid")
    assert is_problem(post(takt, [cloud(ada)] * 10_001, CLOUD_BATCH), 422, "invalid")
    assert is_problem(post(takt, b"[" + b" " * 16 * 1024 * 1024 + b"]"), 413)
    assert row_counts(takt.service.database_url) == before


def test_instants_that_cannot_be_are_refused_and_those_ahead_are_held_to_be_now(takt: Caller, ada: str) -> None:
    ats = [ago(days=-1, minutes=-5), "1999-12-31T23:59:59Z", ago(hours=-23), "2000-01-01T00:00:00Z"]
    events = [event(ada, id=str(n), at=at) for n, at in enumerate(ats)]
    assert bring(takt, *events) == [["events[0].at"], ["events[1].at"], "accepted", "accepted"]
    query = f"SELECT count(*) FROM events WHERE customer_id = '{ada}' AND at_us > received_us"
    assert rows(takt.service, query) == [(0,)]


def test_a_yes_that_lies_ahead_is_refused_and_a_no_is_heard(takt: Caller, ada: str) -> None:
    soon = {"channel": "email", "at": ago(minutes=-2)}
    given, withdrawn = ({"properties": {"given": each}} for each in (True, False))
    told = [
        event(ada, "resubscribed", id="1", **soon),
        event(ada, "push_enabled", id="2", at=ago(minutes=-2)),
        event(ada, "consented", id="3", **soon),
        event(ada, "consented", id="4", **soon, **given),
        event(ada, "consented", id="5", **soon, **withdrawn),
        event(ada, "unsubscribed", id="6", **soon),
        event(ada, "resubscribed", id="7", channel="email", at=ago(seconds=-30)),
        event(ada, "case_closed", id="8", at=ago(minutes=-2)),
        event(ada, "moved_in", id="9", at=ago(minutes=-2)),
    ]
    refused = [[f"events[{place}].at"] for place in range(4)]
    assert bring(takt, *told) == [*refused, "accepted", "accepted", "accepted", ["events[7].at"], "accepted"]
    assert takt.ask(ada, "m-1")["reasons"][0]["code"] == "suppressed"


def test_whatever_the_policy_names_as_the_end_of_a_pause_may_not_lie_ahead(takt: Caller, ada: str) -> None:
    pauses = "  - {from: moved_out, until: moved_in, at_most: 5d}\n  - {from: was_sold, until: sent, at_most: 1d}\n"
    takt.service.activate(f"{POLICY}pauses:\n{pauses}  - {{from: was_lost, until: unsubscribed, at_most: 1d}}\n")
    try:
        assert bring(takt, event(ada, "moved_out", id="1")) == ["accepted"]
        assert bring(takt, event(ada, "moved_in", id="2", at=ago(minutes=-2))) == [["events[0].at"]]
        assert takt.ask(ada, "m-1")["reasons"][0]["code"] == "case_open"
        assert bring(takt, event(ada, "moved_in", id="3", at=ago(seconds=-30))) == ["accepted"]
        assert takt.ask(ada, "m-2")["verdict"] == "allow"
        soon = {"channel": "push", "at": ago(minutes=-2)}
        assert bring(takt, event(ada, "sent", **soon), event(ada, "unsubscribed", **soon)) == ["accepted"] * 2
    finally:
        takt.service.activate(POLICY)


def test_an_unsubscribe_is_in_force_when_it_is_acknowledged(takt: Caller, ada: str) -> None:
    assert takt.ask(ada, "m-1")["state"] == "reserved"
    assert bring(takt, event(ada, "unsubscribed", channel="email")) == ["accepted"]
    assert takt.ask(ada, "m-2")["reasons"][0]["code"] == "suppressed"
    assert takt.release(ada, "m-1")["state"] == "revoked"
    assert bring(takt, event(ada, "unsubscribed", channel="email")) == ["duplicate"]


@pytest.fixture
def clock_back(takt: Caller) -> Iterator[Callable[[], None]]:
    """Lets the clock of the database step back by half a day, until the test is over."""
    steps: list[float] = []

    def step() -> None:
        advance_clock(takt.service.database_url, -DAY_S / 2)
        steps.append(DAY_S / 2)

    yield step
    advance_clock(takt.service.database_url, sum(steps))


def test_an_unsubscribe_counts_while_the_clock_of_the_database_is_back(
    takt: Caller, ada: str, clock_back: Callable[[], None]
) -> None:
    bring(takt, event(ada, "unsubscribed", channel="email", at=ago(minutes=2)))
    bring(takt, event(ada, "resubscribed", channel="email", at=ago(minutes=1)))
    assert takt.ask(ada, "m-1")["verdict"] == "allow"
    clock_back()
    assert bring(takt, event(ada, "unsubscribed", channel="email", at=ago(seconds=0), id="again")) == ["accepted"]
    assert takt.ask(ada, "m-2")["verdict"] == "deny"


def test_a_complaint_from_an_address_counts_while_the_clock_of_the_database_is_back(
    takt: Caller, ada: str, somewhere: str, clock_back: Callable[[], None]
) -> None:
    reached(takt, ada, somewhere)
    about = {"channel": "email", "address": somewhere, "at": ago(seconds=0)}
    bring(takt, event(None, "complained", **about))
    takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada, "channel": "email"})
    assert takt.ask(ada, "m-1")["verdict"] == "allow"
    clock_back()
    assert bring(takt, event(None, "complained", **about | {"at": ago(seconds=0)}, id="again")) == ["accepted"]
    assert takt.ask(ada, "m-2")["verdict"] == "deny"


def test_a_delivery_confirms_the_reservation_of_its_message(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    delivered = event(ada, "delivered", channel="email", message_id="m-1", at=ago(seconds=0))
    assert bring(takt, delivered, delivered) == ["accepted", "duplicate"]
    assert takt.ask(ada, "m-1")["state"] == "confirmed"
    assert takt.used(ada) == 1


def test_events_of_a_customer_never_heard_of_are_kept_and_used(takt: Caller, ada: str) -> None:
    assert bring(takt, event(ada), event(ada, "complained", channel="email")) == ["accepted", "accepted"]
    assert takt.ask(ada, "m-1")["verdict"] == "deny"
    assert kept(takt, ada) == ["complained", "session"]


def test_an_address_leads_to_all_who_have_it(takt: Caller, ada: str, somewhere: str) -> None:
    reached(takt, ada, somewhere)
    reached(takt, f"{ada}-2", somewhere.upper())
    bounced = event(None, "bounced", address=f" {somewhere} ", channel="email", bounce="hard")
    assert bring(takt, bounced) == ["accepted"]
    for customer_id in (ada, f"{ada}-2"):
        assert (kept(takt, customer_id), reasons(takt, customer_id)) == (["bounced"], ["hard_bounce"])
    assert bring(takt, bounced) == ["duplicate"]


def test_a_complaint_of_one_customer_suppresses_the_address_of_another(takt: Caller, ada: str, somewhere: str) -> None:
    reached(takt, ada, somewhere)
    takt.ask(ada, "m-1")
    told = event(f"{ada}-2", "complained", address=somewhere, channel="email")
    assert bring(takt, told) == ["accepted"]
    assert reasons(takt, ada) == ["complaint"]
    assert takt.release(ada, "m-1")["state"] == "revoked"
    assert kept(takt, ada) == [], "the event is of the customer whom it names"


def test_whoever_comes_to_have_a_bad_address_is_suppressed_with_it(takt: Caller, ada: str, somewhere: str) -> None:
    bring(takt, event(f"{ada}-2", "bounced", address=somewhere, channel="email", bounce="hard"))
    takt.ask(ada, "m-1")
    filed = reached(takt, ada, somewhere)
    assert (filed["changed"], filed["revoked"]) == (True, 1)
    assert takt.ask(ada, "m-2")["reasons"][0]["code"] == "suppressed"
    reached(takt, ada, f"other-{somewhere}")
    assert reasons(takt, ada) == [], "the bounce was the address's, which is no longer the customer's"


def test_events_of_an_unknown_address_wait_until_it_is_somebodys(takt: Caller, ada: str, somewhere: str) -> None:
    waiting = [
        event(None, type_, address=somewhere, channel="email", source=somewhere) for type_ in ("opened", "unsubscribed")
    ]
    assert bring(takt, *waiting) == ["unresolved", "unresolved"]
    assert bring(takt, *waiting) == ["duplicate", "duplicate"]
    takt.ask(ada, "m-1")
    filed = reached(takt, ada, somewhere)
    assert (filed["changed"], filed["revoked"]) == (True, 1), "the put is answered with all that it did"
    assert [each["reason"] for each in filed["suppressions"]] == ["unsubscribe"]
    assert reached(takt, ada, somewhere) == filed | {"changed": False, "revoked": 0}
    assert kept(takt, ada) == ["opened", "unsubscribed"]
    assert reasons(takt, ada) == ["unsubscribe"]
    assert bring(takt, *waiting) == ["duplicate", "duplicate"]
    assert rows(takt.service, "SELECT count(*) FROM unresolved_events") == [(0,)]


def test_customers_of_a_list_get_what_waited_for_their_addresses(takt: Caller, ada: str, somewhere: str) -> None:
    bring(takt, event(None, "purchase", address=somewhere, channel="email"))
    addresses = [{"channel": "email", "address": somewhere}]
    listed = [{"customer_id": ada, "addresses": addresses}, {"customer_id": f"{ada}-2", "time_zone": "UTC"}]
    results = takt.call("POST", "/v1/customers/batch", {"customers": listed})["results"]
    assert [each["changed"] for each in results] == [True, True]
    assert kept(takt, ada) == ["purchase"]


def test_no_address_is_written_down_anywhere(takt: Caller, ada: str, somewhere: str) -> None:
    reached(takt, ada, somewhere)
    bring(takt, event(None, "clicked", address=somewhere, channel="email"))
    bring(takt, event(None, "clicked", address=f"not-{somewhere}", channel="email"))
    takt.journal(ada)
    name = somewhere.partition("@")[0]
    for table in row_counts(takt.service.database_url):
        assert rows(takt.service, f"SELECT count(*) FROM {table} t WHERE t::text ILIKE '%{name}%'") == [(0,)], table


@pytest.mark.parametrize(
    ("more", "flags"),
    [
        ({"suspect": True}, 1),
        ({"properties": {"user_agent": "Mozilla/5.0 (compatible; Barracuda Link Protection)"}}, 1),
        (
            {"properties": {"user_agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Firefox/11.0 (via GoogleImageProxy)"}},
            0,
        ),
        ({"properties": {"user_agent": 7}}, 0),
        ({}, 0),
    ],
)
def test_who_says_that_a_machine_did_it_is_believed(takt: Caller, ada: str, more: dict[str, Any], flags: int) -> None:
    bring(takt, event(ada, "clicked", channel="email", **more))
    assert rows(takt.service, f"SELECT flags FROM events WHERE customer_id = '{ada}'") == [(flags,)]


def test_a_key_needs_the_scope_to_bring_events(takt: Caller, ada: str) -> None:
    key = takt.service.make_key(Scope.DECIDE, Scope.READ, Scope.MANAGE)
    with Caller(takt.service, key) as stranger:
        assert is_problem(stranger.send("POST", "/v1/events", {"events": [event(ada)]}), 403)
    assert kept(takt, ada) == []


def test_events_are_counted_for_prometheus(takt: Caller, ada: str) -> None:
    bring(takt, event(ada), event(ada), event(ada, "wished"), event(ada, at="soon"))
    text = takt.http.get("/metrics").text
    for labels in (
        'result="duplicate",type="session"',
        'result="accepted",type="own"',
        'result="invalid",type="unknown"',
    ):
        assert f"takt_events_total{{{labels}}}" in text
    assert "wished" not in text, "a name of the company's own could be anything"
