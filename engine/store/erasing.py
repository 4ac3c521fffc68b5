"""The statements of an erasure. The caller holds the locks of the accounts, and is `identities.ALONE`.

What readouts need of somebody who was in an experiment stays under a random id: who goes leaves no hole in a variant.
Such an id begins with a character that no customer's may have, so that nobody takes one for the other.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from engine.core.customer import Address
from engine.core.events import TAKT_SOURCE, EventType
from engine.core.suppression import Scope, Suppression
from engine.store import addresses, totals
from engine.store.addresses import Link
from engine.store.columns import Byteas, Int2s
from engine.store.customers import addresses_of
from engine.store.database import Connection, Row
from engine.store.exchange import exchange
from engine.store.labels import Labels

ANONYMOUS: Final = "\x01"
AFTER_ANONYMOUS: Final = "\x02"  # all customers' ids sort after it
FEW: Final = 10  # a segment of fewer others would point at who was erased
TABLES: Final = (
    "journal",  # ahead of customers, which say who goes by another name
    "refusals",
    "resolutions",
    "changes",
    "events",
    "exposures",
    "customers",
    "accounts",
    "openings",
)

_EXPOSED = (
    "SELECT e.experiment, x.plan FROM exposures e JOIN experiments x ON x.number = e.experiment"
    " WHERE e.customer_id = %s AND e.eligible_us IS NOT NULL ORDER BY 1"
)
_EXPOSURES = f"""
UPDATE exposures e SET customer_id = %(anonymous)s, segments = (
    SELECT jsonb_object_agg(s.key, s.value) FROM jsonb_each(e.segments) s WHERE {FEW} <= (
        SELECT count(*) FROM (SELECT FROM exposures o WHERE o.experiment = e.experiment
            AND o.customer_id <> e.customer_id AND o.segments->s.key = s.value LIMIT {FEW}) others))
WHERE e.customer_id = %(id)s
"""
_EVENTS = """
UPDATE events e SET customer_id = %(anonymous)s, event_key = n.number, event_id = n.number::text, source = %(source)s,
    received_us = e.at_us, message_key = 0, message_id = NULL, topic = 0, campaign = 0, properties = (
        SELECT jsonb_object_agg(p.key, p.value) FROM jsonb_each(e.properties) p
        WHERE p.key = ANY(%(fields)s) AND jsonb_typeof(p.value) = 'number')
FROM (SELECT event_key, row_number() OVER (ORDER BY at_us, event_key) AS number FROM events
    WHERE customer_id = %(id)s) n
WHERE e.customer_id = %(id)s AND e.event_key = n.event_key
"""
_LEFT = """
INSERT INTO events (at_us, received_us, event_key, message_key, kind, source, topic, campaign, channel, flags,
    customer_id, event_id) VALUES (%(at)s, %(at)s, 0, 0, %(kind)s, %(source)s, 0, 0, 0, 0, %(anonymous)s, '0')
"""
# Readouts count a message once that was refused again and again, so messages stay apart, by a number.
_NUMBERED = """
UPDATE {table} t SET customer_id = %(anonymous)s,
    message_id = CASE t.message_id WHEN '' THEN '' ELSE 'm' || n.number END,
    topic = 0, campaign = 0, team = 0, sender = 0, reasons = NULL{more}
FROM (SELECT seq, dense_rank() OVER (ORDER BY min) AS number FROM (
    SELECT seq, min(seq) OVER (PARTITION BY message_id) AS min FROM {table} WHERE customer_id = %(id)s) firsts) n
WHERE t.customer_id = %(id)s AND t.seq = n.seq
"""
_CONTACTS = _NUMBERED.format(table="journal", more=", message_key = 0, uncharged = NULL")
_REFUSALS = _NUMBERED.format(table="refusals", more="")
_RESOLUTIONS = "UPDATE resolutions SET customer_id = %(anonymous)s WHERE customer_id = %(id)s"
_ZONE = (
    "INSERT INTO customers (customer_id, time_zone) SELECT %(anonymous)s, time_zone FROM customers"
    " WHERE customer_id = %(id)s"
)
_UNIT = "INSERT INTO holdout_units (unit, experiment, is_held, is_treated) VALUES (%s, %s, %s, %s)"
_ERASED = (
    "INSERT INTO erased (erased_us, digest) SELECT %s, unnest(%s::bytea[]) ON CONFLICT (digest) DO NOTHING"
    " RETURNING digest"
)
_SHARED = (
    "SELECT DISTINCT channel, address FROM addresses a JOIN unnest(%b, %b) AS wanted(channel, address)"
    " USING (channel, address)"
)
_UNRESOLVED = (
    "DELETE FROM unresolved_events u USING unnest(%b, %b) AS gone(channel, address)"
    " WHERE u.address = gone.address AND u.channel = gone.channel"
)
_NAMED = "SELECT key FROM experiments WHERE plan->'testers' ?| %s::text[] ORDER BY key"


_COUNTED: Final = {"journal": totals.contacts, "refusals": totals.refusals, "events": totals.events}


class Unit(NamedTuple):
    """How somebody is read with a holdout: on which side, and whether as one who had lived under another variant before
    the ship, or was a tester."""

    is_held: bool
    is_treated: bool


class Deleted(NamedTuple):
    """How many rows went."""

    contacts: int
    refusals: int
    events: int


async def exposed(connection: Connection, customer_id: str) -> list[Row]:
    """The experiments that readouts analyse the customer in: number and plan."""
    return await (await connection.execute(_EXPOSED, (customer_id,))).fetchall()


async def anonymise(
    connection: Connection,
    labels: Labels,
    customer_id: str,
    fields: Sequence[str],
    at_us: int,
    units: Mapping[int, Unit],
) -> None:
    """Put what readouts need under a random id, without labels, ids and properties other than numbers in `fields`.

    `labels` knows those of Takt's own events. `units`: of the holdouts that the customer is read in, by experiment,
    what the random id does not tell.
    """
    anonymous = ANONYMOUS + secrets.token_hex(16)
    given = {
        "id": customer_id,
        "anonymous": anonymous,
        "at": at_us,
        "kind": labels.number(EventType.ERASED),
        "source": labels.number(TAKT_SOURCE),
        "fields": list(fields),
    }
    for statement in (_EXPOSURES, _EVENTS, _LEFT, _CONTACTS, _REFUSALS, _RESOLUTIONS, _ZONE):
        await connection.execute(statement.encode(), given)
    for experiment, unit in units.items():
        await connection.execute(_UNIT, (anonymous, experiment, *unit))


async def delete(connection: Connection, customer_ids: Sequence[str]) -> Deleted:
    """Delete whatever is on file under these ids, and count it among the totals, as pruning does."""
    ids = list(customer_ids)
    gone: dict[str, int] = {}
    for table in TABLES:
        delete = f"DELETE FROM {table} WHERE customer_id = ANY(%s)"
        if table not in _COUNTED:
            await connection.execute(delete.encode(), (ids,))
            continue
        statement = totals.moved(f"{delete} RETURNING *", _COUNTED[table]("gone"))
        row = await (await connection.execute(statement.encode(), (ids,))).fetchone()
        gone[table] = row[0] if row else 0
    return Deleted(gone["journal"], gone["refusals"], gone["events"])


async def remember(connection: Connection, digests: Sequence[bytes], at_us: int) -> bool:
    """Keep the digests of who was erased; whether any was news."""
    return (await connection.execute(_ERASED, (at_us, list(digests)))).rowcount > 0


async def let_go(connection: Connection, labels: Labels, links: Sequence[Link], fact: Suppression) -> None:
    """Unlink addresses and suppress those that nobody else has; events that wait for an owner of one go with it."""
    if not links:
        return
    wanted = sorted({each.address for each in links})
    pairs = _pairs(wanted, labels)
    *_, shared = await exchange(
        connection, *addresses.relinking(links, (), labels), (_UNRESOLVED, pairs), (_SHARED, pairs)
    )
    others = {Address(labels.name(channel), bytes(digest).hex()) for channel, digest in shared}
    told = [replace(fact, scope=Scope(each.channel), digest=each.digest) for each in wanted if each not in others]
    if told:
        await exchange(connection, *addresses.suppressing(told, labels))


async def named_in_plans(connection: Connection, customer_ids: Sequence[str]) -> list[str]:
    """The experiments whose plans hold one of these ids: testers, written there by hand."""
    return [row[0] for row in await (await connection.execute(_NAMED, (list(customer_ids),))).fetchall()]


async def links(connection: Connection, customer_ids: Sequence[str]) -> list[Link]:
    """The addresses of these customers."""
    query = "SELECT customer_id, addresses FROM customers WHERE customer_id = ANY(%s) AND addresses IS NOT NULL"
    rows = await (await connection.execute(query, (list(customer_ids),))).fetchall()
    return [Link(customer_id, each) for customer_id, listed in rows for each in addresses_of(listed)]


def _pairs(of: Sequence[Address], labels: Labels) -> tuple[Int2s, Byteas]:
    return Int2s(labels.number(each.channel) for each in of), Byteas(bytes.fromhex(each.digest) for each in of)
