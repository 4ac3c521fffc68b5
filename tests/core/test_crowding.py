"""Refusals because of others: told by what the asker's own contacts alone would have left."""

import pytest

from engine.core.account import Contact, Kind, Lease
from engine.core.crowding import Crowded, Sent, crowded
from engine.core.customer import UNKNOWN
from engine.core.levels import Level, level
from engine.core.policy import DAY_US
from engine.core.rules import Rules
from engine.core.verdict import Ask
from engine.operations.policy_file import load_policy

NOW_US = 1_800_000_000_000_000
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: weekly, channels: [push], limit: 2, window: {rolling: 7d}}
  - {name: ever, channels: [phone], limit: 1, window: lifetime}
  - {name: each, channels: [sms], per: team, limit: 1, window: {rolling: 7d}}
  - {name: gap, channels: [email], min_gap: 2d}
"""
RULES = Rules(1, load_policy(POLICY))


def sent(party: str | None, channel: str, days_ago: float, seq: int = 1, weight: int = 1) -> Sent:
    at_us = NOW_US - int(days_ago * DAY_US)
    labels = channel, "promotions", None, party
    return Sent(Contact(seq, at_us, at_us, labels, weight, 50, Lease.SETTLED, Kind.ASKED, True), party)


def why(party: str | None, channel: str, budget: str, *contacts: Sent) -> Crowded | None:
    ask = Ask(channel, "promotions", None, party)
    return crowded(RULES, UNKNOWN, contacts, ask, party, budget, NOW_US)


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([("crm", 1), ("crm", 2)], Crowded(True, "crm")),
        ([("shop", 1), ("shop", 2)], Crowded(False, "shop")),
        ([("shop", 1), ("shop", 2), ("crm", 3)], Crowded(False, "shop")),
        ([("shop", 1), ("crm", 2)], Crowded(True, "crm")),
        ([("crm", 3), ("mail", 1)], Crowded(True, "mail")),
        ([("mail", 3), ("crm", 2), ("mail", 5)], Crowded(True, "mail")),
        ([(None, 1), ("crm", 2), (None, 3)], Crowded(True, None)),
        ([("crm", 1), ("crm", 8)], None),
        ([], None),
    ],
)
def test_who_filled_a_budget(contacts: list[tuple[str | None, float]], expected: Crowded | None) -> None:
    given = [sent(party, "push", days, seq) for seq, (party, days) in enumerate(contacts, 1)]
    assert why("shop", "push", "weekly", *given) == expected


def test_budgets_that_do_not_know_others_blame_nobody() -> None:
    assert why("shop", "phone", "ever", sent("crm", "phone", 30)) is None
    assert why("shop", "sms", "each", sent("shop", "sms", 1), sent("crm", "sms", 1)) == Crowded(False, "shop")
    assert why("shop", "push", "no-such", sent("crm", "push", 1)) is None


def test_a_min_gap_is_broken_by_whoever_was_near() -> None:
    assert why("shop", "email", "gap", sent("crm", "email", 1), sent("shop", "email", 3)) == Crowded(True, "crm")
    assert why("shop", "email", "gap", sent("crm", "email", 1), sent("shop", "email", 1)) == Crowded(False, "shop")


@pytest.mark.parametrize(
    ("limit", "used", "is_forgotten", "expected"),
    [
        (3, 3, False, Level.SATURATED),
        (3, 5, True, Level.SATURATED),
        (0, 0, False, Level.SATURATED),
        (1, 0, False, Level.COMFORTABLE),
        (1, 0, True, Level.FORGOTTEN),
        (3, 2, True, Level.CLOSE),
        (2, 1, False, Level.CLOSE),
        (9, 6, False, Level.CLOSE),
        (9, 5, False, Level.COMFORTABLE),
        (3, 1, False, Level.COMFORTABLE),
        (9, 1, True, Level.FORGOTTEN),
    ],
)
def test_a_level_in_one_word(limit: int, used: int, is_forgotten: bool, expected: Level) -> None:
    assert level(limit, used, is_forgotten=is_forgotten) is expected
