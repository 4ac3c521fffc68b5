"""Events that say a message was sent: they confirm what was asked for, and put the rest on record."""

import pytest

from engine.core.account import Kind, Lease, State
from engine.core.events import Event
from engine.core.outcomes import UNKNOWN_TOPIC
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, OnExpiry
from engine.core.verdict import Verdict
from engine.operations.resolve import ConfirmCommand, ReleaseCommand
from tests.operations.held_world import NOW_US, World, event


def test_a_send_confirms_its_reservation_once_however_often_it_is_told() -> None:
    world = World()
    world.ask("m")
    told = world.tell(event("sent", message_id="m"), event("delivered", message_id="m"))
    assert (told.confirmed, told.unasked, world.state("m")) == (1, 0, State.CONFIRMED)
    assert world.tell(event("sent", message_id="m")).confirmed == 0
    assert len(world.held.account.contacts) == 1


def test_a_send_of_a_presumed_contact_marks_it() -> None:
    world = World()
    world.ask("m", on_expiry=OnExpiry.PRESUME_SENT, lease_us=MINUTE_US)
    world.later(HOUR_US)
    before = list(world.held.account.contacts)
    assert world.tell(event("delivered", message_id="m")).confirmed == 1
    assert (world.state("m"), world.held.account.contacts) == (State.PRESUMED_SENT, before)
    assert world.tell(event("delivered", message_id="m")).confirmed == 0


@pytest.mark.parametrize("how", ["released", "expired", "revoked"])
def test_a_send_after_the_contact_was_over_makes_it_late_once(how: str) -> None:
    world = World()
    world.ask("m", lease_us=MINUTE_US)
    if how == "released":
        world.do(ReleaseCommand("ada", "m"))
    elif how == "revoked":
        assert world.tell(event("unsubscribed", channel="email")).revoked == 1
    else:
        world.later(HOUR_US)
    assert world.state("m") == how
    for _ in range(2):
        world.tell(event("sent", message_id="m", channel="email"), event("delivered", message_id="m", channel="email"))
    assert world.state("m") is State.LATE
    assert [each.kind for each in world.held.account.contacts] == [Kind.LATE]


def test_a_message_sent_before_its_customer_left_is_confirmed_and_the_others_are_revoked() -> None:
    world = World()
    world.ask("sent", topic="news")
    world.ask("waiting", topic="news")
    told = world.tell(event("unsubscribed", channel="email"), event("sent", message_id="sent"))
    assert (told.confirmed, told.suppressed, told.revoked) == (1, 1, 1)
    assert (world.state("sent"), world.state("waiting")) == (State.CONFIRMED, State.REVOKED)
    assert world.ask("waiting", topic="news") is Verdict.DENY


def test_a_send_that_nobody_asked_for_occupies_budget_from_its_own_time() -> None:
    world = World()
    for number, days in enumerate((1, 2)):
        sent = event("sent", days * DAY_US, message_id=f"u{number}", channel="email", topic="promotions", campaign="c")
        told = world.tell(sent)
        assert (told.confirmed, told.unasked) == (0, 1)
    contact = world.held.account.contacts[0]
    assert (contact.kind, contact.start_us, contact.end_us) == (Kind.UNASKED, NOW_US - DAY_US, NOW_US - DAY_US)
    assert (contact.labels, contact.lease) == (("email", "promotions", "c", None), Lease.SETTLED)
    assert world.ask("m", topic="promotions") is Verdict.DEFER
    assert world.ask("n", topic="news") is Verdict.ALLOW
    assert world.ask("u0", topic="promotions") is Verdict.ALLOW  # the same message: its verdict again
    assert len(world.held.account.contacts) == 3
    assert world.tell(event("delivered", message_id="u0", channel="email")).unasked == 0
    assert world.do(ConfirmCommand("ada", "u0")).applied is False


def test_an_unasked_contact_of_no_known_topic_counts_in_budgets_over_all_topics() -> None:
    world = World()
    for number in range(3):
        world.tell(event("sent", message_id=f"u{number}", channel="email"))
    assert {each.topic for each in world.held.account.contacts} == {UNKNOWN_TOPIC}
    assert world.ask("m", topic="news") is Verdict.DEFER


@pytest.mark.parametrize(
    "sent",
    [
        event("sent", message_id="m"),
        event("opened", message_id="m", channel="email", topic="news"),
        event("sent", 400 * DAY_US, message_id="m", channel="email", topic="news"),
    ],
    ids=["no channel", "no send", "older than 400 days"],
)
def test_what_makes_no_unasked_contact(sent: Event) -> None:
    world = World()
    assert world.tell(sent).unasked == 0
    assert world.held.account.contacts == []
    assert world.batch.events == [sent]


def test_a_send_without_a_message_id_occupies_budget_under_an_id_of_its_own() -> None:
    world = World()
    one, other = (event("sent", days * DAY_US, channel="email", topic="promotions") for days in (1, 2))
    assert world.tell(one, other, one).unasked == 2
    assert world.tell(one).unasked == 0
    assert {each.start_us for each in world.held.account.contacts} == {one.at_us, other.at_us}
    assert world.ask("m", topic="promotions") is Verdict.DEFER


def test_a_send_whose_channel_nothing_says_is_told_to_occupy_nothing() -> None:
    world = World()
    unplaced = event("sent", message_id="u")
    assert world.tell(unplaced).unplaced == {unplaced.key}
    told = world.tell(unplaced, event("delivered", message_id="u", channel="email"))
    assert (told.unasked, told.unplaced) == (1, set())
    assert world.tell(unplaced).unplaced == set()


def test_a_send_of_long_ago_is_not_taken_for_that_of_a_message_with_the_same_id_now() -> None:
    world = World()
    world.ask("m")
    told = world.tell(event("sent", 17 * DAY_US, message_id="m", channel="email"))
    assert (told.confirmed, told.unasked, world.state("m")) == (0, 0, State.RESERVED)
    assert (
        world.tell(event("sent", 2 * DAY_US, message_id="m", channel="email")).confirmed == 1
    )  # a clock that is behind


def test_a_send_of_an_earlier_attempt_that_was_confirmed_late_makes_no_second_contact() -> None:
    world = World()
    world.ask("m", lease_us=MINUTE_US)
    world.later(HOUR_US)
    world.ask("m", lease_us=MINUTE_US)
    world.later(HOUR_US)
    world.do(ConfirmCommand("ada", "m", 1))
    assert world.tell(event("delivered", message_id="m")).confirmed == 0
    assert [each.kind for each in world.held.account.contacts if not each.has_expired(world.held.now_us)] == [Kind.LATE]
