"""How a customer stands with every budget at an instant, whatever is asked next: for people who look."""

from collections.abc import Iterator
from typing import NamedTuple

from engine.core.account import Account
from engine.core.customer import Customer
from engine.core.decision import decide
from engine.core.policy import Budget, Channel, Per
from engine.core.rules import Rules
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
        ask = Ask(choice.channel or Channel.EMAIL.value, choice.topic or _a_topic(rules), reserves=False, lease_us=1)
        for line in decide(rules, customer, account, ask, now_us).budgets:
            if line.budget.startswith("own:"):
                found[(line.budget, None)] = Standing(line, None)
    return list(found.values())


def probes(rules: Rules, account: Account) -> list[Ask]:
    """The asks by which standings are found: what the account must be complete for."""
    return [ask for budget in rules.policy.budgets for ask, _ in _asks(rules, budget, account)]


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
