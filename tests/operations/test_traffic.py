"""What is counted for pages beside asks: whose contacts fill budgets, how full they are, what became of messages."""

from collections import Counter

import psycopg
import pytest

from engine.core.errors import NotFound
from engine.core.events import Event, EventType
from engine.core.levels import Level, levels
from engine.core.policy import DAY_US, HOUR_US
from engine.core.verdict import Ask
from engine.operations import crowding, fullness, hours, policies, traffic
from engine.operations.decide import AskCommand
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.operations.look import look
from engine.operations.resolve import ConfirmCommand
from engine.operations.volumes import volumes
from engine.settings import Settings
from engine.store import levels as level_store
from engine.store import outcomes
from engine.store.hourly_reading import Crowding
from tests.conftest import set_clock
from tests.operations.histories import STRICT
from tests.operations.rounds import a_round
from tests.operations.test_hours import Forwards, rows

pytestmark = pytest.mark.anyio
WEEKLY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: weekly, channels: [push], limit: 2, window: {rolling: 7d}}
"""


async def crowd(decider: Decider, url: str, customers: int) -> None:
    """The shop fills everybody's budget, the crm asks in vain, and the shop asks once more in vain."""
    await policies.activate(decider.database, WEEKLY, author="test")
    for number in range(customers):
        for team, message in (("shop", "s1"), ("shop", "s2"), ("crm", "c1"), ("shop", "s3"), ("crm", "c1")):
            await decider.settle(AskCommand(f"c{number}", message, Ask("push", "promotions", team=team)))
            if message in ("s1", "s2"):
                await decider.settle(ConfirmCommand(f"c{number}", message))
    set_clock(url, 3 * HOUR_US)
    await hours.count(decider.database)


async def found(decider: Decider) -> set[Crowding]:
    return set((await volumes(decider.database, 7)).crowding)


async def test_who_was_refused_because_of_whom_is_told_once(decider: Decider, database_url: str) -> None:
    await crowd(decider, database_url, customers=6)
    first = await crowding.look(decider.database)
    expected = {Crowding("crm", "shop", True, 6.0, 6), Crowding("shop", "shop", False, 6.0, 6)}
    assert (first.looked_at, first.is_behind) == (12, False)
    assert await found(decider) == expected
    assert (await crowding.look(decider.database)).looked_at == 0
    assert await found(decider) == expected


async def test_a_sample_stands_for_all(decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "AT_ONCE", 5)
    await crowd(decider, database_url, customers=10)
    while (await crowding.look(decider.database)).is_behind:
        pass
    told = await found(decider)
    assert sum(each.messages for each in told) == pytest.approx(20)
    assert {each.looked_at <= 10 for each in told} == {True}
    assert sum(each.looked_at for each in told) in (5, 10), "of one hour, or of two where the clock struck meanwhile"


async def test_contacts_that_were_given_back_later_had_filled_the_budget(decider: Decider, database_url: str) -> None:
    """The shop's leases expired after the crm was refused: at that instant they were in the way."""
    await policies.activate(decider.database, WEEKLY, author="test")
    for team, message in (("shop", "s1"), ("shop", "s2"), ("crm", "c1")):
        await decider.settle(AskCommand("ada", message, Ask("push", "promotions", team=team)))
    set_clock(database_url, 3 * HOUR_US)
    await traffic.catch_up(decider.database)
    assert await found(decider) == {Crowding("crm", "shop", True, 1.0, 1)}


async def test_levels_are_those_of_every_customer_looked_up_by_hand(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, STRICT, author="test")
    history = Forwards(decider, database_url, seed=11, customers=25)
    await history.busy(steps=12, at_once=30)
    await policies.activate(decider.database, STRICT, author="test")
    measured = await fullness.measure(decider.database)
    async with decider.database.transaction() as connection:
        at_us, kept = await level_store.newest(connection, 2**62)
    expected: dict[str, Counter[Level]] = {each.budget: Counter() for each in kept}
    people = 0
    for customer in history.customers:
        try:
            view = await look(decider, customer)
        except NotFound:
            continue
        people += 1
        contacts = rows(
            database_url,
            f"SELECT start_us FROM journal j WHERE customer_id = '{customer}'"
            f" AND start_us >= {view.now_us - 28 * DAY_US}"
            " AND NOT EXISTS (SELECT FROM resolutions r WHERE r.customer_id = j.customer_id AND r.contact_seq = j.seq"
            " AND r.kind IN (2, 3)) AND (flags & 3 <> 1 OR end_us > takt_clock() OR EXISTS (SELECT FROM resolutions r"
            " WHERE r.customer_id = j.customer_id AND r.contact_seq = j.seq AND r.kind IN (1, 4, 5)))",
        )
        for name, level in levels(expected, view.standings, is_forgotten=not contacts).items():
            expected[name][level] += 1
    assert measured == people
    assert at_us is not None
    assert {each.budget: [each.saturated, each.close, each.comfortable, each.forgotten] for each in kept} == {
        name: [counts[each] for each in Level] for name, counts in expected.items()
    }
    assert sum(each.close + each.saturated for each in kept) > 0


async def test_a_sample_is_of_those_there_are_and_of_nobody_merged(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, WEEKLY, author="test")
    for number in range(40):
        await decider.settle(AskCommand(f"c{number}", "m", Ask("push", "promotions")))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO customers (customer_id, merged_into) VALUES ('c1', 'c2')")
    async with decider.database.transaction() as connection:
        few, all_ = await level_store.sample(connection, 5), await level_store.sample(connection, 1_000)
    assert len(few.ids) == 5
    assert few.customers >= 20
    assert sorted(all_.ids) == sorted({f"c{number}" for number in range(40)} - {"c1"})
    assert all_.customers == 40


async def test_nothing_is_told_of_an_empty_database(decider: Decider, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE rulesets, policies CASCADE")
    note = await traffic.count(decider.database)
    assert note == "0 asks; 0 refusals looked at; 0 customers; 28 days of outcomes"
    assert await traffic.count(decider.database) == "0 asks; 0 refusals looked at"
    shown = await volumes(decider.database, 84)
    assert shown.total.asked == 0
    assert len(shown.days) == 84
    assert shown.levels == []


async def test_what_fails_keeps_nothing_else_from_being_counted(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd(decider, database_url, customers=2)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE budget_levels RENAME TO gone")
    with pytest.raises(Exception, match="failed: levels: ") as caught:
        await traffic.count(decider.database)
    assert "4 refusals looked at" in str(caught.value)
    assert "28 days of outcomes" in str(caught.value)


async def test_events_that_come_late_are_in_their_day(decider: Decider, database_url: str) -> None:
    intake = Intake(decider)
    now_us = await decider.database.clock_us()
    day = now_us // DAY_US

    def told(customer: str, type_: str, days_ago: int, channel: str | None = "email", **more: object) -> Event:
        at_us = (day - days_ago) * DAY_US
        return Event(customer, "esp", f"{customer}-{type_}-{days_ago}", type_, at_us, channel, **more)  # type: ignore[arg-type]

    await intake.take([told(f"c{number}", EventType.DELIVERED, 2, message_id="m") for number in range(5)])
    await traffic.count(decider.database)
    await intake.take(
        [
            told("c0", EventType.COMPLAINED, 1, None, message_id="m"),
            told("c1", EventType.UNSUBSCRIBED, 0),
            told("c9", EventType.DELIVERED, 2, message_id="m"),
            told("c8", EventType.DELIVERED, 40),
        ]
    )
    set_clock(database_url, HOUR_US)
    await traffic.count(decider.database)
    async with decider.database.transaction() as connection:
        kept = [each for each in await outcomes.since(connection, day - 30, day + 1) if each.channel == "email"]
    assert [(day - each.day, *each[2:]) for each in kept] == [(2, 6, 6, 0, 0), (1, 0, 0, 0, 1), (0, 0, 0, 1, 0)]


async def test_counts_outlive_what_was_counted_and_go_in_the_end(decider: Decider, database_url: str) -> None:
    await crowd(decider, database_url, customers=2)
    await traffic.count(decider.database)
    before = rows(database_url, "SELECT sum(asks) FROM hourly_asks")
    set_clock(database_url, 60 * DAY_US)
    await a_round(decider.database)
    await hours.count(decider.database)
    assert rows(database_url, "SELECT * FROM refusals") == []
    assert rows(database_url, "SELECT sum(asks) FROM hourly_asks") == before
    set_clock(database_url, 402 * DAY_US)
    await a_round(decider.database)
    for table in ("hourly_asks", "hourly_crowding", "budget_levels"):
        assert rows(database_url, f"SELECT * FROM {table}") == [], table
    assert Settings().keep_events_days >= traffic.OUTCOME_DAYS
