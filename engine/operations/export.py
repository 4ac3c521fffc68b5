"""Everything on file about one person, for that person: each row of each table that `store.personal` registers."""

from typing import Any, Final, NamedTuple

from engine.core.errors import NotFound
from engine.operations.decider import Decider
from engine.operations.patience import in_time
from engine.store import erasing, identities, personal
from engine.store.database import clock_us

SCHEMA: Final = 1


class Export(NamedTuple):
    """`known_as` are all ids of the person, `tables` the rows by table. All is of one instant."""

    customer_id: str
    known_as: tuple[str, ...]
    tables: dict[str, list[dict[str, Any]]]
    at_us: int


async def export(decider: Decider, customer_id: str) -> Export:
    """What is on file, under every id that was ever merged with this one; raises `NotFound` where nothing is."""
    return await in_time(_export(decider, customer_id), decider.settings.bulk_deadline_ms / 1000)


async def _export(decider: Decider, customer_id: str) -> Export:
    async with decider.database.transaction() as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await decider.labels.load(connection)
        ids = await identities.person(connection, customer_id)
        links = await erasing.links(connection, ids)
        tables = await personal.rows(connection, decider.labels, ids, [each.address for each in links])
        if not any(tables.values()):
            raise NotFound(f"nothing is on file about customer {customer_id!r}")
        return Export(customer_id, tuple(ids), tables, await clock_us(connection))
