"""Account rows: locked first, read second, saved before the commit.

The lock is a statement of its own that writes nothing to existing rows, and the read begins after it returned: a read
in the lock's own statement sees the rows as they were before the wait. Every writer of a customer's rows comes here
first, takes its locks in one order, and so never deadlocks with another.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg.rows import TupleRow

from engine.core.account import Account
from engine.core.account_row import encode, restored
from engine.store.columns import Byteas, Column, Int4s, Int8s, Texts
from engine.store.customers import COLUMNS, CustomerTexts
from engine.store.labels import Labels

LOCK = (
    'INSERT INTO accounts (customer_id) SELECT id FROM unnest(%b) AS ids(id) ORDER BY id COLLATE "C"'
    " ON CONFLICT (customer_id) DO UPDATE SET seq = accounts.seq WHERE false"
)
WAIT = "SELECT set_config('lock_timeout', (%b)[1], true)"  # in milliseconds, for the rest of the transaction
LOCK_FREE = (
    'SELECT customer_id FROM accounts WHERE customer_id = ANY(%b) ORDER BY customer_id COLLATE "C"'
    " FOR UPDATE SKIP LOCKED"
)
# Also for customers without an account: to look is not to make one.
READ = (
    "WITH now AS MATERIALIZED (SELECT takt_clock() AS clock_us, (SELECT max(number) FROM rulesets) AS ruleset)"
    f" SELECT ids.id, a.seq, a.latest_us, a.complete_since_us, a.contacts, {COLUMNS}, now.clock_us, now.ruleset"
    " FROM now CROSS JOIN unnest(%b) AS ids(id)"
    " LEFT JOIN accounts a ON a.customer_id = ids.id LEFT JOIN customers c ON c.customer_id = ids.id"
)
SAVE = (
    "UPDATE accounts a SET seq = rows.seq, latest_us = rows.latest, complete_since_us = rows.complete_since,"
    " contacts = rows.contacts FROM unnest(%b, %b, %b, %b, %b) AS rows(id, seq, latest, complete_since, contacts)"
    " WHERE a.customer_id = rows.id"
)
# The lock makes a row for whoever is named; one to which nothing came goes again.
FORGET = "DELETE FROM accounts WHERE customer_id = ANY(%b) AND seq = 0"


class AccountRead(NamedTuple):
    """What statement 2 read of one customer, under the lock."""

    customer_id: str
    account: Account
    texts: CustomerTexts


def read_of(row: TupleRow, labels: Labels) -> AccountRead:
    """One row of `READ`; raises `UnknownNumber` where the account holds labels not known here."""
    customer_id, seq, latest_us, complete_since_us, contacts = row[:5]
    if seq is None:
        return AccountRead(customer_id, Account(), CustomerTexts._make(row[5:-2]))
    account = restored(seq, latest_us, complete_since_us, contacts, labels.lexicon)
    return AccountRead(customer_id, account, CustomerTexts._make(row[5:-2]))


def save_columns(accounts: Mapping[str, Account], labels: Labels) -> Sequence[Column]:
    """The parameters of `SAVE`."""
    rows = accounts.values()
    return (
        Texts(accounts),
        Int4s(each.seq for each in rows),
        Int8s(each.latest_us for each in rows),
        Int8s(each.complete_since_us for each in rows),
        Byteas(encode(each, labels.lexicon) for each in rows),
    )
