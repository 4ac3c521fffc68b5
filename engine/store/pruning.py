"""Letting go of what is old: rows become daily totals in the transaction that removes them, so that none is lost and
none counted twice. Contacts, which accounts are made of, have a file of their own (`journal_pruning`).

Refusals go by whole weeks: a dropped partition leaves nothing to vacuum. Dropping needs a moment without anybody at the
table, and asks queue behind whoever waits for one: so it waits a tenth of a second, and comes again.
"""

import asyncio
import re
from typing import Final, NamedTuple

from psycopg import Connection as SyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from engine.core.outcomes import BINDING
from engine.core.policy import DAY_US
from engine.store import totals
from engine.store.database import Connection, Database
from engine.store.totals import Counted, added, moved

WEEK_US: Final = 7 * DAY_US
_WEEK: Final = re.compile(r"[a-z]+_w(\d+)")
TRIES, BETWEEN_S = 10, 0.4
REFUSALS, CONTACTS, EVENTS = "refusals", "journal", "events"  # the names in `kept_since`
_ROUND: Final = "round"  # one more: of no table, but when it was for the last round
OF_CONTACTS: Final = ("journal", "resolutions")
READ_BACK_DAYS: Final = 90  # readouts look so far back from the beginning: metrics before entry, and who had been away
GRACE_DAYS: Final = 28  # for so long after its end what a holdout's readouts need is kept
_NEEDED: Final = f"""
SELECT what, since_us FROM (
    SELECT 'the experiment ' || key, started_us FROM experiments WHERE started_us IS NOT NULL AND (ended_us IS NULL
        OR ended_us + coalesce((plan->>'horizon_days')::bigint, 90) * {DAY_US} > %(now)s)
    UNION ALL
    SELECT 'the holdout ' || name, from_us FROM holdouts
        WHERE coalesce(ended_us, until_us) + {GRACE_DAYS * DAY_US} > %(now)s
) readouts (what, since_us) ORDER BY since_us LIMIT 1
"""


_STRAY_REFUSALS: Final = moved("DELETE FROM refusals_w_other WHERE at_us < %s RETURNING *", totals.refusals("gone"))
_EVENTS: Final = moved(
    "DELETE FROM events WHERE ctid = ANY(ARRAY(SELECT ctid FROM events WHERE at_us >= %s AND at_us < %s"
    " ORDER BY at_us LIMIT %s FOR UPDATE SKIP LOCKED)) RETURNING *",
    totals.events("gone"),
    told="count(*), coalesce(max(at_us), 0)",
)
_UNRESOLVED: Final = moved(
    f"DELETE FROM unresolved_events WHERE received_us < %s AND data->>'type' <> ALL('{{{','.join(sorted(BINDING))}}}')"
    " RETURNING *",
    f"SELECT count(*), received_us / {DAY_US}, {Counted.UNRESOLVED:d}, channel, 0, 0, 0, 0, 0 FROM gone"
    " GROUP BY 2, channel",
)
_THINNED: Final = (
    "DELETE FROM snapshots s WHERE computed_us < %s AND EXISTS (SELECT 1 FROM snapshots n"
    " WHERE n.experiment = s.experiment AND n.number > s.number"
    f" AND n.computed_us / {DAY_US} = s.computed_us / {DAY_US})"
)


async def old_weeks(connection: Connection, table: str, before_us: int) -> list[int]:
    """The numbers of a table's weeks all of whose rows are older, the oldest first."""
    cursor = await connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
        (table,),
    )
    weeks = [int(found[1]) for row in await cursor.fetchall() if (found := _WEEK.fullmatch(row[0]))]
    return [week for week in sorted(weeks) if (week + 1) * WEEK_US <= before_us]


async def drop_refusals(database: Database, week: int) -> bool:
    """Turn a week of refusals into totals. False where the table was never free for a moment: nothing has changed."""
    partition = f"refusals_w{week}"
    try:
        async with database.transaction() as connection:
            await _patiently(connection)
            had_any = (await connection.execute(added(totals.refusals(partition)).encode())).rowcount > 0
            for _ in range(TRIES):
                if await _dropped(connection, partition):
                    if had_any:
                        await keep_since(connection, REFUSALS, (week + 1) * WEEK_US)
                    return True
                await asyncio.sleep(BETWEEN_S)
            raise _NeverFree
    except _NeverFree:
        return False


async def move_stray_refusals(connection: Connection, before_us: int) -> int:
    """The same for what lies in the spare partition; how many."""
    gone = await _count(connection, _STRAY_REFUSALS, before_us)
    if gone:
        await keep_since(connection, REFUSALS, before_us)
    return gone


async def move_events(connection: Connection, since_us: int, before_us: int, limit: int) -> tuple[int, int]:
    """So many of the events that happened between two instants become totals, the oldest first: how many did, and up
    to when. The next batch begins there: what this one leaves in the index, it does not walk through again.

    An event that somebody holds just then is left for another day.
    """
    await _patiently(connection)
    row = await (await connection.execute(_EVENTS.encode(), (since_us, before_us, limit))).fetchone() or (0, since_us)
    if row[0]:
        await keep_since(connection, EVENTS, before_us)
    return row


async def move_unresolved(connection: Connection, before_us: int) -> int:
    """The events received before an instant whose address led to nobody become totals; how many did. What forbids or
    allows stays: whoever comes to have the address has said so."""
    return await _count(connection, _UNRESOLVED, before_us)


async def thin_snapshots(connection: Connection, before_us: int) -> int:
    """Of the readouts computed before an instant, keep each day's last; how many went."""
    await _patiently(connection)
    return (await connection.execute(_THINNED.encode(), (before_us,))).rowcount


async def reckon(connection: Connection, clock_us: int, step_us: int) -> int | None:
    """When it is for a round: never much later than for the one before it, whatever the clock says. None for the
    first of all, of which nothing says how late it may be."""
    query = "SELECT since_us FROM kept_since WHERE name = %s FOR UPDATE"
    last = await (await connection.execute(query, (_ROUND,))).fetchone()
    now_us = clock_us if last is None else min(clock_us, last[0] + step_us)
    await connection.execute(
        "INSERT INTO kept_since (name, since_us) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET since_us = EXCLUDED.since_us",
        (_ROUND, now_us),
    )
    return None if last is None else now_us


async def keep_since(connection: Connection, name: str, since_us: int) -> None:
    """Note that of a table everything is there from an instant on, and before it not: in the transaction that lets go
    of it, so that whoever sees the one sees the other."""
    await connection.execute(
        "INSERT INTO kept_since AS k (name, since_us) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET since_us = greatest(k.since_us, EXCLUDED.since_us)",
        (name, since_us),
    )


async def whole_since_us(connection: Connection) -> int:
    """From when on every entry of customers' journals is there; 0 where none was ever let go of."""
    query = "SELECT coalesce(max(since_us), 0) FROM kept_since WHERE name = ANY(%s)"
    row = await (await connection.execute(query, ([REFUSALS, CONTACTS],))).fetchone()
    return row[0] if row else 0


def readable_since_us(connection: SyncConnection[TupleRow]) -> int:
    """From when on contacts and events are all there, for readouts; 0 where none was ever let go of."""
    query = "SELECT coalesce(max(since_us), 0) FROM kept_since WHERE name = ANY(%s)"
    row = connection.execute(query, ([CONTACTS, EVENTS],)).fetchone()
    return row[0] if row else 0


class Need(NamedTuple):
    """That something is still to be read from an instant on: what, in words."""

    what: str
    since_us: int


async def needed(connection: Connection, now_us: int) -> Need | None:
    """What readouts that are still to come go back to, the farthest; None where there are none.

    An experiment's end when its horizon after its end is over, a holdout's a while after its own: whoever is to read
    one has come by then.
    """
    row = await (await connection.execute(_NEEDED.encode(), {"now": now_us})).fetchone()
    return None if row is None else Need(row[0], row[1] - READ_BACK_DAYS * DAY_US)


class _NeverFree(Exception):
    """Leads out of a transaction that is to be undone."""


async def _dropped(connection: Connection, partition: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '100ms'")
            await connection.execute(f"DROP TABLE {partition}".encode())
    except LockNotAvailable:
        return False
    return True


async def _count(connection: Connection, statement: str, *parameters: int) -> int:
    await _patiently(connection)
    row = await (await connection.execute(statement.encode(), parameters)).fetchone()
    return row[0] if row else 0


async def _patiently(connection: Connection) -> None:
    await connection.execute("SET LOCAL statement_timeout = '300s'")
