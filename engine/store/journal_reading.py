"""The journal read whole, customer by customer in the order of their ids, with the rows made of it beside the entries.

A page is one snapshot, so all that it shows of a customer is of one instant. No transaction outlasts its page: the
server cannot clear old versions of accounts away while a snapshot may still see them.
"""

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from psycopg.rows import TupleRow

from engine.core.account import Account
from engine.core.account_row import decode, encode
from engine.store import openings
from engine.store.customers import COLUMNS, NOTHING, CustomerTexts
from engine.store.database import Connection, clock_us
from engine.store.exposures import COMPARED, Exposure
from engine.store.journal import Change, Changed, Entry, Resolution, Resolved, message_key
from engine.store.journal_rows import MESSAGE_COLUMNS, REFUSAL_COLUMNS, message_of, refusal_of
from engine.store.labels import Labels

PAGE_CUSTOMERS = 500
PAGE_ENTRIES = 5_000  # more only where one customer alone has more


class Unreadable(NamedTuple):
    """An entry whose row holds what no Takt writes."""

    customer_id: str
    seq: int
    at_us: int
    why: str


Read: TypeAlias = Entry | Unreadable


class Dossier(NamedTuple):
    """All there is of one customer, the entries by their seq. `account` may be None for want of a row, or of sense.

    `exposures` are by experiment. `opening` is what is left of entries that are not there any more; None: of none.
    """

    customer_id: str
    has_account: bool
    account: Account | None
    texts: CustomerTexts
    entries: list[Read]
    exposures: dict[int, Exposure]
    opening: Account | None


class Page(NamedTuple):
    """Some customers at one instant. `last` is the id after which to go on; None where nobody comes after."""

    dossiers: list[Dossier]
    clock_us: int
    last: str | None


class _Source(NamedTuple):
    """A table of entries: what to read of it, what a row means, and where a row has its seq (`at_us` comes next)."""

    query: str
    entry_of: Callable[[TupleRow, Labels], Entry]
    seq: int


def _message(row: TupleRow, labels: Labels) -> Entry:
    *columns, key = row
    message = message_of(tuple(columns), labels)
    if key != message_key(message.customer_id, message.message_id):
        raise ValueError("its message key is not that of its message id")
    return message


def _resolved(row: TupleRow, labels: Labels) -> Entry:
    return Resolved._make((*row[:5], Resolution(row[5])))


def _changed(row: TupleRow, labels: Labels) -> Entry:
    return Changed._make((*row[:3], Change(row[3]), row[4]))


_SOURCES = (
    _Source(f"SELECT {MESSAGE_COLUMNS}, NULL, NULL, j.message_key FROM journal j", _message, 3),
    _Source(f"SELECT {REFUSAL_COLUMNS} FROM refusals", refusal_of, 3),
    _Source("SELECT customer_id, contact_seq, seq, at_us, end_us, kind FROM resolutions", _resolved, 2),
    _Source("SELECT customer_id, seq, at_us, kind, data FROM changes", _changed, 1),
)
_ACCOUNTS = "SELECT customer_id, seq, latest_us, complete_since_us, contacts FROM accounts"
_FILES = f"SELECT c.customer_id, {COLUMNS} FROM customers c"
_WITHIN = "WHERE customer_id > %s AND customer_id <= %s"
_AMONG = "WHERE customer_id = ANY(%s)"
_NEXT = f"WHERE customer_id > %s ORDER BY customer_id LIMIT {PAGE_CUSTOMERS}"
_BEHIND_ALL = "\U0010ffff" * 201  # no customer id sorts after it
_SENSELESS = (LookupError, ValueError, TypeError, struct.error)


async def next_page(connection: Connection, labels: Labels, after: str) -> Page:
    """The customers whose ids follow, in order; those that have entries but no account are among them.

    The transaction must be new. The account's seq says how many entries a customer has: a page holds few customers
    with many of them.
    """
    await _begin(connection, labels)
    rows = await _rows(connection, f"{_ACCOUNTS} {_NEXT}", (after,))
    kept, entries = 0, 0
    for row in rows:
        if kept and entries + row[1] > PAGE_ENTRIES:
            break
        kept, entries = kept + 1, entries + row[1]
    last = rows[kept - 1][0] if kept < len(rows) or kept == PAGE_CUSTOMERS else None
    dossiers = await _dossiers(connection, labels, rows[:kept], _WITHIN, (after, last or _BEHIND_ALL))
    return Page(dossiers, await clock_us(connection), last)


async def page_of(connection: Connection, labels: Labels, customer_ids: Sequence[str]) -> Page:
    """The customers named, in order, without those never heard of. The transaction must be new."""
    await _begin(connection, labels)
    among = (list(customer_ids),)
    rows = await _rows(connection, f"{_ACCOUNTS} {_AMONG}", among)
    return Page(await _dossiers(connection, labels, rows, _AMONG, among), await clock_us(connection), None)


async def _begin(connection: Connection, labels: Labels) -> None:
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await labels.load(connection)


async def _rows(connection: Connection, query: str, parameters: Sequence[Any]) -> list[TupleRow]:
    return await (await connection.execute(query.encode(), parameters)).fetchall()


async def _dossiers(
    connection: Connection, labels: Labels, account_rows: Sequence[TupleRow], where: str, parameters: Sequence[Any]
) -> list[Dossier]:
    entries: dict[str, list[Read]] = {}
    for source in _SOURCES:
        for row in await _rows(connection, f"{source.query} {where}", parameters):
            try:
                entry = await labels.known(connection, lambda row=row, source=source: source.entry_of(row, labels))
            except _SENSELESS as error:
                entry = Unreadable(row[0], row[source.seq], row[source.seq + 1], str(error))
            entries.setdefault(entry.customer_id, []).append(entry)
    for each in entries.values():
        each.sort(key=attrgetter("seq"))
    accounts: dict[str, Account | None] = {}
    for customer_id, seq, latest_us, complete_since_us, data in account_rows:
        try:
            held = await labels.known(connection, lambda data=data: decode(data, labels.lexicon))
        except _SENSELESS:
            accounts[customer_id] = None
            continue
        account = Account(seq, latest_us, complete_since_us, *held)
        is_whole = not data or encode(account, labels.lexicon) == data  # what is cut off or left over decodes as well
        accounts[customer_id] = account if is_whole else None
    files = {row[0]: CustomerTexts._make(row[1:]) for row in await _rows(connection, f"{_FILES} {where}", parameters)}
    opened = await openings.of(connection, labels, sorted({*accounts, *files, *entries}))
    exposures: dict[str, dict[int, Exposure]] = {}
    for row in await _rows(connection, f"{COMPARED} {where}", parameters):
        exposures.setdefault(row[0], {})[row[1]] = Exposure(*row)
    return [
        Dossier(
            id_,
            id_ in accounts,
            accounts.get(id_),
            files.get(id_, NOTHING),
            entries.get(id_, []),
            exposures.get(id_, {}),
            opened.get(id_),
        )
        for id_ in sorted({*accounts, *files, *entries})
    ]
