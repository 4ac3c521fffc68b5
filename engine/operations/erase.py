"""Erasing somebody: all that is on file goes, in one transaction under the account's lock.

Three things stay. A keyed digest of each id, so that nobody is contacted again who asked to be forgotten. A suppression
of each address, by its keyed digest. And, of who was in an experiment or is read with a holdout, what readouts need
under a random id: otherwise a variant, or a policy, that drives customers away would lose its worst cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

from engine.core.errors import Unavailable
from engine.core.events import TAKT_SOURCE, EventType
from engine.operations.decider import Decider
from engine.operations.erasures import address_fact
from engine.operations.patience import in_time
from engine.operations.sides import sides_of
from engine.store import accounts, erasing, identities
from engine.store.columns import Texts
from engine.store.database import Connection, clock_us
from engine.store.exchange import BEGIN, COMMIT, exchange

_LOCK_WAIT_MS: Final = 10_000
_ROUNDS: Final = 20


class Erased(NamedTuple):
    """What an erasure did. `changed`: it was not erased already. `in_plans`: experiments whose plans name the customer
    as a tester; nothing but another plan takes the id away there."""

    customer_id: str
    changed: bool
    contacts: int
    refusals: int
    events: int
    experiments: int
    in_plans: tuple[str, ...]
    at_us: int


async def erase(decider: Decider, customer_id: str) -> Erased:
    """Erase somebody, under every id that was ever merged with this one; of nobody known, too, for times to come.

    Once this has returned, nothing is allowed under these ids, and nothing is kept that is told of them.
    """
    return await in_time(_erase(decider, customer_id), decider.settings.bulk_deadline_ms / 1000)


async def _erase(decider: Decider, customer_id: str) -> Erased:
    labels = decider.labels
    await labels.intern([EventType.ERASED.value, TAKT_SOURCE])
    async with decider.database.connection() as connection:
        ids = await hold_person(connection, customer_id)
        now_us = await clock_us(connection)
        await labels.load(connection)
        links = await erasing.links(connection, ids)
        in_plans = await erasing.named_in_plans(connection, ids)
        experiments = 0
        for each in ids:
            found = await erasing.exposed(connection, each)
            sides = await sides_of(connection, each)
            if found or sides:
                plans = [*(plan for _, plan in found), *(side.plan for side in sides)]
                fields = sorted({name for plan in plans for name in _summed(plan.get("metrics"))})
                units = {side.experiment: side.unit for side in sides}
                await erasing.anonymise(connection, labels, each, fields, now_us, units)
            experiments += len(found)
        deleted = await erasing.delete(connection, ids)
        await erasing.let_go(connection, labels, links, address_fact(now_us))
        changed = await erasing.remember(connection, [decider.erasures.digest(each) for each in ids], now_us)
        await exchange(connection, COMMIT)
    return Erased(customer_id, changed, *deleted, experiments, tuple(in_plans), now_us)


async def hold_person(connection: Connection, *customer_ids: str) -> list[str]:
    """Begin a transaction that holds the accounts under every id by which these people were ever known; the ids.

    What takes no lock is kept out too. Whom somebody merges meanwhile is looked for again.
    """
    for _ in range(_ROUNDS):
        ids = await _known_as(connection, customer_ids)
        wait = accounts.WAIT, (Texts([str(_LOCK_WAIT_MS)]),)
        await exchange(connection, BEGIN, wait, (accounts.LOCK, (Texts(ids),)), identities.ALONE)
        if ids == await _known_as(connection, customer_ids):
            return ids
        await connection.rollback()
    raise Unavailable("this customer is being merged again and again")


async def _known_as(connection: Connection, customer_ids: Sequence[str]) -> list[str]:
    return sorted({id_ for each in customer_ids for id_ in await identities.person(connection, each)})


def _summed(metrics: object) -> Iterator[str]:
    """The fields of events that a plan's metrics sum."""
    if isinstance(metrics, Mapping):
        for name, value in cast(Mapping[str, object], metrics).items():
            if name == "value" and isinstance(value, str):
                yield value
            else:
                yield from _summed(value)
    elif isinstance(metrics, list):
        for each in cast(list[object], metrics):
            yield from _summed(each)
