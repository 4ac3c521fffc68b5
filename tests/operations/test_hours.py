"""Asks counted by the hour: the counts are those of counting every row by hand, however often and whoever counts."""

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest

from engine.core.account import Kind
from engine.core.policy import DAY_US, HOUR_US
from engine.core.verdict import Ask, Verdict
from engine.operations import crowding, hours, policies
from engine.operations.decide import AskCommand
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.merge import merge
from engine.store import hourly, journal_reading
from engine.store.hourly import Outcome
from engine.store.journal import Message, Refusal
from engine.store.journal_reading import Read
from engine.store.journal_rows import CODE_NUMBERS
from tests.conftest import set_clock
from tests.operations.histories import OBSERVING, POLICIES, STRICT, History

pytestmark = pytest.mark.anyio
EXEMPT = {"orders", "incident"}
_COLUMNS = "hour_us, channel, topic, team, sender, outcome, code, rule, is_exempt, asks, messages"


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def counted(url: str) -> dict[tuple[Any, ...], tuple[int, int]]:
    """What is counted, with the names of labels."""
    names = {0: None, **dict(rows(url, "SELECT number, name FROM labels"))}
    return {
        (
            hour,
            names[channel],
            *(names[each] for each in (topic, team, sender)),
            outcome,
            code,
            names[rule],
            exempt,
        ): tuple(of)
        for hour, channel, topic, team, sender, outcome, code, rule, exempt, *of in rows(
            url, f"SELECT {_COLUMNS} FROM hourly_asks"
        )
    }  # type: ignore[return-value]


class Forwards(History):
    """Its clock never steps back: what is stamped in hours that are counted and closed is another test's."""

    def jump(self, by_us: int) -> None:
        super().jump(abs(by_us))


async def entries(decider: Decider) -> list[Read]:
    found: list[Read] = []
    last: str | None = ""
    while last is not None:
        async with decider.database.transaction() as connection:
            page = await journal_reading.next_page(connection, decider.labels, last)
        # Who was merged into another was told again there.
        found += [each for one in page.dossiers if one.texts.merged_into is None for each in one.entries]
        found += [
            each
            for one in page.dossiers
            if one.texts.merged_into is not None
            for each in one.entries
            if isinstance(each, Refusal)
        ]
        last = page.last
    return found


def by_hand(found: list[Read]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Every entry looked at by itself."""
    asks: Counter[tuple[Any, ...]] = Counter()
    messages: Counter[tuple[Any, ...]] = Counter()
    seen: set[tuple[Any, ...]] = set()
    for each in sorted((each for each in found if isinstance(each, Message | Refusal)), key=lambda each: each.seq):
        code, rule = each.reasons[0] if each.reasons else (None, None)
        number = 0 if code is None else CODE_NUMBERS[code]
        labels = each.at_us // HOUR_US * HOUR_US, each.channel, each.topic, each.team, each.sender
        is_exempt = each.topic in EXEMPT
        if isinstance(each, Message):
            outcomes = [(_outcome(each), number, rule)]
            outcomes += [(Outcome.SHADOW, 0, name) for name in each.uncharged if name != "*"]
            for outcome, code_number, name in outcomes:
                asks[(*labels, outcome, code_number, name, is_exempt)] += 1
                messages[(*labels, outcome, code_number, name, is_exempt)] += 1
        elif not each.checked and each.verdict is not Verdict.ALLOW:
            key = (
                *labels,
                Outcome.DEFERRED if each.verdict is Verdict.DEFER else Outcome.DENIED,
                number,
                rule,
                is_exempt,
            )
            asks[key] += 1
            message = each.customer_id, each.message_id, each.at_us // DAY_US
            messages[key] += message not in seen
            seen.add(message)
    return {key: (count, messages[key]) for key, count in asks.items()}


def _outcome(message: Message) -> Outcome:
    if message.kind is Kind.UNASKED:
        return Outcome.UNASKED
    if message.kind is Kind.RECORDED:
        return Outcome.RECORDED
    match message.observed:
        case Verdict.DEFER:
            return Outcome.WOULD_DEFER
        case Verdict.DENY:
            return Outcome.WOULD_DENY
        case _:
            return Outcome.ALLOWED


async def settled(decider: Decider) -> hours.Round:
    """Rounds until everything is counted, the hours behind the clock too: customers' stamps may be ahead of it."""
    while (found := await hours.count(decider.database)).is_behind:
        pass
    return found


async def behind_the_last_stamp(url: str) -> None:
    latest = rows(
        url,
        "SELECT max(latest_us) - (takt_clock() - clock_offset_us) FROM accounts, deployment GROUP BY clock_offset_us",
    )
    set_clock(url, latest[0][0] + HOUR_US)


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_counted_is_what_counting_by_hand_finds(decider: Decider, database_url: str, seed: int) -> None:
    await policies.activate(decider.database, (STRICT, OBSERVING, POLICIES[1])[seed], author="test")
    history = Forwards(decider, database_url, seed=seed)
    for _ in range(4):
        await history.busy(steps=8, at_once=25)
        await hours.count(decider.database)
    await behind_the_last_stamp(database_url)
    await settled(decider)
    found, expected = counted(database_url), by_hand(await entries(decider))
    assert {key: found.get(key) for key in expected} == expected
    assert found.keys() == expected.keys()
    assert {Outcome(key[5]) for key in found} >= {Outcome.UNASKED, Outcome.RECORDED, Outcome.ALLOWED, Outcome.DENIED}


async def busy(decider: Decider, url: str, steps: int = 12) -> History:
    """Something to count, under a policy that refuses."""
    await policies.activate(decider.database, STRICT, author="test")
    history = Forwards(decider, url, seed=7)
    await history.busy(steps=steps, at_once=20)
    await behind_the_last_stamp(url)
    return history


async def test_a_round_that_broke_off_is_taken_up_where_it_was(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two batches, and in the middle of one: nothing is missing, nothing there twice."""
    await busy(decider, database_url)
    monkeypatch.setattr(hours, "_SPAN_MOST", 5)  # of hours: many batches
    whole = hourly.count
    left = iter((True, True, False))

    async def breaks_off(*given: Any) -> int:
        found = await whole(*given)
        if not next(left):
            raise ConnectionError
        return found

    monkeypatch.setattr(hourly, "count", breaks_off)
    with pytest.raises(ConnectionError):
        await hours.count(decider.database)
    part = rows(database_url, "SELECT until_us FROM counted_until")
    monkeypatch.setattr(hourly, "count", whole)
    monkeypatch.setattr(hours, "BATCHES_A_ROUND", 40)
    rounds = 0
    while (await hours.count(decider.database)).is_behind:
        rounds += 1
    assert rounds > 2
    assert rows(database_url, "SELECT until_us FROM counted_until") > part
    assert counted(database_url) == by_hand(await entries(decider))


async def test_two_who_count_at_once_count_once(decider: Decider, database_url: str) -> None:
    await busy(decider, database_url, steps=6)
    await asyncio.gather(*(hours.count(decider.database) for _ in range(4)))
    await settled(decider)
    assert counted(database_url) == by_hand(await entries(decider))


async def test_nothing_is_counted_of_nothing(decider: Decider, database_url: str) -> None:
    found = await hours.count(decider.database)
    assert (found.asks, found.is_behind) == (0, False)
    assert found.until_us == rows(database_url, "SELECT until_us FROM counted_until")[0][0]
    assert rows(database_url, "SELECT * FROM hourly_asks") == []


async def test_a_clock_that_was_ahead_for_an_hour_leaves_no_gap(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, STRICT, author="test")
    await decider.settle(AskCommand("ada", "m-1", Ask("push", "promotions")))
    await hours.count(decider.database)
    set_clock(database_url, 300 * DAY_US)
    while (await hours.count(decider.database)).is_behind:
        pass
    set_clock(database_url, 3 * HOUR_US)
    await decider.settle(AskCommand("bob", "m-1", Ask("email", "promotions")))
    await hours.count(decider.database)
    assert counted(database_url) == by_hand(await entries(decider))


async def test_merging_and_erasing_leave_counts_as_they_were(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, STRICT, author="test")
    for customer in ("ada", "bob", "eve"):
        for message in range(3):
            await decider.settle(AskCommand(customer, f"m-{message}", Ask("push", "promotions", team="crm")))
    await hours.count(decider.database)
    before = counted(database_url)
    await merge(decider, "ada", "bob")
    await hours.count(decider.database)
    assert counted(database_url) == before, "told again under the other id, and counted once"
    set_clock(database_url, 3 * HOUR_US)
    await hours.count(decider.database)
    await erase(decider, "eve")
    await hours.count(decider.database)
    assert counted(database_url) == before, "an hour that is closed stays as it was"


async def test_hours_far_back_become_days_and_say_the_same(decider: Decider, database_url: str) -> None:
    history = await busy(decider, database_url)
    for _ in range(2):
        history.jump(9 * DAY_US)
        await history.busy(steps=5, at_once=20)
    await behind_the_last_stamp(database_url)
    await settled(decider)
    whole = by_hand(await entries(decider))
    before = Counter({key[1:]: 0 for key in whole})
    for key, (asks, _) in whole.items():
        before[key[1:]] += asks
    while (await crowding.look(decider.database)).is_behind:
        pass
    now_us, found = await decider.database.clock_us(), whole
    for _ in range(2):
        await settled(decider)
        found = counted(database_url)
        after: Counter[tuple[Any, ...]] = Counter()
        for key, (asks, _) in found.items():
            after[key[1:]] += asks
        assert after == before
        old = {key[0] for key in found if key[0] < now_us - (hours.HOURLY_DAYS + 1) * DAY_US}
        assert old
        assert not {each % DAY_US for each in old} - {0}
    assert len(found) < len(whole)
    offset = rows(database_url, "SELECT clock_offset_us FROM deployment")[0][0]
    set_clock(database_url, offset - 30 * DAY_US)  # into a day that is folded
    await settled(decider)
    assert sum(asks for asks, _ in counted(database_url).values()) == before.total()
