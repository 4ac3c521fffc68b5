"""What stands around every page: the rules in force, what is paused, and what the database is for."""

from typing import NamedTuple

from engine.core.policy import PolicyMode
from engine.core.rules import Pause
from engine.operations.decider import Decider
from engine.operations.patience import in_time
from engine.store.database import clock_us
from engine.store.demo import kind_of
from engine.store.policies import newest_number


class Surroundings(NamedTuple):
    """`ruleset` and `mode` are None where no policy was ever activated. `kind`: production, demo or test."""

    ruleset: int | None
    mode: PolicyMode | None
    pauses: tuple[Pause, ...]
    topics: tuple[str, ...]
    kind: str
    now_us: int


async def surroundings(decider: Decider) -> Surroundings:
    """As of now, read in the database: another process may have paused something a moment ago."""

    async def read() -> Surroundings:
        async with decider.database.connection() as connection:
            now_us, kind = await clock_us(connection), await kind_of(connection)
            number = await newest_number(connection)
            if number is None:
                return Surroundings(None, None, (), (), kind, now_us)
            rules = await decider.rulebook.rules(connection, number)
            pauses = tuple(each for each in rules.pauses if each.until_us is None or now_us < each.until_us)
            return Surroundings(number, rules.policy.mode, pauses, tuple(rules.policy.topics), kind, now_us)

    return await in_time(read(), decider.settings.deadline_ms / 1000)
