"""What came too soon after its message is suspect, also where its sender confirms and tells of no send."""

import pytest

from engine.core.events import Event, Flag
from engine.core.origins import Origin
from engine.core.policy import DAY_US, MINUTE_US
from engine.core.verdict import Ask
from engine.operations import policies
from engine.operations.choices import Leave
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand
from tests.conftest import set_clock
from tests.operations.test_prune import rows

pytestmark = pytest.mark.anyio

SECOND_US = 1_000_000
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: any, limit: 9, window: {rolling: 7d}}
"""


async def reserve(decider: Decider, *customers: str, channel: str = "email") -> None:
    await policies.activate(decider.database, POLICY, author="test")
    for each in customers:
        answer = await decider.ask(AskCommand(each, "m", Ask(channel, "news", lease_us=DAY_US)), Mode.RESERVE)
        assert answer.state, answer


def click(customer_id: str, at_us: int, type_: str = "clicked", channel: str | None = None) -> Event:
    return Event(customer_id, "esp", f"{type_}-1", type_, at_us, channel, message_id="m")


def hasty(url: str) -> set[str]:
    """The customers with an event that is marked."""
    query = "SELECT customer_id FROM events WHERE flags & %s <> 0"
    return {row[0] for row in rows(url, query, int(Flag.SUSPECT_SOON))}


async def test_a_click_or_leave_soon_after_the_ask_is_suspect_confirmed_or_not(
    decider: Decider, database_url: str
) -> None:
    await reserve(decider, "confirmed", "open", "leaves", "later")
    await reserve(decider, "tapped", channel="push")
    asked_us = await decider.database.clock_us()
    for each in ("confirmed", "leaves", "later", "tapped"):
        await decider.settle(ConfirmCommand(each, "m"))
    origin = Origin("leaves", "email", "news", None, "m", asked_us)
    await decider.settle(Leave(origin, 400, "one-click:1"))
    soon = [click(each, asked_us + 2 * SECOND_US) for each in ("confirmed", "open", "tapped")]
    other = click("open", asked_us, "opened")
    set_clock(database_url, 10 * MINUTE_US)
    await Intake(decider).take([*soon, other, click("later", asked_us + 3 * MINUTE_US)])
    assert hasty(database_url) == {"confirmed", "open", "leaves"}
    assert rows(database_url, "SELECT flags FROM events WHERE event_id = 'opened-1'") == [(0,)]


async def test_a_click_soon_after_a_confirm_is_suspect_and_one_before_it_is_not(
    decider: Decider, database_url: str
) -> None:
    customers = ("after", "before", "much-later", "told", "released")
    await reserve(decider, *customers)
    asked_us = await decider.database.clock_us()
    set_clock(database_url, 60 * MINUTE_US)
    for each in customers[:3]:
        await decider.settle(ConfirmCommand(each, "m"))
    await decider.settle(ReleaseCommand("released", "m"))
    intake = Intake(decider)
    # Told late: its own arrival confirms, and says nothing of when it was sent.
    await intake.take([click("told", asked_us + 30 * MINUTE_US, "delivered", channel="email")])
    set_clock(database_url, 70 * MINUTE_US)
    ends_us = dict(rows(database_url, "SELECT customer_id, end_us FROM resolutions"))
    clicks = [
        click("after", ends_us["after"] + SECOND_US),
        click("before", ends_us["before"] - SECOND_US),
        click("much-later", ends_us["much-later"] + 121 * SECOND_US),
        click("told", ends_us["told"] + SECOND_US),
        click("released", ends_us["released"] + SECOND_US),
    ]
    await intake.take(clicks)
    assert hasty(database_url) == {"after"}


async def test_a_recorded_contact_says_when_it_was_sent(decider: Decider, database_url: str) -> None:
    sent_us = await decider.database.clock_us() - 60 * MINUTE_US
    for each in ("soon", "late"):
        await decider.settle(RecordCommand(each, "m", "email", "news", sent_us))
    late = click("late", sent_us + 121 * SECOND_US)
    await Intake(decider).take([click("soon", sent_us + 119 * SECOND_US, "unsubscribed"), late])
    assert hasty(database_url) == {"soon"}
