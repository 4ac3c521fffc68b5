"""Who is who: customers who were merged into others, and those who were erased, of whom keyed digests alone are kept.

Whoever erases or merges holds the locks of the accounts, and keeps out (`ALONE`) what is brought in without them
(`hold`): so nothing in flight lands under the name of somebody who is gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from engine.store.accounts import WAIT
from engine.store.columns import Byteas, Texts
from engine.store.database import Connection
from engine.store.exchange import BEGIN, Call, exchange

Digests: TypeAlias = Callable[[str], Sequence[bytes]]  # of a customer id, under every key that may have been used

_LOCK: Final = 7_236_877
_PATIENCE_MS: Final = 10_000
HOLD: Final[tuple[Call, ...]] = (
    (WAIT, (Texts([str(_PATIENCE_MS)]),)),
    (f"SELECT pg_advisory_xact_lock_shared({_LOCK})", ()),
)
ALONE: Final[Call] = (f"SELECT pg_advisory_xact_lock({_LOCK})", ())
_ANY = "SELECT EXISTS (SELECT FROM customers WHERE merged_into IS NOT NULL), EXISTS (SELECT FROM erased)"
_MERGED = "SELECT customer_id, merged_into FROM customers WHERE customer_id = ANY(%b) AND merged_into IS NOT NULL"
_STRANGERS = (
    "SELECT id FROM unnest(%b) AS ids(id) WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.customer_id = ids.id)"
)
_ERASED = "SELECT digest FROM erased WHERE digest = ANY(%b)"
_READMIT = "DELETE FROM erased WHERE digest = ANY(%b)"
_PERSON = (
    'WITH RECURSIVE up(id) AS (SELECT %s::text COLLATE "C" UNION SELECT c.merged_into FROM customers c JOIN up'
    " ON c.customer_id = up.id WHERE c.merged_into IS NOT NULL), down(id) AS (SELECT id FROM up UNION"
    " SELECT c.customer_id FROM customers c JOIN down ON c.merged_into = down.id) SELECT id FROM down"
    ' ORDER BY id COLLATE "C"'
)


class Gone(NamedTuple):
    """Of some customers those who were merged, with who they are now, and those who were erased."""

    merged: Mapping[str, str]
    erased: frozenset[str]


async def hold(connection: Connection, customer_ids: Iterable[str], digests: Digests) -> Gone:
    """Begin a transaction during which nobody is erased or merged; who of these was already."""
    *_, rows = await exchange(connection, BEGIN, *HOLD, (_ANY, ()))
    return await _gone(connection, rows[0], customer_ids, digests)


async def gone(connection: Connection, customer_ids: Iterable[str], digests: Digests) -> Gone:
    """Who of these was merged or erased, as of now."""
    (rows,) = await exchange(connection, (_ANY, ()))
    return await _gone(connection, rows[0], customer_ids, digests)


async def erased(connection: Connection, customer_ids: Iterable[str], digests: Digests) -> frozenset[str]:
    """Those of these customers, who have no account, that were erased."""
    whose = {digest: id_ for id_ in customer_ids for digest in digests(id_)}
    if not whose:
        return frozenset()
    (rows,) = await exchange(connection, (_ERASED, (Byteas(whose),)))
    return frozenset(whose[bytes(digest)] for (digest,) in rows)


async def person(connection: Connection, customer_id: str) -> list[str]:
    """Every id under which somebody is or was known, in the order in which accounts are locked."""
    return [row[0] for row in await (await connection.execute(_PERSON.encode(), (customer_id,))).fetchall()]


def readmitting(digests: Sequence[bytes]) -> Call:
    """What lets somebody be known again who was erased."""
    return _READMIT, (Byteas(digests),)


async def _gone(
    connection: Connection, there_are: Sequence[bool], customer_ids: Iterable[str], digests: Digests
) -> Gone:
    any_merged, any_erased = there_are
    ids = set(customer_ids)
    merged: dict[str, str] = {}
    if any_merged:
        merged = await survivors(connection, ids)
        ids = (ids - merged.keys()) | set(merged.values())
    if not any_erased or not ids:
        return Gone(merged, frozenset())
    (rows,) = await exchange(connection, (_STRANGERS, (Texts(sorted(ids)),)))
    return Gone(merged, await erased(connection, [row[0] for row in rows], digests))


async def survivors(connection: Connection, ids: set[str]) -> dict[str, str]:
    """Of these customers those who were merged, with who they are now, at the end of all merges."""
    (rows,) = await exchange(connection, (_MERGED, (Texts(sorted(ids)),)))
    merged: dict[str, str] = dict(rows)
    if merged:
        further = await survivors(connection, set(merged.values()))
        merged = {id_: further.get(into, into) for id_, into in merged.items()}
    return merged
