"""Invariant 7: outcome events in any order, in any grouping, with any duplicates, leave the same state."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.core import soft_bounces
from engine.core.events import Event, EventType, Flag, allows_again
from engine.core.outcomes import NO_OUTCOMES, Outcomes, acts
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, SoftBounces
from engine.core.suppression import Consent, Suppression
from engine.operations.happened import Happened
from engine.operations.resolve import ReleaseCommand
from engine.store.customers import outcomes_data, outcomes_of
from tests.operations.held_world import ADDRESS, NOW_US, OTHER_ADDRESS, RULES, World, event


class Told(NamedTuple):
    """All that decisions read of what events say, and the messages that were sent."""

    facts: tuple[Suppression, ...]
    in_force: tuple[Suppression, ...]
    consents: tuple[Consent, ...]
    outcomes: Any
    sent: frozenset[str]
    occupying: int


FAMILIES = (  # types that meet in the same state; all of them together seldom would
    ("unsubscribed", "resubscribed", "consented", "complained", "account_closed"),
    ("sent", "delivered", "unsubscribed", "complained", "bounced"),
    ("push_enabled", "push_disabled", "uninstalled", "unsubscribed"),
    ("bounced",),
    ("case_opened", "case_closed", "survey", "moved_out", "moved_in"),
    ("session", "clicked", "purchase"),
    ("consented",),
    (*(each.value for each in EventType), "moved_out", "basket"),
)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {},
    {"given": False},
    {"text_version": "v2"},
    {"scope": "topic"},
    {"scope": "all"},
    {"case": 7},
    {"kind": "ces"},
)
MESSAGES = (None, "reserved", "presumed", "released", "unasked", "unasked", "unasked-2")


@st.composite
def some_events(draw: st.DrawFn) -> list[Event]:
    """Of one family, and of few instants, scopes, messages and addresses, so that they meet. What allows again lies at
    most a minute ahead: no sender may say more."""
    family = draw(st.sampled_from(FAMILIES))
    days = draw(st.sampled_from((0, 1, 12)))
    channels = draw(st.sampled_from(((None, "email"), ("email",), (None, "email", "push"))))
    messages = draw(st.sampled_from((MESSAGES, ("unasked",), (None,))))
    digests = draw(st.sampled_from(((None,), (None, ADDRESS, OTHER_ADDRESS))))
    ahead_us = draw(st.sampled_from(((0,), (0, MINUTE_US, 2 * MINUTE_US), (0, HOUR_US, DAY_US))))
    found = [
        Event(
            "ada",
            draw(st.sampled_from(("provider", "app"))),
            f"e{number}",
            draw(st.sampled_from(family)),
            NOW_US - draw(st.integers(0, days)) * DAY_US - draw(st.integers(0, 1)) + draw(st.sampled_from(ahead_us)),
            draw(st.sampled_from(channels)),
            draw(st.sampled_from((None, None, "promotions"))),
            message_id=draw(st.sampled_from(messages)),
            value=draw(st.sampled_from((None, 0.0, 6.0, 9.0))) if "survey" in family else None,
            flags=draw(st.sampled_from((0, Flag.HARD, Flag.SUSPECT_SAID))),
            digest=draw(st.sampled_from(digests)),
            properties=draw(st.sampled_from(PROPERTIES)),
        )
        for number in range(draw(st.integers(1, 7)))
    ]
    return [
        each._replace(at_us=min(each.at_us, NOW_US + MINUTE_US))
        if each.type == "moved_in" or allows_again(each.type, each.properties)
        else each
        for each in found
    ]


@st.composite
def retold(draw: st.DrawFn, events: list[Event]) -> list[list[Event]]:
    """The same events in another order, some of them again, in groups."""
    order = draw(st.permutations([*events, *draw(st.lists(st.sampled_from(events), max_size=4))]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)) | {0, len(order)})
    return [order[start:end] for start, end in pairwise(cuts)]


def after(groups: Sequence[Sequence[Event]], pause_us: int) -> Told:
    world = World(now_us=NOW_US - HOUR_US)
    world.ask("reserved", "email", "promotions")
    world.ask("presumed", "push", "news", send_at_us=NOW_US - MINUTE_US, lease_us=MINUTE_US // 2)
    world.ask("released", "email", "news")
    world.do(ReleaseCommand("ada", "released"))
    world.later(HOUR_US)
    for group in groups:
        world.tell(*group)
        world.later(pause_us)
    known = world.held.messages
    sent = {id_ for id_, attempts in known.items() if any(each.state(world.held.now_us).is_live for each in attempts)}
    contacts = [each for each in world.held.account.contacts if not each.has_expired(world.held.now_us)]
    customer = world.held.customer
    return Told(
        customer.suppressions, customer.in_force, customer.consents, customer.outcomes, frozenset(sent), len(contacts)
    )


@hypothesis_settings(max_examples=1_000)
@given(st.data())
def test_events_in_any_order_any_grouping_and_any_duplicates_leave_the_same(data: st.DataObject) -> None:
    events = data.draw(some_events())
    expected = after([[each] for each in events], 0)
    assert after(data.draw(retold(events)), data.draw(st.sampled_from((0, 1)))) == expected


@hypothesis_settings(max_examples=150)
@given(st.data())
def test_it_does_not_matter_when_events_arrive(data: st.DataObject) -> None:
    """Leases end meanwhile, so a send may come late: what is on file is the same."""
    events = data.draw(some_events())
    expected = after([[each] for each in events], 0)
    found = after(data.draw(retold(events)), data.draw(st.sampled_from((0, MINUTE_US, 10 * HOUR_US))))
    assert found[:4] == expected[:4]


@pytest.mark.parametrize("seed", range(30))
def test_soft_bounces_in_any_order_and_grouping_leave_the_same_and_suppress_by_messages(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    policy, span_us = SoftBounces(chance.choice((2, 5)), 10 * DAY_US), chance.choice((20, 390)) * DAY_US
    messages = [None, *map(str, range(chance.choice((3, 40))))]
    told = [
        event("bounced", chance.randrange(span_us), f"b{number}", channel="email", message_id=chance.choice(messages))
        for number in range(chance.choice((4, 60, 500)))
    ]
    expected = heard([told])
    again = [*told, *chance.choices(told, k=20)]
    chance.shuffle(again)
    assert heard([again[start : start + 7] for start in range(0, len(again), 7)]) == expected
    facts = list(soft_bounces.facts(expected.soft_bounces, policy))
    bounces = [(each.at_us, each.message_id or each.event_id + "?") for each in told]
    late = [
        at_us
        for at_us, _ in bounces
        if len({name for of_us, name in bounces if 0 <= at_us - of_us < policy.within_us}) >= policy.suppress_after
    ]
    assert [each.at_us for each in facts] == sorted(late)[-1:]


def heard(groups: Sequence[Sequence[Event]]) -> Outcomes:
    found = NO_OUTCOMES
    for group in groups:
        found = found.told(group, RULES.policy, NOW_US)
    return found


@hypothesis_settings(max_examples=100)
@given(st.data())
def test_events_that_do_not_act_change_nothing_but_when_somebody_was_seen(data: st.DataObject) -> None:
    events = [each for each in data.draw(some_events()) if not acts(each, RULES.policy)]
    world = World()
    happened = world.tell(*events)
    customer = world.held.customer
    assert happened == Happened("ada", 0, 0, 0, 0, frozenset(each.key for each in events))
    assert (customer.suppressions, customer.consents, customer.outcomes.cases) == ((), (), ())
    assert customer.outcomes.soft_bounces == ()
    assert not world.held.account.contacts
    assert world.batch.events == events


def test_soft_bounces_kept_before_messages_were_told_apart_are_of_a_message_each() -> None:
    old = outcomes_of({"soft_bounces": [["email", "", NOW_US - number, number] for number in range(3)]})
    assert outcomes_of(outcomes_data(old)) == old
    assert list(soft_bounces.facts(old.soft_bounces, SoftBounces(3, DAY_US)))
    assert not list(soft_bounces.facts(old.soft_bounces, SoftBounces(4, DAY_US)))
