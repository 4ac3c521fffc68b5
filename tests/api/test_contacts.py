"""What became of a message: confirm, release, record and expiry, alone and against each other."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.api.caller import DAY_S, Caller, advance_clock, ask, at_once, row_counts


def asked_at(answer: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(answer["decided_at"])


def test_a_confirm_is_stamped_when_it_arrives(takt: Caller, ada: str) -> None:
    began = asked_at(takt.ask(ada, "m-1"))
    advance_clock(takt.service.database_url, 60)
    confirmed = takt.confirm(ada, "m-1")
    assert (confirmed["state"], confirmed["applied"], confirmed["attempt"]) == ("confirmed", True, 1)
    assert timedelta(seconds=60) <= datetime.fromisoformat(confirmed["at"]) - began < timedelta(seconds=90)
    again = takt.confirm(ada, "m-1")
    assert (again["state"], again["applied"]) == ("confirmed", False)
    assert takt.used(ada) == 1


def test_a_release_returns_its_budget_at_once_and_once(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    assert takt.used(ada) == 1
    assert takt.release(ada, "m-1")["applied"]
    assert takt.used(ada) == 0
    assert takt.ask(ada, "m-2")["verdict"] == "allow"
    again = takt.release(ada, "m-1")
    assert (again["state"], again["applied"]) == ("released", False)
    assert takt.used(ada) == 1


def test_what_was_sent_stays_sent(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    takt.confirm(ada, "m-1")
    released = takt.release(ada, "m-1")
    assert (released["state"], released["applied"]) == ("confirmed", False)
    assert takt.used(ada) == 1


def test_an_expired_lease_has_returned_its_budget_though_nobody_looked(takt: Caller, ada: str) -> None:
    answer = takt.ask(ada, "m-1", lease_s=60)
    refused = takt.ask(ada, "m-2")
    assert (refused["verdict"], refused["retry_certain"]) == ("defer", False)
    assert refused["retry_at"] == answer["lease_expires_at"]
    advance_clock(takt.service.database_url, 60)
    assert takt.used(ada) == 0
    assert takt.ask(ada, "m-2")["verdict"] == "allow"
    assert takt.release(ada, "m-1")["state"] == "expired"
    assert takt.used(ada) == 1


@pytest.mark.parametrize("end", ["expired", "released", "revoked"])
def test_a_confirm_after_the_end_adds_a_late_contact_that_counts(takt: Caller, ada: str, end: str) -> None:
    takt.ask(ada, "m-1", lease_s=60)
    match end:
        case "expired":
            advance_clock(takt.service.database_url, 61)
        case "released":
            takt.release(ada, "m-1")
        case _:
            takt.suppress(ada, topic="newsletter")
            assert takt.suppress(ada, topic="promotions")["revoked"] == 1
            takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada, "topic": "promotions"})
    assert takt.ask(ada, "m-2")["verdict"] == "allow"
    late = takt.confirm(ada, "m-1")
    assert (late["state"], late["applied"]) == ("late", True)
    assert takt.confirm(ada, "m-1")["applied"] is False
    assert takt.used(ada) == 2, "over the limit of 1, and shown so"
    assert next(each["became"] for each in takt.journal(ada)["entries"] if each["entry"] == "resolution") == "late"


def test_a_presumed_contact_is_sent_at_the_end_of_its_lease_and_a_confirm_only_marks_it(takt: Caller, ada: str) -> None:
    answer = takt.ask(ada, "m-1", lease_s=60, on_expiry="presume_sent")
    advance_clock(takt.service.database_url, 3_600)
    before = takt.ask(ada, "m-2")["retry_at"]
    assert datetime.fromisoformat(before) - datetime.fromisoformat(answer["lease_expires_at"]) == timedelta(days=7)
    marked = takt.confirm(ada, "m-1")
    assert (marked["state"], marked["applied"]) == ("presumed_sent", True)
    assert takt.confirm(ada, "m-1")["applied"] is False
    assert takt.release(ada, "m-1")["applied"] is False
    assert takt.ask(ada, "m-2")["retry_at"] == before
    assert takt.used(ada) == 1


def test_an_attempt_may_be_named_and_is_the_latest_otherwise(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    takt.release(ada, "m-1")
    assert takt.ask(ada, "m-1")["attempt"] == 2
    first = takt.release(ada, "m-1", attempt=1)
    assert (first["attempt"], first["state"], first["applied"]) == (1, "released", False)
    confirmed = takt.confirm(ada, "m-1")
    assert (confirmed["attempt"], confirmed["state"]) == (2, "confirmed")
    late = takt.confirm(ada, "m-1", attempt=1)
    assert (late["attempt"], late["state"], late["applied"]) == (1, "late", True)
    missing = takt.confirm(ada, "m-1", attempt=3)
    assert missing["error"]["status"] == 404


def test_an_unknown_message_is_not_found_and_harms_no_other(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1")
    contacts = [
        {"customer_id": ada, "message_id": "other"},
        {"customer_id": ada, "message_id": "m-1", "atempt": 1},
        {"customer_id": ada, "message_id": "m-1"},
    ]
    unknown, wrong, good = takt.call("POST", "/v1/contacts/confirm", {"contacts": contacts})["results"]
    assert unknown["error"]["code"] == "not_found"
    assert wrong["error"]["problems"][0]["path"] == "contacts[1].atempt"
    assert good["state"] == "confirmed"


def test_what_was_never_asked_for_leaves_no_trace(takt: Caller, ada: str) -> None:
    before = row_counts(takt.service.database_url)
    assert takt.confirm(ada, "m-1")["error"]["code"] == "not_found"
    assert takt.release(ada, "m-1")["error"]["code"] == "not_found"
    takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada})
    assert row_counts(takt.service.database_url) == before


class TestARecord:
    def test_counts_in_its_own_time_and_once(self, takt: Caller, ada: str) -> None:
        now = asked_at(takt.ask(ada, None, mode="peek"))
        recorded = takt.record(ada, "vendor-1", now - timedelta(days=6))
        assert (recorded["state"], recorded["applied"]) == ("recorded", True)
        assert takt.record(ada, "vendor-1", now - timedelta(days=1))["applied"] is False
        retry_at = datetime.fromisoformat(takt.ask(ada, "m-1")["retry_at"])
        assert retry_at == now - timedelta(days=6) + timedelta(days=7)

    def test_is_never_refused(self, takt: Caller, ada: str) -> None:
        now = asked_at(takt.ask(ada, None, mode="peek"))
        takt.suppress(ada)
        for n in range(3):
            assert takt.record(ada, f"vendor-{n}", now)["applied"]
        assert takt.used(ada) == 3

    def test_of_the_future_or_long_ago_is_clamped(self, takt: Caller, ada: str) -> None:
        now = asked_at(takt.ask(ada, None, mode="peek"))
        takt.record(ada, "ahead", now + timedelta(days=30))
        takt.record(ada, "long-ago", now - timedelta(days=5_000))
        (contact,) = takt.customer(ada)["contacts"]
        assert now <= datetime.fromisoformat(contact["until"]) < now + timedelta(seconds=60)

    def test_of_a_message_that_was_asked_for_confirms_it(self, takt: Caller, ada: str) -> None:
        now = asked_at(takt.ask(ada, "m-1"))
        assert takt.record(ada, "m-1", now)["state"] == "confirmed"
        assert takt.used(ada) == 1

    def test_is_replayed_to_an_ask_of_the_same_id(self, takt: Caller, ada: str) -> None:
        takt.record(ada, "m-1", asked_at(takt.ask(ada, None, mode="peek")))
        answer = takt.ask(ada, "m-1")
        assert (answer["replayed"], answer["state"]) == (True, "recorded")


class TestRaces:
    """Invariant 4: exactly one call makes it so, and all learn what it is."""

    def test_of_many_confirms_one_is_applied(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1")
        results = at_once(lambda: takt.confirm(ada, "m-1") for _ in range(16))
        assert [each["applied"] for each in results].count(True) == 1
        assert {each["state"] for each in results} == {"confirmed"}

    def test_of_many_records_one_is_applied(self, takt: Caller, ada: str) -> None:
        now = asked_at(takt.ask(ada, None, mode="peek"))
        results = at_once(lambda: takt.record(ada, "vendor-1", now) for _ in range(16))
        assert [each["applied"] for each in results].count(True) == 1
        assert takt.used(ada) == 1

    @pytest.mark.parametrize("seed", range(6))
    def test_of_confirm_release_and_revocation_the_first_wins_and_all_learn_which(
        self, takt: Caller, ada: str, seed: int
    ) -> None:
        takt.ask(ada, "m-1")
        calls: list[Callable[[], Any]] = [
            *[lambda: takt.confirm(ada, "m-1")] * 4,
            *[lambda: takt.release(ada, "m-1")] * 4,
            lambda: takt.suppress(ada),
        ]
        random.Random(seed).shuffle(calls)  # noqa: S311 - an order, no secret
        results = at_once(calls)
        (suppressed,) = [each for each in results if "revoked" in each]
        resolved = [each for each in results if "applied" in each]
        ends = [each["became"] for each in takt.journal(ada)["entries"] if each["entry"] == "resolution"]
        ends.reverse()
        # The first end stands. After a release or a revocation one confirm adds a late contact, and one alone.
        assert ends in (["confirmed"], ["released", "late"], ["revoked", "late"])
        applied = [each["state"] for each in resolved if each["applied"]]
        assert sorted(applied) == sorted(
            {"confirmed": ["confirmed"], "released": ["late", "released"]}.get(ends[0], ["late"])
        )
        assert suppressed["revoked"] == (ends[0] == "revoked")
        final = takt.confirm(ada, "m-1")
        assert (final["state"], final["applied"]) == (ends[-1], False)
        assert takt.used(ada) == 1

    def test_a_release_at_the_lease_s_end_returns_no_budget_twice(self, takt: Caller, ada: str) -> None:
        takt.ask(ada, "m-1", lease_s=1)
        advance_clock(takt.service.database_url, 1)
        results = at_once([*[lambda: takt.release(ada, "m-1")] * 4, *[lambda: takt.ask(ada, f"m-{id(object())}")] * 4])
        assert not any(each.get("applied") for each in results)
        assert [each.get("verdict") for each in results].count("allow") == 1
        assert takt.used(ada) == 1


def test_a_batch_resolves_ten_thousand_in_order(takt: Caller, ada: str) -> None:
    ids = [f"{ada}-{n}" for n in range(10_000)]
    takt.ask_all(*(ask(each, "m-1", lease_s=DAY_S) for each in ids))
    contacts = [{"customer_id": each, "message_id": "m-1"} for each in ids]
    results = takt.call("POST", "/v1/contacts/confirm", {"contacts": contacts})["results"]
    assert [each["customer_id"] for each in results] == ids
    assert {each["state"] for each in results} == {"confirmed"}
