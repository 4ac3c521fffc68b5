"""The client against a real service, and against a network that goes wrong in every way: charged once, never twice."""

import json
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import engine.client
from engine.client import (
    Answer,
    Ask,
    AsyncClient,
    Client,
    Contact,
    Message,
    Problem,
    TaktRefused,
    TaktUnavailable,
)
from engine.core.tokens import Scope
from tests.api.caller import eventually
from tests.client.faults import FINE, HALF, RESET, SILENCE, SWALLOW, proxy, status
from tests.service import Service

NOTHING_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture
def ada() -> str:
    """A customer of the test's own."""
    return f"ada-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def ask(ada: str) -> Ask:
    return Ask(ada, "email", "promotions", message_id="m-1")


@pytest.fixture
def takt(service: Service) -> Generator[Client]:
    with Client(service.url, service.key) as client:
        yield client


def used(client: Client, customer_id: str) -> int:
    """What the customer's e-mails of this week come to."""
    lines: list[dict[str, Any]] = client.customer(customer_id)["budgets"]
    return next(each["used"] for each in lines if each["budget"] == "email-weekly")


def test_an_allowed_message_may_be_sent_and_is_confirmed(takt: Client, ada: str, ask: Ask) -> None:
    answer = takt.ask(ask)
    assert (answer.verdict, answer.state, answer.may_send, answer.must_record) == ("allow", "reserved", True, False)
    assert answer.decided_at is not None
    assert answer.lease_expires_at == answer.decided_at + timedelta(seconds=300)
    assert [each.budget for each in answer.budgets] == ["email-weekly", "any-daily", "spacing"]
    resolution = takt.confirm(answer)
    assert (resolution.state, resolution.applied) == ("confirmed", True)
    assert takt.confirm(Message(ada, "m-1")).applied is False


def test_a_refusal_says_why_and_when(takt: Client, ada: str, ask: Ask) -> None:
    takt.confirm(takt.ask(ask))
    refused = takt.ask(Ask(ada, "email", "promotions", message_id="m-2"))
    assert (refused.verdict, refused.may_send) == ("defer", False)
    assert [each.rule for each in refused.reasons] == ["spacing"]
    assert refused.retry_at is not None
    assert refused.retry_at == refused.reasons[0].frees_at


def test_a_confirmed_message_is_not_sent_again(takt: Client, ask: Ask) -> None:
    takt.confirm(takt.ask(ask))
    again = takt.ask(ask)
    assert (again.verdict, again.state, again.replayed, again.may_send) == ("allow", "confirmed", True, False)


@pytest.mark.parametrize("mode", ["check", "peek"])
def test_what_reserves_nothing_permits_nothing(takt: Client, mode: str, ada: str) -> None:
    answer = takt.ask(Ask(ada, "email", "promotions", mode=mode))
    assert (answer.verdict, answer.state, answer.may_send) == ("allow", None, False)


def test_a_release_returns_the_budget(takt: Client, ask: Ask, ada: str) -> None:
    answer = takt.ask(ask)
    assert used(takt, ada) == 1
    assert takt.release(answer).state == "released"
    assert used(takt, ada) == 0


def test_a_recorded_contact_counts_once(takt: Client, ada: str) -> None:
    contact = Contact(ada, "vendor:1", "email", "promotions", datetime.now(UTC) - timedelta(days=1))
    assert takt.record(contact).state == "recorded"
    assert takt.record(contact).applied is False
    assert used(takt, ada) == 1


def test_items_of_a_list_are_answered_each_on_its_own_in_order(takt: Client, ada: str, ask: Ask) -> None:
    bob = f"bob-{ada}"
    bad = Ask(ada, "pigeon", "promotions", message_id="m-2")
    first, second, third = takt.ask_many([ask, bad, Ask(bob, "email", "promotions", message_id="m-1")])
    assert isinstance(first, Answer)
    assert isinstance(third, Answer)
    assert (first.customer_id, third.customer_id) == (ada, bob)
    assert isinstance(second, Problem)
    assert (second.status, second.may_send) == (422, False)
    assert second.problems[0]["path"] == "channel"
    assert "pigeon" in str(second)


def test_lists_longer_than_a_batch_are_split(takt: Client) -> None:
    asks = [Ask(f"c-{number}", "email", "promotions", mode="check") for number in range(10_001)]
    answers = takt.ask_many(asks)
    assert [each.customer_id for each in answers if isinstance(each, Answer)] == [each.customer_id for each in asks]
    assert takt.ask_many([]) == []


def test_lists_heavier_than_a_request_are_split(takt: Client) -> None:
    attributes = {f"a{number}": "ü" * 500 for number in range(60)}
    rows = [{"customer_id": f"c-{number}", "attributes": attributes} for number in range(120)]
    filed = takt.put_customers(rows)
    assert len(filed) == 120
    assert not [each for each in filed if isinstance(each, Problem)]
    assert takt.customer("c-119")["attributes"] == attributes


def test_what_is_wrong_with_a_request_is_named_and_not_tried_again(service: Service, ada: str) -> None:
    with proxy(service.url) as between, Client(between.url, service.key) as client:
        with pytest.raises(TaktRefused, match="message_id: found nothing, expected an id") as refused:
            client.ask(Ask(ada, "email", "promotions"))
        with pytest.raises(TaktRefused, match="send_at: found"):
            client.ask(Ask(ada, "email", "promotions", message_id="m", send_at=datetime(2026, 1, 1)))  # noqa: DTZ001
        with pytest.raises(TaktRefused, match="not reserved"):
            client.confirm(Message(ada, "never"))
        assert len(between.bodies) == 3
    assert refused.value.problem.status == 422


def test_a_wrong_key_is_refused_and_one_without_the_scope_too(service: Service, ask: Ask) -> None:
    with Client(service.url, "takt_wrong") as client, pytest.raises(TaktRefused, match="unknown") as refused:
        client.ask(ask)
    assert refused.value.problem.status == 401
    with Client(service.url, service.make_key(Scope.READ)) as client, pytest.raises(TaktRefused) as refused:
        client.ask(ask)
    assert refused.value.problem.status == 403


@pytest.mark.parametrize("fault", [RESET, SWALLOW, HALF, SILENCE, status(502), status(503), status(504), status(429)])
def test_whatever_goes_wrong_on_the_way_is_charged_once(
    service: Service, fault: str | bytes, ask: Ask, ada: str
) -> None:
    timeout_s = 0.5 if fault == SILENCE else 10.0  # so that no fine answer of a slow machine is a fault beside these
    with proxy(service.url, fault, fault) as between:
        with Client(between.url, service.key, timeout_s=timeout_s) as client:
            answer = client.ask(ask)
        assert len(between.bodies) == 3 or (fault == SILENCE and len(between.bodies) > 3)
        assert len(set(between.bodies)) == 1
    assert answer.may_send
    assert answer.replayed is (fault in (SWALLOW, HALF))
    with Client(service.url, service.key) as client:
        assert used(client, ada) == 1


def test_a_batch_whose_answer_was_lost_is_charged_once(service: Service) -> None:
    asks = [Ask(f"c-{number}", "email", "promotions", message_id="m") for number in range(50)]
    with proxy(service.url, SWALLOW) as between, Client(between.url, service.key) as client:
        answers = client.ask_many(asks)
        assert all(each.may_send for each in answers)
        assert {used(client, each.customer_id) for each in asks} == {1}


def test_a_confirm_whose_answer_was_lost_is_applied_once(service: Service, ada: str, ask: Ask) -> None:
    with proxy(service.url, FINE, SWALLOW) as between, Client(between.url, service.key) as client:
        assert client.confirm(client.ask(ask)).state == "confirmed"
        kinds = [each["entry"] for each in client.decisions(ada)["entries"]]
    assert kinds == ["resolution", "contact"]


def test_items_that_could_not_be_settled_just_now_come_again_alone(service: Service, ada: str) -> None:
    bob = f"bob-{ada}"
    busy = {"error": {"status": 503, "code": "deadline_exceeded", "detail": "later"}}
    with Client(service.url, service.key) as direct, proxy(service.url) as between:
        asks = [Ask(name, "email", "promotions", message_id="m") for name in (ada, bob)]
        direct.ask_many(asks[:1])
        document = {"answers": [_raw(service, asks[0]), busy]}
        between.script.append(status(200, body=json.dumps(document).encode()))
        with Client(between.url, service.key) as client:
            answers = client.ask_many(asks)
    assert [each.may_send for each in answers] == [True, True]
    assert [len(json.loads(each)["asks"]) for each in between.bodies] == [2, 1]


def _raw(service: Service, ask: Ask) -> dict[str, Any]:
    import httpx

    body = {"customer_id": ask.customer_id, "channel": ask.channel, "topic": ask.topic, "message_id": ask.message_id}
    headers = {"X-API-Key": service.key}
    return httpx.post(f"{service.url}/v1/decisions", json=body, headers=headers).json()


def test_takt_is_not_asked_again_before_it_wants_to_be(service: Service, ask: Ask) -> None:
    with proxy(service.url, status(503, "Retry-After: 1")) as between, Client(between.url, service.key) as client:
        began = time.monotonic()
        assert client.ask(ask).may_send
        assert time.monotonic() - began >= 1.0
        assert len(between.bodies) == 2


def test_takt_is_not_asked_again_where_it_wants_to_be_later_than_the_deadline(service: Service, ask: Ask) -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    with proxy(service.url, status(503, f"Retry-After: {header}")) as between:
        with Client(between.url, service.key) as client, pytest.raises(TaktUnavailable) as failed:
            client.ask(ask)
        assert len(between.bodies) == 1
    assert failed.value.retry_after_s is not None
    assert 80_000 < failed.value.retry_after_s <= 86_400


@pytest.mark.parametrize("fault", [RESET, SILENCE, status(503)])
def test_no_answer_by_the_deadline_allows_nothing(service: Service, fault: str | bytes, ask: Ask) -> None:
    with proxy(service.url, *[fault] * 1_000) as between:
        began = time.monotonic()
        with (
            Client(between.url, service.key, timeout_s=0.3, deadline_s=0.8) as client,
            pytest.raises(TaktUnavailable),
        ):
            client.ask(ask)
        assert time.monotonic() - began < 60, "a thousand tries take longer"
        assert 1 <= len(between.bodies) < 1_000


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(200),
        status(200, body=b"[]"),
        status(200, body=b"<html>welcome to our airport</html>"),
        status(200, body=b'{"verdict": "allow", "state": "reserved"}'),
        status(200, "Content-Encoding: gzip", body=b"not gzip"),
        status(302, "Location: http://127.0.0.1/login"),
    ],
)
def test_what_is_no_answer_of_takt_allows_nothing(service: Service, fault: bytes, ask: Ask) -> None:
    with (
        proxy(service.url, *[fault] * 100) as between,
        Client(between.url, service.key, deadline_s=0.3) as client,
        pytest.raises(TaktUnavailable),
    ):
        client.ask(ask)


def test_an_answer_about_another_customer_is_no_answer(ada: str, service: Service, ask: Ask) -> None:
    bob = f"bob-{ada}"
    body = json.dumps(_raw(service, Ask(bob, "email", "promotions", message_id="m"))).encode()
    with (
        proxy(service.url, status(200, body=body)) as between,
        Client(between.url, service.key) as client,
        pytest.raises(TaktUnavailable),
    ):
        client.ask(ask)


def test_without_takt_only_declared_topics_are_sent_and_then_recorded(service: Service, ada: str, ask: Ask) -> None:
    with Client(NOTHING_LISTENS, "key", deadline_s=0.1, fail_open_topics={"account"}) as client:
        answer = client.ask(Ask(ada, "email", "account", message_id="reset:1"))
        assert (answer.verdict, answer.may_send, answer.must_record) == ("unknown", True, True)
        with pytest.raises(ValueError, match="recorded"):
            client.confirm(answer)
        with pytest.raises(TaktUnavailable):
            client.ask(ask)
        with pytest.raises(TaktUnavailable):
            client.ask(Ask(ada, "email", "account", mode="peek"))
    with Client(service.url, service.key) as client:
        assert client.record(Contact.of(answer.ask, datetime.now(UTC))).state == "recorded"


def test_without_takt_a_list_is_answered_topic_by_topic(ada: str, ask: Ask) -> None:
    with Client(NOTHING_LISTENS, "key", batch_deadline_s=0.1, fail_open_topics={"account"}) as client:
        answers = client.ask_many([ask, Ask(ada, "email", "account", message_id="m-2")])
        assert [each.may_send for each in answers] == [False, True]
        assert isinstance(answers[0], Problem)
        assert answers[0].code == "unavailable"
        with pytest.raises(TaktUnavailable):
            client.confirm(Message(ada, "m-1"))


def test_an_answer_that_was_lost_and_sent_in_the_open_is_charged_once(service: Service, ada: str) -> None:
    ask = Ask(ada, "email", "promotions", message_id="m-1")
    with (
        proxy(service.url, SWALLOW, *[RESET] * 1_000) as between,
        Client(between.url, service.key, deadline_s=1.0, fail_open_topics={"promotions"}) as client,
    ):
        answer = client.ask(ask)
        assert between.bodies
    assert answer.must_record
    with Client(service.url, service.key) as client:
        eventually(lambda: used(client, ada) == 1)
        assert client.record(Contact.of(ask, datetime.now(UTC))).state == "confirmed"
        assert used(client, ada) == 1


def test_a_pause_is_not_asked_for_twice(service: Service) -> None:
    with proxy(service.url, SWALLOW) as between, Client(between.url, service.key) as client:
        with pytest.raises(TaktUnavailable):
            client.add_pause({"name": "outage"})
        assert len(between.bodies) == 1
        assert [each["name"] for each in client.policies()["in_force"]["pauses"]] == ["outage"]
        assert client.end_pause("outage")["pauses"] == []


@pytest.mark.anyio
async def test_the_awaiting_client_does_the_same(service: Service, ada: str, ask: Ask) -> None:
    cy = f"cy-{ada}"
    bob = f"bob-{ada}"
    with proxy(service.url, SWALLOW) as between:
        async with AsyncClient(between.url, service.key) as client:
            answer = await client.ask(ask)
            assert answer.may_send
            assert answer.replayed
            assert (await client.confirm(answer)).state == "confirmed"
            other = Ask(bob, "email", "promotions", message_id="m")
            (reserved,) = await client.ask_many([other])
            assert isinstance(reserved, Answer)
            assert (await client.release(reserved)).state == "released"
            assert (await client.record(Contact(cy, "m", "email", "x", datetime.now(UTC)))).state == "recorded"
            assert [each.customer_id for each in await client.put_customers([{"customer_id": ada}])] == [ada]  # type: ignore[union-attr]
            assert (await client.customer(ada))["customer_id"] == ada
            assert len((await client.decisions(ada))["entries"]) == 2
            await client.add_pause({"name": "outage"})
            assert (await client.policies())["in_force"]["pauses"]
            await client.end_pause("outage")


def test_both_clients_say_the_same_things() -> None:
    def names(kind: type) -> set[str]:
        return {each for each in vars(kind) if not each.startswith("_")}

    assert names(Client) == names(AsyncClient)


def test_a_client_is_made_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.delenv("TAKT_KEY", raising=False)
    with pytest.raises(ValueError, match="TAKT_KEY is not set"):
        Client.from_environment()
    monkeypatch.setenv("TAKT_KEY", service.key)
    monkeypatch.setenv("TAKT_URL", service.url)
    with Client.from_environment() as client:
        assert client.ask(ask).may_send


@pytest.mark.parametrize(
    ("url", "key"),
    [("takt.example", "k"), ("ftp://x", "k"), ("http://x", ""), ("http://[::1", "k"), ("http://x", "a\nb")],
)
def test_an_address_or_key_that_cannot_be_one_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ValueError, match="of Takt"):
        Client(url, key)


def test_the_client_needs_httpx_and_nothing_of_the_service() -> None:
    program = "import sys, engine.client; print(*sorted(each.partition('.')[0] for each in sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"fastapi", "pydantic", "psycopg", "sqlalchemy", "typer", "numpy"} & set(found)
    for file in Path(engine.client.__file__).parent.glob("*.py"):
        imports = [line for line in file.read_text().splitlines() if line.startswith("from engine")]
        assert all(line.startswith("from engine.client") for line in imports)


@pytest.mark.parametrize("name", [".", "..", "a/b", "a?b#c", "a%2Fb", "ü ñ", "[x]"])
def test_any_id_finds_its_customer(takt: Client, ada: str, name: str) -> None:
    customer_id = name if name.startswith(".") else f"{name}-{ada}"
    takt.ask(Ask(customer_id, "email", "promotions", message_id=f"m/{ada}"))
    assert takt.customer(customer_id)["customer_id"] == customer_id
    assert takt.decisions(customer_id)["customer_id"] == customer_id


def test_the_example_runs(service: Service) -> None:
    example = str(engine.client.__doc__).split("Example::\n")[1].replace("http://127.0.0.1:8000", service.url)
    sent: list[str] = []
    exec(textwrap.dedent(example), {"key": service.key, "send_the_email": lambda: sent.append("sent")})  # noqa: S102
    assert sent == ["sent"]
