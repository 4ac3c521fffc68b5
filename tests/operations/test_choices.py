"""What choosing does, on customers at random: it holds, it is one outcome each, and it moves nothing else."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.account import Account
from engine.core.choices import ALL, EVERYTHING, LIMIT_MAX, NONE, USUAL, Choice, Choices, Line, Sort
from engine.core.decision import decide
from engine.core.errors import TaktError
from engine.core.events import EventType
from engine.core.origins import Origin
from engine.core.policy import DAY_US, MINUTE_US, Budget, Per, PolicyMode, Rolling, Selector, Topic
from engine.core.rules import OWN_WINDOW, Rules
from engine.core.suppression import Consent, Scope, SuppressionReason, fact, find_suppression
from engine.core.verdict import Ask, Verdict
from engine.operations.batch import Batch, Held
from engine.operations.choices import CHANGES_A_DAY, Choose, Chosen, Heard, Leave, LookAtChoices
from engine.operations.erasures import ERASED
from engine.operations.file import Lift
from engine.store.customers import NOTHING
from tests.core import oracle
from tests.core.strategies import CHANNELS, TOPICS, case, dice
from tests.operations.held_world import NOW_US, RULES, World, event

ORIGIN = Origin("ada", "email", "promotions", "autumn", "m-1", NOW_US - DAY_US)


def choose(world: World, *wanted: tuple[Scope, Choice], origin: Origin = ORIGIN) -> Choices:
    return chosen(world, *wanted, origin=origin).choices


def chosen(world: World, *wanted: tuple[Scope, Choice], origin: Origin = ORIGIN) -> Chosen:
    found = world.do(Choose(origin, 400, wanted))
    assert isinstance(found, Chosen)
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


def test_a_limit_binds_where_the_policy_only_observes() -> None:
    """The page said "It holds from now on", and four of four asks were allowed."""
    rules = Rules(1, replace(RULES.policy, mode=PolicyMode.OBSERVE))
    world = World(rules)
    found = choose(world, (Scope(None, "promotions"), Choice(Sort.LIMIT, 1)))
    (line,) = [each for each in found.topics if each.scope == Scope(None, "promotions")]
    assert (line.window, line.usual) == (OWN_WINDOW, None), "no limit is usual where none is enforced"
    assert [each.type for each in world.batch.events] == ["opted_down"]
    assert [world.ask(each) for each in ("m-1", "m-2")] == [Verdict.ALLOW, Verdict.DEFER]
    assert [world.ask(f"n-{each}", topic="news") for each in range(5)] == [Verdict.ALLOW] * 5


@pytest.mark.parametrize(
    "more",
    [{"selector": Selector(frozenset({"email"}), frozenset({"promotions"}))}, {"per": Per.CAMPAIGN}],
    ids=["some topics", "per campaign"],
)
def test_where_a_budget_counts_a_part_nothing_is_usual_of_the_whole(more: dict[str, Any]) -> None:
    """The page said "usual: at most 3 a day"; who chose 5 a day had opted up, and got 5 a week."""
    daily = Budget("daily", Rolling(DAY_US), 3, **{"selector": Selector(frozenset({"email"})), **more})
    world = World(Rules(1, replace(RULES.policy, budgets=(daily,))))
    found = choose(world, (Scope("email"), Choice(Sort.LIMIT, 5)))
    (line,) = [each for each in found.channels if each.scope == Scope("email")]
    assert (line.choice, line.window, line.usual) == (Choice(Sort.LIMIT, 5), OWN_WINDOW, None)
    assert [each.type for each in world.batch.events] == ["opted_down"]
    asked = [world.ask(f"m-{each}", topic=("news", "promotions")[each % 2], campaign=str(each)) for each in range(6)]
    assert asked == [Verdict.ALLOW] * 5 + [Verdict.DEFER]


def test_of_who_was_erased_nothing_is_written_and_nothing_allowed() -> None:
    world = World()
    world.held.erase(ERASED)
    answer = chosen(world, (Scope("email"), NONE), (EVERYTHING, USUAL))
    assert (answer.heard, answer.changed) == (Heard.UNCHANGED, False)
    assert answer.choices.everything.is_stopped
    assert world.do(Leave(ORIGIN, 400, "one-click:1")) is not None
    assert (world.held.account.seq, world.batch.events) == (0, [])
    assert not world.allows("email")


def test_a_good_token_binds_of_whom_nothing_is_known() -> None:
    """As after a restore of an older backup, or a lift of an erasure: it said that it holds, and bound nothing."""
    clicked, chose = World(), World()
    clicked.do(Leave(ORIGIN, 400, "one-click:1"))
    assert chosen(chose, (ORIGIN.scope, NONE)).heard is Heard.SAVED
    for world in (clicked, chose):
        assert not world.allows("email")
        assert world.allows("email", "news")


def test_one_click_binds_where_an_address_was_somebodys_who_was_erased(world: World) -> None:
    world.held.customer = replace(world.held.customer, suppressions=(_fact(SuppressionReason.ERASURE, Scope("email")),))
    world.do(Leave(ORIGIN, 400, "one-click:1"))
    world.do(Lift("ada", Scope("email")))
    assert not world.allows("email")


def test_a_click_of_who_has_left_outlives_a_return_of_before_it_that_is_told_late(world: World) -> None:
    world.tell(event("unsubscribed", channel="email", topic="promotions"))
    for number in (1, 2):  # the same token again binds anew too
        world.later(2 * MINUTE_US)
        world.do(Leave(ORIGIN, 400, "one-click:1"))
        world.tell(event("resubscribed", -(2 * number * MINUTE_US - 1), channel="email", topic="promotions"))
        assert not world.allows("email")


def test_a_click_that_comes_again_and_again_says_nothing_new(world: World) -> None:
    for _ in range(8):
        world.do(Leave(ORIGIN, 400, "one-click:1"))
        world.later(1_000)
    assert len(world.batch.events) == 1
    for _ in range(3 * CHANGES_A_DAY):
        world.later(MINUTE_US)
        world.do(Leave(ORIGIN, 400, "one-click:1"))
    assert len(world.batch.events) == CHANGES_A_DAY


@pytest.mark.parametrize(
    ("wanted", "heard", "changed"),
    [
        ([(Scope("email"), Choice(Sort.LIMIT, 1))], Heard.SAVED, True),
        ([(Scope("email"), USUAL)], Heard.SAVED, False),  # as a form that is sent twice
        ([(Scope("fax"), NONE)], Heard.UNCHANGED, False),
        ([(Scope("email"), ALL)], Heard.UNCHANGED, False),
        ([(Scope("fax"), NONE), (Scope("email"), NONE)], Heard.PARTLY, True),
    ],
)
def test_what_is_said_to_be_saved_is(
    world: World, wanted: list[tuple[Scope, Choice]], heard: Heard, changed: bool
) -> None:
    assert chosen(world, *wanted)[1:] == (heard, changed)


def test_who_changes_their_mind_all_day_is_heard_so_often_and_may_always_leave(world: World) -> None:
    """A hundred toggles were a hundred entries of the journal, for good."""
    for count in range(CHANGES_A_DAY):
        assert chosen(world, (Scope("email"), Choice(Sort.LIMIT, 1 + count % 2))).heard is Heard.SAVED
    seq = world.held.account.seq
    assert chosen(world, (Scope("email"), Choice(Sort.LIMIT, 1)))[1:] == (Heard.TOO_OFTEN, False)
    assert chosen(world, (Scope("email"), Choice(Sort.LIMIT, 2)))[1:] == (Heard.SAVED, False)
    assert world.held.account.seq == seq
    left = chosen(world, (Scope("email"), NONE), (Scope(None, "news"), Choice(Sort.LIMIT, 1)))
    assert (left.heard, left.changed) == (Heard.TOO_OFTEN, True)
    assert not world.allows("email")
    assert chosen(world, (Scope("email"), USUAL)) == (left.choices, Heard.TOO_OFTEN, False)
    world.do(Leave(ORIGIN, 400, "one-click:1"))
    assert ORIGIN.scope in {each.scope for each in world.held.customer.in_force}


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
    left = _fact(SuppressionReason.UNSUBSCRIBE, Scope("email"))
    world.held.customer = replace(
        world.held.customer,
        suppressions=(*world.held.customer.suppressions, left),
        consents=(Consent(Scope("email"), False, NOW_US, "form"),),
    )
    line = choose(world).line(Scope("email"))
    assert line is not None
    assert line.is_stopped
    assert not line.needs_consent, "a consent would not bring it back"


@pytest.mark.parametrize("scope", [ORIGIN.scope, Scope(None, "promotions"), Scope("email"), EVERYTHING], ids=str)
def test_what_was_left_and_needs_a_consent_is_not_chosen_back(world: World, scope: Scope) -> None:
    """ "Saved. It holds from now on", the line was gone from the page, and every ask was denied as before."""
    consent = {"channel": scope.channel, "topic": scope.topic}
    choose(world, (scope, NONE))
    world.later(1)
    world.tell(event("consented", -2_000_000, properties={"given": False}, **consent))
    world.later(2_000_000)
    told = len(world.batch.events)
    answer = chosen(world, (scope, USUAL))
    line = answer.choices.line(scope)
    assert (answer.heard, answer.changed) == (Heard.UNCHANGED, False)
    assert line is not None
    assert (line.choice, line.is_stopped, line.needs_consent) == (NONE, True, True)
    assert len(world.batch.events) == told
    world.do(Leave(ORIGIN, 400, "one-click:1"))
    assert ORIGIN.scope in {each.scope for each in world.held.customer.in_force}, "to leave is never refused"
    world.later(1)
    world.tell(event("consented", -3_000_000, "yes", **consent))  # of before the click, but for the scope of the click
    world.later(2_000_000)
    assert chosen(world, (ORIGIN.scope, USUAL)).heard is Heard.SAVED
    assert world.allows("email")


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
        line = random.choice([each for each in lines if each.choice == NONE and random.random() < 0.5] or lines)
        to = random.choice([USUAL, NONE, Choice(Sort.LIMIT, random.randint(1, LIMIT_MAX))])
        told = len(batch.events)
        answer = Choose(origin, 400, ((line.scope, to),)).apply(batch, held)
        assert answer is not None
        after = answer.choices
        may = not line.is_stopped and line.choice != to and (to.sort is not Sort.LIMIT or line.window is not None)
        assert len(batch.events) == told + may
        assert (answer.changed, answer.heard) == (may, Heard.SAVED if may or line.choice == to else Heard.UNCHANGED)
        if line.needs_consent and (line.scope.topic or drawn.rules.policy.topics):
            assert not _is_consented(drawn, held, line.scope, [origin.channel])
        if not may:
            assert after == before
            continue
        stands = after.line(line.scope)
        assert stands is None or stands.choice == to
        if line.choice == NONE:
            assert _is_consented(drawn, held, line.scope, CHANNELS), "a return that brings nothing"
        others = {each.scope: each.choice for each in lines if each.scope != line.scope}
        assert all(others[scope] == now.choice for scope in others if (now := after.line(scope)) is not None)
        if to == NONE:
            _nothing_gets_through(batch, held, line.scope)
            assert batch.events[-1].type == EventType.UNSUBSCRIBED
        if stands is not None and stands.choice.limit is not None:
            _binds_in_its_window(drawn, held, stands)
        held.now_us += 1


def _is_consented(drawn: oracle.Case, held: Held, scope: Scope, channels: Iterable[str]) -> bool:
    """Whether any of what a scope is about may be sent in these channels, as far as consents go. An exempt topic needs
    none, and one that is not declared has other troubles."""
    declared = drawn.rules.policy.topics
    if scope.topic is not None and declared and (scope.topic not in declared or declared[scope.topic].exempt):
        return True
    plain = [name for name in declared or TOPICS if not (declared and declared[name].exempt)]
    return not plain or any(
        oracle.consented(
            replace(drawn, customer=held.customer, ask=Ask(channel, topic)), drawn.rules.topic(topic) or Topic()
        )
        for channel in ([scope.channel] if scope.channel else channels)
        for topic in ([scope.topic] if scope.topic else plain)
    )


def _binds_in_its_window(drawn: oracle.Case, held: Held, line: Line) -> None:
    """A budget that counts all of the line has the limit that was chosen, or a stricter one, in the window named."""
    scope, limit = line.scope, line.choice.limit
    channels = frozenset({scope.channel}) if scope.channel else None
    topics = frozenset({scope.topic}) if scope.topic else None
    for channel in channels or ("email", "push"):
        for topic in topics or drawn.rules.policy.topics or ("promotions",):
            declared = drawn.rules.topic(topic)
            if declared is None or declared.exempt:
                continue
            ask = Ask(channel, topic)
            case = replace(drawn, customer=held.customer, contacts=(), ask=ask, variants={})
            assert any(
                each.selector == Selector(channels, topics)
                and each.per is None
                and not each.shadow
                and each.window == line.window
                and limit is not None
                and each.limit is not None
                and each.limit <= limit
                for each in oracle.chosen(case)
            ), (scope, line)


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
