"""Traps that were measured, on a real PostgreSQL: each wrong way is shown to fail, and Takt's to hold.

1  A lock alone is not enough: what is read must have been read after it was had.
2  An answer before its commit is a lie.
4  A commit whose answer was lost has happened or not: only who holds the account's lock can tell.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from engine.core.account import State
from engine.core.errors import TaktError
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Code, Verdict
from engine.operations import policies
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.resolve import ConfirmCommand, Resolved
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store import accounts
from engine.store.columns import Texts, register
from engine.store.customers import suppression_data
from tests.store.faults import Cut, as_ever, at_commit, count, held_commits, proxied, run, until, waiting

pytestmark = pytest.mark.anyio

THREADS = 8
CUSTOMERS = 60
CAP = 3
POLICY = f"""\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {{name: cap, limit: {CAP}, window: {{rolling: 7d}}}}
"""

# --- 1: over the cap -------------------------------------------------------------------------------------------------

ALL = "SELECT count(*) FROM contacts WHERE customer_id = %s"
BY_NOW = f"{ALL} AND at <= now()"
INSERT = "INSERT INTO contacts VALUES (%s, clock_timestamp())"
FOR_UPDATE = "SELECT 1 FROM accounts WHERE customer_id = %s FOR UPDATE"


def race(url: str, ask: Callable[[Connection[TupleRow], str], None]) -> int:
    """Eight threads ask for sixty customers, all for the same at once: how many customers get more than the cap?"""
    run(url, "CREATE TABLE contacts (customer_id text, at timestamptz)")
    run(url, f"INSERT INTO accounts (customer_id) SELECT 'c' || n FROM generate_series(1, {CUSTOMERS}) AS n")
    together = threading.Barrier(THREADS)

    def thread() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            register(connection)
            for number in range(1, CUSTOMERS + 1):
                together.wait(timeout=120)
                ask(connection, f"c{number}")

    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(thread) for _ in range(THREADS)]:
            each.result()
    return count(url, f"SELECT count(*) FROM (SELECT 1 FROM contacts GROUP BY customer_id HAVING count(*) > {CAP}) x")


def counted(connection: Connection[TupleRow], customer_id: str, query: str) -> None:
    row = connection.execute(query.encode(), (customer_id,)).fetchone()
    if row is not None and row[0] < CAP:
        connection.execute(INSERT, (customer_id,))


def count_then_insert(connection: Connection[TupleRow], customer_id: str) -> None:
    with connection.transaction():
        counted(connection, customer_id, ALL)


def lock_in_a_snapshot(connection: Connection[TupleRow], customer_id: str) -> None:
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        connection.execute(FOR_UPDATE, (customer_id,))
        counted(connection, customer_id, ALL)


def lock_and_now(connection: Connection[TupleRow], customer_id: str) -> None:
    with connection.transaction():
        connection.execute("SELECT now()")
        connection.execute(FOR_UPDATE, (customer_id,))
        counted(connection, customer_id, BY_NOW)


def lock_then_read(connection: Connection[TupleRow], customer_id: str) -> None:
    with connection.transaction():
        connection.execute(accounts.LOCK, (Texts([customer_id]),))
        counted(connection, customer_id, ALL)


@pytest.mark.parametrize("ask", [count_then_insert, lock_in_a_snapshot, lock_and_now])
def test_wrong_locks_let_customers_over_the_cap(
    database_url: str, ask: Callable[[Connection[TupleRow], str], None]
) -> None:
    assert race(database_url, ask) > 0


def test_a_lock_and_then_a_statement_of_its_own_let_nobody_over_the_cap(database_url: str) -> None:
    assert race(database_url, lock_then_read) == 0


def race_of_deciders(url: str, deciders: int = 4, rounds: int = 2) -> list[str]:
    """Customers whom Deciders with pools and loops of their own were allowed to contact, once an allowed ask."""
    together = threading.Barrier(deciders)

    async def thread(name: int) -> list[str]:
        decider = Decider(url, Settings(lanes=1))
        await decider.open()
        try:
            allowed: list[str] = []
            for number in range(rounds):
                await asyncio.to_thread(together.wait, 30)
                asks = [AskCommand(f"c{n}", f"m{name}-{number}", Ask("email", "news")) for n in range(CUSTOMERS)]
                answers = await asyncio.gather(*(decider.ask(each, Mode.RESERVE) for each in asks))
                allowed += [each.customer_id for each in answers if each.verdict is Verdict.ALLOW]
            return allowed
        finally:
            await decider.close()

    with ThreadPoolExecutor(deciders) as pool:
        results = [pool.submit(asyncio.run, thread(name)) for name in range(deciders)]
        return [each for result in results for each in result.result()]


async def test_deciders_of_several_processes_allow_exactly_the_cap(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    allowed = await asyncio.to_thread(race_of_deciders, database_url)
    assert sorted(allowed) == sorted(f"c{n}" for n in range(CUSTOMERS) for _ in range(CAP))
    report = await verify(decider.database)
    assert report.is_clean, report.findings


async def test_the_race_of_deciders_would_show_a_missing_lock(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness can fail: without the lock two decide of the same account, and one's entry or both are lost."""
    await policies.activate(decider.database, POLICY, author="test")
    monkeypatch.setattr(accounts, "LOCK", "SELECT unnest(%b)")
    run(database_url, f"INSERT INTO accounts (customer_id) SELECT 'c' || n FROM generate_series(0, {CUSTOMERS}) AS n")
    allowed = await asyncio.to_thread(race_of_deciders, database_url)
    over = [each for each in set(allowed) if allowed.count(each) > CAP]
    report = await verify(decider.database)
    assert over or not report.is_clean


# --- 1: a committed unsubscribe --------------------------------------------------------------------------------------

READ = "SELECT c.suppressions FROM (VALUES (%s)) AS ids(id) LEFT JOIN customers c ON c.customer_id = ids.id"
IN_ONE_STATEMENT = {
    "a common table expression": f"WITH locked AS ({accounts.LOCK.replace('%b', 'ARRAY[%s]')}) {READ}",
    "for update": (
        "SELECT c.suppressions FROM accounts a LEFT JOIN customers c USING (customer_id)"
        " WHERE a.customer_id = %s FOR UPDATE OF a"
    ),
}
UNSUBSCRIBED = suppression_data(
    Suppression(Scope(), SuppressionReason.UNSUBSCRIBE, at_us=1, source="link", binds_exempt=False)
)
UNSUBSCRIBE = "UPDATE customers SET suppressions = %s WHERE customer_id = 'ada'"


async def behind_an_unsubscribe(url: str, look: Callable[[], object]) -> object:
    """What a look sees that waits for the lock of a transaction which unsubscribes, and commits in between."""
    run(url, "INSERT INTO accounts (customer_id) VALUES ('ada')", "INSERT INTO customers (customer_id) VALUES ('ada')")
    with psycopg.connect(url) as unsubscribing:
        register(unsubscribing)
        unsubscribing.execute(accounts.LOCK, (Texts(["ada"]),))
        unsubscribing.execute("SELECT 1 FROM accounts WHERE customer_id = 'ada' FOR UPDATE")
        unsubscribing.execute(UNSUBSCRIBE, (Jsonb([UNSUBSCRIBED]),))
        looking = asyncio.create_task(asyncio.to_thread(look))
        await until(lambda: waiting(url, "transactionid") == 1, "nobody waits for the lock")
        unsubscribing.commit()
        return await looking


@pytest.mark.parametrize("statement", IN_ONE_STATEMENT.values(), ids=IN_ONE_STATEMENT.keys())
async def test_a_lock_and_a_read_in_one_statement_miss_an_unsubscribe(database_url: str, statement: str) -> None:
    def look() -> object:
        with psycopg.connect(database_url) as connection:
            return connection.execute(statement.encode(), ("ada",) * statement.count("%s")).fetchone()

    assert await behind_an_unsubscribe(database_url, look) == (None,)


async def test_a_lock_and_then_a_read_see_the_unsubscribe(database_url: str) -> None:
    def look() -> object:
        with psycopg.connect(database_url) as connection:
            register(connection)
            connection.execute(accounts.LOCK, (Texts(["ada"]),))
            return connection.execute(READ, ("ada",)).fetchone()

    assert await behind_an_unsubscribe(database_url, look) == ([UNSUBSCRIBED],)


async def test_an_ask_that_waited_for_an_unsubscribe_is_denied(decider: Decider, database_url: str) -> None:
    def look() -> Answer:
        async def ask() -> Answer:
            other = Decider(database_url, Settings(lanes=1))
            await other.open()
            try:
                return await other.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
            finally:
                await other.close()

        return asyncio.run(ask())

    answer = await behind_an_unsubscribe(database_url, look)
    assert isinstance(answer, Answer)
    assert (answer.verdict, [each.code for each in answer.reasons]) == (Verdict.DENY, [Code.SUPPRESSED])


# --- 2: answering before the commit ----------------------------------------------------------------------------------


async def test_there_is_no_answer_before_the_commit_has_returned(decider: Decider, database_url: str) -> None:
    async with held_commits(database_url) as let_go:
        asking = asyncio.create_task(decider.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE))
        await until(lambda: waiting(database_url, "advisory") == 1, "no commit waits")
        await decider.database.clock_us()  # the loop has turned, and other connections are answered
        assert not asking.done()
        assert count(database_url, "SELECT count(*) FROM journal") == 0
        let_go()
        assert (await asking).verdict is Verdict.ALLOW
    assert count(database_url, "SELECT count(*) FROM journal") == 1


async def test_of_a_commit_that_fails_nothing_is_answered_and_nothing_kept(decider: Decider, database_url: str) -> None:
    ask = AskCommand("ada", "m1", Ask("email", "newsletter"))
    at_commit(database_url, "RAISE EXCEPTION 'no room on the disk';")
    with pytest.raises(TaktError):
        await decider.ask(ask, Mode.RESERVE)
    assert count(database_url, "SELECT count(*) FROM journal") == 0
    assert count(database_url, "SELECT coalesce(max(seq), 0) FROM accounts") == 0
    await asyncio.to_thread(as_ever, database_url)
    answer = await decider.ask(ask, Mode.RESERVE)
    assert (answer.verdict, answer.attempt, answer.replayed) == (Verdict.ALLOW, 1, False)


# --- 4: a commit whose answer was lost -------------------------------------------------------------------------------


async def expect_one_contact(decider: Decider, url: str) -> None:
    """One ask and one contact on record, counted once, whose message is not allowed again."""
    assert count(url, "SELECT count(*) FROM journal") == 1
    again = await decider.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
    assert (again.replayed, again.attempt) == (True, 1)
    report = await verify(decider.database)
    assert report.is_clean, report.findings


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_after_a_broken_commit_the_answer_is_the_truth(decider: Decider, database_url: str, cut: Cut) -> None:
    async with proxied(database_url) as (url, proxy):
        other = Decider(url, Settings(lanes=1))
        await other.open()
        try:
            proxy.arm(cut)
            answer = await other.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
            assert proxy.cuts == 1
            assert (answer.verdict, answer.attempt, answer.replayed) == (Verdict.ALLOW, 1, False)
            await expect_one_contact(decider, database_url)
            proxy.arm(cut)
            confirmed = await other.settle(ConfirmCommand("ada", "m1"))
            assert proxy.cuts == 2
            assert isinstance(confirmed, Resolved)
            assert (confirmed.state, confirmed.applied) == (State.CONFIRMED, True)
            assert count(database_url, "SELECT count(*) FROM resolutions") == 1
            await expect_one_contact(decider, database_url)
        finally:
            await other.close()


async def test_a_commit_still_on_its_way_is_waited_for_where_a_bare_look_up_finds_nothing(
    decider: Decider, database_url: str
) -> None:
    async with proxied(database_url) as (url, proxy):
        other = Decider(url, Settings(lanes=1))
        await other.open()
        try:
            async with held_commits(database_url) as let_go:
                proxy.arm(Cut.ON_ITS_WAY)
                ask = AskCommand("ada", "m1", Ask("email", "newsletter"))
                asking = asyncio.create_task(other.ask(ask, Mode.RESERVE))
                await until(lambda: proxy.cuts == 1, "no commit came")
                await until(lambda: waiting(database_url, "transactionid") == 1, "nobody asks under the lock")
                assert count(database_url, "SELECT count(*) FROM journal") == 0  # what the wrong look-up sees
                assert not asking.done()
                let_go()
                answer = await asking
            assert (answer.verdict, answer.attempt, answer.replayed) == (Verdict.ALLOW, 1, False)
            await expect_one_contact(decider, database_url)
        finally:
            await other.close()


async def test_a_server_that_ends_the_connection_during_a_commit_charges_nothing_twice(
    decider: Decider, database_url: str
) -> None:
    at_commit(database_url, "IF nextval('commits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;")
    answer = await decider.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
    assert (answer.verdict, answer.attempt, answer.replayed) == (Verdict.ALLOW, 1, False)
    assert count(database_url, "SELECT last_value FROM commits") == 2
    await expect_one_contact(decider, database_url)
