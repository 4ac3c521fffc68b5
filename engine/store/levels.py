"""How full budgets were at instants, and the customers by whom that is told: a few thousand, drawn at random."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from engine.store.database import Connection

_PAGES: Final = 4  # so many customers more are read than drawn: those of one page are much alike
_SAMPLED: Final = (
    "SELECT customer_id FROM accounts a TABLESAMPLE SYSTEM (%s) WHERE NOT EXISTS ("
    " SELECT FROM customers c WHERE c.merged_into IS NOT NULL AND c.customer_id = a.customer_id)"
    " ORDER BY random() LIMIT %s"
)
_KEEP: Final = (
    "INSERT INTO budget_levels (at_us, place, budget, is_shadow, customers, saturated, close, comfortable, forgotten)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


class Levels(NamedTuple):
    """A budget of the policy, and how many of a sample were at each level. `customers`: there are about so many."""

    budget: str
    is_shadow: bool
    customers: int
    saturated: int
    close: int
    comfortable: int
    forgotten: int

    @property
    def sampled(self) -> int:
        return self.saturated + self.close + self.comfortable + self.forgotten


class Sampled(NamedTuple):
    """Customers drawn at random, of about so many."""

    ids: list[str]
    customers: int


async def sample(connection: Connection, most: int) -> Sampled:
    """`most` customers at random; all of them where there are no more. Reads some pages, however many there are."""
    row = await (
        await connection.execute(
            "SELECT count(*), (SELECT reltuples::bigint FROM pg_class WHERE oid = 'accounts'::regclass)"
            " FROM (SELECT FROM accounts LIMIT %s) few",
            (most * _PAGES,),
        )
    ).fetchone() or (0, 0)
    found, estimate = row
    percent = 100.0 if found < most * _PAGES else min(100.0, 100.0 * most * _PAGES / max(estimate, found))
    cursor = await connection.execute(_SAMPLED, (percent, most))
    ids = sorted(each[0] for each in await cursor.fetchall())
    return Sampled(ids, found if found < most * _PAGES else max(estimate, found))


async def newest(connection: Connection, until_us: int) -> tuple[int | None, list[Levels]]:
    """The newest of before an instant: when it was, and each budget in the order of the policy."""
    cursor = await connection.execute(
        "SELECT at_us, budget, is_shadow, customers, saturated, close, comfortable, forgotten FROM budget_levels"
        " WHERE at_us = (SELECT max(at_us) FROM budget_levels WHERE at_us <= %s) ORDER BY place",
        (until_us,),
    )
    rows = await cursor.fetchall()
    return (rows[0][0] if rows else None), [Levels._make(row[1:]) for row in rows]


async def keep(connection: Connection, at_us: int, found: Iterable[Levels]) -> None:
    for place, each in enumerate(found):
        figures = each.saturated, each.close, each.comfortable, each.forgotten
        await connection.execute(
            _KEEP, (at_us, place, each.budget, each.is_shadow, min(each.customers, 2**62), *figures)
        )
