"""What has become of messages by now, many at a time: read without a lock, and nothing written."""

from collections.abc import Sequence

from engine.core.account import State
from engine.store.columns import Int8s, Texts
from engine.store.database import Connection, clock_us
from engine.store.exchange import exchange
from engine.store.identities import survivors
from engine.store.journal import Message, message_key
from engine.store.journal_rows import FIND_MESSAGES, message_of
from engine.store.labels import Labels

_LATEST = "SELECT customer_id, latest_us FROM accounts WHERE customer_id = ANY(%b)"


async def states(connection: Connection, labels: Labels, wanted: Sequence[tuple[str, str]]) -> list[State | None]:
    """The present states of messages, given as (customer id, message id), in order; of several attempts the newest's.

    None where no contact was made under that id within the last 16 days.
    """
    if not wanted:
        return []
    merged = await survivors(connection, {customer_id for customer_id, _ in wanted})
    wanted = [(merged.get(customer_id, customer_id), message_id) for customer_id, message_id in wanted]
    ids = Texts(customer_id for customer_id, _ in wanted)
    (rows,) = await exchange(connection, (FIND_MESSAGES, (ids, Int8s(message_key(*each) for each in wanted))))
    cursor = await connection.execute(_LATEST, (ids,))
    latest_us: dict[str, int] = {row[0]: row[1] for row in await cursor.fetchall()}
    now_us = await clock_us(connection)
    found: dict[tuple[str, str], Message] = {}
    for message in await labels.known(connection, lambda: [message_of(row, labels) for row in rows]):
        key = message.customer_id, message.message_id
        known = found.get(key)
        if known is None or known.attempt < message.attempt:
            found[key] = message
    return [
        message.state(max(now_us, latest_us.get(message.customer_id, 0))) if (message := found.get(key)) else None
        for key in wanted
    ]
