"""Holdouts as decisions know them: budgets of the version that was kept, and all else of the policy in force."""

import asyncio
from collections.abc import Mapping

import pytest

from engine.core.errors import Conflict, NotFound
from engine.core.policy import DAY_US, PolicyMode
from engine.core.verdict import Ask, Code, Verdict
from engine.operations import experiments, policies, watch
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.experiments import By
from engine.operations.policy_file import load_policy
from engine.operations.running import rules_of
from engine.operations.ship import end_holdout, readouts_us, ship
from engine.operations.verify import verify
from experiments.assigning.draws import Draw, threshold
from tests.operations.experimenting import ANN, in_force, jump, running
from tests.operations.plans import AA, EMAIL, PLAN, POLICY

pytestmark = pytest.mark.anyio

SHIPPED = POLICY.replace("    limit: 1\n", "    limit: 3\n").replace(
    "    overrides: [{when: {tier: gold}, limit: 2}]\n", ""
)
ORDERS = "orders: {purpose: serve, exempt: true}"


def is_held(customer_id: str) -> bool:
    return Draw("holdout", "push-more:holdout").pair(customer_id.encode())[0] < threshold(0.1)


HELD = next(name for name in map(str, range(300)) if is_held(name))
OTHER = next(name for name in map(str, range(300)) if not is_held(name))


async def shipped(decider: Decider) -> None:
    """Three pushes a week for everybody but a tenth of all customers, who keep their one."""
    await policies.activate(decider.database, POLICY, author="test")
    await running(decider.database)
    await ship(decider.database, "push-more", ANN, variant="three", held=0.1)
    kept = await policies.version(decider.database, (await in_force(decider.database)).policy_version)
    assert load_policy(kept.source) == load_policy(SHIPPED), "which later policies of these tests change"


async def both(decider: Decider, text: str, channel: str, topic: str, times: int = 1) -> list[list[Answer]]:
    """Answers to so many asks under a later policy, of who is held and of who is not."""
    await policies.activate(decider.database, text, author="test")
    ask = Ask(channel, topic)
    return [
        [
            await decider.ask(AskCommand(who, f"{channel}-{topic}-{number}", ask), Mode.RESERVE)
            for number in range(times)
        ]
        for who in (HELD, OTHER)
    ]


def codes(answer: Answer) -> list[Code]:
    return [each.code for each in answer.reasons]


async def is_clean(decider: Decider) -> bool:
    report = await verify(decider.database)
    assert report.findings == ()
    assert report.skipped == 0
    return report.decisions > 0


async def test_a_topic_of_later_is_known_to_the_held_as_to_everybody(decider: Decider) -> None:
    await shipped(decider)
    text = SHIPPED.replace(
        ORDERS, f"{ORDERS}\n  incident: {{purpose: serve, exempt: true}}\n  tips: {{purpose: serve}}"
    )
    for (answer,) in await both(decider, text, "push", "incident"):
        assert (answer.verdict, codes(answer)) == (Verdict.ALLOW, [])
    for answers in await both(decider, text, "email", "tips", times=3):
        assert [each.verdict for each in answers] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.DEFER]
        assert [each.rule for each in answers[-1].reasons] == ["email-weekly"], "of the version kept, it names no topic"
    assert await is_clean(decider)


async def test_a_topic_of_later_uses_no_budget_that_names_others(decider: Decider) -> None:
    await shipped(decider)
    text = SHIPPED.replace(ORDERS, f"{ORDERS}\n  tips: {{purpose: serve}}").replace(
        "[promotions]", "[promotions, tips]"
    )
    held, others = await both(decider, text, "push", "tips", times=4)
    assert [each.verdict for each in held] == 4 * [Verdict.ALLOW]
    assert [each.verdict for each in others] == [*3 * [Verdict.ALLOW], Verdict.DEFER]
    assert await is_clean(decider)


async def test_a_consent_rule_of_later_binds_the_held_as_everybody(decider: Decider) -> None:
    await shipped(decider)
    text = SHIPPED.replace("newsletter: {purpose: sell}", "newsletter: {purpose: sell, consent: opt_in}")
    for (answer,) in await both(decider, text, "email", "newsletter"):
        assert (answer.verdict, codes(answer)) == (Verdict.DENY, [Code.NO_CONSENT])
    for (answer,) in await both(decider, text + "channels: {email: {consent: opt_in}}\n", "email", "promotions"):
        assert codes(answer) == [Code.NO_CONSENT]
    assert await is_clean(decider)


async def test_budgets_of_the_version_that_was_kept_bind_the_held_whatever_comes_later(decider: Decider) -> None:
    await shipped(decider)
    held, others = await both(decider, SHIPPED, "push", "promotions", times=4)
    assert [each.verdict for each in held] == [Verdict.ALLOW, *3 * [Verdict.DEFER]]
    assert [each.verdict for each in others] == [*3 * [Verdict.ALLOW], Verdict.DEFER]
    without = SHIPPED.partition("budgets:")[0]
    held, others = await both(decider, without, "email", "newsletter", times=3)
    assert [each.verdict for each in held] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.DEFER]
    assert [each.verdict for each in others] == 3 * [Verdict.ALLOW]
    assert await is_clean(decider)


async def test_a_topic_that_is_gone_breaks_no_budget_that_names_it(decider: Decider) -> None:
    await shipped(decider)
    text = SHIPPED.replace("  newsletter: {purpose: sell}\n", "").replace(
        "  - {name: any-weekly, topics: [newsletter], limit: 9, window: {rolling: 7d}}\n", ""
    )
    for (answer,) in await both(decider, text, "email", "newsletter"):
        assert codes(answer) == [Code.UNKNOWN_TOPIC]
    for (answer,) in await both(decider, text, "email", "promotions"):
        assert answer.verdict is Verdict.ALLOW
    exempt = SHIPPED.replace("promotions: {purpose: sell}", "promotions: {purpose: serve, exempt: true}")
    exempt = exempt.replace("    topics: [promotions]\n", "")
    for answers in await both(decider, exempt, "push", "promotions", times=2):
        assert [each.verdict for each in answers] == 2 * [Verdict.ALLOW]
    assert await is_clean(decider)


NOW_US = 20_000 * DAY_US
HOLDOUT = {"name": "h", "seed": "h", "share": 0.5, "policy_version": 1, "from_us": 0, "until_us": 2**62}
DAILY = "budgets: [{name: daily, limit: 1, window: {calendar: day}}]\n"


@pytest.mark.parametrize(
    ("kept", "now", "zone"),
    [
        (f"unknown_timezone: Europe/Berlin\n{DAILY}", "", "Europe/Berlin"),  # nobody said what would hold without one
        (f"unknown_timezone: Europe/Berlin\n{DAILY}", f"unknown_timezone: deny\n{DAILY}", None),
        (f"unknown_timezone: Europe/Berlin\n{DAILY}", f"unknown_timezone: UTC\n{DAILY}", "UTC"),
        (
            f"unknown_timezone: UTC\n{DAILY}",
            "unknown_timezone: deny\nquiet_hours: [{from: '21:00', to: '08:00'}]\n",
            None,
        ),
        (f"unknown_timezone: deny\n{DAILY}", "", None),
    ],
)
def test_all_but_budgets_is_of_the_policy_in_force(kept: str, now: str, zone: str | None) -> None:
    kept, now = f"schema: 1\nlease: 7m\n{kept}", f"schema: 1\nmode: observe\nlease: 9m\n{now}"
    frozen, policy = load_policy(kept), load_policy(now)
    rules = rules_of(1, policy, (), [], [HOLDOUT], {1: frozen})
    held = next(rules.of(name, NOW_US) for name in map(str, range(99)) if rules.of(name, NOW_US) is not rules)
    assert held.policy.budgets == frozen.budgets
    assert held.policy.unknown_timezone == zone
    assert (held.policy.mode, held.policy.lease_us) == (PolicyMode.OBSERVE, policy.lease_us)
    assert held.policy.quiet_hours == policy.quiet_hours


# --- ending one before its time -------------------------------------------------------------------------------------


async def limits(decider: Decider) -> Mapping[str, int | None]:
    """What push-weekly allows who is held, and who is not."""
    ask = Ask("push", "promotions")
    return {who: (await decider.ask(AskCommand(who, None, ask), Mode.CHECK)).budgets[0].limit for who in (HELD, OTHER)}


async def test_a_holdout_ended_by_hand_binds_nobody_from_the_next_ask_on(decider: Decider) -> None:
    database = decider.database
    await shipped(decider)
    await running(database, EMAIL)
    await ship(database, "email-more", ANN, variant="three")
    assert await limits(decider) == {HELD: 1, OTHER: 3}
    taken = await end_holdout(database, "push-more", By("ann", "a new law"))
    assert taken.record.state == "shipped"
    assert taken.warnings == ("It will not be read on day 28, 90, 180, 365.",)
    assert [each["name"] for each in (await in_force(database)).holdouts] == ["email-more"], "and no other ends"
    assert await limits(decider) == {HELD: 3, OTHER: 3}
    found = await experiments.whole(database, "push-more")
    assert (found.log[-1].action, found.log[-1].author, found.log[-1].note) == ("end_holdout", "ann", "a new law")
    assert found.log[-1].data["ruleset"] == (await in_force(database)).number
    assert found.holdout is not None
    assert found.holdout.ended_us is not None
    assert found.holdout.from_us < found.holdout.ended_us < found.holdout.until_us
    assert readouts_us(found.holdout) == []
    jump(database, 366)
    assert await watch.end_holdouts(database) == "1 ended", "the other, whose time is over"
    assert (await experiments.whole(database, "push-more")).holdout == found.holdout
    assert await is_clean(decider)


async def test_what_is_no_holdout_or_has_ended_is_not_ended(decider: Decider) -> None:
    database = decider.database
    await shipped(decider)
    await running(database, AA)
    before = await in_force(database)
    for key in ("a-a", "nobody"):
        with pytest.raises(NotFound):
            await end_holdout(database, key, ANN)
    assert (await in_force(database), (await experiments.whole(database, "a-a")).log[-1].action) == (before, "start")
    jump(database, 365.1)  # nobody has noted yet that its time is over
    with pytest.raises(Conflict, match="has ended on"):
        await end_holdout(database, "push-more", ANN)
    assert await watch.end_holdouts(database) == "1 ended"
    with pytest.raises(Conflict, match="has ended on"):
        await end_holdout(database, "push-more", ANN)


async def test_of_many_who_end_it_at_once_one_does(decider: Decider) -> None:
    database = decider.database
    await shipped(decider)
    ends = [end_holdout(database, "push-more", ANN) for _ in range(4)]
    found = await asyncio.gather(*ends, return_exceptions=True)
    assert sorted(isinstance(each, Conflict) for each in found) == [False, True, True, True]
    by = By("ann", "", "r-1")
    await running(database, EMAIL)
    await ship(database, "email-more", ANN, variant="three")
    same = await asyncio.gather(*(end_holdout(database, "email-more", by) for _ in range(4)))
    assert all(each == same[0] for each in same)
    log = (await experiments.whole(database, "email-more")).log
    assert [each.action for each in log].count("end_holdout") == 1


async def test_a_ship_after_an_end_leaves_the_ended_one_ended(decider: Decider) -> None:
    database = decider.database
    await shipped(decider)
    await end_holdout(database, "push-more", ANN)
    await running(database, EMAIL)
    await ship(database, "email-more", ANN, variant="three")
    assert [each["name"] for each in (await in_force(database)).holdouts] == ["email-more"]
    again = PLAN.replace("push-more", "push-again").replace("dose: 1", "dose: 3").replace("limit: 3", "limit: 1")
    await running(database, again.replace("dose: 3, policy", "dose: 1, policy"))
    assert (await limits(decider))[OTHER] == 3
