"""Busy random histories, made through a real Decider: what a test of the journal has to tell again."""

import asyncio
import random
from typing import Any

from engine.core.customer import Preference
from engine.core.errors import Conflict, InvalidAsk, NotFound
from engine.core.events import Event, EventType, Flag
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, OnExpiry, Selector
from engine.core.rules import Pause
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask
from engine.operations import policies
from engine.operations.decide import AskCommand
from engine.operations.decider import Decider
from engine.operations.file import Lift, PutCustomer, PutPreferences, Suppress
from engine.operations.happened import HappenedCommand
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand
from tests.conftest import set_clock

TOPICS = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell, consent: existing_customer}
  survey: {purpose: ask, counts: false}
  orders: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 4, window: {rolling: 1d}}}
  incident: {purpose: serve, exempt: true}
"""
STRICT = (
    TOPICS
    + """
lease: 20m
budgets:
  - {name: push-weekly, channels: [push], topics: [promotions], limit: 2, window: {rolling: 7d, tolerance: 30m}}
  - {name: day, limit: 3, window: {calendar: day}, weights: {phone: 2}, overrides: [{when: {tier: gold}, limit: 5}]}
  - {name: month, limit: 40, window: {calendar: month}, when_exceeded: deny}
  - {name: campaign, per: campaign, limit: 2, window: {rolling: 30d}}
  - {name: spacing, channels: [email], min_gap: 3h}
  - {name: kept, channels: [sms], limit: 5, window: {rolling: 7d}, hold_back: {keep: 2, for_priority: 70}}
  - {name: calls-ever, channels: [phone], limit: 12, window: lifetime}
  - {name: tighter, channels: [email], limit: 1, window: {rolling: 3d}, shadow: true}
quiet_hours:
  - {channels: [push, sms], from: "21:00", to: "08:00"}
pauses:
  - {from: case_opened, until: case_closed, at_most: 14d, topics: [promotions]}
  - {from: moved_out, until: moved_in, at_most: 3d}
soft_bounces: {suppress_after: 3, within: 30d}
"""
)
LENIENT = (
    TOPICS
    + """
lease: 2h
on_expiry: presume_sent
max_lease: 30h
budgets:
  - {name: much, limit: 400, window: {rolling: 45d}}
  - {name: email-long, channels: [email], limit: 30, window: {rolling: 20d}}
  - {name: sms-shadow, channels: [sms], limit: 3, window: {rolling: 40d}, shadow: true}
  - {name: calls-ever, channels: [phone], limit: 60, window: lifetime}
"""
)
OBSERVING = STRICT.replace("schema: 1", "schema: 1\nmode: observe").replace(
    "  - {name: calls-ever, channels: [phone], limit: 12, window: lifetime}\n", ""
)
POLICIES = (STRICT, LENIENT, OBSERVING)
CHANNELS = ("email", "push", "sms", "phone", "in_app")
TOPIC_NAMES = ("promotions", "promotions", "promotions", "newsletter", "survey", "orders", "incident", "undeclared")
ZONES = (None, "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Apia")
JUMPS_US = (MINUTE_US, 30 * MINUTE_US, 3 * HOUR_US, 9 * HOUR_US, DAY_US, 4 * DAY_US, 12 * DAY_US)


class History:
    """Random commands of a few customers, and a clock that jumps between them, mostly forwards."""

    def __init__(self, decider: Decider, url: str, seed: int, customers: int = 5) -> None:
        self.decider = decider
        self.random = random.Random(seed)  # noqa: S311 - a history must be repeatable, not secret
        self.customers = [f"customer-{number}" for number in range(customers)]
        self.answered = 0
        self._url = url
        self._offset_us = 0
        self._pauses: list[str] = []

    async def busy(self, steps: int, at_once: int) -> None:
        """Some steps of many commands at once, with changes of the rules and the clock between."""
        for _ in range(steps):
            now_us = await self.decider.database.clock_us()
            await self.settle([self.command(now_us) for _ in range(self.random.randint(1, at_once))])
            self.jump(self.random.choice(JUMPS_US) * self.random.choice((1, 1, 1, 1, -1)))
            if self.random.random() < 0.2:
                await policies.activate(self.decider.database, self.random.choice(POLICIES), author="test")
            if self.random.random() < 0.1:
                await self._pause(now_us)

    async def heavy(self, customer_id: str, contacts: int) -> None:
        """More contacts within the windows than an account row holds."""
        await policies.activate(self.decider.database, LENIENT, author="test")
        for number in range(contacts):
            channel, id_ = self.random.choice(CHANNELS), f"heavy-{number}"
            await self.settle([AskCommand(customer_id, id_, Ask(channel, "promotions", f"c{number % 7}"))])
            await self.settle([self.random.choice((ConfirmCommand, ReleaseCommand, ConfirmCommand))(customer_id, id_)])
            self.jump(self.random.choice((MINUTE_US, HOUR_US, 4 * HOUR_US)))

    async def settle(self, commands: list[Any]) -> list[object]:
        """All at once, so that they share transactions."""
        answers = await asyncio.gather(*(self.decider.settle(each) for each in commands), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NotFound | Conflict | InvalidAsk):
                raise answer
        self.answered += len(answers)
        return list(answers)

    def jump(self, by_us: int) -> None:
        self._offset_us += by_us
        set_clock(self._url, self._offset_us)

    def command(self, now_us: int) -> Any:
        choose = self.random.choice
        customer_id = choose(self.customers)
        message_id = f"m{self.random.randrange(60)}"
        attempt = choose((None, None, None, 1, 2))
        kind = self.random.random()
        if kind < 0.5:
            return AskCommand(customer_id, message_id, self.ask(now_us, reserves=True), choose((None, "crm")))
        if kind < 0.55:
            return AskCommand(customer_id, choose((None, message_id)), self.ask(now_us, reserves=False))
        if kind < 0.72:
            return ConfirmCommand(customer_id, message_id, attempt)
        if kind < 0.8:
            return ReleaseCommand(customer_id, message_id, attempt)
        if kind < 0.87:
            at_us = now_us - choose((0, 0, HOUR_US, 3 * DAY_US, 60 * DAY_US, -DAY_US))
            weight = self.random.randint(1, 2)
            return RecordCommand(customer_id, message_id, choose(CHANNELS), choose(TOPIC_NAMES), at_us, weight=weight)
        if kind < 0.94:
            return self.filing(customer_id, now_us)
        return self.telling(customer_id, now_us)

    def telling(self, customer_id: str, now_us: int) -> HappenedCommand:
        """Events of all types, of the past weeks or of what the sender takes for tomorrow."""
        choose = self.random.choice
        events = [
            Event(
                customer_id,
                choose(("provider", "app")),
                f"e{self.random.randrange(400)}",
                choose((*EventType, *EventType, "sent", "delivered", "moved_out", "moved_in")),
                now_us - choose((0, 0, HOUR_US, 3 * DAY_US, 60 * DAY_US, 500 * DAY_US, -DAY_US)),
                choose((None, *CHANNELS, *CHANNELS)),
                choose((None, None, "promotions", "orders")),
                message_id=choose((None, f"m{self.random.randrange(120)}")),
                value=choose((None, 0.0, 9.0)),
                flags=choose((0, Flag.HARD, Flag.SOFT)),
                digest=choose((None, "a" * 32, "b" * 32)),
                properties=choose(({}, {"given": False}, {"scope": "topic"}, {"scope": "all"}, {"case": 1})),
            )
            for _ in range(self.random.randint(1, 4))
        ]
        return HappenedCommand(customer_id, tuple(events))

    def ask(self, now_us: int, *, reserves: bool) -> Ask:
        choose = self.random.choice
        return Ask(
            choose(CHANNELS),
            choose(TOPIC_NAMES),
            choose((None, "spring", "autumn")),
            choose((None, "growth", "care")),
            priority=choose((10, 50, 80)),
            weight=choose((1, 1, 1, 2)),
            send_at_us=choose((None, None, None, now_us - HOUR_US, now_us + 5 * HOUR_US, now_us + 13 * DAY_US)),
            lease_us=choose((None, None, MINUTE_US, 20 * HOUR_US)),
            on_expiry=choose((None, OnExpiry.RELEASE, OnExpiry.PRESUME_SENT)),
            reserves=reserves,
        )

    def filing(self, customer_id: str, now_us: int) -> Any:
        choose = self.random.choice
        scope = Scope(choose((None, *CHANNELS)), choose((None, "promotions", "newsletter", "orders")))
        kind = self.random.random()
        if kind < 0.15:
            reason = choose(list(SuppressionReason))
            return Suppress(
                customer_id, Suppression(scope, reason, now_us - choose((0, DAY_US)), "test", choose((True, False)))
            )
        if kind < 0.5:
            return Lift(customer_id, scope)
        if kind < 0.7:
            choices = (
                Preference("email", None, 3),
                Preference("push", None, None),
                Preference(None, "promotions", 4),
                Preference("sms", None, 3, by_weight=choose((True, False))),  # as journals of before have it, or now
            )
            return PutPreferences(customer_id, tuple(self.random.sample(choices, self.random.randint(0, 2))))
        attributes = choose(({}, {"tier": "gold"}, {"existing_customer": True, "score": 0.5}))
        consents = choose(((), (Consent(Scope("email", None), choose((True, False)), now_us, "form", "v1"),)))
        return PutCustomer(customer_id, time_zone=choose(ZONES), attributes=attributes, consents=consents)

    async def _pause(self, now_us: int) -> None:
        if self._pauses:
            await policies.lift_pause(self.decider.database, self._pauses.pop(), author="test")
            return
        channels = frozenset({self.random.choice(CHANNELS)})
        pause = Pause("stop", Selector(channels=channels), now_us, self.random.choice((None, now_us + 2 * DAY_US)))
        await policies.pause(self.decider.database, pause, author="test")
        self._pauses.append(pause.name)
