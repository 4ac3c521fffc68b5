"""Addresses as keyed hashes: whose they are, which of them bounced or complained, and events that wait for an owner.

What is brought and what is linked meet without a lock: each side commits what it has and looks for the other's
afterwards, so of two that cross at least one sees both. Everything here may happen twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from engine.core.customer import Address
from engine.core.events import NO_PROPERTIES, Event
from engine.core.outcomes import address_fact
from engine.core.suppression import Scope, Suppression, SuppressionReason, fact
from engine.store.columns import Byteas, Int2s, Int8s, Texts
from engine.store.database import Connection
from engine.store.exchange import BEGIN, COMMIT, Call, exchange
from engine.store.identities import HOLD
from engine.store.labels import Labels

UNRESOLVED_AT_ONCE: Final = 1_000
_PAIRS = "unnest(%b, %b) AS wanted(channel, address)"
_OWNERS = f"SELECT a.channel, a.address, a.customer_id FROM {_PAIRS} JOIN addresses a USING (channel, address)"
_LINK = (
    "INSERT INTO addresses (channel, address, customer_id) SELECT * FROM unnest(%b, %b, %b)"
    " ON CONFLICT (address, channel, customer_id) DO NOTHING"
)
_UNLINK = (
    "DELETE FROM addresses a USING unnest(%b, %b, %b) AS gone(channel, address, id)"
    " WHERE a.address = gone.address AND a.channel = gone.channel AND a.customer_id = gone.id"
)
_FACTS = (
    f"SELECT s.channel, s.address, s.reason, s.at_us, s.source FROM {_PAIRS}"
    " JOIN suppressed_addresses s USING (channel, address)"
)
_SUPPRESS = (
    "INSERT INTO suppressed_addresses AS known (at_us, channel, address, reason, source)"
    " SELECT * FROM unnest(%b, %b, %b, %b, %b)"
    " ON CONFLICT (address, channel, reason) DO UPDATE"
    " SET at_us = EXCLUDED.at_us, source = EXCLUDED.source"
    ' WHERE (EXCLUDED.at_us, EXCLUDED.source COLLATE "C") > (known.at_us, known.source COLLATE "C")'
)
_SETTLE = (
    "UPDATE suppressed_addresses known SET at_us = settled.at_us FROM unnest(%b, %b, %b, %b, %b)"
    " AS settled(was_us, at_us, channel, address, reason) WHERE known.address = settled.address"
    " AND known.channel = settled.channel AND known.reason = settled.reason AND known.at_us = settled.was_us"
)
_KEEP = (
    "INSERT INTO unresolved_events (received_us, event_key, channel, address, data)"
    " SELECT takt_clock(), key, channel, address, data::jsonb"
    " FROM unnest(%b, %b, %b, %b) AS rows(key, channel, address, data)"
    " WHERE NOT EXISTS (SELECT FROM suppressed_addresses s WHERE s.address = rows.address"
    f" AND s.channel = rows.channel AND s.reason = '{SuppressionReason.ERASURE.value}')"
    " ON CONFLICT (address, channel, event_key) DO NOTHING RETURNING event_key, channel, address"
)
_WAITING = (
    f"SELECT u.channel, u.address, u.data FROM {_PAIRS} JOIN unresolved_events u USING (channel, address)"
    f" ORDER BY u.address, u.channel, u.event_key LIMIT {UNRESOLVED_AT_ONCE}"
)
_FORGET = (
    "DELETE FROM unresolved_events u USING unnest(%b, %b, %b) AS used(key, channel, address)"
    " WHERE u.address = used.address AND u.channel = used.channel AND u.event_key = used.key"
)


class Link(NamedTuple):
    """That an address is a customer's."""

    customer_id: str
    address: Address


def relinking(gone: Iterable[Link], new: Iterable[Link], labels: Labels) -> list[Call]:
    """What takes links away and makes others, in the transaction that changes the customers' files."""
    calls: list[Call] = []
    for statement, links in ((_UNLINK, sorted(set(gone))), (_LINK, sorted(set(new)))):
        if links:
            calls.append((statement, (*_pairs([each.address for each in links], labels), _ids(links))))
    return calls


async def owners(connection: Connection, addresses: Iterable[Address], labels: Labels) -> dict[Address, list[str]]:
    """The customers who have each of these addresses; an address that is nobody's is not among them."""
    wanted = sorted(set(addresses))
    if not wanted:
        return {}
    (rows,) = await exchange(connection, (_OWNERS, _pairs(wanted, labels)))
    found: dict[Address, list[str]] = {}
    for channel, digest, customer_id in sorted(rows):
        found.setdefault(_address(channel, digest, labels), []).append(customer_id)
    return found


async def facts(
    connection: Connection, addresses: Iterable[Address], labels: Labels
) -> dict[Address, list[Suppression]]:
    """What events have said of these addresses, for whoever has them."""
    wanted = sorted(set(addresses))
    if not wanted:
        return {}
    (rows,) = await exchange(connection, (_FACTS, _pairs(wanted, labels)))
    found: dict[Address, list[Suppression]] = {}
    for channel, digest, reason, at_us, source in sorted(rows):
        address = _address(channel, digest, labels)
        told = fact(Scope(address.channel), SuppressionReason(reason), at_us, source, address.digest)
        found.setdefault(address, []).append(told)
    return found


def suppressing(told: Iterable[Suppression], labels: Labels) -> list[Call]:
    """What notes facts about addresses, each with its channel and digest; the newest stands, in any order."""
    newest: dict[tuple[Address, str], Suppression] = {}
    for each in told:
        if each.scope.channel is not None and each.digest is not None:
            key = Address(each.scope.channel, each.digest), each.reason.value
            newest[key] = max(newest.get(key, each), each, key=lambda known: (known.at_us, known.source))
    if not newest:
        return []
    rows = sorted(newest.items())  # in one order: of two transactions neither waits for the other in turn
    channels, digests = _pairs([address for (address, _), _ in rows], labels)
    reasons, sources = Texts(reason for (_, reason), _ in rows), Texts(each.source for _, each in rows)
    return [(_SUPPRESS, (Int8s(each.at_us for _, each in rows), channels, digests, reasons, sources))]


def settling(facts: Iterable[tuple[Suppression, int]], labels: Labels) -> Call:
    """What dates facts about addresses anew: whoever is told of them again must not hear what was lifted. One that was
    told once more meanwhile stays."""
    rows = [(each, at_us, Address(each.scope.channel or "", each.digest or "")) for each, at_us in facts]
    was_us, now_us = Int8s(each.at_us for each, _, _ in rows), Int8s(at_us for _, at_us, _ in rows)
    reasons = Texts(each.reason.value for each, _, _ in rows)
    return _SETTLE, (was_us, now_us, *_pairs([address for _, _, address in rows], labels), reasons)


async def keep(connection: Connection, events: Iterable[Event], labels: Labels) -> set[tuple[Address, int]]:
    """Keep events whose address is nobody's yet, and note what those that are news say of it; their addresses and keys.

    Of two with the same address and key the first. Of an address whose owner was erased nothing is kept.
    """
    waiting: dict[tuple[Address, int], Event] = {}
    for each in events:
        waiting.setdefault((Address(each.channel or "", each.digest or ""), each.key), each)
    if not waiting:
        return set()
    rows = sorted(waiting.items(), key=lambda row: row[0])
    channels, digests = _pairs([address for (address, _), _ in rows], labels)
    data = Texts(orjson.dumps(_data(each)).decode() for _, each in rows)
    kept = _KEEP, (Int8s(key for (_, key), _ in rows), channels, digests, data)
    *_, found = await exchange(connection, BEGIN, *HOLD, kept)
    news = {(_address(channel, digest, labels), key) for key, channel, digest in found}
    told = [fact for each in news if (fact := address_fact(waiting[each])) is not None]
    await exchange(connection, *suppressing(told, labels), COMMIT)
    return news


async def waiting(connection: Connection, addresses: Iterable[Address], labels: Labels) -> list[Event]:
    """Some of the events that wait for an owner of these addresses, without a customer; none where none wait."""
    wanted = sorted(set(addresses))
    if not wanted:
        return []
    (rows,) = await exchange(connection, (_WAITING, _pairs(wanted, labels)))
    return [_event(_address(channel, digest, labels), data) for channel, digest, data in rows]


async def forget(connection: Connection, used: Sequence[Event], labels: Labels) -> None:
    """Let go of events that have come to their customers."""
    rows = sorted({(Address(each.channel or "", each.digest or ""), each.key) for each in used})
    if rows:
        pairs = _pairs([address for address, _ in rows], labels)
        await exchange(connection, (_FORGET, (Int8s(key for _, key in rows), *pairs)))


def _data(event: Event) -> dict[str, Any]:
    """All of an event but whose it is."""
    fields = event._asdict()
    del fields["customer_id"], fields["digest"], fields["channel"]
    return {name: value for name, value in fields.items() if value is not None} | {"properties": dict(event.properties)}


def _event(address: Address, data: Mapping[str, Any]) -> Event:
    properties = data["properties"] or NO_PROPERTIES
    given = {name: value for name, value in data.items() if name != "properties"}
    return Event("", **given, channel=address.channel, digest=address.digest, properties=properties)


def _pairs(addresses: Sequence[Address], labels: Labels) -> tuple[Int2s, Byteas]:
    channels = Int2s(labels.number(each.channel) for each in addresses)
    return channels, Byteas(bytes.fromhex(each.digest) for each in addresses)


def _address(channel: int, digest: bytes, labels: Labels) -> Address:
    return Address(labels.name(channel), bytes(digest).hex())


def _ids(links: Sequence[Link]) -> Texts:
    return Texts(each.customer_id for each in links)
