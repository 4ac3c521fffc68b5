"""Events as rows: once a customer by (source, id), from two processes too, and suspects marked in any order."""

import asyncio
import itertools
import multiprocessing
from collections.abc import AsyncGenerator, Sequence

import pytest

from engine.core.events import Event, Flag
from engine.store import events
from engine.store.database import Database
from engine.store.labels import Labels
from tests.store.faults import count, run

pytestmark = pytest.mark.anyio

AT_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
SEND = Event("ada", "esp", "sent-1", "sent", AT_US, "email", "promotions", message_id="m-1")
CLICK = Event("ada", "esp", "click-1", "clicked", AT_US + 30 * SECOND_US, "email", message_id="m-1")


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


async def keep(database: Database, *brought: Event) -> int:
    """How many of them were news."""
    labels = Labels(database)
    await labels.intern(events.labels_of(brought))
    async with database.transaction() as connection:
        return len(await events.append(connection, events.keyed(brought), labels))


def suspects(url: str) -> int:
    return count(url, f"SELECT count(*) FROM events WHERE flags & {int(Flag.SUSPECT_SOON)} <> 0")


async def test_an_event_is_kept_whole(database: Database, database_url: str) -> None:
    properties = {"pages": ["/", "/über"], "seconds": 12.5}
    whole = Event("ada", "shop", "p-1", "purchase", AT_US, "email", "sale", "autumn", "m-9", 49.9, 12.0, 16, None)
    assert await keep(database, whole._replace(properties=properties)) == 1
    assert (
        count(
            database_url,
            "SELECT count(*) FROM events e JOIN labels k ON k.number = e.kind JOIN labels s ON s.number = e.source"
            " JOIN labels t ON t.number = e.topic JOIN labels c ON c.number = e.campaign"
            " JOIN labels l ON l.number = e.channel"
            f" WHERE e.at_us = {AT_US} AND received_us > 0 AND value = 49.9 AND margin = 12 AND flags = 16"
            " AND customer_id = 'ada' AND event_id = 'p-1' AND message_id = 'm-9' AND message_key <> 0"
            " AND k.name = 'purchase' AND s.name = 'shop' AND t.name = 'sale' AND c.name = 'autumn'"
            " AND l.name = 'email' AND properties->'pages'->>1 = '/über'",
        )
        == 1
    )


async def test_one_event_is_kept_once_however_often_it_comes(database: Database, database_url: str) -> None:
    assert await keep(database, CLICK, CLICK._replace(value=9.0), CLICK) == 1
    assert await keep(database, CLICK._replace(type="opened")) == 0
    assert count(database_url, "SELECT count(*) FROM events WHERE value IS NULL") == 1, "the first stands"


@pytest.mark.parametrize(
    "other", [CLICK._replace(customer_id="bob"), CLICK._replace(source="esp2"), CLICK._replace(event_id="click-2")]
)
async def test_another_customer_source_or_id_is_another_event(database: Database, other: Event) -> None:
    assert await keep(database, CLICK, other) == 2


def _bring(url: str, seed: int, start: object) -> None:
    """A process: the same 2,000 events as every other, in an order and in portions of its own."""

    async def bring() -> None:
        database = Database(url)
        await database.open()
        brought = [Event(f"c{n % 37}", "shop", f"e{n}", "session", AT_US + n) for n in range(2_000)]
        brought.sort(key=lambda each: (each.key * (2 * seed + 1)) % 9_973)
        start.wait()  # type: ignore[attr-defined]
        for first in range(0, len(brought), 250):
            await keep(database, *brought[first : first + 250])
        await database.close()

    asyncio.run(bring())


async def test_two_processes_that_bring_the_same_events_keep_each_once(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_bring, args=(database_url, seed, start)) for seed in range(2)]
    for each in processes:
        each.start()
    for each in processes:
        await asyncio.to_thread(each.join, 60)
    assert [each.exitcode for each in processes] == [0, 0]
    assert count(database_url, "SELECT count(*) FROM events") == 2_000


async def test_a_click_soon_after_its_send_is_marked_in_either_order(database: Database, database_url: str) -> None:
    delivered = SEND._replace(event_id="d-1", type="delivered", at_us=AT_US + 100 * SECOND_US)
    late = CLICK._replace(event_id="click-2", at_us=AT_US + 200 * SECOND_US)  # soon after the delivery, not the send
    left = CLICK._replace(event_id="u-1", type="unsubscribed")
    after = CLICK._replace(event_id="click-3", at_us=AT_US + 221 * SECOND_US)
    orders = list(itertools.permutations([SEND, delivered, CLICK, late, left, after]))
    for order in orders[::23]:
        run(database_url, "TRUNCATE events")
        for each in order:
            await keep(database, each)
        assert suspects(database_url) == 3, [each.event_id for each in order]
    assert count(database_url, f"SELECT flags FROM events WHERE event_id = '{after.event_id}'") == 0


@pytest.mark.parametrize(
    ("sent", "clicked"),
    [
        (SEND, CLICK._replace(at_us=AT_US + 121 * SECOND_US)),
        (SEND, CLICK._replace(type="opened")),
        (SEND, CLICK._replace(message_id="m-2")),
        (SEND, CLICK._replace(message_id=None)),
        (SEND, CLICK._replace(customer_id="bob")),
        (SEND._replace(channel="push"), CLICK._replace(channel="push")),
        (SEND._replace(channel="push"), CLICK._replace(channel=None)),
        (SEND._replace(channel=None), CLICK._replace(channel="in_app")),
        (SEND._replace(type="bounced"), CLICK),
    ],
)
async def test_what_a_person_may_have_done_is_not_marked(
    database: Database, database_url: str, sent: Event, clicked: Event
) -> None:
    for order in ((sent, clicked), (clicked, sent)):
        run(database_url, "TRUNCATE events")
        for each in order:
            await keep(database, each)
        assert suspects(database_url) == 0


async def test_the_edges_of_soon_are_soon(database: Database, database_url: str) -> None:
    offsets: Sequence[int] = (-events.SOON_US - 1, -events.SOON_US, 0, events.SOON_US, events.SOON_US + 1)
    clicks = [CLICK._replace(event_id=f"c{offset}", at_us=AT_US + offset) for offset in offsets]
    await keep(database, SEND, *clicks)
    assert suspects(database_url) == 3
