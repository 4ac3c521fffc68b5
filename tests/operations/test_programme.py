"""The programme tells of every experiment what its newest readout says, and of a holdout what all ships did."""

from collections.abc import AsyncGenerator

import pytest

from engine.core.policy import DAY_US
from engine.operations import policies, watch
from engine.operations.experiments import State
from engine.operations.programme import lines, programme
from engine.operations.readouts import Readouts
from engine.store.database import Database
from engine.store.programme import Effect, Said
from experiments.design import Role
from experiments.readout import Readout
from experiments.reporting.endings import Ending, ending
from experiments.reporting.json_form import from_document
from tests.operations.ended import a_result, ended, some_results
from tests.operations.experimenting import running
from tests.operations.holdout_worlds import SHIP_US, Shipped
from tests.operations.plans import POLICY

pytestmark = pytest.mark.anyio
MANY = 40


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url, size=4)
    await opened.open()
    yield opened
    await opened.close()


def told(readout: Readout) -> tuple[Said, ...]:
    """What a list should say of a readout, from the whole of it."""
    return tuple(
        Said(
            verdict.variant,
            verdict.call,
            tuple(
                Effect(
                    verdict.variant, metric.name, metric.title, metric.role, metric.scale, metric.unit,
                    (found := metric.comparison(verdict.variant).estimate).effect, found.low, found.high,
                )
                for metric in readout.metrics
                if metric.role is Role.PRIMARY or (metric.role is Role.GUARDRAIL and metric.name in verdict.because)
            ),
        )
        for verdict in readout.verdicts
    )  # fmt: skip


async def test_results_are_each_told_as_their_newest_readout_has_it(database: Database) -> None:
    readouts = some_results(7, MANY)
    states = ["shipped" if place % 5 == 0 else "stopped" for place in range(MANY)]
    for place, (readout, state) in enumerate(zip(readouts, states, strict=True)):
        ended(database.url, f"e{place}", readout, state=state, ended_day=place, older=a_result(0.05, 0.01))
    found = await programme(database)
    assert [each.key for each in found.results] == [f"e{place}" for place in reversed(range(MANY))]
    for result, readout, state in zip(reversed(found.results), readouts, states, strict=True):
        assert result.found is not None
        assert result.found.said == told(readout)
        assert result.found.customers == sum(each.units for each in readout.groups)
        calls = [each.call for each in readout.verdicts]
        assert result.ending is ending(calls, runs=False, shipped=state == "shipped")
        assert result.is_against_its_readout == (state == "shipped" and "ship" not in calls)
    assert len({each.ending for each in found.results}) >= 5


async def test_what_was_never_read_or_by_another_takt_is_there_all_the_same(database: Database) -> None:
    ended(database.url, "unread", None)
    ended(database.url, "old", a_result(0.05, 0.01), told={"schema": 0, "verdicts": "who knows"}, ended_day=99)
    unread, old = (await programme(database)).results
    assert unread.found is None
    assert unread.ending is Ending.UNDECIDED
    assert old.found is not None
    assert (old.found.call, old.found.said) == ("ship", ())


async def test_a_list_tells_the_newest_verdict_on_each_variant(database: Database) -> None:
    ended(database.url, "unread", None)
    ended(database.url, "read", a_result(0.0, 0.01, 0.06), older=a_result(0.05, 0.01), state="shipped")
    ended(database.url, "old", a_result(0.05, 0.01), told={"schema": 0, "verdicts": "who knows"})
    found = {each.record.key: each for each in await lines(database)}
    assert list(found) == ["old", "read", "unread"]
    assert (found["read"].call, found["read"].verdicts) == ("stop", (("three", "stop"),))
    assert (found["old"].call, found["old"].verdicts) == ("ship", ())
    assert found["unread"][1:] == (None, None, ())
    assert [each.record.key for each in await lines(database, State.SHIPPED)] == ["read"]


async def test_what_runs_is_a_result_once_its_planned_end_has_passed(database: Database) -> None:
    await policies.activate(database, POLICY, author="test")
    await running(database)  # to January
    ended(database.url, "over", a_result(0.05, 0.01), state="running")
    found = await programme(database)
    assert [(each.key, each.ending) for each in found.results] == [("over", Ending.WAITING)]
    assert found.states == {"running": 2}
    assert (found.totals, found.best, found.due_us) == ([], None, None)


@pytest.fixture
async def shipped(database_url: str) -> AsyncGenerator[Shipped]:
    made = Shipped(database_url, SHIP_US + DAY_US)
    yield made
    made.world.close()


async def test_a_holdout_tells_what_was_shipped_since_it_began(shipped: Shipped, database: Database) -> None:
    for number in range(60):
        shipped.sent(f"c{number}", SHIP_US - 1)
        shipped.world.tell(f"c{number}", "purchase", SHIP_US + (number % 30) * DAY_US, value=1.0)
    shipped.it_is(0.5)
    found = await programme(database)
    assert (found.best, found.ships, found.due_us) == (None, [], SHIP_US + 28 * DAY_US)
    shipped.it_is(28.5)
    await watch.read_holdouts(database)
    kept = await Readouts(database).newest_held("pushes")
    later = ended(database.url, "later", a_result(0.05, 0.01), state="shipped")
    shipped.holdout("later", SHIP_US + 20 * DAY_US, 0.05, later)
    last = ended(database.url, "last", a_result(0.05, 0.01), state="shipped")
    shipped.holdout("last", SHIP_US + 28 * DAY_US + 1, 0.05, last)
    shipped.it_is(28.5)
    found = await programme(database)
    assert found.best is not None
    assert found.best.found is not None
    assert (found.best.key, found.best.day, found.best.read_days) == ("pushes", 28, (28,))
    assert found.best.found.said == told(from_document(kept.snapshot.readout["readout"]))
    assert [each.key for each in found.ships] == ["pushes", "later"]
    assert [each.key for each in found.totals] == ["pushes", "later", "last"]
    assert found.due_us == SHIP_US + 48 * DAY_US
