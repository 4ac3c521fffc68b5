"""The first page: what it says of nothing, of a day's work, and of what somebody should look at."""

from collections.abc import Generator
from datetime import UTC, datetime

import psycopg
import pytest

from engine.core.policy import HOUR_US, MINUTE_US
from engine.store.jobs import seat
from tests.api.caller import Caller
from tests.conftest import set_clock
from tests.web.browser import Browser, words
from tests.web.test_budgets import count

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def takt(browser: Browser) -> Generator[Caller]:
    with Caller(browser.service, timeout_s=120) as caller:
        yield caller


def said(browser: Browser) -> str:
    page = browser.get("/").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    return words(page).replace("\xa0", " ")


def test_it_says_what_to_do_while_there_is_nothing(ada: Browser) -> None:
    shown = said(ada)
    assert "Nothing is counted yet. The scheduler would, every ten minutes, if one ran." in shown
    assert "No scheduler runs: asks are answered, but nothing is counted" in shown
    assert "Nothing was sent, and nobody said anything, in four weeks." in shown
    assert "None runs. A first one compares the policy as it is" in shown
    assert "See above what to look at." in shown


def test_it_tells_today_and_what_customers_make_of_it(ada: Browser, takt: Caller) -> None:
    for number in range(10):
        for message in range(3):
            takt.ask(f"o{number}", f"m{message}", channel="email", topic="newsletter")
        takt.confirm(f"o{number}", "m0")
    now = datetime.now(UTC).isoformat()
    of: dict[str, object] = {"source": "provider", "at": now, "channel": "email", "topic": "newsletter"}
    events: list[dict[str, object]] = [
        {"id": f"{type_}{number}", "customer_id": f"o{number}", "type": type_, "message_id": "m0", **of}
        for type_, most in (("delivered", 8), ("complained", 1))
        for number in range(most)
    ]
    events.append(
        {"id": "blind", "customer_id": "o9", "type": "delivered", **of, "properties": {"provider": " Gmail "}}
    )
    # Not of those who were just sent something: so soon, it would be a machine.
    events += [{"id": f"no{each}", "customer_id": f"p{each}", "type": "unsubscribed", **of} for each in range(2)]
    events.append({"id": "all", "customer_id": "p9", "type": "unsubscribed", "source": "app", "at": now})
    events.append({"id": "off", "customer_id": "o9", "type": "push_disabled", "source": "app", "at": now})
    takt.call("POST", "/v1/events", {"events": events})
    count(ada.service.database_url)
    shown = said(ada)
    refused = takt.call("GET", "/v1/customers/o0/decisions")["entries"]
    assert refused
    assert "Today 30" in shown
    assert "Yesterday 0 nothing was asked" in shown
    assert "email 9 delivered 2 22.22 % 1 12.50 % too few to judge: 8 of 5,000" in shown
    assert "push 0 allowed or told of 1 0 no event tells what was delivered" in shown
    assert "no channel named 0 allowed or told of 1 0" in shown, "who leaves everything names none"


def test_it_names_what_somebody_should_look_at(ada: Browser, takt: Caller) -> None:
    takt.call("POST", "/v1/pauses", {"name": "outage", "channels": ["sms"]})
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO job_runs (job, slot_us, started_us, ended_us, outcome, note)"
            " VALUES ('traffic', 1, takt_clock(), takt_clock(), 'failed', %s)",
            (HOSTILE,),
        )
        connection.execute(
            "INSERT INTO alarms (at_us, kind, subject, data, next_us)"
            " VALUES (takt_clock(), 'breaker.near', %s, '{}', takt_clock())",
            (HOSTILE,),
        )
    shown = said(ada)
    assert "Paused: sms (outage)." in shown
    assert "The job traffic failed: <script>alert(1)</script>\ufffd." in shown
    assert "breaker: near <script>alert(1)</script>\ufffd" in shown
    set_clock(ada.service.database_url, 3 * HOUR_US)
    assert "longer ago than it should be" in said(ada)


@pytest.mark.anyio
async def test_a_job_that_runs_for_two_slots_is_not_well(ada: Browser) -> None:
    """After the tests above, on a clock that has gone on."""
    url = ada.service.database_url
    async with seat(url, "here") as leading:
        assert await leading.take()
        for minutes, is_well in ((19, True), (21, False)):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DELETE FROM job_runs")
                connection.execute(
                    "INSERT INTO job_runs (job, slot_us, started_us) SELECT 'traffic', at, at"
                    " FROM (SELECT takt_clock() - %s AS at) begun",
                    (minutes * MINUTE_US,),
                )
            shown = said(ada)
            assert ("The job traffic has been running since" in shown) is not is_well
            assert ("running too long" in shown) is not is_well
