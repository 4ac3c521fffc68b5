"""Refusals that other teams caused: a sample of each hour's refusals by budgets, asked again of the asker's contacts.

An hour is looked at once it is closed and counted for good: a transaction each, under the lock of whoever counts, so
that a round may break off anywhere. The rules are those of the refusal's own ruleset; the customer's attributes and
variants are read as they are now, and a refusal that they do not explain is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.core.account import Contact
from engine.core.crowding import Crowded, Sent, crowded
from engine.core.customer import Customer
from engine.core.policy import DAY_US, HOUR_US
from engine.core.rules import Rules
from engine.core.treatments import rules_for
from engine.core.verdict import Ask
from engine.operations import hours
from engine.operations.rulebook import Rulebook
from engine.store import accounts, hourly, journal_rows
from engine.store import crowding as store
from engine.store.columns import Texts
from engine.store.crowding import Found
from engine.store.customers import customer_of
from engine.store.database import Connection, Database
from engine.store.exchange import exchange
from engine.store.journal import Message, Refusal, Resolution
from engine.store.labels import Labels

FIRST_DAYS: Final = 28
AT_ONCE: Final = 100  # refusals of an hour that are looked at
HOURS_A_ROUND: Final = 60
_CLOSED_US: Final = HOUR_US + hours.MARGIN_US  # after its beginning an hour is not counted anew any more


class Round(NamedTuple):
    """What a round did: refusals looked at, and whether hours are left."""

    looked_at: int
    is_behind: bool


async def look(database: Database, most: int = HOURS_A_ROUND) -> Round:
    """Look at the hours that were closed since the last round, `most` of those in which budgets refused anything."""
    labels, rulebook = Labels(database), Rulebook()
    looked_at = 0
    for _ in range(most):
        async with database.transaction() as connection:
            if not await hourly.alone(connection):
                return Round(looked_at, is_behind=True)
            counted_us = await hourly.until_us(connection, hourly.ASKS) or 0
            end_us = hours.hour_of(counted_us - _CLOSED_US) + HOUR_US
            begin_us = await hourly.until_us(connection, hourly.CROWDING) or end_us - FIRST_DAYS * DAY_US
            found = await store.hours(connection, begin_us, end_us, 1)
            if not found:
                if end_us > begin_us:
                    await hourly.reach(connection, hourly.CROWDING, end_us)
                return Round(looked_at, is_behind=False)
            ((hour_us, messages),) = found
            looked_at += await _hour(connection, labels, rulebook, hour_us, messages)
            await hourly.reach(connection, hourly.CROWDING, hour_us + HOUR_US)
    return Round(looked_at, is_behind=True)


async def _hour(connection: Connection, labels: Labels, rulebook: Rulebook, hour_us: int, messages: int) -> int:
    """Look at one hour; at how many of its refusals."""
    await labels.load(connection)
    refusals = await store.sample(connection, labels, hour_us, AT_ONCE)
    rules = {number: await rulebook.rules(connection, number) for number in {each.ruleset for each in refusals}}
    ids = sorted({each.customer_id for each in refusals})
    customers = await _customers(connection, labels, ids)
    since_us = hour_us - max((each.longest_us for each in rules.values()), default=0)
    histories = await _histories(connection, labels, ids, since_us)
    found: Counter[Found] = Counter()
    for each in refusals:
        why = _why(rules[each.ruleset], customers[each.customer_id], histories[each.customer_id], each)
        if why is not None:
            rule = each.reasons[0][1]
            found[Found(each.channel, each.topic, _party(each), why.filler, rule, why.is_others)] += 1
    if found:
        await store.keep(connection, labels, hour_us, found, messages / found.total())
    return found.total()


def _why(rules: Rules, customer: Customer, history: Iterable[Message], refusal: Refusal) -> Crowded | None:
    sent = [
        Sent(contact, _party(each))
        for each in history
        if each.seq < refusal.seq and (contact := _as_of(each, refusal.at_us)) is not None
    ]
    ask = Ask(
        refusal.channel,
        refusal.topic,
        refusal.campaign,
        refusal.team,
        refusal.priority,
        refusal.weight,
        refusal.start_us if refusal.send_at_given else None,
        refusal.end_us - refusal.start_us,
    )
    own = rules_for(rules, refusal.customer_id, customer, refusal.at_us)
    return crowded(own, customer, sent, ask, _party(refusal), refusal.reasons[0][1], refusal.at_us)


def _party(entry: Message | Refusal) -> str | None:
    return entry.team or entry.sender


def _as_of(message: Message, at_us: int) -> Contact | None:
    """What of a contact occupied budgets at an instant: what became of it later had not happened yet."""
    is_later = message.resolution is not Resolution.MARKED and message.resolved_us > at_us
    return (message._replace(resolution=None) if is_later else message).contact()


async def _customers(connection: Connection, labels: Labels, ids: Sequence[str]) -> dict[str, Customer]:
    (rows,) = await exchange(connection, (accounts.READ, (Texts(ids),)))
    read = await labels.known(connection, lambda: [accounts.read_of(row, labels) for row in rows])
    return {each.customer_id: customer_of(each.texts) for each in read}


async def _histories(
    connection: Connection, labels: Labels, ids: Sequence[str], since_us: int
) -> defaultdict[str, list[Message]]:
    rows = await journal_rows.history(connection, ids, since_us)
    found: defaultdict[str, list[Message]] = defaultdict(list)
    for each in await labels.known(connection, lambda: [journal_rows.message_of(row, labels) for row in rows]):
        found[each.customer_id].append(each)
    return found
