"""Readouts over HTTP: the newest, an older one, a new one; and asks that go on while one is computed."""

import json
import uuid
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from engine.core.tokens import Scope
from engine.store.analysis import LOCK_CLASS
from experiments.assigning.draws import Draw, threshold
from experiments.readout import Readout
from tests.api.caller import DAY_S, Caller, advance_clock, is_problem, make_key
from tests.operations.plans import AA, PLAN, POLICY
from tests.service import Service


@pytest.fixture
def takt(shared_service: Service) -> Generator[Caller]:
    """Under the policy of the tests, with no experiment running."""
    with calling(shared_service) as caller:
        yield caller


@contextmanager
def calling(service: Service) -> Generator[Caller]:
    with Caller(service, timeout_s=120) as caller:
        for each in caller.call("GET", "/v1/experiments?state=running")["experiments"]:
            caller.call("POST", f"/v1/experiments/{each['key']}/stop")
        caller.call("POST", "/v1/policies", {"yaml": POLICY})
        yield caller


def started(takt: Caller, text: str) -> str:
    key = drafted(takt, text)
    takt.call("POST", f"/v1/experiments/{key}/start")
    return key


def drafted(takt: Caller, text: str) -> str:
    key = f"r-{uuid.uuid4().hex[:8]}"
    takt.call("POST", "/v1/experiments", {"yaml": f"key: {key}\n{text.partition(chr(10))[2]}"})
    return key


def assigned(takt: Caller, key: str, customers: int) -> dict[str, Any]:
    """What customers were told of their variant."""
    return {
        customer_id: takt.call("POST", "/v1/assignments", {"customer_id": customer_id, "experiment": key})
        for customer_id in (f"{key}-{number}" for number in range(customers))
    }


def refreshed(takt: Caller, key: str) -> Any:
    return takt.call("POST", f"/v1/experiments/{key}/readout")


def rates(answer: Any, metric: str) -> dict[str, tuple[float, float]]:
    (found,) = (each for each in answer["readout"]["metrics"] if each["name"] == metric)
    return {each["variant"]: (each["numerator"], each["denominator"]) for each in found["arms"]}


def test_a_readout_is_computed_kept_and_read_again(takt: Caller) -> None:
    key = started(takt, AA)
    path = f"/v1/experiments/{key}/readout"
    assert is_problem(takt.send("GET", path), 404)
    told = assigned(takt, key, 40)
    buyers = list(told)[:10]
    events = [
        {"id": f"p-{who}", "source": "shop", "customer_id": who, "type": "purchase", "at": told[who]["at"], "value": 9}
        for who in buyers
    ]
    takt.call("POST", "/v1/events", {"events": events})
    takt.call("POST", f"/v1/experiments/{key}/notes", {"note": "Two of six asked why."})
    advance_clock(takt.service.database_url, 15 * DAY_S)

    first = refreshed(takt, key)
    entered = Counter(each["variant"] for each in told.values())
    bought = Counter(told[who]["variant"] for who in buyers)
    assert rates(first, "bought") == {name: (bought[name], entered[name]) for name in ("a", "b")}
    assert {each["variant"]: each["units"] for each in first["readout"]["groups"]} == entered
    assert (first["experiment"], first["state"], first["call"]) == (key, "running", "keep_running")
    assert (first["eligible"], first["pauses"], first["concurrent"]) == (None, None, [])
    assert first["refusals"] is None, "of an experiment that changes no budget"
    assert [each["note"] for each in first["findings"]] == ["Two of six asked why."]
    assert "unsubscribed_28" in first["standard"]
    assert Readout.from_json(json.dumps(first["readout"])).key == key

    again = takt.call("GET", path)
    assert again == {**first, "age_s": again["age_s"]}
    advance_clock(takt.service.database_url, DAY_S)
    assert DAY_S <= takt.call("GET", path)["age_s"] < 2 * DAY_S
    second = refreshed(takt, key)
    assert second["computed_at"] > first["computed_at"]
    assert takt.call("GET", path)["computed_at"] == second["computed_at"]
    for at, found in ((first, first), (second, second)):
        older = takt.call("GET", f"{path}?at={quote(at['computed_at'])}")
        assert older == {**found, "age_s": older["age_s"]}
    before = datetime.fromisoformat(first["computed_at"]) - timedelta(microseconds=1)
    assert is_problem(takt.send("GET", f"{path}?at={quote(before.isoformat())}"), 404)


def test_of_a_budget_experiment_the_diverged_are_read_and_all_eligible_stand_beside(takt: Caller) -> None:
    key = started(takt, PLAN)
    variants: dict[str, str] = {}
    for number in range(24):
        who = f"{key}-{number}"
        asks = 2 if number % 3 else 1  # who is asked about but once meets the same limit in all variants
        for ask in range(asks):
            answer = takt.ask(who, f"m{ask}", channel="push")
            variants[who] = answer["variants"][key]
            if answer["verdict"] == "allow":
                takt.confirm(who, f"m{ask}")
    advance_clock(takt.service.database_url, 30 * DAY_S)
    found = refreshed(takt, key)
    diverged = Counter(variants[f"{key}-{number}"] for number in range(24) if number % 3)
    assert {each["variant"]: each["units"] for each in found["readout"]["groups"]} == diverged
    assert found["eligible"]["customers"] == Counter(variants.values())
    assert found["eligible"]["share_diverged"] == pytest.approx(16 / 24)
    for each in found["eligible"]["effects"]:
        (metric,) = (every for every in found["readout"]["metrics"] if every["name"] == each["metric"])
        (comparison,) = metric["comparisons"]
        assert each["effect"] == pytest.approx(comparison["estimate"]["effect"] * 16 / 24)
    # The control's second ask was deferred: what was sent since divergence is the others' second push.
    assert rates(found, "contacts_28") == {"one": (0, diverged["one"]), "three": (diverged["three"], diverged["three"])}
    refused = {each["variant"]: (each["customers"], each["messages"]) for each in found["refusals"]["by_variant"]}
    assert refused == {name: (count, 0) for name, count in diverged.items()}, "in the last four weeks, nothing"
    eligible_looks = [each for each in found["readout"]["checks"] if each["where"] == "all eligible"]
    assert [each["code"] for each in eligible_looks] == ["srm"]


def test_what_cannot_be_read_is_said(takt: Caller) -> None:
    key = drafted(takt, AA)
    assert is_problem(takt.send("POST", f"/v1/experiments/{key}/readout"), 409)
    for method in ("GET", "POST"):
        assert is_problem(takt.send(method, "/v1/experiments/nobody-knows/readout"), 404)
    for at in ("yesterday", "2026-10-05T09:00:00", "2026-10-05"):
        assert is_problem(takt.send("GET", f"/v1/experiments/{key}/readout?at={at}"), 422)
    with Caller(takt.service, make_key(takt.service.database_url, Scope.DECIDE).secret) as sender:
        assert is_problem(sender.send("GET", f"/v1/experiments/{key}/readout"), 403)
    with Caller(takt.service, make_key(takt.service.database_url, Scope.READ).secret) as reader:
        assert is_problem(reader.send("POST", f"/v1/experiments/{key}/readout"), 403)


def test_asks_go_on_while_a_readout_waits_and_those_who_want_the_same_get_the_same(takt: Caller) -> None:
    key = started(takt, AA)
    assigned(takt, key, 4)
    number = takt.call("GET", f"/v1/experiments/{key}")["number"]
    count = f"SELECT count(*) FROM snapshots WHERE experiment = {number}".encode()
    waiting = (
        b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        b" AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(takt.service.database_url, autocommit=True) as other, ThreadPoolExecutor(4) as threads:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, number))
        answers = [threads.submit(refreshed, takt, key) for _ in range(4)]
        while other.execute(waiting).fetchone() == (0,):
            assert takt.ask(f"{key}-{uuid.uuid4().hex}", "m", channel="push")["verdict"] == "allow"
        assert other.execute(count).fetchone() == (0,)
        other.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, number))
        found = [each.result() for each in answers]
        assert len({each["computed_at"] for each in found}) <= 2
        row = other.execute(count).fetchone()
    assert row is not None
    assert row[0] <= 2, "four readers, one computation under way and at most one for those who came meanwhile"


def test_whom_a_ship_held_back_is_read_beside_everybody_else(service: Service) -> None:
    """On a service of its own: everybody who was sent a push within 28 days is read."""
    with calling(service) as takt:
        held_back_is_read(takt)


def held_back_is_read(takt: Caller) -> None:
    key = started(takt, PLAN)
    path = f"/v1/experiments/{key}/holdout/readout"
    people = [f"{key}-{number}" for number in range(40)]
    variants = {who: takt.ask(who, "m", channel="push")["variants"].get(key) for who in people}
    assert is_problem(takt.send("POST", path), 404), "nothing was shipped"
    takt.call("POST", f"/v1/experiments/{key}/ship", {"variant": "three", "holdout": 0.1})
    assert is_problem(takt.send("POST", path), 409), "there is no day of it yet"
    assert is_problem(takt.send("GET", path), 404)
    advance_clock(takt.service.database_url, 3 * DAY_S)
    for who in people:
        takt.confirm(who, "m")

    found = takt.call("POST", path)
    shown = takt.call("GET", path)
    assert shown == {**found, "age_s": shown["age_s"]}
    assert (found["experiment"], found["shipped"], found["day"], found["days"]) == (key, "three", None, 3)
    assert found["run"]["is_short"]
    held = Draw("holdout", f"{key}:holdout")
    there = Counter(
        "holdout" if held.pair(who.encode())[0] < threshold(0.1) else "three" for who in people if variants[who]
    )
    assert Counter({each["variant"]: each["customers"] for each in found["cohort"]}) == there
    assert {each["variant"]: each["units"] for each in found["readout"]["groups"]} == {"holdout": 0, "three": 0} | there
    assert Readout.from_json(json.dumps(found["readout"])).key == key
    days = takt.call("GET", f"/v1/experiments/{key}")["holdout"]["readouts"]
    assert [(each["day"], each["computed_at"], each["call"]) for each in days][:2] == [
        (28, None, None),
        (90, None, None),
    ]
    assert is_problem(takt.send("GET", f"{path}?day=28"), 404)
    assert is_problem(takt.send("GET", f"{path}?day=0"), 422)
    with Caller(takt.service, make_key(takt.service.database_url, Scope.READ).secret) as reader:
        assert reader.send("GET", path).is_success
        assert is_problem(reader.send("POST", path), 403)
