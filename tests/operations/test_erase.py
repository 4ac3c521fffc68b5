"""Who is erased is gone from every table, stays uncontacted, and leaves the readouts as they were (invariant 13)."""

from typing import Any

import psycopg
import pytest

from engine.core.account import State
from engine.core.errors import Erased
from engine.core.events import Event
from engine.core.policy import Channel
from engine.core.suppression import Scope, SuppressionReason
from engine.core.verdict import Code, Verdict
from engine.operations.addresses import PURPOSE, PutReachable, hashed
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.file import Filed, Lift, PutCustomer
from engine.operations.intake import Intake, Result
from engine.operations.resolve import ConfirmCommand
from engine.operations.verify import verify
from engine.store.totals import Counted
from tests.operations.persons import ASK, dump, events_of, fill
from tests.operations.random_worlds import random_world
from tests.operations.readout_files import NOW_US, assert_equal
from tests.operations.readout_plans import BUDGET, PLAIN, computed
from tests.operations.readout_worlds import DAY_US, HOUR_US, START_US, World

pytestmark = pytest.mark.anyio
WHO = "canary-7f3a@example.com"


async def test_nothing_of_who_was_erased_is_in_any_table(decider: Decider, database_url: str):
    await fill(decider, "somebody-else")
    others = dump(database_url).count("somebody-else")
    canaries = await fill(decider, WHO)
    assert dump(database_url).count(WHO) > 20
    events = events_of(database_url, WHO)
    done = await erase(decider, WHO)
    assert (done.changed, done.contacts, done.refusals, done.events) == (True, 2, 2, events)
    left = dump(database_url)
    assert WHO not in left
    kept = sorted(line for line in left.splitlines() if canaries[1] in line)
    assert sorted(line.split("\t")[-2:] for line in kept) == [["erasure", "takt"], ["hard_bounce", "shop"]]
    assert left.count("somebody-else") == others
    assert (await verify(decider.database)).is_clean


async def test_who_was_erased_is_never_contacted_and_nothing_told_of_them_is_kept(decider: Decider, database_url: str):
    await fill(decider, WHO)
    await erase(decider, WHO)
    before = _but_labels(dump(database_url))
    for mode in Mode:
        answer = await decider.ask(AskCommand(WHO, "later", ASK), mode)
        assert (answer.verdict, answer.reasons[0].code) == (Verdict.DENY, Code.SUPPRESSED)
        assert not answer.recorded
    with pytest.raises(Erased):
        await decider.settle(ConfirmCommand(WHO, f"m1-{WHO}"))
    with pytest.raises(Erased):
        await decider.settle(PutCustomer(WHO, "Europe/Berlin"))
    now_us = await decider.database.clock_us()
    told = [
        Event(WHO, "shop", f"late-{type_}", type_, now_us, "email")
        for type_ in ("purchase", "download", "unsubscribed", "sent", "session")
    ]
    for each in (*(await Intake(decider).take(told)), (await Intake(decider).take(told[1:2]))[0]):
        assert isinstance(each, Erased)
    assert _but_labels(dump(database_url)) == before


async def test_the_address_of_who_was_erased_stays_suppressed_unless_somebody_else_has_it(decider: Decider):
    intake = Intake(decider)
    address = hashed(await decider.secret(PURPOSE), Channel.EMAIL, f"{WHO}@example.com")
    await fill(decider, WHO)
    shared = hashed(await decider.secret(PURPOSE), Channel.EMAIL, "family@example.com")
    for each in (WHO, "sister"):
        await intake.put([PutReachable(each, PutCustomer(each), (shared,) if each == "sister" else (shared, address))])
    await erase(decider, WHO)
    await intake.put([PutReachable("sister", PutCustomer("sister"), (shared,))])
    (filed,) = await intake.put([PutReachable("again", PutCustomer("again"), (address,))])
    assert isinstance(filed, Filed)
    assert SuppressionReason.ERASURE in {each.reason for each in filed.customer.in_force}
    sister = await decider.ask(AskCommand("sister", "m1", ASK), Mode.RESERVE)
    assert sister.state is State.RESERVED
    event = Event("", "esp", "b1", "bounced", 1_700_000_000_000_000, "email", digest=address.digest)
    assert await intake.take([event]) != [Result.UNRESOLVED]


async def test_erasing_again_or_somebody_unknown_changes_nothing_but_the_time_to_come(decider: Decider):
    await fill(decider, WHO)
    assert (await erase(decider, WHO)).changed
    again = await erase(decider, WHO)
    assert (again.changed, again.contacts, again.events) == (False, 0, 0)
    assert (await erase(decider, "never-heard-of")).changed
    assert (await decider.ask(AskCommand("never-heard-of", "m1", ASK), Mode.RESERVE)).verdict is Verdict.DENY


async def test_who_comes_back_is_somebody_new(decider: Decider):
    await fill(decider, WHO)
    await erase(decider, WHO)
    with pytest.raises(Erased):
        await decider.settle(Lift(WHO, Scope("email")))
    filed = await decider.settle(Lift(WHO, Scope()))
    assert isinstance(filed, Filed)
    assert filed.changed
    answer = await decider.ask(AskCommand(WHO, f"m0-{WHO}", ASK), Mode.RESERVE)
    assert (answer.state, answer.attempt) == (State.RESERVED, 1)
    assert (await verify(decider.database)).is_clean


@pytest.mark.parametrize("plan", [PLAIN, BUDGET], ids=["plain", "budget"])
async def test_a_readout_is_the_same_once_customers_were_erased(
    decider: Decider, database_url: str, plan: dict[str, Any]
):
    world = random_world(database_url, plan, 5, 150, NOW_US)
    before = computed(world)
    for number in range(0, 150, 3):
        await erase(decider, f"c{number}")
    after = computed(world)
    world.close()
    assert_equal(before.readout, after.readout)
    assert before.document["eligible"] == after.document["eligible"]
    left = dump(database_url)
    assert "\tc0\t" not in left
    assert "\tc1\t" in left


async def test_a_segment_that_few_share_goes_and_so_do_texts_among_what_is_kept(decider: Decider, database_url: str):
    world = World(database_url, PLAIN, NOW_US)
    for number in range(30):
        tier = "rare-canary" if number in (0, 1) else "gold"
        world.enter(f"c{number}", number % 3, START_US + HOUR_US, segments={"tier": tier})
        world.tell(f"c{number}", "session", START_US + DAY_US, properties={"pages": 3, "url": f"url-{number}.", "n": 5})
    world.settle()
    world.close()
    for number in (0, 2):
        assert (await erase(decider, f"c{number}")).experiments == 1
    left = [line for line in dump(database_url).split("\n") if "\x01" in line]
    assert len([line for line in left if line.startswith("exposures")]) == 2
    assert len([line for line in left if "gold" in line]) == 1
    assert not [line for line in left if "rare-canary" in line or "url-" in line or '"n"' in line]
    assert len([line for line in left if '{"pages": 3}' in line]) == 2
    assert (await verify(decider.database)).customers == 0


async def test_the_totals_of_a_day_count_who_was_erased(decider: Decider, database_url: str):
    await fill(decider, WHO)
    events = events_of(database_url, WHO)
    await erase(decider, WHO)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT kind, sum(count)::int FROM daily_totals GROUP BY kind ORDER BY kind")
        assert found.fetchall() == [
            (Counted.CONTACT, 2),
            (Counted.REFUSAL, 2),
            (Counted.EVENT, events),
            (Counted.MESSAGE, 2),
        ]


def _but_labels(dumped: str) -> list[str]:
    """Without what all share, and no person is in."""
    return [line for line in dumped.split("\n") if line and not line.startswith("labels")]
