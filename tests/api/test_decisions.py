"""Asking: modes, planned sends, priorities, and every sentence of what a message id promises."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.caller import DAY_S, Caller, advance_clock, ask, at_once, is_problem, row_counts


def now(takt: Caller, customer_id: str) -> datetime:
    """The service's time."""
    return datetime.fromisoformat(takt.ask(customer_id, None, mode="peek", channel="letter")["decided_at"])


def test_an_allowed_ask_is_reserved_and_says_how_its_budgets_stand(takt: Caller, ada: str) -> None:
    answer = takt.ask(ada, "m-1", campaign="autumn")
    assert (answer["verdict"], answer["state"], answer["replayed"], answer["attempt"]) == (
        "allow",
        "reserved",
        False,
        1,
    )
    assert (answer["lease_s"], answer["reasons"], answer["retry_at"]) == (300, [], None)
    (budget,) = answer["budgets"]
    assert (budget["budget"], budget["limit"], budget["used"], budget["left"]) == ("email-weekly", 1, 1, 0)


def test_a_refused_ask_says_why_and_when_to_come_again(takt: Caller, ada: str) -> None:
    first = takt.ask(ada, "m-1", lease_s=60)
    takt.confirm(ada, "m-1")
    answer = takt.ask(ada, "m-2")
    assert (answer["verdict"], answer["state"], answer["lease_expires_at"]) == ("defer", None, None)
    (reason,) = answer["reasons"]
    assert (reason["code"], reason["rule"]) == ("limit", "email-weekly")
    assert reason["text"]
    confirmed = datetime.fromisoformat(first["decided_at"])
    retry_at = datetime.fromisoformat(answer["retry_at"])
    assert timedelta(days=7) <= retry_at - confirmed < timedelta(days=7, seconds=30)
    assert 0 <= answer["retry_after_s"] - 7 * DAY_S + 30 < 60
    assert answer["retry_certain"] is True


class TestAPeek:
    def test_leaves_no_trace_at_all(self, takt: Caller, ada: str) -> None:
        before = row_counts(takt.service.database_url)
        assert takt.ask(ada, None, mode="peek", campaign=f"never-seen-{ada}")["verdict"] == "allow"
        assert takt.ask(ada, "m-1", mode="peek", team=f"never-seen-{ada}")["state"] is None
        (answer,) = takt.ask_all(ask(ada, "m-1", mode="peek"))
        assert answer["verdict"] == "allow"
        assert row_counts(takt.service.database_url) == before
        assert is_problem(takt.send("GET", f"/v1/customers/{ada}"), 404, "not_found")

    def test_sees_what_an_ask_would_meet(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        assert takt.ask(ada, None, mode="peek")["verdict"] == "defer"


def test_a_check_takes_no_budget_and_is_journaled(takt: Caller, ada: str) -> None:
    answer = takt.ask(ada, None, mode="check")
    assert (answer["verdict"], answer["state"], answer["message_id"]) == ("allow", None, None)
    assert takt.used(ada) == 0
    (entry,) = takt.journal(ada)["entries"]
    assert (entry["entry"], entry["verdict"]) == ("check", "allow")
    assert takt.ask(ada, "m-1")["verdict"] == "allow"


class TestALiveMessageId:
    def test_gets_its_verdict_again_with_what_remains_of_the_lease(self, takt: Caller, ada: str) -> None:
        first = takt.ask(ada, "m-1")
        advance_clock(takt.service.database_url, 100)
        again = takt.ask(ada, "m-1")
        assert (again["verdict"], again["state"], again["replayed"], again["attempt"]) == ("allow", "reserved", True, 1)
        assert again["decided_at"] == first["decided_at"]
        assert again["lease_expires_at"] == first["lease_expires_at"]
        assert 0 < again["lease_s"] <= 200
        assert takt.used(ada) == 1

    @pytest.mark.parametrize("state", ["confirmed", "presumed_sent"])
    def test_says_when_it_was_sent_already(self, takt: Caller, ada: str, state: str) -> None:
        takt.ask(ada, "m-1", lease_s=60, on_expiry="presume_sent")
        if state == "confirmed":
            takt.confirm(ada, "m-1")
        advance_clock(takt.service.database_url, 61)
        again = takt.ask(ada, "m-1", on_expiry="presume_sent")
        assert (again["verdict"], again["state"], again["replayed"]) == ("allow", state, True)
        assert (again["lease_s"], again["lease_expires_at"]) == (None, None)

    def test_has_one_contact_however_many_ask_at_once(self, takt: Caller, ada: str) -> None:
        answers = at_once(lambda: takt.ask(ada, "m-1") for _ in range(12))
        assert [each["state"] for each in answers] == ["reserved"] * 12
        assert [each["replayed"] for each in answers].count(False) == 1
        assert takt.used(ada) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"channel": "push"},
            {"topic": "newsletter"},
            {"campaign": "other"},
            {"team": "other"},
            {"sender": "other"},
            {"weight": 2},
            {"send_at": True},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_is_refused_with_other_content(self, takt: Caller, ada: str, other: dict[str, object]) -> None:
        takt.ask(ada, "m-1", campaign="autumn", team="crm", sender="mailer")
        if "send_at" in other:
            other = {"send_at": (now(takt, ada) + timedelta(hours=1)).isoformat()}
        same: dict[str, object] = {"campaign": "autumn", "team": "crm", "sender": "mailer"}
        response = takt.send("POST", "/v1/decisions", ask(ada, "m-1", **{**same, **other}))
        assert is_problem(response, 422, "message_reused")
        assert next(iter(other)) in response.json()["detail"]
        assert takt.used(ada) == 1

    def test_may_be_asked_again_with_another_priority_or_lease(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        assert takt.ask(ada, "m-1", priority=90, lease_s=10)["replayed"]

    def test_belongs_to_its_customer(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        other = takt.ask(f"{ada}-other", "m-1", channel="push")
        assert (other["replayed"], other["state"]) == (False, "reserved")


class TestAMessageIdWithoutALiveContact:
    def test_a_refusal_pins_nothing(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        refused = takt.ask(ada, "m-2")
        assert refused["verdict"] == "defer"
        takt.release(ada, "m-1")
        again = takt.ask(ada, "m-2", campaign="another")
        assert (again["verdict"], again["replayed"], again["attempt"]) == ("allow", False, 1)

    @pytest.mark.parametrize("end", ["released", "expired"])
    def test_is_decided_afresh_as_the_next_attempt(self, takt: Caller, ada: str, end: str) -> None:
        takt.ask(ada, "m-1", lease_s=60)
        if end == "released":
            assert takt.release(ada, "m-1")["state"] == "released"
        else:
            advance_clock(takt.service.database_url, 61)
        again = takt.ask(ada, "m-1", channel="push")
        assert (again["verdict"], again["state"], again["replayed"], again["attempt"]) == (
            "allow",
            "reserved",
            False,
            2,
        )

    def test_a_revoked_one_is_denied_for_good(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        assert takt.suppress(ada, channel="email")["revoked"] == 1
        takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada, "channel": "email"})
        again = takt.ask(ada, "m-1")
        assert (again["verdict"], again["state"], again["retry_at"]) == ("deny", None, None)
        assert [each["code"] for each in again["reasons"]] == ["revoked"]
        assert takt.ask(ada, "m-2")["verdict"] == "allow"

    def test_is_forgotten_sixteen_days_after_the_ask(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        takt.confirm(ada, "m-1")
        advance_clock(takt.service.database_url, 16 * DAY_S - 60)
        assert takt.ask(ada, "m-1")["replayed"]
        advance_clock(takt.service.database_url, 120)
        assert not takt.ask(ada, "m-1")["replayed"]


class TestAPlannedSend:
    def test_is_held_until_its_send_and_the_lease_after_it(self, takt: Caller, ada: str) -> None:
        send_at = now(takt, ada) + timedelta(days=3)
        answer = takt.ask(ada, "m-1", send_at=send_at.isoformat(), lease_s=600)
        assert datetime.fromisoformat(answer["lease_expires_at"]) == send_at + timedelta(seconds=600)

    def test_may_lie_fourteen_days_ahead_and_no_more(self, takt: Caller, ada: str) -> None:
        begun = now(takt, ada)
        within, beyond = begun + timedelta(days=14), begun + timedelta(days=14, minutes=1)
        assert takt.ask(ada, "m-1", send_at=within.isoformat())["verdict"] == "allow"
        response = takt.send("POST", "/v1/decisions", ask(ada, "m-2", send_at=beyond.isoformat()))
        assert is_problem(response, 422)
        assert response.json()["problems"][0]["path"] == "send_at"

    def test_meets_the_quiet_hours_of_its_send_and_not_of_the_ask(self, takt: Caller, ada: str) -> None:
        takt.call("PUT", f"/v1/customers/{ada}", {"time_zone": "Europe/Berlin"})
        noon_utc = now(takt, ada).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
        night_utc = noon_utc.replace(hour=22)
        assert takt.ask(ada, "m-1", channel="sms", send_at=noon_utc.isoformat())["verdict"] == "allow"
        refused = takt.ask(ada, "m-2", channel="sms", send_at=night_utc.isoformat())
        assert [each["code"] for each in refused["reasons"]] == ["quiet_hours"]
        opens = datetime.fromisoformat(refused["retry_at"])
        assert timedelta(0) < opens - night_utc < timedelta(hours=11)
        assert takt.ask(ada, "m-3", channel="sms", send_at=opens.isoformat())["verdict"] == "allow"

    def test_of_a_sender_that_will_not_confirm_counts_from_the_end_of_its_lease(self, takt: Caller, ada: str) -> None:
        send_at = now(takt, ada) + timedelta(days=1)
        takt.ask(ada, "m-1", send_at=send_at.isoformat(), lease_s=3600)
        refused = takt.ask(ada, "m-2")
        retry_at = datetime.fromisoformat(refused["retry_at"])
        assert retry_at == send_at + timedelta(days=7, hours=1)


class TestABatch:
    def test_is_answered_in_order_and_decided_by_priority(self, takt: Caller, ada: str) -> None:
        low, high = takt.ask_all(ask(ada, "low", priority=10), ask(ada, "high", priority=90))
        assert (low["message_id"], low["verdict"]) == ("low", "defer")
        assert (high["message_id"], high["verdict"]) == ("high", "allow")

    def test_of_equal_priority_is_decided_in_its_order(self, takt: Caller, ada: str) -> None:
        answers = takt.ask_all(*(ask(ada, f"m-{n}") for n in range(4)))
        assert [each["verdict"] for each in answers] == ["allow", "defer", "defer", "defer"]

    def test_answers_an_invalid_item_alone(self, takt: Caller, ada: str) -> None:
        items = [ask(ada, "m-1"), ask(ada, "m-2", chanel="email"), "nonsense", ask(f"{ada}-2", "m-1")]
        first, second, third, fourth = takt.call("POST", "/v1/decisions/batch", {"asks": items})["answers"]
        assert [first["verdict"], fourth["verdict"]] == ["allow", "allow"]
        assert second["error"]["problems"][0]["path"] == "asks[1].chanel"
        assert third["error"]["problems"][0]["path"] == "asks[2]"
        assert {second["error"]["status"], third["error"]["status"]} == {422}

    def test_keeps_other_content_under_a_live_id_to_its_item(self, takt: Caller, ada: str) -> None:
        first, second = takt.ask_all(ask(ada, "m-1"), ask(ada, "m-1", weight=3))
        assert first["state"] == "reserved"
        assert second["error"]["code"] == "message_reused"

    def test_mixes_modes(self, takt: Caller, ada: str) -> None:
        answers = takt.ask_all(ask(ada, None, mode="peek"), ask(ada, "m-1"), ask(ada, None, mode="check"))
        assert [each["state"] for each in answers] == [None, "reserved", None]
        assert answers[2]["verdict"] == "defer"

    def test_of_ten_thousand_is_answered_in_order(self, takt: Caller, ada: str) -> None:
        answers = takt.ask_all(*(ask(f"{ada}-{n}", "m-1") for n in range(10_000)))
        assert [each["customer_id"] for each in answers] == [f"{ada}-{n}" for n in range(10_000)]
        assert {each["verdict"] for each in answers} == {"allow"}
        response = takt.send("POST", "/v1/decisions/batch", {"asks": [ask(ada, "m")] * 10_001})
        assert is_problem(response, 422)


def test_hold_back_keeps_room_for_higher_priority(takt: Caller, ada: str) -> None:
    given = iter(range(10))

    def push(priority: int) -> str:
        return takt.ask(ada, f"m-{next(given)}", channel="push", priority=priority)["verdict"]

    assert [push(50), push(50), push(50)] == ["allow", "allow", "defer"]
    held = takt.ask(ada, "held", channel="push", priority=69)
    assert [each["code"] for each in held["reasons"]] == ["hold_back"]
    assert [push(70), push(70)] == ["allow", "defer"]


def test_concurrent_asks_never_exceed_a_budget(takt: Caller, ada: str) -> None:
    def asks() -> Iterator[str]:
        yield from (f"m-{n}" for n in range(24))

    answers = at_once(lambda id_=id_: takt.ask(ada, id_) for id_ in asks())
    assert [each["verdict"] for each in answers].count("allow") == 1
    assert takt.used(ada) == 1


def test_a_clock_that_steps_back_frees_nothing(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    before = takt.confirm(ada, "m-1")
    advance_clock(takt.service.database_url, -DAY_S)
    try:
        assert takt.ask(ada, "m-2")["verdict"] == "defer"
        stepped = takt.ask(ada, None, mode="check")
        assert stepped["decided_at"] >= before["at"]
    finally:
        advance_clock(takt.service.database_url, DAY_S)


def test_instants_come_in_any_offset_and_go_out_in_utc(takt: Caller, ada: str) -> None:
    send_at = (now(takt, ada) + timedelta(days=1)).astimezone(UTC).replace(microsecond=0)
    shown = send_at.astimezone(datetime.strptime("+0530", "%z").tzinfo).isoformat()
    answer = takt.ask(ada, "m-1", send_at=shown, lease_s=60)
    assert answer["lease_expires_at"] == (send_at + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
