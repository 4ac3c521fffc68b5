"""Who can be reached, as readouts count it, is whom decisions would still let somebody write to.

The oracle is the answer to asks: what was on file at the end of day 28 is not looked at by any other way.
"""

import asyncio
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.core.customer import Address
from engine.core.events import Event, Flag
from engine.core.policy import Channel
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Code
from engine.operations import policies
from engine.operations.addresses import PutReachable
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.file import Lift, PutCustomer, Suppress
from engine.operations.intake import Intake
from engine.operations.merge import merge
from engine.operations.resolve import ConfirmCommand
from tests.conftest import set_clock
from tests.operations.readout_plans import PLAIN, computed
from tests.operations.readout_worlds import DAY_US, HOUR_US, START_US, World

pytestmark = pytest.mark.anyio
ENTRY_US = START_US + DAY_US
END_US = ENTRY_US + 29 * DAY_US  # of day 28
CHANNELS = ("email", "push", "sms")
PLAN: dict[str, Any] = {
    **PLAIN,
    "segments": [],
    "metrics": [
        {"name": "bought", "kind": "rate", "event": "purchase", "within_days": 14, "role": "primary",
         "direction": "increase"},
        *(
            {"name": f"reached_{each or 'all'}", "kind": "reachable", "day": 28, "role": "descriptive",
             "direction": "increase", **({"channel": each} if each else {})}
            for each in (*CHANNELS, None)
        ),
    ],
}  # fmt: skip
PLAIN_POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: b, limit: 1000, window: {rolling: 7d}}
soft_bounces: {suppress_after: 3, within: 10d}
"""
TOPICS = """\
topics:
  news: {purpose: sell}
  offers: {purpose: sell}
  orders: {purpose: serve, exempt: true}
  tips: {purpose: serve}
"""


class Life:
    """Random histories, told over the operations as the clock of the database goes on."""

    def __init__(self, decider: Decider, world: World, seed: int, topics: tuple[str, ...]) -> None:
        self.decider, self.world, self.topics = decider, world, topics
        self.intake = Intake(decider)
        self.random = random.Random(seed)  # noqa: S311 - a test's
        self.now_us = world.now_us
        self.told = 0
        self.erased: set[str] = set()
        self.customers = [f"c{number}" for number in range(30)]
        self.variants = {each: number % 3 for number, each in enumerate(self.customers)}

    async def at(self, now_us: int) -> None:
        self.now_us = self.world.now_us = now_us
        set_clock(
            self.world.url, now_us - (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        )

    async def live(self, until_us: int, steps: int, *, with_merges: bool) -> None:
        for at_us in sorted(self.random.randrange(self.now_us, until_us - HOUR_US) for _ in range(steps)):
            await self.at(at_us)
            who = self.random.choice([each for each in self.customers if each not in self.erased])
            match self.random.randrange(20 if with_merges else 18):
                case 0 | 1:
                    reason = self.random.choice((SuppressionReason.BY_HAND, SuppressionReason.UNSUBSCRIBE))
                    made = Suppression(self.scope(), reason, at_us, "desk", reason is SuppressionReason.BY_HAND)
                    await self.decider.settle(Suppress(who, made))
                case 2 | 3:
                    await self.decider.settle(Lift(who, self.scope()))
                case 4 | 5:
                    addresses = tuple(self.address(who) for _ in range(self.random.randrange(3)))
                    await self.intake.put([PutReachable(who, PutCustomer(who), addresses)])
                case 18:
                    await self.merge(who)
                case 19 if self.random.random() < 0.3:
                    await erase(self.decider, who)
                    self.erased.add(who)
                case _:
                    await self.intake.take([self.event(who) for _ in range(self.random.choice((1, 1, 1, 3)))])

    async def merge(self, into: str) -> None:
        alike = (each for each in self.customers if self.variants[each] == self.variants[into])
        others = [each for each in alike if each != into and each not in self.erased]
        if not others:
            return
        other = self.random.choice(others)
        await merge(self.decider, into, other)
        self.customers.remove(other)

    def event(self, who: str) -> Event:
        self.told += 1
        kind = self.random.choice(
            ("unsubscribed", "unsubscribed", "unsubscribed", "complained", "bounced", "bounced", "bounced", "consented",
             "consented", "resubscribed", "resubscribed", "push_disabled", "push_enabled", "uninstalled")
            + (("account_closed",) if self.random.random() < 0.3 else ())
        )  # fmt: skip
        scope, width = self.scope(), self.random.choice((None, None, None, "all", "channel", "topic"))
        properties: dict[str, Any] = {} if width is None else {"scope": width}
        if kind == "consented" and self.random.random() < 0.3:
            properties["given"] = False
        channel, topic = scope.channel, scope.topic
        address = self.address(who) if kind in ("bounced", "complained") and self.random.random() < 0.4 else None
        return Event(
            who, "esp", f"e{self.told}", kind, self.now_us - self.random.choice((0, 0, HOUR_US, 3 * DAY_US)),
            address.channel if address else channel, topic,
            message_id=self.random.choice((None, None, f"m-{who}")),
            flags=int(self.random.choice((Flag.HARD, Flag.SOFT, Flag.SOFT, Flag.SOFT))) if kind == "bounced" else 0,
            digest=address.digest if address else None, properties=properties,
        )  # fmt: skip

    def scope(self) -> Scope:
        topic = self.random.choice(self.topics) if self.random.random() < 0.5 else None
        return Scope(self.random.choice((None, "email", "email", "push", "sms")), topic)

    def address(self, who: str) -> Address:
        """One of few, of their own; two people share none."""
        return Address("email", f"{self.random.randrange(2)}{int(who[1:]):031x}")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("policy", [PLAIN_POLICY, PLAIN_POLICY + TOPICS], ids=["any topic", "topics"])
async def test_who_can_be_reached_is_whom_an_ask_would_not_find_suppressed(
    decider: Decider, database_url: str, policy: str, seed: int
) -> None:
    await policies.activate(decider.database, policy, author="test")
    world = World(database_url, PLAN, START_US)
    topics = ("news", "offers") if "topics" in policy else ("anything",)
    life = Life(decider, world, seed, ("news", "offers"))
    for each in life.customers:
        world.enter(each, life.variants[each], ENTRY_US)
    world.settle()
    for each in life.customers:
        await decider.ask(AskCommand(each, f"m-{each}", Ask("email", "news")), Mode.RESERVE)
        await decider.settle(ConfirmCommand(each, f"m-{each}"))
    await life.live(END_US, 160, with_merges=True)
    await life.at(END_US - HOUR_US)
    expected: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for who in life.customers:
        variant = PLAIN["variants"][life.variants[who]]["name"]
        denied = {
            channel.value: [await is_suppressed(decider, who, channel.value, topic) for topic in topics]
            for channel in Channel
        }
        for channel in CHANNELS:
            expected[channel][variant] += not all(denied[channel])
        expected["all"][variant] += not any(all(each) for each in denied.values())
    await life.at(END_US)
    await life.live(END_US + 5 * DAY_US, 40, with_merges=False)
    await life.at(END_US + 5 * DAY_US)
    found = (await asyncio.to_thread(computed, world)).readout
    world.close()
    for channel in (*CHANNELS, "all"):
        arms = {each.variant: each.numerator for each in found.metric(f"reached_{channel}").arms}
        assert arms == expected[channel], channel
    reached = sum(expected["email"].values())
    assert 0 < reached < len(life.customers)
    assert sum(each.units for each in found.metric("reached_email").arms) == len(life.customers)


async def is_suppressed(decider: Decider, who: str, channel: str, topic: str) -> bool:
    answer = await decider.ask(AskCommand(who, None, Ask(channel, topic)), Mode.PEEK)
    return any(each.code is Code.SUPPRESSED for each in answer.reasons)
