"""Invariant 1 by simulation: while senders are honest, sends never exceed a limit, in any window.

An honest sender sends inside its lease or not at all; one whose lease releases its budget confirms before it ends. The
simulation keeps a log of what was really sent, and judges by that alone. A harness that cannot fail proves nothing:
the wrong ways to count that others fell for must each be caught.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest

from engine.core.account import Account, Contact, Kind, Lease
from engine.core.customer import Customer, Preference
from engine.core.decision import decide
from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    HoldBack,
    OnExpiry,
    Per,
    Policy,
    PolicyMode,
    QuietHours,
    Rolling,
    Selector,
    Topic,
)
from engine.core.quiet import QuietPeriod
from engine.core.rules import Rules
from engine.core.verdict import Ask, Verdict
from engine.core.windows import Calendar
from tests.core import clocks
from tests.core.strategies import NOONS_US, ZONES, dice

RUNS, DAYS = 300, 16
PUSH = Selector(channels=frozenset({"push"}))
BUDGETS = (
    Budget("push-daily", Rolling(DAY_US), 2, PUSH),
    Budget("any-three-days", Rolling(3 * DAY_US, 30 * MINUTE_US), 5, hold_back=HoldBack(2, 70), weights={"email": 2}),
    Budget("any-calendar-day", CalendarWindow(Calendar.DAY), 3),
    Budget("any-calendar-week", CalendarWindow(Calendar.WEEK), 9),
    Budget("same-campaign", Rolling(2 * DAY_US), 1, per=Per.CAMPAIGN),
    Budget("spacing", Rolling(4 * HOUR_US), 1, Selector(channels=frozenset({"email"})), is_gap=True),
)
QUIET = (QuietHours(QuietPeriod(23 * 60, 6 * 60, None), PUSH),)

Seen = Callable[[Contact], Contact]  # how a wrong decision sees a contact


@dataclass
class Sender:
    """What a sender will do with an allowed message: send, then say so, or neither."""

    sends_us: int | None
    confirms_us: int | None = None
    releases_us: int | None = None


@dataclass
class Run:
    """One customer over two weeks. `sent` is the provider's log: an instant, and what was asked."""

    random: Random
    seen: Seen = lambda contact: contact
    on_expiry: OnExpiry | None = None
    silent: bool = False
    observed_topics: tuple[str, ...] | None = None  # the policy only observes, and the customer chose a limit
    account: Account = field(default_factory=Account)
    sent: list[tuple[int, Ask]] = field(default_factory=list[tuple[int, Ask]])
    queue: list[tuple[int, int, Callable[[int], None]]] = field(
        default_factory=list[tuple[int, int, Callable[[int], None]]]
    )

    def play(self) -> "Run":
        self.number = count()
        self.customer = Customer(self.random.choice(ZONES))
        self.budgets = tuple(self.random.sample(BUDGETS, 3))  # so that each of them binds
        self.rules = Rules(1, Policy({}, self.budgets, None, quiet_hours=QUIET, max_lease_us=2 * DAY_US))
        if self.observed_topics is not None:
            topics = {each: Topic() for each in self.observed_topics}
            self.rules = Rules(1, replace(self.rules.policy, mode=PolicyMode.OBSERVE, topics=topics))
            self.customer = replace(self.customer, preferences=(Preference("push", None, 2),))
            self.budgets = (Budget("own:push", Rolling(7 * DAY_US), 2, PUSH),)
        begins_us = self.random.choice(NOONS_US) - 2 * DAY_US
        for _ in range(DAYS * 4):
            self.at(begins_us + self.random.randrange(DAYS * DAY_US), self.asks)
        while self.queue:
            now_us, _, happens = heappop(self.queue)
            happens(now_us)
        return self

    def at(self, instant_us: int, happens: Callable[[int], None]) -> None:
        heappush(self.queue, (instant_us, next(self.number), happens))

    def asks(self, now_us: int) -> None:
        ask = Ask(
            self.random.choice(("email", "push")),
            "news",
            self.random.choice((None, None, "autumn", "winter")),
            priority=self.random.choice((50, 70)),
            send_at_us=now_us + self.random.randrange(2 * DAY_US) if self.random.random() < 0.3 else None,
            lease_us=self.random.choice((MINUTE_US, HOUR_US, 10 * HOUR_US, DAY_US)),
            on_expiry=self.on_expiry or self.random.choice(tuple(OnExpiry)),
        )
        self.ask(ask, now_us)

    def ask(self, ask: Ask, now_us: int) -> None:
        account = Account(contacts=[self.seen(each) for each in self.account.contacts])
        decision = decide(self.rules, self.customer, account, ask, now_us)
        if decision.verdict is not Verdict.ALLOW:
            if decision.retry_at_us is not None and self.random.random() < 0.5:
                self.at(decision.retry_at_us, lambda then_us: self.ask(ask, then_us))  # as early as it may
            return
        seq = self.account.stamp(now_us)
        contact = decision.contact(ask, seq)
        self.account.add(contact)
        sender = self.sender(contact, now_us)
        if sender.sends_us is not None:
            self.at(sender.sends_us, lambda then_us: self.sent.append((then_us, ask)))
        if sender.confirms_us is not None:
            self.at(sender.confirms_us, lambda then_us: self.confirms(seq, then_us))
        if sender.releases_us is not None:
            self.at(sender.releases_us, lambda _: self.account.remove(seq))
        self.account.settle(now_us, self.rules.longest_us)

    def sender(self, contact: Contact, now_us: int) -> Sender:
        random, start_us, last_us = self.random, contact.start_us, contact.end_us - 1
        sends_us = random.choice((start_us, last_us, random.randint(start_us, last_us)))
        if self.silent or (contact.lease is Lease.PRESUMED and random.random() < 0.3):
            return Sender(sends_us)
        match random.randrange(6):
            case 0:
                return Sender(None)  # died before it sent
            case 1:
                return Sender(None, releases_us=random.randint(now_us, last_us))
            case 2 if now_us < start_us:
                return Sender(start_us, confirms_us=random.randint(now_us, start_us))  # handed on ahead of its time
            case _:
                return Sender(
                    sends_us, confirms_us=random.choice((sends_us, last_us, random.randint(sends_us, last_us)))
                )

    def confirms(self, seq: int, now_us: int) -> None:
        found = self.account.find(seq)
        if found is not None and found.lease is not Lease.SETTLED:
            self.account.replace(found.confirmed(now_us))

    def excesses(self) -> list[str]:
        """Every budget, and where its limit was exceeded by what was sent."""
        found: list[str] = []
        for budget in self.budgets:
            selected = [(at_us, ask) for at_us, ask in sorted(self.sent, key=lambda one: one[0]) if chosen(budget, ask)]
            kept_for = {ask.campaign for _, ask in selected} - {None} if budget.per else {None}
            for label in kept_for:
                mine = [(at, weight(budget, ask)) for at, ask in selected if label is None or ask.campaign == label]
                for begins_us, ends_us in windows(budget, self.customer, [at for at, _ in mine]):
                    total = sum(weight for at, weight in mine if begins_us <= at < ends_us)
                    if budget.limit is not None and total > budget.limit:
                        found.append(f"{budget.name}: {total} from {begins_us}")
        return found


def chosen(budget: Budget, ask: Ask) -> bool:
    return budget.selector.channels is None or ask.channel in budget.selector.channels


def weight(budget: Budget, ask: Ask) -> int:
    return 1 if budget.is_gap else budget.weights.get(ask.channel, 1)


def windows(budget: Budget, customer: Customer, sends_us: Sequence[int]) -> list[tuple[int, int]]:
    """Every window in which the sends could be too many: one begins at each of them."""
    window = budget.window
    if isinstance(window, CalendarWindow):
        zone = clocks.zoneinfo(customer.time_zone or "")
        return [clocks.periods(window, zone, at, at)[0] for at in sends_us]
    assert isinstance(window, Rolling)
    return [(at, at + window.length_us - window.tolerance_us) for at in sends_us]


def test_honest_senders_never_exceed_a_limit():
    sends = 0
    for seed in range(RUNS):
        run = Run(dice(seed)).play()
        assert run.excesses() == [], f"seed {seed}"
        sends += len(run.sent)
    assert sends > 15 * RUNS  # it is the limits that bind, and not the want of asks


def test_senders_who_never_confirm_keep_the_limits_when_they_say_so():
    for seed in range(60):
        run = Run(dice(seed), on_expiry=OnExpiry.PRESUME_SENT, silent=True).play()
        assert run.excesses() == [], f"seed {seed}"
        assert run.sent


@pytest.mark.parametrize("topics", [(), ("promotions",)])
def test_what_a_customer_chose_is_kept_where_the_policy_only_observes(topics: tuple[str, ...]):
    """Also by asks for a topic that the policy does not declare, which it lets pass."""
    pushes = others = 0
    for seed in range(40):
        run = Run(dice(seed), observed_topics=topics).play()
        assert run.excesses() == [], f"seed {seed}"
        pushes += sum(ask.channel == "push" for _, ask in run.sent)
        others += sum(ask.channel != "push" for _, ask in run.sent)
    assert pushes > 2 * 40
    assert others > 15 * 40  # which nothing binds


def from_the_reservation(contact: Contact) -> Contact:
    return contact._replace(end_us=contact.start_us, lease=Lease.SETTLED)


def presumed_at_the_answer(contact: Contact) -> Contact:
    return from_the_reservation(contact) if contact.lease is Lease.PRESUMED else contact


def one_microsecond_short(contact: Contact) -> Contact:
    return contact._replace(end_us=contact.end_us - 1)


def not_at_all(contact: Contact) -> Contact:
    return contact._replace(counts=False)


def late_start(contact: Contact) -> Contact:
    """Occupies nothing before the end of its lease: two asks for the same hour do not see each other."""
    return contact._replace(start_us=contact.end_us)


@pytest.mark.parametrize(
    "seen", [from_the_reservation, presumed_at_the_answer, one_microsecond_short, not_at_all, late_start]
)
def test_wrong_ways_to_count_are_caught(seen: Seen):
    caught = sum(bool(Run(dice(seed), seen=seen).play().excesses()) for seed in range(40))
    assert caught >= 4


def test_a_released_lease_of_a_sender_who_sent_in_silence_is_caught():
    caught = sum(bool(Run(dice(seed), on_expiry=OnExpiry.RELEASE, silent=True).play().excesses()) for seed in range(40))
    assert caught >= 20


def test_a_recorded_contact_counts_and_is_outside_the_promise():
    rules = Rules(1, Policy({}, (Budget("daily", Rolling(DAY_US), 1),), None))
    now_us = NOONS_US[0]
    recorded = Contact(1, now_us, now_us, ("push", "news", None, None), 1, 50, Lease.SETTLED, Kind.RECORDED, True)
    decision = decide(
        rules, Customer(), Account(contacts=[recorded, recorded._replace(seq=2)]), Ask("push", "news"), now_us
    )
    assert decision.verdict is Verdict.DEFER
    assert decision.budgets[0].used == 2
    assert decision.retry_at_us == now_us + DAY_US
