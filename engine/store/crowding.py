"""Messages that budgets refused, a sample of each hour, and what looking at them found: who had filled the budget."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from engine.core.policy import HOUR_US
from engine.core.verdict import Code
from engine.store.database import Connection
from engine.store.hourly import IS_FIRST, Outcome
from engine.store.journal import Refusal
from engine.store.journal_rows import ALLOW, CODE_NUMBERS, IS_CHECKED, REFUSAL_COLUMNS, VERDICT, refusal_of
from engine.store.labels import Labels
from engine.store.totals import FIRST_CODE

OF_BUDGETS: Final = [CODE_NUMBERS[each] for each in (Code.LIMIT, Code.HOLD_BACK, Code.MIN_GAP)]
_HOURS: Final = (
    "SELECT hour_us, sum(messages)::bigint FROM hourly_asks WHERE hour_us >= %s AND hour_us < %s AND messages > 0"
    f" AND outcome IN ({Outcome.DEFERRED:d}, {Outcome.DENIED:d}) AND code = ANY(%s) GROUP BY 1 ORDER BY 1 LIMIT %s"
)
# By a hash: the same of an hour whoever looks, and whoever the customers are.
_SAMPLE: Final = (
    f"SELECT {REFUSAL_COLUMNS} FROM refusals r WHERE at_us >= %(from)s AND at_us < %(to)s AND NOT {IS_CHECKED}"
    f" AND {VERDICT} <> {ALLOW} AND {FIRST_CODE} = ANY(%(codes)s) AND {IS_FIRST}"
    " ORDER BY hashtextextended(customer_id || '/' || message_id, 0), seq LIMIT %(most)s"
)
_KEEP: Final = (
    "INSERT INTO hourly_crowding (hour_us, channel, topic, asker, filler, rule, is_others, looked_at, stands_for)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


class Found(NamedTuple):
    """What some refusals have in common. `is_others`: the asker's own contacts would have left room; `filler` is who
    else had the most in the budget, or else the asker. Who is nobody by name is None."""

    channel: str
    topic: str
    asker: str | None
    filler: str | None
    rule: str
    is_others: bool


async def hours(connection: Connection, from_us: int, to_us: int, limit: int) -> list[tuple[int, int]]:
    """The first hours of a stretch in which budgets refused messages, and how many."""
    return await (await connection.execute(_HOURS.encode(), (from_us, to_us, OF_BUDGETS, limit))).fetchall()


async def sample(connection: Connection, labels: Labels, hour_us: int, most: int) -> list[Refusal]:
    """Of the messages that budgets refused in an hour so many, each by its first refusal of the day."""
    given = {"from": hour_us, "to": hour_us + HOUR_US, "codes": OF_BUDGETS, "most": most}
    rows = await (await connection.execute(_SAMPLE.encode(), given)).fetchall()
    return await labels.known(connection, lambda: [refusal_of(row, labels) for row in rows])


async def keep(
    connection: Connection, labels: Labels, hour_us: int, found: Mapping[Found, int], stand_for: float
) -> None:
    """Keep an hour's findings in place of what was there; each refusal stands for so many."""
    await connection.execute("DELETE FROM hourly_crowding WHERE hour_us = %s", (hour_us,))
    number = labels.number
    for (channel, topic, asker, filler, rule, is_others), count in found.items():
        named = number(channel), number(topic), number(asker), number(filler), number(rule)
        await connection.execute(_KEEP, (hour_us, *named, is_others, count, count * max(stand_for, 1.0)))
