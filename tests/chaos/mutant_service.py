"""`python -m tests.chaos.mutant_service NAME serve --port N`: the real service with one deliberate fault.

Each fault is a mistake that somebody made: in this project's own experiments, or in others' services. It is put in from
outside, by replacing a name of the engine before it serves; the engine's source knows nothing of it.
"""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false
# To break something from outside one has to reach into it.

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tests.chaos.news_mutants  # noqa: F401  whose faults enter themselves
from engine.core import meter, ruling
from engine.core.account import Lease, State
from engine.core.errors import Unavailable
from engine.core.verdict import Decision, Verdict
from engine.main import main as serve
from engine.operations import authenticate, batch, decide, decider, file, resolve, settle
from engine.store import accounts, database, journal_rows
from engine.store.columns import Texts
from engine.store.exchange import exchange
from engine.store.journal import Resolution
from tests.chaos.faults import COMMIT_S, FAULTS, fault, meanwhile
from tests.chaos.records import host_us

_NO_LOCK = accounts.LOCK.replace("DO UPDATE SET seq = accounts.seq WHERE false", "DO NOTHING")


@fault
def none() -> None:
    """The service as it is."""


@fault
def no_lock() -> None:
    """Read, decide and write, without a lock."""
    accounts.LOCK = _NO_LOCK


@fault
def lock_and_read_in_one() -> None:
    """The lock and the read in one statement: it sees the rows as they were before it waited."""
    accounts.READ = accounts.READ.replace(
        "WITH now AS",
        "WITH wanted AS MATERIALIZED (SELECT id FROM unnest(%b) AS ids(id)), locked AS ("
        'INSERT INTO accounts (customer_id) SELECT id FROM wanted ORDER BY id COLLATE "C"'
        " ON CONFLICT (customer_id) DO UPDATE SET seq = accounts.seq WHERE false RETURNING 1),"
        " forced AS MATERIALIZED (SELECT count(*) FROM locked), now AS",
    ).replace("CROSS JOIN unnest(%b) AS ids(id)", "CROSS JOIN forced CROSS JOIN wanted AS ids")
    accounts.LOCK = "SELECT %b::text[]"


@fault
def lock_of_this_process() -> None:
    """A lock that other processes do not see."""
    accounts.LOCK = _NO_LOCK
    attempt, locks = settle.Settler._attempt, {number: asyncio.Lock() for number in range(64)}

    async def locked(self: settle.Settler, commands: Sequence[batch.Command], *more: Any, **named: Any) -> list[object]:
        wanted = sorted({hash(each.customer_id) % 64 for each in commands})
        for number in wanted:
            await locks[number].acquire()
        try:
            return await attempt(self, commands, *more, **named)
        finally:
            for number in wanted:
                locks[number].release()

    settle.Settler._attempt = locked


@fault
def clock_of_the_transaction() -> None:
    """now(): the start of the transaction, before it waited for the lock; and no look at the latest stamp."""
    accounts.READ = accounts.READ.replace("takt_clock()", "(extract(epoch FROM now()) * 1000000)::bigint")
    init = batch.Held.__init__

    def made(self: batch.Held, customer_id: str, account: Any, texts: Any, clock_us: int) -> None:
        init(self, customer_id, account, texts, clock_us)
        self.now_us = clock_us

    batch.Held.__init__ = made


@fault
def clock_that_steps_back() -> None:
    """The database's clock is believed, whatever an account was stamped with before."""
    init = batch.Held.__init__

    def made(self: batch.Held, customer_id: str, account: Any, texts: Any, clock_us: int) -> None:
        init(self, customer_id, account, texts, clock_us)
        self.now_us = clock_us

    batch.Held.__init__ = made


@fault
def clock_that_stands_still() -> None:
    """A customer's time is that of their latest stamp, and the clock's only for whom has none."""
    init = batch.Held.__init__

    def made(self: batch.Held, customer_id: str, account: Any, texts: Any, clock_us: int) -> None:
        init(self, customer_id, account, texts, clock_us)
        self.now_us = account.latest_us or clock_us

    batch.Held.__init__ = made


@fault
def clock_of_the_host() -> None:
    """Each process of the service goes by the clock of its own host."""
    init = batch.Held.__init__

    def made(self: batch.Held, customer_id: str, account: Any, texts: Any, clock_us: int) -> None:
        init(self, customer_id, account, texts, host_us())

    batch.Held.__init__ = made


@fault
def presume_sent_at_the_answer() -> None:
    """A contact that nobody will confirm counts as sent when it was allowed, and not at the end of its lease."""
    contact = Decision.contact

    def presumed(self: Decision, *about: Any) -> Any:
        made = contact(self, *about)
        return made._replace(end_us=made.start_us, lease=Lease.SETTLED) if made.lease is Lease.PRESUMED else made

    Decision.contact = presumed


@fault
def count_from_the_reservation() -> None:
    """Windows are counted from when a contact was reserved, whenever it was sent."""
    charges = ruling._charges

    def early(*about: Any, **named: Any) -> Any:
        return [(start, start, *rest) for start, _, *rest in charges(*about, **named)]

    ruling._charges = early


@fault
def answer_before_commit() -> None:
    """Answers are given first and committed right after."""

    async def early(
        self: settle.Settler, commands: Sequence[batch.Command], lock_wait_s: float | None, *, free_only: bool
    ) -> list[object]:
        answered = asyncio.get_running_loop().create_future()

        async def work() -> None:
            async with self._database.raw_connection() as connection:
                try:
                    made = await self._lock_and_read(connection, commands, lock_wait_s, free_only=free_only)
                    answers = [self._apply(made, command) for command in commands]
                    await self._labels.intern(journal_rows.rules_named(made.entries))
                except BaseException as error:
                    await settle._roll_back(connection)
                    answered.set_exception(error)
                    return
                answered.set_result(answers)
                await asyncio.sleep(COMMIT_S)
                await self._commit(connection, made, answers)

        meanwhile(work())
        return await answered

    settle.Settler._attempt = early


@fault
def answers_stored_outside() -> None:
    """The account is saved in one transaction, the journal in the next."""
    commit = settle.Settler._commit

    async def twice(self: settle.Settler, connection: Any, made: batch.Batch, answers: list[object]) -> None:
        await commit(self, connection, replace(made, entries=[]), answers)
        await asyncio.sleep(3 * COMMIT_S)
        await exchange(connection, *journal_rows.appending(made.entries, self._labels))

    settle.Settler._commit = twice


@fault
def commit_without_waiting() -> None:
    """synchronous_commit = off, at a start that does not look."""

    async def unchecked(_: object) -> None: ...

    commit_without_waiting_checked()
    database.check_server = unchecked


@fault
def commit_without_waiting_checked() -> None:
    """The same at a start that looks."""
    database._SESSION = database._SESSION.replace("synchronous_commit=on", "synchronous_commit=off")


@fault
def repeatable_read_checked() -> None:
    """Snapshots older than the lock, at a start that looks."""
    database._SESSION = database._SESSION.replace("read\\ committed", "repeatable\\ read")


@fault
def charge_one_by_one() -> None:
    """An ask that one budget refuses is charged to the others all the same."""
    refuse = decide.AskCommand._refuse

    def charged(self: decide.AskCommand, made: Any, held: Any, decided: Any, attempt: int, variants: Any) -> Any:
        answer = refuse(self, made, held, decided, attempt, variants)
        if decided.verdict is not Verdict.ALLOW:
            held.account.add(decided.contact(self.ask, held.account.seq))
        return answer

    decide.AskCommand._refuse = charged


@fault
def confirm_whatever_it_is() -> None:
    """A confirm does not look at what has become of the contact."""

    def unguarded(made: batch.Batch, held: batch.Held, message: Any) -> Any:
        end_us = max(held.now_us, message.start_us)
        return resolve._resolved(held, made.resolve(held, message, Resolution.CONFIRMED, end_us), applied=True)

    resolve.confirm = unguarded


@fault
def release_whatever_it_is() -> None:
    """A release gives the budget back each time that it comes."""

    def unguarded(self: resolve.ReleaseCommand, made: batch.Batch, held: batch.Held) -> Any:
        message = resolve._known(held, self.message_id, self.attempt)
        return resolve._resolved(held, made.resolve(held, message, Resolution.RELEASED, held.now_us), applied=True)

    resolve.ReleaseCommand.apply = unguarded


@fault
def unsubscribe_without_the_lock() -> None:
    """A suppression reads and writes beside those who hold the account."""
    settled = decider.Decider.settle

    async def unlocked(self: decider.Decider, command: Any) -> object:
        if not isinstance(command, file.Suppress):
            return await settled(self, command)
        settler, ids = self._settler, Texts([command.customer_id])
        async with self.database.raw_connection() as connection:
            await connection.execute("BEGIN")
            await connection.execute(_NO_LOCK, (ids,))
            rows = await (await connection.execute(accounts.READ, (ids,), binary=True)).fetchall()
            made = await settler._batch(connection, rows, [])
            answer = command.apply(made, made.held[command.customer_id])
            await settler._commit(connection, made, [answer])
        return answer

    decider.Decider.settle = unlocked


@fault
def unsubscribe_without_revoking() -> None:
    """Leases that were open go on."""
    batch.Batch.revoke = lambda *_: None


@fault
def clamped_counter() -> None:
    """A count that is kept within bounds tells nobody that it left them."""
    used = meter.Meter.used
    meter.Meter.used = lambda self, clock_us: min(used(self, clock_us), 2)


@fault
def window_closed_at_its_end() -> None:
    """`<=` for `<`: a contact still counts at the very instant at which its window ends."""
    meter._over_us = lambda start_us, length_us: start_us - length_us - 1


@fault
def window_ends_too_early() -> None:
    """The other edge, off by one."""
    meter._over_us = lambda start_us, length_us: start_us - length_us + 1


@fault
def messages_forgotten() -> None:
    """An ask does not look whether its message has a contact already."""
    apply = decide.AskCommand.apply

    def fresh(self: decide.AskCommand, made: batch.Batch, held: batch.Held) -> Any:
        known, held.messages = held.messages, {}
        try:
            return apply(self, made, held)
        finally:
            held.messages = {**known, **held.messages}

    decide.AskCommand.apply = fresh


@fault
def doubt_taken_for_done() -> None:
    """A commit of which nothing was heard any more is taken to have happened."""

    async def believed(self: settle.Settler, _: object, doubt: settle.InDoubt) -> list[object]:
        return doubt.answers

    settle.Settler._resolve_doubt = believed


@fault
def allow_when_in_doubt() -> None:
    """Who cannot reach the database says yes."""
    ask = decider.Decider.ask

    async def yes(self: decider.Decider, command: decide.AskCommand, mode: decide.Mode) -> Any:
        try:
            return await ask(self, command, mode)
        except Unavailable:
            now_us = host_us()
            lease_us = command.ask.lease_us or 1_000_000
            about = command.message_id, command.customer_id, Verdict.ALLOW, State.RESERVED, (), None, True
            more = now_us + lease_us, lease_us, (), {}, 1, now_us
            return decide.Answer(*about, *more, replayed=False, attempt=1, observed=None, recorded=True, now_us=now_us)

    decider.Decider.ask = yes
    authenticate._BELIEVED_S = 60.0  # or the look-up of the key would say that nobody can know


def main() -> None:
    name = sys.argv.pop(1)
    FAULTS[name]()
    serve()


if __name__ == "__main__":
    main()
