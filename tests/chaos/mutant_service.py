"""`python -m tests.chaos.mutant_service NAME serve --port N`: the real service with one deliberate fault.

Each fault is a mistake that somebody made: in this project's own experiments, or in others' services. It is put in from
outside, by replacing a name of the engine before it serves; the engine's source knows nothing of it.
"""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false
# To break something from outside one has to reach into it.

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from engine.api import auth
from engine.core import meter, outcomes, rules, ruling
from engine.core.account import Lease, State
from engine.core.errors import Unavailable
from engine.core.verdict import Decision, Verdict
from engine.main import main as serve
from engine.operations import batch, decide, decider, file, intake, resolve, rulebook, settle
from engine.store import accounts, database, events, journal_rows
from engine.store.columns import Texts
from engine.store.exchange import exchange
from engine.store.journal import Resolution
from tests.chaos.records import host_us

FAULTS: dict[str, Callable[[], None]] = {}
_COMMIT_S = 0.1  # a commit that takes a little longer, as on a slower disk
_NO_LOCK = accounts.LOCK.replace("DO UPDATE SET seq = accounts.seq WHERE false", "DO NOTHING")
_running: set[asyncio.Task[None]] = set()


def fault(apply: Callable[[], None]) -> Callable[[], None]:
    FAULTS[apply.__name__.replace("_", "-")] = apply
    return apply


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
                await asyncio.sleep(_COMMIT_S)
                await self._commit(connection, made, answers)

        task = asyncio.create_task(work())
        _running.add(task)
        task.add_done_callback(_running.discard)
        return await answered

    settle.Settler._attempt = early


@fault
def answers_stored_outside() -> None:
    """The account is saved in one transaction, the journal in the next."""
    commit = settle.Settler._commit

    async def twice(self: settle.Settler, connection: Any, made: batch.Batch, answers: list[object]) -> None:
        await commit(self, connection, replace(made, entries=[]), answers)
        await asyncio.sleep(3 * _COMMIT_S)
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
def rules_kept() -> None:
    """Each process goes on with the rules that it read first."""
    read = rulebook.Rulebook.rules

    async def kept(self: rulebook.Rulebook, connection: Any, number: int) -> Any:
        return await read(self, connection, min(self._rules, default=number))

    rulebook.Rulebook.rules = kept


@fault
def rules_kept_for_a_second() -> None:
    """Which rules are in force each process looks up once a second."""
    read = rulebook.Rulebook.rules
    looked_up: list[tuple[float, int]] = []

    async def kept(self: rulebook.Rulebook, connection: Any, number: int) -> Any:
        if not looked_up or time.monotonic() - looked_up[-1][0] > 1:
            looked_up.append((time.monotonic(), number))
        return await read(self, connection, looked_up[-1][1])

    rulebook.Rulebook.rules = kept


@fault
def limits_of_the_control() -> None:
    """Customers are assigned, and then decided under the policy as it is."""
    rules.Rules.under = lambda self, variants: self


@fault
def variants_not_on_record() -> None:
    """Who entered an experiment is known to decisions, and not to whoever reads it afterwards."""
    commit = settle.Settler._commit

    async def forgetful(self: settle.Settler, connection: Any, made: batch.Batch, answers: list[object]) -> None:
        await commit(self, connection, replace(made, exposures={}), answers)

    settle.Settler._commit = forgetful


@fault
def events_without_a_key() -> None:
    """What came is written down, whether it came before or not."""
    events.keyed = lambda events: {(each.customer_id, secrets.randbits(62)): each for each in events}
    append = intake.Intake._append

    async def appended(self: intake.Intake, free: Any) -> Any:
        await append(self, events.keyed(free.values()))
        return dict.fromkeys(free, intake.Result.ACCEPTED)

    intake.Intake._append = appended


@fault
def events_kept_after_the_answer() -> None:
    """Events that forbid nothing are acknowledged at once, and written down when there is time."""
    append = intake.Intake._append

    async def later(self: intake.Intake, free: Any) -> Any:
        async def work() -> None:
            await asyncio.sleep(3 * _COMMIT_S)
            await append(self, free)

        task = asyncio.create_task(work())
        _running.add(task)
        task.add_done_callback(_running.discard)
        return dict.fromkeys(free, intake.Result.ACCEPTED)

    intake.Intake._append = later


@fault
def unsubscribes_by_event_unheard() -> None:
    """An event is kept as it came, and what it says of suppressions is left for a job to find."""
    outcomes.facts = lambda _: ()


@fault
def keys_believed_too_long() -> None:
    """A process asks for a key once a minute."""
    auth._BELIEVED_S = 60.0


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
    auth._BELIEVED_S = 60.0  # or the look-up of the key would say that nobody can know


def main() -> None:
    name = sys.argv.pop(1)
    FAULTS[name]()
    serve()


if __name__ == "__main__":
    main()
