"""Two customers who are one person: united into one of them, in one transaction under both locks.

The other's contacts are told again in the journal of who goes on being known, each at its own time, right behind an
entry that says whose they are; the other's own journal ends with where it went. Whatever is asked or told of the other
from then on is about the one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from engine.core import reach
from engine.core.account import Account
from engine.core.customer import UNKNOWN, Customer
from engine.core.errors import Conflict
from engine.core.merging import united
from engine.operations.batch import Batch, Held, Refusals
from engine.operations.decider import Decider
from engine.operations.erase import hold_person
from engine.operations.erasures import refused
from engine.operations.file import profile_data, suppressions_data
from engine.operations.patience import in_time
from engine.store import accounts, events, exposures, journal_rows, openings
from engine.store.addresses import Link
from engine.store.columns import Texts
from engine.store.customers import addresses_data, outcomes_data, preference_data, variants_data
from engine.store.database import Connection
from engine.store.exchange import COMMIT, exchange
from engine.store.exposures import Exposure, ExposureFlag
from engine.store.journal import Change, Message, Resolved
from engine.store.labels import Labels

TWICE: Final = ExposureFlag.IN_TWO_VARIANTS


class Merged(NamedTuple):
    """What a merge did. `changed`: they were not one already. `revoked`: open leases of either that the suppressions of
    the other ended. `in_two_variants`: experiments that count the person no more, as each half was in another variant.
    """

    customer_id: str
    merged: str
    changed: bool
    contacts: int
    events: int
    revoked: int
    in_two_variants: int
    at_us: int


async def merge(decider: Decider, into: str, other: str) -> Merged:
    """Make `other` a name of `into`. To do so again changes nothing.

    Raises `Conflict` where either goes by another name already or was erased, and where both are the same.
    """
    if into == other:
        raise Conflict(f"{into!r} cannot be merged with itself")
    return await in_time(_merge(decider, into, other), decider.settings.bulk_deadline_ms / 1000)


async def _merge(decider: Decider, into: str, other: str) -> Merged:
    async with decider.database.connection() as connection:
        await hold_person(connection, into, other)
        batch = await decider.settler.held(connection, [into, other])
        one, two = batch.held[into], batch.held[other]
        one.now_us = two.now_us = max(one.now_us, two.now_us)
        if two.customer.merged_into == into:
            await exchange(connection, COMMIT)
            return Merged(into, other, False, 0, 0, 0, 0, one.now_us)
        try:
            _check(one, two)
        except Conflict:
            await exchange(connection, (accounts.FORGET, (Texts([into, other]),)), COMMIT)
            raise
        messages = await _messages(connection, decider.labels, other)
        rows = _exposures(into, await exposures.of(connection, [into, other]))
        revoked = _unite(batch, one, two, messages, rows)
        moved = await events.move(connection, other, into)
        await openings.unite(connection, decider.labels, into, other)
        await exchange(connection, exposures.removing([into, other]))
        batch.exposures = {(into, each.experiment): each for each in rows}
        await decider.settler.write(connection, batch)
    twice = sum(bool(each.flags & TWICE) for each in rows)
    return Merged(into, other, True, len(messages), moved, revoked, twice, one.now_us)


def _check(one: Held, two: Held) -> None:
    for each in (one, two):
        if each.is_erased:
            raise refused(each.customer_id)
        if each.customer.merged_into is not None:
            raise Conflict(f"{each.customer_id!r} was merged into {each.customer.merged_into!r}: merge that one")


async def _messages(connection: Connection, labels: Labels, customer_id: str) -> list[Message]:
    rows = await journal_rows.history(connection, [customer_id], 0)
    return await labels.known(connection, lambda: [journal_rows.message_of(row, labels) for row in rows])


def _unite(batch: Batch, one: Held, two: Held, messages: Sequence[Message], rows: Iterable[Exposure]) -> int:
    """Journal and file everything; how many open leases ended."""
    was, lost = one.customer, two.customer
    now = united(was, lost, batch.rules.policy, one.clock_us)
    told = {
        "of": two.customer_id,
        "entries": len(messages) + sum(each.resolution is not None for each in messages),
        "variants": variants_data(now.variants),
        "exposures": [
            [each.experiment, each.variant, each.assigned_us, each.eligible_us, each.diverged_us] for each in rows
        ],
    }
    batch.change(one, Change.MERGED, replace(was, variants=now.variants), told)
    _carry(batch, one, two.account, messages)
    batch.change(two, Change.MERGED, replace(UNKNOWN, merged_into=one.customer_id), {"into": one.customer_id})
    batch.unlinked += [Link(two.customer_id, each) for each in lost.addresses]
    batch.linked += [Link(one.customer_id, each) for each in now.addresses if each not in was.addresses]
    revoked = _file(batch, one, now) + _revoke(batch, one)
    policy = batch.rules.policy
    gone = reach.lost(one.customer, policy)  # told of each channel anew: behind what either's moved events say
    batch.tell_reach(one, reach.lost(was, policy) | reach.lost(lost, policy) | gone, gone)
    return revoked


def _carry(batch: Batch, one: Held, account: Account, messages: Iterable[Message]) -> None:
    """Tell the other's contacts again, each as it was asked and with what became of it; the account follows."""
    seqs: dict[int, int] = {}
    for each in messages:
        seqs[each.seq] = seq = one.stamp()
        carried = each._replace(customer_id=one.customer_id, seq=seq, resolution=None, resolved_us=0)
        batch.entries.append(carried)
        if each.resolution is not None:
            at_us, end_us = one.now_us, each.resolved_us
            batch.entries.append(Resolved(one.customer_id, seq, one.stamp(), at_us, end_us, each.resolution))
    for contact in account.contacts:
        one.account.add(contact._replace(seq=seqs[contact.seq]))
    for key, weight in account.totals.items():
        one.account.totals[key] = one.account.totals.get(key, 0) + weight
    one.account.complete_since_us = max(one.account.complete_since_us, account.complete_since_us)


def _file(batch: Batch, one: Held, now: Customer) -> int:
    """Each sort of change as one entry, as if it had been told; the open leases that this ended."""
    was, revoked = one.customer, 0
    profile = replace(was, time_zone=now.time_zone, attributes=now.attributes, consents=now.consents)
    if profile != was:
        revoked += batch.refile(one, Change.PROFILE, profile, profile_data(profile))
    if now.outcomes != was.outcomes:
        heard = replace(one.customer, outcomes=now.outcomes)
        batch.change(one, Change.OUTCOMES, heard, outcomes_data(heard.outcomes))
    if now.preferences != was.preferences:
        chosen = replace(one.customer, preferences=now.preferences)
        batch.change(one, Change.PREFERENCES, chosen, [preference_data(each) for each in now.preferences])
    if now.addresses != was.addresses:
        reached = replace(one.customer, addresses=now.addresses)
        revoked += batch.refile(one, Change.ADDRESSES, reached, addresses_data(now.addresses))
    if now.suppressions != was.suppressions:
        revoked += batch.refile(one, Change.SUPPRESSIONS, now, suppressions_data(now))
    return revoked


def _revoke(batch: Batch, one: Held) -> int:
    """End the open leases, the other's among them, that what the one has said forbids."""
    forbidden = Refusals(one.customer.in_force, (), one.customer.consents)
    rules, revoked = batch.rules.of(one.customer_id, one.now_us), 0
    for contact in [each for each in one.account.contacts if each.is_open(one.now_us)]:
        topic = rules.topic(contact.topic)
        if forbidden.binds(contact, exempt=topic is not None and topic.exempt):
            batch.revoke(one, contact.seq)
            revoked += 1
    return revoked


def _exposures(into: str, rows: Iterable[Exposure]) -> list[Exposure]:
    """One row an experiment: the earliest instants of both, and the variant of who goes on being known."""
    found: dict[int, Exposure] = {}
    for row in sorted(rows, key=lambda each: each.customer_id != into):
        was = found.get(row.experiment)
        if was is None:
            found[row.experiment] = row._replace(customer_id=into)
            continue
        found[row.experiment] = was._replace(
            assigned_us=_earlier(was.assigned_us, row.assigned_us),
            eligible_us=_earlier(was.eligible_us, row.eligible_us),
            diverged_us=_earlier(was.diverged_us, row.diverged_us),
            flags=was.flags | row.flags | (TWICE if was.variant != row.variant else ExposureFlag(0)),
            segments=was.segments if was.segments is not None else row.segments,
        )
    return [found[number] for number in sorted(found)]


def _earlier(one_us: int | None, other_us: int | None) -> int | None:
    return min((each for each in (one_us, other_us) if each is not None), default=None)
