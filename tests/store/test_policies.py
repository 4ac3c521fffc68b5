"""Rulesets: each activation is a new number that keeps whatever it does not change."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from engine.core.errors import NotFound
from engine.core.policy import Selector
from engine.core.presets import PRESETS
from engine.core.rules import Pause
from engine.operations import policies
from engine.store import policies as store
from engine.store.database import Database

pytestmark = pytest.mark.anyio

EXPERIMENTS: list[dict[str, Any]] = [{"number": 3, "plan": {"key": "push"}}]
HOLDOUTS: list[dict[str, Any]] = [
    {"name": "h", "seed": "h", "share": 0.05, "policy_version": 1, "from_us": 1, "until_us": 2}
]
STOP = Pause("stop", Selector(channels=frozenset({"push"})))


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url, size=2)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def newest(database: Database) -> store.Ruleset:
    async with database.connection() as connection:
        found = await store.newest_ruleset(connection)
    assert found is not None
    return found


async def test_every_activation_keeps_the_experiments_and_holdouts_in_force(database: Database):
    await policies.activate(database, PRESETS["considerate"], author="test")
    async with database.transaction() as connection:
        await store.lock_activation(connection)
        await store.add_ruleset(connection, "2020a", "test", experiments=EXPERIMENTS, holdouts=HOLDOUTS)

    await policies.pause(database, STOP, author="test")
    await policies.activate(database, PRESETS["considerate"], author="test")
    await policies.lift_pause(database, "stop", author="test")
    await policies.activate_version(database, 1, author="test")
    async with database.transaction() as connection:
        await store.lock_activation(connection)
        await store.add_ruleset(connection, "2020a", "test", pauses=[])
    await policies.follow_tzdata(database)

    async with database.connection() as connection:
        after = (await store.rulesets(connection))[1:]
        row = await store.ruleset_row(connection, after[-1].number)
    assert [each.number for each in after] == [2, 3, 4, 5, 6, 7, 8]
    assert all((each.experiments, each.holdouts) == (EXPERIMENTS, HOLDOUTS) for each in after)
    assert [len(each.pauses) for each in after] == [0, 1, 1, 0, 0, 0, 0]
    assert (row.experiments, row.holdouts) == (EXPERIMENTS, HOLDOUTS)


async def test_what_is_given_replaces_what_was_in_force_and_nothing_else(database: Database):
    await policies.activate(database, PRESETS["considerate"], author="test")
    await policies.pause(database, STOP, author="test")
    async with database.transaction() as connection:
        await store.add_ruleset(connection, "2026a", "test", experiments=EXPERIMENTS)
        await store.add_ruleset(connection, "2026a", "test", experiments=[], holdouts=HOLDOUTS)
    found = await newest(database)
    assert (found.policy_version, len(found.pauses), found.experiments, found.holdouts) == (1, 1, [], HOLDOUTS)


async def test_nothing_is_put_in_force_where_there_is_no_policy(database: Database):
    with pytest.raises(NotFound, match="no policy is active"):
        async with database.transaction() as connection:
            await store.add_ruleset(connection, "2026a", "test", experiments=EXPERIMENTS)
