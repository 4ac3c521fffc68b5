"""Shipping: the variant becomes the policy, and a share of customers stays behind, or nothing happens at all."""

import re
from collections.abc import AsyncGenerator
from typing import Any

import psycopg
import pytest

from engine.core.errors import Conflict, Invalid
from engine.core.policy import DAY_US
from engine.operations import experiments, policies, programme
from engine.operations.policy_file import load_policy
from engine.operations.readouts import Readouts
from engine.operations.ship import readouts_us, ship
from engine.store import snapshots
from engine.store.database import Database
from engine.store.snapshots import Snapshot
from tests.operations.experimenting import ANN, in_force, jump, running, shop
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, layered

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    async with shop(database_url) as opened:
        yield opened


async def test_shipping_makes_the_variant_the_policy_and_keeps_a_holdout_under_the_old_one(database: Database):
    key = await running(database)
    jump(database, 91)
    taken = await ship(database, key, ANN, variant="three", held=0.1)
    now = await in_force(database)
    assert (taken.record.state, taken.record.shipped, taken.warnings) == ("shipped", "three", ())
    assert (now.experiments, now.policy_version) == ([], 2)
    kept = await policies.version(database, 2)
    assert "# What the shop allows." in kept.source
    assert "# the one that is argued about" in kept.source
    budget = load_policy(kept.source).budgets[0]
    assert (budget.limit, budget.overrides) == (3, ())
    assert load_policy(kept.source).budgets[1:] == load_policy(POLICY).budgets[1:]
    found = await experiments.whole(database, key)
    assert found.holdout is not None
    (held,) = now.holdouts
    assert held == {
        "name": key,
        "seed": f"{key}:holdout",
        "share": 0.1,
        "policy_version": 1,
        "from_us": taken.record.ended_us,
        "until_us": (taken.record.ended_us or 0) + 365 * DAY_US,
    }
    days = [(each - found.holdout.from_us) // DAY_US for each in readouts_us(found.holdout)]
    assert days == [28, 90, 180, 365]
    assert found.log[-1].data["short_run"] is False
    await policies.activate(database, POLICY, author="test")
    assert (await in_force(database)).holdouts == [held]


async def test_a_ship_before_the_horizon_is_a_short_run_and_says_so(database: Database):
    key = await running(database)
    jump(database, 20)
    taken = await ship(database, key, ANN, variant="three")
    assert taken.warnings == ("Short run: it ran for 20 of the 90 days of its horizon.",)
    found = await experiments.whole(database, key)
    assert found.log[-1].data["short_run"] is True
    assert found.holdout is not None
    assert found.holdout.share == 0.05


async def test_what_was_stopped_can_be_shipped_by_the_days_that_it_ran(database: Database):
    key = await running(database)
    jump(database, 30)
    stopped = await experiments.stop(database, key, ANN)
    jump(database, 120)
    taken = await ship(database, key, ANN, variant="three")
    assert taken.record.ended_us == stopped.record.ended_us
    assert "30 of the 90 days" in taken.warnings[0]


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"variant": "one"}, Conflict, "is the control"),
        ({"variant": "two"}, Invalid, "a variant to ship: three"),
        ({"variant": "three", "held": 0.04}, Invalid, "a share from 0.05 to 0.1"),
        ({"variant": "three", "held": 0.11}, Invalid, "a share from 0.05 to 0.1"),
        ({"variant": "three", "held": float("nan")}, Invalid, "a share from 0.05 to 0.1"),
        ({"variant": "three", "held_days": 5}, Invalid, "the first readout is after 28"),
    ],
)
async def test_what_cannot_be_shipped_changes_nothing(
    database: Database, asked: dict[str, Any], error: type[Exception], told: str
):
    key = await running(database)
    before = await in_force(database), await experiments.whole(database, key)
    with pytest.raises(error, match=told):
        await ship(database, key, ANN, **asked)
    assert (await in_force(database), await experiments.whole(database, key)) == before


async def test_a_variant_without_a_patch_ships_as_a_record_alone(database: Database):
    key = await running(database, AA)
    with pytest.raises(Conflict, match="changes no budget"):
        await ship(database, key, ANN, variant="b", held=0.05)
    await ship(database, key, ANN, variant="b")
    now = await in_force(database)
    assert (now.policy_version, now.experiments, now.holdouts) == (1, [], [])
    assert len(await policies.versions(database, 10)) == 1


async def test_shipping_does_not_move_the_control_of_another_that_runs_on_the_same_budget(database: Database):
    await running(database, layered(PLAN, 0, 5000))
    await running(database, layered(PLAN.replace("push-more", "push-again"), 5000, 10000))
    before = await in_force(database)
    with pytest.raises(Conflict, match="'push-again' is running"):
        await ship(database, "push-more", ANN, variant="three")
    assert await in_force(database) == before
    assert len(await policies.versions(database, 10)) == 1
    await experiments.stop(database, "push-again", ANN)
    await ship(database, "push-more", ANN, variant="three")


def undosed(text: str) -> str:
    """A plan that does not say its doses."""
    return re.sub(r"dose: \d, |, dose: \d", "", text)


@pytest.mark.parametrize("overrides", ["", ", overrides: [{when: {tier: gold}, limit: 9}]"])
async def test_nor_does_it_where_plans_say_no_dose_or_only_an_override_would_move(database: Database, overrides: str):
    mine = undosed(layered(PLAN, 0, 5000)).replace("limit: 3", f"limit: {1 if overrides else 3}{overrides}")
    await running(database, mine)
    await running(database, undosed(layered(PLAN.replace("push-more", "push-again"), 5000, 10000)))
    before = await in_force(database)
    with pytest.raises(Conflict, match="'push-again' is running"):
        await ship(database, "push-more", ANN, variant="three")
    assert await in_force(database) == before


async def test_what_is_not_what_was_tested_any_more_ships_with_a_warning(database: Database):
    key = await running(database, undosed(PLAN))
    jump(database, 91)
    await experiments.stop(database, key, ANN)
    changed = POLICY.replace("limit: 1\n    window: {rolling: 7d}", "limit: 9\n    window: {calendar: day}")
    changed += "unknown_timezone: Europe/Berlin\n"
    assert (await policies.activate(database, changed, author="test")).warnings == ()
    (warning,) = (await ship(database, key, ANN, variant="three")).warnings
    assert "'three' was tested at 3 in 7d, and ships as 3 a calendar day" in warning
    assert "its control was at 1 in 7d, and the policy is at 9 a calendar day" in warning
    (*_, entry) = (await experiments.whole(database, key)).log
    assert entry.data["warnings"] == [warning], "in the log, for good"


async def test_what_is_as_it_was_tested_again_ships_without_one(database: Database):
    key = await running(database, undosed(PLAN))
    jump(database, 91)
    await experiments.stop(database, key, ANN)
    await policies.activate(database, POLICY.replace("limit: 1\n", "limit: 2\n"), author="test")
    await policies.activate(database, POLICY.replace("limit: 9", "limit: 8"), author="test")
    assert (await ship(database, key, ANN, variant="three")).warnings == ()


@pytest.mark.parametrize("limit", [None, 2])
async def test_the_policy_of_the_start_is_that_of_its_ruleset_whatever_the_clock_said(
    database: Database, limit: int | None
):
    """An older policy, by its instant still in force at the start, has not the budget at all, or another limit."""
    push = POLICY[POLICY.index("  - name: push") : POLICY.index("  - {name: email")]
    without = push.replace("limit: 1\n", f"limit: {limit}\n") if limit else ""
    await policies.activate(database, POLICY.replace(push, without), author="test")
    jump(database, 1)
    await policies.activate(database, POLICY, author="test")
    jump(database, 0.1)
    key = await running(database)
    seen = await programme.seen(database, Readouts(database), key)
    assert {
        name: [(each.before.limit, each.after.limit) for each in found] for name, found in seen.changes.items()
    } == {"three": [(1, 3)]}
    jump(database, 95)
    taken = await ship(database, key, ANN, variant="three")
    assert (taken.record.state, taken.warnings) == ("shipped", ())


@pytest.mark.parametrize(
    ("call", "warned"), [("stop", True), ("do_not_ship", True), ("invalid", True), ("ship", False)]
)
async def test_a_ship_against_the_newest_readout_says_so(database: Database, call: str, warned: bool):
    key = await running(database, AA)
    jump(database, 91)
    verdicts = [{"variant": "c", "call": "stop", "because": []}, {"variant": "b", "call": call, "because": ["bought"]}]
    number = (await experiments.whole(database, key)).record.number
    with psycopg.connect(database.url) as connection:
        for at_us, document in ((1, {}), (DAY_US, {"readout": {"verdicts": verdicts}})):
            snapshots.add(connection, Snapshot(number, at_us, at_us, at_us, 1, call, document))
    warnings = (await ship(database, key, ANN, variant="b")).warnings
    told = call.replace("_", " ")
    assert warnings == (
        (f"Against its readout: the newest, of 1970-01-02, says of 'b': {told} (bought).",) if warned else ()
    )


async def test_a_holdout_that_has_ended_is_carried_on_by_no_later_ship(database: Database):
    await running(database)
    await ship(database, "push-more", ANN, variant="three", held_days=28)
    jump(database, 20)
    await running(database, EMAIL)
    await ship(database, "email-more", ANN, variant="three", held_days=28)
    assert [each["name"] for each in (await in_force(database)).holdouts] == ["push-more", "email-more"]
    jump(database, 30)
    again = PLAN.replace("push-more", "push-again").replace("dose: 1", "dose: 3").replace("limit: 3", "limit: 1")
    await running(database, again.replace("dose: 3, policy", "dose: 1, policy"))
    await ship(database, "push-again", ANN, variant="three")
    assert [each["name"] for each in (await in_force(database)).holdouts] == ["email-more", "push-again"]
