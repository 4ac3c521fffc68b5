"""More contacts than an account row holds: what a decision needs of the others comes back from the journal in time."""

import pytest

from engine.core.account import MAX_CONTACTS
from engine.core.customer import Preference
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.file import PutCustomer, PutPreferences
from engine.operations.resolve import RecordCommand
from engine.operations.verify import verify
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio

POLICY = """\
schema: 1
unknown_timezone: Pacific/Kiritimati
budgets:
  - {name: hourly, channels: [email, phone], limit: 100, window: {rolling: 1h}}
  - {name: daily, channels: [push], limit: 80, window: {calendar: day}}
"""
AWAY = "Pacific/Pago_Pago"  # 25 hours behind Kiritimati: its day began a day earlier


@pytest.mark.parametrize(
    ("change", "ask"),
    [
        (PutPreferences("ada", (Preference("email", None, 80),)), Ask("email", "news")),
        (PutCustomer("ada", time_zone=AWAY), Ask("push", "news")),
    ],
    ids=["a choice of one's own limit", "a move to the west"],
)
async def test_an_ask_right_behind_a_change_that_makes_it_look_further_back(
    decider: Decider, database_url: str, change: PutCustomer | PutPreferences, ask: Ask
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    half_past_ten_us = 20_820 * DAY_US + 10 * HOUR_US + 30 * MINUTE_US  # 00:30 in Kiritimati, 23:30 in Pago Pago
    set_clock(database_url, half_past_ten_us - await decider.database.clock_us())
    now_us = await decider.database.clock_us()
    before = [
        RecordCommand("ada", f"old{number}", ask.channel, "news", now_us - 12 * HOUR_US - number)
        for number in range(80)
    ]
    await decider.settle_all(before)
    await decider.settle_all(
        [RecordCommand("ada", f"new{number}", "sms", "news", now_us) for number in range(MAX_CONTACTS)]
    )
    answers = await decider.settle_all([change, AskCommand("ada", "m1", ask)])
    answer = answers[1]
    assert isinstance(answer, Answer)
    assert answer.verdict is not Verdict.ALLOW
    report = await verify(decider.database)
    assert report.is_clean, report.findings
