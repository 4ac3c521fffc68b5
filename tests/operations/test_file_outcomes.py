"""What is put on file, and not told as an event, is an outcome all the same: of the same type and time."""

from dataclasses import replace

import pytest

from engine.core.customer import Preference
from engine.core.events import TAKT_SOURCE
from engine.core.policy import PolicyMode
from engine.core.rules import Rules
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.operations.file import Lift, PutPreferences, Suppress
from tests.operations.held_world import NOW_US, RULES, World, event

EMAIL, PROMOTIONS = Scope("email"), Scope(None, "promotions")


def suppressed(scope: Scope, reason: str = "unsubscribe", at_us: int = NOW_US) -> Suppress:
    return Suppress("ada", Suppression(scope, SuppressionReason(reason), at_us, "desk", binds_exempt=False))


def preferred(*limits: tuple[Scope, int | None]) -> PutPreferences:
    return PutPreferences("ada", tuple(Preference(scope.channel, scope.topic, limit) for scope, limit in limits))


@pytest.mark.parametrize(
    ("reason", "types"),
    [
        ("unsubscribe", ["unsubscribed"]),
        ("complaint", ["complained"]),
        ("by_hand", []),
        ("hard_bounce", []),
        ("push_off", []),
    ],
)
def test_what_a_customer_wanted_suppressed_is_an_outcome_of_its_scope_and_time(reason: str, types: list[str]) -> None:
    world = World()
    world.do(suppressed(Scope("email", "news"), reason, NOW_US - 7))
    told = world.batch.events
    assert [each.type for each in told] == types
    assert {(each.source, each.at_us, each.channel, each.topic) for each in told} <= {
        (TAKT_SOURCE, NOW_US - 7, "email", "news")
    }


def test_a_suppression_that_is_in_force_already_is_no_second_outcome_and_one_that_was_lifted_is() -> None:
    world = World()
    world.tell(event("unsubscribed", channel="email"))
    world.do(suppressed(EMAIL))
    assert [each.source for each in world.batch.events] == ["provider"]
    world.later(1)
    world.do(Lift("ada", EMAIL))
    for _ in range(2):
        world.later(1)
        world.do(suppressed(EMAIL, at_us=2**53))
    assert [(each.type, each.source) for each in world.batch.events[1:]] == [("unsubscribed", TAKT_SOURCE)]
    assert world.batch.events[-1].at_us == NOW_US + 2


def test_limits_of_their_own_are_outcomes_line_by_line() -> None:
    world = World()  # whose policy has 2 promotions a week, and nothing for e-mail alone
    steps = [
        ([(PROMOTIONS, 1)], ["opted_down"]),
        ([(PROMOTIONS, 1), (EMAIL, 4)], ["opted_down"]),
        ([(EMAIL, 4), (PROMOTIONS, 1)], []),
        ([(EMAIL, 0), (PROMOTIONS, 3)], ["opted_down", "opted_up"]),
        ([(PROMOTIONS, None)], ["opted_up", "opted_up"]),
        ([], ["opted_down"]),
    ]
    for limits, types in steps:
        del world.batch.events[:]
        world.do(preferred(*limits))
        assert sorted(each.type for each in world.batch.events) == types, limits
        assert len({each.key for each in world.batch.events}) == len(types)
        world.later(1)


@pytest.mark.parametrize("mode", PolicyMode)
def test_as_many_as_there_are_is_a_step_up_also_from_no_limit(mode: PolicyMode) -> None:
    """It was an opt-down, and taking it back an opt-up."""
    world = World(Rules(1, replace(RULES.policy, mode=mode)))
    scope = EMAIL if mode is PolicyMode.ENFORCE else PROMOTIONS  # of neither any limit is usual
    for limits in ([(scope, None)], [], [(scope, 9)], [(scope, None)], [(scope, 9)], []):
        world.do(preferred(*limits))
        world.later(1)
    assert [each.type for each in world.batch.events] == [
        "opted_up",
        "opted_down",
        "opted_down",
        "opted_up",
        "opted_down",
        "opted_up",
    ]


def test_an_outcome_of_a_limit_says_which_line_went_from_what_to_what() -> None:
    world = World()
    world.do(preferred((PROMOTIONS, 1)))
    (told,) = world.batch.events
    assert (told.source, told.at_us, told.channel, told.topic, told.value) == (
        TAKT_SOURCE,
        NOW_US,
        None,
        "promotions",
        1.0,
    )
    assert dict(told.properties) == {"from": "usual", "to": "1"}
