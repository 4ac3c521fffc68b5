"""How long one decision and one account row take, in microseconds: `python bench/decide_bench.py`.

A policy of six budgets, five of which select the ask, a customer with ten contacts. The best of several rounds stands
for the machine left alone; on a shared one compare ratios of two runs, not the numbers.
"""

import timeit
from collections.abc import Callable

from engine.core.account import Account, Contact, Kind, Lease
from engine.core.account_row import Lexicon, decode, encode, restored
from engine.core.customer import Customer
from engine.core.decision import decide
from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    HoldBack,
    Per,
    Policy,
    QuietHours,
    Rolling,
    Selector,
    Topic,
)
from engine.core.quiet import QuietPeriod
from engine.core.rules import Rules
from engine.core.verdict import Ask, Verdict
from engine.core.windows import Calendar

NOW_US = 1_792_584_000_000_000  # 2026-10-21 12:00 UTC
ROUNDS, LOOPS = 15, 2_000

PUSH, EMAIL = Selector(channels=frozenset({"push"})), Selector(channels=frozenset({"email"}))
RULES = Rules(
    1,
    Policy(
        topics={"promotions": Topic(), "news": Topic()},
        budgets=(
            Budget("email-weekly", Rolling(7 * DAY_US, 30 * MINUTE_US), 4, EMAIL),
            Budget("push-weekly", Rolling(7 * DAY_US, 30 * MINUTE_US), 2, PUSH),
            Budget("any-daily", CalendarWindow(Calendar.DAY), 3, hold_back=HoldBack(1, 70)),
            Budget("any-monthly", Rolling(30 * DAY_US), 20, weights={"phone": 3}),
            Budget("same-campaign", Rolling(30 * DAY_US), 1, per=Per.CAMPAIGN),
            Budget("spacing", Rolling(16 * HOUR_US), 1, EMAIL, is_gap=True),
        ),
        quiet_hours=(QuietHours(QuietPeriod(21 * 60, 8 * 60, None)),),
        unknown_timezone="Europe/Berlin",
    ),
)
CUSTOMER = Customer("Europe/Vienna")
CONTACTS = [
    Contact(
        seq=n,
        start_us=NOW_US - (25 - 2 * n) * DAY_US,
        end_us=NOW_US - (25 - 2 * n) * DAY_US + MINUTE_US,
        labels=(
            ("email", "push", "sms")[n % 3],
            ("promotions", "news")[n % 2],
            f"campaign-{n}",
            ("growth", "editors")[n % 2],
        ),
        weight=1,
        priority=50,
        lease=Lease.SETTLED,
        kind=Kind.ASKED,
        counts=True,
    )
    for n in range(1, 11)
]
ALLOWED = Ask("email", "promotions", "autumn", "growth")
REFUSED = Ask("email", "promotions", CONTACTS[4].campaign, "growth")
LABELS = sorted({label for each in CONTACTS for label in each.labels if label})
NUMBERS: dict[str | None, int] = {None: 0, **{label: 1 + n for n, label in enumerate(LABELS)}}
NAMES: dict[int, str] = {number: label for label, number in NUMBERS.items()}  # type: ignore[misc]
WORDS = Lexicon(NUMBERS.__getitem__, NAMES.__getitem__)


def microseconds(work: Callable[[], object]) -> float:
    """The time of one call, in the round least disturbed."""
    return min(timeit.repeat(work, number=LOOPS, repeat=ROUNDS)) / LOOPS * 1e6


def main() -> None:
    account = Account(contacts=CONTACTS)
    row = encode(account, WORDS)
    assert decode(row, WORDS)[0] == CONTACTS
    assert decide(RULES, CUSTOMER, account, ALLOWED, NOW_US).verdict is Verdict.ALLOW
    assert decide(RULES, CUSTOMER, account, REFUSED, NOW_US).verdict is Verdict.DEFER

    def add_one() -> None:
        read = restored(1, NOW_US, 0, row, WORDS)
        read.add(CONTACTS[0])
        encode(read, WORDS)

    for name, work in (
        ("decide, allowed", lambda: decide(RULES, CUSTOMER, account, ALLOWED, NOW_US)),
        ("decide, refused", lambda: decide(RULES, CUSTOMER, account, REFUSED, NOW_US)),
        ("encode ten contacts", lambda: encode(account, WORDS)),
        ("read, add one and encode", add_one),
        ("decode ten contacts", lambda: decode(row, WORDS)),
    ):
        print(f"{name:<22}{microseconds(work):8.1f} us")


if __name__ == "__main__":
    main()
