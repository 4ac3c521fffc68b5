"""A customer's journal, newest first: what "why was I not contacted?" is answered from; and what they did meanwhile."""

from typing import Any, NamedTuple

from engine.core.events import EventType
from engine.store.database import Connection
from engine.store.journal import Change, Changed, Entry, Resolution, Resolved
from engine.store.journal_rows import MESSAGE_COLUMNS, REFUSAL_COLUMNS, message_of, refusal_of
from engine.store.labels import Labels

_NEWEST = "WHERE customer_id = %s AND seq < %s ORDER BY seq DESC LIMIT %s"
_MESSAGES = f"SELECT {MESSAGE_COLUMNS}, NULL, NULL FROM journal j {_NEWEST}".encode()
_REFUSALS = f"SELECT {REFUSAL_COLUMNS} FROM refusals {_NEWEST}".encode()
_RESOLUTIONS = f"SELECT customer_id, contact_seq, seq, at_us, end_us, kind FROM resolutions {_NEWEST}".encode()
_CHANGES = f"SELECT customer_id, seq, at_us, kind, data FROM changes {_NEWEST}".encode()
_LAST = 2**31 - 1
_DONE = b"""
SELECT e.at_us, k.name, s.name, c.name, t.name, e.message_id, e.value, e.flags FROM events e
JOIN labels k ON k.number = e.kind JOIN labels s ON s.number = e.source
LEFT JOIN labels c ON c.number = e.channel LEFT JOIN labels t ON t.number = e.topic
WHERE e.customer_id = %s AND e.at_us >= %s AND e.at_us < %s AND NOT k.name = ANY(%s)
ORDER BY e.at_us DESC, e.event_key LIMIT %s
"""
_TOLD_BY_THE_JOURNAL = [EventType.SENT, EventType.DELIVERED, EventType.REACHABLE, EventType.UNREACHABLE]


class Done(NamedTuple):
    """Something that a customer did, as `source` told it. `flags` are `core.events.Flag`."""

    at_us: int
    type: str
    source: str
    channel: str | None
    topic: str | None
    message_id: str | None
    value: float | None
    flags: int


async def newest_entries(
    connection: Connection, labels: Labels, customer_id: str, before_seq: int | None, limit: int
) -> list[Entry]:
    """Up to `limit` entries older than `before_seq`, each as it was written."""
    parameters = (customer_id, _LAST if before_seq is None else before_seq, limit)
    queries = (_MESSAGES, _REFUSALS, _RESOLUTIONS, _CHANGES)
    rows: list[list[Any]] = [await (await connection.execute(each, parameters)).fetchall() for each in queries]

    def entries() -> list[Entry]:
        return [
            *(message_of(row, labels) for row in rows[0]),
            *(refusal_of(row, labels) for row in rows[1]),
            *(Resolved._make((*row[:5], Resolution(row[5]))) for row in rows[2]),
            *(Changed._make((*row[:3], Change(row[3]), row[4])) for row in rows[3]),
        ]

    return sorted(await labels.known(connection, entries), key=lambda each: -each.seq)[:limit]


async def done_between(connection: Connection, customer_id: str, from_us: int, until_us: int, limit: int) -> list[Done]:
    """Up to `limit` events, the newest first, but for those that the journal tells itself: that a message was sent, and
    what follows for reach."""
    parameters = (customer_id, from_us, until_us, [each.value for each in _TOLD_BY_THE_JOURNAL], limit)
    return [Done._make(row) for row in await (await connection.execute(_DONE, parameters)).fetchall()]
