"""The complaint breaker on real events: it stops what is complained about, in every answer, and lets go on."""

from typing import Any

import pytest

from engine.core.events import Event, EventType
from engine.core.policy import DAY_US
from engine.core.rules import Pause
from engine.core.verdict import Ask, Code, Verdict
from engine.operations import breaker, policies
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.operations.verify import verify
from engine.store import alarms, complaints
from engine.store.complaints import Published
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio
HOUR_US = 3_600_000_000
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  news: {purpose: sell}
  offers: {purpose: sell}
  orders: {purpose: serve, exempt: true}
budgets:
  - {name: email, channels: [email], limit: 100, window: {rolling: 7d}}
"""


async def told(
    decider: Decider, delivered: int, complained: int, topic: str = "news", provider: str | None = "yahoo"
) -> None:
    """Events of so many messages; each complaint is about one that was delivered, and both are told twice: by their
    provider, and without any detail."""
    now_us = await decider.database.clock_us()
    properties = {} if provider is None else {"provider": provider}
    events = [
        Event(
            f"c-{number % 500}", source, f"{type_}-{number}-{topic}-{now_us}", type_, now_us - 60_000_000, "email",
            topic if type_ is EventType.DELIVERED and source == "provider" else None,
            message_id=f"{topic}-{number}-{now_us}", properties=properties if source == "provider" else {},
        )
        for source in ("provider", "warehouse")
        for type_, count in ((EventType.DELIVERED, delivered), (EventType.COMPLAINED, complained))
        for number in range(count)
    ]  # fmt: skip
    for start in range(0, len(events), 5_000):
        await Intake(decider).take(events[start : start + 5_000])


async def asked(decider: Decider, customer: str, channel: str = "email", topic: str = "news") -> Answer:
    answer = await decider.settle(AskCommand(customer, f"m-{customer}-{channel}-{topic}", Ask(channel, topic)))
    assert isinstance(answer, Answer)
    return answer


async def kinds(decider: Decider) -> list[str]:
    async with decider.database.connection() as connection:
        return [f"{each.kind} {each.subject}" for each in reversed(await alarms.newest(connection, 20))]


async def published(decider: Decider, *rates: tuple[int, float, int | None]) -> None:
    today = await decider.database.clock_us() // DAY_US
    async with decider.database.transaction() as connection:
        await complaints.publish(
            connection, [Published("Gmail", "email", today - ago, rate, of) for ago, rate, of in rates]
        )


async def paused(decider: Decider) -> dict[str, Pause]:
    current = await policies.in_force(decider.database)
    assert current is not None
    return {each.name: each for each in current.pauses}


async def test_complaints_stop_the_channel_until_a_day_of_calm(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await told(decider, 5_000, 22, provider=None)
    assert await breaker.look(decider.database) == "0 stopped, 0 let go on, 2 near"
    assert (await asked(decider, "ada")).verdict is Verdict.ALLOW
    await told(decider, 100, 10, provider=None)
    assert (await breaker.look(decider.database)).startswith("2 stopped")
    assert set(await paused(decider)) == {"breaker.email", "breaker.email.topic.news"}
    answer = await asked(decider, "bea")
    assert answer.verdict is Verdict.DENY
    assert {each.code for each in answer.reasons} == {Code.BREAKER}
    assert (await asked(decider, "bea", "push")).verdict is Verdict.ALLOW
    assert (await asked(decider, "bea", topic="orders")).verdict is Verdict.ALLOW, "exempt topics pass"
    assert (await breaker.look(decider.database)).startswith("0 stopped, 0 let go on")
    assert await kinds(decider) == [
        "breaker.near breaker.email",
        "breaker.near breaker.email.topic.news",
        "breaker.stopped breaker.email",
        "breaker.stopped breaker.email.topic.news",
    ]
    set_clock(decider.database.url, 7 * DAY_US + 23 * HOUR_US)
    assert (await breaker.look(decider.database)).startswith("0 stopped, 0 let go on")
    set_clock(decider.database.url, 8 * DAY_US + HOUR_US)
    assert (await breaker.look(decider.database)).startswith("0 stopped, 2 let go on")
    assert await paused(decider) == {}
    assert (await asked(decider, "cid")).verdict is Verdict.ALLOW
    assert (await verify(decider.database)).is_clean


async def test_a_person_s_word_stands_until_there_is_new_evidence(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await told(decider, 5_000, 50, topic="offers")
    await breaker.look(decider.database)
    for name in await paused(decider):
        await policies.lift_pause(decider.database, name, author="ann")
    set_clock(decider.database.url, 2 * HOUR_US)
    assert (await breaker.look(decider.database)).startswith("0 stopped")
    await told(decider, 5_000, 50, topic="offers")
    assert (await breaker.look(decider.database)).startswith("3 stopped")


async def test_pauses_by_hand_stay_as_they_are(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await policies.pause(decider.database, Pause("outage"), author="ann")
    await told(decider, 5_000, 50)
    await breaker.look(decider.database)
    by_hand = (await paused(decider))["outage"]
    assert not by_hand.is_breaker
    set_clock(decider.database.url, 9 * DAY_US)
    await breaker.look(decider.database)
    assert await paused(decider) == {"outage": by_hand}
    with pytest.raises(policies.Conflict, match="complaint breaker"):
        await policies.pause(decider.database, Pause("breaker.email"), author="ann")


async def test_what_nobody_can_complain_about_dilutes_nothing(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await told(decider, 5_000, 40)
    await told(decider, 6_000, 0, topic="offers", provider="GMail")
    said = await breaker.look(decider.database)
    assert said.startswith("3 stopped")
    assert said.endswith("nobody can see complaints of gmail")
    assert set(await paused(decider)) == {
        "breaker.email", "breaker.email.topic.news", "breaker.email.provider.yahoo",
    }  # fmt: skip


async def test_published_rates_stop_by_how_many_they_are_of_and_else_only_warn(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await published(decider, (1, 0.02, 300), (2, 0.05, None))
    assert (await breaker.look(decider.database)).startswith("0 stopped")
    assert await kinds(decider) == ["breaker.near breaker.email.gmail"]
    await published(decider, (2, 0.006, 4_000), (3, 0.005, 3_000))
    assert (await breaker.look(decider.database)).startswith("1 stopped")
    assert (await asked(decider, "ada")).verdict is Verdict.DENY


async def test_names_that_anybody_may_invent_are_no_burden(decider: Decider) -> None:
    """A provider for every message: none is judged by itself, and the channel is."""
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    events = [
        Event(
            f"c-{number % 500}", "mailer", f"{type_}-{number}", type_, now_us, "email", f"topic-{number % 700}",
            message_id=f"m-{number}", properties={"provider": f"nobody-{number}"},
        )
        for type_, count in ((EventType.DELIVERED, 5_000), (EventType.COMPLAINED, 30))
        for number in range(count)
    ]  # fmt: skip
    await Intake(decider).take(events)
    assert (await breaker.look(decider.database)).startswith("1 stopped")
    assert set(await paused(decider)) == {"breaker.email"}
    async with decider.database.transaction() as connection:
        heard = await complaints.heard(connection, now_us + HOUR_US, 192, 5_000, ())
    assert [(each.topic, each.provider, each.delivered, each.complaints) for each in heard] == [(None, None, 5_000, 30)]


@pytest.mark.parametrize("sent", [EventType.DELIVERED, EventType.SENT])
async def test_complaints_that_name_only_their_message_count_in_its_channel(decider: Decider, sent: EventType) -> None:
    """As a provider tells them whose webhook carries a message's id, and nothing else of it; 60 of 6,000 are 1 %."""
    await policies.activate(decider.database, POLICY, author="test")
    now_us = await decider.database.clock_us()
    named: dict[EventType, dict[str, Any]] = {sent: {"channel": "email", "topic": "news"}}
    named.setdefault(EventType.DELIVERED, {"channel": "email"})
    for type_, of in (*((each, 6_000) for each in named), (EventType.COMPLAINED, 60)):
        events = [
            Event(f"c-{n % 700}", "esp", f"{type_}-{n}", type_, now_us - HOUR_US, message_id=f"m-{n}",
                  **named.get(type_, {}))
            for n in range(of)
        ]  # fmt: skip
        await Intake(decider).take(events)
    assert (await breaker.look(decider.database)).startswith("1 stopped" if sent is EventType.SENT else "2 stopped")
    assert "breaker.email" in await paused(decider)


async def test_what_names_only_a_message_that_was_asked_for_counts_in_its_channel(decider: Decider) -> None:
    """Deliveries, too: a provider need not know what the sender asked."""
    await policies.activate(decider.database, POLICY, author="test")
    for number in range(3):
        await decider.settle(AskCommand(f"c-{number}", "m", Ask("email", "news")))
    now_us = await decider.database.clock_us()
    told = [(f"c-{n}", EventType.DELIVERED) for n in range(3)] + [("c-0", EventType.COMPLAINED)]
    await Intake(decider).take([Event(of, "esp", type_, type_, now_us - 1, message_id="m") for of, type_ in told])
    async with decider.database.transaction() as connection:
        heard = await complaints.heard(connection, now_us, 24, 1, ())
    assert [(each.channel, each.topic, each.delivered, each.complaints) for each in heard] == [("email", "news", 3, 1)]
