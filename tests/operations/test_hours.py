"""Asks counted by the hour: the counts are those of counting every row by hand, however often and whoever counts."""

import asyncio
from collections import Counter, defaultdict
from typing import Any

import psycopg
import pytest

from engine.core.account import Kind
from engine.core.policy import DAY_US, HOUR_US
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Verdict
from engine.operations import crowding, hours, policies
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.file import Suppress
from engine.operations.merge import merge
from engine.operations.volumes import volumes
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
    """Every entry looked at by itself, and every message's asks of a day in their order."""
    asks: Counter[tuple[Any, ...]] = Counter()
    messages: Counter[tuple[Any, ...]] = Counter()
    days: defaultdict[tuple[Any, ...], list[Message | Refusal]] = defaultdict(list)
    for each in sorted((each for each in found if isinstance(each, Message | Refusal)), key=lambda each: each.seq):
        if isinstance(each, Message) and each.kind is not Kind.ASKED:
            for key in _keys(each):
                asks[key], messages[key] = asks[key] + 1, messages[key] + 1
        elif isinstance(each, Message) or (not each.checked and each.verdict is not Verdict.ALLOW):
            days[(each.customer_id, each.message_id, each.at_us // DAY_US)].append(each)
    for told in days.values():
        allowed = next((each for each in told if isinstance(each, Message)), None)
        counts = allowed or told[0]
        for each in told:
            for key in _keys(each):
                asks[key] += 1
                messages[key] += each is counts or each is told[0]
        if allowed is not None and allowed is not told[0]:
            ((_, *labels, outcome, code, rule, exempt),) = _keys(told[0])
            at_first = {Outcome.DEFERRED: Outcome.DEFERRED_AT_FIRST, Outcome.DENIED: Outcome.DENIED_AT_FIRST}[outcome]
            key = (allowed.at_us // HOUR_US * HOUR_US, *labels, at_first, code, rule, exempt)
            asks[key], messages[key] = asks[key] + 1, messages[key] + 1
    return {key: (count, messages[key]) for key, count in asks.items()}


def _keys(each: Message | Refusal) -> list[tuple[Any, ...]]:
    """Under what an entry is counted: once, and once more for each budget in shadow without room."""
    code, rule = each.reasons[0] if each.reasons else (None, None)
    labels = each.at_us // HOUR_US * HOUR_US, each.channel, each.topic, each.team, each.sender
    outcomes = [(_outcome(each), 0 if code is None else CODE_NUMBERS[code], rule)]
    if isinstance(each, Message):
        outcomes += [(Outcome.SHADOW, 0, name) for name in each.uncharged if name != "*"]
    return [(*labels, *outcome, each.topic in EXEMPT) for outcome in outcomes]


def _outcome(message: Message | Refusal) -> Outcome:
    if isinstance(message, Refusal):
        return Outcome.DEFERRED if message.verdict is Verdict.DEFER else Outcome.DENIED
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


WEEKLY = """\
schema: 1
unknown_timezone: Europe/Berlin
lease: 2h
budgets:
  - {name: weekly, channels: [push], limit: %d, window: {rolling: 7d}}
"""


async def test_a_message_that_was_refused_and_then_allowed_is_one_that_was_allowed(
    decider: Decider, database_url: str
) -> None:
    """Hours later, when the hour of its refusals is closed; and what is asked after it was allowed is that message."""

    async def ask(message: str, limit: int, team: str = "crm") -> Verdict:
        await policies.activate(decider.database, WEEKLY % limit, author="test")
        answer = await decider.settle(AskCommand("ada", message, Ask("push", "promotions", team=team)))
        assert isinstance(answer, Answer)
        return answer.verdict

    to_next_day_us = DAY_US - await decider.database.clock_us() % DAY_US
    set_clock(database_url, to_next_day_us)
    assert await ask("m1", 1) is Verdict.ALLOW
    assert [await ask(each, 1, team) for each, team in (("m2", "crm"), ("m2", "mail"), ("m3", "crm"))] == (
        [Verdict.DEFER] * 3
    )
    set_clock(database_url, to_next_day_us + 3 * HOUR_US)
    await hours.count(decider.database)
    first = (await volumes(decider.database, 7)).total
    assert (first.allowed, first.deferred, first.asks, first.at_last) == (1, 2, 4, 0)
    await decider.settle(AskCommand("ada", "m1", Ask("push", "promotions", team="crm")))  # its lease expired
    assert await ask("m2", 2, team="shop") is Verdict.ALLOW
    set_clock(database_url, to_next_day_us + 6 * HOUR_US)
    assert await ask("m1", 0) is Verdict.DENY, "it has expired, too, and is asked about again"
    set_clock(database_url, to_next_day_us + 9 * HOUR_US)
    for _ in range(2):
        await hours.count(decider.database)
        told = await volumes(decider.database, 7)
        assert (told.total.allowed, told.total.deferred, told.total.denied, told.total.at_last) == (2, 1, 0, 1)
        assert told.total.asks == 7
        assert [(each.rule, each.deferred, each.denied) for each in told.rules] == [("weekly", 1, 0)]
        assert {each.name: each.tally.asked for each in told.parties} == {"crm": 2, "mail": 0, "shop": 1}
    assert counted(database_url) == by_hand(await entries(decider))
    set_clock(database_url, to_next_day_us + DAY_US)
    assert await ask("m2", 2) is Verdict.ALLOW, "on another day it counts again"
    assert await ask("m3", 2) is Verdict.ALLOW
    await hours.count(decider.database)
    told = await volumes(decider.database, 7)
    assert [(each.allowed, each.deferred) for _, each in told.days[-2:]] == [(2, 1), (2, 0)]


async def test_a_message_that_was_revoked_and_is_asked_about_again_was_allowed(
    decider: Decider, database_url: str
) -> None:
    await policies.activate(decider.database, WEEKLY % 1, author="test")
    set_clock(database_url, DAY_US - await decider.database.clock_us() % DAY_US)
    again = AskCommand("ada", "m1", Ask("push", "promotions"))
    await decider.settle(again)
    at_us = await decider.database.clock_us()
    left = Suppression(Scope("push", None), SuppressionReason.UNSUBSCRIBE, at_us, "test", False)
    await decider.settle(Suppress("ada", left))
    answer = await decider.settle(again)
    assert isinstance(answer, Answer)
    assert (answer.verdict, answer.attempt) == (Verdict.DENY, 1)
    await hours.count(decider.database)
    told = (await volumes(decider.database, 7)).total
    assert (told.allowed, told.refused, told.asks) == (1, 0, 2)


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
    assert len(found) <= len(whole)  # fewer, where two hours of a day had the same to tell
    offset = rows(database_url, "SELECT clock_offset_us FROM deployment")[0][0]
    set_clock(database_url, offset - 30 * DAY_US)  # into a day that is folded
    await settled(decider)
    assert sum(asks for asks, _ in counted(database_url).values()) == before.total()
