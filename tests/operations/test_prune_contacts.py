"""Letting go of old contacts: what is left still proves every account, whoever asks or dies meanwhile."""

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest

from engine.core.account import State
from engine.core.errors import DatabaseUnavailable
from engine.core.events import Event, EventType
from engine.core.policy import DAY_US
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.export import export
from engine.operations.happened import HappenedCommand
from engine.operations.merge import merge
from engine.operations.prune_contacts import AT_ONCE, prune_contacts
from engine.operations.resolve import ConfirmCommand, RecordCommand
from engine.operations.verify import Report, verify
from engine.store import journal_pruning
from engine.store.pruning import WEEK_US
from engine.store.totals import Counted
from tests.conftest import set_clock
from tests.operations.histories import STRICT, History
from tests.operations.rounds import a_round
from tests.operations.test_prune import rows, totals
from tests.store.faults import until

pytestmark = pytest.mark.anyio

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
lease: 1h
budgets:
  - {name: week, limit: 3, window: {rolling: 7d}}
  - {name: calls-ever, channels: [phone], limit: 2, window: lifetime}
"""


async def clean(decider: Decider) -> Report:
    report = await verify(decider.database)
    assert report.is_clean, "\n".join(map(str, report.findings))
    return report


async def asked(decider: Decider, who: str, message_id: str, channel: str = "email") -> Answer:
    return await decider.ask(AskCommand(who, message_id, Ask(channel, "promotions")), Mode.RESERVE)


async def sent(decider: Decider, who: str, message_id: str, channel: str = "email") -> None:
    assert (await asked(decider, who, message_id, channel)).state is State.RESERVED
    await decider.settle(ConfirmCommand(who, message_id))


def journal(url: str) -> int:
    return rows(url, "SELECT count(*) FROM journal")[0][0]


def contacts(url: str) -> Counter[tuple[Any, ...]]:
    """Every contact that there is, but for those told again under another name, counted in Python."""
    gone_by = {row[0] for row in rows(url, "SELECT customer_id FROM customers WHERE merged_into IS NOT NULL")}
    found: Counter[tuple[Any, ...]] = Counter()
    for customer_id, at_us, *labels in rows(
        url, "SELECT customer_id, at_us, channel, topic, campaign, team FROM journal"
    ):
        if customer_id not in gone_by:
            found[(at_us // DAY_US, *labels, 0, 0)] += 1
    return found


def weeks(url: str, table: str) -> int:
    return rows(url, "SELECT count(*) FROM pg_inherits WHERE inhparent = %s::regclass", table)[0][0] - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_is_left_proves_accounts_and_decisions_and_the_totals_hold_the_rest(
    decider: Decider, database_url: str, seed: int
) -> None:
    await policies.activate(decider.database, STRICT, author="test")
    history = History(decider, database_url, seed=seed)
    await history.busy(steps=20, at_once=20)
    await merge(decider, "customer-0", "customer-1")
    history.jump(250 * DAY_US)
    await history.busy(steps=10, at_once=20)
    history.jump(180 * DAY_US)
    before, decisions = contacts(database_url), (await clean(decider)).decisions
    assert "busy" not in await a_round(decider.database)
    half = totals(database_url, Counted.CONTACT)
    assert half + contacts(database_url) == before
    assert half.total() > 0 < contacts(database_url).total()
    assert 0 < (await clean(decider)).decisions < decisions
    await history.busy(steps=10, at_once=20)
    await merge(decider, "customer-2", "customer-0")
    await clean(decider)
    before = contacts(database_url)
    history.jump(440 * DAY_US)
    await a_round(decider.database)
    assert totals(database_url, Counted.CONTACT) - half == before
    assert journal(database_url) == rows(database_url, "SELECT count(*) FROM resolutions")[0][0] == 0
    await clean(decider)
    await history.busy(steps=5, at_once=20)
    await clean(decider)
    set_clock(database_url, 4_000 * DAY_US)
    await a_round(decider.database)
    await clean(decider)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE openings SET totals = (SELECT totals FROM openings WHERE customer_id = 'bob')", "the totals of"),
        ("DELETE FROM openings", "the totals of"),
        ("UPDATE accounts SET contacts = ''", "the totals of"),
        ("DELETE FROM journal WHERE customer_id = 'ada'", "not in the journal"),
    ],
)
async def test_what_is_damaged_afterwards_is_found(
    decider: Decider, database_url: str, damage: str, found: str
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    for message_id in ("m1", "m2"):
        await sent(decider, "ada", message_id, "phone")
    await sent(decider, "bob", "m1", "phone")
    set_clock(database_url, 420 * DAY_US)
    await a_round(decider.database)
    await sent(decider, "ada", "m3")
    await clean(decider)
    rows(database_url, f"{damage} RETURNING 1")
    said = [str(each) for each in (await verify(decider.database)).findings]
    assert any(found in each for each in said), said


async def test_what_counts_for_a_lifetime_counts_for_longer_than_contacts_are_kept(
    decider: Decider, database_url: str
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await sent(decider, "ada", "m1", "phone")
    await sent(decider, "countess", "m1", "phone")
    for years in (1, 2, 3):
        set_clock(database_url, years * 500 * DAY_US)
        await a_round(decider.database)
        assert journal(database_url) == 0
    await merge(decider, "ada", "countess")
    assert (await asked(decider, "ada", "m2", "phone")).verdict is Verdict.DENY
    assert (await asked(decider, "countess", "m2", "phone")).verdict is Verdict.DENY
    report = await clean(decider)
    assert report.decisions == 2, "decisions long after what went are made again"
    (opening,) = (await export(decider, "ada")).tables["openings"][:1]
    assert opening["totals"]["totals"] == [{"channel": "phone", "topic": "promotions", "weight": 2}]
    await erase(decider, "ada")
    assert rows(database_url, "SELECT count(*) FROM openings") == [(0,)]
    await clean(decider)


async def test_a_contact_confirmed_late_stays_as_long_as_it_counts(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY.replace("7d", "400d"), author="test")
    assert (await asked(decider, "ada", "m1")).state is State.RESERVED
    await sent(decider, "ada", "m2")
    set_clock(database_url, 390 * DAY_US)
    now_us = await decider.database.clock_us()
    sent_late = Event("ada", "provider", "e1", EventType.SENT, now_us - 30 * DAY_US, "email", message_id="m1")
    assert await decider.settle(HappenedCommand("ada", (sent_late,)))
    set_clock(database_url, 415 * DAY_US)
    await a_round(decider.database)
    assert rows(database_url, "SELECT message_id FROM journal") == [("m1",)]
    await clean(decider)
    used = [(await asked(decider, who, "m3")).budgets[0].used for who in ("ada", "stranger")]
    assert used == [2, 1], "by this one, and by the late one"
    assert weeks(database_url, "resolutions") < weeks(database_url, "journal")
    set_clock(database_url, 900 * DAY_US)
    await a_round(decider.database)
    assert journal(database_url) == 0
    await clean(decider)


async def test_a_contact_recorded_in_hindsight_stays_for_as_long_from_then(decider: Decider, database_url: str) -> None:
    now_us = await decider.database.clock_us()
    await decider.settle(RecordCommand("ada", "old", "email", "promotions", now_us - 399 * DAY_US))
    set_clock(database_url, 20 * DAY_US)
    await a_round(decider.database)
    assert journal(database_url) == 1, "its message id is remembered"
    set_clock(database_url, 420 * DAY_US)
    await a_round(decider.database)
    assert journal(database_url) == 0
    await clean(decider)


async def test_nothing_there_and_nothing_for_years(decider: Decider, database_url: str) -> None:
    assert "0 contacts" in await a_round(decider.database)
    await sent(decider, "ada", "m1")
    set_clock(database_url, 30 * 365 * DAY_US)
    assert "1 contacts" in await a_round(decider.database)
    assert weeks(database_url, "journal") == weeks(database_url, "resolutions") == 0
    await sent(decider, "ada", "m1")
    await clean(decider)
    set_clock(database_url, 0)
    assert "0 contacts" in await a_round(decider.database)
    await clean(decider)


async def test_who_is_asked_about_just_then_is_passed_by_and_let_go_of_later(
    decider: Decider, database_url: str
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    for who in ("ada", "bob"):
        await sent(decider, who, "m1", "phone")
    set_clock(database_url, 420 * DAY_US)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM accounts WHERE customer_id = 'ada' FOR UPDATE")
        assert "1 contacts and 1 resolutions, 6 weeks dropped, 1 busy" in await a_round(decider.database)
        assert rows(database_url, "SELECT customer_id FROM journal") == [("ada",)]
        await clean(decider)
    assert "1 contacts and 1 resolutions" in await a_round(decider.database)
    await clean(decider)


def hold_totals(connection: psycopg.Connection, channel: int, topic: int, at_us: int) -> None:
    """Hold the row of the totals that contacts of a day are added to, for as long as the transaction lasts."""
    connection.execute(
        "INSERT INTO daily_totals VALUES (0, %s, %s, %s, %s, 0, 0, 0, 0)",
        (at_us // DAY_US, Counted.CONTACT, channel, topic),
    )


async def test_an_ask_of_a_customer_whom_a_batch_holds_is_answered_behind_it(
    decider: Decider, database_url: str
) -> None:
    """The batch has deleted, and waits in vain for the totals; all of it is undone, and the ask counts what it had."""
    await policies.activate(decider.database, POLICY, author="test")
    await sent(decider, "ada", "m1", "phone")
    now_us = await decider.database.clock_us()
    set_clock(database_url, 420 * DAY_US)
    numbers = dict(rows(database_url, "SELECT name, number FROM labels"))
    with psycopg.connect(database_url) as other:
        hold_totals(other, numbers["phone"], numbers["promotions"], now_us)
        round_ = asyncio.create_task(prune_contacts(decider.database, (now_us // WEEK_US + 2) * WEEK_US))
        waits = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE %s"
        )
        await until(lambda: bool(rows(database_url, waits, "%daily_totals%")), "the batch waits")
        answer = await asked(decider, "ada", "m2", "phone")
        assert answer.verdict is Verdict.ALLOW
        with pytest.raises(DatabaseUnavailable):
            await round_
        assert journal(database_url) == 2
        await clean(decider)
    await decider.settle(ConfirmCommand("ada", "m2"))
    await prune_contacts(decider.database, (now_us // WEEK_US + 2) * WEEK_US)
    assert journal(database_url) == 1
    assert (await asked(decider, "ada", "m3", "phone")).verdict is Verdict.DENY
    await clean(decider)


async def test_a_round_that_is_killed_within_a_batch_leaves_whole_batches(decider: Decider, database_url: str) -> None:
    """The first batch is committed; the second waits for a row of the totals that somebody holds, when it is killed."""
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    commands = [
        RecordCommand(f"{channel}-{number:03}", "m", channel, "promotions", now_us)
        for channel, many in (("email", AT_ONCE), ("push", AT_ONCE // 2))
        for number in range(many)
    ]
    assert len(await decider.settle_all(commands)) == len(commands)
    set_clock(database_url, 420 * DAY_US)
    numbers = dict(rows(database_url, "SELECT name, number FROM labels"))
    with psycopg.connect(database_url) as other:
        hold_totals(other, numbers["push"], numbers["promotions"], now_us)
        round_ = asyncio.create_task(prune_contacts(decider.database, (now_us // WEEK_US + 2) * WEEK_US))

        def waits() -> bool:
            return bool(
                rows(
                    database_url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock' AND query LIKE %s",
                    "%daily_totals%",
                )
            )

        await until(waits, "the second batch waits")
        with pytest.raises(Exception, match="database"):
            await round_
        assert journal(database_url) == AT_ONCE // 2
        assert totals(database_url, Counted.CONTACT).total() == AT_ONCE
        await clean(decider)
    await a_round(decider.database)
    assert journal(database_url) == 0
    assert totals(database_url, Counted.CONTACT).total() == len(commands)
    await clean(decider)


async def test_asks_and_late_events_of_the_same_customers_meanwhile_are_answered_and_nothing_is_lost(
    decider: Decider, database_url: str
) -> None:
    """Rounds one after another on connections of their own, while everybody whom they are about is asked about."""
    await policies.activate(decider.database, POLICY, author="test")
    everybody = [f"customer-{number:03}" for number in range(60)]
    for who in everybody:
        assert (await asked(decider, who, "m1")).state is State.RESERVED
        await sent(decider, who, "m2", "phone")
    before_us = (await decider.database.clock_us() // WEEK_US + 1) * WEEK_US
    set_clock(database_url, 412 * DAY_US)
    now_us = await decider.database.clock_us()
    stopped = False

    async def rounds() -> None:
        while not stopped:
            await prune_contacts(decider.database, before_us)

    tasks = [asyncio.create_task(rounds()) for _ in range(2)]
    late = [
        HappenedCommand(who, (Event(who, "p", "e", EventType.SENT, now_us - 20 * DAY_US, "email", message_id="m1"),))
        for who in everybody
    ]
    answers = await asyncio.gather(
        *(decider.settle(each) for each in late), *(asked(decider, who, "m3", "phone") for who in everybody)
    )
    verdicts = Counter(each.verdict for each in answers if isinstance(each, Answer))
    assert verdicts == {Verdict.ALLOW: len(everybody)}, "one of two calls ever is left"
    stopped = True
    await asyncio.gather(*tasks)
    await prune_contacts(decider.database, before_us)
    await clean(decider)
    again = await asyncio.gather(*(asked(decider, who, "m4", "phone") for who in everybody))
    assert Verdict.ALLOW not in {each.verdict for each in again}
    left = rows(database_url, "SELECT DISTINCT message_id FROM journal WHERE at_us < %s", before_us)
    assert left in ([], [("m1",)]), "of what is old, only what was confirmed late"
    await clean(decider)


async def test_asks_go_on_where_somebody_reads_the_journal_for_long(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_pruning, "TRIES", 4)
    monkeypatch.setattr(journal_pruning, "BETWEEN_S", 0.1)
    await policies.activate(decider.database, POLICY, author="test")
    await sent(decider, "ada", "m1")
    was = weeks(database_url, "journal")
    set_clock(database_url, 420 * DAY_US)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM journal")
        pruning = asyncio.create_task(a_round(decider.database))
        number = 0
        while not pruning.done():
            assert (await asked(decider, f"customer-{number}", "m1")).verdict is Verdict.ALLOW
            number += 1
            await asyncio.wait([pruning], timeout=0.05)
        assert "busy" in pruning.result()
    assert number > 5
    assert weeks(database_url, "journal") == was
    await a_round(decider.database)
    assert weeks(database_url, "journal") == 0
    await clean(decider)
