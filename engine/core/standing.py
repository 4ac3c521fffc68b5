"""How a customer stands with every budget at an instant, whatever is asked next: for people who look."""

from collections.abc import Iterator
from typing import NamedTuple

from engine.core.account import Account
from engine.core.customer import Customer, Preference
from engine.core.decision import HORIZON_US, decide
from engine.core.policy import Budget, Channel, Per
from engine.core.rules import Rules
from engine.core.ruling import meters
from engine.core.situation import situation
from engine.core.verdict import Ask, BudgetLine


class Standing(NamedTuple):
    """One budget's line. `kept_for` is the campaign, topic or team of a budget that is kept once for each."""

    line: BudgetLine
    kept_for: str | None


def standings(rules: Rules, customer: Customer, account: Account, now_us: int) -> list[Standing]:
    """Every budget with a limit, in the policy's order, then the customer's own. The account is complete for all."""
    found: dict[tuple[str, str | None], Standing] = {}
    for budget in rules.policy.budgets:
        for ask, kept_for in _asks(rules, budget, account):
            for line in decide(rules, customer, account, ask, now_us).budgets:
                if line.budget == budget.name:
                    found[(budget.name, kept_for)] = Standing(line, kept_for)
    for choice in customer.preferences:
        ask = _own(rules, choice)
        for line in decide(rules, customer, account, ask, now_us).budgets:
            if line.budget.startswith("own:"):
                found[(line.budget, None)] = Standing(line, None)
    return list(found.values())


def next_free(rules: Rules, customer: Customer, account: Account, now_us: int) -> dict[tuple[str, str | None], int]:
    """When the next unit of each budget in use frees, by the budget's name and what it is kept for; of one of which
    nothing frees within 400 days there is nothing. The account is complete for all."""
    found: dict[tuple[str, str | None], int] = {}
    asks = [(budget.name, *each) for budget in rules.policy.budgets for each in _asks(rules, budget, account)]
    asks += [("", _own(rules, choice), None) for choice in customer.preferences]
    for name, ask, kept_for in asks:
        for meter in meters(situation(rules, customer, account, ask, now_us)):
            is_meant = meter.name == name if name else meter.name.startswith("own:")
            frees_us = meter.frees_us(now_us, now_us + HORIZON_US) if is_meant else None
            if frees_us is not None:
                found[meter.name, kept_for] = frees_us
    return found


def probes(rules: Rules, account: Account) -> list[Ask]:
    """The asks by which standings are found: what the account must be complete for."""
    return [ask for budget in rules.policy.budgets for ask, _ in _asks(rules, budget, account)]


def _own(rules: Rules, choice: Preference) -> Ask:
    """An ask that a limit of the customer's own selects."""
    return Ask(choice.channel or Channel.EMAIL.value, choice.topic or _a_topic(rules), reserves=False, lease_us=1)


def _asks(rules: Rules, budget: Budget, account: Account) -> Iterator[tuple[Ask, str | None]]:
    """Asks that this budget selects: one, or one for each label that it is kept for."""
    selector = budget.selector
    channel = min(selector.channels) if selector.channels else Channel.EMAIL.value
    topics = selector.topics or frozenset(rules.policy.topics) or frozenset({_a_topic(rules)})
    subject = [name for name in sorted(topics) if not _is_exempt(rules, name)]
    campaign = min(selector.campaigns) if selector.campaigns else None
    team = min(selector.teams) if selector.teams else None
    if not subject:
        return
    ask = Ask(channel, subject[0], campaign, team, reserves=False, lease_us=1)
    if budget.per is None:
        yield ask, None
        return
    seen = {getattr(each, budget.per.value) for each in account.contacts if selector.selects(*each.labels)}
    for label in sorted(each for each in seen if each is not None):
        match budget.per:
            case Per.CAMPAIGN:
                yield Ask(channel, subject[0], label, team, reserves=False, lease_us=1), label
            case Per.TEAM:
                yield Ask(channel, subject[0], campaign, label, reserves=False, lease_us=1), label
            case Per.TOPIC:
                if label in subject:
                    yield Ask(channel, label, campaign, team, reserves=False, lease_us=1), label


def _is_exempt(rules: Rules, name: str) -> bool:
    topic = rules.topic(name)
    return topic is None or topic.exempt


def _a_topic(rules: Rules) -> str:
    """Some topic that budgets bind."""
    return next((name for name in sorted(rules.policy.topics) if not _is_exempt(rules, name)), "any")
