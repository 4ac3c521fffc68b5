"""Rules: how long a contact can matter under them, and that what they remember changes nothing."""

import pytest

from engine.core.account import Account
from engine.core.customer import UNKNOWN
from engine.core.decision import decide
from engine.core.policy import (
    DAY_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    Ceiling,
    Lifetime,
    Per,
    Policy,
    Rolling,
    Selector,
    Topic,
    Window,
)
from engine.core.rules import Rules
from engine.core.verdict import Ask
from engine.core.windows import Calendar
from tests.core.strategies import case, dice

PUSH = Selector(channels=frozenset({"push"}))


@pytest.mark.parametrize(
    ("window", "longest_us"),
    [
        (Rolling(30 * DAY_US, 30 * MINUTE_US), 30 * DAY_US),
        (Rolling(DAY_US), 7 * DAY_US),  # a customer's own choice may come at any time
        (CalendarWindow(Calendar.WEEK), 8 * DAY_US),
        (CalendarWindow(Calendar.MONTH), 32 * DAY_US),
        (Lifetime(), 7 * DAY_US),  # lives by the totals
    ],
)
def test_how_long_a_contact_can_matter(window: Window, longest_us: int):
    assert Rules(1, Policy({}, (Budget("one", window, 1),), "UTC")).longest_us == longest_us
    exempt = {"news": Topic(exempt=True, ceiling=Ceiling(1, window))}
    assert Rules(1, Policy(exempt, (), "UTC")).longest_us == longest_us


def test_rules_remember_what_they_say_of_equal_asks_and_stay_equal():
    rules, fresh = (Rules(1, Policy({}, (Budget("one", Rolling(DAY_US), 1, PUSH),), "UTC")) for _ in range(2))
    labels = "push", "news", None, None
    assert rules.terms(labels) is rules.terms(labels)
    assert rules.masks[labels] == 1
    assert rules.masks["email", "news", None, None] == 0
    assert rules == fresh


def test_a_memory_that_was_filled_decides_as_an_empty_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.core.rules._LABELS_MAX", 2)
    monkeypatch.setattr("engine.core.rules._PATCHED_MAX", 1)
    for seed in range(50):
        given, now_us = case(dice(seed))
        account = Account(contacts=list(given.contacts), totals=dict(given.totals))
        used = Rules(1, given.rules.policy, given.rules.pauses, given.rules.patches)
        for channel in ("email", "push", "sms"):
            for variants in ({}, {1: 1}):
                decide(used, UNKNOWN, account, Ask(channel, "news", "autumn"), now_us, variants)
        expected = decide(given.rules, given.customer, account, given.ask, now_us, given.variants)
        assert decide(used, given.customer, account, given.ask, now_us, given.variants) == expected


def test_a_budget_kept_per_label_says_nothing_of_an_ask_without_one():
    rules = Rules(1, Policy({}, (Budget("one", Rolling(DAY_US), 0, per=Per.TEAM),), "UTC"))
    assert rules.terms(("push", "news", "autumn", None)).gauges == ()
    assert len(rules.terms(("push", "news", None, "growth")).gauges) == 1
