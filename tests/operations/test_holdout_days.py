"""Holdouts are read on their days, each once, however late; beside them whenever somebody asks."""

from collections.abc import AsyncGenerator

import pytest

from engine.core.errors import Conflict, NotFound
from engine.core.policy import DAY_US
from engine.operations import experiments, jobs, programme, watch
from engine.operations.experiments import By
from engine.operations.readouts import Readouts
from engine.operations.ship import end_holdout
from engine.settings import Settings
from engine.store import alarms, holdout_readouts
from engine.store.database import Database
from tests.operations.holdout_worlds import PLAN, SHIP_US, Shipped, is_held

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shipped(database_url: str) -> AsyncGenerator[Shipped]:
    made = Shipped(database_url, SHIP_US + DAY_US)
    for number in range(60):
        made.sent(f"c{number}", SHIP_US - 1)
    made.it_is(0.5)
    yield made
    made.world.close()


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url, size=4)
    await opened.open()
    yield opened
    await opened.close()


async def days(database: Database) -> dict[int, int]:
    """Since the ship, as of when each day's readout is."""
    found: dict[int, int] = {}
    for day in (28, 90, 180, 365):
        try:
            kept = await Readouts(database).newest_held("pushes", day)
        except NotFound:
            continue
        found[day] = kept.snapshot.as_of_us - SHIP_US
    return found


async def test_each_day_is_read_once_when_it_is_over(shipped: Shipped, database: Database) -> None:
    shipped.it_is(27.99)
    assert await watch.read_holdouts(database) == "0 read"
    shipped.it_is(28.01)
    run = await jobs.run_slot(database, Settings(), jobs.job("holdouts"))
    assert run is not None
    assert (run.outcome, run.note) == ("done", "1 read; 0 ended")
    assert await watch.read_holdouts(database) == "0 read"
    assert await days(database) == {28: 28 * DAY_US}
    whole = await experiments.whole(database, "pushes")
    assert list(whole.held_readouts) == [28]
    assert whole.held_readouts[28].call == (await Readouts(database).newest_held("pushes")).snapshot.call


async def test_days_that_were_missed_are_read_late_as_of_then(shipped: Shipped, database: Database) -> None:
    for number in range(60):
        shipped.world.tell(f"c{number}", "purchase", SHIP_US + (20 + number) * DAY_US, value=1.0)
    shipped.it_is(366)  # the holdout is over, and nobody has looked for a year
    assert await watch.keep_holdouts(database) == "4 read; 1 ended"
    assert await days(database) == {each: each * DAY_US for each in (28, 90, 180, 365)}
    bought = {day: await buyers(database, day) for day in (28, 90)}
    for held in (True, False):
        name = "holdout" if held else "three"
        mine = [number for number in range(60) if is_held(f"c{number}") is held]
        assert bought[28][name] == sum(20 + number < 28 for number in mine)
        assert bought[90][name] == len(mine)
    assert await watch.keep_holdouts(database) == "0 read; 0 ended"


async def buyers(database: Database, day: int) -> dict[str, float]:
    kept = await Readouts(database).newest_held("pushes", day)
    metrics = {each["name"]: each for each in kept.snapshot.readout["readout"]["metrics"]}
    return {each["variant"]: each["numerator"] for each in metrics[f"bought_{day}"]["arms"]}


async def test_beside_its_days_a_holdout_is_read_as_of_now(shipped: Shipped, database: Database) -> None:
    readouts = Readouts(database)
    with pytest.raises(Conflict, match="not been there for a day"):
        await readouts.refresh_held("pushes")
    shipped.it_is(10.5)
    with pytest.raises(NotFound, match="no readout of the holdout"):
        await readouts.newest_held("pushes")
    with pytest.raises(Conflict, match="not over yet"):
        await readouts.refresh_held("pushes", 28)
    with pytest.raises(Conflict, match="no day of a readout"):
        await readouts.refresh_held("pushes", 5)
    kept = await readouts.refresh_held("pushes")
    document = kept.snapshot.readout
    assert (kept.snapshot.day, document["day"], document["days"]) == (None, None, 10)
    assert [each["call"] for each in document["readout"]["verdicts"]] == ["keep_running"]
    assert "bought_10" in [each["name"] for each in document["readout"]["metrics"]]
    assert (await readouts.newest_held("pushes")).snapshot == kept.snapshot
    shipped.it_is(9.5)  # the clock was a day ahead
    again = await readouts.refresh_held("pushes")
    assert (again.snapshot.readout["days"], again.snapshot.number > kept.snapshot.number) == (9, True)
    assert (await readouts.newest_held("pushes")).snapshot == again.snapshot
    (total,) = (await programme.programme(database)).totals
    assert total.as_of_us == again.snapshot.as_of_us
    shipped.it_is(29)
    assert await watch.read_holdouts(database) == "1 read"
    assert (await readouts.newest_held("pushes")).snapshot.day == 28
    async with database.connection() as connection:
        assert [each.day for each in await holdout_readouts.read_days(connection, shipped.world.number)] == [28]


async def test_of_one_that_was_ended_what_was_due_by_then_is_read_and_nothing_later(
    shipped: Shipped, database: Database
) -> None:
    shipped.it_is(80.5)
    taken = await end_holdout(database, "pushes", By("ann", "a new law"))
    assert taken.warnings == ("It will not be read on day 90, 180, 365.",)
    for number in range(60):
        shipped.world.tell(f"c{number}", "purchase", SHIP_US + 81 * DAY_US, value=1.0)
    shipped.it_is(85)
    assert await watch.keep_holdouts(database) == "1 read; 0 ended", "late, as of its day"
    assert await days(database) == {28: 28 * DAY_US}
    readouts = Readouts(database)
    with pytest.raises(Conflict, match="no day of a readout"):
        await readouts.refresh_held("pushes", 90)
    document = (await readouts.refresh_held("pushes")).snapshot.readout
    assert document["days"] == 80, "up to its end"
    metrics = {each["name"]: each for each in document["readout"]["metrics"]}
    assert sum(each["numerator"] for each in metrics["bought_80"]["arms"]) == 0
    assert [each["call"] for each in document["readout"]["verdicts"]] == ["keep_running"], (
        "its day was chosen by looking"
    )
    assert any("the next day that was planned for a decision" in each for each in document["cautions"])
    shipped.it_is(95)
    assert await watch.keep_holdouts(database) == "0 read; 0 ended"
    assert list((await experiments.whole(database, "pushes")).held_readouts) == [28]


async def test_of_one_that_was_ended_on_its_first_day_there_is_nothing_to_read(
    shipped: Shipped, database: Database
) -> None:
    await end_holdout(database, "pushes", By("ann"))
    shipped.it_is(30)
    assert await watch.keep_holdouts(database) == "0 read; 0 ended"
    with pytest.raises(Conflict, match="not been there for a day"):
        await Readouts(database).refresh_held("pushes")


async def test_what_left_no_holdout_has_no_readout_of_one(shipped: Shipped, database: Database) -> None:
    shipped.world.add_experiment({**PLAN, "key": "other"})
    shipped.world.settle()
    for key in ("other", "nothing"):
        with pytest.raises(NotFound):
            await Readouts(database).refresh_held(key)
        with pytest.raises(NotFound):
            await Readouts(database).newest_held(key)


async def test_a_readout_against_the_ship_raises_one_alarm(shipped: Shipped, database: Database) -> None:
    number = 60
    while number < 1_000:
        shipped.sent(f"c{number}", SHIP_US - 1)
        number += 1
    for who in shipped.world.customers:
        if is_held(who):
            shipped.world.tell(who, "purchase", SHIP_US + DAY_US, value=1.0)
    shipped.it_is(28.5)
    assert await watch.read_holdouts(database) == "1 read; against the ship: pushes after 28 days"
    assert await watch.read_holdouts(database) == "0 read"
    async with database.connection() as connection:
        (alarm,) = await alarms.newest(connection, 10)
    assert (alarm.kind, alarm.subject, alarm.data["call"]) == ("holdout.against", "pushes:28", "stop")
    assert alarm.data["because"] == ["bought_28"]
