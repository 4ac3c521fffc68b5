"""Companies at random for readouts: rows of everything that may be, on the edges of windows too."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from engine.core.account import Kind, Lease
from engine.core.events import EventType, Flag
from engine.store.journal import Resolution
from tests.operations.readout_worlds import DAY_US, HOUR_US, START_US, World


def random_world(url: str, plan: dict[str, Any], seed: int, customers: int, now_us: int) -> World:
    """Customers of whom anything may be, at random instants before entry, after it, and on the edges of windows."""
    world, random_ = World(url, plan, now_us), random.Random(seed)  # noqa: S311 - a test's
    for number in range(customers):
        customer_id = f"c{number}"
        eligible_us: int | None = START_US + random_.randrange(35 * DAY_US)
        diverged_us = eligible_us + random_.randrange(5 * DAY_US) if random_.random() < 0.7 else None
        segments = {"tier": random_.choice(("gold", "new", 3, True, None))} if random_.random() < 0.9 else None
        flags = random_.choice((0,) * 12 + (1, 2))
        if diverged_us is None and random_.random() < 0.1:
            eligible_us = None  # assigned, and never asked about since
        variant = random_.randrange(len(plan["variants"]))
        zone = random_.choice(("Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", None))
        phase = random_.randrange(len(plan.get("phases", [0])))
        more = {"flags": flags, "segments": segments, "phase": phase, "time_zone": zone}
        world.enter(customer_id, variant, eligible_us, diverged_us, **more)
        _live(world, random_, customer_id, diverged_us or eligible_us or START_US, now_us)
    return world


def _live(world: World, random_: random.Random, customer_id: str, entered_us: int, now_us: int) -> None:
    def some(most: int) -> Iterable[int]:
        for _ in range(random_.randrange(most + 1)):
            edge = entered_us + random_.choice((0, 7, 14, 28, 29)) * DAY_US + random_.choice((-1, 0, 1))
            anywhere = entered_us + random_.randrange(-60 * DAY_US, 40 * DAY_US)
            near = entered_us + random_.randrange(2 * DAY_US)
            yield min(random_.choice((edge, anywhere, anywhere, near)), now_us + HOUR_US)

    for at_us in some(6):
        world.tell(customer_id, EventType.SESSION, at_us, value=30.0, properties={"pages": random_.randrange(9)})
    for at_us in some(2):
        value = random_.random() * 100
        margin = random_.choice((None, value / 3))
        world.tell(customer_id, EventType.PURCHASE, at_us, value=value, margin=margin)
    _trouble(world, random_, customer_id, some)
    for at_us in some(2):
        world.tell(customer_id, random_.choice(("sent", "delivered")), at_us, channel="email")
    for at_us in some(3):
        world.refuse(customer_id, random_.choice(("a", "b", "c")), at_us, random_.choice((1, 2, 3)))
    for at_us in some(6):
        _send(world, random_, customer_id, min(at_us, now_us - 1), now_us)
    if random_.random() < 0.3:
        burst_us = entered_us + random_.randrange(2 * DAY_US)
        for hours in (0, 8, 16, 22):
            _send(world, random_, customer_id, min(burst_us + hours * HOUR_US, now_us - 1), now_us)


def _trouble(world: World, random_: random.Random, customer_id: str, some: Callable[[int], Iterable[int]]) -> None:
    """What loses customers, and what brings them back; some of it by machines, some twice."""

    def flags() -> int:
        return random_.choice((0, 0, 0, Flag.SUSPECT_SAID, Flag.SUSPECT_SOON))

    for at_us in some(1):
        channel = random_.choice((None, "email", "push"))
        world.tell(customer_id, EventType.UNSUBSCRIBED, at_us, channel=channel, flags=flags())
    for at_us in some(3):
        kind = random_.choice((EventType.UNREACHABLE, EventType.REACHABLE))
        world.tell(customer_id, kind, at_us, channel=random_.choice((None, "email", "push")))
    for at_us in some(4):
        kind = random_.choice(
            (
                "complained",
                "complained",
                "bounced",
                "bounced",
                "opted_down",
                "resubscribed",
                "push_disabled",
                "push_enabled",
            )
        )
        hard = Flag.HARD if kind == "bounced" and random_.random() < 0.5 else 0
        told = flags() if kind in ("complained", "bounced") else 0
        world.tell(customer_id, kind, at_us, channel=random_.choice(("email", "push")), flags=told | hard)
    if random_.random() < 0.2:
        kind = random_.choice((EventType.BOUNCED, EventType.COMPLAINED))
        for at_us in sorted(each for _ in range(6) for each in some(2))[:4]:
            world.tell(customer_id, kind, at_us, channel="email")


def _send(world: World, random_: random.Random, customer_id: str, at_us: int, now_us: int) -> None:
    """A contact of any fate."""
    channel, later = random_.choice(("email", "push")), at_us + random_.randrange(6 * HOUR_US)
    end_us = at_us + 4 * HOUR_US
    match random_.randrange(9):
        case 0:
            world.contact(customer_id, channel, at_us, at_us, kind=Kind.RECORDED, sent_us=at_us)
        case 1:
            world.contact(customer_id, channel, at_us, at_us, kind=Kind.UNASKED, sent_us=at_us)
        case 2:
            became = [(Resolution.CONFIRMED, later)]
            world.contact(customer_id, channel, at_us, end_us, Lease.RELEASES, Kind.ASKED, became, sent_us=later)
        case 3:
            became = [(Resolution.RELEASED, at_us + 1), (Resolution.LATE, later)]
            world.contact(customer_id, channel, at_us, end_us, Lease.RELEASES, Kind.ASKED, became, sent_us=later)
        case 4:
            became = [(Resolution.MARKED, end_us)]
            world.contact(customer_id, channel, at_us, end_us, Lease.PRESUMED, Kind.ASKED, became, sent_us=end_us)
        case 5:
            sent_us = end_us if end_us < now_us else None
            world.contact(customer_id, channel, at_us, end_us, Lease.PRESUMED, Kind.ASKED, sent_us=sent_us)
        case 6:
            world.contact(customer_id, channel, at_us, end_us, Lease.RELEASES, Kind.ASKED)  # it expires
        case 7:
            became = [(Resolution.REVOKED, at_us + 1)]
            world.contact(customer_id, channel, at_us, end_us, Lease.PRESUMED, Kind.ASKED, became)
        case _:
            became = [(Resolution.RELEASED, at_us + 1)]
            world.contact(customer_id, channel, at_us, end_us, Lease.RELEASES, Kind.ASKED, became)
