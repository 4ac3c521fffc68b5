"""What tests of experiments do again and again: open a shop, start an experiment, look what is in force."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from engine.core.policy import DAY_US
from engine.operations import experiments, policies
from engine.operations.experiments import By
from engine.store import policies as rules
from engine.store.database import Database
from tests.conftest import set_clock
from tests.operations.plans import PLAN, POLICY

ANN = By("ann", "because")


@asynccontextmanager
async def shop(url: str) -> AsyncGenerator[Database]:
    """A database under the policy of the tests."""
    opened = Database(url, size=4)
    await opened.open()
    try:
        await policies.activate(opened, POLICY, author="test")
        yield opened
    finally:
        await opened.close()


async def running(database: Database, text: str = PLAN) -> str:
    """The key of an experiment that was created and started."""
    key = (await experiments.create(database, text, ANN)).record.key
    await experiments.start(database, key, ANN)
    return key


async def in_force(database: Database) -> rules.Ruleset:
    async with database.connection() as connection:
        found = await rules.newest_ruleset(connection)
    assert found is not None
    return found


async def known(database: Database) -> list[str]:
    """The keys of the experiments that decisions know."""
    return [each["plan"]["key"] for each in (await in_force(database)).experiments]


async def actions(database: Database, key: str) -> list[str]:
    return [each.action for each in (await experiments.whole(database, key)).log]


def jump(database: Database, days: float) -> None:
    """Let days pass, counted from the real clock."""
    set_clock(database.url, int(days * DAY_US))
