"""Suppressions and consents: joining them in any order, what each binds, and whose word is the last."""

from itertools import product

import pytest

from engine.core.policy import ConsentRule
from engine.core.suppression import (
    BINDS_EXEMPT_BY_DEFAULT,
    Consent,
    Scope,
    Suppression,
    SuppressionReason,
    find_suppression,
    has_consent,
)
from tests.core.strategies import CHANNELS, NOONS_US, TOPICS, dice, suppression

EVERYTHING, EMAIL, NEWS = Scope(), Scope(channel="email"), Scope(topic="news")


def unsubscribed(scope: Scope, *, binds_exempt: bool = False, at_us: int = 1) -> Suppression:
    return Suppression(scope, SuppressionReason.UNSUBSCRIBE, at_us, "page", binds_exempt)


def said(given: bool, at_us: int, scope: Scope = EVERYTHING) -> Consent:
    return Consent(scope, given, at_us, "form")


def test_joining_is_commutative_associative_and_idempotent():
    for seed in range(500):
        random = dice(seed)
        one, two, three = (suppression(random, NOONS_US[0]) for _ in range(3))
        two, three = (
            Suppression(one.scope, one.reason, each.at_us, each.source, each.binds_exempt, each.lifted_us)
            for each in (two, three)
        )
        assert one.joined(two) == two.joined(one)
        assert one.joined(two).joined(three) == one.joined(two.joined(three))
        assert one.joined(one) == one
        assert one.joined(two).joined(two) == one.joined(two)


def test_a_joined_suppression_binds_whatever_either_binds():
    for seed in range(300):
        random = dice(seed)
        one, other = suppression(random, NOONS_US[0]), suppression(random, NOONS_US[0])
        other = Suppression(one.scope, one.reason, other.at_us, other.source, other.binds_exempt)
        both = one.joined(other)
        for channel, topic, exempt in product(CHANNELS, TOPICS, (False, True)):
            either = one.binds(channel, topic, exempt=exempt) or other.binds(channel, topic, exempt=exempt)
            assert both.binds(channel, topic, exempt=exempt) == either


@pytest.mark.parametrize(
    ("scope", "channel", "topic", "covers"),
    [
        (EVERYTHING, "push", "promotions", True),
        (EMAIL, "email", "promotions", True),
        (EMAIL, "push", "news", False),
        (NEWS, "push", "news", True),
        (NEWS, "push", "promotions", False),
        (Scope("email", "news"), "email", "news", True),
        (Scope("email", "news"), "push", "news", False),
        (Scope("email", "news"), "email", "promotions", False),
    ],
)
def test_a_scope_covers_what_it_names_and_all_it_leaves_open(scope: Scope, channel: str, topic: str, covers: bool):
    assert scope.covers(channel, topic) == covers
    assert (find_suppression([unsubscribed(scope)], channel, topic, exempt=False) is not None) == covers


@pytest.mark.parametrize(
    ("scope", "binds_exempt", "binds"),
    [
        (EVERYTHING, False, False),
        (EMAIL, False, False),
        (NEWS, False, True),  # its scope names the topic
        (Scope("email", "news"), False, True),
        (EVERYTHING, True, True),
        (EMAIL, True, True),
        (Scope("push", "news"), True, False),
        (Scope(topic="promotions"), True, False),
    ],
)
def test_an_exempt_topic_is_bound_by_its_own_name_or_a_hard_reason(scope: Scope, binds_exempt: bool, binds: bool):
    found = find_suppression([unsubscribed(scope, binds_exempt=binds_exempt)], "email", "news", exempt=True)
    assert (found is not None) == binds


def test_hard_bounces_erasure_and_a_hand_bind_exempt_topics():
    assert {each.value for each in BINDS_EXEMPT_BY_DEFAULT} == {"hard_bounce", "by_hand", "erasure"}


def test_one_suppression_that_covers_is_enough_however_many_do_not():
    others = [unsubscribed(Scope("push")), unsubscribed(Scope(topic="news"))]
    binding = unsubscribed(EMAIL)
    assert find_suppression([*others, binding], "email", "promotions", exempt=False) is binding
    assert find_suppression(others, "email", "promotions", exempt=False) is None


OUT, OPT_IN, EXISTING = (
    (ConsentRule.OPT_OUT, ConsentRule.OPT_OUT),
    (ConsentRule.OPT_OUT, ConsentRule.OPT_IN),
    (ConsentRule.EXISTING_CUSTOMER, ConsentRule.OPT_OUT),
)


@pytest.mark.parametrize(
    ("rules", "consents", "attributes", "allowed"),
    [
        (OUT, [], {}, True),
        (OUT, [said(False, 1)], {}, False),  # a withdrawal denies under every rule
        (OPT_IN, [], {}, False),
        (OPT_IN, [said(True, 1)], {}, True),
        (OPT_IN, [], {"existing_customer": True}, False),
        (EXISTING, [], {}, False),
        (EXISTING, [], {"existing_customer": True}, True),
        (EXISTING, [], {"existing_customer": 1}, False),
        (EXISTING, [said(True, 1)], {}, True),
        (EXISTING, [said(False, 1)], {"existing_customer": True}, False),
        ((ConsentRule.EXISTING_CUSTOMER, ConsentRule.OPT_IN), [], {"existing_customer": True}, False),  # the strictest
        (OPT_IN, [said(True, 1), said(False, 2)], {}, False),  # the newest speaks
        (OPT_IN, [said(False, 1), said(True, 2)], {}, True),
        (OPT_IN, [said(True, 2), said(False, 2)], {}, False),  # at one instant, the withdrawal
        (OPT_IN, [said(False, 2), said(True, 2)], {}, False),
        (OPT_IN, [said(True, 2), said(False, 3, Scope("push"))], {}, True),  # about something else
        (OPT_IN, [said(True, 2), said(False, 3, EMAIL)], {}, False),
    ],
)
def test_consent(
    rules: tuple[ConsentRule, ...], consents: list[Consent], attributes: dict[str, bool | int], allowed: bool
):
    for order in (consents, consents[::-1]):
        assert has_consent(rules, order, attributes, "email", "promotions") == allowed
