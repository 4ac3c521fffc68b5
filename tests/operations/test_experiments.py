"""The life of an experiment: each step whole or not at all, in the log, and in force for whoever asks next."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import psycopg
import pytest

from engine.core.errors import Conflict, Invalid, InvalidPlan, NotFound
from engine.core.policy import Selector
from engine.core.rules import Pause
from engine.operations import experiments, policies
from engine.operations.experiments import By, OnHarm, State
from engine.operations.plan_file import read_plan
from engine.operations.ship import ship
from engine.store import policies as rules
from engine.store.database import Database
from tests.operations.experimenting import ANN, actions, in_force, jump, known, running, shop
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, THREE_ARMS, layered, written

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    async with shop(database_url) as opened:
        yield opened


# --- drafts ---------------------------------------------------------------------------------------------------------


async def test_a_draft_is_kept_as_it_was_written_and_changes_no_decision(database: Database):
    before = await in_force(database)
    text = "# Why three?\n" + PLAN
    taken = await experiments.create(database, text, ANN, on_harm=OnHarm.STOP)
    assert (taken.record.state, taken.record.on_harm, taken.record.source) == ("draft", "stop", text)
    assert read_plan(taken.record.plan).key == "push-more"
    assert await in_force(database) == before
    found = await experiments.whole(database, "push-more")
    assert [(each.action, each.author, each.note) for each in found.log] == [("created", "ann", "because")]
    assert [each.key for each in await experiments.listed(database)] == ["push-more"]
    assert not await experiments.listed(database, State.RUNNING)


async def test_the_same_plan_again_is_the_same_draft_and_another_is_refused_unless_it_replaces(database: Database):
    first = await experiments.create(database, PLAN, ANN)
    assert await experiments.create(database, PLAN, ANN) == first
    assert await actions(database, "push-more") == ["created"]
    other = PLAN.replace("lose nobody", "lose few")
    with pytest.raises(Conflict, match="is a draft under another plan"):
        await experiments.create(database, other, ANN)
    replaced = await experiments.create(database, other, ANN, replace=True)
    assert (replaced.record.number, replaced.record.source) == (first.record.number, other)
    await experiments.start(database, "push-more", ANN)
    for text in (other, PLAN):
        with pytest.raises(Conflict, match="and runs once: give this plan another key"):
            await experiments.create(database, text, ANN, replace=True)


async def test_a_plan_that_does_not_fit_the_policy_in_force_is_refused_with_its_line(database: Database):
    for run in (
        experiments.create(database, PLAN.replace("push-weekly", "push"), ANN),
        experiments.validate(database, PLAN.replace("dose: 1", "dose: 2")),
    ):
        with pytest.raises(InvalidPlan) as error:
            await run
        assert all(each.line in (4, 5) for each in error.value.problems)
    assert not await experiments.listed(database)


async def test_a_valid_plan_is_validated_without_a_trace(database: Database):
    checked = await experiments.validate(database, PLAN)
    assert checked.plan.experiment.key == "push-more"
    assert not await experiments.listed(database)
    await running(database)
    again = await experiments.validate(database, PLAN.replace("push-more", "push-again"))
    assert again.preflight.warnings[0].startswith("It could not start now: it conflicts")


async def test_without_a_policy_there_is_no_experiment(database_url: str):
    opened = Database(database_url, size=1)
    await opened.open()
    try:
        with pytest.raises(NotFound, match="no policy is active"):
            await experiments.create(opened, PLAN, ANN)
    finally:
        await opened.close()


# --- starting and stopping ------------------------------------------------------------------------------------------


async def test_a_start_puts_exactly_what_runs_in_force_and_dates_the_plan_today(database: Database):
    await experiments.create(database, PLAN, ANN)
    before = await in_force(database)
    taken = await experiments.start(database, "push-more", ANN)
    today = experiments.day_of(taken.record.started_us or 0)
    plan = read_plan(taken.record.plan)
    assert (taken.record.state, plan.start, (plan.end - plan.start).days) == ("running", today, 91)
    assert any("The plan said 2026-10-05" in each for each in taken.warnings)
    after = await in_force(database)
    assert after.number == before.number + 1
    assert after.experiments == [{"number": taken.record.number, "plan": taken.record.plan}]
    assert (after.policy_version, after.pauses, after.holdouts) == (before.policy_version, [], [])
    await running(database, EMAIL)
    assert await known(database) == ["push-more", "email-more"]
    await experiments.stop(database, "push-more", ANN)
    assert await known(database) == ["email-more"]


async def test_a_plan_that_starts_on_its_day_keeps_its_dates(database: Database):
    today = experiments.day_of(await database.clock_us())
    text = PLAN.replace("2026-10-05", f"{today}").replace("2027-01-04", "2030-01-04")
    await experiments.create(database, text, ANN)
    taken = await experiments.start(database, "push-more", ANN)
    assert taken.record.plan["start"] == f"{today}"
    assert not any("The plan said" in each for each in taken.warnings)


async def test_activations_of_policies_and_pauses_leave_experiments_running(database: Database):
    key = await running(database)
    await policies.pause(database, Pause("stop", Selector(channels=frozenset({"sms"}))), author="test")
    await policies.activate(database, POLICY.replace("limit: 9", "limit: 8"), author="test")
    assert await known(database) == [key]
    await experiments.stop(database, key, ANN)
    assert (await in_force(database)).pauses
    assert await known(database) == []


STEPS: dict[str, Any] = {
    "start": lambda database, key: experiments.start(database, key, ANN),
    "ramp": lambda database, key: experiments.ramp(database, key, ANN, traffic=1.0),
    "phase": lambda database, key: experiments.begin_phase(database, key, ANN, weights={"one": 1, "three": 1}),
    "stop": lambda database, key: experiments.stop(database, key, ANN),
    "ship": lambda database, key: ship(database, key, ANN, variant="three"),
}


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (State.DRAFT, ["ramp", "phase", "stop", "ship"]),
        (State.RUNNING, ["start"]),
        (State.STOPPED, ["start", "ramp", "phase", "stop"]),
        (State.SHIPPED, ["start", "ramp", "phase", "stop", "ship"]),
    ],
)
async def test_a_step_that_the_state_does_not_allow_is_refused_and_leaves_no_trace(
    database: Database, state: State, refused: list[str]
):
    await experiments.create(database, PLAN, ANN)
    for step in {
        State.DRAFT: [],
        State.RUNNING: ["start"],
        State.STOPPED: ["start", "stop"],
        State.SHIPPED: ["start", "ship"],
    }[state]:
        await STEPS[step](database, "push-more")
    before = await in_force(database), await experiments.whole(database, "push-more")
    for step in refused:
        with pytest.raises(Conflict, match=f"'push-more' is (a )?{state}"):
            await STEPS[step](database, "push-more")
    for step in STEPS.values():
        with pytest.raises(NotFound, match="no experiment 'nobody'"):
            await step(database, "nobody")
    assert (await in_force(database), await experiments.whole(database, "push-more")) == before


async def test_a_conflicting_experiment_cannot_start_until_the_other_has_stopped(database: Database):
    await running(database)
    await experiments.create(database, PLAN.replace("push-more", "push-again"), ANN)
    before = await in_force(database)
    with pytest.raises(Conflict, match="both change the budget push-weekly"):
        await experiments.start(database, "push-again", ANN)
    assert await in_force(database) == before
    assert await actions(database, "push-again") == ["created"]
    await experiments.stop(database, "push-more", ANN)
    await experiments.start(database, "push-again", ANN)
    assert await known(database) == ["push-again"]


async def test_slots_of_one_layer_run_side_by_side(database: Database):
    await running(database, layered(PLAN, 0, 5000))
    await running(database, layered(PLAN.replace("push-more", "push-again"), 5000, 10000))
    assert await known(database) == ["push-more", "push-again"]


@pytest.mark.parametrize("round_", range(5))
async def test_of_two_conflicting_starts_at_once_exactly_one_wins(database: Database, round_: int):
    keys = ["push-more", "push-again", "push-third"]
    for key in keys:
        await experiments.create(database, PLAN.replace("push-more", key), ANN)
    results = await asyncio.gather(
        *(experiments.start(database, key, ANN) for key in keys[round_ % 2 :]), return_exceptions=True
    )
    won = [each for each in results if not isinstance(each, BaseException)]
    assert len(won) == 1, results
    assert all(isinstance(each, Conflict) for each in results if isinstance(each, BaseException)), results
    assert await known(database) == [won[0].record.key]


async def test_a_start_waits_for_the_one_that_holds_the_lock_and_then_sees_it(database: Database):
    await experiments.create(database, PLAN, ANN)
    await experiments.create(database, PLAN.replace("push-more", "push-again"), ANN)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    async with await psycopg.AsyncConnection.connect(database.url) as other, other.transaction():
        await rules.lock_activation(other)
        second = asyncio.create_task(experiments.start(database, "push-again", ANN))
        for _ in range(10_000):
            if await (await other.execute(waiting)).fetchone() or second.done():
                break
        assert not second.done()
        # what a start does, by hand, while the second waits
        await other.execute("UPDATE experiments SET state = 'running', started_us = 1 WHERE key = 'push-more'")
    with pytest.raises(Conflict, match="'push-more'"):
        await second


async def test_a_policy_that_takes_its_budget_from_a_running_experiment_is_refused(database: Database):
    key = await running(database)
    before = await in_force(database)
    for text in (POLICY.replace("name: push-weekly", "name: push"), POLICY.replace("limit: 1\n", "limit: 2\n")):
        with pytest.raises(Conflict, match="'push-more' is running, and it does not fit"):
            await policies.activate(database, text, author="test")
    assert await in_force(database) == before
    activated = await policies.activate(
        database,
        POLICY.replace("window: {rolling: 7d}\n    overrides", "window: {rolling: 8d}\n    overrides"),
        author="bob",
    )
    (warning,) = activated.warnings
    assert "'push-more' is running, and a budget that it changes is another now" in warning
    (*_, entry) = (await experiments.whole(database, key)).log
    assert (entry.action, entry.author, entry.data["version"]) == ("policy", "bob", 2)
    assert (await policies.activate_version(database, 1, author="bob")).warnings == activated.warnings
    assert (await policies.activate_version(database, 1, author="bob")).warnings == ()
    assert [each.action for each in (await experiments.whole(database, key)).log].count("policy") == 2
    await experiments.stop(database, key, ANN)
    await policies.activate(database, POLICY.replace("name: push-weekly", "name: push"), author="test")
    await experiments.create(database, AA, ANN)


# --- ramps and phases -----------------------------------------------------------------------------------------------


async def test_traffic_only_grows_and_the_same_again_is_nothing(database: Database):
    key = await running(database, written(traffic=0.1))
    taken = await experiments.ramp(database, key, ANN, traffic=0.5)
    assert read_plan(taken.record.plan).traffic == 0.5
    ruleset = await in_force(database)
    assert ruleset.experiments[0]["plan"]["traffic"] == 0.5
    await experiments.ramp(database, key, ANN, traffic=0.5)
    assert await in_force(database) == ruleset
    with pytest.raises(Conflict, match="can only grow"):
        await experiments.ramp(database, key, ANN, traffic=0.4)
    for traffic in (0.0, 1.01, float("nan"), -1.0):
        with pytest.raises(Invalid, match="traffic"):
            await experiments.ramp(database, key, ANN, traffic=traffic)
    assert await actions(database, key) == ["created", "start", "ramp"]


async def test_other_weights_begin_a_phase_on_the_day_after_the_last_one_began(database: Database):
    key = await running(database, written(THREE_ARMS, traffic=0.1))
    with pytest.raises(Conflict, match="a phase began today"):
        await experiments.begin_phase(database, key, ANN, weights={"one": 1, "three": 2})
    jump(database, 3)
    taken = await experiments.begin_phase(database, key, ANN, weights={"one": 1, "three": 3})
    plan = read_plan(taken.record.plan)
    assert [dict(each.weights) for each in plan.phases] == [
        {"one": 1, "three": 1, "five": 1},
        {"one": 1, "three": 3, "five": 0},
    ]
    assert [(each.start - plan.start).days for each in plan.phases] == [0, 3]
    assert [each.traffic for each in plan.phases] == [0.1, 0.1]
    assert (await in_force(database)).experiments[0]["plan"] == taken.record.plan
    ramped = await experiments.ramp(database, key, ANN, traffic=0.7)
    assert [each.traffic for each in read_plan(ramped.record.plan).phases] == [0.1, 0.7]


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"one": 0, "three": 0},
        {"one": 1},
        {"one": 1, "three": 0},
        {"three": 1},
        {"one": 1, "nobody": 1},
        {"one": 1, "three": -1},
        {"one": 1, "three": float("inf")},
        {"one": 1, "three": 1, "nobody": 1},
    ],
)
async def test_weights_that_compare_nothing_are_refused(database: Database, weights: dict[str, float]):
    key = await running(database)
    jump(database, 2)
    before = await in_force(database)
    with pytest.raises(Invalid, match="weights"):
        await experiments.begin_phase(database, key, ANN, weights=weights)
    assert await in_force(database) == before


async def test_phases_that_the_plan_has_ahead_stay_ahead(database: Database):
    phases = "[{start: 2026-10-05, traffic: 0.1}, {start: 2026-10-12, traffic: 0.2}, {start: 2026-10-19, traffic: 0.9}]"
    key = await running(database, written(phases=phases))
    jump(database, 2)
    taken = await experiments.begin_phase(database, key, ANN, weights={"one": 1, "three": 4}, traffic=0.3)
    plan = read_plan(taken.record.plan)
    assert [(each.start - plan.start).days for each in plan.phases] == [0, 2, 7, 14]
    assert [each.traffic for each in plan.phases] == [0.1, 0.3, 0.3, 0.9]


async def test_no_phase_begins_after_the_planned_end(database: Database):
    key = await running(database)
    jump(database, 91)
    with pytest.raises(Conflict, match="the plan ended"):
        await experiments.begin_phase(database, key, ANN, weights={"one": 1, "three": 2})


# --- the log, and requests made twice -------------------------------------------------------------------------------


async def test_everything_that_was_done_is_in_the_log_with_who_when_and_why(database: Database):
    key = await running(database, written(traffic=0.1))
    await experiments.note(database, key, By("eve", "two of six asked why the app talks so much"))
    await experiments.ramp(database, key, By("bob", "no harm seen"), traffic=1.0)
    jump(database, 1)
    await experiments.begin_phase(database, key, By("bob"), weights={"one": 1, "three": 2})
    await experiments.stop(database, key, By("ann", "the end"))
    await experiments.note(database, key, By("eve", "a call, after the end"))
    log = (await experiments.whole(database, key)).log
    assert [(each.entry, each.action, each.author) for each in log] == [
        (1, "created", "ann"),
        (2, "start", "ann"),
        (3, "note", "eve"),
        (4, "ramp", "bob"),
        (5, "phase", "bob"),
        (6, "stop", "ann"),
        (7, "note", "eve"),
    ]
    assert log[3].data["from"] == 0.1
    assert [each.at_us for each in log] == sorted(each.at_us for each in log)


@pytest.mark.parametrize("name", STEPS)
async def test_a_request_repeated_with_its_id_answers_as_it_stands_and_does_nothing(database: Database, name: str):
    by = By("ann", "", "r-1")
    steps: dict[str, Any] = {
        "start": lambda: experiments.start(database, "push-more", by),
        "ramp": lambda: experiments.ramp(database, "push-more", by, traffic=1.0),
        "phase": lambda: experiments.begin_phase(database, "push-more", by, weights={"one": 1, "three": 3}),
        "stop": lambda: experiments.stop(database, "push-more", by),
        "ship": lambda: ship(database, "push-more", by, variant="three"),
    }
    await experiments.create(database, written(traffic=0.5), ANN)
    if name != "start":
        await experiments.start(database, "push-more", ANN)
    jump(database, 1)
    first = await steps[name]()
    after = await in_force(database), await experiments.whole(database, "push-more")
    assert await steps[name]() == first
    assert (await in_force(database), await experiments.whole(database, "push-more")) == after
    with pytest.raises(Conflict, match="request id 'r-1' was used before"):
        await experiments.note(database, "push-more", By("ann", "other", "r-1"))


async def test_the_same_request_twice_at_once_is_done_once(database: Database):
    await experiments.create(database, PLAN, ANN)
    by = By("ann", "", "r-1")
    taken = await asyncio.gather(*(experiments.start(database, "push-more", by) for _ in range(4)))
    assert all(each == taken[0] for each in taken)
    assert await actions(database, "push-more") == ["created", "start"]
