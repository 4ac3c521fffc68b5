"""Events against asks, confirms and releases on a real PostgreSQL, from Deciders with loops and pools of their own.

Invariants 4 and 6: exactly one resolution stands; nothing is allowed in a scope after its unsubscribe was acknowledged,
and what was open in it ended in the same transaction.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pytest

from engine.core.account import Kind, State
from engine.core.errors import NotFound
from engine.core.events import Event
from engine.core.policy import DAY_US, HOUR_US
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.happened import Happened, HappenedCommand
from engine.operations.resolve import ConfirmCommand, ReleaseCommand, Resolved
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store import accounts
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
lease: 12h
budgets:
  - {name: never-reached, limit: 1000000, window: {rolling: 7d}}
"""
CUSTOMERS = [f"c{number}" for number in range(40)]
RESOLVED_AS = (  # by contact, the kinds of its resolutions in order; none where it is open
    "SELECT j.customer_id, array_remove(array_agg(r.kind ORDER BY r.seq), NULL) FROM journal j"
    " LEFT JOIN resolutions r ON r.customer_id = j.customer_id AND r.contact_seq = j.seq"
    " GROUP BY j.customer_id, j.seq"
)
ALLOWED_AFTERWARDS = (
    "SELECT count(*) FROM journal j JOIN changes c ON c.customer_id = j.customer_id AND c.kind = 2 AND c.seq < j.seq"
)

T = TypeVar("T")


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def unsubscribed(customer_id: str, at_us: int, number: int = 0) -> HappenedCommand:
    return HappenedCommand(customer_id, (Event(customer_id, "page", f"u{number}", "unsubscribed", at_us, "email"),))


def sent(customer_id: str, message_id: str, at_us: int, type_: str = "sent", **more: Any) -> HappenedCommand:
    told = Event(customer_id, "provider", f"{type_}-{message_id}", type_, at_us, message_id=message_id, **more)
    return HappenedCommand(customer_id, (told,))


def at_once(url: str, jobs: Sequence[Callable[[Decider], Awaitable[T]]]) -> list[T]:
    """Each job with a Decider in a thread of its own, all begun together."""
    together = threading.Barrier(len(jobs))

    async def run(job: Callable[[Decider], Awaitable[T]]) -> T:
        decider = Decider(url, Settings(lanes=1))
        await decider.open()
        try:
            await asyncio.to_thread(together.wait, 60)
            return await job(decider)
        finally:
            await decider.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [each.result() for each in [pool.submit(asyncio.run, run(job)) for job in jobs]]


def race_of_unsubscribes(url: str, now_us: int) -> tuple[list[str], int]:
    """Customers who unsubscribe one after the other while they are asked for without a pause, and what is allowed is
    confirmed; the messages allowed after the acknowledgement, and how many were allowed at all."""
    acknowledged: set[str] = set()
    wrongly: list[str] = []
    allowed: list[str] = []

    async def unsubscribe(decider: Decider) -> None:
        for customer_id in CUSTOMERS:
            await decider.settle(unsubscribed(customer_id, now_us))
            acknowledged.add(customer_id)

    def asking(name: str) -> Callable[[Decider], Awaitable[None]]:
        async def one(decider: Decider, customer_id: str, message_id: str) -> None:
            came_after = customer_id in acknowledged
            answer = await decider.ask(AskCommand(customer_id, message_id, Ask("email", "news")), Mode.RESERVE)
            if answer.verdict is not Verdict.ALLOW:
                return
            allowed.append(message_id)
            if came_after:
                wrongly.append(f"{customer_id} {message_id}")
            await decider.settle(ConfirmCommand(customer_id, message_id))

        async def ask(decider: Decider) -> None:
            number, last = 0, False
            while not last:
                last = len(acknowledged) == len(CUSTOMERS)
                number += 1
                await asyncio.gather(*(one(decider, each, f"{name}-{number}") for each in CUSTOMERS))

        return ask

    at_once(url, [unsubscribe, asking("a"), asking("b")])
    return wrongly, len(allowed)


async def test_nothing_is_allowed_after_an_unsubscribe_was_acknowledged(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    wrongly, allowed = await asyncio.to_thread(race_of_unsubscribes, database_url, now_us)
    assert wrongly == []
    assert allowed > len(CUSTOMERS)
    assert rows(database_url, ALLOWED_AFTERWARDS) == [(0,)]
    kinds = {tuple(each) for _, each in rows(database_url, RESOLVED_AS)}
    assert kinds <= {(1,), (3,), (3, 4)}  # confirmed; revoked; revoked, and confirmed too late
    assert rows(database_url, "SELECT count(*) FROM events WHERE event_id = 'u0'") == [(len(CUSTOMERS),)]
    report = await verify(decider.database)
    assert report.is_clean, report.findings


async def test_the_race_of_unsubscribes_would_show_a_missing_lock(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    for each in CUSTOMERS:
        await decider.ask(AskCommand(each, "first", Ask("email", "news")), Mode.RESERVE)
    monkeypatch.setattr(accounts, "LOCK", "SELECT unnest(%b)")
    try:
        wrongly, _ = await asyncio.to_thread(race_of_unsubscribes, database_url, now_us)
    except Exception:  # two entries of one number: the database itself says no
        return
    report = await verify(decider.database)
    assert wrongly or not report.is_clean


async def test_open_leases_end_in_the_transaction_of_the_unsubscribe(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    for number in range(3):
        await decider.ask(AskCommand("ada", f"m{number}", Ask("in_app", "news", lease_us=HOUR_US)), Mode.RESERVE)
    told = HappenedCommand("ada", (Event("ada", "page", "u", "unsubscribed", now_us),))
    happened = await decider.settle(told)
    assert isinstance(happened, Happened)
    assert (happened.suppressed, happened.revoked) == (1, 3)
    written = "SELECT count(DISTINCT xmin::text) FROM ({}) AS all_of_it"
    parts = ("changes", "resolutions", "customers", "events", "accounts")
    union = " UNION ALL ".join(f"SELECT xmin FROM {each}" for each in parts)
    assert rows(database_url, written.format(union)) == [(1,)]
    assert await decider.settle(told) == Happened("ada", 0, 0, 0, 0)


async def test_confirm_release_and_sent_race_and_one_of_them_stands(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    ids = [f"m{number}" for number in range(60)]
    for each in ids:
        await decider.ask(AskCommand("ada", each, Ask("email", "news")), Mode.RESERVE)

    def job(make: Callable[[str], Any]) -> Callable[[Decider], Awaitable[list[Any]]]:
        async def run(own: Decider) -> list[Any]:
            return [await own.settle(make(each)) for each in ids]

        return run

    confirms, releases, sends, deliveries = await asyncio.to_thread(
        at_once,
        database_url,
        [
            job(lambda id_: ConfirmCommand("ada", id_)),
            job(lambda id_: ReleaseCommand("ada", id_)),
            job(lambda id_: sent("ada", id_, now_us)),
            job(lambda id_: sent("ada", id_, now_us, "delivered")),
        ],
    )
    for confirmed, released, one, two in zip(confirms, releases, sends, deliveries, strict=True):
        assert isinstance(confirmed, Resolved)
        assert isinstance(released, Resolved)
        counted = [confirmed.applied, one.confirmed == 1, two.confirmed == 1]
        assert sum(counted) == 1, "a message was sent once, whoever says so first"
        assert released.state is (State.RELEASED if released.applied else State.CONFIRMED)
    kinds = {tuple(each) for _, each in rows(database_url, RESOLVED_AS)}
    assert kinds <= {(1,), (2, 4)}
    report = await verify(decider.database)
    assert report.is_clean, report.findings


async def test_one_send_told_by_several_at_once_is_one_contact(decider: Decider, database_url: str) -> None:
    now_us = await decider.database.clock_us()

    async def tell(own: Decider) -> list[int]:
        told = [await own.settle(sent(each, "m", now_us, channel="email")) for each in CUSTOMERS]
        return [each.unasked for each in told if isinstance(each, Happened)]

    counts = await asyncio.to_thread(at_once, database_url, [tell] * 4)
    assert [sum(each) for each in zip(*counts, strict=True)] == [1] * len(CUSTOMERS)
    of_kinds = rows(database_url, "SELECT flags >> 2 & 3, count(*) FROM journal GROUP BY 1")
    assert of_kinds == [(Kind.UNASKED, len(CUSTOMERS))]
    assert rows(database_url, "SELECT count(*) FROM events") == [(len(CUSTOMERS),)]


async def test_a_send_told_long_after_finds_the_contact_that_it_is_about(decider: Decider, database_url: str) -> None:
    """Also when the message id is forgotten: a history that is imported makes no second contact."""
    await policies.activate(decider.database, POLICY, author="test")
    for each in ("confirmed", "expired"):
        await decider.ask(AskCommand("ada", each, Ask("email", each)), Mode.RESERVE)
    await decider.settle(ConfirmCommand("ada", "confirmed"))
    then_us = await decider.database.clock_us()
    set_clock(database_url, 40 * DAY_US)
    with pytest.raises(NotFound):
        await decider.settle(ConfirmCommand("ada", "confirmed"))
    commands = [sent("ada", each, then_us, channel="email") for each in ("confirmed", "expired", "unasked")]
    told = [await decider.settle(each) for each in commands]
    assert [each[1:5] for each in told if isinstance(each, Happened)] == [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0)]
    left = await decider.settle(
        HappenedCommand("ada", (Event("ada", "page", "u", "unsubscribed", then_us, message_id="confirmed"),))
    )
    assert isinstance(left, Happened)
    assert left.suppressed == 1
    ((facts,),) = rows(database_url, "SELECT suppressions FROM customers")
    assert [(each["channel"], each["topic"]) for each in facts] == [("email", None)]
    report = await verify(decider.database)
    assert report.is_clean, report.findings
