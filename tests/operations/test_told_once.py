"""An event is itself by its source and id: what another one says under the same is neither kept nor done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.core.events import Event, Flag
from engine.core.verdict import Ask
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.happened import Happened, HappenedCommand
from engine.operations.intake import Intake, Outcome, Result
from engine.operations.look import look
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store import events
from engine.store.exchange import exchange
from tests.operations.held_world import NOW_US, World
from tests.operations.test_happened_races import at_once, rows
from tests.store.faults import count, until, waiting

pytestmark = pytest.mark.anyio

HOUR_US = 3_600_000_000
TOLD_BY_OTHERS = "WHERE source <> coalesce((SELECT number FROM labels WHERE name = 'takt'), 0)"
UNSUBSCRIBED: dict[str, Any] = {"type": "unsubscribed", "channel": "email"}
OTHERS: dict[str, dict[str, Any]] = {
    "an unsubscribe": UNSUBSCRIBED,
    "a contact": {"type": "sent", "channel": "email", "topic": "news", "message_id": "m-1"},
    "a complaint": {"type": "complained"},
    "a bounce": {"type": "bounced", "channel": "email", "flags": int(Flag.HARD)},
    "a withdrawn consent": {"type": "consented", "channel": "email", "properties": {"given": False}},
    "a case": {"type": "case_opened"},
    "a session": {"type": "session"},
}


def told(at_us: int, customer_id: str = "ada", **more: Any) -> Event:
    return Event(customer_id, "shop", "e-1", at_us=at_us, **more)


@pytest.fixture
def test_settings() -> Settings:
    return Settings(lanes=2, lock_wait_ms=20_000, deadline_ms=30_000)  # so that waiting for each other ends no wait


async def on_file(decider: Decider, customer_id: str) -> tuple[object, ...]:
    view = await look(decider, customer_id)
    return view.seq, view.customer, view.contacts


@pytest.mark.parametrize("first", [{"type": "download"}, {"type": "delivered", "channel": "sms", "message_id": "m-0"}])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_another_event_under_a_known_id_does_nothing(
    decider: Decider, database_url: str, first: dict[str, Any], other: dict[str, Any]
) -> None:
    intake, at_us = Intake(decider), await decider.database.clock_us() - HOUR_US
    await decider.ask(AskCommand("ada", "open", Ask("email", "news")), Mode.RESERVE)
    assert await intake.take([told(at_us, **first)]) == [Result.ACCEPTED]
    before = await on_file(decider, "ada")
    assert await intake.take([told(at_us + 1, **other)]) == [Result.DUPLICATE]
    assert await on_file(decider, "ada") == before
    assert rows(database_url, f"SELECT at_us FROM events {TOLD_BY_OTHERS}") == [(at_us,)]
    assert (await verify(decider.database)).is_clean


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_of_two_events_under_one_id_in_a_list_the_first_acts(
    decider: Decider, database_url: str, other: dict[str, Any]
) -> None:
    at_us = await decider.database.clock_us() - HOUR_US
    given = [told(at_us, type="push_disabled"), told(at_us + 1, **other)]
    assert await Intake(decider).take(given) == [Result.ACCEPTED, Result.DUPLICATE]
    view = await look(decider, "ada")
    assert [each.scope.channel for each in view.customer.in_force] == ["push"]
    assert (view.seq, view.contacts, view.customer.outcomes.seen) == (1, [], {})
    assert rows(database_url, f"SELECT at_us FROM events {TOLD_BY_OTHERS}") == [(at_us,)]


def test_of_two_events_under_one_id_in_a_command_the_first_acts() -> None:
    world = World()
    happened = world.tell(told(NOW_US, type="push_disabled"), told(NOW_US, **UNSUBSCRIBED))
    assert happened == Happened("ada", 0, 0, 1, 0, frozenset({told(NOW_US, type="any").key}))
    assert [each.type for each in world.batch.events] == ["push_disabled"]
    assert world.allows("email")
    assert not world.allows("push")


async def test_of_two_commands_with_one_id_in_a_transaction_the_first_acts(decider: Decider, database_url: str) -> None:
    at_us = await decider.database.clock_us() - HOUR_US
    both = [
        HappenedCommand("ada", (told(at_us, type="push_disabled"),)),
        HappenedCommand("ada", (told(at_us, **UNSUBSCRIBED),)),
    ]
    one, two = await decider.settle_all(both)
    assert isinstance(one, Happened)
    assert (one.suppressed, two) == (1, Happened("ada", 0, 0, 0, 0))
    assert rows(database_url, f"SELECT count(*) FROM events {TOLD_BY_OTHERS}") == [(1,)]


async def test_of_two_events_under_one_id_from_two_processes_that_one_acts_which_is_kept(
    decider: Decider, database_url: str
) -> None:
    at_us = await decider.database.clock_us() - HOUR_US
    customers = [f"c{number}" for number in range(60)]

    def telling(channel: str) -> Callable[[Decider], Awaitable[list[Outcome]]]:
        async def tell(own: Decider) -> list[Outcome]:
            event = {"type": "unsubscribed", "channel": channel}
            return [(await Intake(own).take([told(at_us, each, **event)]))[0] for each in customers]

        return tell

    by_mail, by_push = await asyncio.to_thread(at_once, database_url, [telling("email"), telling("push")])
    kept = dict(rows(database_url, "SELECT customer_id, l.name FROM events e JOIN labels l ON l.number = e.channel"))
    for each, one, two in zip(customers, by_mail, by_push, strict=True):
        facts = (await look(decider, each)).customer.in_force
        assert [fact.scope.channel for fact in facts] == [kept[each]]
        accepted = (Result.ACCEPTED, Result.DUPLICATE)
        assert (one, two) == (accepted if kept[each] == "email" else accepted[::-1])
    assert (await verify(decider.database)).is_clean


async def test_an_event_that_somebody_keeps_without_the_lock_meanwhile_is_the_one_that_counts(
    decider: Decider, database_url: str
) -> None:
    """Between the look under the lock and the commit: what the other had done is undone, and nothing else is lost."""
    at_us = await decider.database.clock_us() - HOUR_US
    first = told(at_us, type="download")
    await decider.labels.intern(events.labels_of([first]))
    (call,) = events.telling(events.keyed([first]), decider.labels)
    async with decider.database.connection() as connection, connection.transaction():
        await exchange(connection, call)
        telling = asyncio.create_task(Intake(decider).take([told(at_us, **UNSUBSCRIBED)]))
        await until(lambda: waiting(database_url, "transactionid") == 1, "nobody waits for what is being kept")
    assert await telling == [Result.DUPLICATE]
    assert [count(database_url, f"SELECT count(*) FROM {each}") for each in ("events", "changes", "customers")] == [
        1,
        0,
        0,
    ]
    assert (await verify(decider.database)).is_clean
