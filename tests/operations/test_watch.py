"""Watching experiments: each harm is told once, and stops where that was wanted; holdouts end in time."""

from typing import Any

import psycopg
import pytest

from engine.core.errors import NotFound
from engine.core.policy import DAY_US
from engine.operations import experiments, jobs, programme, watch
from engine.operations.experiments import OnHarm, State, day_of
from engine.operations.readouts import Kept, Readouts
from engine.operations.ship import ship
from engine.settings import Settings
from engine.store import alarms
from engine.store.database import Database
from experiments.readout import CheckCode
from experiments.reporting.verdicts import Call
from tests.operations.experimenting import ANN, in_force, jump, known, running, shop
from tests.operations.plans import AA, PLAN

pytestmark = pytest.mark.anyio


def verdict(call: Call, variant: str = "three") -> dict[str, Any]:
    return {"variant": variant, "call": call.value, "because": ["gone"]}


def check(code: CheckCode, *, is_alarm: bool = True, where: str = "") -> dict[str, Any]:
    return {"code": code.value, "is_alarm": is_alarm, "sentence": f"{code.value} says so.", "where": where}


async def told(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [f"{each.kind} {each.subject}" for each in reversed(await alarms.newest(connection, 20))]


async def kept(database: Database, verdicts: list[dict[str, Any]], checks: list[dict[str, Any]]) -> Kept:
    """The experiment's real newest readout, with other findings."""
    found = await Readouts(database).newest("push-more")
    readout = {**found.snapshot.readout["readout"], "verdicts": verdicts, "checks": checks}
    snapshot = found.snapshot._replace(readout={**found.snapshot.readout, "readout": readout})
    record = (await experiments.whole(database, "push-more")).record
    return found._replace(record=record, snapshot=snapshot)


async def started(database: Database, on_harm: OnHarm) -> None:
    await experiments.create(database, PLAN, ANN, on_harm=on_harm)
    await experiments.start(database, "push-more", ANN)
    run = await jobs.run_now(database, Settings(), jobs.job("readouts"))
    assert (run.outcome, run.note) == ("done", "1 read")


async def test_a_running_experiment_is_read_and_harm_is_told_once(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.ALERT)
        assert (await Readouts(database).newest("push-more")).snapshot.call == Call.KEEP_RUNNING
        assert await told(database) == []
        harmful = await kept(database, [verdict(Call.STOP)], [])
        assert await watch.act(database, harmful)
        assert await watch.act(database, harmful)
        assert await told(database) == ["experiment.stop push-more:three"]
        assert await known(database) == ["push-more"], "somebody is told, and decides"


async def test_what_ended_between_two_slots_is_read_once_more_and_no_more(database_url: str) -> None:
    async with shop(database_url) as database:
        await experiments.stop(database, await running(database), ANN)
        await running(database, AA)
        await ship(database, "a-a", ANN, variant="b")
        with pytest.raises(NotFound):
            await Readouts(database).newest("a-a")
        assert await watch.read_all(database) == "2 read"
        assert await watch.read_all(database) == "0 read"
        for key in ("push-more", "a-a"):
            record, snapshot, *_ = await Readouts(database).newest(key)
            assert snapshot.as_of_us == record.ended_us
            assert snapshot.call == Call.INCONCLUSIVE, "what has ended cannot be kept running"
            readout = snapshot.readout["readout"]
            assert readout["ended"] == str(day_of(record.ended_us or 0))
            (verdict,) = readout["verdicts"]
            assert (verdict["until"], verdict["next_decision"]) == (None, None)


async def test_what_was_read_before_it_ended_is_read_again_but_not_tried_for_ever(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.ALERT)
        await experiments.stop(database, "push-more", ANN)
        jump(database, 29)
        assert await watch.read_all(database) == "0 read"
        jump(database, 27)
        assert await watch.read_all(database) == "1 read"


async def test_a_readout_that_was_under_way_at_the_end_is_not_the_last(database_url: str) -> None:
    async with shop(database_url) as database:
        key = await running(database)
        with psycopg.connect(database_url) as ending:  # its end is written, and its commit takes a while
            ending.execute("UPDATE experiments SET state = 'stopped', ended_us = takt_clock()")
            before = (await Readouts(database).refresh(key)).snapshot
        assert before.readout["readout"]["ended"] is None, "it could not know"
        assert before.computed_us > ((await experiments.whole(database, key)).record.ended_us or 0)
        assert await watch.read_all(database) == "1 read"
        after = (await Readouts(database).newest(key)).snapshot
        assert (after.call, after.readout["readout"]["ended"] is None) == (Call.INCONCLUSIVE, False)
        assert await watch.read_all(database) == "0 read"


async def test_whoever_asks_after_the_clock_was_set_back_gets_a_readout_of_then(database_url: str) -> None:
    async with shop(database_url) as database:
        readouts, key = Readouts(database), await running(database)
        jump(database, 20)
        ahead = (await readouts.refresh(key)).snapshot
        jump(database, 0)
        while_running = (await readouts.refresh(key)).snapshot
        assert while_running.computed_us < ahead.computed_us
        assert (await readouts.newest(key)).snapshot == while_running
        await experiments.stop(database, key, ANN)
        ended = (await readouts.refresh(key)).snapshot
        assert (ended.call, ended.number > while_running.number) == (Call.INCONCLUSIVE, True)
        assert (await readouts.newest(key)).snapshot == ended
        assert (await readouts.newest(key, ahead.computed_us)).snapshot == ahead, "each stays at its own address"
        assert (await readouts.newest(key, ahead.computed_us + 1)).snapshot == ended
        assert await watch.read_all(database) == "0 read"
        seen = await programme.seen(database, readouts, key)
        assert (seen.is_newest, seen.days[0][0], seen.days[-1][0]) == (True, ended.computed_us, ahead.computed_us)
        (line,) = await programme.lines(database)
        assert (line.call, line.computed_us) == (ended.call, ended.computed_us)
        (result,) = (await programme.programme(database)).results
        assert result.found is not None
        assert result.found.computed_us == ended.computed_us


async def test_what_ended_under_a_clock_that_was_set_back_since_is_read_until_its_end_is_reached(
    database_url: str,
) -> None:
    async with shop(database_url) as database:
        key = await running(database)
        jump(database, 20)
        await experiments.stop(database, key, ANN)
        jump(database, 0)
        for _ in range(2):
            assert await watch.read_all(database) == "1 read"
        jump(database, 20.1)
        assert await watch.read_all(database) == "1 read"
        assert await watch.read_all(database) == "0 read"
        record, snapshot, *_ = await Readouts(database).newest(key)
        assert snapshot.as_of_us == record.ended_us


async def test_each_harm_of_an_experiment_is_told_once_and_none_is_spent_by_another(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.ALERT)
        shares, leak = check(CheckCode.SRM), check(CheckCode.LEAK, where="phase 2")
        for verdicts, checks in (
            ([verdict(Call.STOP)], [shares]),
            ([verdict(Call.STOP, "one"), verdict(Call.STOP)], [shares, leak]),
            ([verdict(Call.STOP, "one"), verdict(Call.STOP)], [shares, leak, leak]),
        ):
            await watch.act(database, await kept(database, verdicts, checks))
        assert await told(database) == [
            "experiment.invalid push-more:srm",
            "experiment.stop push-more:three",
            "experiment.invalid push-more:leak:phase 2",
            "experiment.stop push-more:one",
        ]
        async with database.connection() as connection:
            newest = (await alarms.newest(connection, 1))[0].data
        assert newest == {"experiment": "push-more", "because": ["Stop one: gone."], "stops": False}


async def test_with_on_harm_stop_it_is_stopped_by_takt(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.STOP)
        assert await watch.act(database, await kept(database, [verdict(Call.STOP)], []))
        whole = await experiments.whole(database, "push-more")
        assert whole.record.state == State.STOPPED
        assert (whole.log[-1].action, whole.log[-1].author, whole.log[-1].note) == ("stop", "takt", "Stop three: gone.")
        assert await known(database) == []
        assert await watch.act(database, await kept(database, [verdict(Call.STOP)], [])), "and no step is taken twice"
        assert await watch.act(database, await kept(database, [verdict(Call.STOP, "one")], [])), "of the last readout"
        async with database.connection() as connection:
            last, first = await alarms.newest(connection, 2)
        assert (last.data["stops"], first.data["stops"]) == (False, True)
        assert len((await experiments.whole(database, "push-more")).log) == len(whole.log)


async def test_an_alarm_that_was_raised_before_a_crash_stops_the_next_hour(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.STOP)
        async with database.transaction() as connection:
            await alarms.add(connection, "experiment.stop", "push-more:three", {})
        await watch.act(database, await kept(database, [verdict(Call.STOP)], []))
        assert await known(database) == []
        assert len(await told(database)) == 1


@pytest.mark.parametrize(
    ("code", "stops"),
    [
        (CheckCode.SRM_SEQUENTIAL, True),
        (CheckCode.LEAK, True),
        (CheckCode.SRM, False),  # looked at every hour it is wrong more often than it says: told, no ground to stop
        (CheckCode.SRM_PHASE, False),
    ],
)
async def test_wrong_shares_are_told_and_stop_where_one_may_look_at_any_time(
    database_url: str, code: CheckCode, stops: bool
) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.STOP)
        await watch.act(database, await kept(database, [verdict(Call.INVALID)], [check(code)]))
        assert await told(database) == [f"experiment.invalid push-more:{code.value}"]
        assert await known(database) == ([] if stops else ["push-more"])


async def test_what_does_not_invalidate_is_no_harm(database_url: str) -> None:
    async with shop(database_url) as database:
        await started(database, OnHarm.STOP)
        calm = [check(CheckCode.BALANCE), check(CheckCode.SRM_SEGMENT), check(CheckCode.SRM, is_alarm=False)]
        assert not await watch.act(database, await kept(database, [verdict(Call.SHIP), verdict(Call.INVALID)], calm))
        assert await told(database) == []


def test_the_names_in_a_readout_s_json_are_those_that_are_looked_for() -> None:
    assert {each.value for each in CheckCode if each.invalidates} == watch.INVALIDATING
    assert {CheckCode.SRM_SEQUENTIAL.value, CheckCode.LEAK.value} == watch.ANY_TIME
    assert Call.STOP.value == watch.STOP


async def test_a_holdout_ends_in_time_and_leaves_the_rules(database_url: str) -> None:
    async with shop(database_url) as database:
        await experiments.create(database, PLAN, ANN)
        await experiments.start(database, "push-more", ANN)
        await ship(database, "push-more", ANN, variant="three", held_days=90)
        assert await watch.end_holdouts(database) == "0 ended"
        jump(database, 89)
        assert await watch.end_holdouts(database) == "0 ended"
        assert [each["name"] for each in (await in_force(database)).holdouts] == ["push-more"]
        jump(database, 91)
        assert await watch.end_holdouts(database) == "1 ended"
        assert (await in_force(database)).holdouts == []
        holdout = (await experiments.whole(database, "push-more")).holdout
        assert holdout is not None
        assert holdout.ended_us == holdout.until_us == holdout.from_us + 90 * DAY_US
        assert await watch.end_holdouts(database) == "0 ended"
        assert await told(database) == ["holdout.ended push-more"]
