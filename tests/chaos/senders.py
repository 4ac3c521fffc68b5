"""The senders: a process of its own that asks, sends, confirms, releases, falls silent and plans.

Senders are honest: they send only what was answered `reserved`, only within the lease that the answer names, and then
confirm; those who will not confirm say so when they ask (`presume_sent`). Each does everything from a seed, so that two
runs differ in timing alone. Some senders' clocks are a day wrong; nobody's promise may depend on them.
"""

import asyncio
import itertools
import random
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.chaos.caller import Caller, GaveUp, Reply
from tests.chaos.evidence import EPOCH, us_of
from tests.chaos.policy import SECOND_US
from tests.chaos.provider import Provider
from tests.chaos.records import host_us

DAY_US = 86_400 * SECOND_US
SKEWS_US = (0, 0, 0, DAY_US, -DAY_US)
CHANNELS = ("email", "push", "sms", "in_app")
CAMPAIGNS = ("spring", "autumn")
DRAIN_US = 90 * SECOND_US


@dataclass(frozen=True)
class Config:
    """What a workload is told, as JSON on its command line."""

    folder: str
    prefix: str
    seed: int
    seconds: float
    ports: list[int]
    key: str
    customers: int
    senders: int
    asks_per_s: float


@dataclass(frozen=True)
class Draft:
    """A message before it was asked for."""

    customer: str
    message: str
    channel: str
    topic: str
    campaign: str
    lease_s: int
    on_expiry: str | None = "release"
    send_at_us: int | None = None

    def body(self) -> dict[str, Any]:
        given = {
            "customer_id": self.customer,
            "message_id": self.message,
            "channel": self.channel,
            "topic": self.topic,
            "campaign": self.campaign,
            "lease_s": self.lease_s,
        }
        if self.on_expiry is not None:
            given["on_expiry"] = self.on_expiry
        if self.send_at_us is not None:
            given["send_at"] = text_of(self.send_at_us)
        return given


@dataclass(frozen=True)
class Grant:
    """A permission to send, between two instants on the sender's stopwatch, whatever its clock says."""

    draft: Draft
    attempt: int
    not_before_us: int
    not_after_us: int


class Town:
    """What all senders share: customers, a few of them hot, and the topic each is written to at present."""

    def __init__(self, config: Config) -> None:
        self.customers = [f"c{number:03}" for number in range(config.customers)]
        self.heat = [1 / (number + 1) for number in range(config.customers)]
        self._prefix = config.prefix
        self._topics: Counter[str] = Counter()
        self._messages = itertools.count()
        self._newcomers = itertools.count(config.customers)

    def draft(self, rng: random.Random, customer: str | None = None) -> Draft:
        chosen = customer or rng.choices(self.customers, self.heat)[0]
        message = f"{self._prefix}-m{next(self._messages)}"
        return Draft(
            chosen, message, rng.choice(CHANNELS), self.topic(chosen), rng.choice(CAMPAIGNS), rng.randint(1, 4)
        )

    def topic(self, customer: str) -> str:
        return f"{self._prefix}-news-{self._topics[customer]}"

    def forget(self, customer: str) -> None:
        """Whose time stands still, because a clock ran ahead of it, has a newcomer written to instead."""
        if customer in self.customers:
            self.customers[self.customers.index(customer)] = f"c{next(self._newcomers):03}"

    def turn_over(self, customer: str) -> None:
        """Whoever unsubscribed from a topic is written to about the next."""
        self._topics[customer] += 1


class Sender:
    """One marketing system."""

    def __init__(self, number: int, config: Config, town: Town, until_us: int) -> None:
        self.rng = random.Random(f"{config.seed}/{config.prefix}/{number}")  # noqa: S311  a workload, no secret
        name = f"{config.prefix}-s{number}"
        log = Path(config.folder, f"client-{name}.jsonl")
        self.caller = Caller(log, config.ports, config.key, name, self.rng, until_us + DRAIN_US)
        self.provider = Provider(Path(config.folder, f"provider-{name}.jsonl"))
        self.town = town
        self.skew_us = SKEWS_US[number % len(SKEWS_US)]
        self._ports = config.ports
        self._until_us = until_us
        self._pause_s = config.senders / config.asks_per_s

    async def run(self) -> None:
        deeds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self.send_and_confirm),
            (14, self.send_and_fall_silent),
            (10, self.release),
            (6, self.abandon),
            (12, self.plan),
            (6, self.confirm_late),
            (8, self.ask_twice_at_once),
            (6, self.confirm_and_release_at_once),
            (12, self.burst),
            (3, self.reuse_the_id),
            (10, self.plan_at_the_edge),
            (18, self.send_and_let_the_provider_tell),
            (4, self.tell_of_what_nobody_asked_for),
            (18, self.tell_what_a_customer_does),
        ]
        try:
            while host_us() < self._until_us:
                await asyncio.sleep(self.rng.expovariate(1 / self._pause_s))
                (_, deed) = self.rng.choices(deeds, [weight for weight, _ in deeds])[0]
                await deed()
        except GaveUp as gave_up:
            print(f"no definite answer: {gave_up}", file=sys.stderr)
        finally:
            await self.caller.close()

    # What senders do.

    async def send_and_confirm(self) -> None:
        await self._carry_out(await self.ask(self.town.draft(self.rng)))

    async def send_and_fall_silent(self) -> None:
        """Sends late in its lease and never says so, as it announced."""
        draft = replace(self.town.draft(self.rng), on_expiry="presume_sent", lease_s=self.rng.randint(2, 5))
        grant = await self.ask(draft)
        if grant is not None and await self._send(grant, self.rng.uniform(0.6, 0.95)) and self.rng.random() < 0.2:
            await self._until(grant.not_after_us + SECOND_US)
            await self.confirm(grant)  # after all

    async def release(self) -> None:
        grant = await self.ask(self.town.draft(self.rng))
        if grant is not None:
            await asyncio.sleep(self.rng.uniform(0, 2))
            await asyncio.gather(*[self.resolve("release", grant) for _ in range(self.rng.randint(1, 2))])

    async def abandon(self) -> None:
        """Reserves, sends nothing, says nothing."""
        await self.ask(self.town.draft(self.rng))

    async def plan(self) -> None:
        """Asks for a send some seconds ahead by its own clock, which may be a day wrong."""
        ahead_us = int(self.rng.uniform(0.5, 4) * SECOND_US)
        await self._plan_at(host_us() + self.skew_us + ahead_us, self.town.draft(self.rng))

    async def confirm_late(self) -> None:
        grant = await self.ask(replace(self.town.draft(self.rng), lease_s=1))
        if grant is not None and await self._send(grant, 0.3):
            await self._until(grant.not_after_us + self.rng.randint(SECOND_US // 10, 2 * SECOND_US))
            await self.confirm(grant)

    async def ask_twice_at_once(self) -> None:
        """One message, asked for by two requests at the same instant: one contact, one send."""
        draft = self.town.draft(self.rng, self.rng.choice(self.town.customers))
        grants = await asyncio.gather(*[self.ask(draft, port) for port in (self._ports * 2)[:2]])
        await self._carry_out(next((grant for grant in grants if grant is not None), None))

    async def confirm_and_release_at_once(self) -> None:
        grant = await self.ask(self.town.draft(self.rng))
        if grant is not None:
            await asyncio.gather(self.confirm(grant), self.resolve("release", grant))

    async def burst(self) -> None:
        """Several messages for one customer at the same instant, through all processes of the service."""
        customer = self.rng.choices(self.town.customers, self.town.heat)[0]
        drafts = [self.town.draft(self.rng, customer) for _ in range(4)]
        ports = itertools.cycle(self._ports)
        grants = await asyncio.gather(*[self.ask(draft, next(ports)) for draft in drafts])
        await asyncio.gather(*[self._carry_out(grant) for grant in grants])

    async def reuse_the_id(self) -> None:
        """Another message under an id that may be live: refused (422), or decided where the first is over."""
        draft = self.town.draft(self.rng)
        if await self.ask(draft) is not None:
            other = replace(draft, channel="letter")
            grant = await self.ask(other)
            if grant is not None:
                await self.resolve("release", grant)

    async def plan_at_the_edge(self) -> None:
        """Sends, then plans the next message for the very microsecond at which the min gap ends, or the one before."""
        draft = replace(self.town.draft(self.rng, self.rng.choice(self.town.customers)), channel="push")
        grant = await self.ask(draft)
        if grant is None or not await self._send(grant, 0.0):
            return
        reply = await self.confirm(grant)
        item = reply.body["results"][0]
        if item.get("state") == "confirmed":
            again = replace(self.town.draft(self.rng, draft.customer), channel="push")
            await self._plan_at(us_of(item["at"]) + SECOND_US - self.rng.randint(0, 1), again)

    async def send_and_let_the_provider_tell(self) -> None:
        """Sends and never confirms: events say so, in any order, more than once, in time or too late."""
        grant = await self.ask(self.town.draft(self.rng))
        if grant is not None and await self._send(grant, self.rng.uniform(0, 0.9)):
            about: dict[str, Any] = {
                "message_id": grant.draft.message,
                "channel": grant.draft.channel,
                "topic": grant.draft.topic,
            }
            kinds = self.rng.sample(["sent", "delivered", "opened", "clicked"], 3)
            await self.tell(*[event(kind, grant.draft.customer, **about) for kind in ["sent", *kinds]])

    async def tell_of_what_nobody_asked_for(self) -> None:
        """A message that was sent past Takt, some seconds ago."""
        draft = self.town.draft(self.rng)
        about: dict[str, Any] = {"message_id": draft.message, "channel": draft.channel, "campaign": draft.campaign}
        at_us = host_us() - self.rng.randint(0, 8 * SECOND_US)
        kinds = self.rng.sample(["sent", "delivered"], 2)
        await self.tell(*[event(kind, draft.customer, at_us, topic=draft.topic, **about) for kind in kinds])

    async def tell_what_a_customer_does(self) -> None:
        """Visits, purchases and answers of the last days: none of it forbids or permits a contact."""
        customer = self.rng.choice(self.town.customers)
        kinds = self.rng.choices(["session", "purchase", "survey", "rating", "download", "basket_left"], k=4)
        ago_us = [self.rng.randint(0, DAY_US // 2) * self.rng.choice((0, 1, 8)) for _ in kinds]
        about = [event(kind, customer, host_us() - ago, value=9) for kind, ago in zip(kinds, ago_us, strict=True)]
        await self.tell(*about)

    # How they do it.

    async def tell(self, *events: dict[str, Any]) -> None:
        """Bring events, at times all of them at once, at times one by one, backwards, and some a second time."""
        listed = list(events)
        if self.rng.random() < 0.5:
            again = self.rng.sample(listed, self.rng.randint(0, 1))
            await asyncio.gather(*[self._bring([each]) for each in [*reversed(listed), *again]])
        else:
            await asyncio.gather(*[self._bring(listed) for _ in range(self.rng.randint(1, 2))])

    async def _bring(self, events: list[dict[str, Any]]) -> None:
        await self.caller.request("event", "/v1/events", {"events": events})

    async def ask(self, draft: Draft, port: int | None = None) -> Grant | None:
        reply = await self.caller.request("ask", "/v1/decisions", draft.body(), port)
        if reply.status != 200:
            return None
        answer = reply.body
        if us_of(answer["decided_at"]) > host_us() + SECOND_US and self.rng.random() < 0.3:
            self.town.forget(draft.customer)
        if answer["verdict"] == "defer" and draft.send_at_us is None and self.rng.random() < 0.25:
            await self._plan_when_told(answer["retry_at"], draft)
        if answer["verdict"] != "allow" or answer["state"] != "reserved":
            return None
        return _grant(draft, reply)

    async def confirm(self, grant: Grant) -> Reply:
        return await self.resolve("confirm", grant)

    async def resolve(self, op: str, grant: Grant) -> Reply:
        draft = grant.draft
        contact = {"customer_id": draft.customer, "message_id": draft.message, "attempt": grant.attempt}
        return await self.caller.request(op, f"/v1/contacts/{op}", {"contacts": [contact]})

    async def _plan_when_told(self, retry_at: str | None, refused: Draft) -> None:
        """Ask for exactly the instant that the refusal named: the very edge of a window."""
        if retry_at is not None and us_of(retry_at) < host_us() + 5 * SECOND_US:
            again = self.town.draft(self.rng, refused.customer)
            same = replace(again, channel=refused.channel, campaign=refused.campaign)
            await self._plan_at(us_of(retry_at), same)

    async def _plan_at(self, send_at_us: int, draft: Draft) -> None:
        grant = await self.ask(replace(draft, on_expiry=None, send_at_us=send_at_us, lease_s=self.rng.randint(2, 3)))
        if grant is None:
            return
        is_tomorrow = grant.not_before_us > host_us() + 20 * SECOND_US  # by Takt's clock
        if is_tomorrow or self.rng.random() < 0.2:
            await self.resolve("release", grant)
        elif await self._send(grant, self.rng.uniform(0.1, 0.9)) and self.rng.random() < 0.6:
            await self.confirm(grant)

    async def _carry_out(self, grant: Grant | None) -> None:
        """Send at some time within the lease and confirm; what cannot be sent any more is released."""
        if grant is None:
            return
        if await self._send(grant, self.rng.uniform(0, 0.8)):
            await self.confirm(grant)
        else:
            await self.resolve("release", grant)

    async def _send(self, grant: Grant, part: float) -> bool:
        """Send at this part of the permitted time."""
        draft = grant.draft
        begin_us = max(grant.not_before_us, host_us())
        await self._until(begin_us + int(part * (grant.not_after_us - begin_us)))
        return await self.provider.send(
            draft.customer, draft.message, grant.attempt, draft.channel, draft.campaign, grant.not_after_us
        )

    @staticmethod
    async def _until(at_us: int) -> None:
        await asyncio.sleep(max(at_us - host_us(), 0) / SECOND_US)


def event(kind: str, customer: str, at_us: int | None = None, **about: Any) -> dict[str, Any]:
    """An event under an id of its own; with None for `at_us` it happens now."""
    at = text_of(host_us() if at_us is None else at_us)
    given = {name: value for name, value in about.items() if value is not None}
    return {"id": uuid.uuid4().hex, "source": "chaos", "type": kind, "customer_id": customer, "at": at, **given}


def _grant(draft: Draft, reply: Reply) -> Grant:
    """What an answer permits, reckoned from before the request went out: by no clock but the sender's stopwatch."""
    left_s = reply.body["lease_s"]
    wait_s = max(left_s + 1 - draft.lease_s, 0) if draft.send_at_us is not None else 0
    not_before_us = reply.got_us + wait_s * SECOND_US
    return Grant(draft, reply.body["attempt"], not_before_us, reply.asked_us + left_s * SECOND_US)


def text_of(at_us: int) -> str:
    return (EPOCH + timedelta(microseconds=at_us)).isoformat()
