"""What is left of each budget, and when the next unit of it frees, whatever is asked next."""

from random import Random

from engine.core.account import Account, Contact, Kind, Lease
from engine.core.customer import UNKNOWN, Customer, Preference
from engine.core.decision import HORIZON_US, decide
from engine.core.policy import DAY_US, HOUR_US, Budget, CalendarWindow, Lifetime, Per, Policy, Rolling, Selector
from engine.core.rules import Rules
from engine.core.ruling import meters
from engine.core.situation import situation
from engine.core.standing import next_free, standings
from engine.core.verdict import Ask
from engine.core.windows import Calendar
from tests.core.strategies import case, us

NOW_US = us("2026-10-21 12:00")
WEEKLY = Budget("weekly", Rolling(7 * DAY_US), 3)


def free(*budgets: Budget, contacts: tuple[Contact, ...], customer: Customer = UNKNOWN) -> dict[str, float]:
    """By budget, in days from now: when the next unit frees."""
    rules = Rules(1, Policy(topics={}, budgets=budgets, unknown_timezone="UTC"))
    account = Account(contacts=list(contacts))
    found = next_free(rules, customer, account, NOW_US)
    lines = standings(rules, customer, account, NOW_US)
    assert found.keys() <= {(each.line.budget, each.kept_for) for each in lines if each.line.used}
    days = {key: (at_us - NOW_US) / DAY_US for key, at_us in found.items()}
    return {f"{name}{f'/{kept}' if kept else ''}": each for (name, kept), each in days.items()}


def sent(back_us: int, campaign: str | None = None) -> Contact:
    end_us = NOW_US - back_us
    return Contact(1, end_us, end_us, ("push", "news", campaign, None), 1, 50, Lease.SETTLED, Kind.ASKED, True)


def test_a_unit_frees_when_the_oldest_contact_leaves_its_window():
    assert free(WEEKLY, contacts=()) == {}
    assert free(WEEKLY, contacts=(sent(DAY_US),)) == {"weekly": 6}
    assert free(WEEKLY, contacts=(sent(DAY_US), sent(3 * DAY_US))) == {"weekly": 4}
    assert free(WEEKLY, contacts=(sent(DAY_US), sent(3 * DAY_US), sent(5 * DAY_US))) == {"weekly": 2}
    assert free(WEEKLY, contacts=(sent(8 * DAY_US),)) == {}


def test_a_calendar_frees_at_its_turn_and_a_lifetime_never():
    day, ever = Budget("day", CalendarWindow(Calendar.DAY), 5), Budget("ever", Lifetime(), 5)
    assert free(day, ever, contacts=(sent(HOUR_US),)) == {"day": 0.5}


def test_a_lease_that_was_not_confirmed_frees_at_its_end():
    open_one = sent(0)._replace(end_us=NOW_US + DAY_US // 4, lease=Lease.RELEASES)
    assert free(WEEKLY, contacts=(open_one, sent(DAY_US))) == {"weekly": 0.25}


def test_budgets_that_are_kept_for_each_campaign_free_by_themselves_and_own_limits_too():
    apart = Budget("apart", Rolling(7 * DAY_US), 3, Selector(), Per.CAMPAIGN)
    mine = Customer(preferences=(Preference("push", None, 4),))
    found = free(apart, contacts=(sent(DAY_US, "spring"), sent(2 * DAY_US, "autumn")), customer=mine)
    assert found.pop(next(each for each in found if each.startswith("own:"))) == 5
    assert found == {"apart/spring": 6, "apart/autumn": 5}


def test_on_random_grounds_use_falls_then_and_not_before():
    looked_at = 0
    for seed in range(400):
        found, now_us = case(Random(seed))  # noqa: S311 - a test's
        account = Account(contacts=list(found.contacts), totals=dict(found.totals))
        rules, ask = found.rules.under(found.variants), found.ask._replace(reserves=False)
        for meter in meters(situation(rules, found.customer, account, ask, now_us)):
            frees_us = meter.frees_us(now_us, now_us + HORIZON_US)
            if frees_us is None:
                continue
            looked_at += 1
            now, *before, then = (
                used(rules, found.customer, account, ask, at_us, meter.name)
                for at_us in (now_us, (now_us + frees_us) // 2, frees_us - 1, frees_us)
            )
            assert now is None or then is None or then < now
            assert now is None or all(each is None or each >= now for each in before)
    assert looked_at > 200


def used(rules: Rules, customer: Customer, account: Account, ask: Ask, at_us: int, name: str) -> int | None:
    """As an answer at that instant has it; None where no limit is in force then."""
    lines = decide(rules, customer, account, ask, at_us).budgets
    return next((each.used for each in lines if each.budget == name), None)
