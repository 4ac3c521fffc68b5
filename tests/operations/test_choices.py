"""What choosing does, on customers at random: it holds, it is one outcome each, and it moves nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.account import Account
from engine.core.choices import EVERYTHING, LIMIT_MAX, NONE, USUAL, Choice, Choices, Sort
from engine.core.decision import decide
from engine.core.errors import TaktError
from engine.core.events import EventType
from engine.core.origins import Origin
from engine.core.policy import DAY_US
from engine.core.suppression import Scope, SuppressionReason, fact, find_suppression
from engine.core.verdict import Ask, Verdict
from engine.operations.batch import Batch, Held
from engine.operations.choices import Choose, Leave, LookAtChoices
from engine.store.customers import NOTHING
from tests.core.strategies import case, dice
from tests.operations.held_world import NOW_US, World

ORIGIN = Origin("ada", "email", "promotions", "autumn", "m-1", NOW_US - DAY_US)


def choose(world: World, *wanted: tuple[Scope, Choice], origin: Origin = ORIGIN) -> Choices:
    found = world.do(Choose(origin, 400, wanted))
    assert isinstance(found, Choices)
    return found


@pytest.fixture
def world() -> World:
    world = World()
    world.ask("m-1")
    world.later(1_000_000)
    return world


def test_a_limit_and_none_stand_as_they_were_chosen(world: World) -> None:
    found = choose(world, (Scope(None, "promotions"), Choice(Sort.LIMIT, 1)), (Scope("email"), NONE))
    assert [str(each.choice) for each in (*found.topics, *found.channels)] == ["usual", "1", "none"]
    assert [each.type for each in world.batch.events] == ["opted_down", "unsubscribed"]
    assert {each.customer_id for each in world.batch.events} == {"ada"}
    assert len({each.event_id for each in world.batch.events}) == 2
    assert [(each.campaign, each.message_id) for each in world.batch.events] == [("autumn", "m-1")] * 2
    assert not world.allows("email")
    assert world.allows("push")


def test_the_last_word_on_a_line_counts(world: World) -> None:
    choose(world, (Scope("email"), NONE), (Scope("email"), Choice(Sort.LIMIT, 4)))
    assert [each.type for each in world.batch.events] == ["opted_down"]
    assert world.allows("email")


def test_an_erased_customer_and_one_never_heard_of_are_left_alone(world: World) -> None:
    stranger = World()
    world.held.customer = replace(
        world.held.customer,
        suppressions=(*world.held.customer.suppressions, _fact(SuppressionReason.ERASURE)),
    )
    for each in (stranger, world):
        seq = each.held.account.seq
        choose(each, (Scope("email"), NONE), (EVERYTHING, USUAL))
        assert each.do(Leave(ORIGIN, 400, "one-click:1")) is not None
        assert (each.held.account.seq, each.batch.events) == (seq, [])


def test_a_token_that_is_over_does_nothing(world: World) -> None:
    old = ORIGIN._replace(issued_us=NOW_US - 400 * DAY_US)
    for command in (Choose(old, 400, ((EVERYTHING, NONE),)), Leave(old, 400, "one-click:1"), LookAtChoices(old, 400)):
        assert world.do(command) is None
    assert world.batch.events == []


@pytest.mark.parametrize("reason", [SuppressionReason.HARD_BOUNCE, SuppressionReason.BY_HAND])
def test_what_was_stopped_for_another_reason_is_not_chosen_back(world: World, reason: SuppressionReason) -> None:
    world.held.customer = replace(world.held.customer, suppressions=(_fact(reason, Scope("email")),))
    found = choose(world, (Scope("email"), USUAL), (Scope("email"), NONE))
    assert next(each for each in found.channels if each.scope == Scope("email")).is_stopped
    assert world.batch.events == []


def _fact(reason: SuppressionReason, scope: Scope = EVERYTHING) -> Any:
    return fact(scope, reason, NOW_US, "test")


@given(st.integers(0, 2**32))
def test_every_choice_holds_is_one_outcome_and_moves_nothing_else(seed: int) -> None:
    random = dice(seed)
    drawn, now_us = case(random)
    account = Account(seq=len(drawn.contacts), contacts=list(drawn.contacts), totals=dict(drawn.totals))
    held = Held("ada", account, NOTHING, now_us)
    known = tuple(replace(each, at_us=min(each.at_us, held.now_us - 1)) for each in drawn.customer.suppressions)
    own = {(each.channel, each.topic): each for each in drawn.customer.preferences}
    held.customer = replace(
        drawn.customer,
        suppressions=tuple(each for each in known if each.reason is not SuppressionReason.ERASURE),
        preferences=tuple(own.values()),
    )
    held.stamp()
    batch = Batch(drawn.rules, {"ada": held})
    origin = Origin("ada", drawn.ask.channel, drawn.ask.topic, None, None, held.now_us)

    def look() -> Choices:
        found = LookAtChoices(origin, 400).apply(batch, held)
        assert found is not None
        return found

    for _ in range(4):
        before = look()
        lines = [before.everything, before.own, *before.unsubscribed, *before.topics, *before.channels]
        assert len({each.scope for each in lines}) == len(lines)
        line = random.choice(lines)
        to = random.choice([USUAL, NONE, Choice(Sort.LIMIT, random.randint(1, LIMIT_MAX))])
        told = len(batch.events)
        after = Choose(origin, 400, ((line.scope, to),)).apply(batch, held)
        assert after is not None
        may = not line.is_stopped and line.choice != to and (to.sort is not Sort.LIMIT or line.window is not None)
        assert len(batch.events) == told + may
        if not may:
            assert after == before
            continue
        stands = after.line(line.scope)
        assert stands is None or stands.choice == to
        others = {each.scope: each.choice for each in lines if each.scope != line.scope}
        assert all(others[scope] == now.choice for scope in others if (now := after.line(scope)) is not None)
        if to == NONE:
            _nothing_gets_through(batch, held, line.scope)
            assert batch.events[-1].type == EventType.UNSUBSCRIBED
        held.now_us += 1


def _nothing_gets_through(batch: Batch, held: Held, scope: Scope) -> None:
    """What a line's "none" is for: no open lease in it, and no ask allowed."""
    for contact in held.account.contacts:
        topic = batch.rules.topic(contact.topic)
        if contact.is_open(held.now_us) and scope.covers(contact.channel, contact.topic) and topic and not topic.exempt:
            assert find_suppression(held.customer.in_force, contact.channel, contact.topic, exempt=False) is None
    for channel in ("email", "push", "sms"):
        for topic in batch.rules.policy.topics or ("promotions",):
            declared = batch.rules.topic(topic)
            if declared is None or declared.exempt or not scope.covers(channel, topic):
                continue
            try:
                decision = decide(
                    batch.rules, held.customer, held.account, Ask(channel, topic, reserves=False), held.now_us
                )
            except TaktError:
                continue
            assert decision.verdict is Verdict.DENY, (channel, topic)
