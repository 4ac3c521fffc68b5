"""decide() by example: what speaks first, what an answer holds, and the mistakes that were made once."""

import pytest

from engine.core.account import ALL_BUDGETS, Account, Contact, Kind, Lease
from engine.core.customer import UNKNOWN, Customer
from engine.core.decision import decide, needs_since_us
from engine.core.outcomes import Case, Outcomes
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
    OnExpiry,
    Operator,
    Policy,
    PolicyMode,
    QuietHours,
    Rolling,
    Selector,
    Topic,
    WhenExceeded,
)
from engine.core.quiet import QuietPeriod
from engine.core.rules import Pause, Rules
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, BudgetLine, Code, Decision, Reason, Verdict
from engine.core.windows import Calendar
from tests.core.strategies import us

NOW_US = us("2026-10-21 12:00")
WEEK_US = 7 * DAY_US
PUSH = Selector(channels=frozenset({"push"}))
WEEKLY = Budget("weekly", Rolling(WEEK_US), 1)
NIGHT = QuietHours(QuietPeriod(21 * 60, 8 * 60, None))
ASK = Ask("push", "news")


def policy(*budgets: Budget, **more: object) -> Rules:
    return Rules(1, Policy(**{"topics": {}, "budgets": budgets, "unknown_timezone": "UTC", **more}))  # type: ignore[arg-type]


def sent(end_us: int, **more: object) -> Contact:
    made = Contact(1, end_us, end_us, ("push", "news", None, None), 1, 50, Lease.SETTLED, Kind.ASKED, True)
    return made._replace(**more)  # type: ignore[arg-type]


def answer(
    rules: Rules, *contacts: Contact, ask: Ask = ASK, now_us: int = NOW_US, customer: Customer = UNKNOWN
) -> Decision:
    return decide(rules, customer, Account(contacts=list(contacts)), ask, now_us)


def test_an_answer_says_how_its_budgets_stand_and_what_a_reservation_holds():
    rules = policy(WEEKLY, Budget("any", Rolling(DAY_US), 5), Budget("open", Rolling(DAY_US), None))
    decision = answer(rules)
    assert decision.verdict is Verdict.ALLOW
    assert decision.reasons == ()
    assert (decision.retry_at_us, decision.retry_certain, decision.observed) == (None, True, None)
    assert decision.budgets == (BudgetLine("weekly", 1, 1, None, False), BudgetLine("any", 5, 1, None, False))
    held = sent(NOW_US + 5 * MINUTE_US, seq=7, start_us=NOW_US, lease=Lease.RELEASES)
    assert decision.contact(ASK, 7) == held


def test_a_refusal_names_its_rule_and_when_that_alone_frees():
    rules = policy(WEEKLY, Budget("five-days", Rolling(5 * DAY_US), 1))
    decision = answer(rules, sent(NOW_US - DAY_US))
    assert decision.verdict is Verdict.DEFER
    assert decision.reasons == (
        Reason(Code.LIMIT, "weekly", NOW_US + 6 * DAY_US),
        Reason(Code.LIMIT, "five-days", NOW_US + 4 * DAY_US),
    )
    assert decision.retry_at_us == NOW_US + 6 * DAY_US
    assert [each.used for each in decision.budgets] == [1, 1]  # a refused ask takes nothing


def test_an_allowed_ask_is_charged_to_every_budget_that_selects_it_or_to_none():
    rules = policy(
        WEEKLY,
        Budget("push", Rolling(DAY_US), 9, PUSH),
        Budget("mail", Rolling(DAY_US), 9, Selector(frozenset({"email"}))),
    )
    account = Account()
    account.add(decide(rules, UNKNOWN, account, ASK, NOW_US).contact(ASK, 1))
    again = decide(rules, UNKNOWN, account, ASK, NOW_US)
    assert {each.budget: each.used for each in again.budgets} == {"weekly": 1, "push": 1}
    assert again.verdict is Verdict.DEFER
    other = decide(rules, UNKNOWN, account, Ask("email", "news", reserves=False), NOW_US)
    assert {each.budget: each.used for each in other.budgets} == {"weekly": 1, "mail": 0}


@pytest.mark.parametrize(
    ("exceeded", "limit", "verdict", "retry_at_us"),
    [
        (WhenExceeded.DEFER, 1, Verdict.DEFER, NOW_US + 6 * DAY_US),
        (WhenExceeded.DENY, 1, Verdict.DENY, NOW_US + 6 * DAY_US),  # denied, and told when all the same
        (WhenExceeded.DEFER, 0, Verdict.DENY, None),  # what no time allows is denied
    ],
)
def test_deny_and_defer(exceeded: WhenExceeded, limit: int, verdict: Verdict, retry_at_us: int | None):
    decision = answer(policy(Budget("weekly", Rolling(WEEK_US), limit, when_exceeded=exceeded)), sent(NOW_US - DAY_US))
    assert (decision.verdict, decision.retry_at_us) == (verdict, retry_at_us)


def test_deny_beats_defer_and_suppression_speaks_first():
    denying = Budget("daily", Rolling(2 * DAY_US), 1, when_exceeded=WhenExceeded.DENY)
    rules = policy(WEEKLY, denying, channels={"push": ConsentRule.OPT_IN})
    suppression = Suppression(Scope(), SuppressionReason.UNSUBSCRIBE, NOW_US, "page", False)
    decision = answer(rules, sent(NOW_US - DAY_US), customer=Customer(suppressions=(suppression,)))
    codes = [Code.SUPPRESSED, Code.NO_CONSENT, Code.LIMIT, Code.LIMIT]
    assert [each.code for each in decision.reasons] == codes
    assert (decision.verdict, decision.retry_at_us) == (Verdict.DENY, None)
    assert answer(policy(WEEKLY, denying), sent(NOW_US - DAY_US)).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("priority", "used", "code"),
    [
        (70, 3, None),
        (69, 1, None),
        (69, 2, Code.HOLD_BACK),
        (69, 3, Code.HOLD_BACK),
        (69, 4, Code.LIMIT),
        (70, 4, Code.LIMIT),
    ],
)
def test_hold_back_keeps_a_slice_for_higher_priority(priority: int, used: int, code: Code | None):
    rules = policy(Budget("weekly", Rolling(WEEK_US), 4, hold_back=HoldBack(2, 70)))
    contacts = [sent(NOW_US - DAY_US, seq=n) for n in range(used)]
    decision = answer(rules, *contacts, ask=Ask("push", "news", priority=priority))
    assert [each.code for each in decision.reasons] == ([] if code is None else [code])


def test_a_slice_used_by_higher_priority_leaves_the_others_theirs():
    rules = policy(Budget("weekly", Rolling(WEEK_US), 3, hold_back=HoldBack(1, 70)))
    important = [sent(NOW_US - DAY_US, seq=1, priority=90), sent(NOW_US - DAY_US, seq=2)]
    assert answer(rules, *important, ask=Ask("push", "news", priority=10)).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("planned", "asked", "default", "lease"),
    [
        (False, None, OnExpiry.RELEASE, Lease.RELEASES),
        (False, None, OnExpiry.PRESUME_SENT, Lease.PRESUMED),
        (True, None, OnExpiry.RELEASE, Lease.PRESUMED),
        (True, OnExpiry.RELEASE, OnExpiry.PRESUME_SENT, Lease.RELEASES),
        (False, OnExpiry.PRESUME_SENT, OnExpiry.RELEASE, Lease.PRESUMED),
    ],
)
def test_what_the_end_of_a_lease_means(planned: bool, asked: OnExpiry | None, default: OnExpiry, lease: Lease):
    send_at_us = NOW_US + DAY_US if planned else None
    decision = answer(policy(on_expiry=default), ask=Ask("push", "news", send_at_us=send_at_us, on_expiry=asked))
    assert decision.lease is lease
    assert decision.start_us == (send_at_us or NOW_US)


@pytest.mark.parametrize(("asked_us", "length_us"), [(None, 5 * MINUTE_US), (HOUR_US, HOUR_US), (9 * DAY_US, DAY_US)])
def test_a_lease_is_no_longer_than_the_policy_allows(asked_us: int | None, length_us: int):
    decision = answer(policy(), ask=Ask("push", "news", send_at_us=NOW_US - DAY_US, lease_us=asked_us))
    assert (decision.start_us, decision.lease_end_us) == (NOW_US, NOW_US + length_us)


@pytest.mark.parametrize(
    ("pause", "code", "verdict", "retry_at_us"),
    [
        (Pause("stop", until_us=NOW_US + 1), Code.PAUSED, Verdict.DEFER, NOW_US + 1),
        (Pause("stop", is_breaker=True), Code.BREAKER, Verdict.DENY, None),
        (Pause("stop", until_us=NOW_US), None, Verdict.ALLOW, None),
        (Pause("stop", from_us=NOW_US + 1), None, Verdict.ALLOW, None),
        (Pause("stop", PUSH, from_us=NOW_US, until_us=NOW_US + 1), Code.PAUSED, Verdict.DEFER, NOW_US + 1),
    ],
)
@pytest.mark.parametrize("mode", PolicyMode)
def test_a_pause_binds_in_every_mode(
    pause: Pause, code: Code | None, verdict: Verdict, retry_at_us: int | None, mode: PolicyMode
):
    rules = Rules(1, policy(mode=mode).policy, (pause,))
    decision = answer(rules)
    assert (decision.verdict, decision.retry_at_us) == (verdict, retry_at_us)
    assert [each.code for each in decision.reasons] == ([] if code is None else [code])


def test_an_open_case_rests_what_it_selects_for_a_time_at_most():
    rules = policy(pauses=(CasePause("case_opened", "case_closed", 14 * DAY_US, PUSH),))
    customer = Customer(
        outcomes=Outcomes((Case("case_opened", "1", NOW_US - DAY_US, 0), Case("other", "1", NOW_US, 0)))
    )
    decision = answer(rules, customer=customer)
    assert decision.reasons == (Reason(Code.CASE_OPEN, "case_opened", NOW_US + 13 * DAY_US),)
    assert answer(rules, customer=customer, ask=Ask("email", "news")).verdict is Verdict.ALLOW


EXEMPT = {"news": Topic(exempt=True, counts=False, ceiling=Ceiling(2, Rolling(DAY_US))), "promotions": Topic()}


def test_an_exempt_topic_meets_nothing_but_its_ceiling():
    rules = policy(
        Budget("none", Rolling(DAY_US), 0), topics=EXEMPT, quiet_hours=(QuietHours(QuietPeriod(0, 1439, None)),)
    )
    first = answer(rules)
    assert (first.verdict, first.counts, first.under_ceiling) == (Verdict.ALLOW, False, True)
    assert first.budgets == (BudgetLine("ceiling:news", 2, 1, None, False),)
    two = [first.contact(ASK, n)._replace(lease=Lease.SETTLED) for n in (1, 2)]
    third = answer(rules, *two)
    frees_us = NOW_US + 5 * MINUTE_US + DAY_US
    assert (third.verdict, third.retry_at_us) == (Verdict.DENY, frees_us)
    assert third.reasons == (Reason(Code.CEILING, "ceiling:news", frees_us),)


def test_observing_answers_allow_and_tells_what_it_would_have_said():
    rules = policy(WEEKLY, Budget("any", Rolling(DAY_US), 5), mode=PolicyMode.OBSERVE)
    decision = answer(rules, sent(NOW_US - DAY_US))
    assert (decision.verdict, decision.observed, decision.retry_at_us) == (Verdict.ALLOW, Verdict.DEFER, None)
    assert decision.reasons == (Reason(Code.LIMIT, "weekly", NOW_US + 6 * DAY_US),)
    assert decision.uncharged == ALL_BUDGETS
    assert answer(rules).observed is Verdict.ALLOW


def test_a_shadow_budget_refuses_nobody_and_is_charged_only_what_it_would_have_allowed():
    rules = policy(Budget("tighter", Rolling(WEEK_US), 1, shadow=True), Budget("any", Rolling(WEEK_US), 9))
    first = answer(rules)
    second = answer(rules, first.contact(ASK, 1))
    assert (second.verdict, second.reasons, second.uncharged) == (Verdict.ALLOW, (), ("tighter",))
    frees_us = NOW_US + 5 * MINUTE_US  # the open lease releases
    assert second.budgets == (BudgetLine("tighter", 1, 1, frees_us, True), BudgetLine("any", 9, 2, None, False))
    third = answer(rules, first.contact(ASK, 1), second.contact(ASK, 2))
    assert [each.used for each in third.budgets] == [1, 3]


def test_a_variants_patch_is_in_force_for_its_customers_alone():
    patched = Budget("weekly", Rolling(WEEK_US), 3)
    rules = Rules(1, policy(WEEKLY).policy, patches={1: {1: (patched,), 0: ()}})
    for variants, limit in (({}, 1), ({1: 0}, 1), ({1: 1, 2: 0}, 3), ({1: 2}, 1)):
        decision = decide(rules, UNKNOWN, Account(), ASK, NOW_US, variants)
        assert [each.limit for each in decision.budgets] == [limit]


def test_a_planned_ask_sees_the_quiet_hours_and_windows_of_its_send():
    rules = policy(WEEKLY, quiet_hours=(NIGHT,))
    night_us = us("2026-10-22 03:00")
    planned = answer(rules, ask=Ask("push", "news", send_at_us=night_us))
    assert planned.reasons == (Reason(Code.QUIET_HOURS, "quiet_hours", us("2026-10-22 08:00")),)
    later = Ask("push", "news", send_at_us=NOW_US + 6 * DAY_US)
    assert answer(rules, sent(NOW_US - DAY_US), ask=later).verdict is Verdict.ALLOW
    assert answer(rules, sent(NOW_US - DAY_US + 1), ask=later).retry_at_us == NOW_US + 6 * DAY_US + 1


@pytest.mark.parametrize(("lease_us", "verdict"), [(HOUR_US - 1, Verdict.ALLOW), (HOUR_US, Verdict.DEFER)])
def test_a_lease_that_ends_at_midnight_meets_both_days(lease_us: int, verdict: Verdict):
    rules = policy(Budget("daily", CalendarWindow(Calendar.DAY), 1))
    tomorrow = sent(us("2026-10-22 09:00"))
    decision = answer(rules, tomorrow, ask=Ask("push", "news", lease_us=lease_us), now_us=us("2026-10-21 23:00"))
    assert decision.verdict is verdict


# Mistakes that were made once.


def test_quiet_hours_refuse_with_an_answer_and_not_with_an_error():
    """A gate was hashed by value, and a list of quiet hours has no hash: every refusal at night raised TypeError."""
    decision = answer(policy(quiet_hours=(NIGHT,)), now_us=us("2026-10-21 22:00"))
    assert decision.reasons == (Reason(Code.QUIET_HOURS, "quiet_hours", us("2026-10-22 08:00")),)
    assert decision.verdict is Verdict.DEFER


def test_quiet_hours_that_begin_as_others_end_are_seen():
    """One period ends at the instant at which a derived attribute switches on the next: that is no opening."""
    since_us = us("2026-10-20 08:00")
    young = QuietHours(QuietPeriod(8 * 60, 10 * 60, None), when=(Condition("age_days", Operator.EQ, 2),))
    decision = answer(
        policy(quiet_hours=(NIGHT, young)),
        now_us=us("2026-10-21 22:00"),
        customer=Customer(outcomes=Outcomes(seen={"age_days": since_us})),
    )
    assert decision.reasons == (Reason(Code.QUIET_HOURS, "quiet_hours", us("2026-10-22 10:00")),)


@pytest.mark.parametrize(("shadow", "verdict"), [(True, Verdict.ALLOW), (False, Verdict.DENY)])
def test_an_unknown_zone_is_denied_by_enforced_rules_alone(shadow: bool, verdict: Verdict):
    """A shadow budget of calendar days denied every customer whose zone was not known."""
    daily = Budget("daily", CalendarWindow(Calendar.DAY), 1, shadow=shadow)
    decision = answer(policy(daily, WEEKLY, unknown_timezone=None))
    assert decision.verdict is verdict
    assert [each.code for each in decision.reasons] == ([] if shadow else [Code.UNKNOWN_TIMEZONE])


def test_a_budget_without_any_limit_needs_no_zone():
    daily = Budget("daily", CalendarWindow(Calendar.DAY), None)
    assert answer(policy(daily, unknown_timezone=None)).verdict is Verdict.ALLOW


def test_a_ceiling_counts_what_the_account_will_still_hold_tomorrow():
    """It counted contacts that use nothing while they were in the account, and forgot them when they were let go."""
    rules = policy(topics=EXEMPT)
    idle = [sent(NOW_US - HOUR_US, seq=n, counts=False) for n in (1, 2)]
    assert answer(rules, *idle).verdict is Verdict.ALLOW
    assert answer(rules, *(each._replace(under_ceiling=True) for each in idle)).verdict is Verdict.DENY
    assert answer(rules, *(each._replace(counts=True) for each in idle)).verdict is Verdict.DENY


def test_a_topic_that_uses_no_budget_leaves_its_use_as_it_was():
    """The answer's figures added its weight, although nothing would be charged."""
    decision = answer(policy(WEEKLY, topics={"news": Topic(counts=False)}))
    assert (decision.verdict, decision.counts) == (Verdict.ALLOW, False)
    assert decision.budgets == (BudgetLine("weekly", 1, 0, None, False),)


def test_an_observed_refusal_shows_no_use_that_it_does_not_charge():
    """One budget refused, none was charged, yet the others' figures rose."""
    rules = policy(WEEKLY, Budget("any", Rolling(WEEK_US), 5), mode=PolicyMode.OBSERVE)
    decision = answer(rules, sent(NOW_US - DAY_US))
    assert [(each.budget, each.used) for each in decision.budgets] == [("weekly", 1), ("any", 1)]


def test_an_account_must_reach_back_for_a_limit_that_only_a_variant_has():
    rules = policy(Budget("monthly", Rolling(30 * DAY_US), None))
    assert needs_since_us(rules, UNKNOWN, ASK, NOW_US) == NOW_US - 30 * DAY_US + 1


def test_an_account_must_reach_back_from_the_send_and_not_from_a_time_that_has_passed():
    rules = policy(WEEKLY)
    for send_at_us, start_us in ((NOW_US - DAY_US, NOW_US), (NOW_US + DAY_US, NOW_US + DAY_US)):
        ask = Ask("push", "news", send_at_us=send_at_us)
        assert needs_since_us(rules, UNKNOWN, ask, NOW_US) == start_us - WEEK_US + 1


def test_a_long_history_is_searched_in_a_moment():
    """Each instant tried cost the square of the contacts: minutes for an account recalled from the journal."""
    contacts = [sent(NOW_US + n * HOUR_US, seq=n) for n in range(1_000)]
    decision = answer(policy(Budget("any", Rolling(DAY_US), 4)), *contacts)
    assert decision.retry_at_us == NOW_US + (999 - 3) * HOUR_US + DAY_US
