"""The compact form of an account's contacts and totals: the bytes of its row.

A version, then a fixed entry a contact, then what shadow budgets did not charge, then the totals. Labels are the
numbers under which the store interned them; 0 is none. In network order, as SQL sends numbers: a plain query can read
a row too.
"""

import struct
from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

from engine.core.account import Account, Contact, Kind, Labels, Lease

_FORM = 1
_HEAD = struct.Struct(">BHH")
_ENTRY = struct.Struct(">Iqq14sHBB")
_LABELS = struct.Struct(">HIII")
_TAIL = struct.Struct(">HI")
_TOTAL = struct.Struct(">HIq")
_FLAGS = {  # what an entry's last byte means: the fields of a contact from `lease` on
    lease | kind << 2 | counts << 4 | ceiling << 5: (lease, kind, counts, ceiling, cast("tuple[str, ...]", ()))
    for lease in Lease
    for kind in Kind
    for counts in (False, True)
    for ceiling in (False, True)
}
_REMEMBERED_MAX = 50_000
_Make: TypeAlias = Callable[[type[Contact], Iterable[object]], Contact]
# A third of the time of Contact(...), on the way of every ask. Ignored: the items of a bare tuple have no type.
_new = cast("_Make", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]


class Lexicon:
    """Labels as rows hold them. Most contacts share their labels with many others, so each set is looked up once.

    `number` gives a label's number, and 0 for None; `name` a number's label, and None for 0. What `name` raises where
    a number is unknown passes through (another process made it: load the labels again).
    """

    __slots__ = ("name", "number", "packed", "unpacked")

    def __init__(self, number: Callable[[str | None], int], name: Callable[[int], str]) -> None:
        self.number = number
        self.name = name
        self.packed = _Packed(number)
        self.unpacked = _Unpacked(name)


class _Packed(dict[Labels, bytes]):
    def __init__(self, number: Callable[[str | None], int]) -> None:
        super().__init__()
        self._number = number

    def __missing__(self, labels: Labels) -> bytes:
        packed = _LABELS.pack(*map(self._number, labels))
        if len(self) >= _REMEMBERED_MAX:
            self.clear()
        self[labels] = packed
        return packed


class _Unpacked(dict[bytes, Labels]):
    def __init__(self, name: Callable[[int], str]) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, packed: bytes) -> Labels:
        channel, topic, campaign, team = map(self._name, _LABELS.unpack(packed))
        if len(self) >= _REMEMBERED_MAX:
            self.clear()
        self[packed] = labels = channel, topic, campaign, team
        return labels


def encode(account: Account, lexicon: Lexicon) -> bytes:
    """The contacts and totals of an account as bytes.

    The entries that were read and are still in front are copied as they came.
    """
    contacts, entries, tail, first = account.contacts, b"", b"", 0
    if account.stored is not None:
        read, row = account.stored
        if read and contacts[: len(read)] == read:
            first = len(read)
            entries, tail, _ = _split(row)
    own, names = _entries(contacts[first:] if first else contacts, first, lexicon)
    rest = b""
    if account.totals:
        number = lexicon.number
        rest = b"".join(
            _TOTAL.pack(number(channel), number(topic), total) for (channel, topic), total in account.totals.items()
        )
    tail += names
    return _HEAD.pack(_FORM, len(contacts), len(tail) // _TAIL.size) + entries + own + tail + rest


def decode(row: bytes, lexicon: Lexicon) -> tuple[list[Contact], dict[tuple[str, str], int]]:
    """Contacts and totals from the bytes of a row."""
    if not row:
        return [], {}
    entries, tail, rest = _split(row)
    labels = lexicon.unpacked
    contacts = [
        _new(Contact, (seq, start, end, labels[packed], weight, priority) + _FLAGS[flags])
        for seq, start, end, packed, weight, priority, flags in _ENTRY.iter_unpack(entries)
    ]
    name = lexicon.name
    index: int
    label: int
    for index, label in _TAIL.iter_unpack(tail):
        contacts[index] = contacts[index].with_uncharged(name(label))
    if not rest:
        return contacts, {}
    return contacts, {(name(channel), name(topic)): total for channel, topic, total in _TOTAL.iter_unpack(rest)}


def restored(seq: int, latest_us: int, complete_since_us: int, row: bytes, lexicon: Lexicon) -> Account:
    """The account of a row, able to be encoded again at the price of what changes."""
    contacts, totals = decode(row, lexicon)
    account = Account(seq, latest_us, complete_since_us, contacts, totals)
    account.stored = contacts[:], row
    return account


def _split(row: bytes) -> tuple[bytes, bytes, bytes]:
    """The entries, what was not charged, and the totals."""
    form, count, uncharged = _HEAD.unpack_from(row)
    if form != _FORM:
        raise ValueError(f"account row of form {form}; this Takt reads form {_FORM}")
    entries_end = _HEAD.size + count * _ENTRY.size
    tail_end = entries_end + uncharged * _TAIL.size
    if len(row) < tail_end:
        raise ValueError(f"an account row of {len(row)} bytes that should have {tail_end}: it was cut off")
    return row[_HEAD.size : entries_end], row[entries_end:tail_end], row[tail_end:]


def _entries(contacts: Iterable[Contact], first: int, lexicon: Lexicon) -> tuple[bytes, bytes]:
    """The entries of contacts, the first of which has this place, and what was not charged for them."""
    entries: list[bytes] = []
    tail: list[bytes] = []
    pack, packed = _ENTRY.pack, lexicon.packed
    for seq, start, end, labels, weight, priority, lease, kind, counts, ceiling, names in contacts:
        if names:
            tail += [_TAIL.pack(first + len(entries), lexicon.number(name)) for name in names]
        flags = lease | kind << 2 | counts << 4 | ceiling << 5
        entries.append(pack(seq, start, end, packed[labels], weight, priority, flags))
    return b"".join(entries), b"".join(tail)
