"""Erasures, merges, asks and events of the same customers at once, from Deciders with loops and pools of their own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from engine.core.account import State
from engine.core.errors import Conflict, TaktError, Unavailable
from engine.core.events import Event
from engine.core.policy import DAY_US
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.intake import Intake, Result
from engine.operations.merge import merge
from engine.operations.verify import verify
from engine.store import erasing, pruning
from engine.store.totals import Counted
from tests.operations.persons import dump
from tests.operations.test_happened_races import POLICY, at_once
from tests.store.faults import count, until, waiting

pytestmark = pytest.mark.anyio
WHO = [f"canary-{number}." for number in range(25)]
ASK = Ask("email", "promotions", "spring", "growth")


async def asked(decider: Decider, who: str, number: int) -> Answer | None:
    """None where there was no answer in time, which a sender takes for a no."""
    try:
        return await decider.ask(AskCommand(who, f"m{number}", ASK), Mode.RESERVE)
    except Unavailable:
        return None


async def test_nothing_is_allowed_or_kept_of_whom_an_erasure_has_passed(decider: Decider, database_url: str):
    await policies.activate(decider.database, POLICY, author="test")
    gone: set[str] = set()
    wrongly: list[str] = []

    async def erases(of: Decider) -> None:
        for who in WHO:
            await erase(of, who)
            gone.add(who)
        gone.add("all")

    async def asks(of: Decider) -> None:
        number = 0
        while "all" not in gone:
            number += 1
            known = set(gone)
            for who, answer in zip(WHO, await asyncio.gather(*[asked(of, who, number) for who in WHO]), strict=True):
                if answer is not None and answer.verdict is Verdict.ALLOW and who in known:
                    wrongly.append(who)

    async def tells(of: Decider) -> None:
        intake, number = Intake(of), 0
        while "all" not in gone:
            number += 1
            now_us = await of.database.clock_us()
            kinds = ("download", "purchase", "unsubscribed", "clicked")
            await intake.take([Event(who, "shop", f"{each}{number}", each, now_us) for who in WHO for each in kinds])

    await asyncio.to_thread(at_once, database_url, [erases, asks, tells])
    assert wrongly == []
    assert "canary" not in dump(database_url)
    assert (await verify(decider.database)).is_clean


async def test_erasures_and_merges_of_the_same_people_leave_one_or_the_other(decider: Decider, database_url: str):
    await policies.activate(decider.database, POLICY, author="test")
    pairs = [(WHO[number], WHO[number + 1]) for number in range(0, 20, 2)]
    for who in WHO[:20]:
        assert (await decider.ask(AskCommand(who, "m", ASK), Mode.RESERVE)).state is State.RESERVED

    def each_pair(does: Callable[[Decider, str, str], Awaitable[object]]) -> Callable[[Decider], Awaitable[list[str]]]:
        async def run(of: Decider) -> list[str]:
            met: list[str] = []
            for one, other in pairs:
                try:
                    await does(of, one, other)
                    met.append("done")
                except TaktError as error:
                    met.append(error.code)
            return met

        return run

    jobs = [
        each_pair(merge),
        each_pair(lambda of, one, other: merge(of, other, one)),
        each_pair(lambda of, one, other: erase(of, other)),
    ]
    merged, back, erased = await asyncio.to_thread(at_once, database_url, jobs)
    assert erased == ["done"] * len(pairs)
    assert set(merged) | set(back) <= {"done", "conflict", "erased"}
    left = dump(database_url)
    for place, (one, other) in enumerate(pairs):
        assert other not in left
        if "done" in (merged[place], back[place]):
            assert one not in left
        else:
            assert one in left
    assert (await verify(decider.database)).is_clean


async def test_of_two_merges_that_would_make_a_circle_one_is_refused(decider: Decider, database_url: str):
    async def one_way(of: Decider) -> str:
        return await attempt(of, "ada", "countess")

    async def the_other(of: Decider) -> str:
        return await attempt(of, "countess", "ada")

    async def attempt(of: Decider, into: str, other: str) -> str:
        try:
            await merge(of, into, other)
        except Conflict:
            return "refused"
        return "done"

    assert sorted(await asyncio.to_thread(at_once, database_url, [one_way, the_other])) == ["done", "refused"]
    first = await decider.ask(AskCommand("ada", "m1", ASK), Mode.RESERVE)
    second = await decider.ask(AskCommand("countess", "m1", ASK), Mode.RESERVE)
    assert (first.customer_id, first.state) == (second.customer_id, second.state)
    assert (await verify(decider.database)).is_clean


async def test_events_told_while_their_customer_is_merged_are_all_the_survivors(decider: Decider, database_url: str):
    others = WHO[1:]
    done: set[str] = set()

    async def merges(of: Decider) -> int:
        for who in others:
            await merge(of, WHO[0], who)
        done.add("all")
        return 0

    async def tells(of: Decider) -> int:
        intake, number = Intake(of), 0
        while "all" not in done:
            now_us = await of.database.clock_us()
            told = [Event(who, "shop", f"{who}{number}", "download", now_us) for who in others]
            assert all(str(each) == "accepted" for each in await intake.take(told))
            number += 1
        return number

    _, rounds = await asyncio.to_thread(at_once, database_url, [merges, tells])
    lines = [line for line in dump(database_url).split("\n") if line.startswith("events")]
    assert len(lines) == rounds * len(others) > 0
    assert all(f"\t{WHO[0]}\t" in line for line in lines)
    assert (await verify(decider.database)).is_clean


async def old_events(decider: Decider, *customer_ids: str) -> int:
    """Each of these has an event of one and the same day, long ago; the instant before which it is to go."""
    now_us = await decider.database.clock_us()
    told = [Event(each, "shop", "e1", "download", now_us - 500 * DAY_US) for each in customer_ids]
    assert await Intake(decider).take(told) == [Result.ACCEPTED] * len(told)
    return now_us - 400 * DAY_US


def counted(url: str) -> int:
    return count(url, f"SELECT coalesce(sum(count), 0) FROM daily_totals WHERE kind = {Counted.EVENT:d}")


async def test_an_event_that_is_pruned_while_its_customer_is_erased_is_counted_once(
    decider: Decider, database_url: str
) -> None:
    before_us = await old_events(decider, "ada", "bob")
    async with decider.database.transaction() as pruning_one:
        assert (await pruning.move_events(pruning_one, 0, before_us, 10))[0] == 2
        erasing_one = asyncio.create_task(erase(decider, "ada"))
        await until(lambda: waiting(database_url, "transactionid") == 1, "the erasure does not wait for its event")
    assert (await erasing_one).events == 0
    assert counted(database_url) == 2


async def test_a_round_passes_by_the_events_of_whom_somebody_erases(decider: Decider, database_url: str) -> None:
    before_us = await old_events(decider, "ada", "bob")

    async def a_batch() -> int:
        async with decider.database.transaction() as connection:
            return (await pruning.move_events(connection, 0, before_us, 10))[0]

    async with decider.database.transaction() as erasing_one:
        assert (await erasing.delete(erasing_one, ["ada"])).events == 1
        batch = asyncio.create_task(a_batch())
        await until(lambda: waiting(database_url, "transactionid") == 1, "the round does not wait for the total")
    assert await batch == 1
    assert counted(database_url) == 2
    assert count(database_url, "SELECT count(*) FROM events") == 0
