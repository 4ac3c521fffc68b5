"""Rounds under a clock that leaps: nothing goes that was not old by the rounds before, and what failed is told."""

import asyncio

import psycopg
import pytest

from engine.core.errors import Unavailable
from engine.core.events import Event
from engine.core.policy import DAY_US
from engine.core.verdict import Verdict
from engine.operations import policies
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.operations.prune import STEP_DAYS, prune
from engine.operations.prune_contacts import CONTACTS_DAYS
from engine.settings import Settings
from engine.store import journal_pruning, pruning
from tests.conftest import set_clock
from tests.operations.rounds import a_round
from tests.operations.test_prune import rows
from tests.operations.test_prune_contacts import POLICY, asked, clean, journal, sent
from tests.store.faults import count, run, until

pytestmark = pytest.mark.anyio


async def test_a_round_while_the_clock_is_far_ahead_frees_nothing(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    for number in range(3):
        await sent(decider, "ada", f"m{number}")
    await a_round(decider.database)
    set_clock(database_url, 420 * DAY_US)
    assert "this round went as if it were" in await prune(decider.database, Settings())
    assert journal(database_url) == 3
    set_clock(database_url, 0)
    assert (await asked(decider, "ada", "m4")).verdict is Verdict.DEFER
    assert "went as if" not in await prune(decider.database, Settings())
    await clean(decider)


async def test_the_first_round_of_all_lets_go_of_nothing(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await sent(decider, "ada", "m1")
    set_clock(database_url, 420 * DAY_US)
    assert await prune(decider.database, Settings()) == "the first round: it lets go of nothing"
    assert journal(database_url) == 1
    assert "1 contacts" in await prune(decider.database, Settings()), "the second knows how late it may be"


async def test_what_was_missed_is_made_up_for_by_rounds(decider: Decider, database_url: str) -> None:
    """A deployment that stood still for ten days: what was as old by then goes first."""
    now_us = await decider.database.clock_us()
    ages = [CONTACTS_DAYS - 1, CONTACTS_DAYS - 3, CONTACTS_DAYS - 9, 1]
    told = [Event("ada", "shop", f"e{age}", "download", now_us - age * DAY_US + DAY_US // 2) for age in ages]
    await Intake(decider).take(told)
    await a_round(decider.database)
    set_clock(database_url, 10 * DAY_US)
    left = [len(ages)]
    while "went as if" in await prune(decider.database, Settings()):
        left.append(count(database_url, "SELECT count(*) FROM events"))
    assert left == [4, 3, 2, 2, 2]
    assert count(database_url, "SELECT count(*) FROM events") == 1
    assert len(left) == 10 // STEP_DAYS


async def test_where_nothing_was_let_go_of_everything_is_said_to_be_there(decider: Decider, database_url: str) -> None:
    """Else no readout could be made of what begins after a clock that was ahead for a while."""
    for days in (420, 0, 1):
        set_clock(database_url, days * DAY_US)
        await a_round(decider.database)
        async with decider.database.connection() as connection:
            assert await pruning.whole_since_us(connection) == 0
        with psycopg.connect(database_url) as reader:
            assert pruning.readable_since_us(reader) == 0


async def test_a_part_that_fails_keeps_no_other_from_being_done_and_is_told(
    decider: Decider, database_url: str
) -> None:
    now_us = await decider.database.clock_us()
    await Intake(decider).take([Event("ada", "shop", "e1", "download", now_us)])
    run(
        database_url,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'secret of %', OLD.customer_id; END $$",
        "CREATE TRIGGER no BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION no()",
        "INSERT INTO alarms (at_us, kind, subject, data, next_us) VALUES (0, 'breaker.opened', 'push', '{}', 0)",
    )
    set_clock(database_url, 500 * DAY_US)
    with pytest.raises(Unavailable, match=r"failed: events: RaiseException\. Done: .* 0 unresolved; 0 snapshots"):
        await a_round(decider.database)
    assert rows(database_url, "SELECT 1 FROM alarms") == []
    run(database_url, "DROP TRIGGER no ON events")
    assert "1 events" in await a_round(decider.database)


async def test_a_week_whose_vacuum_is_cancelled_is_dropped_another_day(decider: Decider, database_url: str) -> None:
    vacuums = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'VACUUM journal%'"
    (name,) = rows(
        database_url, "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'journal'::regclass"
    )[0]
    week = int(name.removeprefix("journal_w"))
    with psycopg.connect(database_url) as other:
        other.execute(f"LOCK TABLE {name} IN SHARE MODE".encode())
        dropping = asyncio.create_task(journal_pruning.drop_if_empty(decider.database, "journal", week))
        waits = f"SELECT count(*) {vacuums} AND wait_event_type = 'Lock'"
        await until(lambda: dropping.done() or count(database_url, waits) == 1, "the vacuum does not wait")
        run(database_url, f"SELECT pg_cancel_backend(pid) {vacuums}")
        assert await dropping is False
    assert await journal_pruning.drop_if_empty(decider.database, "journal", week) is True
