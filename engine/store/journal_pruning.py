"""Old contacts: found in the order of the journal's key, and deleted under the locks of their accounts.

Rows are deleted, and a week is dropped once nothing is left of it: what is still needed of it (a contact that was
confirmed late) stays where it is, and no transaction is long. (`DETACH ... CONCURRENTLY` knows no spare partition.)
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from psycopg.errors import LockNotAvailable, QueryCanceled, UndefinedTable

from engine.core.account import Account
from engine.store import totals
from engine.store.accounts import LOCK_FREE, SAVE, save_columns
from engine.store.columns import Column, Int4s, Int8s, Texts
from engine.store.database import Connection, Database
from engine.store.exchange import exchange
from engine.store.journal import Message
from engine.store.journal_rows import FIND_OLD_MESSAGES, message_of
from engine.store.labels import Labels
from engine.store.openings import account_of
from engine.store.pruning import BETWEEN_S, TRIES
from engine.store.totals import moved

_VACUUM_S: Final = 300
_LARGE_BYTES: Final = 8 << 20  # of an emptied week: looking through it under the lock would take too long

_CONTACTS = (
    "SELECT customer_id, message_key, seq, at_us FROM journal WHERE at_us < (%b)[1]"
    " AND (customer_id, message_key, seq, at_us) > ((%b)[1], (%b)[1], (%b)[1], (%b)[1])"
    " ORDER BY customer_id, message_key, seq, at_us LIMIT (%b)[1]"
)
_RESOLUTIONS = (
    "SELECT customer_id, contact_seq, seq, at_us FROM resolutions WHERE at_us < (%b)[1]"
    " AND (customer_id, contact_seq, seq, at_us) > ((%b)[1], (%b)[1], (%b)[1], (%b)[1])"
    " ORDER BY customer_id, contact_seq, seq, at_us LIMIT (%b)[1]"
)
_ACCOUNTS = "SELECT customer_id, seq, latest_us, complete_since_us, contacts FROM accounts WHERE customer_id = ANY(%b)"
_OLD = f"{FIND_OLD_MESSAGES} AND j.at_us < (%b)[1]"
_DELETE = moved(
    "DELETE FROM journal j USING unnest(%b, %b, %b, %b) AS old(customer_id, message_key, seq, at_us)"
    " WHERE j.customer_id = old.customer_id AND j.message_key = old.message_key AND j.seq = old.seq"
    " AND j.at_us = old.at_us RETURNING j.*",
    totals.contacts("gone"),
)
_DELETE_RESOLUTIONS = (
    "WITH gone AS (DELETE FROM resolutions r USING unnest(%b, %b, %b, %b) AS old(customer_id, contact_seq, seq, at_us)"
    " WHERE r.customer_id = old.customer_id AND r.contact_seq = old.contact_seq AND r.seq = old.seq"
    " AND r.at_us = old.at_us AND NOT EXISTS (SELECT FROM journal j WHERE j.customer_id = r.customer_id"
    " AND j.seq = r.contact_seq AND j.at_us <= r.at_us) RETURNING r.seq) SELECT count(*) FROM gone"
)


class Place(NamedTuple):
    """Where a row stands in its table: `number` is the message's key, or of a resolution the contact's seq."""

    customer_id: str
    number: int
    seq: int
    at_us: int


START: Final = Place("", -(2**63), 0, 0)


async def contacts(connection: Connection, before_us: int, after: Place, limit: int) -> list[Place]:
    """The next contacts asked or recorded before an instant."""
    number = Int8s([after.number])
    (rows,) = await exchange(connection, (_CONTACTS, _window(before_us, after, number, limit)))
    return [Place._make(row) for row in rows]


async def resolutions(connection: Connection, before_us: int, after: Place, limit: int) -> list[Place]:
    """The next resolutions from before an instant."""
    number = Int4s([max(after.number, 0)])
    (rows,) = await exchange(connection, (_RESOLUTIONS, _window(before_us, after, number, limit)))
    return [Place._make(row) for row in rows]


async def lock_free(connection: Connection, customer_ids: Collection[str]) -> list[str]:
    """Those of these customers whose accounts nobody holds: the transaction holds them now."""
    (rows,) = await exchange(connection, (LOCK_FREE, (Texts(sorted(customer_ids)),)))
    return [row[0] for row in rows]


async def accounts(connection: Connection, labels: Labels, customer_ids: Sequence[str]) -> dict[str, Account]:
    """The accounts of customers, whose locks the transaction holds."""
    (rows,) = await exchange(connection, (_ACCOUNTS, (Texts(customer_ids),)))
    return {row[0]: await labels.known(connection, lambda row=row: account_of(row, labels)) for row in rows}


async def save_accounts(connection: Connection, labels: Labels, changed: Mapping[str, Account]) -> None:
    if changed:
        await exchange(connection, (SAVE, save_columns(changed, labels)))


async def messages(connection: Connection, labels: Labels, places: Collection[Place], before_us: int) -> list[Message]:
    """What stands at these places, with what became of it, and other attempts of the same messages as old."""
    ids, numbers = sorted({each.customer_id for each in places}), sorted({each.number for each in places})
    (rows,) = await exchange(connection, (_OLD, (Texts(ids), Int8s(numbers), Int8s([before_us]))))
    return [await labels.known(connection, lambda row=row: message_of(row, labels)) for row in rows]


async def delete(connection: Connection, gone: Collection[Place]) -> int:
    """Delete contacts from the journal, and add them to the daily totals; how many."""
    columns = (
        Texts(each.customer_id for each in gone),
        Int8s(each.number for each in gone),
        Int4s(each.seq for each in gone),
        Int8s(each.at_us for each in gone),
    )
    (rows,) = await exchange(connection, (_DELETE, columns))
    return rows[0][0]


async def delete_resolutions(connection: Connection, places: Collection[Place]) -> int:
    """Delete those of these resolutions whose contact is gone; how many."""
    columns = (
        Texts(each.customer_id for each in places),
        Int4s(each.number for each in places),
        Int4s(each.seq for each in places),
        Int8s(each.at_us for each in places),
    )
    (rows,) = await exchange(connection, (_DELETE_RESOLUTIONS, columns))
    return rows[0][0]


async def drop_if_empty(database: Database, table: str, week: int) -> bool | None:
    """Drop a week of which nothing is left; None where something is, False where the table was never free.

    Asks wait for no more than a tenth of a second.
    """
    partition = f"{table}_w{week}"
    async with database.connection() as connection:
        try:
            if await _has_rows(connection, partition):
                return None
            await connection.execute(f"SET statement_timeout = '{_VACUUM_S}s'".encode())
            await connection.execute(f"VACUUM {partition}".encode())
        except (LockNotAvailable, UndefinedTable, QueryCanceled):  # another round is at it, or it took too long
            return False
        finally:
            await connection.execute(b"RESET statement_timeout")
    for _ in range(TRIES):
        async with database.transaction() as connection:
            try:
                async with connection.transaction():
                    return await _dropped(connection, table, partition)
            except LockNotAvailable:
                pass
            except UndefinedTable:
                return False
        await asyncio.sleep(BETWEEN_S)
    return False


async def _dropped(connection: Connection, table: str, partition: str) -> bool | None:
    await connection.execute("SET LOCAL lock_timeout = '100ms'")
    # As whoever reads does, the table first: else each could hold what the other waits for.
    await connection.execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE".encode())
    size = await (await connection.execute("SELECT pg_relation_size(%s::regclass)", (partition,))).fetchone()
    # Somebody's old snapshot may have kept vacuum from it: to look through all that would take too long under the lock.
    if size is None or size[0] > _LARGE_BYTES:
        return False
    if await _has_rows(connection, partition):
        return None
    await connection.execute(f"DROP TABLE {partition}".encode())
    return True


async def _has_rows(connection: Connection, partition: str) -> bool:
    row = await (await connection.execute(f"SELECT EXISTS (SELECT FROM {partition})".encode())).fetchone()
    return row is None or bool(row[0])


def _window(before_us: int, after: Place, number: Column, limit: int) -> tuple[Column, ...]:
    return (
        Int8s([before_us]),
        Texts([after.customer_id]),
        number,
        Int4s([after.seq]),
        Int8s([after.at_us]),
        Int4s([limit]),
    )
