"""All inputs of a decision that are the same for every customer, as one immutable, numbered value.

A `Rules` belongs to one ruleset number. It remembers which budgets select which contacts, and the rules as patched for
a set of variants; those memories never change what it decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from engine.core.customer import Customer
from engine.core.policy import DAY_US, EVERYTHING, Budget, CalendarWindow, Lifetime, Policy, Rolling, Selector, Topic
from engine.core.windows import Calendar

_LONGEST_PERIOD_US = {Calendar.DAY: 2 * DAY_US, Calendar.WEEK: 8 * DAY_US, Calendar.MONTH: 32 * DAY_US}
_MEMORY = 50_000
OWN_WINDOW = Rolling(7 * DAY_US)

Labels: TypeAlias = tuple[str, str, str | None, str | None]  # channel, topic, campaign, team

NO_VARIANTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pause:
    """Contacts stopped by a person's hand, or by the complaint breaker, until an instant or until further notice."""

    name: str
    selector: Selector = EVERYTHING
    from_us: int = 0
    until_us: int | None = None
    is_breaker: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """The budgets that select a contact, as bits of the policy's list, and whether its topic's ceiling does."""

    mask: int
    budgets: tuple[tuple[int, Budget], ...]


@dataclass(frozen=True)
class Rules:
    """A policy in force under a number, with the pauses of the hour and the patches of running experiments.

    `patches[experiment][variant]` is the policy under that variant's patch.
    """

    number: int
    policy: Policy
    pauses: tuple[Pause, ...] = ()
    patches: Mapping[str, Mapping[str, tuple[Budget, ...]]] = field(default_factory=lambda: MappingProxyType({}))
    _selected: dict[Labels, Selected] = field(
        default_factory=dict[Labels, Selected], init=False, repr=False, compare=False
    )
    _patched: "dict[frozenset[tuple[str, str]], Rules]" = field(
        default_factory=dict[frozenset[tuple[str, str]], "Rules"], init=False, repr=False, compare=False
    )

    @cached_property
    def longest_us(self) -> int:
        """The longest time that a contact can occupy a budget or a ceiling; lifetime budgets live by the totals."""
        windows = [budget.window for budget in self.policy.budgets]
        windows += [topic.ceiling.window for topic in self.policy.topics.values() if topic.ceiling]
        return max([OWN_WINDOW.length_us, *(_reach_us(window) for window in windows)])

    def topic(self, name: str) -> Topic | None:
        """The topic's declaration, or None where the policy declares topics and this is none of them."""
        if not self.policy.topics:
            return _ANY_TOPIC
        return self.policy.topics.get(name)

    def selected(self, labels: Labels) -> Selected:
        """The budgets that select a contact with these labels."""
        found = self._selected.get(labels)
        if found is None:
            budgets = tuple(
                (index, budget) for index, budget in enumerate(self.policy.budgets) if budget.selector.selects(*labels)
            )
            found = Selected(sum(1 << index for index, _ in budgets), budgets)
            if len(self._selected) >= _MEMORY:
                self._selected.clear()
            self._selected[labels] = found
        return found

    def under(self, variants: Mapping[str, str]) -> "Rules":
        """These rules as patched for a customer's variants; the rules themselves where none patches a budget."""
        key = frozenset(
            (name, variant) for name, variant in variants.items() if self.patches.get(name, {}).get(variant)
        )
        if not key:
            return self
        found = self._patched.get(key)
        if found is None:
            patched = {budget.name: budget for name, variant in sorted(key) for budget in self.patches[name][variant]}
            budgets = tuple(patched.get(budget.name, budget) for budget in self.policy.budgets)
            found = Rules(self.number, replace(self.policy, budgets=budgets), self.pauses)
            if len(self._patched) >= _MEMORY:
                self._patched.clear()
            self._patched[key] = found
        return found

    def budgets_for(self, customer: Customer, labels: Labels) -> Sequence[tuple[int, Budget]]:
        """The budgets an ask must fit, with a customer's own choices in force; index -1 marks a budget of their own.

        A choice replaces the limit of every budget that selects only that channel or topic. Where there is none, it is
        a budget of its own over seven days: a customer who asked for less gets less under any policy.
        """
        selected = self.selected(labels).budgets
        if not customer.preferences:
            return selected
        channel, topic, _, _ = labels
        budgets = list(selected)
        chosen: dict[int, int | None] = {}
        for choice in customer.preferences:
            if choice.channel not in (None, channel) or choice.topic not in (None, topic):
                continue
            selector = Selector(
                channels=frozenset({choice.channel}) if choice.channel else None,
                topics=frozenset({choice.topic}) if choice.topic else None,
            )
            matched = [at for at, (_, budget) in enumerate(budgets) if _selects_only(budget, selector)]
            for at in matched:
                chosen[at] = _stricter(chosen[at], choice.limit) if at in chosen else choice.limit
            if not matched and choice.limit is not None:
                budgets.append(
                    (-1, Budget(f"own:{choice.channel or choice.topic}", OWN_WINDOW, choice.limit, selector))
                )
        for at, limit in chosen.items():
            index, budget = budgets[at]
            budgets[at] = (index, replace(budget, limit=limit, overrides=()))
        return budgets


def _stricter(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


_ANY_TOPIC = Topic()


def _selects_only(budget: Budget, choice: Selector) -> bool:
    """Whether a budget is about that one channel, or that one topic, and so is the customer's to set."""
    if budget.is_gap:
        return False
    return (choice.channels is not None and budget.selector.channels == choice.channels) or (
        choice.topics is not None and budget.selector.topics == choice.topics
    )


def _reach_us(window: Rolling | CalendarWindow | Lifetime) -> int:
    match window:
        case Rolling():
            return window.length_us
        case CalendarWindow():
            return _LONGEST_PERIOD_US[window.calendar]
        case Lifetime():
            return 0
