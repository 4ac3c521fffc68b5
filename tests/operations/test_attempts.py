"""Attempts under one message id: which of them stands, what each does to the account, and when an id starts anew."""

import pytest

from engine.core.account import State
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, OnExpiry
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.resolve import ConfirmCommand, ReleaseCommand, Resolved
from engine.operations.verify import verify
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: calls-ever, channels: [phone], limit: 3, window: lifetime}
"""


@pytest.fixture
async def lenient(decider: Decider) -> Decider:
    await policies.activate(decider.database, POLICY, author="test")
    return decider


async def resolve(decider: Decider, command: ConfirmCommand | ReleaseCommand) -> Resolved:
    resolved = await decider.settle(command)
    assert isinstance(resolved, Resolved)
    return resolved


def ask(message_id: str, channel: str = "email", **more: object) -> AskCommand:
    return AskCommand("ada", message_id, Ask(channel, "newsletter", lease_us=MINUTE_US, **more))  # type: ignore[arg-type]


async def test_attempts_counted_anew_hide_no_live_contact(lenient: Decider, database_url: str) -> None:
    for _ in range(2):
        await lenient.ask(ask("m1"), Mode.RESERVE)
        await resolve(lenient, ReleaseCommand("ada", "m1"))
    set_clock(database_url, 16 * DAY_US + HOUR_US)  # attempts 1 and 2 are forgotten, but not out of sight
    anew = await lenient.ask(ask("m1"), Mode.RESERVE)
    assert (anew.verdict, anew.attempt) == (Verdict.ALLOW, 1)
    again = await lenient.ask(ask("m1"), Mode.RESERVE)
    assert again.replayed


async def test_an_attempt_confirmed_late_is_not_asked_for_again(lenient: Decider, database_url: str) -> None:
    await lenient.ask(ask("m1"), Mode.RESERVE)
    set_clock(database_url, HOUR_US)  # it expires
    await lenient.ask(ask("m1"), Mode.RESERVE)
    assert (await resolve(lenient, ConfirmCommand("ada", "m1", 1))).state is State.LATE
    await resolve(lenient, ReleaseCommand("ada", "m1", 2))
    again = await lenient.ask(ask("m1"), Mode.RESERVE)
    assert (again.replayed, again.state, again.attempt) == (True, State.LATE, 1)


async def test_a_late_confirm_finds_the_first_of_many_attempts(lenient: Decider, database_url: str) -> None:
    for _ in range(9):
        await lenient.ask(ask("m1"), Mode.RESERVE)
        await resolve(lenient, ReleaseCommand("ada", "m1"))
    assert (await resolve(lenient, ConfirmCommand("ada", "m1", 1))).state is State.LATE
    again = await lenient.ask(ask("m1"), Mode.RESERVE)
    assert (again.replayed, again.state, again.attempt) == (True, State.LATE, 1)


async def test_marking_a_presumed_contact_that_the_account_let_go_charges_it_once(
    lenient: Decider, database_url: str
) -> None:
    await lenient.ask(ask("m1", "phone", on_expiry=OnExpiry.PRESUME_SENT), Mode.RESERVE)
    set_clock(database_url, 12 * DAY_US)  # longer than any window: it leaves the account for the totals
    await lenient.ask(ask("m2"), Mode.RESERVE)
    assert (await resolve(lenient, ConfirmCommand("ada", "m1"))).applied
    report = await verify(lenient.database)
    assert report.is_clean, report.findings
    asked = await lenient.ask(ask("m3", "phone"), Mode.RESERVE)
    assert [each.used for each in asked.budgets] == [2]
