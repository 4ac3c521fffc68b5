"""What customers chose themselves, by example: how many they want of a channel or a topic."""

import pytest

from engine.core.account import Account, Contact, Lease
from engine.core.customer import UNKNOWN, Customer, Preference
from engine.core.decision import decide, needs_since_us
from engine.core.policy import (
    DAY_US,
    MINUTE_US,
    Budget,
    Condition,
    HoldBack,
    Lifetime,
    Operator,
    Override,
    Per,
    PolicyMode,
    Rolling,
    Selector,
    Topic,
)
from engine.core.verdict import Ask, BudgetLine, Code, Reason, Verdict
from tests.core.test_decision import ASK, NOW_US, PUSH, WEEK_US, answer, policy, sent


def test_what_a_customer_chose_binds_where_the_policy_only_observes():
    """ "Saved. It holds from now on": and four of four asks were allowed, one of them of a topic nobody declares."""
    weekly = Budget("weekly", Rolling(WEEK_US), 2, PUSH)
    rules = policy(weekly, topics={"news": Topic()}, mode=PolicyMode.OBSERVE)
    chose = Customer(preferences=(Preference("push", None, 2),))
    contacts: list[Contact] = []
    for seq, topic in enumerate(("news", "made up"), start=1):
        ask = Ask("push", topic)
        decision = answer(rules, *contacts, ask=ask, customer=chose)
        assert (decision.verdict, decision.counts) == (Verdict.ALLOW, True)
        assert BudgetLine("own:push", 2, seq, None, False) in decision.budgets
        contacts.append(decision.contact(ask, seq)._replace(lease=Lease.SETTLED))
    frees_us = NOW_US + 5 * MINUTE_US + WEEK_US
    for topic in ("news", "made up"):
        decision = answer(rules, *contacts, ask=Ask("push", topic), customer=chose)
        assert (decision.verdict, decision.retry_at_us) == (Verdict.DEFER, frees_us)
        assert Reason(Code.LIMIT, "own:push", frees_us) in decision.reasons
        assert decision.observed is (Verdict.DEFER if topic == "news" else Verdict.DENY)
        assert answer(rules, *contacts, ask=Ask("push", topic)).verdict is Verdict.ALLOW, "who chose nothing"


def test_a_choice_of_as_many_as_there_are_binds_nothing_where_the_policy_only_observes():
    rules = policy(Budget("weekly", Rolling(WEEK_US), 1, PUSH), mode=PolicyMode.OBSERVE)
    decision = answer(rules, sent(NOW_US), customer=Customer(preferences=(Preference("push", None, None),)))
    assert (decision.verdict, decision.observed, decision.budgets) == (Verdict.ALLOW, Verdict.ALLOW, ())


@pytest.mark.parametrize(
    ("limits", "limit"),
    [((3,), 3), ((None,), None), ((3, 2), 2), ((None, 2), 2), ((0,), 0)],
)
def test_a_choice_replaces_the_limit_of_the_budgets_that_are_about_that_channel(
    limits: tuple[int | None, ...], limit: int | None
):
    override = Override((Condition("vip", Operator.NE, True),), 9)
    rules = policy(
        Budget("push-weekly", Rolling(WEEK_US), 1, PUSH, overrides=(override,)), Budget("any", Rolling(DAY_US), 4)
    )
    choices = tuple(Preference("push", None, each) for each in limits)
    lines = answer(rules, customer=Customer(preferences=choices), ask=Ask("push", "news", reserves=False)).budgets
    expected = [("any", 4)] if limit is None else [("push-weekly", limit), ("any", 4)]
    assert [(each.budget, each.limit) for each in lines] == expected


def test_a_choice_that_no_budget_is_about_is_one_of_its_own_over_seven_days():
    customer = Customer(preferences=(Preference(None, "news", 1), Preference("email", None, 0)))
    decision = answer(policy(), sent(NOW_US - WEEK_US + 1), customer=customer)
    assert decision.reasons == (Reason(Code.LIMIT, "own:news", NOW_US + 1),)


def test_a_choice_binds_where_the_only_budget_about_it_is_a_shadow():
    """It replaced the shadow's limit and nothing else: who asked for less got no less."""
    rules = policy(Budget("push-weekly", Rolling(WEEK_US), 3, PUSH, shadow=True))
    customer = Customer(preferences=(Preference("push", None, 1),))
    decision = answer(rules, sent(NOW_US - DAY_US), customer=customer)
    assert [each.rule for each in decision.reasons] == ["own:push"]
    assert {each.budget: each.limit for each in decision.budgets} == {"push-weekly": 1, "own:push": 1}


@pytest.mark.parametrize(
    "budget",
    [
        Budget("of-some", Rolling(WEEK_US), 3, Selector(channels=PUSH.channels, topics=frozenset({"news"}))),
        Budget("of-each", Rolling(WEEK_US), 3, PUSH, per=Per.CAMPAIGN),
        Budget("of-one-team", Rolling(WEEK_US), 3, Selector(channels=PUSH.channels, teams=frozenset({"crm"}))),
    ],
    ids=lambda each: each.name,
)
def test_a_choice_bounds_the_whole_channel_where_the_budget_about_it_counts_a_part(budget: Budget):
    """One of another topic, team or campaign was not counted: who had asked for one a week got two."""
    customer = Customer(preferences=(Preference("push", None, 1),))
    other = sent(NOW_US - DAY_US, labels=("push", "survey", "autumn", "research"))
    ask = Ask("push", "news", "spring", "crm")
    assert answer(policy(budget), other, ask=ask).verdict is Verdict.ALLOW
    decision = answer(policy(budget), other, ask=ask, customer=customer)
    assert (decision.verdict, [each.rule for each in decision.reasons]) == (Verdict.DEFER, ["own:push"])


BUDGETS = {
    "held back": Budget("push-weekly", Rolling(WEEK_US), 3, PUSH, hold_back=HoldBack(1, 70)),
    "by weight": Budget("push-weekly", Rolling(WEEK_US), 20, PUSH, weights={"push": 2}),
    "a part": Budget("push-weekly", Rolling(WEEK_US), 9, PUSH, per=Per.TEAM, hold_back=HoldBack(3, 70)),
}


@pytest.mark.parametrize("budget", [*BUDGETS.values(), None], ids=[*BUDGETS, "of their own"])
@pytest.mark.parametrize("limit", [1, 2])
def test_a_choice_is_a_number_of_contacts_whatever_they_weigh_or_is_held_back(budget: Budget | None, limit: int):
    """ "At most 1 a week" was none for good, without a `retry_at`: all of it was held back for higher priority. Under
    a weight of 2, "at most 2" was 1."""
    rules = policy(budget) if budget else policy()
    customer = Customer(preferences=(Preference("push", None, limit),))
    contacts: list[Contact] = []
    for seq in range(1, limit + 1):
        ask = Ask("push", "news", team="crm", priority=50, weight=5)
        decision = answer(rules, *contacts, ask=ask, customer=customer)
        assert decision.verdict is Verdict.ALLOW
        assert {(each.limit, each.used) for each in decision.budgets} == {(limit, seq)}
        contacts.append(decision.contact(ask, seq)._replace(lease=Lease.SETTLED))
    more = answer(rules, *contacts, ask=Ask("push", "news", team="crm", priority=100), customer=customer)
    assert more.verdict is Verdict.DEFER
    assert {(each.code, each.frees_at_us) for each in more.reasons} == {(Code.LIMIT, contacts[0].end_us + WEEK_US)}


def test_of_a_lifetime_a_choice_counts_what_asks_weighed_which_is_all_that_is_remembered():
    calls = Budget("calls", Lifetime(), 6, PUSH, weights={"push": 3})
    customer = Customer(preferences=(Preference("push", None, 2),))
    for weight, used in ((1, 2), (2, 3)):
        account = Account(contacts=[sent(NOW_US - DAY_US, weight=weight)])
        gone = Account(totals={("push", "news"): weight})
        lines = {decide(policy(calls), customer, each, ASK, NOW_US).budgets for each in (account, gone)}
        allowed = used <= 2
        assert lines == {(BudgetLine("calls", 2, used if allowed else used - 1, None, False),)}


@pytest.mark.parametrize("budget", [BUDGETS["held back"], BUDGETS["by weight"]], ids=["held back", "by weight"])
def test_a_choice_of_before_it_was_a_number_of_contacts_keeps_its_meaning(budget: Budget):
    customer = Customer(preferences=(Preference("push", None, 1, by_weight=True),))
    assert answer(policy(budget), customer=customer).verdict is Verdict.DENY


def test_an_account_must_reach_back_for_a_choice():
    customer = Customer(preferences=(Preference("push", None, 1),))
    assert needs_since_us(policy(), customer, ASK, NOW_US) == NOW_US - WEEK_US + 1
    assert needs_since_us(policy(), UNKNOWN, ASK, NOW_US) == NOW_US
