"""Attributes and conditions: types are kept apart, and derived attributes turn when they say."""

import pytest

from engine.core.customer import UNKNOWN, Customer
from engine.core.outcomes import Outcomes
from engine.core.policy import DAY_US, Condition, Operator, Scalar
from tests.core import oracle
from tests.core.strategies import NOONS_US, condition, customer, dice, near

NOW_US = NOONS_US[0]


@pytest.mark.parametrize(
    ("found", "operator", "wanted", "meets"),
    [
        ("new", "eq", "new", True),
        ("new", "eq", "old", False),
        ("new", "ne", "old", True),
        (None, "eq", "new", False),
        (None, "ne", "new", True),  # a missing attribute meets no condition but `ne`
        (None, "lt", 1, False),
        (True, "eq", 1, False),  # they differ in YAML and in JSON
        (1, "eq", True, False),
        (1, "eq", 1.0, True),
        (True, "ne", 1, True),
        (True, "gte", 0, False),
        (2, "lt", 2, False),
        (2, "lte", 2, True),
        (2, "gte", 2.0, True),
        (2, "gt", 2, False),
        ("2", "gte", 2, False),
        ("b", "gt", "a", True),
        ("new", "in", frozenset({"new", "old"}), True),
        (True, "in", frozenset({1}), False),
        (None, "in", frozenset({"new"}), False),
    ],
)
def test_a_condition(found: Scalar | None, operator: str, wanted: Scalar | frozenset[Scalar], meets: bool):
    attributes = {} if found is None else {"it": found}
    conditions = (Condition("it", Operator(operator), wanted),)
    assert Customer(attributes=attributes).meets(conditions, NOW_US) == meets


def test_all_conditions_of_an_override_must_hold():
    both = (Condition("one", Operator.EQ, 1), Condition("two", Operator.EQ, 2))
    assert Customer(attributes={"one": 1, "two": 2}).meets(both, NOW_US)
    assert not Customer(attributes={"one": 1}).meets(both, NOW_US)
    assert UNKNOWN.meets((), NOW_US)


def test_a_derived_attribute_counts_whole_days_and_hides_a_stored_one():
    one = Customer(attributes={"age_days": 99}, outcomes=Outcomes(seen={"age_days": NOW_US}))
    for after_us, days in ((-DAY_US, 0), (0, 0), (DAY_US - 1, 0), (DAY_US, 1), (10 * DAY_US, 10)):
        assert one.attribute("age_days", NOW_US + after_us) == days


def test_what_conditions_say_changes_at_turns_alone():
    for seed in range(1_500):
        random = dice(seed)
        one, conditions = customer(random, NOW_US), (condition(random), condition(random))
        turns = one.turns_us(conditions)
        assert turns == sorted(set(turns))
        at_us = near(random, NOW_US, 5)
        next_us = next((each for each in turns if each > at_us), at_us + 40 * DAY_US)
        for later_us in (next_us - 1, random.randint(at_us, next_us - 1)):
            if later_us > at_us:
                assert one.meets(conditions, at_us) == one.meets(conditions, later_us)
        assert one.meets(conditions, at_us) == oracle.meets(one, conditions, at_us)
