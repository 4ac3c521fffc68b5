"""Policies, customers, contacts and asks at random: a small world in which rules often collide.

Few labels, few lengths, instants on a grid of hours around days on which clocks change: values of full range would
hardly ever meet at an edge, and edges are where the mistakes are. All is drawn from a `Random`: Hypothesis hands one
in where a failure should shrink (`cases`), and a seeded one is a hundred times as fast where thousands are wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from engine.core import outcomes
from engine.core.account import Contact, Kind, Lease
from engine.core.customer import Customer, Preference
from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    CasePause,
    Ceiling,
    Condition,
    ConsentRule,
    HoldBack,
    Lifetime,
    OnExpiry,
    Operator,
    Override,
    Per,
    Policy,
    PolicyMode,
    QuietHours,
    Rolling,
    Scalar,
    Selector,
    Topic,
    WhenExceeded,
    Window,
)
from engine.core.quiet import QuietPeriod
from engine.core.rules import Pause, Rules
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask
from engine.core.windows import Calendar
from tests.core.oracle import Case

T = TypeVar("T")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


ZONES = ("Europe/Berlin", "America/Havana", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham")
# Before a change of clocks: Berlin back and forward, Cairo without a midnight, Havana, Lord Howe by half an hour.
NOONS_US = tuple(
    us(day)
    for day in ("2026-10-24 12:00", "2026-03-28 12:00", "2026-04-23 12:00", "2026-03-07 12:00", "2026-10-03 03:00")
)
CHANNELS, TOPICS = ("email", "push"), ("promotions", "news", "receipts")
CAMPAIGNS, TEAMS = ("autumn", "winter"), ("growth", "editors")
LENGTHS_US = (HOUR_US, 16 * HOUR_US, DAY_US, 3 * DAY_US, 7 * DAY_US)
LEASES_US = (MINUTE_US, 5 * MINUTE_US, 2 * HOUR_US, DAY_US)
PRIORITIES = (0, 50, 69, 70, 100)


def case(random: Random) -> tuple[Case, int]:
    """All that a decision depends on, and an instant for it."""
    noon_us = random.choice(NOONS_US)
    now_us = near(random, noon_us, 1)
    held = tuple(contact(random, noon_us, now_us, seq) for seq in range(1, random.randint(1, 9)))
    totals = {(random.choice(CHANNELS), random.choice(TOPICS)): 1} if one_in(random, 4) else {}
    variants: Mapping[int, int] = random.choice(({}, {1: 1}, {1: 0, 2: 1}))
    return Case(rules(random, noon_us), customer(random, noon_us), held, ask(random, now_us), totals, variants), now_us


cases = st.randoms(use_true_random=False).map(case)


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - the same every time, and no secret


def one_in(random: Random, times: int) -> bool:
    return random.randrange(times) == times - 1  # the last: Hypothesis shrinks towards 0


def some(random: Random, values: Sequence[str]) -> frozenset[str] | None:
    return frozenset(random.choices(values, k=2)) if one_in(random, 4) else None


def near(random: Random, noon_us: int, days: int) -> int:
    """An instant within so many days of a noon: a whole hour, or seldom a minute or a microsecond beside it."""
    beside = random.choice((0, 0, 0, 0, 1, -1, MINUTE_US, 30 * MINUTE_US))
    return noon_us + random.randint(-24 * days, 24 * days) * HOUR_US + beside


def selector(random: Random) -> Selector:
    return Selector(some(random, CHANNELS), some(random, TOPICS), some(random, CAMPAIGNS), some(random, TEAMS))


def broad(random: Random) -> Selector:
    return Selector(some(random, CHANNELS), some(random, TOPICS))


def condition(random: Random) -> Condition:
    comparison = random.choice([each for each in Operator if each is not Operator.IN])
    match random.randrange(4):
        case 0:
            return Condition("age_days", comparison, random.choice((0, 1, 2, 2.5, 30)))
        case 1:
            return Condition("age_days", Operator.IN, frozenset(random.choices((0, 1, 2, 3), k=2)))
        case 2:
            return Condition("lifecycle", comparison, random.choice(("new", "old")))
        case _:
            return Condition("vip", random.choice((Operator.EQ, Operator.NE)), random.choice((True, 1, 0)))


def when(random: Random) -> tuple[Condition, ...]:
    return tuple(condition(random) for _ in range(random.randint(1, 2)))


def limit(random: Random) -> int | None:
    return random.choice((1, 1, 2, 2, 2, 3, 3, 4, 0, None))


def window(random: Random) -> Window:
    match random.randrange(8):
        case 0 | 1:
            return CalendarWindow(random.choice(tuple(Calendar)))
        case 2:
            return Lifetime()
        case _:
            return Rolling(random.choice(LENGTHS_US), 30 * MINUTE_US if one_in(random, 4) else 0)


def budget(random: Random, name: str) -> Budget:
    exceeded = WhenExceeded.DENY if one_in(random, 3) else WhenExceeded.DEFER
    per = random.choice(tuple(Per)) if one_in(random, 4) else None
    drawn = Budget(
        name, Rolling(1), 1, selector(random), per, when_exceeded=exceeded, shadow=one_in(random, 5), is_gap=True
    )
    if one_in(random, 4):
        return replace(drawn, window=Rolling(random.choice(LENGTHS_US[:3])))
    drawn = replace(
        drawn,
        window=window(random),
        limit=limit(random),
        weights={"push": 2} if one_in(random, 4) else {},
        overrides=tuple(Override(when(random), limit(random)) for _ in range(random.randint(1, 2)))
        if one_in(random, 3)
        else (),
        hold_back=HoldBack(1, 70) if one_in(random, 4) else None,
        is_gap=False,
    )
    if drawn.window == Lifetime():  # selects by channels and topics alone
        return replace(drawn, selector=broad(random), limit=random.randint(3, 8), per=None, hold_back=None)
    return drawn


def plain_topic(random: Random) -> Topic:
    consent = random.choice(tuple(ConsentRule)) if one_in(random, 8) else ConsentRule.OPT_OUT
    return Topic(consent=consent, counts=not one_in(random, 6))


def exempt_topic(random: Random) -> Topic:
    drawn = window(random)
    while drawn == Lifetime():
        drawn = window(random)
    ceiling = None if one_in(random, 3) else Ceiling(random.randint(0, 3), drawn)
    return Topic(exempt=True, counts=one_in(random, 2), ceiling=ceiling)


def topics(random: Random) -> dict[str, Topic]:
    match random.randrange(4):
        case 0 | 1:
            return {}
        case 2:
            return {"promotions": plain_topic(random), "news": plain_topic(random), "receipts": exempt_topic(random)}
        case _:
            return {"promotions": plain_topic(random), "receipts": exempt_topic(random)}


def quiet_hours(random: Random) -> QuietHours:
    from_min, to_min = random.sample((0, 8 * 60, 9 * 60 + 30, 21 * 60, 23 * 60), 2)
    days = frozenset(random.choices(range(1, 8), k=3)) if one_in(random, 3) else None
    return QuietHours(QuietPeriod(from_min, to_min, days), broad(random), when(random) if one_in(random, 2) else ())


def policy(random: Random) -> Policy:
    names = ("one", "two", "three", "four")[: random.randint(1, 4)]
    return Policy(
        topics=topics(random),
        budgets=tuple(budget(random, name) for name in names),
        unknown_timezone=None if one_in(random, 6) else "Europe/Berlin",
        channels={"email": random.choice(tuple(ConsentRule))} if one_in(random, 8) else {},
        quiet_hours=tuple(quiet_hours(random) for _ in range(random.randint(1, 2))) if one_in(random, 2) else (),
        pauses=(CasePause("case_opened", "case_closed", 14 * DAY_US, broad(random)),) if one_in(random, 4) else (),
        mode=PolicyMode.OBSERVE if one_in(random, 6) else PolicyMode.ENFORCE,
        lease_us=random.choice(LEASES_US),
        max_lease_us=DAY_US,
        on_expiry=random.choice(tuple(OnExpiry)),
    )


def pause(random: Random, noon_us: int) -> Pause:
    until_us = None if one_in(random, 8) else near(random, noon_us, 3)
    return Pause("stop", broad(random), near(random, noon_us, 3), until_us, one_in(random, 2))


def rules(random: Random, noon_us: int) -> Rules:
    drawn = policy(random)
    pauses = tuple(pause(random, noon_us) for _ in range(random.randint(1, 2))) if one_in(random, 4) else ()
    patched = drawn.budgets[0]
    if patched.is_gap or not one_in(random, 4):
        return Rules(1, drawn, pauses)
    changed = replace(patched, limit=limit(random), overrides=())
    return Rules(1, drawn, pauses, {1: {1: (changed,), 0: ()}})


def scope(random: Random) -> Scope:
    return Scope(random.choice((None, *CHANNELS)), random.choice((None, *TOPICS)))


def suppression(random: Random, noon_us: int) -> Suppression:
    reason = random.choice(tuple(SuppressionReason))
    return Suppression(scope(random), reason, near(random, noon_us, 3), random.choice("ab"), one_in(random, 2))


def consent(random: Random, noon_us: int) -> Consent:
    return Consent(scope(random), not one_in(random, 3), near(random, noon_us, 1), "test")


def preference(random: Random) -> Preference:
    chosen = random.choice((None, 0, 1, 1, 2, 3))
    by_weight = one_in(random, 4)
    if one_in(random, 2):
        return Preference(random.choice(CHANNELS), None, chosen, by_weight)
    return Preference(None, random.choice(TOPICS), chosen, by_weight)


def customer(random: Random, noon_us: int) -> Customer:
    attributes: dict[str, Scalar] = {}
    if one_in(random, 2):
        attributes["lifecycle"] = random.choice(("new", "old", 1))
    if one_in(random, 2):
        attributes["vip"] = random.choice((True, False, 1))
    if one_in(random, 3):
        attributes["existing_customer"] = random.choice((True, False, 1))
    return Customer(
        time_zone=None if one_in(random, 5) else random.choice(ZONES),
        attributes=attributes,
        outcomes=_outcomes(random, noon_us),
        consents=tuple(consent(random, noon_us) for _ in range(random.randint(1, 3))) if one_in(random, 5) else (),
        suppressions=tuple(suppression(random, noon_us) for _ in range(2)) if one_in(random, 8) else (),
        preferences=tuple(preference(random) for _ in range(random.randint(1, 2))) if one_in(random, 4) else (),
    )


def _outcomes(random: Random, noon_us: int) -> outcomes.Outcomes:
    seen = {} if one_in(random, 3) else {"age_days": near(random, noon_us, 4)}
    opened = outcomes.Case("case_opened", "1", near(random, noon_us, 3), 0) if one_in(random, 4) else None
    return outcomes.Outcomes((opened,) if opened else (), seen)


def contact(random: Random, noon_us: int, now_us: int, seq: int) -> Contact:
    """A settled contact of the past (or one confirmed ahead of its time), or a lease: open, or ended lately."""
    lease = random.choice((Lease.SETTLED, Lease.SETTLED, Lease.RELEASES, Lease.PRESUMED))
    start_us = near(random, noon_us, 9 if lease is Lease.SETTLED else 2)
    end_us = start_us + random.choice((0, MINUTE_US, HOUR_US, DAY_US))
    if lease is Lease.SETTLED:
        kind, end_us = random.choice(tuple(Kind)), min(end_us, max(now_us, start_us))
    else:
        kind, end_us = Kind.ASKED, max(end_us, start_us + MINUTE_US)
    return Contact(
        seq,
        start_us,
        end_us,
        (
            random.choice(CHANNELS),
            random.choice(TOPICS),
            random.choice((None, *CAMPAIGNS)),
            random.choice((None, *TEAMS)),
        ),
        random.choice((1, 1, 1, 2)),
        random.choice(PRIORITIES),
        lease,
        kind,
        not one_in(random, 6),
        one_in(random, 6),
        random.choice((("*",), ("one",), ("one", "two"))) if one_in(random, 4) else (),
    )


def ask(random: Random, now_us: int) -> Ask:
    return Ask(
        random.choice(CHANNELS),
        random.choice(TOPICS),
        random.choice((None, *CAMPAIGNS)),
        random.choice((None, *TEAMS)),
        random.choice(PRIORITIES),
        random.choice((1, 1, 1, 2)),
        near(random, now_us, 3) if one_in(random, 3) else None,
        random.choice((None, *LEASES_US)),
        random.choice((None, *OnExpiry)),
        not one_in(random, 5),
    )
