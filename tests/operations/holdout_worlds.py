"""A company that shipped, as rows written straight into the tables; and what a readout of its holdout must say, counted
customer by customer in plain Python that shares nothing with the service: sides by hashlib, windows by subtraction.
"""

import hashlib
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from engine.core.account import Lease
from engine.core.policy_writer import policy_data
from engine.operations.policy_file import load_policy
from tests.conftest import set_clock
from tests.operations.readout_worlds import DAY_US, EPOCH, HOUR_US, START_US, SUSPECTED, Customer, World

SHIP_US = START_US + 60 * DAY_US + 5 * HOUR_US
SHARE = 0.3  # more than a ship leaves, so that few customers do
POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  receipts: {purpose: serve, exempt: true}
budgets:
  - {name: push-weekly, channels: [push], limit: 1, window: {rolling: 7d}}
  - {name: email-weekly, channels: [email], limit: 1, window: {rolling: 7d}}
"""
PLAN: dict[str, Any] = {
    "key": "pushes",
    "unit": "customer_id",
    "variants": [
        {"name": "one", "control": True, "dose": 1},
        {"name": "three", "dose": 3, "policy": {"budgets": {"push-weekly": {"limit": 3}}}},
    ],
    "start": "2026-10-05",
    "end": "2026-12-14",
    "horizon_days": 90,
    "metrics": [
        {"name": "bought_14", "kind": "rate", "event": "purchase", "within_days": 14, "role": "primary",
         "direction": "increase"},
        {"name": "bought_7", "kind": "rate", "event": "purchase", "within_days": 7, "role": "secondary",
         "direction": "increase"},
        {"name": "spend", "kind": "mean", "event": "purchase", "value": "value", "within_days": 28, "role": "secondary",
         "direction": "increase"},
        {"name": "back", "kind": "retention", "event": "session", "from_day": 7, "until_day": 14, "role": "secondary",
         "direction": "increase"},
        {"name": "left", "kind": "rate", "event": "unsubscribed", "within_days": 28, "role": "guardrail",
         "margin": 0.1, "direction": "decrease"},
        {"name": "pages", "kind": "mean", "event": "session", "value": "pages", "role": "descriptive",
         "direction": "increase"},
    ],
    "testers": {"staff": "three"},
}  # fmt: skip


class Shipped:
    """A world in which `three` was shipped at `SHIP_US`. `merged` and `erased` are of since then, by hand."""

    def __init__(self, url: str, now_us: int, plan: dict[str, Any] = PLAN, share: float = SHARE) -> None:
        self.world = World(url, plan, now_us)
        self.share = share
        self.merged: set[str] = set()
        self.erased: dict[str, bool] = {}
        connection = self.world.connection
        self.old, self.new = self._policy(), self._policy()
        self.ruleset(START_US - DAY_US, self.old)
        self.ruleset(SHIP_US + 1, self.new)
        connection.execute(
            "UPDATE experiments SET state = 'shipped', shipped = 'three', ended_us = %s WHERE number = %s",
            (SHIP_US, self.world.number),
        )
        self.holdout("pushes", SHIP_US, share, self.world.number)

    def it_is(self, days: float) -> None:
        """So many days after the ship, for everybody; what was written before is there."""
        self.world.settle()
        then_us = SHIP_US + int(days * DAY_US)
        set_clock(self.world.url, then_us - (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1))

    def _policy(self) -> int:
        found = self.world.connection.execute(
            "INSERT INTO policies (created_us, author, note, source, data) VALUES (0, '', '', '', %s)"
            " RETURNING version",
            (json.dumps(policy_data(load_policy(POLICY))),),
        ).fetchone()
        assert found
        return found[0]

    def ruleset(self, at_us: int, version: int) -> None:
        self.world.connection.execute(
            "INSERT INTO rulesets (number, activated_us, policy_version, tzdata_version, author, pauses)"
            " SELECT coalesce(max(number), 0) + 1, %s, %s, '', '', '[]' FROM rulesets",
            (at_us, version),
        )

    def holdout(self, name: str, from_us: int, share: float, experiment: int | None = None) -> None:
        self.world.connection.execute(
            "INSERT INTO holdouts (name, seed, share, policy_version, experiment, from_us, until_us)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (name, f"{name}:holdout", share, self.old, experiment, from_us, from_us + 365 * DAY_US),
        )

    def known(self, customer_id: str) -> Customer:
        """Somebody who is in no experiment."""
        return self.world.customers.setdefault(customer_id, Customer(0, None, None))

    def sent(self, customer_id: str, at_us: int, channel: str = "push", topic: str = "promotions") -> None:
        self.known(customer_id)
        self.world.contact(customer_id, channel, at_us, at_us, Lease.SETTLED, sent_us=at_us, topic=topic)


def is_held(customer_id: str, name: str = "pushes", share: float = SHARE) -> bool:
    """As docs/assignment.md says it of holdouts."""
    message = b"".join(
        b"%d:%b" % (len(each), each) for each in (b"holdout", f"{name}:holdout".encode(), _id(customer_id))
    )
    return int(hashlib.sha256(message).hexdigest()[:15], 16) < int(share * 1000) * 2**60 // 1000


def _id(customer_id: str) -> bytes:
    return customer_id.encode()


def side(shipped: Shipped, customer_id: str) -> str | None:
    """Which variant somebody is, in a readout; None for whom none is about."""
    found = shipped.world.customers[customer_id]
    held = shipped.erased.get(customer_id, is_held(customer_id, share=shipped.share))
    was_in = found.eligible_us is not None and found.eligible_us < SHIP_US
    reached = any(SHIP_US - 28 * DAY_US <= at_us < SHIP_US and channel == "push" for at_us, channel in found.sent)
    if not (was_in or reached) or customer_id in shipped.merged:
        return None
    return "holdout" if held else "three"


def is_treated(shipped: Shipped, customer_id: str) -> bool:
    """Whether somebody had lived under three pushes a week before everybody did, or is one of the staff."""
    found = shipped.world.customers[customer_id]
    differed = found.diverged_us is not None and found.diverged_us < SHIP_US
    return customer_id == "staff" or bool(found.flags) or (differed and found.variant == 1)


def counted(shipped: Shipped, metric: str, days: int) -> dict[str, tuple[float, int]]:
    """Of each side the sum of a metric over the first days since the ship, and how many customers."""
    found = {"holdout": (0.0, 0), "three": (0.0, 0)}
    for customer_id, customer in shipped.world.customers.items():
        name = side(shipped, customer_id)
        if name is None or is_treated(shipped, customer_id):
            continue
        total, count = found[name]
        found[name] = total + _of_one(customer, metric, days), count + 1
    return found


def _of_one(customer: Customer, metric: str, days: int) -> float:
    end_us = SHIP_US + days * DAY_US

    def trusted(kind: str, from_us: int = SHIP_US) -> list[dict[str, Any]]:
        told = [e for e in customer.events if e["type"] == kind and not e.get("flags", 0) & SUSPECTED]
        return sorted((e for e in told if from_us <= e["at_us"] < end_us), key=lambda each: each["at_us"])

    sent = sorted(at_us for at_us, _ in customer.sent if SHIP_US <= at_us < end_us)
    match metric:
        case "bought":
            return bool(trusted("purchase"))
        case "spend":
            return sum(each["value"] for each in trusted("purchase"))
        case "back":
            return bool(trusted("session", end_us - 7 * DAY_US))
        case "left":
            return bool(trusted("unsubscribed"))
        case "pages":
            return sum((each.get("properties") or {}).get("pages", 0) for each in trusted("session"))
        case "contacts":
            return len(sent)
        case "three_in_24h":
            return any(late - early < DAY_US for early, late in zip(sent, sent[2:], strict=False))
        case "active_weeks":
            return len({(each["at_us"] - SHIP_US) // (7 * DAY_US) for each in trusted("session")})
        case "complained_again":
            return len(trusted("complained")) > 1
        case "returned":
            sessions = [each["at_us"] for each in trusted("session", 0)]
            pairs = pairwise(sessions)
            return any(late - early >= 28 * DAY_US and late >= SHIP_US for early, late in pairs)
        case _:
            raise KeyError(metric)


def random_shipped(url: str, seed: int, customers: int, now_us: int) -> Shipped:
    """Customers of whom anything may be, at random instants and on the edges of windows."""
    shipped, random_ = Shipped(url, now_us), random.Random(seed)  # noqa: S311 - a test's
    for number in range(customers):
        customer_id = f"c{number}"
        if random_.random() < 0.5:
            eligible_us = random_.choice((START_US + random_.randrange(60 * DAY_US), SHIP_US - 1))
            diverged_us = eligible_us + random_.randrange(DAY_US) if random_.random() < 0.6 else None
            if diverged_us is not None and diverged_us >= SHIP_US:
                diverged_us = None
            flags = random_.choice((0,) * 9 + (2,))
            shipped.world.enter(customer_id, random_.randrange(2), eligible_us, diverged_us, flags=flags)
        shipped.known(customer_id)
        for at_us in _instants(random_, 6, now_us):
            shipped.sent(customer_id, at_us, random_.choice(("push", "email")))
        for kind, most in (("session", 8), ("purchase", 3), ("unsubscribed", 1), ("complained", 3)):
            for at_us in _instants(random_, most, now_us):
                flags = random_.choice((0, 0, 0, SUSPECTED)) if kind != "session" else 0
                more: dict[str, Any] = {"value": random_.random()} if kind == "purchase" else {}
                if kind == "session":
                    more = {"properties": {"pages": random_.randrange(9)}}
                shipped.world.tell(customer_id, kind, at_us, flags=flags, **more)
    return shipped


def _instants(random_: random.Random, most: int, now_us: int) -> Iterable[int]:
    for _ in range(random_.randrange(most + 1)):
        edge = SHIP_US + random_.choice((-28, 0, 7, 28, 83, 90)) * DAY_US + random_.choice((-1, 0, 1))
        near = SHIP_US + random_.randrange(2 * DAY_US)
        anywhere = random_.randrange(SHIP_US - 60 * DAY_US, SHIP_US + 100 * DAY_US)
        yield min(random_.choice((edge, near, anywhere, anywhere)), now_us - 1)
