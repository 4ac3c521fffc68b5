"""How full customers' budgets are: a sample of accounts read as decisions read them, and what that comes to.

Nothing is locked, and no transaction outlasts a few customers: what it says is of about now.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from engine.core.account import Account
from engine.core.customer import Customer
from engine.core.decision import needs_since_us
from engine.core.levels import FORGOTTEN_DAYS, Level, levels
from engine.core.policy import DAY_US
from engine.core.rules import Rules
from engine.core.standing import probes, standings
from engine.core.treatments import rules_for
from engine.operations.rulebook import Rulebook
from engine.store import accounts, hourly, journal_rows, policies
from engine.store import levels as store
from engine.store.accounts import AccountRead
from engine.store.columns import Texts
from engine.store.customers import customer_of
from engine.store.database import Connection, Database, clock_us
from engine.store.exchange import exchange
from engine.store.journal import Message
from engine.store.labels import Labels
from engine.store.levels import Levels

SAMPLE_MOST: Final = 5_000
_AT_ONCE: Final = 250


async def measure(database: Database) -> int:
    """Keep how full the budgets of the policy in force are; of how many customers. Of none where there is nothing."""
    labels, rulebook = Labels(database), Rulebook()
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = on")
        number = await policies.newest_number(connection)
        if number is None:
            return 0
        rules = await rulebook.rules(connection, number)
        await labels.load(connection)
        sampled = await store.sample(connection, SAMPLE_MOST)
    budgets = [each.name for each in rules.policy.budgets]
    counts: dict[str, Counter[Level]] = {each: Counter() for each in budgets}
    for first in range(0, len(sampled.ids), _AT_ONCE):
        async with database.transaction() as connection:
            await _count(connection, labels, rules, sampled.ids[first : first + _AT_ONCE], counts)
    is_shadow = {each.name: each.shadow for each in rules.policy.budgets}
    found = [
        Levels(name, is_shadow[name], sampled.customers, *(counts[name][each] for each in Level)) for name in budgets
    ]
    async with database.transaction() as connection:
        if await hourly.alone(connection):
            await store.keep(connection, await clock_us(connection), found if sampled.ids else [])
    return len(sampled.ids)


async def _count(
    connection: Connection, labels: Labels, rules: Rules, ids: Sequence[str], counts: dict[str, Counter[Level]]
) -> None:
    (rows,) = await exchange(connection, (accounts.READ, (Texts(ids),)))
    read = await labels.known(connection, lambda: [accounts.read_of(row, labels) for row in rows])
    clock = await clock_us(connection)
    contacted = await _contacted(connection, labels, read, clock - FORGOTTEN_DAYS * DAY_US, clock)
    for customer_id, account, texts in read:
        customer, now_us = customer_of(texts), max(clock, account.latest_us)
        own = rules_for(rules, customer_id, customer, now_us)
        await _recall(connection, labels, own, customer_id, customer, account, now_us)
        lines = standings(own, customer, account, now_us)
        for name, level in levels(counts, lines, is_forgotten=customer_id not in contacted).items():
            counts[name][level] += 1


async def _contacted(
    connection: Connection, labels: Labels, read: Sequence[AccountRead], since_us: int, now_us: int
) -> set[str]:
    """Who had a contact since an instant: by the account, or else by the journal, which alone has exempt ones."""
    found = {
        each.customer_id
        for each in read
        if any(one.start_us >= since_us and not one.has_expired(now_us) for one in each.account.contacts)
    }
    rest = [each.customer_id for each in read if each.customer_id not in found]
    for message in await _history(connection, labels, rest, since_us):
        contact = message.contact()
        if contact is not None and contact.start_us >= since_us and not contact.has_expired(now_us):
            found.add(message.customer_id)
    return found


async def _recall(
    connection: Connection,
    labels: Labels,
    rules: Rules,
    customer_id: str,
    customer: Customer,
    account: Account,
    now_us: int,
) -> None:
    """Bring back from the journal what an account has let go and a budget must know; seldom anything."""
    if account.complete_since_us <= now_us - rules.longest_us - DAY_US:
        return
    needed_us = min((needs_since_us(rules, customer, ask, now_us) for ask in probes(rules, account)), default=now_us)
    if needed_us < account.complete_since_us:
        messages = await _history(connection, labels, [customer_id], needed_us - journal_rows.MEMORY_US - DAY_US)
        contacts = [contact for each in messages if (contact := each.contact()) is not None]
        account.recall(
            [each for each in contacts if not each.is_open(now_us) and not each.has_expired(now_us)], needed_us
        )


async def _history(connection: Connection, labels: Labels, ids: Sequence[str], since_us: int) -> list[Message]:
    rows = await journal_rows.history(connection, ids, since_us) if ids else []
    return await labels.known(connection, lambda: [journal_rows.message_of(row, labels) for row in rows])
