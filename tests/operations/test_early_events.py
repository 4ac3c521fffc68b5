"""Events that lie ahead of the clock, as those of a sender whose clock is fast: what they say holds at once, and which
of two came later is what their senders say, whichever arrives first."""

import pytest

from engine.core.choices import NONE, USUAL
from engine.core.events import Event
from engine.core.origins import Origin
from engine.core.policy import DAY_US, MINUTE_US
from engine.core.suppression import Scope
from engine.operations.choices import Choose, Leave
from engine.operations.decider import Decider
from engine.operations.file import Lift
from engine.operations.intake import Intake
from engine.operations.look import look
from engine.operations.verify import verify
from tests.operations.held_world import ADDRESS, NOW_US, World, event
from tests.operations.test_happened_races import rows
from tests.operations.test_intake import MAILBOX, of_mailbox, reachable


@pytest.mark.parametrize(
    ("no", "yes", "allowed"),
    [
        (event("unsubscribed", -10, channel="email"), event("resubscribed", -5, channel="email"), False),
        (event("unsubscribed", -5, channel="email"), event("resubscribed", -10, channel="email"), True),
        (
            event("consented", -10, channel="email", properties={"given": False}),
            event("consented", -5, channel="email"),
            False,
        ),
        (event("push_disabled", -5), event("push_enabled", -10), True),
        (event("complained", -10, channel="email", digest=ADDRESS), event("consented", -5, channel="email"), False),
        (event("case_opened", -10), event("case_closed", -5), False),
        (event("case_opened", -5), event("case_closed", -10), True),
    ],
    ids=lambda each: each.event_id if isinstance(each, Event) else None,
)
def test_of_two_events_that_lie_ahead_the_later_is_the_one_that_its_sender_says_is(
    no: Event, yes: Event, allowed: bool
) -> None:
    for order in ((no, yes), (yes, no)):
        world = World()
        for each in order:
            world.tell(each)
            world.later(1)
        assert world.allows("push" if no.type == "push_disabled" else "email") == allowed, order
        world.later(20)
        assert world.allows("push" if no.type == "push_disabled" else "email") == allowed, order


@pytest.mark.parametrize("told", [event("unsubscribed", -DAY_US, channel="email"), event("case_opened", -DAY_US)])
def test_what_lies_ahead_forbids_at_once(told: Event) -> None:
    world = World()
    world.tell(told)
    assert not world.allows()


def test_a_send_that_lies_ahead_occupies_from_now_on() -> None:
    world = World()
    world.tell(event("sent", -DAY_US, message_id="m", channel="email"), event("session", -DAY_US))
    assert world.held.account.contacts[0].start_us == NOW_US
    assert world.held.customer.attribute("days_since_last_session", NOW_US) == 0


def test_what_a_customer_says_to_takt_holds_whatever_lies_ahead() -> None:
    origin = Origin("ada", "email", "promotions", None, None, NOW_US)
    scope = {"channel": "email", "topic": "promotions"}
    world = World()
    world.ask("asked")
    world.tell(event("resubscribed", -DAY_US, **scope))
    world.do(Leave(origin, 400, "one-click:1"))
    assert not world.allows()
    world.tell(event("unsubscribed", -2 * DAY_US, **scope))
    world.do(Choose(origin, 400, ((origin.scope, USUAL),)))
    assert world.allows()
    world.do(Choose(origin, 400, ((origin.scope, NONE),)))
    assert not world.allows()


def test_a_lift_by_hand_of_what_lies_ahead_lifts_no_later_no() -> None:
    world = World()
    world.tell(event("unsubscribed", -DAY_US, channel="email"))
    world.do(Lift("ada", Scope("email")))
    assert world.allows()
    world.later(10)
    world.tell(event("unsubscribed", -5, channel="email"))
    assert not world.allows()


@pytest.mark.anyio
async def test_what_lies_ahead_holds_in_the_order_in_which_its_senders_say_it_happened(
    decider: Decider, database_url: str
) -> None:
    """Told in two requests, the older yes lifted the newer no; also of an address that is somebody's only later."""
    intake, now_us = Intake(decider), await decider.database.clock_us()
    no = of_mailbox("complained", now_us + 10 * MINUTE_US)
    yes = event("resubscribed", channel="email")._replace(at_us=now_us + 5 * MINUTE_US)
    await intake.put([reachable("ada", MAILBOX)])
    for each in (no, yes):
        await intake.take([each])
    await intake.take([yes._replace(customer_id="eve")])
    await intake.put([reachable("eve", MAILBOX)])
    for customer_id in ("ada", "eve"):
        (fact,) = (await look(decider, customer_id)).customer.in_force
        assert fact.at_us == no.at_us
    (((latest,)),) = rows(database_url, "SELECT max(at_us - received_us) FROM events")
    assert latest <= 0, "as a row it is of no later than when it came"
    assert (await verify(decider.database)).is_clean
