"""Events as rows: each once a customer by (source, id), whoever brings it and however often.

The key decides, so two processes that bring the same event keep one. What acts is looked up under the lock of its
customer's account (`KNOWN`), and kept together with what it does (`telling`); all else is just kept (`append`). Clicks
and unsubscribes that came too soon after their message are marked here, whichever of the two arrived first: whoever
brings either holds the customer's account lock (`marks`), so one sees the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

import orjson

from engine.core.account import Kind
from engine.core.events import TAKT_SOURCE, Event, EventType, Flag
from engine.core.outcomes import UNKNOWN_TOPIC, Outcomes
from engine.core.policy import DAY_US, Channel
from engine.store.columns import Column, Float8s, Int2s, Int4s, Int8s, Texts
from engine.store.customers import outcomes_of
from engine.store.database import Connection
from engine.store.exchange import Call, exchange
from engine.store.journal import MEMORY_US, Resolution, message_key
from engine.store.journal_rows import KIND, LATEST_RESOLUTION
from engine.store.labels import Labels

SOON_US: Final = 120_000_000
Key: TypeAlias = tuple[str, int]  # customer id and event key
_TOO_SOON: Final = (EventType.CLICKED, EventType.UNSUBSCRIBED)
_SENDS: Final = (EventType.SENT, EventType.DELIVERED)
MARKING_TYPES: Final = frozenset(each.value for each in (*_TOO_SOON, *_SENDS))
_BY_HAND_ALONE: Final = (Channel.PUSH, Channel.IN_APP)  # what an app shows no scanner of links ever sees
_LABELS: Final = tuple(each.value for each in (*_TOO_SOON, *_SENDS, *_BY_HAND_ALONE))

_KEPT_SINCE = "SELECT coalesce(max(since_us), 0) FROM kept_since WHERE name = 'events'"
_INSERT = (
    "INSERT INTO events (at_us, received_us, event_key, message_key, value, margin, kind, source, topic, campaign,"
    " channel, flags, customer_id, event_id, message_id, properties)"
    " SELECT least(at, now.us), now.us, key, message_key, value, margin, kind, source, topic, campaign, channel, flags,"
    " id, event_id, message_id, properties::jsonb FROM (SELECT takt_clock()) AS now(us),"
    " unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS rows(at, key, message_key, value, margin,"
    " kind, source, topic, campaign, channel, flags, id, event_id, message_id, properties)"
    f" WHERE rows.at >= ({_KEPT_SINCE})"  # before that all is counted already, and nothing tells what was told
)
_INSERT_NEWS = f"{_INSERT} ON CONFLICT (customer_id, event_key) DO NOTHING RETURNING customer_id, event_key"
# A click that its provider's clock puts a little before the send was no later than one after it. The key is of one
# customer's message already: written so, the comparison of ids costs no walk over all that a customer ever did.
_MARK = (
    f"UPDATE events e SET flags = e.flags | {int(Flag.SUSPECT_SOON)} FROM events s"
    " WHERE e.message_key = ANY(%b) AND e.message_key <> 0 AND e.kind = ANY(%b)"
    f" AND e.flags & {int(Flag.SUSPECT_SOON)} = 0"
    " AND s.message_key = e.message_key AND s.message_key <> 0 AND s.kind = ANY(%b)"
    f" AND e.at_us BETWEEN s.at_us - {SOON_US} AND s.at_us + {SOON_US}"
    " AND (s.customer_id = e.customer_id) IS TRUE AND e.channel <> ALL(%b) AND s.channel <> ALL(%b)"
)
_KIND: Final = KIND.replace("flags", "j.flags")
# Where no send is told, the journal says how late it can have been: a click soon after the ask came soon after the
# send, as did one soon after its confirm. Not before that: a confirm may come long after its send. A send that is told
# says more than a confirm, which may be its own arrival.
_MARK_ASKED = (
    f"UPDATE events e SET flags = e.flags | {int(Flag.SUSPECT_SOON)} FROM journal j{LATEST_RESOLUTION}"
    " WHERE j.customer_id = ANY(%b) AND j.message_key = ANY(%b)"
    f" AND j.at_us > (SELECT takt_clock()) - {MEMORY_US + DAY_US}::bigint AND {_KIND} <> {Kind.UNASKED:d}"
    " AND e.message_key = ANY(%b) AND e.message_key = j.message_key AND e.message_key <> 0 AND e.kind = ANY(%b)"
    f" AND e.flags & {int(Flag.SUSPECT_SOON)} = 0"
    f" AND (e.at_us BETWEEN j.start_us - {SOON_US} AND j.start_us + {SOON_US}"
    f" OR r.kind IN ({Resolution.CONFIRMED:d}, {Resolution.LATE:d})"
    f" AND e.at_us BETWEEN r.end_us AND r.end_us + {SOON_US} AND NOT EXISTS (SELECT FROM events s"
    " WHERE s.message_key = e.message_key AND s.message_key <> 0 AND s.kind = ANY(%b)"
    " AND (s.customer_id = e.customer_id) IS TRUE))"
    " AND (j.customer_id = e.customer_id) IS TRUE AND e.channel <> ALL(%b) AND j.channel <> ALL(%b)"
)
KNOWN = (  # which of these (customer_id, event_key) are kept already
    "SELECT e.customer_id, e.event_key FROM unnest(%b, %b) AS rows(id, key)"
    " JOIN events e ON e.customer_id = rows.id AND e.event_key = rows.key"
)
CHOSEN = (  # how much these customers chose on their own pages within 24 hours
    "SELECT e.customer_id, count(*) FROM (SELECT takt_clock()) AS now(us), events e WHERE e.customer_id = ANY(%b)"
    f" AND e.received_us > now.us - {DAY_US} AND e.event_id ~ '^(choice|one-click):'"
    f" AND e.source = (SELECT number FROM labels WHERE name = '{TAKT_SOURCE}') GROUP BY 1"
)
_HEARD = (
    "SELECT c.customer_id, c.outcomes::text FROM customers c WHERE c.customer_id = ANY(%b) AND c.outcomes IS NOT NULL"
)


def marks(event: Event) -> bool:
    """Whether it can make another suspect, or be made so: then it is brought under the lock of its account."""
    return event.message_id is not None and event.type in MARKING_TYPES


def labels_of(events: Iterable[Event]) -> set[str | None]:
    """The labels that rows of events name; they are interned before the transaction."""
    found: set[str | None] = {*_LABELS, UNKNOWN_TOPIC}
    for each in events:
        found.update((each.type, each.source, each.channel, each.topic, each.campaign))
    return found


def keyed(events: Iterable[Event]) -> dict[Key, Event]:
    """Events by what makes each itself; of two that say they are the same the first."""
    found: dict[Key, Event] = {}
    for each in events:
        found.setdefault((each.customer_id, each.key), each)
    return found


def telling(events: Mapping[Key, Event], labels: Labels) -> list[Call]:
    """What keeps events that were not kept when they were looked up, and marks what is suspect by them.

    It fails, and with it whatever they did, where somebody without the lock has kept another under such a key since.
    """
    return _appending(_INSERT, events, labels)


async def kept_since_us(connection: Connection) -> int:
    """From when on events are kept: those of before were let go of. 0 where none ever was."""
    (rows,) = await exchange(connection, (_KEPT_SINCE, ()))
    return rows[0][0]


async def append(connection: Connection, events: Mapping[Key, Event], labels: Labels) -> set[Key]:
    """Keep events that are not kept yet, by themselves; returns the keys of those that were news."""
    rows = (await exchange(connection, *_appending(_INSERT_NEWS, events, labels)))[0]
    return {(row[0], row[1]) for row in rows}


def _appending(statement: str, events: Mapping[Key, Event], labels: Labels) -> list[Call]:
    # In the order of the key: two that bring the same events wait for each other in one order only.
    rows = sorted(events.items(), key=itemgetter(0))
    calls: list[Call] = [(statement, _rows(rows, labels))]
    marking = [each for _, each in rows if marks(each)]
    if marking:
        number = labels.number
        soon, by_hand = Int4s(map(number, _TOO_SOON)), Int2s(map(number, _BY_HAND_ALONE))
        sends = Int4s(map(number, _SENDS))
        calls.append((_MARK, (_keys(marking), soon, sends, by_hand, by_hand)))
        done = [each for each in marking if each.type in _TOO_SOON]
        if done:
            ids, keys = Texts(sorted({each.customer_id for each in done})), _keys(done)
            calls.append((_MARK_ASKED, (ids, keys, keys, soon, sends, by_hand, by_hand)))
    return calls


def _keys(events: Iterable[Event]) -> Int8s:
    return Int8s(sorted({message_key(each.customer_id, each.message_id or "") for each in events}))


async def move(connection: Connection, of: str, to: str) -> int:
    """Make a customer's events another's, but for those that the other has too; how many. Both accounts are locked."""
    twice = "DELETE FROM events e USING events k WHERE e.customer_id = %s AND k.customer_id = %s"
    await connection.execute(f"{twice} AND k.event_key = e.event_key".encode(), (of, to))
    query = "SELECT DISTINCT message_id FROM events WHERE customer_id = %s AND message_id IS NOT NULL"
    ids = [row[0] for row in await (await connection.execute(query, (of,))).fetchall()]
    cursor = await connection.execute(
        "UPDATE events e SET customer_id = %s, message_key = coalesce((SELECT m.key"
        " FROM unnest(%s::text[], %s::bigint[]) AS m(id, key) WHERE m.id = e.message_id), 0) WHERE e.customer_id = %s",
        (to, ids, [message_key(to, each) for each in ids], of),
    )
    return cursor.rowcount


async def heard(connection: Connection, customer_ids: Iterable[str]) -> dict[str, Outcomes]:
    """What events have told of customers so far, as of now and without a lock; of some there is nothing."""
    listed = list(customer_ids)
    if not listed:
        return {}
    (rows,) = await exchange(connection, (_HEARD, (Texts(listed),)))
    return {customer_id: _outcomes(text) for customer_id, text in rows}


@lru_cache(maxsize=20_000)  # most customers who are about were seen today, and nothing else is known of them
def _outcomes(text: str) -> Outcomes:
    return outcomes_of(orjson.loads(text))


def _rows(rows: Sequence[tuple[Key, Event]], labels: Labels) -> tuple[Column, ...]:
    (ids, sources, event_ids, kinds, ats, channels, topics, campaigns, message_ids, values, margins, flags) = zip(
        *(event[:12] for _, event in rows), strict=True
    )
    number = labels.number
    return (
        Int8s(ats),
        Int8s(key for (_, key), _ in rows),
        Int8s([0 if id_ is None else message_key(of, id_) for of, id_ in zip(ids, message_ids, strict=True)]),
        Float8s(values),
        Float8s(margins),
        Int4s(map(number, kinds)),
        _kept(sources, labels),
        _kept(topics, labels),
        _kept(campaigns, labels),
        Int2s(map(number, channels)),
        Int2s(flags),
        Texts(ids),
        Texts(event_ids),
        Texts(message_ids),
        Texts(_json(event.properties) for _, event in rows),
    )


def _kept(names: Sequence[str | None], labels: Labels) -> Int4s:
    """Their numbers; that of "unknown" for what there was no room for."""
    try:
        return Int4s(map(labels.number, names))
    except KeyError:
        missing = labels.missing(names)
        return Int4s(labels.number(UNKNOWN_TOPIC if each in missing else each) for each in names)


def _json(properties: Any) -> str | None:
    return orjson.dumps(dict(properties)).decode() if properties else None
