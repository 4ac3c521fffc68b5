"""Letting go of old contacts: what they add up to stays as their customer's opening, under the lock of the account.

A contact goes once it was asked (or recorded) and had ended before an instant that no window reaches. A batch is one
transaction: the rows go, the opening and the daily totals grow by them, and the account lets go of what it still held.
So a round may break off anywhere. A customer whose account is busy is passed by, and asked for again.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from engine.core.account import Account
from engine.core.policy import DAY_US
from engine.core.policy_parts import WINDOW_US_MAX
from engine.store import journal_pruning as store
from engine.store import openings, pruning
from engine.store.database import Connection, Database
from engine.store.erasing import ANONYMOUS
from engine.store.journal import Message
from engine.store.journal_pruning import START, Place
from engine.store.labels import Labels

CONTACTS_DAYS: Final = WINDOW_US_MAX // DAY_US
AT_ONCE: Final = 200  # rows a batch: an ask of one of their customers waits for some tens of milliseconds
_ROUNDS: Final = 3


class LetGo(NamedTuple):
    """What a round did: contacts and resolutions deleted, weeks dropped; `busy` of either were passed by."""

    contacts: int
    resolutions: int
    weeks: int
    busy: int


async def prune_contacts(database: Database, before_us: int) -> LetGo:
    """Let go of the contacts of before an instant, at which a week begins and which no account's windows reach."""
    labels = Labels(database)
    async with database.transaction() as connection:
        await labels.load(connection)
    contacts = busy = 0
    for _ in range(_ROUNDS):
        deleted, busy = await _contacts(database, labels, before_us)
        contacts += deleted
        if not busy:
            break
    resolutions = await _resolutions(database, before_us)
    weeks = 0
    async with database.connection() as connection:
        old = {table: await pruning.old_weeks(connection, table, before_us) for table in pruning.OF_CONTACTS}
    for table, numbers in old.items():
        for week in numbers:
            dropped = await store.drop_if_empty(database, table, week)
            weeks += dropped is True
            busy += dropped is False
    return LetGo(contacts, resolutions, weeks, busy)


async def _contacts(database: Database, labels: Labels, before_us: int) -> tuple[int, int]:
    """Every batch once: how many contacts went, and how many customers were busy."""
    gone, busy, after = 0, 0, START
    while True:
        async with database.transaction() as connection:
            places = await store.contacts(connection, before_us, after, AT_ONCE)
            if places:
                deleted, passed_by = await _batch(connection, labels, places, before_us)
                gone, busy, after = gone + deleted, busy + passed_by, places[-1]
        if len(places) < AT_ONCE:
            return gone, busy


async def _resolutions(database: Database, before_us: int) -> int:
    gone, after = 0, START
    while True:
        async with database.transaction() as connection:
            places = await store.resolutions(connection, before_us, after, AT_ONCE)
            if places:
                gone, after = gone + await store.delete_resolutions(connection, places), places[-1]
        if len(places) < AT_ONCE:
            return gone


async def _batch(connection: Connection, labels: Labels, places: Sequence[Place], before_us: int) -> tuple[int, int]:
    """The locks first, what is read second. Of those without an account only who was erased is let go of: nobody
    asks for such a one, and what else has no account is a fault that verification is to find."""
    ids = {each.customer_id for each in places}
    nobodies = {each for each in ids if each.startswith(ANONYMOUS)}
    held = await store.lock_free(connection, ids - nobodies)
    free = nobodies.union(held)
    at = {(each.customer_id, each.seq): each for each in places if each.customer_id in free}
    messages = await store.messages(connection, labels, at.values(), before_us)
    gone = [each for each in messages if (each.customer_id, each.seq) in at and _end_us(each) < before_us]
    if not gone:
        return 0, len(ids) - len(free)
    accounts = await store.accounts(connection, labels, held)
    known = await openings.of(connection, labels, held)
    opened: dict[str, Account] = {}
    changed: dict[str, Account] = {}
    by_customer = attrgetter("customer_id")
    for customer_id, own in groupby(sorted(gone, key=by_customer), key=by_customer):
        account, leaving = accounts.get(customer_id), list(own)
        if account is None:
            continue
        opened[customer_id] = _opened(known.get(customer_id) or Account(), leaving)
        if account.forget({each.seq for each in leaving}):
            changed[customer_id] = account
    deleted = await store.delete(connection, [at[each.customer_id, each.seq] for each in gone])
    await pruning.keep_since(connection, pruning.CONTACTS, before_us)
    await openings.save(connection, labels, opened)
    await store.save_accounts(connection, labels, changed)
    return deleted, len(ids) - len(free)


def _end_us(message: Message) -> int:
    """When the contact had ended: a late one, when it was confirmed."""
    contact = message.contact()
    return message.end_us if contact is None else contact.end_us


def _opened(opening: Account, gone: Iterable[Message]) -> Account:
    """The opening, with these contacts in it too."""
    for each in gone:
        opening.seq = max(opening.seq, each.seq)
        opening.latest_us = max(opening.latest_us, each.at_us)
        opening.complete_since_us = max(opening.complete_since_us, each.end_us + 1)
        contact = each.contact()
        if contact is not None:
            opening.let_go(contact)
    return opening
