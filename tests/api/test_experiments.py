"""Experiments over HTTP: from plan to shipped, with the answers that asks get on the way."""

import uuid
from collections.abc import Generator
from typing import Any

import pytest

from engine.core.tokens import Scope
from experiments.assigning.draws import Draw, threshold
from tests.api.caller import DAY_S, Caller, advance_clock, at_once, is_problem, row_counts
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, written
from tests.service import Service


@pytest.fixture
def takt(shared_service: Service) -> Generator[Caller]:
    """Under the policy of the tests, with no experiment running."""
    with Caller(shared_service) as caller:
        for each in caller.call("GET", "/v1/experiments?state=running")["experiments"]:
            caller.call("POST", f"/v1/experiments/{each['key']}/stop")
        caller.call("POST", "/v1/policies", {"yaml": POLICY})
        yield caller


@pytest.fixture
def key() -> str:
    return f"e-{uuid.uuid4().hex[:8]}"


def named(key: str, text: str = PLAN, **more: Any) -> str:
    """A plan under a key of the test's own."""
    first, rest = written(text, **more).split("\n", 1)
    assert first.startswith("key: ")
    return f"key: {key}\n{rest}"


def step(takt: Caller, key: str, name: str, **fields: object) -> Any:
    return takt.call("POST", f"/v1/experiments/{key}/{name}", fields)


def test_an_experiment_goes_from_plan_to_policy(takt: Caller, key: str) -> None:
    text = named(key, traffic=0.5)
    created = takt.send("POST", "/v1/experiments", {"yaml": text, "on_harm": "stop", "note": "agreed"})
    assert (created.status_code, created.json()["state"]) == (201, "draft")
    started = step(takt, key, "start")
    assert (started["state"], started["on_harm"]) == ("running", "stop")
    assert started["plan"]["start"] == started["started_at"][:10]
    assert step(takt, key, "ramp", traffic=1)["plan"]["traffic"] == 1.0
    advance_clock(takt.service.database_url, DAY_S)
    assert len(step(takt, key, "phase", weights={"one": 1, "three": 3})["plan"]["phases"]) == 2
    step(takt, key, "notes", note="Two of six asked why.")
    version = takt.call("GET", "/v1/policies")["in_force"]["policy_version"]
    shipped = step(takt, key, "ship", variant="three", holdout=0.1)
    assert (shipped["state"], shipped["shipped"]) == ("shipped", "three")
    assert "Short run" in shipped["warnings"][0]

    whole = takt.call("GET", f"/v1/experiments/{key}")
    assert whole["yaml"] == text
    assert [each["action"] for each in whole["log"]] == ["created", "start", "ramp", "phase", "note", "ship"]
    assert {each["author"] for each in whole["log"]} == {"test"}, "the key's name"
    assert (whole["holdout"]["share"], whole["holdout"]["policy_version"]) == (0.1, version)
    assert [(each["day"], each["computed_at"]) for each in whole["holdout"]["readouts"]] == [
        (28, None),
        (90, None),
        (180, None),
        (365, None),
    ]
    now = takt.call("GET", "/v1/policies")
    assert now["versions"][0]["note"] == f"shipped {key}: three"
    assert "# the one that is argued about" in takt.call("GET", f"/v1/policies/{now['versions'][0]['version']}")["yaml"]
    assert key in [each["key"] for each in takt.call("GET", "/v1/experiments?state=shipped")["experiments"]]


def test_asks_are_decided_as_things_stand_once_a_step_has_answered(takt: Caller, key: str) -> None:
    def allowed(customer_id: str, pushes: int = 4) -> int:
        """How many of so many pushes at once are allowed."""
        verdicts = [
            takt.ask(customer_id, f"{customer_id}-{number}", channel="push")["verdict"] for number in range(pushes)
        ]
        return verdicts.count("allow")

    shipped = [each["key"] for each in takt.call("GET", "/v1/experiments?state=shipped")["experiments"]]
    older = [Draw("holdout", f"{each}:holdout") for each in shipped]  # of tests before: who is in one is in nothing
    everybody = [f"{key}-{number}" for number in range(240)]
    people = [each for each in everybody if all(draw.pair(each.encode())[0] >= threshold(0.1) for draw in older)][:80]
    before, during, after, held = people[:10], people[10:40], people[40:50], people[50:]
    assert {allowed(each) for each in before} == {1}
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    assert takt.ask(during[0], None, channel="push", mode="peek")["variants"] == {}, "a draft"
    step(takt, key, "start")
    arms = {each: takt.ask(each, None, channel="push", mode="check")["variants"][key] for each in during}
    assert set(arms.values()) == {"one", "three"}
    assert all(allowed(each) == (3 if arm == "three" else 1) for each, arm in arms.items())
    step(takt, key, "stop")
    assert takt.ask(after[0], None, channel="push", mode="check")["variants"] == {}
    assert {allowed(each) for each in after} == {1}
    step(takt, key, "ship", variant="three", holdout=0.1)
    outside = Draw("holdout", f"{key}:holdout")
    for each in held:
        is_held = outside.pair(each.encode())[0] < threshold(0.1)
        assert allowed(each) == (1 if is_held else 3), each


def test_a_plan_as_a_document_is_the_same_plan(takt: Caller, key: str) -> None:
    from_yaml = takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    other = f"{key}-json"
    from_json = takt.call("POST", "/v1/experiments", {"plan": {**from_yaml["plan"], "key": other}})
    assert from_json["plan"] == {**from_yaml["plan"], "key": other}
    assert takt.call("POST", "/v1/experiments", {"plan": from_json["plan"]})["number"] == from_json["number"]
    assert step(takt, other, "start")["state"] == "running"


def test_a_plan_is_validated_with_what_a_start_would_warn_of(takt: Caller, key: str) -> None:
    before = row_counts(takt.service.database_url)
    found = takt.call("POST", "/v1/experiments/validate", {"yaml": named(key, planned_units=2_000)})
    assert (found["valid"], found["key"], found["preflight"]["customers"]) == (True, key, 2_000)
    assert found["warnings"]
    assert row_counts(takt.service.database_url) == before


WRONG: dict[str, tuple[dict[str, Any], str, int | None]] = {
    "no plan": ({}, "", None),
    "two": ({"yaml": PLAN, "plan": {}}, "", None),
    "an empty one": ({"plan": {}}, "key", None),
    "no budget of the policy": ({"yaml": PLAN.replace("push-weekly", "push")}, "variants[1].policy.budgets.push", 5),
    "a dose that is not the limit": ({"yaml": PLAN.replace("dose: 3", "dose: 4")}, "variants[1].dose", 5),
    "weights of zero": ({"yaml": PLAN.replace("dose: 3", "dose: 3, weight: 0")}, "variants", 3),
    "no control": ({"yaml": PLAN.replace("control: true, ", "")}, "variants", 3),
    "a ratio that decides": (
        {
            "yaml": PLAN + "  - {name: r, kind: ratio, role: primary, direction: decrease,"
            " numerator: {event: unsubscribed}, denominator: {event: sent}}\n"
        },
        "metrics[2].role",
        11,
    ),
    "a key that no address holds": ({"yaml": PLAN.replace("push-more", "push/more")}, "key", 1),
    "a broken text": ({"yaml": "key: ["}, "", 1),
    "an unknown field": ({"yaml": PLAN, "wat": 1}, "wat", None),
    "not a number": ({"yaml": PLAN + "traffic: .nan\n"}, "traffic", 11),
    "on_harm of another kind": ({"yaml": PLAN, "on_harm": "panic"}, "on_harm", None),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_is_refused_by_place_and_changes_nothing(takt: Caller, name: str) -> None:
    document, path, line = WRONG[name]
    before = row_counts(takt.service.database_url)
    response = takt.send("POST", "/v1/experiments", document)
    assert is_problem(response, 422)
    assert (path, line) in [(each["path"], each["line"]) for each in response.json()["problems"]], response.text
    assert row_counts(takt.service.database_url) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"plan": {"key": NaN}}',
        b'{"plan": {"key": "a", "key": "b"}}',
        b'{"plan": {"key": "a\\u0000"}}',
        b'{"plan": {"key": "\\ud800"}}',
        b'{"plan": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"plan": []}',
        b'{"yaml": 7}',
        b"[]",
        b"",
    ],
)
def test_hostile_documents_are_refused(takt: Caller, body: bytes) -> None:
    for route in ("/v1/experiments", "/v1/experiments/validate"):
        response = takt.http.post(route, content=body, headers={"content-type": "application/json"})
        assert is_problem(response, 422), body


@pytest.mark.parametrize(
    ("name", "fields", "path"),
    [
        ("ramp", {"traffic": 0}, "traffic"),
        ("ramp", {"traffic": 1.5}, "traffic"),
        ("ramp", {"traffic": "1"}, "traffic"),
        ("ramp", {}, "traffic"),
        ("phase", {"weights": {}}, "weights"),
        ("phase", {"weights": {"one": 0, "three": 0}}, "weights"),
        ("phase", {"weights": {"one": 1, "three": -1}}, "weights.three"),
        ("phase", {"weights": {"one": 1, "three": 1, "six": 1}}, "weights.six"),
        ("ship", {"variant": "six"}, "variant"),
        ("ship", {"variant": "three", "holdout": 0.2}, "holdout"),
        ("ship", {"variant": "three", "holdout_days": 1}, "holdout_days"),
        ("notes", {"note": ""}, "note"),
        ("stop", {"why": "x"}, "why"),
    ],
)
def test_a_wrong_step_is_refused_by_place_and_changes_nothing(
    takt: Caller, key: str, name: str, fields: dict[str, object], path: str
) -> None:
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    step(takt, key, "start")
    advance_clock(takt.service.database_url, DAY_S)
    before = row_counts(takt.service.database_url), takt.call("GET", f"/v1/experiments/{key}")
    response = takt.send("POST", f"/v1/experiments/{key}/{name}", fields)
    assert is_problem(response, 422), response.text
    assert any(each["path"].startswith(path) for each in response.json()["problems"]), response.text
    assert (row_counts(takt.service.database_url), takt.call("GET", f"/v1/experiments/{key}")) == before


def test_what_is_at_odds_with_what_runs_is_a_conflict_and_what_is_not_there_not_found(takt: Caller, key: str) -> None:
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    other = f"{key}-2"
    takt.call("POST", "/v1/experiments", {"yaml": named(other)})
    for name, fields in (("stop", {}), ("ramp", {"traffic": 1}), ("ship", {"variant": "three"})):
        assert is_problem(takt.send("POST", f"/v1/experiments/{key}/{name}", fields), 409, "conflict"), "a draft"
    step(takt, key, "start")
    for response in (
        takt.send("POST", f"/v1/experiments/{key}/start"),
        takt.send("POST", f"/v1/experiments/{other}/start"),
        takt.send("POST", f"/v1/experiments/{key}/ship", {"variant": "one"}),
        takt.send("POST", f"/v1/experiments/{key}/phase", {"weights": {"one": 1, "three": 2}}),
        takt.send("POST", "/v1/policies", {"yaml": POLICY.replace("push-weekly", "push")}),
    ):
        assert is_problem(response, 409, "conflict")
    assert "'" + key + "'" in takt.send("POST", f"/v1/experiments/{other}/start").json()["detail"]
    assert is_problem(takt.send("GET", "/v1/experiments/nobody"), 404, "not_found")
    assert is_problem(takt.send("POST", "/v1/experiments/nobody/start"), 404, "not_found")
    assert is_problem(takt.send("GET", "/v1/experiments?state=wild"), 422)


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000"])
def test_texts_that_no_database_keeps_are_refused_in_every_field(takt: Caller, key: str, text: str) -> None:
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    step(takt, key, "start")
    for name, body in (
        ("notes", '{"note": "TEXT"}'),
        ("stop", '{"note": "TEXT"}'),
        ("stop", '{"request_id": "TEXT"}'),
        ("phase", '{"weights": {"TEXT": 1, "one": 1}}'),
        ("ship", '{"variant": "TEXT"}'),
    ):
        response = takt.http.post(f"/v1/experiments/{key}/{name}", content=body.replace("TEXT", text))
        assert is_problem(response, 422), (name, body)
    response = takt.http.post("/v1/experiments", content='{"yaml": "TEXT"}'.replace("TEXT", text))
    assert is_problem(response, 422)
    for path in ("%00", "%ed%a0%80", "a%20b", "a" * 101, "%C3%A9"):
        assert is_problem(takt.send("GET", f"/v1/experiments/{path}"), 422), path
        assert is_problem(takt.send("POST", f"/v1/experiments/{path}/stop"), 422), path


def test_a_step_may_come_without_a_body_and_twice_with_the_same_id(takt: Caller, key: str) -> None:
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    path = f"/v1/experiments/{key}/start"
    first = takt.call("POST", path, {"request_id": "r-1"})
    assert takt.call("POST", path, {"request_id": "r-1"}) == first
    assert is_problem(takt.send("POST", path, {"request_id": "r-2"}), 409)
    response = takt.http.post(f"/v1/experiments/{key}/stop")
    assert response.json()["state"] == "stopped", response.text


def test_reading_needs_read_and_every_step_manage(takt: Caller, key: str) -> None:
    takt.call("POST", "/v1/experiments", {"yaml": named(key)})
    with Caller(takt.service, takt.service.make_key(Scope.READ)) as reader:
        assert reader.call("GET", f"/v1/experiments/{key}")["key"] == key
        assert reader.call("POST", "/v1/experiments/validate", {"yaml": named(f"{key}-2")})["valid"]
        for path in ("", *(f"/{key}/{each}" for each in ("start", "ramp", "phase", "stop", "ship", "notes"))):
            assert is_problem(reader.send("POST", f"/v1/experiments{path}", {}), 403, "forbidden"), path
    with Caller(takt.service, takt.service.make_key(Scope.DECIDE)) as sender:
        assert is_problem(sender.send("GET", "/v1/experiments"), 403, "forbidden")


def test_of_starts_at_once_over_http_one_wins_and_the_others_are_told_why(takt: Caller, key: str) -> None:
    keys = [f"{key}-{number}" for number in range(4)]
    for each in keys:
        takt.call("POST", "/v1/experiments", {"yaml": named(each)})
    starts = [lambda each=each: takt.send("POST", f"/v1/experiments/{each}/start") for each in keys]
    answers = at_once(starts)
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]
    running = takt.call("GET", "/v1/experiments?state=running")["experiments"]
    assert len(running) == 1


def test_experiments_that_do_not_conflict_run_side_by_side(takt: Caller, key: str) -> None:
    for number, text in enumerate((PLAN, EMAIL, AA)):
        takt.call("POST", "/v1/experiments", {"yaml": named(f"{key}-{number}", text)})
        assert step(takt, f"{key}-{number}", "start")["state"] == "running"
