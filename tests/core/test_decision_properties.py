"""decide() against the brute-force oracle, on a small world in which rules often collide.

Each property is checked on thousands of seeded cases, and by Hypothesis, which shrinks what fails.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from engine.core.account import Account, Contact, Lease
from engine.core.customer import Customer
from engine.core.decision import HORIZON_US, decide, needs_since_us
from engine.core.outcomes import Outcomes
from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    Lifetime,
    Policy,
    PolicyMode,
    Rolling,
    WhenExceeded,
)
from engine.core.rules import Rules
from engine.core.verdict import Ask, Code, Decision, Verdict
from engine.core.windows import Calendar
from tests.core import oracle
from tests.core.oracle import Case
from tests.core.strategies import case, cases, contact, dice, us

hypothesis_too = settings(
    max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # a whole policy is large, and slow to draw


def decided(case: Case, now_us: int) -> Decision:
    account = Account(contacts=list(case.contacts), totals=dict(case.totals))
    return decide(case.rules, case.customer, account, case.ask, now_us, case.variants)


def the_verdict_is_the_oracles(case: Case, now_us: int) -> None:
    refusals = oracle.refusals(case, now_us)
    binding = oracle.binding(case, now_us)
    enforced = [each for each in refusals if not each.is_shadow]
    decision = decided(case, now_us)
    assert (decision.verdict is Verdict.ALLOW) == (not binding)
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    said = [(each.code, each.rule) for each in decision.reasons]
    assert said == [(each.code, each.rule) for each in (enforced if observing else binding)]
    if observing:
        assert (decision.observed is Verdict.ALLOW) == (not enforced)
    else:
        assert decision.observed is None


def a_retry_is_the_first_instant_allowed(case: Case, now_us: int) -> None:
    decision = decided(case, now_us)
    retry_at_us = decision.retry_at_us
    if decision.verdict is Verdict.ALLOW:
        assert retry_at_us is None
        return
    until_us = now_us + HORIZON_US if retry_at_us is None else retry_at_us - 1
    if retry_at_us is None:
        assert decision.verdict is Verdict.DENY
    else:
        assert now_us < retry_at_us <= now_us + HORIZON_US
        assert oracle.allows(case, retry_at_us)
        assert decided(case, retry_at_us).verdict is Verdict.ALLOW
    for instant in looked_at(case, now_us, until_us):
        assert not oracle.allows(case, instant), instant
        assert decided(case, instant).verdict is not Verdict.ALLOW, instant


def looked_at(case: Case, now_us: int, until_us: int) -> set[int]:
    """The last instant before an answer; all boundaries of the first weeks, and some of a year that never allows."""
    boundaries = oracle.boundaries(case, now_us, until_us)
    soon = [each for each in boundaries if each < now_us + 16 * DAY_US]
    late = boundaries[len(soon) :]
    return {until_us, *soon, *dice(now_us).sample(late, min(len(late), 20))}


def each_reason_frees_when_its_rule_alone_does(case: Case, now_us: int) -> None:
    decision = decided(case, now_us)
    for code, rule, frees_at_us in decision.reasons:
        codes = (
            {code, Code.LIMIT} if code is Code.HOLD_BACK else {code, Code.HOLD_BACK} if code is Code.LIMIT else {code}
        )

        def refuses(instant: int, rule: str = rule, codes: set[Code] = codes) -> bool:
            return any(each.rule == rule and each.code in codes for each in oracle.refusals(case, instant))

        if rule == "stop" or rule.startswith("own:"):
            continue  # several rules may bear that name
        assert refuses(now_us)
        assert frees_at_us is None or not refuses(frees_at_us)
        for instant in looked_at(case, now_us, now_us + HORIZON_US if frees_at_us is None else frees_at_us - 1):
            assert refuses(instant), (rule, instant)


def a_denial_is_one_that_denies_or_never_ends(case: Case, now_us: int) -> None:
    decision = decided(case, now_us)
    if decision.verdict is Verdict.ALLOW:
        return
    denying = {Code.SUPPRESSED, Code.NO_CONSENT, Code.UNKNOWN_TOPIC, Code.UNKNOWN_TIMEZONE, Code.CEILING}
    patience = {each.name: each.when_exceeded.value for each in case.rules.policy.budgets}
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    denies = any(
        each.code in denying or patience.get(each.rule) == "deny"
        for each in decision.reasons
        if not observing or each.code in (Code.SUPPRESSED, Code.NO_CONSENT)
    )
    assert (decision.verdict is Verdict.DENY) == (denies or decision.retry_at_us is None)


def the_budgets_stand_as_the_oracle_counts(case: Case, now_us: int) -> None:
    decision = decided(case, now_us)
    topics = case.rules.policy.topics
    topic = topics.get(case.ask.topic)
    if topics and (topic is None or topic.exempt):
        return
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    refusals = oracle.refusals(case, now_us)
    enforced = [each for each in refusals if not each.is_shadow]
    binding = oracle.binding(case, now_us)
    zone = oracle.zone_of(case)
    expected: list[tuple[str, int, int, bool]] = []
    for budget, limit in oracle.budgets(case, now_us):
        if limit is None or (zone is None and isinstance(budget.window, CalendarWindow)):
            continue
        held = [each for each in case.contacts if oracle.charges(case, budget, each, now_us, under_ceiling=False)]
        used = oracle.used(case, budget, held, now_us)
        own = oracle.is_own(budget)
        takes = case.ask.reserves and (topic is None or topic.counts) and not (binding if own else enforced)
        if takes and budget.name not in {each.rule for each in refusals}:
            used += oracle.weigh(budget, case.ask.channel, case.ask.weight)
        expected.append((budget.name, limit, used, budget.shadow or (observing and not own)))
    assert [(each.budget, each.limit, each.used, each.shadow) for each in decision.budgets] == expected


def a_certain_retry_stands_however_leases_end(case: Case, now_us: int) -> None:
    decision = decided(case, now_us)
    if decision.verdict is Verdict.ALLOW:
        return
    random = dice(now_us)

    def retries_at(end: Callable[[Contact], Contact]) -> int | None:
        ended = tuple(end(each) if each.is_open(now_us) else each for each in case.contacts)
        then = decided(replace(case, contacts=ended), now_us)
        return now_us if then.verdict is Verdict.ALLOW else then.retry_at_us

    def released(contact: Contact) -> Contact:
        return contact._replace(lease=Lease.RELEASES, end_us=now_us)

    def confirmed_last(contact: Contact) -> Contact:
        return contact._replace(lease=Lease.SETTLED)

    def ends_somehow(contact: Contact) -> Contact:
        at_us = random.choice((now_us, contact.end_us, random.randint(now_us, contact.end_us)))
        ending = random.choice(("released", "confirmed", "expires"))
        if ending == "confirmed":
            return contact.confirmed(at_us)
        return contact._replace(lease=Lease.RELEASES, end_us=at_us) if ending == "released" else contact

    retry_at_us = decision.retry_at_us
    if decision.retry_certain:
        assert [retries_at(ends_somehow) for _ in range(6)] == [retry_at_us] * 6
    else:
        assert {retries_at(released), retries_at(confirmed_last)} != {retry_at_us}


def an_old_contact_changes_nothing(case: Case, now_us: int) -> None:
    """`needs_since_us`: what ended before it may be there or not."""
    since_us = needs_since_us(case.rules, case.customer, case.ask, now_us)
    windows = [each.window for each in case.rules.policy.budgets]
    if any(isinstance(each, Lifetime) for each in windows):
        return  # a lifetime knows no before: what leaves an account goes on in its totals
    random = dice(now_us)
    for each in case.contacts:
        for end_us in (since_us - 1, since_us - random.randint(1, 40) * DAY_US):
            start_us = end_us - random.choice((0, MINUTE_US, HOUR_US))
            old = each._replace(seq=99, start_us=start_us, end_us=end_us, lease=Lease.SETTLED)
            with_old = replace(case, contacts=(old, *case.contacts))
            assert decided(with_old, now_us) == decided(case, now_us), old


PROPERTIES: tuple[tuple[Callable[[Case, int], None], int], ...] = (
    (the_verdict_is_the_oracles, 6_000),
    (a_retry_is_the_first_instant_allowed, 700),
    (each_reason_frees_when_its_rule_alone_does, 500),
    (a_denial_is_one_that_denies_or_never_ends, 2_000),
    (the_budgets_stand_as_the_oracle_counts, 2_000),
    (a_certain_retry_stands_however_leases_end, 1_000),
    (an_old_contact_changes_nothing, 800),
)


@pytest.mark.parametrize(("holds", "count"), PROPERTIES, ids=lambda each: getattr(each, "__name__", ""))
def test_on_many_cases(holds: Callable[[Case, int], None], count: int):
    for seed in range(count):
        try:
            holds(*case(dice(seed)))
        except Exception as problem:
            problem.add_note(f"seed {seed}")
            raise


@hypothesis_too
@given(cases)
def test_on_what_hypothesis_finds(drawn: tuple[Case, int]):
    for holds, _ in PROPERTIES:
        holds(*drawn)


def test_equal_inputs_give_equal_answers_in_any_order_of_contacts():
    for seed in range(1_000):
        given, now_us = case(dice(seed))
        turned = replace(given, contacts=given.contacts[::-1])
        assert decided(given, now_us) == decided(turned, now_us) == decided(given, now_us), seed


def test_any_valid_value_is_answered():
    for seed in range(2_000):
        random = dice(seed)
        rules, customer, account, ask, now_us = anything(random)
        decision = decide(rules, customer, account, ask, now_us)
        assert isinstance(decision, Decision)
        assert (decision.verdict is Verdict.ALLOW) or decision.reasons


def anything(random: Random) -> tuple[Rules, Customer, Account, Ask, int]:
    """Values over their whole ranges, where `strategies` keeps to a small world."""
    now_us = random.randrange(us("2000-01-01"), us("2100-01-01"))
    calendar = [CalendarWindow(each) for each in Calendar]
    rolling = [Rolling(random.randrange(1, 400 * DAY_US + 1)) for _ in range(3)]
    budgets = tuple(
        Budget(
            f"b{n}",
            random.choice([*calendar, *rolling, Lifetime()]),
            random.choice((None, 0, random.randrange(1_000_001))),
            weights={"push": random.randrange(1, 1_001)},
            when_exceeded=random.choice(tuple(WhenExceeded)),
            shadow=random.random() < 0.2,
        )
        for n in range(random.randrange(8))
    )
    contacts = [
        contact(random, now_us + random.randrange(-500 * DAY_US, 3 * DAY_US), now_us, seq)._replace(
            weight=random.randrange(1, 2**16)
        )
        for seq in range(random.choice((0, 1, 64, 200)))
    ]
    ask = Ask(
        random.choice(("push", "letter", "unheard of", "")),
        random.choice(("news", "")),
        priority=random.randrange(101),
        weight=random.randrange(1, 2**16),
        send_at_us=random.choice((None, 0, now_us + random.randrange(14 * DAY_US))),
        lease_us=random.choice((None, 1, 14 * DAY_US)),
    )
    seen = Outcomes(seen={"age_days": now_us})
    zone = random.choice((None, "Pacific/Apia", "America/New_York"))
    customer = Customer(zone, {"vip": "x"}, outcomes=seen)
    rules = Rules(1, Policy({}, budgets, "UTC", max_lease_us=14 * DAY_US))
    return rules, customer, Account(contacts=contacts), ask, now_us
