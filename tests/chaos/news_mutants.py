"""Faults in what a service learns while it decides: rules, experiments, events, keys. See `mutant_service`."""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

from engine.core import outcomes, rules
from engine.operations import authenticate, batch, intake, rulebook, settle
from engine.store import events
from tests.chaos.faults import COMMIT_S, fault, meanwhile


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

    async def appended(self: intake.Intake, free: Any, revoked: Any) -> Any:
        await append(self, events.keyed(free.values()), revoked)
        return dict.fromkeys(free, intake.Result.ACCEPTED)

    intake.Intake._append = appended


@fault
def events_kept_after_the_answer() -> None:
    """Events that forbid nothing are acknowledged at once, and written down when there is time."""
    append = intake.Intake._append

    async def later(self: intake.Intake, free: Any, revoked: Any) -> Any:
        async def work() -> None:
            await asyncio.sleep(3 * COMMIT_S)
            await append(self, free, revoked)

        meanwhile(work())
        return dict.fromkeys(free, intake.Result.ACCEPTED)

    intake.Intake._append = later


@fault
def unsubscribes_by_event_unheard() -> None:
    """An event is kept as it came, and what it says of suppressions is left for a job to find."""
    outcomes.facts = lambda _: ()


@fault
def keys_believed_too_long() -> None:
    """A process asks for a key once a minute."""
    authenticate._BELIEVED_S = 60.0
