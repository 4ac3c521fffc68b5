"""What a policy may say, what it may not, and that it survives being written down."""

import copy
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.core.errors import InvalidPolicy, Problem
from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    CasePause,
    Ceiling,
    Condition,
    ConsentRule,
    HoldBack,
    Lifetime,
    OnExpiry,
    Operator,
    Override,
    Per,
    Policy,
    PolicyMode,
    Purpose,
    QuietHours,
    Rolling,
    Selector,
    SoftBounces,
    Topic,
    WhenExceeded,
)
from engine.core.policy_reader import policy_data, read_patch, read_policy
from engine.core.quiet import QuietPeriod
from engine.core.windows import Calendar
from tests.core.policies import json_values, policies

# Whole policies take a while to draw; a loaded machine is no reason to fail.
LARGE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WEEK = {"rolling": "7d"}
PUSH = {"name": "push-weekly", "channels": ["push"], "limit": 2, "window": WEEK}
NIGHT = {"from": "21:00", "to": "08:00"}
PAUSE = {"from": "case_opened", "until": "case_closed", "at_most": "14d"}


def document(**sections: Any) -> dict[str, Any]:
    return {"schema": 1, **copy.deepcopy(sections)}


def budget(**fields: Any) -> dict[str, Any]:
    return document(budgets=[{**PUSH, **fields}])


def gap(**fields: Any) -> dict[str, Any]:
    return document(budgets=[{"name": "spacing", "min_gap": "16h", **fields}])


def override(when: object) -> dict[str, Any]:
    return budget(overrides=[{"when": when, "limit": 1}])


# --- what is read ---------------------------------------------------------------------------------------------------


def test_the_smallest_policy_has_no_rules_and_the_defaults():
    assert read_policy({"schema": 1}) == Policy(topics={}, budgets=(), unknown_timezone=None)


def test_a_policy_with_everything_is_read_as_the_values_it_names():
    data = document(
        mode="observe",
        unknown_timezone="Europe/Berlin",
        topics={
            "promotions": {"purpose": "sell", "consent": "opt_in"},
            "order-updates": {
                "purpose": "serve",
                "exempt": True,
                "counts": False,
                "ceiling": {"limit": 10, "window": {"rolling": "1d"}},
            },
        },
        channels={"sms": {"consent": "opt_in"}},
        budgets=[
            {
                "name": "push-weekly",
                "channels": ["push"],
                "topics": ["promotions"],
                "limit": 1,
                "window": {"rolling": "7d", "tolerance": "30m"},
                "overrides": [{"when": {"lifecycle": "new"}, "limit": 2}, {"when": {"vip": True}, "limit": None}],
            },
            {
                "name": "any-daily",
                "limit": 2,
                "window": {"calendar": "day"},
                "when_exceeded": "deny",
                "hold_back": {"keep": 1, "for_priority": 70},
                "weights": {"email": 1, "phone": 3},
            },
            {"name": "same-campaign", "per": "campaign", "limit": 1, "window": {"rolling": "30d"}, "shadow": True},
            {"name": "spacing", "channels": ["email"], "min_gap": "1d12h"},
            {"name": "calls-ever", "channels": ["phone"], "limit": 2, "window": "lifetime"},
        ],
        quiet_hours=[
            {"channels": ["push", "sms"], "from": "21:00", "to": "08:00", "days": ["mon", "sun"]},
            {"channels": ["phone"], "from": "20:00", "to": "24:00", "when": {"country": ["DE", "AT"]}},
        ],
        pauses=[{**PAUSE, "topics": ["promotions"]}],
        lease="90s",
        max_lease="2d",
        on_expiry="presume_sent",
        soft_bounces={"suppress_after": 3, "within": "2w"},
    )
    assert read_policy(data) == Policy(
        mode=PolicyMode.OBSERVE,
        unknown_timezone="Europe/Berlin",
        topics={
            "promotions": Topic(Purpose.SELL, ConsentRule.OPT_IN),
            "order-updates": Topic(Purpose.SERVE, exempt=True, counts=False, ceiling=Ceiling(10, Rolling(DAY_US))),
        },
        channels={"sms": ConsentRule.OPT_IN},
        budgets=(
            Budget(
                name="push-weekly",
                window=Rolling(7 * DAY_US, 30 * MINUTE_US),
                limit=1,
                selector=Selector(channels=frozenset({"push"}), topics=frozenset({"promotions"})),
                overrides=(
                    Override((Condition("lifecycle", Operator.EQ, "new"),), 2),
                    Override((Condition("vip", Operator.EQ, True),), None),
                ),
            ),
            Budget(
                name="any-daily",
                window=CalendarWindow(Calendar.DAY),
                limit=2,
                when_exceeded=WhenExceeded.DENY,
                hold_back=HoldBack(1, 70),
                weights={"email": 1, "phone": 3},
            ),
            Budget("same-campaign", Rolling(30 * DAY_US), 1, per=Per.CAMPAIGN, shadow=True),
            Budget("spacing", Rolling(36 * HOUR_US), 1, Selector(channels=frozenset({"email"})), is_gap=True),
            Budget("calls-ever", Lifetime(), 2, Selector(channels=frozenset({"phone"}))),
        ),
        quiet_hours=(
            QuietHours(QuietPeriod(21 * 60, 8 * 60, frozenset({1, 7})), Selector(channels=frozenset({"push", "sms"}))),
            QuietHours(
                QuietPeriod(20 * 60, 0, None),
                Selector(channels=frozenset({"phone"})),
                (Condition("country", Operator.IN, frozenset({"DE", "AT"})),),
            ),
        ),
        pauses=(CasePause("case_opened", "case_closed", 14 * DAY_US, Selector(topics=frozenset({"promotions"}))),),
        lease_us=90_000_000,
        max_lease_us=2 * DAY_US,
        on_expiry=OnExpiry.PRESUME_SENT,
        soft_bounces=SoftBounces(3, 14 * DAY_US),
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("16h", 57_600),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        ("1w1d1h1m1s", 694_861),
        ("400d", 34_560_000),
    ],
)
def test_a_duration_is_read_from_its_units(text: str, seconds: int):
    assert read_policy(gap(min_gap=text)).budgets[0].window == Rolling(seconds * 1_000_000)


def test_conditions_read_alike_however_they_are_written():
    one = {"b": {"in": ["x", "y"]}, "a": {"eq": 1, "ne": 2}}
    other = {"a": {"ne": 2, "eq": 1}, "b": ["y", "x"]}
    assert read_policy(override(one)) == read_policy(override(other))


def test_a_condition_compares_texts_such_as_dates():
    tests = read_policy(override({"joined": {"gte": "2026-01-01", "lt": "2026-02-01"}})).budgets[0].overrides[0].when
    assert tests == (
        Condition("joined", Operator.LT, "2026-02-01"),
        Condition("joined", Operator.GTE, "2026-01-01"),
    )


def test_deny_means_that_customers_without_a_zone_get_nothing_where_one_is_needed():
    assert read_policy(document(unknown_timezone="deny", quiet_hours=[NIGHT])).unknown_timezone is None


# --- patches --------------------------------------------------------------------------------------------------------

BASE = read_policy(
    document(
        budgets=[
            {**PUSH, "overrides": [{"when": {"lifecycle": "new"}, "limit": 5}]},
            {"name": "spacing", "min_gap": "16h"},
            {"name": "kept", "limit": 3, "window": WEEK, "hold_back": {"keep": 1, "for_priority": 70}},
        ]
    )
)


def test_a_patch_replaces_the_limit_and_the_overrides_of_a_budget_and_nothing_else():
    patched = read_patch(BASE, {"budgets": {"push-weekly": {"limit": 3}}})
    assert patched.budgets[0] == Budget(
        "push-weekly", Rolling(7 * DAY_US), 3, Selector(channels=frozenset({"push"})), overrides=()
    )
    assert patched.budgets[1:] == BASE.budgets[1:]


def test_a_patch_may_bring_overrides_of_its_own():
    patch = {"budgets": {"push-weekly": {"limit": None, "overrides": [{"when": {"vip": True}, "limit": 9}]}}}
    patched = read_patch(BASE, patch)
    assert patched.budgets[0].limit is None
    assert patched.budgets[0].overrides == (Override((Condition("vip", Operator.EQ, True),), 9),)


@pytest.mark.parametrize(
    ("patch", "path", "found", "expected"),
    [
        ({}, "budgets", "nothing", "the budgets to change"),
        ({"budgets": {}}, "budgets", "an empty mapping", "at least one budget"),
        ({"budgets": []}, "budgets", "an empty list", "a mapping"),
        ({"budgets": {"push-weekly": {}}}, "budgets.push-weekly.limit", "nothing", "a limit"),
        (
            {"budgets": {"push-week": {"limit": 1}}},
            "budgets.push-week",
            "the name 'push-week'",
            "a budget of the policy that has a limit (did you mean push-weekly?)",
        ),
        ({"budgets": {"spacing": {"limit": 1}}}, "budgets.spacing", "the name 'spacing'", "that has a limit"),
        (
            {"budgets": {"push-weekly": {"limit": 1, "window": WEEK}}},
            "budgets.push-weekly.window",
            "unknown field 'window'",
            "limit or overrides",
        ),
        ({"budgets": {"kept": {"limit": 1}}}, "budgets.kept.limit", "1", "more than hold_back keeps, 1"),
        ({"lease": "5m", "budgets": {"push-weekly": {"limit": 1}}}, "lease", "unknown field", "budgets"),
    ],
)
def test_a_patch_that_changes_anything_else_is_refused(patch: object, path: str, found: str, expected: str):
    with pytest.raises(InvalidPolicy) as refused:
        read_patch(BASE, patch)
    (problem,) = refused.value.problems
    assert (problem.path, found in problem.found, expected in problem.expected) == (path, True, True)


# --- properties -----------------------------------------------------------------------------------------------------


@LARGE
@given(policies())
def test_a_policy_written_as_data_reads_as_the_same_policy(policy: Policy):
    assert read_policy(policy_data(policy)) == policy


@LARGE
@given(policies(), st.randoms(use_true_random=False))
def test_the_order_of_keys_says_nothing(policy: Policy, order: random.Random):
    shuffled = read_policy(_shuffled(policy_data(policy), order))
    assert shuffled == policy
    assert repr(policy_data(shuffled)) == repr(policy_data(policy))


@LARGE
@given(policies(), st.data())
def test_any_budget_with_a_limit_can_be_patched(policy: Policy, data: st.DataObject):
    limited = [each for each in policy.budgets if not each.is_gap]
    assume(limited)
    chosen = data.draw(st.sampled_from(limited))
    patched = read_patch(policy, {"budgets": {chosen.name: {"limit": 1_000_000}}})
    changed = [new for old, new in zip(policy.budgets, patched.budgets, strict=True) if old != new]
    assert all((each.name, each.limit, each.overrides) == (chosen.name, 1_000_000, ()) for each in changed)


@LARGE
@given(json_values())
def test_whatever_the_data_the_only_error_is_that_it_is_no_policy(data: Any):
    _read_or_refuse(data)


@LARGE
@given(policies(), json_values(), st.data())
def test_whatever_is_put_into_a_policy_the_only_error_is_that_it_is_none(
    policy: Policy, junk: Any, data: st.DataObject
):
    document = policy_data(policy)
    parents = list(_parents(document))
    parent, key = data.draw(st.sampled_from(parents))
    parent[key] = junk
    _read_or_refuse(document)


@LARGE
@given(json_values())
def test_whatever_the_patch_the_only_error_is_that_it_is_none(data: Any):
    with pytest.raises(InvalidPolicy):
        read_patch(BASE, data)


def _read_or_refuse(data: object) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        policy = read_policy(data)
    except InvalidPolicy as invalid:
        problems = invalid.problems
    else:
        assert read_policy(policy_data(policy)) == policy
    assert len(problems) <= 100
    for problem in problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 1_000


def _parents(value: Any) -> Any:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _parents(value[key])


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, list):
        return [_shuffled(each, order) for each in value]
    if not isinstance(value, dict):
        return value
    pairs = [(key, _shuffled(each, order)) for key, each in value.items()]
    order.shuffle(pairs)
    return dict(pairs)
