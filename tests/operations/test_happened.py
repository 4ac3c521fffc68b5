"""What events forbid and allow again, and how they stand beside words of people."""

from dataclasses import replace
from typing import Any

import pytest

from engine.core.account import State
from engine.core.customer import Address
from engine.core.events import Event, Flag
from engine.core.outcomes import address_fact
from engine.core.policy import DAY_US
from engine.core.rules import Rules
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Verdict
from engine.operations.file import Lift, PutCustomer, Suppress
from engine.operations.happened import Happened
from engine.operations.policy_file import load_policy
from engine.store.journal import Change
from tests.operations.held_world import ADDRESS, BOUNCED, NOW_US, OTHER_ADDRESS, World, event


@pytest.mark.parametrize(
    ("told", "denied", "allowed"),
    [
        (event("bounced", channel="email", **BOUNCED), ["email/promotions", "email/orders"], ["push/promotions"]),
        (event("bounced", channel="email", flags=Flag.SOFT), [], ["email/promotions"]),
        (event("complained", channel="email"), ["email/promotions"], ["email/orders", "push/promotions"]),
        (event("complained"), ["email/promotions", "push/news"], ["email/orders"]),
        (event("unsubscribed", channel="email"), ["email/promotions", "email/news"], ["email/orders", "push/news"]),
        (event("unsubscribed", topic="news"), ["email/news", "push/news"], ["email/promotions"]),
        (event("unsubscribed", channel="email", topic="orders"), ["email/orders"], ["push/orders", "email/news"]),
        (event("unsubscribed"), ["email/promotions", "push/news"], ["email/orders"]),
        (event("unsubscribed", channel="email", properties={"scope": "all"}), ["push/news"], ["email/orders"]),
        (event("unsubscribed", message_id="asked"), ["email/promotions", "email/news"], ["push/news"]),
        (
            event("unsubscribed", message_id="asked", properties={"scope": "topic"}),
            ["email/promotions"],
            ["email/news", "push/promotions"],
        ),
        (
            event("unsubscribed", channel="push", message_id="asked", properties={"scope": "topic"}),
            ["push/promotions"],
            ["push/news", "email/promotions"],
        ),
        (event("unsubscribed", message_id="nobody's"), ["email/promotions", "push/news"], []),
        (event("unsubscribed", channel="email", flags=Flag.SUSPECT_SAID), ["email/promotions"], ["push/news"]),
        (event("push_disabled"), ["push/promotions"], ["email/promotions", "push/orders"]),
        (event("uninstalled"), ["push/promotions"], ["email/promotions"]),
        (event("account_closed"), ["push/promotions", "email/news"], ["email/orders"]),
        (event("consented", channel="email", properties={"given": False}), ["email/news"], ["push/news"]),
        (event("consented", channel="email", properties={"given": "yes"}), ["email/news"], ["push/news"]),
        (event("case_opened"), ["email/promotions"], ["email/news"]),
        (event("survey", value=6.0), ["email/promotions"], ["email/news"]),
        (event("survey", value=7.0), [], ["email/promotions"]),
        (event("survey", value=6.0, properties={"kind": "ces"}), [], ["email/promotions"]),
        (event("moved_out"), ["email/promotions", "email/news"], ["email/orders"]),
        (event("moved_out", 6 * DAY_US), [], ["email/promotions"]),
        (event("opened", channel="email"), [], ["email/promotions"]),
        (event("basket"), [], ["email/promotions"]),
    ],
    ids=lambda each: each.type + str(sorted(each.properties.items())) if isinstance(each, Event) else None,
)
def test_what_an_event_forbids(told: Event, denied: list[str], allowed: list[str]) -> None:
    world = World()
    world.ask("asked", "email", "promotions")
    world.tell(told)
    for place in (*denied, *allowed):
        assert world.allows(*place.split("/")) == (place in allowed), place


@pytest.mark.parametrize("flags", [Flag.HARD, Flag.SOFT])
def test_a_bounce_whose_channel_nothing_says_is_told_to_do_nothing(flags: Flag) -> None:
    """Also where an event told it: in the other order it would not be known."""
    sent, bounced = event("sent", message_id="u", channel="email"), event("bounced", message_id="u", flags=flags)
    for order in ((sent, bounced), (bounced, sent)):
        world = World()
        assert set().union(*(world.tell(each).unplaced for each in order)) == {bounced.key}
        assert (world.held.customer.suppressions, world.held.customer.outcomes.soft_bounces) == ((), ())
    world = World()
    world.ask("u", "push")
    assert not world.tell(bounced).unplaced
    assert world.allows("push") == (flags is Flag.SOFT)
    assert not World().tell(bounced._replace(channel="email")).unplaced


def test_the_scope_of_an_unsubscribe_does_not_hang_on_a_send_that_may_be_told_before_or_after() -> None:
    told = event("sent", message_id="u", channel="email"), event("unsubscribed", message_id="u")
    for order in (told, told[::-1]):
        world = World()
        for each in order:
            world.tell(each)
        assert [each.scope for each in world.held.customer.in_force] == [Scope()]


@pytest.mark.parametrize(
    ("no", "yes", "lifts"),
    [
        ({"type_": "unsubscribed", "channel": "email"}, {"type_": "resubscribed", "channel": "email"}, True),
        ({"type_": "unsubscribed", "channel": "email"}, {"type_": "consented", "channel": "email"}, True),
        ({"type_": "unsubscribed", "channel": "email"}, {"type_": "resubscribed"}, False),
        (
            {"type_": "unsubscribed", "channel": "email"},
            {"type_": "resubscribed", "channel": "email", "topic": "promotions"},
            False,
        ),
        ({"type_": "unsubscribed", "message_id": "asked"}, {"type_": "resubscribed", "message_id": "asked"}, True),
        ({"type_": "complained", "channel": "email"}, {"type_": "resubscribed", "channel": "email"}, True),
        (
            {"type_": "complained", "channel": "email", "digest": ADDRESS},
            {"type_": "consented", "channel": "email"},
            True,
        ),
        ({"type_": "account_closed"}, {"type_": "resubscribed"}, True),
        (
            {"type_": "unsubscribed", "channel": "email"},
            {"type_": "consented", "channel": "email", "properties": {"given": False}},
            False,
        ),
        ({"type_": "bounced", "channel": "email", **BOUNCED}, {"type_": "consented", "channel": "email"}, False),
        ({"type_": "push_disabled"}, {"type_": "push_enabled"}, True),
        ({"type_": "uninstalled"}, {"type_": "push_enabled"}, True),
        ({"type_": "unsubscribed", "channel": "push"}, {"type_": "push_enabled"}, False),
        ({"type_": "unsubscribed", "channel": "email"}, {"type_": "clicked", "channel": "email"}, False),
    ],
)
def test_only_a_later_explicit_yes_lifts_a_no(no: dict[str, Any], yes: dict[str, Any], lifts: bool) -> None:
    for no_ago_us, yes_ago_us, lifted in ((2, 1, lifts), (1, 2, False), (1, 1, False)):
        for reverse in (False, True):
            world = World()
            world.ask("asked", "email", "promotions")
            told = [event(ago_us=no_ago_us, **no), event(ago_us=yes_ago_us, **yes)]
            for each in reversed(told) if reverse else told:
                world.tell(each)
            channel = "push" if "push" in str(no) or no["type_"] == "uninstalled" else "email"
            assert world.allows(channel, "promotions") == lifted, (no_ago_us, yes_ago_us, reverse)


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        ((), False),
        ((Address("email", ADDRESS),), False),
        ((Address("email", OTHER_ADDRESS),), True),
        ((Address("email", OTHER_ADDRESS), Address("email", ADDRESS)), False),
        ((Address("sms", OTHER_ADDRESS),), False),
    ],
)
@pytest.mark.parametrize("type_", ["bounced", "complained"])
def test_a_bounce_or_complaint_binds_whoever_has_the_address_or_none_on_file(
    type_: str, addresses: tuple[Address, ...], allowed: bool
) -> None:
    world = World()
    world.held.customer = replace(world.held.customer, addresses=addresses)
    told = event(type_, channel="email", digest=ADDRESS, **BOUNCED)
    world.tell(told)
    assert world.allows("email") == allowed
    assert world.allows("push")
    fact = address_fact(told)
    assert fact is not None
    assert (fact.scope, fact.digest) == (Scope("email"), ADDRESS)


def test_a_lease_is_revoked_when_its_address_turns_out_to_be_suppressed() -> None:
    world = World()
    world.held.customer = replace(world.held.customer, addresses=(Address("email", OTHER_ADDRESS),))
    world.tell(event("bounced", channel="email", digest=ADDRESS, **BOUNCED))
    assert world.ask("m") is Verdict.ALLOW
    customer = replace(world.held.customer, addresses=(Address("email", ADDRESS),))
    assert world.batch.refile(world.held, Change.ADDRESSES, customer, []) == 1
    assert world.state("m") is State.REVOKED


def test_soft_bounces_suppress_after_the_number_of_the_policy_within_its_days() -> None:
    def allowed(*days_ago: int, digest: str | None = None) -> bool:
        world = World()
        for number, days in enumerate(days_ago):
            world.tell(event("bounced", days * DAY_US, f"b{number}", channel="email", digest=digest))
        return world.allows()

    assert allowed(0, 0)
    assert not allowed(0, 0, 0)
    assert allowed(0, 5, 10)
    assert not allowed(0, 5, 9)
    assert not allowed(40, 20, 21, 22, 1)
    assert not allowed(9, 0, 5, digest=ADDRESS)


def test_the_tries_of_one_message_are_one_soft_bounce() -> None:
    def allowed(*messages: str | None, days_ago: int = 0) -> bool:
        world = World()
        for number, message_id in enumerate(messages):
            at = days_ago * DAY_US if number == 0 else number
            world.tell(event("bounced", at, f"b{number}", channel="email", message_id=message_id))
        return world.allows()

    assert allowed(*["m"] * 30)
    assert allowed(*["m"] * 30, "n", *["m"] * 30)
    assert not allowed(*["m"] * 30, "n", "o")
    assert not allowed("o", *["m"] * 300, "n"), "nor does one message push the others out"
    assert not allowed("m", "n", None)
    assert not allowed(None, None, None)
    assert allowed("m", "n", "o", days_ago=11)
    assert not allowed("m", "n", "o", "m", days_ago=11), "the last try counts, not the first"


def test_soft_bounces_of_different_addresses_do_not_add_up() -> None:
    world = World()
    for number in range(4):
        digest = (ADDRESS, OTHER_ADDRESS)[number % 2]
        world.tell(event("bounced", number, f"b{number}", channel="email", digest=digest))
    assert world.allows()
    world.tell(event("bounced", 0, "b4", channel="email", digest=ADDRESS))
    (fact,) = world.held.customer.in_force
    assert (fact.reason, fact.digest, fact.at_us) == (SuppressionReason.SOFT_BOUNCES, ADDRESS, NOW_US)


def test_consents_are_filed_newest_first_said_and_satisfy_a_topic_that_asks_for_one() -> None:
    world = World(
        Rules(1, load_policy("{schema: 1, unknown_timezone: Europe/Berlin, topics: {promotions: {consent: opt_in}}}"))
    )
    assert world.ask("m") is Verdict.DENY
    world.tell(event("consented", 5, channel="email", properties={"text_version": "v3"}))
    assert world.ask("m") is Verdict.ALLOW
    world.tell(event("consented", 9, channel="email", properties={"given": False}))
    assert world.held.customer.consents == (Consent(Scope("email"), True, NOW_US - 5, "provider", "v3"),)
    world.tell(event("consented", 1, channel="email", properties={"given": False}))
    assert world.ask("m2") is Verdict.DENY


@pytest.mark.parametrize("by_event", [True, False])
def test_a_withdrawn_consent_ends_the_open_leases_in_its_scope(by_event: bool) -> None:
    world = World()
    for id_, channel, topic in (("m", "email", "news"), ("push", "push", "news"), ("order", "email", "orders")):
        assert world.ask(id_, channel, topic) is Verdict.ALLOW
    consent = Consent(Scope("email"), False, NOW_US, "form")
    if by_event:
        told = event("consented", channel="email", properties={"given": False})
        assert world.tell(told) == Happened("ada", 0, 0, 0, 1, frozenset({told.key}))
    else:
        assert world.do(PutCustomer("ada", consents=(consent,))).revoked == 1
    assert (world.state("m"), world.state("push"), world.state("order")) == (
        State.REVOKED,
        State.RESERVED,
        State.RESERVED,
    )
    assert world.do(PutCustomer("ada", consents=(replace(consent, source="desk"),))).revoked == 0


def test_cases_end_by_their_name_and_nameless_ones_by_any_end() -> None:
    world = World()
    world.tell(event("case_opened", 9, properties={"case": 1}), event("case_opened", 8, properties={"case": 2}))
    world.tell(event("case_closed", 5, properties={"case": 1}))
    assert not world.allows()
    world.tell(event("case_closed", 5, properties={"case": "2"}))
    assert world.allows()
    world.tell(event("survey", 4, value=0.0))
    assert not world.allows()
    world.tell(event("case_closed", 3, properties={"case": 77}))
    assert world.allows()
    world.tell(event("case_opened", 2, properties={"case": 1}))
    assert not world.allows()


def test_when_somebody_was_seen_counts_in_whole_days_and_not_by_machines() -> None:
    world = World()
    world.tell(event("session", 40 * DAY_US), event("purchase", 3 * DAY_US), event("session", 5 * DAY_US))
    world.tell(event("clicked", 0, flags=Flag.SUSPECT_SAID), event("clicked", 7 * DAY_US), event("opened", 50 * DAY_US))
    world.tell(event("session", 20 * DAY_US))
    of = {name: world.held.customer.attribute(name, NOW_US) for name in world.held.customer.since_us}
    assert of == {
        "days_since_first_seen": 40,
        "days_since_last_session": 5,
        "days_since_last_click": 7,
        "days_since_last_purchase": 3,
    }
    entries = len(world.batch.entries)
    world.tell(event("session", 5 * DAY_US, "another of that day"))
    assert len(world.batch.entries) == entries


# --- Instants, and words of people ------------------------------------------------------------------------------------


def test_a_suppression_by_hand_holds_although_it_was_lifted_later_than_it_says() -> None:
    world = World()
    world.tell(event("resubscribed", 5, channel="email"))
    suppression = Suppression(Scope("email"), SuppressionReason.UNSUBSCRIBE, NOW_US - 10, "desk", binds_exempt=False)
    assert world.do(Suppress("ada", suppression)).changed
    assert not world.allows()
    assert world.do(Lift("ada", Scope("email"))).changed
    assert world.allows()
    assert world.do(Suppress("ada", suppression)).changed
    assert not world.allows()


def test_lifting_by_hand_ends_every_suppression_of_the_scope_and_news_from_before_stays_lifted() -> None:
    world = World()
    before = [event(each, channel="email", flags=Flag.HARD, digest=ADDRESS) for each in ("bounced", "complained")]
    world.tell(*before, event("unsubscribed", channel="email"), event("unsubscribed", channel="push"))
    world.later(1)
    assert world.do(Lift("ada", Scope("email"))).changed
    assert world.allows("email")
    assert not world.allows("push")
    assert not world.do(Lift("ada", Scope("email"))).changed
    world.later(5)
    world.tell(*[each._replace(event_id="again") for each in before])
    assert world.allows("email")
    world.tell(event("complained", -5, channel="email"))
    assert not world.allows("email")


def test_what_was_lifted_leaves_no_trace_of_how_far_it_reached() -> None:
    world = World()
    hard, plain = (Suppression(Scope(), SuppressionReason.BY_HAND, NOW_US, "desk", binds) for binds in (True, False))
    world.do(Suppress("ada", hard))
    assert not world.allows(topic="orders")
    world.do(Lift("ada", Scope()))
    world.do(Suppress("ada", plain))
    assert world.allows(topic="orders")
    assert not world.allows(topic="news")


def test_consents_that_were_put_stay_as_they_are_until_a_newer_word() -> None:
    world = World()
    put = (Consent(Scope("push"), True, 5, "form"), Consent(Scope("email"), True, NOW_US, "form", "v1"))
    world.do(PutCustomer("ada", consents=put))
    world.tell(event("session"), event("consented", 9, channel="email", properties={"given": False}))
    assert world.held.customer.consents == put
    world.tell(event("unsubscribed", channel="email"))
    assert world.held.customer.consents == put


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event("complained", message_id="asked"), ("email", "promotions", "spring")),
        (event("delivered", message_id="asked", topic="news"), ("email", "news", "spring")),
        (event("clicked", message_id="asked", channel="push"), ("push", "promotions", "spring")),
        (event("unsubscribed", message_id="asked"), ("email", None, "spring")),
        (event("unsubscribed", message_id="asked", topic="news"), (None, "news", "spring")),
        (event("unsubscribed", message_id="asked", properties={"scope": "topic"}), ("email", "promotions", "spring")),
        (event("unsubscribed", message_id="asked", properties={"scope": "all"}), (None, None, "spring")),
        (event("resubscribed", message_id="asked"), ("email", None, "spring")),
        (event("consented", message_id="asked"), (None, None, None)),
        (event("complained", message_id="nobody's"), (None, None, None)),
        (event("complained", message_id="unasked"), (None, None, None)),
    ],
    ids=lambda each: each.type + str(sorted(each.properties.items())) if isinstance(each, Event) else None,
)
def test_an_event_is_kept_with_what_was_acted_on(told: Event, expected: tuple[str | None, ...]) -> None:
    """Readouts and the breaker read what decisions acted on, and a topic nobody named is no scope."""
    world = World()
    world.ask("asked", "email", "promotions", campaign="spring")
    world.tell(event("sent", message_id="unasked", channel="sms"))
    world.batch.events.clear()
    world.tell(told)
    (kept,) = world.batch.events
    assert (kept.channel, kept.topic, kept.campaign) == expected
    assert kept._replace(channel=told.channel, topic=told.topic, campaign=told.campaign) == told
