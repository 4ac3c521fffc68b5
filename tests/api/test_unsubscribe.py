"""One click, as RFC 8058 has it: the headers of an answer, and what a POST to their address does."""

from collections.abc import Generator

import psycopg
import pytest

from engine.core.events import Flag
from engine.settings import Settings
from engine.store.embedded import Server
from tests.api.caller import DAY_S, POLICY, Caller, advance_clock, ask, at_once
from tests.api.unsubscribing import ONE_CLICK, PUBLIC_URL, customer, events, path_of, rows
from tests.api.wire import wire_to
from tests.conftest import clean_database
from tests.service import serving

GENEROUS = POLICY.replace("limit: 1,", "limit: 100,")


@pytest.fixture(scope="module")
def takt(server: Server, template: str) -> Generator[Caller]:
    settings = Settings(public_url=f"{PUBLIC_URL}/")
    with clean_database(server, template) as url, serving(url, settings) as service:
        service.activate(GENEROUS)
        with Caller(service) as caller:
            yield caller


class TestHeaders:
    def test_a_reserved_e_mail_carries_both_and_the_same_again(self, takt: Caller, ada: str) -> None:
        answer = takt.ask(ada, "m-1", campaign="autumn")
        assert answer["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert set(answer["headers"]) == {"List-Unsubscribe", "List-Unsubscribe-Post"}
        assert takt.ask(ada, "m-1", campaign="autumn")["headers"] == answer["headers"]
        (in_batch,) = takt.ask_all(ask(ada, "m-1", campaign="autumn"))
        assert in_batch["headers"] == answer["headers"]
        assert takt.ask(ada, "m-2", campaign="autumn")["headers"] != answer["headers"]

    def test_nothing_else_does(self, takt: Caller, ada: str) -> None:
        assert takt.ask(ada, "m-1", channel="letter")["headers"] is None
        assert takt.ask(ada, "m-2", topic="account")["headers"] is None, "it serves, and is nothing to unsubscribe from"
        assert takt.ask(ada, None, mode="check")["headers"] is None
        assert takt.ask(ada, "m-3", mode="peek")["headers"] is None
        takt.ask(ada, "m-4")
        takt.confirm(ada, "m-4")
        assert takt.ask(ada, "m-4")["headers"] is None
        takt.suppress(ada, channel="email")
        assert takt.ask(ada, "m-5")["headers"] is None

    def test_a_batch_gives_each_its_own_and_errors_none(self, takt: Caller, ada: str) -> None:
        asks = [ask(ada, "m-1"), ask(ada, "m-2", channel="fax"), ask(f"{ada}-2", "m-1"), ask(ada, "m-3", channel="sms")]
        one, wrong, two, text = takt.ask_all(*asks)
        assert path_of(one) != path_of(two)
        assert "error" in wrong
        assert text["headers"] is None

    def test_a_line_of_a_header_holds_whatever_ids_there_are(self, takt: Caller, ada: str) -> None:
        wide = "🦊" * 190
        long = takt.ask(ada, wide, campaign=wide, topic="promotions")
        assert len("List-Unsubscribe: " + long["headers"]["List-Unsubscribe"]) < 998
        with customer(takt) as browser:
            assert browser.post(path_of(long), data=ONE_CLICK).status_code == 200
        assert takt.ask(ada, "m-2")["verdict"] == "deny"
        assert takt.ask(wide, "m-1")["headers"] is None, "no line holds this customer's id"

    def test_without_a_public_address_there_are_none(self, database_url: str) -> None:
        with serving(database_url) as service, Caller(service) as other:
            assert other.ask("ada", "m-1")["headers"] is None
            assert other.ask_all(ask("ada", "m-2", channel="push"))[0]["headers"] is None


class TestOneClick:
    @pytest.mark.parametrize("multipart", [False, True])
    def test_ends_the_topic_in_its_channel_and_revokes_what_was_reserved(
        self, takt: Caller, ada: str, multipart: bool
    ) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        takt.ask(ada, "m-2")
        takt.ask(ada, "m-3", topic="newsletter")
        with customer(takt) as mail:
            sent = {"files": {"List-Unsubscribe": (None, "One-Click")}} if multipart else {"data": ONE_CLICK}
            answered = mail.post(path, **sent)  # type: ignore[arg-type]
        assert (answered.status_code, answered.history, answered.headers.get("set-cookie")) == (200, [], None)
        assert [takt.ask(ada, each)["verdict"] for each in ("m-1", "m-2", "m-4")] == ["deny"] * 3
        assert takt.ask(ada, "m-3", topic="newsletter")["state"] == "reserved"
        assert takt.ask(ada, "m-5", channel="letter")["verdict"] == "allow"
        ((kind, channel, topic, flags, _),) = events(takt, ada)
        assert (kind, channel, topic) == ("unsubscribed", "email", "promotions")
        assert flags & Flag.ONE_CLICK

    def test_comes_twice_and_is_one_event(self, takt: Caller, ada: str) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        with customer(takt) as mail:
            at_once([lambda: mail.post(path, data=ONE_CLICK)] * 8)
        assert len(events(takt, ada)) == 1
        assert len([each for each in takt.journal(ada)["entries"] if each["entry"] == "change"]) == 1

    def test_of_two_messages_is_two_events_and_one_suppression(self, takt: Caller, ada: str) -> None:
        paths = [path_of(takt.ask(ada, f"m-{n}")) for n in range(2)]
        with customer(takt) as mail:
            for path in paths:
                assert mail.post(path, data=ONE_CLICK).is_success
        assert len(events(takt, ada)) == 2
        assert len(takt.customer(ada)["suppressions"]) == 1

    def test_after_a_consent_binds_again(self, takt: Caller, ada: str) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        with customer(takt) as mail:
            mail.post(path, data=ONE_CLICK)
            takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada, "channel": "email", "topic": "promotions"})
            assert takt.ask(ada, "m-2")["verdict"] == "allow"
            assert len(events(takt, ada)) == 1
            mail.post(path, data=ONE_CLICK)
            mail.post(path, data=ONE_CLICK)
        assert takt.ask(ada, "m-3")["verdict"] == "deny"
        assert len(events(takt, ada)) == 2, "who left again has left twice"

    @pytest.mark.parametrize(
        ("content", "kind", "status"),
        [
            (b"", "application/x-www-form-urlencoded", 200),
            (b"", None, 200),
            (b"List-Unsubscribe=No", "application/x-www-form-urlencoded", 200),
            (b'{"List-Unsubscribe": "One-Click"}', "application/json", 415),
            (b"\xff=\xff", "application/x-www-form-urlencoded", 415),
            (b"&".join([b"a=1"] * 5_000), "application/x-www-form-urlencoded", 415),
            (b"nothing of the sort", "multipart/form-data; boundary=b", 200),
            (b"--b\r\n\r\nx", "multipart/form-data; boundary=b", 200),
            (
                b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 9_000,
                "multipart/form-data; boundary=b",
                200,
            ),
            (b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx", "multipart/form-data; boundary=b", 415),
            (
                b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"; filename="x"\r\n\r\nOne-Click',
                "multipart/form-data; boundary=b",
                200,
            ),
            (
                b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--',
                "multipart/form-data",
                415,
            ),
            (b"a=" + b"1" * 600_000, "application/x-www-form-urlencoded", 413),
        ],
    )
    def test_any_other_body_changes_nothing(
        self, takt: Caller, ada: str, content: bytes, kind: str | None, status: int
    ) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        with customer(takt) as mail:
            answered = mail.post(path, content=content, headers={"content-type": kind} if kind else {})
        assert (answered.status_code, answered.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert takt.ask(ada, "m-1")["state"] == "reserved"

    def test_races_asks_and_none_is_allowed_after_it(self, takt: Caller, ada: str) -> None:
        """Invariant 6, from outside: whoever asks once the click was answered is denied, and no lease stays open."""
        path = path_of(takt.ask(ada, "m-0"))
        late: list[str] = []

        def click() -> str:
            with customer(takt) as mail:
                assert mail.post(path, data=ONE_CLICK).is_success
            late.append(takt.ask(ada, "m-late")["verdict"])
            return "clicked"

        def send(number: int) -> str:
            return takt.ask(ada, f"m-{number}")["verdict"]

        at_once([*(lambda n=n: send(n) for n in range(1, 9)), click, *(lambda n=n: send(n) for n in range(9, 17))])
        assert late == ["deny"]
        assert takt.customer(ada)["contacts"] == []
        for number in range(17):
            assert takt.ask(ada, f"m-{number}")["verdict"] == "deny"


class TestTokens:
    def test_a_get_changes_no_row_of_any_table(self, takt: Caller, ada: str) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        before = rows(takt.service.database_url)
        with customer(takt) as scanner:
            assert scanner.get(path).status_code == 200
            assert scanner.get(path, params=ONE_CLICK).status_code == 200
            assert scanner.head(path).status_code in (200, 405)
        assert rows(takt.service.database_url) == before
        assert takt.ask(ada, "m-1")["state"] == "reserved"
        assert len(takt.journal(ada)["entries"]) == 1

    def test_one_that_was_not_made_here_is_not_found_whoever_it_names(self, takt: Caller, ada: str) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        with customer(takt) as stranger:
            for wrong in (path[:-1], path + "A", path + "=", "/u/" + "A" * 200, "/u/" + "A" * 20_000, "/u/%00", "/u/ä"):
                for answered in (stranger.get(wrong), stranger.post(wrong, data=ONE_CLICK)):
                    assert answered.status_code == 404, wrong
                    assert ada not in answered.text
        assert takt.ask(ada, "m-1")["state"] == "reserved"

    def test_one_that_is_over_changes_nothing_and_says_so(self, server: Server, template: str) -> None:
        settings = Settings(public_url=PUBLIC_URL, unsubscribe_days=100)
        with clean_database(server, template) as url, serving(url, settings) as service, Caller(service) as takt:
            service.activate(GENEROUS)
            path = path_of(takt.ask("ada", "m-1"))
            with customer(takt) as late:
                advance_clock(url, 100 * DAY_S - 60)
                assert late.get(path).status_code == 200
                advance_clock(url, 61)
                before = rows(url)
                for answered in (
                    late.get(path),
                    late.post(path, data=ONE_CLICK),
                    late.post(path, data={"to:/": "none"}),
                ):
                    assert answered.status_code == 410
                assert rows(url) == before
            assert takt.ask("ada", "m-2")["verdict"] == "allow"

    def test_tokens_outlive_a_new_secret_once(self, server: Server, template: str) -> None:
        first, second, third = (f"{n}: a secret of more than 32 characters".replace(" ", "-") for n in range(3))
        with clean_database(server, template) as url:
            paths: list[str] = []
            for secret, before, good in [
                (None, None, 0),
                (first, None, 1),
                (second, first, 2),
                (third, second, 2),
            ]:
                settings = Settings(public_url=PUBLIC_URL, secret=secret, secret_before=before)  # type: ignore[arg-type]
                with serving(url, settings) as service, Caller(service) as takt, customer(takt) as browser:
                    service.activate(GENEROUS)
                    assert sum(browser.get(each).status_code == 200 for each in paths) == good
                    paths.append(path_of(takt.ask(f"ada-{len(paths)}", "m-1")))
                    assert browser.get(paths[-1]).status_code == 200

    def test_of_who_was_erased_leaves_no_trace_and_binds_once_they_are_back(self, takt: Caller, ada: str) -> None:
        """After the lift it said "You are unsubscribed", and the next ask was allowed."""
        path = path_of(takt.ask(ada, "m-1"))
        takt.call("DELETE", f"/v1/customers/{ada}")
        before = rows(takt.service.database_url)
        with customer(takt) as mail:
            assert mail.post(path, data=ONE_CLICK).status_code == 200
            page = mail.post(path, data={"was:/": "usual", "to:/": "none"}, headers={"Accept-Language": "en"}).text
            assert "Nothing was changed." in page
            assert rows(takt.service.database_url) == before
            assert takt.ask(ada, "m-2")["verdict"] == "deny"
            takt.call("POST", "/v1/suppressions/lift", {"customer_id": ada})
            assert mail.post(path, data=ONE_CLICK).status_code == 200
        assert takt.ask(ada, "m-3")["verdict"] == "deny"
        assert [each["reason"] for each in takt.customer(ada)["suppressions"]] == ["unsubscribe"]
        assert takt.ask(ada, "m-4", channel="letter")["verdict"] == "allow"

    def test_binds_where_a_restored_backup_knows_nothing_of_its_customer(self, takt: Caller, ada: str) -> None:
        path = path_of(takt.ask(ada, "m-1"))
        with psycopg.connect(takt.service.database_url, autocommit=True) as connection:
            for table in ("accounts", "journal"):
                connection.execute(f"DELETE FROM {table} WHERE customer_id = %s".encode(), (ada,))
        with customer(takt) as mail:
            assert mail.post(path, data=ONE_CLICK).status_code == 200
        assert takt.ask(ada, "m-2")["verdict"] == "deny"


def test_a_database_that_is_away_is_a_page_that_says_later(server: Server, template: str) -> None:
    with clean_database(server, template) as url, wire_to(url) as wire:
        settings = Settings(public_url=PUBLIC_URL, deadline_ms=1_000)
        with serving(wire.url, settings) as service, Caller(service) as takt, customer(takt) as browser:
            path = path_of(takt.ask("ada", "m-1"))
            wire.cut()
            for answered in (browser.get(path), browser.post(path, data=ONE_CLICK)):
                assert (answered.status_code, answered.headers["content-type"]) == (503, "text/html; charset=utf-8")
                assert int(answered.headers["retry-after"]) >= 1
