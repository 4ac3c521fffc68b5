"""Events in, through the lanes and past them: what breaks off half done is completed by bringing it again, addresses
and their events meet whoever comes first, and the order in which things come leaves no trace.
"""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from engine.core.account import State
from engine.core.customer import Address
from engine.core.errors import TaktError, Unavailable
from engine.core.events import Event, Flag
from engine.core.policy import Channel
from engine.core.verdict import Ask
from engine.operations.addresses import NoAddress, PutReachable, hashed, normalised
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.file import Filed, PutCustomer
from engine.operations.happened import HappenedCommand
from engine.operations.intake import Intake, Outcome, Result
from engine.operations.look import look
from engine.operations.resolve import ReleaseCommand, Resolved
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store import addresses
from engine.store.events import labels_of
from tests.store.faults import Cut, count, proxied, run

pytestmark = pytest.mark.anyio

HOUR_US = 3_600_000_000
KEY = b"k" * 32
MAILBOX = hashed(KEY, Channel.EMAIL, "ada@example.com")


@pytest.fixture
def intake(decider: Decider) -> Intake:
    return Intake(decider)


async def an_hour_ago(decider: Decider) -> int:
    return await decider.database.clock_us() - HOUR_US


def event(customer_id: str, type_: str, at_us: int, **more: object) -> Event:
    return Event(customer_id, "test", f"{type_}-1", type_, at_us, **more)  # type: ignore[arg-type]


def of_mailbox(type_: str, at_us: int, address: Address = MAILBOX, **more: object) -> Event:
    return event("", type_, at_us, channel=address.channel, digest=address.digest, **more)


def reachable(customer_id: str, *at: Address) -> PutReachable:
    return PutReachable(customer_id, PutCustomer(customer_id), at)


def events_of(url: str, customer_id: str) -> int:
    """Those that others told: what follows for reach is Takt's own."""
    others = "source <> coalesce((SELECT number FROM labels WHERE name = 'takt'), 0)"
    return count(url, f"SELECT count(*) FROM events WHERE customer_id = '{customer_id}' AND {others}")


async def reasons(decider: Decider, customer_id: str) -> set[str]:
    return {each.reason.value for each in (await look(decider, customer_id)).customer.in_force}


def break_off(url: str, kind: str) -> None:
    """End the connection of whoever keeps an event of this kind: of a list, what came before it is done."""
    run(
        url,
        "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.kind = (SELECT number FROM labels WHERE name = '{kind}') THEN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$",
        "CREATE TRIGGER break_off BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION break_off()",
    )


def mend(url: str) -> None:
    run(url, "DROP TRIGGER break_off ON events")


async def test_what_broke_off_between_the_lanes_and_bulk_is_completed_by_bringing_it_again(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    given = [event("ada", "rating", at_us), event("ada", "unsubscribed", at_us), event("bob", "rating", at_us)]
    break_off(database_url, "rating")
    with pytest.raises(Unavailable):
        await intake.take(given)
    assert (await reasons(decider, "ada"), events_of(database_url, "ada")) == ({"unsubscribe"}, 1), "half is done"
    await asyncio.to_thread(mend, database_url)  # who still tries holds what it waits for, and runs here
    assert await intake.take(given) == [Result.ACCEPTED, Result.DUPLICATE, Result.ACCEPTED]
    assert (events_of(database_url, "ada"), events_of(database_url, "bob")) == (2, 1)
    assert not (await verify(decider.database)).findings


async def test_what_cannot_be_told_under_its_lock_harms_nothing_else(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    given = [event("ada", "complained", at_us), event("ada", "rating", at_us)]
    break_off(database_url, "complained")
    complained, rated = await intake.take(given)
    assert isinstance(complained, Unavailable)
    assert rated is Result.ACCEPTED
    await asyncio.to_thread(mend, database_url)  # who still tries holds what it waits for, and runs here
    complained, rated = await intake.take(given)
    assert isinstance(complained, Result), "taken now, or by what went on trying after it had been given up"
    assert rated is Result.DUPLICATE
    assert await reasons(decider, "ada") == {"complaint"}
    assert events_of(database_url, "ada") == 2


@pytest.mark.parametrize("type_", ["sent", "clicked"])
@pytest.mark.parametrize("cut", Cut)
async def test_a_connection_cut_at_the_commit_leaves_an_event_once(
    decider: Decider, database_url: str, test_settings: Settings, cut: Cut, type_: str
) -> None:
    at_us = await an_hour_ago(decider)
    async with proxied(database_url) as (url, proxy):
        other = Decider(url, test_settings)
        await other.open()
        try:
            proxy.arm(cut)
            told = event("ada", type_, at_us, channel="email", message_id="m-1", flags=int(Flag.SUSPECT_SAID))
            (result,) = await Intake(other).take([told])
            # What wrote no entry leaves no witness of its commit: tried again, it is known already.
            assert result is Result.ACCEPTED or (type_, result) == ("clicked", Result.DUPLICATE)
            assert proxy.cuts == 1
        finally:
            await other.close()
    assert events_of(database_url, "ada") == 1
    assert count(database_url, "SELECT count(*) FROM journal") == (type_ == "sent")
    assert not (await verify(decider.database)).findings


async def test_an_unsubscribe_ends_the_leases_in_its_scope_before_it_is_acknowledged(
    decider: Decider, intake: Intake
) -> None:
    await decider.ask(AskCommand("ada", "m-1", Ask("email", "newsletter")), Mode.RESERVE)
    await intake.take([event("ada", "unsubscribed", await an_hour_ago(decider), channel="email")])
    released = await decider.settle(ReleaseCommand("ada", "m-1"))
    assert isinstance(released, Resolved)
    assert released.state is State.REVOKED


async def test_the_first_session_of_a_day_moves_when_somebody_was_seen_and_others_need_no_lock(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    sessions = [Event("ada", "web", f"s{n}", "session", at_us + n) for n in range(5)]
    assert await intake.take(sessions[:1]) == [Result.ACCEPTED]
    changes = count(database_url, "SELECT count(*) FROM changes")
    assert changes == 1
    assert await intake.take(sessions) == [Result.DUPLICATE, *[Result.ACCEPTED] * 4]
    assert count(database_url, "SELECT count(*) FROM changes") == changes
    seen = (await look(decider, "ada")).customer.outcomes.seen
    assert set(seen) == {"days_since_first_seen", "days_since_last_session"}


async def test_events_and_the_owner_of_their_address_meet_however_they_cross(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    mailboxes = [hashed(KEY, Channel.EMAIL, f"c{n}@example.com") for n in range(40)]

    async def link(n: int) -> object:
        (filed,) = await intake.put([reachable(f"c{n}", mailboxes[n])])
        return filed

    async def bring(n: int) -> Sequence[Outcome]:
        return await intake.take(
            [of_mailbox("complained", at_us, mailboxes[n]), of_mailbox("rating", at_us, mailboxes[n])]
        )

    both = [work for n in range(40) for work in ((link(n), bring(n)) if n % 2 else (bring(n), link(n)))]
    results = await asyncio.gather(*both)
    assert not [each for each in results if isinstance(each, TaktError)]
    for n in range(40):
        assert events_of(database_url, f"c{n}") == 2, n
        assert await reasons(decider, f"c{n}") == {"complaint"}, n
    assert count(database_url, "SELECT count(*) FROM unresolved_events") == 0
    assert not (await verify(decider.database)).findings


async def test_what_a_crash_left_waiting_is_used_by_the_next_put(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    await intake.put([reachable("ada", MAILBOX)])
    told = of_mailbox("unsubscribed", await an_hour_ago(decider))
    await decider.labels.intern(["test", "unsubscribed"])
    async with decider.database.connection() as connection:
        await addresses.keep(connection, [told], decider.labels)  # and then the process died
    (filed,) = await intake.put([reachable("ada", MAILBOX)])
    assert isinstance(filed, Filed)
    assert await reasons(decider, "ada") == {"unsubscribe"}
    assert count(database_url, "SELECT count(*) FROM unresolved_events") == 0


async def test_a_duplicate_says_nothing_of_an_address_whatever_it_says(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    kept = event("ada", "session", at_us)
    bounced = {"type": "bounced", "channel": "email", "flags": int(Flag.HARD), "digest": MAILBOX.digest}
    again = kept._replace(**bounced)  # the same source and id
    waiting = of_mailbox("session", at_us)._replace(event_id="of-nobody")
    assert await intake.take([kept, again]) == [Result.ACCEPTED, Result.DUPLICATE], "in one list"
    assert await intake.take([waiting]) == [Result.UNRESOLVED]
    assert await intake.take([again, waiting._replace(**bounced)]) == [Result.DUPLICATE] * 2
    assert count(database_url, "SELECT count(*) FROM suppressed_addresses") == 0
    await intake.put([reachable("bob", MAILBOX)])
    assert await intake.take([again, waiting._replace(**bounced)]) == [Result.DUPLICATE] * 2
    await intake.put([reachable("eve", MAILBOX)])
    assert [await reasons(decider, who) for who in ("ada", "bob", "eve")] == [set()] * 3
    assert count(database_url, "SELECT count(*) FROM suppressed_addresses") == 0
    assert await intake.take([again._replace(event_id="another")]) == [Result.ACCEPTED]
    assert [await reasons(decider, who) for who in ("ada", "bob", "eve")] == [{"hard_bounce"}] * 3
    assert not (await verify(decider.database)).findings


async def test_who_has_the_address_hears_of_it_when_an_event_is_brought_again_after_a_crash(
    decider: Decider, intake: Intake
) -> None:
    await intake.put([reachable("bob", MAILBOX)])
    told = of_mailbox("complained", await an_hour_ago(decider))._replace(customer_id="ada")
    await decider.labels.admit(labels_of([told]))
    await decider.settle(HappenedCommand("ada", (told,)))  # and then the process died
    assert await reasons(decider, "bob") == set()
    assert await intake.take([told]) == [Result.DUPLICATE]
    assert await reasons(decider, "bob") == {"complaint"}


async def test_the_order_of_events_and_addresses_leaves_no_trace(
    decider: Decider, intake: Intake, database_url: str
) -> None:
    at_us = await an_hour_ago(decider)
    found: set[tuple[object, ...]] = set()
    orders = list(itertools.permutations(range(6)))[::37]
    for n, order in enumerate(orders):
        mailbox, ada = hashed(KEY, Channel.EMAIL, f"order{n}@example.com"), f"ada-{n}"
        sent = event(ada, "sent", at_us, channel="email", topic="newsletter", message_id="m-1")
        click = event(ada, "clicked", at_us + 5_000_000, channel="email", message_id="m-1")
        steps: list[Event | None] = [
            None,  # the customer's address is put
            sent,
            click,
            of_mailbox("bounced", at_us + 1, mailbox, flags=int(Flag.HARD)),
            of_mailbox("unsubscribed", at_us + 2, mailbox),
            event(ada, "resubscribed", at_us + 3, channel="email"),
        ]
        for place in (*order, *order[::-1]):
            step = steps[place]
            if step is None:
                await intake.put([reachable(ada, mailbox)])
            else:
                assert isinstance((await intake.take([step]))[0], Result)
        view = await look(decider, ada)
        flags = count(database_url, f"SELECT sum(flags) FROM events WHERE customer_id = '{ada}'")
        facts = sorted((each.reason, each.at_us, each.lifted_us) for each in view.customer.suppressions)
        contacts = [(each.channel, each.topic, each.start_us) for each in view.contacts]
        found.add((flags, events_of(database_url, ada), *facts, *contacts, *view.customer.outcomes.seen.items()))
    assert len(found) == 1, found
    assert not (await verify(decider.database)).findings


@pytest.mark.parametrize(
    ("channel", "texts"),
    [
        (Channel.EMAIL, [" Ada@Example.COM ", "ada@example.com"]),
        (Channel.SMS, ["+49 30 / 123-456", "0049 30 123456", "+49 (30) 123.456"]),
        (Channel.PUSH, ["token-A", " token-A "]),
    ],
)
async def test_ways_of_writing_an_address_are_one(channel: Channel, texts: list[str]) -> None:
    assert len({hashed(KEY, channel, each) for each in texts}) == 1
    assert hashed(b"j" * 32, channel, texts[0]) != hashed(KEY, channel, texts[0])


async def test_an_address_is_another_in_another_channel_and_a_token_keeps_its_case() -> None:
    assert hashed(KEY, Channel.SMS, "+4930123456").digest != hashed(KEY, Channel.PHONE, "+4930123456").digest
    assert hashed(KEY, Channel.PUSH, "token-A") != hashed(KEY, Channel.PUSH, "token-a")


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        (Channel.EMAIL, "ada"),
        (Channel.EMAIL, "@example.com"),
        (Channel.EMAIL, "ada@"),
        (Channel.EMAIL, "a da@example.com"),
        (Channel.SMS, "call me"),
        (Channel.PHONE, "+1"),
        (Channel.PUSH, "  "),
    ],
)
async def test_what_is_no_address_is_refused(channel: Channel, text: str) -> None:
    with pytest.raises(NoAddress):
        normalised(channel, text)
