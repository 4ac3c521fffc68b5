"""One chunk of commands in one transaction: lock, read, decide, append, save, commit, and only then answer.

Where a lock cannot be had in time, the chunk takes the customers that are free. Where the connection breaks while the
commit is on its way, nobody knows whether it happened: the same locks are taken again, which waits for a transaction
in doubt to end, and under them the journal tells.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Protocol, TypeVar, cast

from engine.core.errors import DatabaseUnavailable, TaktError, TooManyNames, Unavailable
from engine.core.outcomes import address_fact
from engine.core.policy import DAY_US
from engine.core.rules import Rules
from engine.operations import erasures as erased
from engine.operations import naming
from engine.operations.batch import Batch, Command, Held
from engine.operations.erasures import Erasures
from engine.operations.moved import MOVES_MAX, Moved, sent_on
from engine.operations.rulebook import Rulebook
from engine.store import accounts, addresses, customers, events, exposures, identities, journal_rows
from engine.store.columns import Int8s, Texts
from engine.store.database import Connection, ConnectionFailed, Database, LockBusy, Row
from engine.store.exchange import BEGIN, COMMIT, Call, exchange
from engine.store.journal import MEMORY_US, Entry, Message, message_key
from engine.store.labels import Labels
from engine.store.policies import newest_number

CONTENDED: Final = object()  # the answer of a command whose customer somebody else holds
_DOUBT_S = 20.0
_AGAIN_S = 0.1

T = TypeVar("T", covariant=True)

log = logging.getLogger("takt.settle")


class InDoubt(Exception):
    """The connection broke while a commit was on its way. `witness` is an entry that exists if it happened."""

    def __init__(self, witness: Entry | None, answers: list[object]) -> None:
        super().__init__("in doubt")
        self.witness = witness
        self.answers = answers


class Observer(Protocol):
    def chunk(self, commands: Sequence[Command], answers: Sequence[object], seconds: float) -> None:
        """A chunk was settled and committed."""
        ...


class Settler:
    """Settles chunks. Holds no state of its own but what the process has learnt: labels and rulesets."""

    def __init__(
        self, database: Database, labels: Labels, rulebook: Rulebook, erasures: Erasures, observer: Observer
    ) -> None:
        self._database = database
        self._labels = labels
        self._rulebook = rulebook
        self._erasures = erasures
        self._observer = observer

    async def settle(self, commands: Sequence[Command], *, lock_wait_s: float | None = None) -> list[object]:
        """The answers in order: values, the `TaktError` a command alone met, CONTENDED, or `Moved`.

        A customer held by somebody else is left out (CONTENDED); with `lock_wait_s`, all are if one is after that long.
        Raises `Unavailable` where the database could not be reached: nothing was decided then, or it is not known.
        """
        began = asyncio.get_running_loop().time()
        named = await naming.named(self._database, self._labels, self._rulebook, commands)
        kept = [each for each in named if each is not None]
        if len(kept) < len(named):
            answers = iter(await self.settle(kept, lock_wait_s=lock_wait_s) if kept else [])
            return [TooManyNames() if each is None else next(answers) for each in named]
        commands = kept
        try:
            answers = await self._try(commands, lock_wait_s)
        except InDoubt as doubt:
            answers = await self._resolve_doubt(commands, doubt)
        except ConnectionFailed as error:
            raise DatabaseUnavailable("the database is not reachable, or could not do it now") from error
        self._observer.chunk(commands, answers, asyncio.get_running_loop().time() - began)
        return answers

    async def peek(self, command: "Peekable[T]", moves: int = MOVES_MAX) -> T:
        """The answer to an ask that leaves no trace: read without a lock, nothing written."""
        async with self._database.transaction() as connection:
            ids = [command.customer_id]
            (rows,) = await exchange(connection, (accounts.READ, (Texts(ids),)))
            batch = await self._batch(connection, rows, [])
            held = batch.held[command.customer_id]
            into = held.customer.merged_into
            if into is None:
                await self._recall(connection, batch, [command])
                answer = command.peek(batch.rules, held)
                return cast(T, erased.looked(answer)) if held.is_erased else answer
        if not moves:
            raise Unavailable(f"customer {command.customer_id!r} was merged too often")
        return await self.peek(cast(Peekable[T], sent_on(command, into)), moves - 1)

    async def held(self, connection: Connection, customer_ids: Sequence[str]) -> Batch:
        """Customers whose locks the connection's transaction holds, as a batch that is committed by `write`."""
        (rows,) = await exchange(connection, (accounts.READ, (Texts(customer_ids),)))
        return await self._batch(connection, rows, [])

    async def write(self, connection: Connection, batch: Batch) -> None:
        """Commit it; raises `DatabaseUnavailable` where it is not known whether that happened."""
        await self._labels.intern(journal_rows.rules_named(batch.entries))
        if batch.reach:
            await self._labels.intern(events.labels_of(batch.happened()))
        try:
            await self._commit(connection, batch, [])
        except InDoubt as error:
            raise DatabaseUnavailable("the database went away during the commit: ask again") from error

    async def _try(self, commands: Sequence[Command], lock_wait_s: float | None) -> list[object]:
        try:
            return await self._attempt(commands, lock_wait_s, free_only=False)
        except LockBusy:
            if lock_wait_s is not None:
                return [CONTENDED] * len(commands)
        return await self._attempt(commands, None, free_only=True)

    async def _attempt(
        self, commands: Sequence[Command], lock_wait_s: float | None, *, free_only: bool
    ) -> list[object]:
        async with self._database.raw_connection() as connection:
            try:
                batch = await self._lock_and_read(connection, commands, lock_wait_s, free_only=free_only)
                await self._look_back(connection, batch, commands)
                await self._recall(connection, batch, commands)
                answers = [self._apply(batch, command) for command in commands]
                await self._labels.intern(journal_rows.rules_named(batch.entries))
                if batch.events or batch.reach:
                    await self._labels.admit(events.labels_of(batch.happened()))
            except BaseException:
                await _roll_back(connection)
                raise
            await self._commit(connection, batch, answers)
            return answers

    async def _lock_and_read(
        self, connection: Connection, commands: Sequence[Command], lock_wait_s: float | None, *, free_only: bool
    ) -> Batch:
        """Statement 1 takes the locks and changes nothing; statement 2, begun after it returned, reads."""
        ids = sorted({command.customer_id for command in commands})
        calls: list[Call] = []
        if free_only:
            _, free = await exchange(connection, BEGIN, (accounts.LOCK_FREE, (Texts(ids),)))
            ids = [row[0] for row in free]
        else:
            calls.append(BEGIN)
            if lock_wait_s is not None:
                calls.append((accounts.WAIT, (Texts([str(max(int(lock_wait_s * 1000), 1))]),)))
            calls.append((accounts.LOCK, (Texts(ids),)))
        before = len(calls)
        calls.append((accounts.READ, (Texts(ids),)))
        wanted = {
            (each.customer_id, message_key(each.customer_id, id_)) for each in commands for id_ in each.message_ids
        }
        told = {(each.customer_id, key) for each in commands for key in each.event_keys}
        if wanted:
            calls.append((journal_rows.FIND_MESSAGES, _columns(wanted)))
        if told:
            calls.append((events.KNOWN, _columns(told)))
        choosing = {each.customer_id for each in commands if each.counts_choices}
        if choosing:
            calls.append((events.CHOSEN, (Texts(choosing),)))
        rows, *found = (await exchange(connection, *calls))[before:]
        batch = await self._batch(connection, rows, found.pop(0) if wanted else [])
        for customer_id, key in found.pop(0) if told else ():
            if customer_id in batch.held:
                batch.held[customer_id].told.add(key)
        for customer_id, count in chain.from_iterable(found):
            if customer_id in batch.held:
                batch.held[customer_id].chosen = count
        return batch

    async def _batch(self, connection: Connection, rows: Sequence[Row], message_rows: Sequence[Row]) -> Batch:
        """What was read, as values."""
        held = await self._labels.known(connection, lambda: self._held(rows, message_rows))
        number = rows[0][-1] if rows else await newest_number(connection)
        if number is None:
            raise Unavailable("no policy is active: `takt policy activate considerate`")
        strangers = [each.customer_id for each in held.values() if not each.account.seq]
        for customer_id in await identities.erased(connection, strangers, self._erasures.digests):
            held[customer_id].erase(erased.ERASED)
        return Batch(await self._rulebook.rules(connection, number), held)

    def _held(self, rows: Sequence[Row], message_rows: Sequence[Row]) -> dict[str, Held]:
        held: dict[str, Held] = {}
        for row in rows:
            read = accounts.read_of(row, self._labels)
            held[read.customer_id] = Held(read.customer_id, read.account, read.texts, row[-2])
        for message in self._messages(message_rows):
            if message.customer_id in held:
                held[message.customer_id].learn(message)
        return held

    async def _look_back(self, connection: Connection, batch: Batch, commands: Iterable[Command]) -> None:
        """Find the messages of events that come later than a message id is remembered."""
        wanted = {
            (each.customer_id, message_key(each.customer_id, id_))
            for each in commands
            if each.customer_id in batch.held
            for id_ in each.old_message_ids(batch.held[each.customer_id])
        }
        if not wanted:
            return
        (rows,) = await exchange(connection, (journal_rows.FIND_OLD_MESSAGES, _columns(wanted)))
        for message in await self._labels.known(connection, lambda: self._messages(rows)):
            batch.held[message.customer_id].learn(message)

    async def _recall(self, connection: Connection, batch: Batch, commands: Iterable[Command]) -> None:
        """Bring back from the journal what an account has let go and a command must know."""
        since_us: dict[str, int] = {}
        for command in commands:
            held = batch.held.get(command.customer_id)
            if held is None or held.account.complete_since_us <= held.now_us - batch.rules.longest_us - DAY_US:
                continue
            needed_us = command.needs_since_us(batch.rules, held)
            if needed_us < held.account.complete_since_us:
                since_us[command.customer_id] = min(needed_us, since_us.get(command.customer_id, needed_us))
        for customer_id, needed_us in since_us.items():
            rows = await journal_rows.history(connection, [customer_id], needed_us - MEMORY_US - DAY_US)
            messages = await self._labels.known(connection, lambda rows=rows: self._messages(rows))
            contacts = [contact for each in messages if (contact := each.contact()) is not None]
            now_us = batch.held[customer_id].now_us
            batch.held[customer_id].account.recall(
                [each for each in contacts if not each.is_open(now_us) and not each.has_expired(now_us)], needed_us
            )

    def _messages(self, rows: Iterable[Row]) -> list[Message]:
        return [journal_rows.message_of(row, self._labels) for row in rows]

    def _apply(self, batch: Batch, command: Command) -> object:
        held = batch.held.get(command.customer_id)
        if held is None:
            return CONTENDED
        if held.customer.merged_into is not None:
            return Moved(held.customer.merged_into)
        try:
            if held.is_erased:
                return erased.answer(batch, held, command, self._erasures)
            return command.apply(batch, held)
        except TaktError as error:
            return error

    async def _commit(self, connection: Connection, batch: Batch, answers: list[object]) -> None:
        """Write what the commands left, and commit. After this the answers may be given, and not before."""
        dirty = batch.dirty_accounts()
        files = batch.changed_files()
        strangers = [each.customer_id for each in batch.held.values() if not each.account.seq]
        calls = journal_rows.appending(batch.entries, self._labels)
        if files:
            calls.append(customers.saving(files))
        if batch.exposures:
            calls += exposures.writing(batch.exposures.values())
        if dirty:
            calls.append((accounts.SAVE, accounts.save_columns(dirty, self._labels)))
        if batch.settled:  # before what the same transaction tells of these addresses
            calls.append(addresses.settling(batch.settled, self._labels))
        if batch.events or batch.reach:
            calls += events.telling(events.keyed(batch.happened()), self._labels)
            facts = [fact for each in batch.events if (fact := address_fact(each)) is not None]
            calls += addresses.suppressing(facts, self._labels)
        if batch.linked or batch.unlinked:
            calls += addresses.relinking(batch.unlinked, batch.linked, self._labels)
        if batch.readmitted:
            calls.append(identities.readmitting(batch.readmitted))
        if strangers:
            calls.append((accounts.FORGET, (Texts(strangers),)))
        try:
            await exchange(connection, *calls, COMMIT)
        except ConnectionFailed as error:
            if not connection.broken and not connection.closed:
                await _roll_back(connection)
                raise
            raise InDoubt(batch.entries[0] if batch.entries else None, answers) from error
        except BaseException:
            await _roll_back(connection)
            raise

    async def _resolve_doubt(self, commands: Sequence[Command], doubt: InDoubt) -> list[object]:
        """Whether the commit happened: under the same locks the journal tells. If not, decide anew."""
        log.warning("the connection broke during a commit of %d commands; looking up what became of it", len(commands))
        ids = sorted({command.customer_id for command in commands})
        give_up = asyncio.get_running_loop().time() + _DOUBT_S
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(accounts.LOCK, (Texts(ids),))
                    if doubt.witness is not None and await journal_rows.exists(connection, doubt.witness):
                        return doubt.answers
                return await self._attempt(commands, _DOUBT_S, free_only=False)
            except (DatabaseUnavailable, InDoubt, *ConnectionFailed) as error:
                if isinstance(error, InDoubt):
                    doubt = error
                if asyncio.get_running_loop().time() > give_up:
                    raise DatabaseUnavailable(
                        "the database went away during the commit: ask again, with the same message id"
                    ) from error
                await asyncio.sleep(_AGAIN_S)


class Peekable(Command, Protocol[T]):
    """A command that can say its answer without a trace."""

    def peek(self, rules: Rules, held: Held) -> T: ...


def _columns(pairs: Iterable[tuple[str, int]]) -> tuple[Texts, Int8s]:
    ids, keys = zip(*pairs, strict=True)
    return Texts(ids), Int8s(keys)


async def _roll_back(connection: Connection) -> None:
    if not connection.broken and not connection.closed:
        await connection.rollback()
