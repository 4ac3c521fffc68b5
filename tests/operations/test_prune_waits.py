"""Pruning waits for readouts that are still to come, says so, and of what is gone no readout is made anew."""

from collections.abc import AsyncGenerator

import pytest

from engine.core.errors import Conflict
from engine.core.events import Event, EventType
from engine.core.verdict import Ask
from engine.operations import experiments
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.intake import Intake
from engine.operations.readouts import Readouts
from engine.operations.ship import ship
from engine.settings import Settings
from engine.store.pruning import GRACE_DAYS
from tests.operations.experimenting import ANN, jump, running, shop
from tests.operations.rounds import a_round
from tests.operations.test_prune import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shopping(database_url: str) -> AsyncGenerator[Decider]:
    opened = Decider(database_url, Settings(lanes=1))
    await opened.open()
    try:
        async with shop(database_url):
            yield opened
    finally:
        await opened.close()


async def reach(decider: Decider, who: str) -> None:
    """Somebody is asked about, and does something."""
    await decider.ask(AskCommand(who, "m1", Ask("push", "promotions")), Mode.RESERVE)
    now_us = await decider.database.clock_us()
    await Intake(decider).take([Event(who, "shop", "e1", EventType.PURCHASE, now_us, value=9.5)])


def kept(url: str) -> tuple[set[str], set[str]]:
    """Of whom there are contacts, and of whom events."""
    contacts, events = (
        {row[0] for row in rows(url, f"SELECT DISTINCT customer_id FROM {table}")} for table in ("journal", "events")
    )
    return contacts, events


async def test_what_a_running_experiment_reads_waits_for_its_end_and_horizon(
    shopping: Decider, database_url: str
) -> None:
    database = shopping.database
    await reach(shopping, "long-before")
    jump(database, 200)
    key = await running(database)
    for who in ("ada", "bea"):
        await reach(shopping, who)
    await erase(shopping, "bea")
    was = kept(database_url)
    jump(database, 620)
    said = await a_round(database)
    assert f"waits for the experiment {key}" in said
    left = kept(database_url)
    assert all(before - after == {"long-before"} for before, after in zip(was, left, strict=True)), "90 days before it"
    assert [len(each) for each in left] == [2, 2], "who was erased is one of them, under another id"
    await experiments.stop(database, key, ANN)
    first = await Readouts(database).refresh(key)
    jump(database, 709)
    assert "waits" in await a_round(database)
    await Readouts(database).refresh(key)
    jump(database, 711)
    assert "waits" not in await a_round(database)
    assert kept(database_url) == (set(), set())
    with pytest.raises(Conflict, match="cannot be made anew: contacts and events of before"):
        await Readouts(database).refresh(key)
    newest = await Readouts(database).newest(key)
    assert newest.snapshot.computed_us > first.snapshot.computed_us, "those that were kept stay"


async def test_what_a_holdout_s_readouts_need_waits_for_the_last_of_them(shopping: Decider, database_url: str) -> None:
    database = shopping.database
    key = await running(database)
    jump(database, 100)
    await ship(database, key, ANN, variant="three", held_days=3 * 365)
    await reach(shopping, "ada")
    jump(database, 100 + 3 * 365 + GRACE_DAYS - 1)
    assert f"waits for the holdout {key}" in await a_round(database)
    assert kept(database_url) == ({"ada"}, {"ada"})
    jump(database, 100 + 3 * 365 + GRACE_DAYS + 1)
    assert "waits" not in await a_round(database)
    assert kept(database_url) == (set(), set())
    with pytest.raises(Conflict, match="cannot be made anew"):
        await Readouts(database).refresh_held(key, None)
