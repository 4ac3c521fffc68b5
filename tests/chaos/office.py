"""What changes while everybody asks: customers leave and come back, policies and experiments begin and end.

One choice of a customer about one scope follows another only once that was acknowledged, so that the judge knows which
was the last.
"""

import asyncio
import itertools
import random
import sys
from collections.abc import Awaitable
from dataclasses import replace
from urllib.parse import urlsplit

from tests.chaos.caller import GaveUp
from tests.chaos.policy import YAML, plan
from tests.chaos.records import host_us
from tests.chaos.senders import CHANNELS, DAY_US, SKEWS_US, Config, Draft, Sender, Town, event, text_of

DESKS = 3  # so many customers leave at the same time
ONE_CLICK = {"List-Unsubscribe": "One-Click"}  # RFC 8058


class Office:
    """Unsubscribes customers, puts policies in force, starts and stops experiments."""

    def __init__(self, config: Config, town: Town, until_us: int) -> None:
        self._sender = Sender(900_000, config, town, until_us)
        self._rng = random.Random(f"{config.seed}/{config.prefix}/office")  # noqa: S311  a workload, no secret
        self._prefix = config.prefix
        self._town = town
        self._until_us = until_us

    async def run(self) -> None:
        try:
            leaving = [self._leaving(each) for each in range(DESKS)]
            await asyncio.gather(*map(self._as_long_as_may_be, (*leaving, self._activating(), self._testing())))
        finally:
            await self._sender.caller.close()

    @staticmethod
    async def _as_long_as_may_be(work: Awaitable[None]) -> None:
        try:
            await work
        except GaveUp as gave_up:
            print(f"no definite answer: {gave_up}", file=sys.stderr)

    # Customers.

    async def _leaving(self, desk: int) -> None:
        """Of a desk's customers one after the other, the hottest most often."""
        sender, rng, town = self._sender, self._rng, self._town
        while host_us() < self._until_us:
            await asyncio.sleep(rng.expovariate(1))
            customer = rng.choices(town.customers[desk::DESKS], town.heat[desk::DESKS])[0]
            channel = rng.choice((None, None, *CHANNELS))
            *before, after, again = (self._draft(customer, channel) for _ in range(5))
            asked = [asyncio.create_task(sender.ask(draft)) for draft in before]
            left, may_come_back = await self._leave(replace(after, message=f"{after.message}-click"), channel)
            self._town.turn_over(customer)
            asked.append(asyncio.create_task(sender.ask(replace(after, channel=left or after.channel))))
            if may_come_back and rng.random() < 0.5:
                await asked[-1]
                await self._come_back(replace(again, channel=left or again.channel), left)
            for grant in await asyncio.gather(*asked):
                if grant is not None:
                    await sender.resolve("release", grant)

    def _draft(self, customer: str, channel: str | None) -> Draft:
        draft = self._town.draft(self._rng, customer)
        return replace(draft, channel=channel or draft.channel)

    async def _leave(self, draft: Draft, channel: str | None) -> tuple[str | None, bool]:
        """Unsubscribe from the draft's topic, in this channel or all, or in e-mail by one click where one is offered.

        Returns the channel, and whether a later re-subscribe is sure to be the last word: an event has an instant of
        its own, while a request to suppress that was given up may be carried out after everything else.
        """
        way = self._rng.choice(("page", "event", "click"))
        if way == "click":
            mail = replace(draft, channel="email")
            reply = await self._sender.caller.request("ask", "/v1/decisions", mail.body())
            headers = reply.body.get("headers")
            if headers:
                path = urlsplit(headers["List-Unsubscribe"].strip("<>")).path
                about = {"customer_id": draft.customer, "channel": "email", "topic": draft.topic}
                await self._sender.caller.request("click", path, about, form=ONE_CLICK)
                return "email", False
        if way == "page":
            await self._suppress(draft, channel, host_us() + self._rng.choice(SKEWS_US))
            return channel, False
        ago_us = self._rng.choice((0, 0, DAY_US))
        told = event("unsubscribed", draft.customer, host_us() - ago_us, channel=channel, topic=draft.topic)
        await self._sender.tell(told)
        return channel, True

    async def _suppress(self, draft: Draft, channel: str | None, at_us: int) -> None:
        body = {
            "customer_id": draft.customer,
            "topic": draft.topic,
            "reason": "unsubscribe",
            "source": "page",
            "at": text_of(at_us),
        }
        where = {} if channel is None else {"channel": channel}
        await self._sender.caller.request("suppress", "/v1/suppressions", body | where)

    async def _come_back(self, draft: Draft, channel: str | None) -> None:
        """Re-subscribe to the same, which permits again; and at times leave once more, which is final again."""
        sender = self._sender
        await sender.tell(event("resubscribed", draft.customer, channel=channel, topic=draft.topic))
        grant = await sender.ask(draft)
        if self._rng.random() < 0.7:
            if self._rng.random() < 0.3:
                await self._suppress(draft, channel, host_us() - DAY_US)
            else:
                await sender.tell(event("unsubscribed", draft.customer, channel=channel, topic=draft.topic))
            await sender.ask(replace(draft, message=f"{draft.message}-after"))
        if grant is not None:
            await sender.resolve("release", grant)

    # Rules.

    async def _activating(self) -> None:
        """The same rules under a new number: asks from then on must name it."""
        while host_us() < self._until_us:
            await asyncio.sleep(self._rng.uniform(2, 5))
            await self._sender.caller.request("activate", "/v1/policies", {"yaml": YAML, "note": "again"})

    async def _testing(self) -> None:
        """One experiment after the other on the same budget, each of a few seconds, with a pause between."""
        for number in itertools.count():
            await asyncio.sleep(self._rng.uniform(0.5, 2))
            if host_us() >= self._until_us:
                return
            key = f"{self._prefix}-x{number}"
            await self._sender.caller.request("create", "/v1/experiments", {"yaml": plan(key)})
            await self._step(key, "start")
            await asyncio.sleep(self._rng.uniform(2, 6))
            await self._step(key, "stop")

    async def _step(self, key: str, name: str) -> None:
        """The same step again, should its answer be lost, is no second one."""
        await self._sender.caller.request(name, f"/v1/experiments/{key}/{name}", {"request_id": name})
