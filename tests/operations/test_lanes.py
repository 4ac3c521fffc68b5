"""Lanes: what arrives together is settled together, and nobody's trouble becomes another's. On a real PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import sql

from engine.core.errors import DatabaseUnavailable, DeadlineExceeded, NotFound, Overloaded, TaktError, Unavailable
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.batch import Batch, Command, Held, Plain
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.lanes import CHUNK, HALF
from engine.operations.resolve import ConfirmCommand
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store import accounts
from engine.store.columns import Texts, register
from engine.store.embedded import Server
from tests.store.faults import CEILING_S, count, held_commits, run, until, waiting

pytestmark = pytest.mark.anyio

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: much, limit: 1000, window: {rolling: 7d}}
"""


@dataclass
class Chunks:
    """Remembers the chunks that were committed."""

    commands: list[list[Command]] = field(default_factory=list)

    def chunk(self, commands: Sequence[Command], answers: Sequence[object], seconds: float) -> None:
        self.commands.append(list(commands))


@asynccontextmanager
async def opened(url: str, **settings: int) -> AsyncGenerator[tuple[Decider, Chunks]]:
    chunks = Chunks()
    decider = Decider(url, Settings(**{"lanes": 1, **settings}), chunks)  # type: ignore[arg-type]
    await decider.open()
    try:
        await policies.activate(decider.database, POLICY, author="test")
        yield decider, chunks
    finally:
        await decider.close()


def ask(customer_id: str, message_id: str = "m1") -> AskCommand:
    return AskCommand(customer_id, message_id, Ask("email", "news"))


def asking(decider: Decider, *commands: Command) -> list[asyncio.Task[object]]:
    return [asyncio.create_task(decider.settle(each)) for each in commands]


async def allowed(*answers: Awaitable[object]) -> bool:
    found = await asyncio.gather(*answers)
    return all(isinstance(each, Answer) and each.verdict is Verdict.ALLOW for each in found)


def asked(url: str, customer_id: str) -> int:
    """How many contacts of a customer are on record."""
    return count(url, f"SELECT count(*) FROM journal WHERE customer_id = '{customer_id}'")


@asynccontextmanager
async def locked(url: str, *customer_ids: str) -> AsyncGenerator[psycopg.Connection]:
    """Somebody else holds these customers' accounts, until the connection is closed."""
    with psycopg.connect(url, autocommit=True) as connection:
        register(connection)
        connection.execute(accounts.LOCK, (Texts(customer_ids),))
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM accounts WHERE customer_id = ANY(%s) FOR UPDATE", (list(customer_ids),))
        yield connection
        connection.close()


@dataclass(frozen=True)
class Poison(Plain):
    """A command whose decision raises what no command should."""

    customer_id: str
    error: Exception

    def apply(self, batch: Batch, held: Held) -> object:
        raise self.error


# --- Together, and in bounds -----------------------------------------------------------------------------------------


async def test_what_arrives_together_shares_transactions(database_url: str) -> None:
    async with opened(database_url, lanes=2) as (decider, chunks):
        assert await allowed(*asking(decider, *(ask(f"c{number}") for number in range(600))))
        assert sum(len(each) for each in chunks.commands) == 600
        assert len(chunks.commands) <= 4  # two lanes, some 300 asks each, at most 256 in one transaction
        lanes = [{command.customer_id for command in each} for each in chunks.commands]
        assert sum(len(each) for each in lanes) == len(set().union(*lanes)), "a customer was met in two lanes"


async def test_half_of_a_chunk_is_kept_for_single_asks(database_url: str) -> None:
    async with opened(database_url) as (decider, chunks), held_commits(database_url) as let_go:
        first = asking(decider, ask("first"))
        await until(lambda: waiting(database_url, "advisory") == 1, "the first chunk is not on its way")
        batch = asyncio.create_task(decider.settle_all([ask(f"b{number}", "bulk") for number in range(1_000)]))
        await until(lambda: decider.lanes.queued == (0, 1_000), "the batch is not queued")
        single = asking(decider, *(ask(f"s{number}") for number in range(300)))
        await until(lambda: decider.lanes.queued == (300, 1_000), "the asks are not queued")
        let_go()
        assert await allowed(*first, *single)
        await batch
        kinds = [[id_ for command in each for id_ in command.message_ids] for each in chunks.commands[1:4]]
        assert [(each.count("m1"), each.count("bulk")) for each in kinds] == [
            (HALF, HALF),
            (HALF, HALF),
            (300 - CHUNK, CHUNK - (300 - CHUNK)),
        ]


async def test_full_queues_refuse_at_once(database_url: str) -> None:
    async with opened(database_url, queue_asks=2, queue_bulk=10_000) as (decider, _):
        async with held_commits(database_url) as let_go:
            waiters = asking(decider, ask("a"))
            await until(lambda: waiting(database_url, "advisory") == 1, "the first chunk is not on its way")
            waiters += asking(decider, ask("b"), ask("c"))
            await until(lambda: decider.lanes.queued == (2, 0), "the asks are not queued")
            with pytest.raises(Overloaded):
                await decider.settle(ask("d"))
            with pytest.raises(Overloaded):
                await decider.settle_all([ask("e")] * 10_001)
            let_go()
            assert await allowed(*waiters)
        assert await allowed(*asking(decider, ask("d")))


async def test_an_ask_is_dropped_undecided_after_its_deadline(database_url: str) -> None:
    async with opened(database_url) as (decider, _), held_commits(database_url) as let_go:
        waiters = asking(decider, ask("a"))
        await until(lambda: waiting(database_url, "advisory") == 1, "the first chunk is not on its way")
        with pytest.raises(DeadlineExceeded):
            await decider.lanes.settle(ask("b"), wait_s=0.01)
        (late,) = await decider.lanes.settle_all([ask("b", "m2")], wait_s=0.01)
        assert isinstance(late, DeadlineExceeded)
        let_go()
        assert await allowed(*waiters, *asking(decider, ask("c")))
        assert asked(database_url, "b") == 0


async def test_a_waiter_that_goes_away_cancels_itself_and_not_its_chunk(database_url: str) -> None:
    async with opened(database_url) as (decider, chunks), held_commits(database_url) as let_go:
        gone, stays = asking(decider, ask("gone"), ask("stays"))
        await until(lambda: waiting(database_url, "advisory") == 1, "the chunk is not on its way")
        (queued,) = asking(decider, ask("queued"))
        await until(lambda: decider.lanes.queued == (1, 0), "the ask is not queued")
        gone.cancel()
        queued.cancel()
        await asyncio.wait([gone, queued])
        let_go()
        assert await allowed(stays, *asking(decider, ask("next")))
        assert [[each.customer_id for each in chunk] for chunk in chunks.commands] == [["gone", "stays"], ["next"]]
        assert asked(database_url, "gone") == 1
        assert asked(database_url, "queued") == 0


# --- Somebody else's trouble -----------------------------------------------------------------------------------------


async def test_a_customer_whom_somebody_holds_delays_nobody_else(database_url: str) -> None:
    async with opened(database_url, deadline_ms=60_000) as (decider, _), locked(database_url, "held") as holder:
        held, *others = asking(decider, ask("held"), ask("new"), ask("other"))
        assert await allowed(*others)
        (again,) = asking(decider, ask("held", "m2"))
        assert await allowed(*asking(decider, ask("new", "m2"), ask("third")))
        assert not held.done()
        assert not again.done()
        holder.close()
        assert await allowed(held, again)
        assert asked(database_url, "held") == 2


async def test_of_many_held_customers_one_let_go_is_decided_while_the_others_wait(database_url: str) -> None:
    names = [f"held{number}" for number in range(12)]
    async with (
        opened(database_url, deadline_ms=60_000) as (decider, _),
        locked(database_url, *names[:-1]) as rest,
        locked(database_url, names[-1]) as last,
    ):
        *others, freed = asking(decider, *map(ask, names))
        assert await allowed(*asking(decider, ask("free")))
        last.close()
        assert await allowed(freed)
        assert not any(each.done() for each in others)
        rest.close()
        assert await allowed(*others)


async def test_the_ask_for_a_customer_who_stays_held_is_dropped_after_its_deadline(database_url: str) -> None:
    async with opened(database_url, deadline_ms=400) as (decider, _), locked(database_url, "held") as holder:
        with pytest.raises(Unavailable):
            await decider.settle(ask("held"))
        await until(lambda: not decider.lanes.is_contended("held"), "the lane still waits for the customer")
        holder.close()
        assert asked(database_url, "held") == 0
        assert await allowed(*asking(decider, ask("held")))


@pytest.mark.parametrize("error", [NotFound("nothing here"), ZeroDivisionError("a fault")])
async def test_an_ask_whose_decision_raises_gets_its_error_alone(database_url: str, error: Exception) -> None:
    async with opened(database_url) as (decider, _):
        poisoned, *others = asking(decider, Poison("p", error), ask("a"), ask("b"), ask("p"))
        assert await allowed(*others)
        with pytest.raises(NotFound if isinstance(error, NotFound) else TaktError):
            await poisoned
        assert [asked(database_url, each) for each in "abp"] == [1, 1, 1]
        assert decider.lanes.dead == 0
        assert (await verify(decider.database)).is_clean


async def test_a_customer_whose_account_is_damaged_delays_nobody_else(database_url: str) -> None:
    async with opened(database_url) as (decider, _):
        assert await allowed(*asking(decider, ask("damaged")))
        run(database_url, "UPDATE accounts SET contacts = set_byte(contacts, 26, 99) WHERE customer_id = 'damaged'")
        damaged, *others = asking(decider, ask("damaged", "m2"), ask("a"), ask("b"))
        assert await allowed(*others)
        with pytest.raises(TaktError, match="fault of Takt"):
            await damaged


async def test_a_dead_lane_fails_its_waiters_at_once_and_is_counted(database_url: str) -> None:
    async with opened(database_url, deadline_ms=60_000) as (decider, _), held_commits(database_url) as let_go:
        waiters = asking(decider, ask("a"))
        await until(lambda: waiting(database_url, "advisory") == 1, "the chunk is not on its way")
        waiters += asking(decider, ask("b"))
        await until(lambda: decider.lanes.queued == (1, 0), "the ask is not queued")
        (lane,) = [each for each in asyncio.all_tasks() if "_Lane._run" in repr(each.get_coro())]
        lane.cancel()
        answers = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(each) for each in answers] == [Unavailable, Unavailable]
        assert decider.lanes.dead == 1
        with pytest.raises(Unavailable):
            await decider.settle(ask("c"))
        let_go()


# --- The database gone -----------------------------------------------------------------------------------------------


def end_connections(server: Server, url: str, *, closed: bool) -> None:
    """End every connection to a database, and open or close it to new ones. The server goes on."""
    name = url.rsplit("/", 1)[1].split("?")[0]
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        statement = "ALTER DATABASE {} ALLOW_CONNECTIONS {}"
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(not closed)))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


async def test_when_the_database_goes_away_nothing_is_allowed_and_it_recovers(
    database_url: str, server: Server
) -> None:
    async with opened(database_url, lanes=2, deadline_ms=1_000) as (decider, _):
        assert await allowed(*asking(decider, *(ask(f"c{number}") for number in range(50))))
        async with locked(database_url, "c0"):
            waiters = asking(decider, *(ask(f"c{number}", "m2") for number in range(50)))
            await until(lambda: waiting(database_url, "transactionid") >= 1, "nobody waits for the lock")
            end_connections(server, database_url, closed=True)
            answers = await asyncio.gather(*waiters, return_exceptions=True)
        told = {each.customer_id for each in answers if isinstance(each, Answer)}
        errors = [each for each in answers if not isinstance(each, Answer)]
        assert errors
        assert all(isinstance(each, DatabaseUnavailable | DeadlineExceeded) for each in errors), errors
        for number in range(3):
            with pytest.raises(Unavailable):
                await decider.settle(ask("c1", f"m3-{number}"))
        end_connections(server, database_url, closed=False)
        await recovered(decider)
        assert decider.lanes.dead == 0
        for customer_id in told:
            assert asked(database_url, customer_id) >= 2, "an answer was given that is not on record"
        report = await verify(decider.database)
        assert report.is_clean, report.findings


async def test_connections_that_broke_while_idle_are_replaced(database_url: str, server: Server) -> None:
    async with opened(database_url) as (decider, _):
        assert await allowed(*asking(decider, ask("a")))
        end_connections(server, database_url, closed=False)
        await recovered(decider)
        assert isinstance(await decider.settle(ConfirmCommand("a", "m1")), object)


async def recovered(decider: Decider) -> None:
    """Ask until there is an answer again."""
    async with asyncio.timeout(CEILING_S):
        while True:
            try:
                await decider.settle(ask("recovery"))
            except Unavailable:
                continue
            return
