"""Two customers who are one: contacts unite, the strictest suppression wins, and the old id leads to the new one."""

from itertools import product

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.core.account import State
from engine.core.customer import Address, Preference
from engine.core.errors import Conflict, Erased
from engine.core.events import Event, Flag
from engine.core.merging import united
from engine.core.policy import DAY_US, HOUR_US
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.addresses import PutReachable
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.file import Lift, PutCustomer, PutPreferences, Suppress
from engine.operations.happened import HappenedCommand
from engine.operations.intake import Intake, Result
from engine.operations.look import look
from engine.operations.merge import merge
from engine.operations.resolve import ConfirmCommand, RecordCommand, Resolved
from engine.operations.verify import verify
from engine.store.exposures import ExposureFlag
from engine.store.message_states import states
from engine.store.totals import Counted
from tests.operations.held_world import ADDRESS, NOW_US, OTHER_ADDRESS, RULES, World, event
from tests.operations.histories import History
from tests.operations.persons import dump, events_of, fill
from tests.operations.readout_files import NOW_US as READ_US
from tests.operations.readout_plans import PLAIN
from tests.operations.readout_worlds import World as ReadoutWorld

pytestmark = pytest.mark.anyio
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
lease: 12h
budgets:
  - {name: week, limit: 3, window: {rolling: 7d}}
  - {name: calls-ever, channels: [phone], limit: 2, window: lifetime}
"""
EMAIL = Ask("email", "promotions", "spring", "growth")


async def ask(decider: Decider, who: str, message_id: str, channel: str = "email"):
    return await decider.ask(AskCommand(who, message_id, EMAIL._replace(channel=channel)), Mode.RESERVE)


async def clean(decider: Decider) -> None:
    report = await verify(decider.database)
    assert report.is_clean, "\n".join(map(str, report.findings))


async def test_contacts_unite_and_count_together(decider: Decider):
    await policies.activate(decider.database, POLICY, author="test")
    for who, message_id in (("ada", "a1"), ("ada", "a2"), ("countess", "c1")):
        assert (await ask(decider, who, message_id)).state is State.RESERVED
    await decider.settle(ConfirmCommand("countess", "c1"))
    done = await merge(decider, "ada", "countess")
    assert (done.changed, done.contacts, done.revoked) == (True, 1, 0)
    assert (await ask(decider, "ada", "a3")).verdict is Verdict.DEFER
    assert (await ask(decider, "countess", "c2")).verdict is Verdict.DEFER
    again = await ask(decider, "ada", "c1")
    assert (again.replayed, again.state) == (True, State.CONFIRMED)
    async with decider.database.connection() as connection:
        wanted = [("countess", "c1"), ("countess", "a1"), ("nobody", "c1")]
        assert await states(connection, decider.labels, wanted) == [State.CONFIRMED, State.RESERVED, None]
    await clean(decider)


async def test_lifetime_totals_and_contacts_that_left_the_account_unite(decider: Decider, database_url: str):
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    for who in ("ada", "countess"):
        await decider.settle(RecordCommand(who, "old", "phone", "promotions", now_us - 100 * DAY_US))
        for number in range(70):
            await decider.settle(
                RecordCommand(who, f"r{number}", "email", "promotions", now_us - (90 - number) * DAY_US)
            )
    assert (await ask(decider, "ada", "m1", "phone")).state is State.RESERVED
    await merge(decider, "ada", "countess")
    assert (await ask(decider, "ada", "m2", "phone")).verdict is Verdict.DENY
    await policies.activate(decider.database, POLICY.replace("7d", "95d").replace("3", "200"), author="test")
    await ask(decider, "ada", "m3")
    view = await look(decider, "ada")
    assert next(each.line.used for each in view.standings if each.line.budget == "week") == 142
    await clean(decider)


async def test_whatever_is_asked_or_told_of_the_old_id_is_about_the_new_one(decider: Decider):
    await policies.activate(decider.database, POLICY, author="test")
    await ask(decider, "countess", "c1")
    await merge(decider, "ada", "countess")
    resolved = await decider.settle(ConfirmCommand("countess", "c1"))
    assert isinstance(resolved, Resolved)
    assert (resolved.customer_id, resolved.state) == ("ada", State.CONFIRMED)
    await decider.settle(PutCustomer("countess", "Asia/Kathmandu"))
    now_us = await decider.database.clock_us()
    told = [Event("countess", "shop", f"e-{each}", each, now_us, "email") for each in ("download", "unsubscribed")]
    assert await Intake(decider).take(told) == [Result.ACCEPTED] * 2
    assert await Intake(decider).take([each._replace(customer_id="ada") for each in told]) == [Result.DUPLICATE] * 2
    view = await look(decider, "countess")
    assert (view.customer_id, view.customer.time_zone) == ("ada", "Asia/Kathmandu")
    for who in ("ada", "countess"):
        assert (await ask(decider, who, f"later-{who}")).verdict is Verdict.DENY
        peeked = await decider.ask(AskCommand(who, None, EMAIL), Mode.PEEK)
        assert (peeked.customer_id, peeked.verdict) == ("ada", Verdict.DENY)
    await clean(decider)


@pytest.mark.parametrize("who", ["ada", "countess"])
async def test_a_suppression_of_either_ends_the_open_leases_of_both(decider: Decider, who: str):
    await policies.activate(decider.database, POLICY, author="test")
    for each in ("ada", "countess"):
        await ask(decider, each, f"m-{each}")
    other = "countess" if who == "ada" else "ada"
    await decider.settle(Suppress(who, Suppression(Scope("email"), SuppressionReason.UNSUBSCRIBE, 1, "page", False)))
    done = await merge(decider, "ada", "countess")
    assert done.revoked == 1
    assert (await ask(decider, "ada", f"m-{other}")).verdict is Verdict.DENY
    await clean(decider)


@pytest.mark.parametrize("reason", [SuppressionReason.UNSUBSCRIBE, SuppressionReason.BY_HAND])
@pytest.mark.parametrize("into", ["ada", "countess"])
async def test_what_was_lifted_of_the_one_does_not_end_the_other_s_no(
    decider: Decider, reason: SuppressionReason, into: str
):
    other = "countess" if into == "ada" else "ada"
    for who in ("ada", "countess"):
        await decider.settle(Suppress(who, Suppression(Scope("email"), reason, 1, "desk", binds_exempt=False)))
    await decider.settle(Lift("countess", Scope("email")))
    assert (await ask(decider, "countess", "c1")).state is State.RESERVED
    done = await merge(decider, into, other)
    assert done.revoked == 1
    for who in ("ada", "countess"):
        assert (await ask(decider, who, f"m-{who}")).verdict is Verdict.DENY
    await clean(decider)
    await decider.settle(Lift("ada", Scope("email")))
    assert (await ask(decider, "ada", "m2")).state is State.RESERVED
    await clean(decider)


SCOPES = (Scope(), Scope("email"), Scope("email", "promotions"), Scope(topic="news"))


@st.composite
def histories(draw: st.DrawFn) -> World:
    """Somebody who was suppressed and lifted, by hand and by events of any order, and whose addresses changed."""
    world = World()
    for number in range(draw(st.integers(1, 6))):
        world.later(HOUR_US)
        scope, ago_us = draw(st.sampled_from(SCOPES)), draw(st.integers(0, 8)) * HOUR_US
        reason = draw(st.sampled_from((SuppressionReason.UNSUBSCRIBE, SuppressionReason.HARD_BOUNCE)))
        digest = draw(st.sampled_from((None, ADDRESS, OTHER_ADDRESS)))
        addresses = () if digest is None else (Address("email", digest),)
        told = [event(each, ago_us, f"e{number}", channel=scope.channel) for each in ("unsubscribed", "consented")]
        bounce = event("bounced", ago_us, f"e{number}", channel="email", digest=digest, flags=Flag.HARD)
        by_hand = Suppression(scope, reason, NOW_US - ago_us, "desk", draw(st.booleans()))
        world.do(
            draw(
                st.sampled_from(
                    (
                        Suppress("ada", by_hand),
                        Lift("ada", scope),
                        PutReachable("ada", PutCustomer("ada"), addresses),
                        *(HappenedCommand("ada", (each,)) for each in (*told, bounce)),
                    )
                )
            )
        )
    return world


@hypothesis_settings(max_examples=400)
@given(histories(), histories())
def test_whoever_may_not_be_contacted_still_may_not_when_two_histories_unite(ada: World, countess: World):
    before = [(each, scope) for each in (ada, countess) for scope in product(("email", "push"), ("promotions", "news"))]
    denied = {scope for world, scope in before if not world.allows(*scope)}
    ada.held.customer = united(ada.held.customer, countess.held.customer, RULES.policy, ada.held.clock_us)
    assert {scope for _, scope in before if not ada.allows(*scope)} >= denied
    ada.later(max(countess.held.clock_us - ada.held.clock_us, 0))
    for scope in SCOPES:
        ada.do(Lift("ada", scope))
    assert all(ada.allows(*scope) for _, scope in before), "a lift of the one who goes on being known ends it"


async def test_what_is_on_file_unites(decider: Decider):
    now_us = await decider.database.clock_us()
    yes = Consent(Scope("email"), given=True, at_us=now_us - HOUR_US, source="old")
    no = Consent(Scope("email"), given=False, at_us=now_us, source="new")
    await decider.settle(PutCustomer("ada", None, {"tier": "gold"}, (yes,)))
    await decider.settle(PutCustomer("countess", "Europe/Paris", {"tier": "new", "born": 1815}, (no,)))
    await decider.settle(PutPreferences("ada", (Preference("push", None, None), Preference("email", None, 1))))
    await decider.settle(PutPreferences("countess", (Preference("push", None, 4), Preference("email", None, 2))))
    await merge(decider, "ada", "countess")
    customer = (await look(decider, "ada")).customer
    assert (customer.time_zone, dict(customer.attributes)) == ("Europe/Paris", {"tier": "gold", "born": 1815})
    assert customer.consents == (no,)
    assert {each.channel: each.limit for each in customer.preferences} == {"push": 4, "email": 1}
    await clean(decider)


async def test_everything_there_can_be_of_two_unites_and_verifies_and_goes_when_one_is_erased(
    decider: Decider, database_url: str
):
    await fill(decider, "canary-one")
    await fill(decider, "canary-two")
    events = events_of(database_url, "canary-two")
    done = await merge(decider, "canary-one", "canary-two")
    assert done.events == events
    await clean(decider)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT DISTINCT customer_id FROM events UNION SELECT customer_id FROM addresses")
        assert found.fetchall() == [("canary-one",)]
    await erase(decider, "canary-two")
    assert "canary" not in dump(database_url)
    for who in ("canary-one", "canary-two"):
        assert (await ask(decider, who, "m1")).verdict is Verdict.DENY
    await clean(decider)


async def test_the_totals_of_a_day_count_once_who_was_merged_and_then_erased(decider: Decider, database_url: str):
    """Also who was merged twice, and whoever's name is given to the erasure."""
    names = ("one", "two", "three")
    for each in names:
        await fill(decider, each)
    with psycopg.connect(database_url) as connection:
        tables = ("journal", "refusals", "events")
        before = [connection.execute(f"SELECT count(*) FROM {each}".encode()).fetchone() for each in tables]
    await merge(decider, "two", "three")
    await merge(decider, "one", "two")
    await erase(decider, "three")
    with psycopg.connect(database_url) as connection:
        query = "SELECT sum(count)::int FROM daily_totals WHERE kind = ANY(%s) GROUP BY kind ORDER BY kind"
        kinds = [int(each) for each in (Counted.CONTACT, Counted.REFUSAL, Counted.EVENT)]
        assert before[:2] == [(6,), (6,)]
        events = sum(before[2] or ())
        told_anew = 2 * 3  # by each merge, that email, sms and so all together are lost to both who are one
        assert connection.execute(query, (kinds,)).fetchall() == [(6,), (6,), (events + told_anew,)]
        for each in tables:
            assert connection.execute(f"SELECT count(*) FROM {each}".encode()).fetchone() == (0,)


@pytest.mark.parametrize("seed", range(3))
async def test_busy_histories_unite_and_go_on(decider: Decider, database_url: str, seed: int):
    history = History(decider, database_url, seed, customers=4)
    await history.busy(120, 6)
    halves = [(await look(decider, each)).customer.in_force for each in ("customer-0", "customer-1")]
    await merge(decider, "customer-0", "customer-1")
    now = (await look(decider, "customer-0")).customer.in_force
    assert {each.scope for each in now} >= {each.scope for half in halves for each in half}
    await history.busy(60, 6)
    await merge(decider, "customer-2", "customer-0")
    await history.busy(60, 6)
    await clean(decider)


async def test_merging_again_changes_nothing_and_what_makes_no_sense_is_refused(decider: Decider):
    for who in ("ada", "countess", "byron"):
        await ask(decider, who, "m1")
    with pytest.raises(Conflict):
        await merge(decider, "ada", "ada")
    assert (await merge(decider, "ada", "countess")).changed
    assert not (await merge(decider, "ada", "countess")).changed
    for into, other in (("countess", "ada"), ("countess", "byron"), ("byron", "countess")):
        with pytest.raises(Conflict, match="was merged into 'ada'"):
            await merge(decider, into, other)
    await erase(decider, "byron")
    for into, other in (("ada", "byron"), ("byron", "ada")):
        with pytest.raises(Erased):
            await merge(decider, into, other)
    await clean(decider)


async def test_who_was_in_two_variants_of_an_experiment_is_left_out_and_counted(decider: Decider, database_url: str):
    world = ReadoutWorld(database_url, PLAIN, READ_US)
    other = world.add_experiment({**PLAIN, "key": "other"})
    for who, variant, at_us in (("ada", 0, 30), ("countess", 1, 20)):
        world.enter(who, variant, READ_US + at_us)
        world.expose(who, other, world.customers[who])
    world.connection.execute("UPDATE exposures SET variant = 1 WHERE experiment = %s", (other,))
    world.settle()
    world.close()
    done = await merge(decider, "ada", "countess")
    assert done.in_two_variants == 1
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT customer_id, experiment, variant, flags, eligible_us FROM exposures ORDER BY experiment"
        ).fetchall()
    twice = int(ExposureFlag.IN_TWO_VARIANTS)
    assert found == [("ada", world.number, 0, twice, READ_US + 20), ("ada", other, 1, 0, READ_US + 20)]
