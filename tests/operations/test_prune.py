"""Pruning: what was there before is in the totals after, to the last one; and what is left agrees with itself."""

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest

from engine.core.events import Event, EventType
from engine.core.policy import DAY_US
from engine.core.verdict import Ask
from engine.operations import policies
from engine.operations.decide import AskCommand
from engine.operations.decider import Decider
from engine.operations.intake import Intake, Result
from engine.operations.look import look
from engine.operations.prune import EVENTS_AT_ONCE, HOURLY_SNAPSHOTS_DAYS, REFUSALS_DAYS
from engine.operations.verify import verify
from engine.store import pruning as pruning_store
from engine.store.database import ensure_weeks
from engine.store.journal_rows import WAS_REFUSED
from engine.store.pruning import WEEK_US
from engine.store.totals import Counted
from tests.conftest import set_clock
from tests.operations.histories import STRICT, History
from tests.operations.rounds import a_round
from tests.operations.test_intake import MAILBOX, of_mailbox, reachable

pytestmark = pytest.mark.anyio

REFUSING = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: push, channels: [push], limit: 1, window: {rolling: 7d}}
  - {name: any, limit: 1, window: {rolling: 3d}}
"""


def rows(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def refusals(url: str) -> Counter[tuple[Any, ...]]:
    """Every refusal that there is, counted in Python by day, labels, rule and code of its first reason."""
    found: Counter[tuple[Any, ...]] = Counter()
    for at_us, channel, topic, campaign, team, reasons in rows(
        url, "SELECT at_us, channel, topic, campaign, team, reasons FROM refusals"
    ):
        rule, code = (int.from_bytes(reasons[1:5], "little"), reasons[0]) if reasons else (0, 0)
        found[(at_us // DAY_US, channel, topic, campaign, team, rule, code)] += 1
    return found


def messages(url: str) -> int:
    """Messages that were refused, once a day each and under the labels they came with."""
    labels = "channel, topic, campaign, team"
    where = f"WHERE {WAS_REFUSED} AND message_id <> ''"
    return len(rows(url, f"SELECT DISTINCT at_us / {DAY_US}, customer_id, message_id, {labels} FROM refusals {where}"))


def totals(url: str, kind: Counted) -> Counter[tuple[Any, ...]]:
    query = "SELECT day, channel, topic, campaign, team, rule, code, count FROM daily_totals WHERE kind = %s"
    return Counter({tuple(row[:-1]): row[-1] for row in rows(url, query, int(kind))})


def weeks(url: str) -> set[str]:
    query = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass"
    return {row[0] for row in rows(url, query, "refusals")}


async def test_refusals_become_totals_and_the_journal_still_verifies(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, STRICT, author="test")
    await History(decider, database_url, seed=3).busy(steps=40, at_once=30)
    before, asked = refusals(database_url), messages(database_url)
    was = weeks(database_url)
    assert before.total() > 20
    set_clock(database_url, 400 * DAY_US)
    note = await a_round(decider.database)
    assert "weeks" in note
    assert totals(database_url, Counted.REFUSAL) == before
    assert totals(database_url, Counted.MESSAGE).total() == asked
    assert refusals(database_url).total() == 0
    assert weeks(database_url) < was
    report = await verify(decider.database)
    assert report.is_clean, "\n".join(map(str, report.findings))
    await a_round(decider.database)
    assert totals(database_url, Counted.REFUSAL) == before, "a second round finds nothing more"


async def test_refusals_of_the_last_thirty_days_stay(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, REFUSING, author="test")
    for message in range(4):
        await decider.settle(AskCommand("ada", f"m-{message}", Ask("push", "promotions")))
    before = refusals(database_url)
    assert before.total() == 3
    set_clock(database_url, (REFUSALS_DAYS - 1) * DAY_US)
    await a_round(decider.database)
    assert refusals(database_url) == before
    assert not totals(database_url, Counted.REFUSAL)


async def test_a_missing_entry_is_found_after_what_was_pruned(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, REFUSING, author="test")
    await decider.settle(AskCommand("ada", "m-1", Ask("push", "promotions")))
    await decider.settle(AskCommand("ada", "m-2", Ask("push", "promotions")))
    set_clock(database_url, 60 * DAY_US)
    await a_round(decider.database)
    for message in ("m-3", "m-4", "m-5"):
        await decider.settle(AskCommand("ada", message, Ask("push", "promotions")))
    assert (await verify(decider.database)).is_clean
    rows(database_url, "DELETE FROM refusals WHERE customer_id = 'ada' AND seq = 4 RETURNING seq")
    report = await verify(decider.database)
    assert [each.sentence for each in report.findings] == ["entry 4 is missing before it"]


async def test_asks_go_on_where_the_table_is_never_free(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads refusals for long: the week stays, whole, and no ask waits behind the one who wants to drop it."""
    monkeypatch.setattr(pruning_store, "TRIES", 4)
    monkeypatch.setattr(pruning_store, "BETWEEN_S", 0.1)
    await policies.activate(decider.database, REFUSING, author="test")
    async with decider.database.connection() as connection:
        await ensure_weeks(connection)
    for message in range(3):
        await decider.settle(AskCommand("ada", f"m-{message}", Ask("push", "promotions")))
    before = refusals(database_url)
    set_clock(database_url, 60 * DAY_US)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM refusals")
        pruning = asyncio.create_task(a_round(decider.database))
        asked = 0
        while not pruning.done():
            await decider.settle(AskCommand("ada", f"later-{asked}", Ask("push", "promotions")))
            asked += 1
            await asyncio.wait([pruning], timeout=0.05)
        assert "busy" in pruning.result()
    assert asked > 5
    assert not totals(database_url, Counted.REFUSAL)
    assert all(refusals(database_url)[each] >= count for each, count in before.items())
    await a_round(decider.database)
    assert totals(database_url, Counted.REFUSAL) == before


async def test_old_events_become_totals_by_type(decider: Decider, database_url: str) -> None:
    intake = Intake(decider)
    now_us = await decider.database.clock_us()
    told = [
        Event("ada", "crm", f"e-{number}", type_, now_us - age * DAY_US, channel="email", topic="news")
        for number, (type_, age) in enumerate(
            [(EventType.OPENED, 1), (EventType.OPENED, 399), (EventType.OPENED, 200), (EventType.DOWNLOAD, 1)]
        )
    ]
    await intake.take(told)
    set_clock(database_url, 202 * DAY_US)
    assert "2 events" in await a_round(decider.database)
    assert totals(database_url, Counted.EVENT).total() == 2
    assert len(rows(database_url, "SELECT 1 FROM events")) == 2
    set_clock(database_url, 500 * DAY_US)
    await a_round(decider.database)
    found = totals(database_url, Counted.EVENT)
    named = dict(rows(database_url, "SELECT number, name FROM labels"))
    assert Counter({named[key[5]]: count for key, count in found.items()}) >= Counter(opened=1, download=1)
    assert found.total() == 4


async def test_what_is_older_than_what_is_kept_is_counted_once_and_forbids_all_the_same(
    decider: Decider, database_url: str
) -> None:
    """An event of long ago, let go of and brought again, was news again, and counted again."""
    intake, old_us = Intake(decider), await decider.database.clock_us() - 900 * DAY_US
    purchase = Event("ada", "shop", "p", "purchase", old_us)
    assert await intake.take([purchase]) == [Result.ACCEPTED]
    assert await intake.take([purchase]) == [Result.DUPLICATE]
    assert "1 events" in await a_round(decider.database)
    left = Event("bob", "shop", "u", "unsubscribed", old_us, channel="email")
    first = Event("bob", "shop", "p", "purchase", old_us)
    for _ in range(2):
        assert await intake.take([purchase, first, left]) == [Result.TOO_OLD] * 3
        await a_round(decider.database)
    assert totals(database_url, Counted.EVENT).total() == 1
    told = [each for (each,) in rows(database_url, "SELECT event_id FROM events") if ":" not in each]
    assert told == []
    view = await look(decider, "bob")
    assert [each.reason for each in view.customer.in_force] == ["unsubscribe"]
    assert view.customer.attribute("days_since_first_seen", old_us + 900 * DAY_US) == 900
    assert (await verify(decider.database)).is_clean


async def test_what_forbids_waits_for_the_owner_of_its_address_however_long(
    decider: Decider, database_url: str
) -> None:
    """An unsubscribe was acknowledged, and let go of after 90 days: then its customer was contacted."""
    intake, now_us = Intake(decider), await decider.database.clock_us()
    types = ("unsubscribed", "account_closed", "consented", "case_opened", "purchase", "delivered")
    assert await intake.take([of_mailbox(each, now_us) for each in types]) == [Result.UNRESOLVED] * len(types)
    set_clock(database_url, 1_000 * DAY_US)
    assert "2 unresolved" in await a_round(decider.database)
    assert totals(database_url, Counted.UNRESOLVED).total() == 2
    await intake.put([reachable("ada", MAILBOX)])
    view = await look(decider, "ada")
    assert {each.reason.value for each in view.customer.in_force} == {"unsubscribe", "account_closed"}
    assert [each.given for each in view.customer.consents] == [True]
    assert rows(database_url, "SELECT count(*) FROM unresolved_events") == [(0,)]


async def test_events_go_in_batches_and_one_that_somebody_holds_another_day(
    decider: Decider, database_url: str
) -> None:
    """Many at one instant, more than a batch takes; and one that is held, at the first instant of all."""
    now_us = await decider.database.clock_us()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO events (at_us, received_us, event_key, message_key, kind, source, topic, campaign, channel,"
            " flags, customer_id, event_id) SELECT %s + (n / 12000) * %s, %s, n, 0, 1, 1, 0, 0, 0, 0, 'c' || n, n::text"
            " FROM generate_series(0, 25000) n",
            (now_us, DAY_US, now_us),
        )
        assert EVENTS_AT_ONCE < 12_000
        set_clock(database_url, 401 * DAY_US + DAY_US // 2)
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM events WHERE customer_id = 'c0' FOR UPDATE")
            assert "23999 events" in await a_round(decider.database)
        assert rows(database_url, "SELECT customer_id FROM events WHERE at_us <= %s", now_us) == [("c0",)]
        assert "1 events" in await a_round(decider.database)
    found = totals(database_url, Counted.EVENT)
    assert found.total() == 24_000, "two days of three"
    assert rows(database_url, "SELECT count(*) FROM events") == [(1_001,)]
    assert "0 events" in await a_round(decider.database), "and an empty round"


async def test_snapshots_are_thinned_to_one_a_day_after_two_weeks(decider: Decider, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO experiments (key, state, on_harm, created_us, source, plan)"
            " VALUES ('a', 'draft', 'alert', 0, '', '{}')"
        )
        now_us = await decider.database.clock_us()
        day = now_us // DAY_US * DAY_US
        kept = [day - 20 * DAY_US + 5, day - 3 * DAY_US, day - 3 * DAY_US + 1, day - 3 * DAY_US + 2]
        gone = [day - 20 * DAY_US + 1, day - 20 * DAY_US + 3]
        # a day's last is the one that was begun last, also where the clock was set back meanwhile
        kept.append(day - 18 * DAY_US + 1)
        gone.append(day - 18 * DAY_US + 4)
        for number, at_us in enumerate(gone + kept):
            connection.execute(
                "INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)"
                " VALUES (1, %(number)s, %(at)s, %(at)s, 1, 'ship', '{}')",
                {"number": number, "at": at_us},
            )
    assert HOURLY_SNAPSHOTS_DAYS == 14
    await a_round(decider.database)
    assert sorted(each[0] for each in rows(database_url, "SELECT computed_us FROM snapshots")) == sorted(kept)


def test_weeks_are_those_of_the_partitions() -> None:
    assert WEEK_US == 7 * DAY_US
