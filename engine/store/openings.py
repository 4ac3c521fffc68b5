"""What accounts began with: of contacts that the journal has let go of, the sums.

An opening has the form of an account that holds no contacts any more: its totals are those of all that counted, and
every one of them had ended before `complete_since_us`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from engine.core.account import Account
from engine.core.account_row import restored
from engine.store.accounts import save_columns
from engine.store.columns import Texts
from engine.store.database import Connection, Row
from engine.store.exchange import exchange
from engine.store.labels import Labels

COLUMNS: Final = "customer_id, seq, latest_us, complete_since_us, totals"
_OF = f"SELECT {COLUMNS} FROM openings WHERE customer_id = ANY(%b)"
_SAVE = (
    f"INSERT INTO openings ({COLUMNS}) SELECT * FROM unnest(%b, %b, %b, %b, %b)"
    " ON CONFLICT (customer_id) DO UPDATE SET seq = EXCLUDED.seq, latest_us = EXCLUDED.latest_us,"
    " complete_since_us = EXCLUDED.complete_since_us, totals = EXCLUDED.totals"
)


async def of(connection: Connection, labels: Labels, customer_ids: Sequence[str]) -> dict[str, Account]:
    """The openings of these customers; most have none."""
    (rows,) = await exchange(connection, (_OF, (Texts(customer_ids),)))
    return {row[0]: await labels.known(connection, lambda row=row: account_of(row, labels)) for row in rows}


def account_of(row: Row, labels: Labels) -> Account:
    """What a row says: an id, then what an account is made of; raises `UnknownNumber`."""
    _, seq, latest_us, complete_since_us, contacts = row
    return restored(seq, latest_us, complete_since_us, contacts, labels.lexicon)


async def save(connection: Connection, labels: Labels, openings: Mapping[str, Account]) -> None:
    """Write the openings of customers, whose accounts are locked."""
    if openings:
        await exchange(connection, (_SAVE, save_columns(openings, labels)))


async def unite(connection: Connection, labels: Labels, into: str, other: str) -> None:
    """Let somebody's account begin with what another's began with, too. Both are locked."""
    found = await of(connection, labels, [into, other])
    theirs = found.get(other)
    if theirs is None:
        return
    own = found.get(into) or Account(seq=1)
    totals = dict(own.totals)
    for key, weight in theirs.totals.items():
        totals[key] = totals.get(key, 0) + weight
    since_us = max(own.complete_since_us, theirs.complete_since_us)
    await save(connection, labels, {into: Account(own.seq, own.latest_us, since_us, totals=totals)})
