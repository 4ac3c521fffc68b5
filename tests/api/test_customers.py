"""What is on file: profile, preferences, suppressions; how budgets stand; and the journal that says why."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.caller import Caller, ask, at_once, is_problem

CONSENT = {"channel": "email", "topic": "promotions", "at": "2026-01-15T08:30:00Z", "source": "form"}


def test_a_put_replaces_what_it_gives_and_leaves_the_rest(takt: Caller, ada: str) -> None:
    path = f"/v1/customers/{ada}"
    filed = takt.call("PUT", path, {"time_zone": "Asia/Kathmandu", "attributes": {"orders": 3}, "consents": [CONSENT]})
    assert filed["changed"] is True
    again = takt.call("PUT", path, {"attributes": {"vip": True, "name": "Zoë 🦊", "ratio": -0.5}})
    assert again["time_zone"] == "Asia/Kathmandu"
    assert again["attributes"] == {"vip": True, "name": "Zoë 🦊", "ratio": -0.5}
    assert again["consents"] == [{**CONSENT, "given": True, "text_version": None}]
    assert takt.call("PUT", path, {"attributes": {"vip": True, "name": "Zoë 🦊", "ratio": -0.5}})["changed"] is False
    cleared = takt.call("PUT", path, {"time_zone": None, "attributes": None, "consents": None})
    assert (cleared["time_zone"], cleared["attributes"], cleared["consents"]) == (None, {}, [])


def test_a_leap_second_is_the_end_of_its_minute(takt: Caller, ada: str) -> None:
    consent = {**CONSENT, "at": "2016-12-31T23:59:60.5Z"}
    filed = takt.call("PUT", f"/v1/customers/{ada}", {"consents": [consent]})
    assert filed["consents"][0]["at"] == "2016-12-31T23:59:59.999999Z"


def test_a_consent_that_lies_ahead_is_refused_and_a_withdrawal_is_heard(takt: Caller, ada: str) -> None:
    """One of 2099 won against every withdrawal until then."""
    path, soon = f"/v1/customers/{ada}", (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    ahead = {**CONSENT, "at": soon}
    for at in (soon, "2099-01-01T00:00:00Z"):
        response = takt.send("PUT", path, {"time_zone": "Europe/Rome", "consents": [CONSENT, {**CONSENT, "at": at}]})
        assert is_problem(response, 422, "invalid")
        assert [each["path"] for each in response.json()["problems"]] == ["consents[1].at"]
    assert is_problem(takt.send("GET", path), 404)
    customers = [{"customer_id": ada, "consents": [ahead]}, {"customer_id": f"{ada}-2", "consents": [CONSENT]}]
    one, two = takt.call("POST", "/v1/customers/batch", {"customers": customers})["results"]
    assert (one["error"]["problems"][0]["path"], two["changed"]) == ("consents[0].at", True)
    takt.call("PUT", path, {"consents": [{**CONSENT, "at": (datetime.now(UTC) + timedelta(seconds=30)).isoformat()}]})
    takt.ask(ada, "m-1")
    assert takt.call("PUT", path, {"consents": [{**ahead, "given": False}]})["revoked"] == 1
    assert takt.ask(ada, "m-2")["reasons"][0]["code"] == "no_consent"


def test_a_batch_of_customers_answers_each_on_its_own(takt: Caller, ada: str) -> None:
    customers = [
        {"customer_id": f"{ada}-1", "time_zone": "Europe/Rome"},
        {"customer_id": f"{ada}-2", "time_zone": "+02:00"},
        {"customer_id": f"{ada}-3", "attributes": {"a": 1}},
    ]
    first, second, third = takt.call("POST", "/v1/customers/batch", {"customers": customers})["results"]
    assert (first["time_zone"], third["attributes"]) == ("Europe/Rome", {"a": 1})
    assert second["error"]["problems"][0]["path"] == "customers[1].time_zone"
    assert is_problem(takt.send("GET", f"/v1/customers/{ada}-2"), 404)


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "a b", "ä/ö?#", "50%", "..", "a\\b", "日本"])
def test_any_id_that_can_be_asked_for_can_be_looked_at(takt: Caller, ada: str, name: str) -> None:
    customer_id = f"{ada}:{name}"
    takt.ask(customer_id, "m-1")
    path = "/v1/customers/" + "".join(f"%{byte:02X}" for byte in customer_id.encode())
    assert takt.call("GET", path)["customer_id"] == customer_id
    assert len(takt.call("GET", f"{path}/decisions")["entries"]) == 1
    assert takt.call("PUT", path, {"attributes": {"seen": True}})["customer_id"] == customer_id


def test_a_customer_never_heard_of_is_not_found(takt: Caller, ada: str) -> None:
    assert is_problem(takt.send("GET", f"/v1/customers/{ada}"), 404, "not_found")
    assert takt.journal(ada)["entries"] == []


def test_a_customer_shows_budgets_and_the_contacts_that_occupy_them(takt: Caller, ada: str) -> None:
    takt.ask(ada, "m-1", campaign="autumn")
    shown = takt.customer(ada)
    line = next(each for each in shown["budgets"] if each["budget"] == "email-weekly")
    assert (line["limit"], line["used"], line["left"], line["shadow"]) == (1, 1, 0, False)
    (contact,) = shown["contacts"]
    assert (contact["state"], contact["channel"], contact["campaign"]) == ("reserved", "email", "autumn")
    takt.release(ada, "m-1")
    assert takt.customer(ada)["contacts"] == []


def test_a_customer_shows_the_cases_that_are_open(takt: Caller, ada: str) -> None:
    def tell(type_: str, at: str, case: str) -> None:
        event = {"id": f"{type_}-{at}-{case}", "source": "desk", "type": type_, "at": f"{at}T08:30:00Z"}
        takt.call("POST", "/v1/events", {**event, "customer_id": ada, "properties": {"case": case} if case else {}})

    tell("case_opened", "2026-01-14", "late")
    tell("case_opened", "2026-01-15", "")
    tell("case_opened", "2026-01-15", "broken")
    late = {"opened_by": "case_opened", "case": "late", "opened_at": "2026-01-14T08:30:00Z", "closed_at": None}
    assert late in takt.customer(ada)["open_cases"]
    assert [each["case"] for each in takt.customer(ada)["open_cases"]] == ["", "broken", "late"]
    tell("case_closed", "2026-01-16", "late")
    tell("case_closed", "2026-01-17", "broken")
    assert takt.customer(ada)["open_cases"] == []
    tell("case_opened", "2026-01-18", "late")
    again = {**late, "opened_at": "2026-01-18T08:30:00Z", "closed_at": "2026-01-16T08:30:00Z"}
    assert takt.customer(ada)["open_cases"] == [again]


class TestTheJournal:
    def test_tells_the_whole_story_in_order(self, takt: Caller, ada: str) -> None:
        takt.call("PUT", f"/v1/customers/{ada}", {"time_zone": "UTC", "consents": [CONSENT]})
        takt.ask(ada, "m-1")
        takt.ask(ada, "m-2")
        takt.confirm(ada, "m-1")
        takt.call("PUT", f"/v1/customers/{ada}/preferences", {"preferences": [{"channel": "push", "limit": 1}]})
        takt.suppress(ada, channel="email")
        entries = takt.journal(ada)["entries"]
        assert [each["entry"] for each in entries] == [
            "change",
            "change",
            "resolution",
            "refusal",
            "contact",
            "change",
        ]
        assert [each["seq"] for each in entries] == [6, 5, 4, 3, 2, 1]
        suppressed, preferred, confirmed, refused, allowed, profile = entries
        assert suppressed["to"]["suppressions"][0]["reason"] == "unsubscribe"
        assert preferred["to"] == {"preferences": [{"channel": "push", "topic": None, "limit": 1}]}
        assert (confirmed["became"], confirmed["contact_seq"]) == ("confirmed", allowed["seq"])
        assert [(each["code"], each["rule"]) for each in refused["reasons"]] == [("limit", "email-weekly")]
        assert profile["to"]["consents"][0]["at"] == CONSENT["at"]
        assert datetime.fromisoformat(allowed["at"]) <= datetime.fromisoformat(refused["at"])

    def test_comes_in_pages(self, takt: Caller, ada: str) -> None:
        takt.ask_all(*(ask(ada, f"m-{n}", channel="letter") for n in range(25)))
        seen: list[int] = []
        query = "?limit=10"
        sizes: list[int] = []
        while True:
            page = takt.journal(ada, query)
            sizes.append(len(page["entries"]))
            seen += [each["seq"] for each in page["entries"]]
            if page["next_before"] is None:
                break
            query = f"?limit=10&before={page['next_before']}"
        assert seen == list(range(25, 0, -1))
        assert sizes == [10, 10, 5]

    @pytest.mark.parametrize(
        ("query", "place"),
        [
            ("?limit=0", "limit"),
            ("?limit=1001", "limit"),
            ("?limit=ten", "limit"),
            ("?before=0", "before"),
            ("?before=99999999999999999999", "before"),
            ("?limt=5", "limt"),
        ],
    )
    def test_refuses_a_wrong_page_by_its_place(self, takt: Caller, ada: str, query: str, place: str) -> None:
        response = takt.send("GET", f"/v1/customers/{ada}/decisions{query}")
        assert is_problem(response, 422)
        assert response.json()["problems"][0]["path"] == place


class TestPreferences:
    def test_a_choice_binds_the_budget_of_its_channel(self, takt: Caller, ada: str) -> None:
        path = f"/v1/customers/{ada}/preferences"
        assert takt.call("PUT", path, {"preferences": [{"channel": "email", "limit": 0}]})["changed"]
        refused = takt.ask(ada, "m-1")
        assert refused["verdict"] != "allow"
        takt.call("PUT", path, {"preferences": [{"channel": "email", "limit": 2}]})
        assert [takt.ask(ada, f"m-{n}")["verdict"] for n in range(3)] == ["allow", "allow", "defer"]
        takt.call("PUT", path, {"preferences": []})
        assert takt.customer(ada)["preferences"] == []
        assert takt.ask(ada, "m-9")["verdict"] == "defer"

    @pytest.mark.parametrize(
        ("preference", "place"),
        [
            ({"limit": 1}, "preferences[0]"),
            ({"channel": "email", "topic": "promotions", "limit": 1}, "preferences[0]"),
            ({"channel": "email"}, "preferences[0].limit"),
            ({"channel": "email", "limit": -1}, "preferences[0].limit"),
            ({"channel": "email", "limit": True}, "preferences[0].limit"),
        ],
    )
    def test_a_contradictory_choice_is_refused_by_its_place(
        self, takt: Caller, ada: str, preference: dict[str, object], place: str
    ) -> None:
        response = takt.send("PUT", f"/v1/customers/{ada}/preferences", {"preferences": [preference]})
        assert is_problem(response, 422)
        assert response.json()["problems"][0]["path"] == place

    def test_two_choices_for_the_same_are_refused(self, takt: Caller, ada: str) -> None:
        twice = {"preferences": [{"channel": "email", "limit": 1}, {"channel": "email", "limit": 2}]}
        assert is_problem(takt.send("PUT", f"/v1/customers/{ada}/preferences", twice), 422)


class TestSuppressions:
    """Invariant 6: once acknowledged, nothing is allowed in the scope, and open leases in it are revoked."""

    @pytest.mark.parametrize(
        ("scope", "hit", "spared"),
        [
            ({}, {}, None),
            ({"channel": "email"}, {}, {"channel": "push"}),
            ({"topic": "promotions"}, {}, {"topic": "newsletter", "channel": "push"}),
            ({"channel": "email", "topic": "promotions"}, {}, {"channel": "push"}),
        ],
    )
    def test_revoke_the_open_leases_of_their_scope_and_no_other(
        self, takt: Caller, ada: str, scope: dict[str, str], hit: dict[str, str], spared: dict[str, str] | None
    ) -> None:
        takt.ask(ada, "hit", **hit)
        if spared is not None:
            takt.ask(ada, "spared", **spared)
        assert takt.suppress(ada, **scope)["revoked"] == 1
        again = takt.suppress(ada, **scope)
        assert (again["revoked"], again["changed"], len(again["suppressions"])) == (0, False, 1)
        refused = takt.ask(ada, "later", **hit)
        assert (refused["verdict"], refused["reasons"][0]["code"]) == ("deny", "suppressed")
        if spared is not None:
            assert takt.ask(ada, "spared", **spared)["state"] == "reserved"

    def test_bind_exempt_topics_only_where_they_say_so(self, takt: Caller, ada: str) -> None:
        takt.suppress(ada)
        assert takt.ask(ada, "reset", topic="account")["verdict"] == "allow"
        assert takt.suppress(ada, binds_exempt=True)["revoked"] == 1
        assert takt.ask(ada, "reset-2", topic="account")["verdict"] == "deny"

    def test_are_lifted_by_exactly_their_scope(self, takt: Caller, ada: str) -> None:
        takt.suppress(ada, channel="email")
        lift = "/v1/suppressions/lift"
        assert takt.call("POST", lift, {"customer_id": ada})["changed"] is False
        assert takt.ask(ada, "m-1")["verdict"] == "deny"
        assert takt.call("POST", lift, {"customer_id": ada, "channel": "email"})["changed"] is True
        assert takt.ask(ada, "m-1")["verdict"] == "allow"

    def test_cannot_lie_in_the_future(self, takt: Caller, ada: str) -> None:
        filed = takt.suppress(ada, at="2150-01-01T00:00:00Z")
        at = datetime.fromisoformat(filed["suppressions"][0]["at"])
        now = datetime.fromisoformat(takt.customer(ada)["at"])
        assert timedelta(0) <= now - at < timedelta(seconds=60)

    @pytest.mark.parametrize("round_", range(5))
    def test_leave_no_lease_to_asks_that_race_them(self, takt: Caller, ada: str, round_: int) -> None:
        def send(n: int) -> tuple[str, bool]:
            if n == 6:
                return str(takt.suppress(ada)["revoked"]), False
            answer = takt.ask(ada, f"m-{n}", channel="letter")
            return answer["message_id"], answer["state"] == "reserved"

        results = at_once(lambda n=n: send(n) for n in range(12))
        allowed = [id_ for id_, was_allowed in results if was_allowed]
        (revoked,) = [int(id_) for id_, _ in results if id_.isdigit()]
        assert revoked == len(allowed)
        assert takt.customer(ada)["contacts"] == []
        for id_ in allowed:
            assert takt.ask(ada, id_, channel="letter")["verdict"] == "deny"
        entries = takt.journal(ada)["entries"]
        change = next(each["seq"] for each in entries if each["entry"] == "change")
        assert not [each for each in entries if each["entry"] == "contact" and each["seq"] > change]
