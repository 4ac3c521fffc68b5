"""The journal's entries as rows: how they are appended, found again, and read in a customer's order."""

import json
import struct
from collections.abc import Iterable, Iterator, Sequence

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from engine.core.account import Kind, Lease
from engine.core.policy import DAY_US
from engine.core.verdict import Code, Verdict
from engine.store.columns import Byteas, Column, Int2s, Int4s, Int8s, Texts
from engine.store.database import Connection
from engine.store.exchange import Call
from engine.store.journal import (
    MEMORY_US,
    Changed,
    Entry,
    Message,
    Refusal,
    Resolution,
    Resolved,
    message_key,
)
from engine.store.labels import Labels

CODES: tuple[Code, ...] = tuple(Code)
CODE_NUMBERS = {code: number for number, code in enumerate(CODES)}
_VERDICTS: tuple[Verdict | None, ...] = (None, Verdict.ALLOW, Verdict.DEFER, Verdict.DENY)
_VERDICT_NUMBERS = {verdict: number for number, verdict in enumerate(_VERDICTS)}
_KINDS: tuple[Kind, ...] = tuple(Kind)
_LEASES: tuple[Lease, ...] = tuple(Lease)
_REASON = struct.Struct("<BI")
_LABEL = struct.Struct("<I")

_COUNTS, _UNDER_CEILING, _SEND_AT, _CHECKED, _CERTAIN = 0x10, 0x20, 0x40, 0x800, 0x1000
_OBSERVED_SHIFT, _VERDICT_SHIFT = 7, 9
LEASE_BITS = 3  # of the flags, an `account.Lease`
IS_CHECKED = f"flags & {_CHECKED} <> 0"  # of the table `refusals`
VERDICT = f"(flags >> {_VERDICT_SHIFT} & 3)"  # of the table `refusals`, by these numbers
OBSERVED = f"(flags >> {_OBSERVED_SHIFT} & 3)"  # of either table; 0 where the policy was enforced
ALLOW, DEFER, DENY = (_VERDICT_NUMBERS[each] for each in (Verdict.ALLOW, Verdict.DEFER, Verdict.DENY))
KIND = "(flags >> 2 & 3)"  # of the table `journal`, an `account.Kind`
# Of the table `refusals`: what was refused, or would have been; not what was merely checked and allowed.
WAS_REFUSED = f"flags >> {_VERDICT_SHIFT} & 3 <> {_VERDICT_NUMBERS[Verdict.ALLOW]}"

# What contacts and refusals have in common: who was asked about what, and under which rules it was decided.
_ASKED = (
    *("customer_id", "message_id", "attempt", "seq", "at_us", "start_us", "end_us", "channel", "topic", "campaign"),
    *("team", "sender", "weight", "priority", "flags", "ruleset", "reasons"),
)
MESSAGE_COLUMNS = ", ".join(f"j.{each}" for each in (*_ASKED, "uncharged"))
REFUSAL_COLUMNS = ", ".join((*_ASKED, "retry_at_us"))
LATEST_RESOLUTION = (
    " LEFT JOIN LATERAL (SELECT kind, end_us FROM resolutions WHERE customer_id = j.customer_id"
    " AND contact_seq = j.seq AND at_us >= j.at_us ORDER BY seq DESC LIMIT 1) r ON true"
)
# Customers and keys as two lists, not as pairs: one scan of each week's index takes half the time of a look-up a pair.
# A key is of one customer's message, so no row comes that was not asked for.
FIND_OLD_MESSAGES = (  # however long ago they were asked or recorded: every week is searched
    f"SELECT {MESSAGE_COLUMNS}, r.kind, r.end_us FROM journal j{LATEST_RESOLUTION}"
    " WHERE j.customer_id = ANY(%b) AND j.message_key = ANY(%b)"
)
FIND_MESSAGES = f"{FIND_OLD_MESSAGES} AND j.at_us > (SELECT takt_clock()) - {MEMORY_US + DAY_US}::bigint"
_HISTORY = (
    f"SELECT {MESSAGE_COLUMNS}, r.kind, r.end_us FROM journal j{LATEST_RESOLUTION}"
    " WHERE j.customer_id = ANY(%s) AND j.at_us >= %s"
    " ORDER BY j.customer_id, j.seq"
).encode()
_NAMES, _VALUES = ", ".join(_ASKED), ", ".join("%b" for _ in _ASKED)
_APPEND_MESSAGES = f"INSERT INTO journal ({_NAMES}, uncharged, message_key) SELECT * FROM unnest({_VALUES}, %b, %b)"
_APPEND_REFUSALS = f"INSERT INTO refusals ({_NAMES}, retry_at_us) SELECT * FROM unnest({_VALUES}, %b)"
_APPEND_RESOLUTIONS = (
    "INSERT INTO resolutions (at_us, end_us, seq, contact_seq, kind, customer_id)"
    " SELECT * FROM unnest(%b, %b, %b, %b, %b, %b)"
)
_APPEND_CHANGES = (
    "INSERT INTO changes (at_us, seq, kind, customer_id, data)"
    " SELECT at, seq, kind, id, data::jsonb FROM unnest(%b, %b, %b, %b, %b) AS rows(at, seq, kind, id, data)"
)


def appending(entries: Iterable[Entry], labels: Labels) -> list[Call]:
    """What appends entries, each kind in one statement. Their labels are known already."""
    messages: list[Message] = []
    refusals: list[Refusal] = []
    resolved: list[Resolved] = []
    changed: list[Changed] = []
    for entry in entries:
        match entry:
            case Message():
                messages.append(entry)
            case Refusal():
                refusals.append(entry)
            case Resolved():
                resolved.append(entry)
            case Changed():
                changed.append(entry)
    calls: list[Call] = []
    if messages:
        calls.append((_APPEND_MESSAGES, _message_columns(messages, labels)))
    if refusals:
        calls.append((_APPEND_REFUSALS, _refusal_columns(refusals, labels)))
    if resolved:
        calls.append((_APPEND_RESOLUTIONS, _resolution_columns(resolved)))
    if changed:
        calls.append((_APPEND_CHANGES, _change_columns(changed)))
    return calls


def rules_named(entries: Iterable[Entry]) -> Iterator[str]:
    """The rules that entries name: labels too, known only once a decision has been made."""
    for entry in entries:
        if isinstance(entry, Message | Refusal):
            for _, rule in entry.reasons:
                yield rule
            if isinstance(entry, Message):
                yield from entry.uncharged


def _message_columns(entries: Sequence[Message], labels: Labels) -> tuple[Column, ...]:
    return (
        *_asked_columns(entries, map(_message_flags, entries), labels),
        Byteas(_pack_labels(each.uncharged, labels) for each in entries),
        Int8s(message_key(each.customer_id, each.message_id) for each in entries),
    )


def _refusal_columns(entries: Sequence[Refusal], labels: Labels) -> tuple[Column, ...]:
    return (
        *_asked_columns(entries, map(_refusal_flags, entries), labels),
        Int8s(each.retry_at_us or 0 for each in entries),
    )


def _asked_columns(entries: Sequence[Message | Refusal], flags: Iterable[int], labels: Labels) -> tuple[Column, ...]:
    """Those of `_ASKED`: the fields of named tuples come apart in one `zip`."""
    (ids, message_ids, attempts, seqs, ats, starts, ends, channels, topics, campaigns, teams, senders) = zip(
        *(each[:12] for each in entries), strict=True
    )
    number = labels.number
    return (
        Texts(ids),
        Texts(each or "" for each in message_ids),
        Int2s(attempts),
        Int4s(seqs),
        Int8s(ats),
        Int8s(starts),
        Int8s(ends),
        Int2s(map(number, channels)),
        Int4s(map(number, topics)),
        Int4s(map(number, campaigns)),
        Int4s(map(number, teams)),
        Int4s(map(number, senders)),
        Int2s(each.weight for each in entries),
        Int2s(each.priority for each in entries),
        Int2s(flags),
        Int4s(each.ruleset for each in entries),
        Byteas(_pack_reasons(each.reasons, labels) for each in entries),
    )


def _message_flags(entry: Message) -> int:
    return (
        entry.lease
        | entry.kind << 2
        | (_COUNTS if entry.counts else 0)
        | (_UNDER_CEILING if entry.under_ceiling else 0)
        | (_SEND_AT if entry.send_at_given else 0)
        | (_VERDICT_NUMBERS[entry.observed] << _OBSERVED_SHIFT if entry.observed else 0)
    )


def _refusal_flags(entry: Refusal) -> int:
    return (
        entry.lease
        | (_SEND_AT if entry.send_at_given else 0)
        | (_VERDICT_NUMBERS[entry.observed] << _OBSERVED_SHIFT if entry.observed else 0)
        | _VERDICT_NUMBERS[entry.verdict] << _VERDICT_SHIFT
        | (_CHECKED if entry.checked else 0)
        | (_CERTAIN if entry.retry_certain else 0)
    )


def _resolution_columns(entries: Sequence[Resolved]) -> tuple[Column, ...]:
    return (
        Int8s(each.at_us for each in entries),
        Int8s(each.end_us for each in entries),
        Int4s(each.seq for each in entries),
        Int4s(each.contact_seq for each in entries),
        Int2s(each.resolution for each in entries),
        Texts(each.customer_id for each in entries),
    )


def _change_columns(entries: Sequence[Changed]) -> tuple[Column, ...]:
    return (
        Int8s(each.at_us for each in entries),
        Int4s(each.seq for each in entries),
        Int2s(each.change for each in entries),
        Texts(each.customer_id for each in entries),
        Texts(json.dumps(each.data) for each in entries),
    )


def message_of(row: TupleRow, labels: Labels) -> Message:
    """The message of a row of `FIND_MESSAGES`; raises `UnknownNumber`."""
    (customer_id, message_id, attempt, seq, at, start, end, channel, topic, campaign, team, sender) = row[:12]
    (weight, priority, flags, ruleset, reasons, uncharged, resolution, resolved) = row[12:]
    name = labels.name
    return Message(
        customer_id,
        message_id,
        attempt,
        seq,
        at,
        start,
        end,
        name(channel),
        name(topic),
        name(campaign),
        name(team),
        name(sender),
        weight,
        priority,
        _LEASES[flags & 3],
        _KINDS[flags >> 2 & 3],
        flags & _COUNTS != 0,
        flags & _UNDER_CEILING != 0,
        flags & _SEND_AT != 0,
        ruleset,
        _unpack_reasons(reasons, labels),
        tuple(name(number) for (number,) in _LABEL.iter_unpack(uncharged)) if uncharged else (),
        _VERDICTS[flags >> _OBSERVED_SHIFT & 3],
        Resolution(resolution) if resolution else None,
        resolved or 0,
    )


def refusal_of(row: TupleRow, labels: Labels) -> Refusal:
    """The refusal of a row of `REFUSAL_COLUMNS`; raises `UnknownNumber`."""
    (customer_id, message_id, attempt, seq, at, start, end, channel, topic, campaign, team, sender) = row[:12]
    (weight, priority, flags, ruleset, reasons, retry_at) = row[12:]
    name = labels.name
    return Refusal(
        customer_id,
        message_id or None,
        attempt,
        seq,
        at,
        start,
        end,
        name(channel),
        name(topic),
        name(campaign),
        name(team),
        name(sender),
        weight,
        priority,
        _LEASES[flags & 3],
        flags & _SEND_AT != 0,
        ruleset,
        _VERDICTS[flags >> _VERDICT_SHIFT & 3] or Verdict.DENY,
        flags & _CHECKED != 0,
        retry_at or None,
        flags & _CERTAIN != 0,
        _unpack_reasons(reasons, labels),
        _VERDICTS[flags >> _OBSERVED_SHIFT & 3],
    )


async def history(connection: Connection, customer_ids: Sequence[str], since_us: int) -> list[TupleRow]:
    """The rows of these customers' contacts asked or recorded since an instant, with what became of them."""
    cursor: AsyncCursor[TupleRow] = await connection.execute(_HISTORY, (list(customer_ids), since_us))
    return await cursor.fetchall()


def _pack_reasons(reasons: Sequence[tuple[Code, str]], labels: Labels) -> bytes | None:
    if not reasons:
        return None
    return b"".join(_REASON.pack(CODE_NUMBERS[code], labels.number(rule)) for code, rule in reasons)


def _pack_labels(names: Sequence[str], labels: Labels) -> bytes | None:
    return b"".join(_LABEL.pack(labels.number(name)) for name in names) if names else None


def _unpack_reasons(packed: bytes | None, labels: Labels) -> tuple[tuple[Code, str], ...]:
    if not packed:
        return ()
    pairs: Iterator[tuple[int, int]] = _REASON.iter_unpack(packed)
    return tuple((CODES[code], labels.name(rule)) for code, rule in pairs)


async def exists(connection: Connection, entry: Entry) -> bool:
    """Whether exactly this entry is in the journal."""
    match entry:
        case Message():
            query = "SELECT 1 FROM journal WHERE customer_id = %s AND seq = %s AND at_us = %s AND message_key = %s"
            key = message_key(entry.customer_id, entry.message_id)
            cursor = await connection.execute(query, (entry.customer_id, entry.seq, entry.at_us, key))
        case Refusal():
            query = "SELECT 1 FROM refusals WHERE customer_id = %s AND seq = %s AND at_us = %s AND message_id = %s"
            parameters = (entry.customer_id, entry.seq, entry.at_us, entry.message_id or "")
            cursor = await connection.execute(query, parameters)
        case Resolved():
            query = "SELECT 1 FROM resolutions WHERE customer_id = %s AND seq = %s AND at_us = %s AND contact_seq = %s"
            parameters = (entry.customer_id, entry.seq, entry.at_us, entry.contact_seq)
            cursor = await connection.execute(query, parameters)
        case Changed():
            query = "SELECT 1 FROM changes WHERE customer_id = %s AND seq = %s AND at_us = %s AND kind = %s"
            cursor = await connection.execute(query, (entry.customer_id, entry.seq, entry.at_us, entry.change))
    return await cursor.fetchone() is not None
