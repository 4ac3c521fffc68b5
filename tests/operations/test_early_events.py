"""Events that lie ahead of the clock, as those of a sender whose clock is fast: what they say holds at once, and which
of two came later is what their senders say, whichever arrives first."""

import pytest

from engine.core.choices import NONE, USUAL
from engine.core.events import Event, Flag
from engine.core.origins import Origin
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US
from engine.core.suppression import Scope
from engine.operations.choices import Choose, Leave
from engine.operations.decider import Decider
from engine.operations.file import Lift
from engine.operations.intake import Intake
from engine.operations.look import look
from engine.operations.verify import verify
from tests.conftest import set_clock
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


PROMOTIONS = Scope("email", "promotions")
ORIGIN = Origin("ada", "email", "promotions", None, None, NOW_US)
RETURN = Choose(ORIGIN, 400, ((PROMOTIONS, USUAL),))


def test_a_return_on_the_page_to_what_lies_ahead_lifts_no_later_no() -> None:
    """Its tombstone lay ahead, and took each unsubscribe until then with it: for 20 hours asks were allowed."""
    scope = {"channel": "email", "topic": "promotions"}
    world = World()
    for hours in (20, 5):
        world.tell(event("unsubscribed", -hours * HOUR_US, **scope))
        world.later(1)
        world.do(RETURN)
        assert world.allows()
        world.later(2)
        world.tell(event("unsubscribed", -world.held.now_us + NOW_US + 1, f"soon {hours}", **scope))
        assert not world.allows(), "as of after the return, though before what was lifted"
        world.do(RETURN)
        world.tell(event("unsubscribed", 0, f"late {hours}", **scope))
        assert world.allows(), "as of before the return"


def test_where_time_stands_still_a_return_on_the_page_lifts_no_later_no() -> None:
    world = World()
    world.later(20 * HOUR_US)
    world.ask("m-1")
    world.later(-20 * HOUR_US)
    for number in range(3):
        world.do(Choose(ORIGIN, 400, ((PROMOTIONS, NONE),)))
        assert not world.allows()
        world.do(RETURN)
        assert world.allows()
        world.tell(event("unsubscribed", -number, f"no {number}", channel="email", topic="promotions"))
        assert not world.allows()
        world.do(RETURN)
        world.later(1)


@pytest.mark.parametrize(
    ("yes", "no", "channel"),
    [
        (event("resubscribed", channel="email"), event("unsubscribed", channel="email"), "email"),
        (event("consented", channel="email"), event("complained", channel="email", digest=ADDRESS), "email"),
        (
            event("consented", channel="email"),
            event("consented", topic="promotions", properties={"given": False}),
            "email",
        ),
        (event("push_enabled"), event("push_disabled"), "push"),
        (event("case_closed"), event("case_opened"), "email"),
        (event("case_closed", properties={"case": 77}), event("case_opened"), "email"),
    ],
    ids=lambda each: each.event_id if isinstance(each, Event) else None,
)
def test_a_yes_of_while_the_clock_ran_ahead_outranks_no_later_no(yes: Event, no: Event, channel: str) -> None:
    world = World()
    world.later(20 * HOUR_US)
    world.tell(yes._replace(at_us=world.held.clock_us))
    world.later(-19 * HOUR_US)
    assert world.allows(channel)
    world.tell(no._replace(at_us=world.held.clock_us - 5))
    assert not world.allows(channel)


def test_a_return_on_the_page_ends_what_a_clock_left_ahead() -> None:
    world, scope = World(), {"channel": "email", "topic": "promotions"}
    world.later(20 * HOUR_US)
    world.do(RETURN)
    world.tell(event("resubscribed", -20 * HOUR_US, **scope))
    world.later(-20 * HOUR_US)
    world.tell(event("unsubscribed", 0, **scope))
    world.later(1)
    world.do(RETURN)
    assert world.allows()
    world.later(21 * HOUR_US)
    world.tell(event("unsubscribed", -HOUR_US, "late", **scope))
    assert not world.allows(), "of an hour after the return"


def test_soft_bounces_that_lie_ahead_stay_lifted_until_the_next() -> None:
    """The suppression was made anew of their instants by whatever event came next."""
    world = World()
    for number in range(6):
        world.tell(event("bounced", -20 * HOUR_US, f"b{number}", channel="email", message_id=f"m{number}"))
    assert not world.allows()
    world.do(Lift("ada", Scope("email")))
    world.later(10)
    world.tell(event("session"), event("case_closed"))
    assert world.allows()
    world.tell(event("bounced", 1, "late", channel="email"))
    assert world.allows(), "of before the lift"
    world.tell(event("bounced", -9, "next", channel="email"))
    assert not world.allows()


@pytest.mark.anyio
@pytest.mark.parametrize("type_", ["complained", "bounced"])
async def test_what_lies_ahead_of_an_address_is_lifted_once_and_each_later_word_on_it_holds(
    decider: Decider, type_: str
) -> None:
    """The lift lay ahead, for the next put told the fact again as it was: it took each complaint until then with it."""
    intake, now_us = Intake(decider), await decider.database.clock_us()

    async def tell(number: int, customer_id: str, at_us: int) -> None:
        told = of_mailbox(type_, at_us, flags=int(Flag.HARD))
        assert await intake.take([told._replace(customer_id=customer_id, event_id=f"{number}")]) == ["accepted"]

    async def forbids(customer_id: str) -> bool:
        return bool((await look(decider, customer_id)).customer.in_force)

    await intake.put([reachable("ada", MAILBOX), reachable("eve", MAILBOX)])
    for number, whose in enumerate(("", "bob")):  # by its address alone, and as another's
        await tell(2 * number, "", now_us + (20 + number) * HOUR_US)
        assert await forbids("ada")
        await decider.settle(Lift("ada", Scope("email")))
        await intake.put([reachable("ada")])
        await intake.put([reachable("ada", MAILBOX)])
        assert not await forbids("ada")
        await tell(2 * number + 1, whose, await decider.database.clock_us())
        assert await forbids("ada")
        assert await forbids("eve")
        await decider.settle(Lift("ada", Scope("email")))
    assert (await verify(decider.database)).is_clean


@pytest.mark.anyio
async def test_each_click_binds_where_time_stands_still(decider: Decider, database_url: str) -> None:
    """The second one of a standstill bore the id of the first, and was none."""
    origin = ORIGIN._replace(issued_us=await decider.database.clock_us())
    set_clock(database_url, 20 * HOUR_US)
    await decider.settle(Leave(origin, 400, "one-click:1"))
    set_clock(database_url, 0)
    for _ in range(3):
        await decider.settle(Choose(origin, 400, ((PROMOTIONS, USUAL),)))
        assert not (await look(decider, "ada")).customer.in_force
        await decider.settle(Leave(origin, 400, "one-click:1"))
        assert (await look(decider, "ada")).customer.in_force
    ((clicks,),) = rows(database_url, "SELECT count(*) FROM events WHERE event_id LIKE 'one-click%'")
    assert clicks == 4
    assert (await verify(decider.database)).is_clean


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
