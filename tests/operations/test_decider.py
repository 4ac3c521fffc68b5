"""One ask and what becomes of it, through the lanes, on a real PostgreSQL."""

import asyncio

import pytest

from engine.core.account import State
from engine.core.errors import MessageReused, NotFound
from engine.core.verdict import Ask, Verdict
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand, Resolved

pytestmark = pytest.mark.anyio


def ask(message_id: str | None, customer_id: str = "ada", channel: str = "email", **more: object) -> AskCommand:
    return AskCommand(customer_id, message_id, Ask(channel, "newsletter", **more))  # type: ignore[arg-type]


async def resolve(decider: Decider, command: ConfirmCommand | ReleaseCommand | RecordCommand) -> Resolved:
    resolved = await decider.settle(command)
    assert isinstance(resolved, Resolved)
    return resolved


async def test_an_ask_is_allowed_confirmed_and_counted(decider: Decider) -> None:
    answer = await decider.ask(ask("m1"), Mode.RESERVE)
    assert answer.verdict is Verdict.ALLOW, answer
    assert answer.state is State.RESERVED
    confirmed = await resolve(decider, ConfirmCommand("ada", "m1"))
    assert confirmed.state is State.CONFIRMED
    assert confirmed.applied
    again = await resolve(decider, ConfirmCommand("ada", "m1"))
    assert again.state is State.CONFIRMED
    assert not again.applied
    replayed = await decider.ask(ask("m1"), Mode.RESERVE)
    assert replayed.replayed
    assert replayed.state is State.CONFIRMED


async def test_other_content_under_a_live_id_is_refused(decider: Decider) -> None:
    await decider.ask(ask("m1"), Mode.RESERVE)
    with pytest.raises(MessageReused):
        await decider.ask(ask("m1", campaign="other"), Mode.RESERVE)


async def test_released_returns_the_budget_and_the_id_counts_attempts(decider: Decider) -> None:
    first = await decider.ask(ask("m1"), Mode.RESERVE)
    released = await resolve(decider, ReleaseCommand("ada", "m1"))
    assert released.state is State.RELEASED
    assert released.applied
    second = await decider.ask(ask("m1"), Mode.RESERVE)
    assert (first.attempt, second.attempt, second.verdict) == (1, 2, Verdict.ALLOW)


async def test_recorded_contacts_count_once(decider: Decider) -> None:
    now_us = await decider.database.clock_us()
    record = RecordCommand("ada", "old", "email", "newsletter", now_us - 1_000_000)
    assert (await resolve(decider, record)).applied
    assert not (await resolve(decider, record)).applied
    answer = await decider.ask(ask("m1"), Mode.RESERVE)
    assert answer.verdict is not Verdict.ALLOW


async def test_an_unknown_message_cannot_be_confirmed(decider: Decider) -> None:
    with pytest.raises(NotFound):
        await resolve(decider, ConfirmCommand("ada", "nothing"))


async def test_many_asks_at_once_never_exceed_the_budget(decider: Decider) -> None:
    asks = [ask(f"m{n}", f"c{n % 60}") for n in range(600)]
    answers = await asyncio.gather(*(decider.ask(each, Mode.RESERVE) for each in asks))
    allowed = [answer.customer_id for answer in answers if answer.verdict is Verdict.ALLOW]
    assert len(allowed) == len(set(allowed)) == 60
