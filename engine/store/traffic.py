"""What the last weeks were like: how many customers were asked about, and how often something happened to them.

Estimates for planning, read beside the work and given up after a few seconds; no decision and no readout reads them.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from engine.core.events import SUSPECT
from engine.core.policy import DAY_US, Channel
from engine.store.database import Connection, Database

_PATIENCE: Final = "SET LOCAL statement_timeout = '5s'"
_SCANS: Final = "SET LOCAL enable_seqscan = on"  # these read weeks, not customers
_CHANNELS: Final = {name: number for number, name in enumerate(Channel, 1)}
_SELECTED: Final = (
    "at_us >= %(since)s AND (%(channels)s::smallint[] IS NULL OR channel = ANY(%(channels)s))"
    " AND (%(topics)s::text[] IS NULL OR topic IN (SELECT number FROM labels WHERE name = ANY(%(topics)s)))"
)


class Asked(NamedTuple):
    """How many customers were asked about, by how many asks, and over how many days."""

    customers: int
    asks: int
    days: float


class Happened(NamedTuple):
    """Customers with an event; how many events, or the sum of their values, and the sum of the squares by customer."""

    customers: int
    total: float
    squares: float


@asynccontextmanager
async def looking(database: Database) -> AsyncGenerator[Connection]:
    """A transaction that waits for no more than a few seconds for each look."""
    async with database.transaction() as connection:
        await connection.execute(_PATIENCE)
        await connection.execute(_SCANS)
        yield connection


async def asked(
    connection: Connection,
    now_us: int,
    days: int,
    channels: Collection[str] | None = None,
    topics: Collection[str] | None = None,
) -> Asked:
    """Of the last days, contacts and refusals in the channels and topics; `days` is as far as the records reach."""
    numbers = None if channels is None else [_CHANNELS[Channel(each)] for each in channels]
    since = now_us - days * DAY_US
    cursor = await connection.execute(
        "SELECT count(DISTINCT customer_id), count(*), coalesce(min(at_us), %(since)s) FROM ("
        f" SELECT customer_id, at_us FROM journal WHERE {_SELECTED}"
        f" UNION ALL SELECT customer_id, at_us FROM refusals WHERE {_SELECTED}) asks",
        {"since": since, "channels": numbers, "topics": None if topics is None else list(topics)},
    )
    row = await cursor.fetchone()
    customers, asks, first_us = row or (0, 0, since)
    return Asked(customers, asks, (now_us - first_us) / DAY_US)


async def happened(
    connection: Connection, now_us: int, days: int, event: str, channel: str | None, *, sums: bool
) -> Happened:
    """Of the last days, the events of a type that no machine is suspected of; `sums`: their values count, not they."""
    counted = "coalesce(value, 0)" if sums else "1"
    cursor = await connection.execute(
        "SELECT count(*), coalesce(sum(x), 0), coalesce(sum(x * x), 0) FROM ("
        f" SELECT sum({counted})::double precision AS x FROM events"
        " WHERE at_us >= %s AND kind = (SELECT number FROM labels WHERE name = %s) AND flags & %s = 0"
        " AND (%s::smallint IS NULL OR channel = %s) GROUP BY customer_id) customers",
        (
            now_us - days * DAY_US,
            event,
            int(SUSPECT),
            *((None, None) if channel is None else (_CHANNELS.get(Channel(channel)),) * 2),
        ),
    )
    row = await cursor.fetchone()
    return Happened._make(row) if row else Happened(0, 0.0, 0.0)
