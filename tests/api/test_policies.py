"""Policies and pauses over HTTP: validated by line, kept as versions, in force at once."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.api.caller import POLICY, Caller, ask, at_once, eventually, is_problem, row_counts
from tests.service import Service

_ACTIVATION_LOCK = 7_236_871_002
STRICT = POLICY.replace("limit: 1,", "limit: 0,").replace("email-weekly", "no-email")


@pytest.fixture
def takt(shared_service: Service) -> Generator[Caller]:
    """The policy that the tests know, and no pause."""
    with Caller(shared_service) as caller:
        for pause in caller.call("POST", "/v1/policies", {"yaml": POLICY})["pauses"]:
            caller.call("DELETE", f"/v1/pauses/{pause['name']}")
        yield caller


def test_a_policy_is_in_force_once_its_activation_has_answered(takt: Caller, ada: str) -> None:
    assert takt.ask(ada, "m-1", mode="check")["verdict"] == "allow"
    activated = takt.call("POST", "/v1/policies", {"yaml": STRICT, "note": "no e-mail"})
    answer = takt.ask(ada, "m-2")
    assert (answer["verdict"], answer["ruleset"]) == ("deny", activated["ruleset"])
    shown = takt.call("GET", "/v1/policies")
    assert shown["in_force"]["policy_version"] == activated["policy_version"]
    assert shown["versions"][0]["note"] == "no e-mail"
    kept = takt.call("GET", f"/v1/policies/{activated['policy_version']}")
    assert kept["yaml"] == STRICT, "as it was written"

    earlier = activated["policy_version"] - 1
    late = takt.send("POST", f"/v1/policies/{earlier}/activate?if_version={earlier}")
    assert is_problem(late, 409)
    again = takt.call("POST", f"/v1/policies/{earlier}/activate?if_version={activated['policy_version']}")
    assert (again["policy_version"], again["ruleset"]) == (earlier, activated["ruleset"] + 1)
    assert takt.ask(ada, "m-3")["verdict"] == "allow"


def test_activations_at_once_are_numbered_one_by_one(takt: Caller) -> None:
    before = takt.call("GET", "/v1/policies")["in_force"]["ruleset"]
    made = at_once(lambda: takt.call("POST", "/v1/policies", {"yaml": POLICY}) for _ in range(12))
    assert sorted(each["ruleset"] for each in made) == list(range(before + 1, before + 13))


def test_an_activation_waits_for_the_one_before_it(takt: Caller) -> None:
    with psycopg.connect(takt.service.database_url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        other.execute("SELECT pg_advisory_lock(%s)", (_ACTIVATION_LOCK,))
        waiting = pool.submit(takt.call, "POST", "/v1/policies", {"yaml": POLICY})
        query = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
            " AND clock_timestamp() - query_start > interval '400 ms'"
        )
        eventually(lambda: other.execute(query).fetchone() or waiting.done())
        other.execute("SELECT pg_advisory_unlock(%s)", (_ACTIVATION_LOCK,))
        assert waiting.result()["ruleset"]


def test_of_two_that_replace_the_same_version_one_does(takt: Caller) -> None:
    """Both look while neither is in force: only what is looked at behind the lock tells them apart."""
    before = takt.call("GET", "/v1/policies")["in_force"]
    body = {"yaml": POLICY, "if_version": before["policy_version"]}
    with psycopg.connect(takt.service.database_url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        other.execute("SELECT pg_advisory_lock(%s)", (_ACTIVATION_LOCK,))
        waiting = [pool.submit(takt.send, "POST", "/v1/policies", body) for _ in range(2)]
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        eventually(lambda: other.execute(query).fetchone() == (2,) or any(each.done() for each in waiting))
        other.execute("SELECT pg_advisory_unlock(%s)", (_ACTIVATION_LOCK,))
        answers = sorted((each.result() for each in waiting), key=lambda each: each.status_code)
    assert answers[0].status_code == 200
    assert is_problem(answers[1], 409, "superseded")
    after = takt.call("GET", "/v1/policies")
    assert after["in_force"]["ruleset"] == before["ruleset"] + 1
    assert after["in_force"]["policy_version"] == answers[0].json()["policy_version"] == after["versions"][0]["version"]


def test_a_policy_for_another_version_than_the_one_in_force_changes_nothing(takt: Caller) -> None:
    before = row_counts(takt.service.database_url)
    number = takt.call("GET", "/v1/policies")["in_force"]["policy_version"]
    for other in (number - 1, number + 1, 0):
        refused = takt.send("POST", "/v1/policies", {"yaml": POLICY, "if_version": other})
        assert is_problem(refused, 409, "superseded")
        assert f"version {number} is in force" in refused.json()["detail"]
    for wrong in (-1, "1", 1.5, 2**31):
        assert is_problem(takt.send("POST", "/v1/policies", {"yaml": POLICY, "if_version": wrong}), 422, "invalid")
    assert row_counts(takt.service.database_url) == before


def test_a_valid_policy_is_shown_in_full(takt: Caller) -> None:
    before = row_counts(takt.service.database_url)
    shown = takt.call("POST", "/v1/policies/validate", {"yaml": POLICY})
    assert shown["valid"] is True
    assert takt.call("POST", "/v1/policies/validate", {"yaml": shown["yaml"]})["yaml"] == shown["yaml"]
    assert row_counts(takt.service.database_url) == before


WRONG = {
    "a limit that nothing can meet": ("budgets:\n  - {name: a, limit: 3, window: {rolling: 0s}}\n", "window", 3),
    "a contradiction": ("budgets:\n  - {name: a, limit: 1, min_gap: 2h, window: {rolling: 7d}}\n", "budgets[0]", 3),
    "the same name twice": ("budgets:\n  - {name: a, min_gap: 1h}\n  - {name: a, min_gap: 2h}\n", "budgets[1].name", 4),
    "a key twice": ("mode: enforce\nmode: observe\n", "mode", 3),
    "an offset for a zone": ("unknown_timezone: +02:00\n", "unknown_timezone", 2),
    "not a number": ("budgets:\n  - {name: a, limit: .nan, window: {rolling: 7d}}\n", "budgets[0].limit", 3),
    "an unknown field": ("budgets:\n  - {name: a, min_gap: 1h, maximum: 3}\n", "budgets[0].maximum", 3),
    "an end in the middle": ('budgets:\n  - {name: a, min_gap: "1h', "", None),
    "a NUL": ("mode: enf\0rce\n", "", 2),
    "tabs": ("budgets:\n\t- {name: a}\n", "", None),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_policy_is_refused_by_line_and_changes_nothing(takt: Caller, ada: str, name: str) -> None:
    text, path, line = WRONG[name]
    before = row_counts(takt.service.database_url)
    for route in ("/v1/policies", "/v1/policies/validate"):
        response = takt.send("POST", route, {"yaml": f"schema: 1\n{text}"})
        assert is_problem(response, 422, "invalid_policy")
        problems = response.json()["problems"]
        assert any(path in each["path"] for each in problems), problems
        assert line is None or line in [each["line"] for each in problems], problems
        assert all(each["line"] for each in problems)
    assert row_counts(takt.service.database_url) == before
    assert takt.ask(ada, None, mode="peek")["verdict"] == "allow"


def test_decisions_go_on_while_an_enormous_policy_is_read(takt: Caller, ada: str) -> None:
    hostile = "schema: 1\ntopics: {" + ", ".join(f"t{n}: {{}}" for n in range(20_000)) + "}\n"
    assert len(hostile) < 262_144

    def refuse() -> str:
        assert is_problem(takt.send("POST", "/v1/policies/validate", {"yaml": hostile}), 422)
        return "refused"

    ended = at_once([refuse, *[lambda n=n: takt.ask(f"{ada}-{n}", "m-1")["verdict"] for n in range(8)]])
    assert ended == ["refused", *["allow"] * 8]


def test_an_unknown_version_is_not_found(takt: Caller) -> None:
    assert is_problem(takt.send("GET", "/v1/policies/999"), 404, "not_found")
    assert is_problem(takt.send("POST", "/v1/policies/999/activate"), 404, "not_found")
    for path in ("/v1/policies/0", "/v1/policies/one", "/v1/policies/99999999999999999999"):
        assert is_problem(takt.send("GET", path), 422)


class TestPauses:
    def test_stop_what_they_select_until_they_are_lifted(self, takt: Caller, ada: str) -> None:
        paused = takt.call("POST", "/v1/pauses", {"name": "outage", "channels": ["email"], "teams": ["crm"]})
        assert [each["name"] for each in paused["pauses"]] == ["outage"]
        refused = takt.ask(ada, "m-1", team="crm")
        assert [(each["code"], each["rule"]) for each in refused["reasons"]] == [("paused", "outage")]
        assert takt.ask(ada, "m-2", team="sales")["verdict"] == "allow"
        assert takt.ask(ada, "m-3", topic="account", team="crm")["verdict"] == "allow", "exempt topics pass"
        assert takt.call("DELETE", "/v1/pauses/outage")["pauses"] == []
        assert takt.ask(f"{ada}-2", "m-1", team="crm")["verdict"] == "allow"

    def test_end_by_themselves(self, takt: Caller, ada: str) -> None:
        takt.call("POST", "/v1/pauses", {"name": "short", "until": "2027-01-01T00:00:00Z"})
        takt.call(
            "POST", "/v1/pauses", {"name": "past", "from": "2001-01-01T00:00:00Z", "until": "2002-01-01T00:00:00Z"}
        )
        reasons = [each["rule"] for each in takt.ask(ada, "m-1")["reasons"]]
        assert "past" not in reasons

    def test_survive_an_activation_and_bind_an_observing_policy(self, takt: Caller, ada: str) -> None:
        takt.call("POST", "/v1/pauses", {"name": "outage"})
        takt.call("POST", "/v1/policies", {"yaml": POLICY.replace("schema: 1", "schema: 1\nmode: observe")})
        assert takt.ask(ada, "m-1")["reasons"][0]["code"] == "paused"

    def test_have_names_of_their_own(self, takt: Caller) -> None:
        takt.call("POST", "/v1/pauses", {"name": "outage"})
        assert is_problem(takt.send("POST", "/v1/pauses", {"name": "outage"}), 409, "conflict")
        assert is_problem(takt.send("DELETE", "/v1/pauses/other"), 404, "not_found")

    @pytest.mark.parametrize(
        ("pause", "place"),
        [
            ({"name": "Outage!"}, "name"),
            ({"name": "a", "channels": []}, "channels"),
            ({"name": "a", "channels": ["pigeon"]}, "channels[0]"),
            ({"name": "a", "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
            ({"name": "a", "until": "2026-01-01T00:00:00"}, "until"),
            ({"name": "a", "topics": ["t"] * 501}, "topics"),
        ],
    )
    def test_that_are_wrong_are_refused_by_place(self, takt: Caller, pause: dict[str, object], place: str) -> None:
        before = row_counts(takt.service.database_url)
        response = takt.send("POST", "/v1/pauses", pause)
        assert is_problem(response, 422, "invalid")
        assert response.json()["problems"][0]["path"] == place
        assert row_counts(takt.service.database_url) == before


def test_an_observing_policy_allows_and_says_what_it_would_have_said(takt: Caller, ada: str) -> None:
    takt.call("POST", "/v1/policies", {"yaml": POLICY.replace("schema: 1", "schema: 1\nmode: observe")})
    first, second = takt.ask_all(ask(ada, "m-1"), ask(ada, "m-2"))
    assert [(each["verdict"], each["observed"]) for each in (first, second)] == [("allow", "allow"), ("allow", "defer")]
    assert takt.journal(ada)["entries"][0]["observed"] == "defer"
    takt.suppress(ada)
    assert takt.ask(ada, "m-3")["verdict"] == "deny", "suppression binds all the same"
