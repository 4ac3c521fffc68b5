"""Variants over HTTP: what asks and evaluations answer, and that every process knows at once what runs."""

import uuid
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import pytest

from engine.core.tokens import Scope
from engine.store import embedded
from tests.api.caller import POLICY, Caller, at_once, is_problem, row_counts
from tests.api.processes import running
from tests.conftest import clean_database
from tests.operations.rulesets import budget_plan, plan
from tests.service import Service

PAIR = tuple[Caller, Caller]


@pytest.fixture
def takt(shared_service: Service) -> Generator[Caller]:
    with Caller(shared_service) as caller:
        end_all(caller)
        caller.call("POST", "/v1/policies", {"yaml": POLICY})
        yield caller


@pytest.fixture(scope="module")
def pair(server: embedded.Server, template: str) -> Generator[PAIR]:
    with clean_database(server, template) as url, ExitStack() as stack:
        services = at_once([lambda: stack.enter_context(running(url))] * 2)
        first, second = (stack.enter_context(Caller(each)) for each in services)
        first.call("POST", "/v1/policies", {"yaml": POLICY})
        yield first, second


def begin(takt: Caller, document: dict[str, Any]) -> str:
    """Start an experiment under a key of the test's own, which is returned."""
    key = f"{document['key']}-{uuid.uuid4().hex[:8]}"
    takt.call("POST", "/v1/experiments", {"plan": {**document, "key": key, "unit": "customer_id"}})
    takt.call("POST", f"/v1/experiments/{key}/start", {})
    return key


def end(takt: Caller, key: str) -> None:
    takt.call("POST", f"/v1/experiments/{key}/stop", {})


def end_all(takt: Caller) -> None:
    for each in takt.call("GET", "/v1/experiments?state=running")["experiments"]:
        end(takt, each["key"])


def assign(takt: Caller, key: str, customer_id: str, **more: object) -> Any:
    return takt.call("POST", "/v1/assignments", {"experiment": key, "customer_id": customer_id, **more})


def test_asks_answer_with_the_variants_that_they_are_about(takt: Caller, ada: str) -> None:
    key = begin(takt, budget_plan("dose", "email-weekly", {"three": 3}))
    peeked = takt.ask(ada, "m-1", mode="peek")
    assert (peeked["recorded"], set(peeked["variants"])) == (False, {key})
    before = row_counts(takt.service.database_url)["exposures"]
    first, second = takt.ask(ada, "m-1"), takt.ask(ada, "m-2")
    assert first["variants"] == second["variants"] == peeked["variants"]
    assert first["recorded"] is True
    assert second["verdict"] == ("allow" if second["variants"][key] == "three" else "defer")
    assert takt.ask(ada, "p-1", channel="push")["variants"] == {}
    assert row_counts(takt.service.database_url)["exposures"] == before + 1
    entries = [each["entry"] for each in takt.journal(ada)["entries"]]
    assert entries[-2:] == ["contact", "change"], "right before the ask that made it"


def test_an_evaluation_exposes_and_a_peek_does_not(takt: Caller, ada: str) -> None:
    key = begin(takt, plan("welcome"))
    before = row_counts(takt.service.database_url)
    peeked = assign(takt, key, ada, mode="peek")
    assert (peeked["reason"], peeked["exposed"], peeked["customer_id"]) == ("assigned", False, ada)
    assert row_counts(takt.service.database_url) == before
    told = assign(takt, key, ada)
    assert (told["variant"], told["reason"], told["exposed"]) == (peeked["variant"], "assigned", True)
    again = assign(takt, key, ada, mode="expose")
    assert (again["variant"], again["reason"], again["exposed"]) == (peeked["variant"], "stored", True)
    assert row_counts(takt.service.database_url)["exposures"] == before["exposures"] + 1


def test_who_is_outside_is_told_why_and_nothing_is_written(takt: Caller, ada: str) -> None:
    key = begin(takt, plan("welcome", audience={"country": "DE"}))
    before = row_counts(takt.service.database_url)
    told = assign(takt, key, ada)
    assert (told["variant"], told["reason"], told["exposed"]) == (None, "audience_unknown", False)
    assert row_counts(takt.service.database_url) == before


def test_what_cannot_be_evaluated_is_refused_with_the_reason(takt: Caller, ada: str) -> None:
    budgets = begin(takt, budget_plan("dose", "email-weekly", {"three": 3}))
    refused = takt.send("POST", "/v1/assignments", {"experiment": budgets, "customer_id": ada})
    assert is_problem(refused, 422, "invalid")
    assert "customers enter it by asks" in refused.json()["problems"][0]["expected"]
    assert assign(takt, budgets, ada, mode="peek")["variant"] in ("control", "three")
    assert is_problem(takt.send("POST", "/v1/assignments", {"experiment": "none", "customer_id": ada}), 404)
    end(takt, budgets)
    gone = {"experiment": budgets, "customer_id": ada, "mode": "peek"}
    assert is_problem(takt.send("POST", "/v1/assignments", gone), 404)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"customer_id": "ada"}, "experiment"),
        ({"experiment": "welcome"}, "customer_id"),
        ({"experiment": "welcome", "customer_id": 7}, "customer_id"),
        ({"experiment": "welcome", "customer_id": "a\u0000"}, "customer_id"),
        ({"experiment": "e" * 201, "customer_id": "ada"}, "experiment"),
        ({"experiment": "welcome", "customer_id": "ada", "mode": "reserve"}, "mode"),
        ({"experiment": "welcome", "customer_id": "ada", "variant": "new"}, "variant"),
        ([], ""),
    ],
)
def test_a_document_that_is_none_is_refused_by_place(takt: Caller, document: object, path: str) -> None:
    refused = takt.send("POST", "/v1/assignments", document)
    assert is_problem(refused, 422)
    assert [each["path"] for each in refused.json()["problems"]] == [path]


def test_an_evaluation_needs_a_key_that_may_decide(takt: Caller, ada: str) -> None:
    with Caller(takt.service, takt.service.make_key(Scope.READ)) as reader:
        body = {"experiment": "welcome", "customer_id": ada}
        assert is_problem(reader.send("POST", "/v1/assignments", body), 403)


def test_an_experiment_binds_the_next_ask_in_every_process(pair: PAIR, ada: str) -> None:
    for round_ in range(6):
        acting, asking = pair if round_ % 2 else reversed(pair)
        customer_id = f"{ada}-{round_}"
        plain = asking.ask(customer_id, "m-1")
        key = begin(acting, budget_plan("dose", "email-weekly", {"none": 0}, traffic=1.0))
        answer = asking.ask(customer_id, "m-2", mode="check")
        assert (plain["variants"], set(answer["variants"])) == ({}, {key})
        assert answer["ruleset"] > plain["ruleset"]
        assert acting.ask(customer_id, "m-3", mode="check")["variants"] == answer["variants"]
        end(acting, key)
        ended = asking.ask(customer_id, "m-4")
        assert (ended["variants"], ended["budgets"][0]["limit"]) == ({}, 1)


def test_customers_evaluated_in_two_processes_at_once_enter_once(pair: PAIR, ada: str) -> None:
    key = begin(pair[0], plan("welcome"))
    before = row_counts(pair[0].service.database_url)["exposures"]
    told = at_once([lambda n=n: assign(pair[n % 2], key, f"{ada}-{n // 4}") for n in range(24)])
    assert [each["reason"] for each in told].count("assigned") == 6
    assert row_counts(pair[0].service.database_url)["exposures"] == before + 6


def test_a_shipped_variant_its_holdout_and_the_end_of_that_bind_the_next_ask_in_every_process(
    pair: PAIR, ada: str
) -> None:
    first, second = pair
    key = begin(first, budget_plan("dose", "push-weekly", {"nine": 9}))
    first.call("POST", f"/v1/experiments/{key}/ship", {"variant": "nine", "holdout": 0.1})
    names = [f"{ada}-{n}" for n in range(120)]
    asks: list[dict[str, object]] = [
        {"customer_id": each, "channel": "push", "topic": "promotions", "mode": "check"} for each in names
    ]
    limits = [each["budgets"][0]["limit"] for each in second.ask_all(*asks)]
    assert set(limits) == {3, 9}
    assert 1 < limits.count(3) < 40
    assert [each["budgets"][0]["limit"] for each in first.ask_all(*asks)] == limits
    assert is_problem(second.send("POST", f"/v1/experiments/{key}/holdout/end", {"wat": 1}), 422)
    for acting in (second, first):  # the second time for an answer that was lost
        ended = acting.call("POST", f"/v1/experiments/{key}/holdout/end", {"request_id": "e-1"})
        assert ended["warnings"] == ["It will not be read on day 28, 90, 180, 365."]
    assert {each["budgets"][0]["limit"] for each in first.ask_all(*asks)} == {9}
    whole = second.call("GET", f"/v1/experiments/{key}")
    assert [each["action"] for each in whole["log"]] == ["created", "start", "ship", "end_holdout"]
    assert (whole["holdout"]["ended_at"] is not None, whole["holdout"]["readouts"]) == (True, [])
    assert is_problem(first.send("POST", f"/v1/experiments/{key}/holdout/end"), 409, "conflict")
