"""Events in: each kept once, and what it does to its customer done, before anybody is told that it came.

Most events change nothing that decisions read (a purchase, a second session of the day): they are kept by themselves,
many in one statement and without a lock. The others are told under the lock of their customer's account, through the
lanes. Whatever was interrupted may be brought again: what was done already changes nothing, what was not is done now.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from engine.core import outcomes
from engine.core.customer import Address
from engine.core.errors import TaktError, TooManyNames
from engine.core.events import Event
from engine.core.outcomes import NO_OUTCOMES
from engine.core.suppression import Suppression
from engine.operations import naming
from engine.operations.addresses import PutReachable, TellFacts
from engine.operations.batch import Command
from engine.operations.decider import Decider
from engine.operations.erasures import refused
from engine.operations.file import Filed, PutCustomer
from engine.operations.happened import Happened, HappenedCommand
from engine.operations.patience import in_time
from engine.store import addresses, events, identities
from engine.store.exchange import COMMIT, exchange

_BULK_AT_ONCE: Final = 2  # connections that bulk may hold: the others are the lanes'

Key: TypeAlias = tuple[str, int]  # customer id and event key


class Result(StrEnum):
    """UNRESOLVED: it named an address that is nobody's yet, and is kept until it is somebody's. UNPLACED: it says that
    a message was sent, or bounced, which nobody asked for, and not in which channel: it is kept, and does nothing.
    TOO_OLD: it is of before what is kept; what it forbids or allows is on file, and that is all."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNRESOLVED = "unresolved"
    UNPLACED = "unplaced"
    TOO_OLD = "too_old"


Outcome: TypeAlias = Result | TaktError


class _Whose(NamedTuple):
    """Owners of the addresses that events named; of events that are news among those of nobody, their addresses and
    keys; and those that somebody came to own while they were being kept."""

    owners: Mapping[Address, Sequence[str]]
    news: Set[tuple[Address, int]]
    found: Sequence[Event]


class Intake:
    """Takes events in. An event without a customer ("") names an address, by channel and digest."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._database = decider.database
        self._labels = decider.labels
        self._digests = decider.erasures.digests
        self._turns = asyncio.Semaphore(_BULK_AT_ONCE)

    async def take(self, given: Sequence[Event]) -> list[Outcome]:
        """What became of each, in order; all of it committed. An error is that event's alone."""
        return await in_time(self._take(given, Counter()), self._decider.settings.bulk_deadline_ms / 1000)

    async def put(self, puts: Sequence[PutCustomer | PutReachable]) -> list[object]:
        """File customers: `Filed`, or the `TaktError` that one alone met. What waited for an address is used now, and
        what that did is answered too."""
        reachable = [each for each in puts if isinstance(each, PutReachable)]
        if not reachable:
            return await self._settle(puts)
        return await in_time(self._put(puts, reachable), self._decider.settings.bulk_deadline_ms / 1000)

    async def _put(self, puts: Sequence[PutCustomer | PutReachable], reachable: Sequence[PutReachable]) -> list[object]:
        named = {address for each in reachable for address in each.addresses}
        before = await self._facts(named)
        answers = await self._settle([_with_facts(each, before) for each in puts])
        # What came while these were filed did not find them; and what found nobody waits.
        after = await self._facts(named)
        revoked = await self._use_waiting(named)
        if after == before and not revoked:
            return answers
        late = [TellFacts(each.customer_id, _facts_of(each.addresses, after)) for each in reachable]
        told = await self._settle(late)
        _raise_first(told)
        latest = {each.customer_id: each for each in told if isinstance(each, Filed)}
        return [_with_latest(each, latest, revoked) for each in answers]

    async def _settle(self, commands: Sequence[Command]) -> list[object]:
        """One as a single command, which goes before those of batches."""
        if len(commands) != 1:
            return await self._decider.settle_all(commands)
        try:
            return [await self._decider.settle(commands[0])]
        except TaktError as error:
            return [error]

    async def _facts(self, named: Iterable[Address]) -> dict[Address, list[Suppression]]:
        wanted = list(named)
        if not wanted:
            return {}
        async with self._database.connection() as connection:
            return await addresses.facts(connection, wanted, self._labels)

    async def _use_waiting(self, named: Iterable[Address]) -> Counter[str]:
        """Bring the events that waited for an owner of these addresses to their customers: all who were told, with the
        number of leases that it ended."""
        revoked = Counter[str]()
        while True:
            async with self._database.connection() as connection:
                waiting = await addresses.waiting(connection, named, self._labels)
            results = await self._take(waiting, revoked) if waiting else []
            _raise_first(results)
            used = [event for event, each in zip(waiting, results, strict=True) if each is not Result.UNRESOLVED]
            async with self._database.connection() as connection:
                await addresses.forget(connection, used, self._labels)
            if not used:  # none left; or the address is nobody's again, and they wait on
                return revoked

    async def _take(self, given: Sequence[Event], revoked: Counter[str]) -> list[Outcome]:
        """`revoked` counts, by customer who was told, the leases that it ended."""
        given, kept_since_us = await self._of_survivors(given)
        names = events.labels_of(given)
        unnamed = await naming.admit(self._database, self._labels, self._decider.rulebook, names)
        if not unnamed.isdisjoint(each.type for each in given):
            return await self._take_named(given, unnamed, revoked)
        whose = await self._whose([each for each in given if each.digest is not None])
        event_keys = [each.key for each in given]
        told: dict[Key, Event] = {}
        for event, event_key in zip(given, event_keys, strict=True):
            if event.customer_id:
                told.setdefault((event.customer_id, event_key), event)
            else:
                for customer_id in _customers(event, whose):
                    told.setdefault((customer_id, event_key), event._replace(customer_id=customer_id))
        became, _ = await self._tell(told, revoked)
        unheard = await self._spread([each for each in given if outcomes.address_fact(each) is not None], whose)
        if whose.found:
            async with self._database.connection() as connection:
                await addresses.forget(connection, whose.found, self._labels)
        results = _results(given, event_keys, whose, became, unheard)
        return [_dated(each.at_us, result, kept_since_us) for each, result in zip(given, results, strict=True)]

    async def _take_named(self, given: Sequence[Event], unnamed: Set[str], revoked: Counter[str]) -> list[Outcome]:
        """Take those of a type that has a name; the others are refused, each by itself."""
        is_named = [each.type not in unnamed for each in given]
        named = [event for event, fits in zip(given, is_named, strict=True) if fits]
        outcomes = iter(await self._take(named, revoked) if named else [])
        return [next(outcomes) if fits else TooManyNames() for fits in is_named]

    async def _whose(self, addressed: Sequence[Event]) -> _Whose:
        """Look whose the addresses are, then keep what is nobody's; and look once more."""
        if not addressed:
            return _Whose({}, frozenset(), ())
        async with self._database.connection() as connection:
            owners = await addresses.owners(connection, map(_address, addressed), self._labels)
            nobodys = [each for each in addressed if not each.customer_id and _address(each) not in owners]
            news = await addresses.keep(connection, nobodys, self._labels)
            late = await addresses.owners(connection, map(_address, nobodys), self._labels)
        return _Whose({**owners, **late}, news, [each for each in nobodys if _address(each) in late])

    async def _spread(self, speaking: Sequence[Event], whose: _Whose) -> dict[Address, TaktError]:
        """Tell all who have an address what is known of it, now that these events spoke of it; the addresses of whom
        that failed for.

        What is known is what events said that were kept: a duplicate, which may say anything, adds nothing to it. It
        only completes what broke off.
        """
        if not speaking:
            return {}
        named = {_address(each) for each in speaking}
        async with self._database.connection() as connection:
            known = await addresses.facts(connection, named, self._labels)
            owners = await addresses.owners(connection, known, self._labels)
        hearing: dict[tuple[str, Address], TellFacts] = {}
        for event in speaking:
            address, told = _address(event), set(_customers(event, whose))
            for customer_id in owners.get(address, ()):
                if customer_id not in told:
                    hearing[customer_id, address] = TellFacts(customer_id, tuple(known[address]))
        answers = await self._settle(list(hearing.values())) if hearing else []
        failed = zip(hearing, answers, strict=True)
        return {address: each for (_, address), each in failed if isinstance(each, TaktError)}

    async def _tell(
        self, told: Mapping[Key, Event], revoked: Counter[str]
    ) -> tuple[dict[Key, Outcome], dict[str, TaktError]]:
        """What became of each event; and the customers who could not be told theirs."""
        locked, free = await self._parted(told)
        became: dict[Key, Outcome] = {}
        failed: dict[str, TaktError] = {}
        if locked:
            by_customer: dict[str, list[Event]] = {}
            for (customer_id, _), event in locked.items():
                by_customer.setdefault(customer_id, []).append(event)
            commands: list[Command] = [HappenedCommand(id_, tuple(each)) for id_, each in by_customer.items()]
            answers = await self._settle(commands)
            news: dict[Key, Result] = {}
            for command, answer in zip(commands, answers, strict=True):
                if isinstance(answer, TaktError):
                    failed[command.customer_id] = answer
                elif isinstance(answer, Happened):
                    revoked[answer.customer_id] += answer.revoked
                    for event_key in answer.news:
                        result = Result.UNPLACED if event_key in answer.unplaced else Result.ACCEPTED
                        news[command.customer_id, event_key] = result
            for key in locked:
                became[key] = failed.get(key[0]) or news.get(key, Result.DUPLICATE)
        if free:
            became |= await self._append(free, revoked)
        return became, failed

    async def _parted(self, told: Mapping[Key, Event]) -> tuple[dict[Key, Event], dict[Key, Event]]:
        """The events that are told under a lock, and those that need none: they and all they say is known already."""
        if not told:
            return {}, {}
        async with self._database.connection() as connection:
            policy = (await naming.rules_in_force(connection, self._decider.rulebook)).policy
            may_act = outcomes.acting_types(policy) | events.MARKING_TYPES
            locked: dict[Key, Event] = {}
            free: dict[Key, Event] = {}
            for key, event in told.items():
                needs_lock = event.type in may_act and (events.marks(event) or outcomes.acts(event, policy))
                (locked if needs_lock else free)[key] = event
            saw = {customer_id for (customer_id, _), event in free.items() if event.type in outcomes.SEEING_TYPES}
            heard = await events.heard(connection, saw)
        moved = {
            customer_id
            for (customer_id, _), event in free.items()
            if outcomes.moves(heard.get(customer_id, NO_OUTCOMES).seen, event)
        }
        if moved:
            locked |= {key: event for key, event in free.items() if key[0] in moved}
            free = {key: event for key, event in free.items() if key[0] not in moved}
        return locked, free

    async def _of_survivors(self, given: Sequence[Event]) -> tuple[Sequence[Event], int]:
        """The events with the customers that theirs were merged into; and from when on events are kept."""
        ids = {each.customer_id for each in given if each.customer_id}
        async with self._database.connection() as connection:
            kept_since_us = await events.kept_since_us(connection)
            gone = await identities.gone(connection, ids, self._digests) if ids else None
        if gone is None or not gone.merged:
            return given, kept_since_us
        merged = gone.merged
        survivors = [
            each._replace(customer_id=merged[each.customer_id]) if each.customer_id in merged else each
            for each in given
        ]
        return survivors, kept_since_us

    async def _append(self, free: Mapping[Key, Event], revoked: Counter[str]) -> dict[Key, Outcome]:
        """Keep events that change nothing else: one statement, which keeps all of them or none.

        Those of customers who were merged or erased meanwhile are nobody's to keep.
        """
        ids = {customer_id for customer_id, _ in free}
        async with self._turns, self._database.connection() as connection:
            gone = await identities.hold(connection, ids, self._digests)
            kept = {key: each for key, each in free.items() if key[0] not in gone.merged and key[0] not in gone.erased}
            news = await events.append(connection, kept, self._labels) if kept else set[Key]()
            await exchange(connection, COMMIT)
        became: dict[Key, Outcome] = {key: Result.ACCEPTED if key in news else Result.DUPLICATE for key in kept}
        became |= {key: refused(key[0]) for key in free if key[0] in gone.erased}
        moved = {key: (gone.merged[key[0]], key[1]) for key in free if key[0] in gone.merged}
        if moved:
            told = {to: free[key]._replace(customer_id=to[0]) for key, to in moved.items()}
            now, failed = await self._tell(told, revoked)
            became |= {key: failed.get(to[0], now[to]) for key, to in moved.items()}
        return became


def _address(event: Event) -> Address:
    return Address(event.channel or "", event.digest or "")


def _customers(event: Event, whose: _Whose) -> Sequence[str]:
    """Whose event it is: the customer it names, else all who have its address."""
    return (event.customer_id,) if event.customer_id else whose.owners.get(_address(event), ())


def _results(
    given: Sequence[Event],
    event_keys: Sequence[int],
    whose: _Whose,
    became: Mapping[Key, Outcome],
    unheard: Mapping[Address, TaktError],
) -> list[Outcome]:
    """What became of each event, in order; one that came twice in the list is news once."""
    seen: set[Key] = set()
    results: list[Outcome] = []
    for event, event_key in zip(given, event_keys, strict=True):
        if event.digest is None:
            key = event.customer_id, event_key
            found = became[key]
            results.append(Result.DUPLICATE if key in seen and isinstance(found, Result) else found)
            seen.add(key)
            continue
        spoke = outcomes.address_fact(event) is not None
        errors = [unheard[_address(event)]] if spoke and _address(event) in unheard else []
        outcome: Outcome = Result.DUPLICATE
        for customer_id in _customers(event, whose) or ("",):
            key = (customer_id, event_key)
            kept = Result.UNRESOLVED if (_address(event), event_key) in whose.news else Result.DUPLICATE
            found = became[key] if customer_id else kept
            if isinstance(found, TaktError):
                errors.append(found)
            elif key not in seen and found is not Result.DUPLICATE:
                outcome = found
            seen.add(key)
        results.append(errors[0] if errors else outcome)
    return results


def _dated(at_us: int, result: Outcome, kept_since_us: int) -> Outcome:
    """What is of before what is kept is neither kept nor known to have been told: nothing else can be said of it."""
    if at_us >= kept_since_us or result is Result.UNRESOLVED or not isinstance(result, Result):
        return result
    return Result.TOO_OLD


def _with_facts(put: PutCustomer | PutReachable, known: Mapping[Address, Sequence[Suppression]]) -> Command:
    if isinstance(put, PutCustomer):
        return put
    return PutReachable(put.customer_id, put.put, put.addresses, _facts_of(put.addresses, known))


def _with_latest(answer: object, latest: Mapping[str, Filed], revoked: Counter[str]) -> object:
    """What a put is answered, where more was told of its customer behind it; the first of one customer counts that."""
    now = latest.get(answer.customer_id) if isinstance(answer, Filed) else None
    if now is None or not isinstance(answer, Filed):
        return answer
    ended = now.revoked + revoked.pop(now.customer_id, 0)
    return answer._replace(customer=now.customer, changed=answer.changed or now.changed, revoked=answer.revoked + ended)


def _facts_of(of: Iterable[Address], known: Mapping[Address, Sequence[Suppression]]) -> tuple[Suppression, ...]:
    return tuple(fact for address in of for fact in known.get(address, ()))


def _raise_first(answers: Iterable[object]) -> None:
    for each in answers:
        if isinstance(each, TaktError):
            raise each
