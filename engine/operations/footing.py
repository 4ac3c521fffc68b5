"""What an experiment on budgets stands on besides the budgets that it changes, and what of that a policy moves.

The rule: of the contacts that its budgets count, what else limits their number. That the policy binds at all; that
their topics are there, use budgets and are not exempt; and every other enforced budget or gap over some of them that
allows fewer a day than the most generous variant does. All else (quiet hours, consent, pauses) may change: it limits no
number. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf
from typing import Final, assert_never

from engine.core.policy import DAY_US, Budget, CalendarWindow, Channel, Lifetime, Policy, PolicyMode, Rolling, Topic
from engine.core.policy_parts import WINDOW_US_MAX
from engine.core.reading_values import duration_text
from engine.core.windows import Calendar
from engine.operations.contamination import may_share_an_ask
from engine.operations.plan_file import budgets_changed, patched
from experiments.design import Experiment

_TOLD_MAX: Final = 10
_CHANNELS: Final = frozenset(map(str, Channel))
PERIOD_DAYS: Final = {Calendar.DAY: 1, Calendar.WEEK: 7, Calendar.MONTH: 31}


def moved(before: Policy, policy: Policy, experiment: Experiment) -> list[str]:
    """What of it is otherwise under the policy than before, in words; nothing where the experiment changes no budget,
    or where both policies only observe. Both must have its budgets."""
    names = budgets_changed(experiment)
    if not names or before.mode is policy.mode is PolicyMode.OBSERVE:
        return []
    own = [each for either in (before, policy) for each in either.budgets if each.name in names]
    found = [*_mode(before, policy), *_topics(before, policy, own), *_others(before, policy, experiment)]
    return found if len(found) <= _TOLD_MAX else [*found[:_TOLD_MAX], f"{len(found) - _TOLD_MAX} more like these"]


def said(budget: Budget) -> str:
    """What a budget allows, in a few words."""
    limit = "no limit" if budget.limit is None else str(budget.limit)
    match budget.window:
        case Rolling():
            return f"{limit} in {duration_text(budget.window.length_us)}"
        case CalendarWindow():
            return f"{limit} a calendar {budget.window.calendar.value}"
        case Lifetime():
            return f"{limit} ever"
        case _:
            assert_never(budget.window)


def _mode(before: Policy, policy: Policy) -> Iterator[str]:
    if before.mode is not policy.mode:
        observes = policy.mode is PolicyMode.OBSERVE
        yield "the policy only observes" if observes else "the policy does not only observe any more"


def _topics(before: Policy, policy: Policy, own: Iterable[Budget]) -> Iterator[str]:
    """Of the topics that were there: one that comes takes nothing away."""
    known = frozenset((*before.topics, *policy.topics))
    selected = [known if each.selector.topics is None else each.selector.topics for each in own]
    for name in sorted(frozenset[str]().union(*selected)):
        was, now = _topic(before, name), _topic(policy, name)
        if was is None or was == now:
            continue
        if now is None:
            yield f"there is no topic {name} any more"
        elif was.exempt != now.exempt:
            yield f"the topic {name} is exempt" if now.exempt else f"the topic {name} is not exempt any more"
        elif was.counts != now.counts:
            yield f"the topic {name} uses budgets" if now.counts else f"the topic {name} uses no budget any more"


def _topic(policy: Policy, name: str) -> Topic | None:
    return policy.topics.get(name) if policy.topics else Topic()


def _others(before: Policy, policy: Policy, experiment: Experiment) -> Iterator[str]:
    was, now = _tighter(before, experiment), _tighter(policy, experiment)
    for each in now:
        if not _is_among(each, was):
            yield f"the budget {each.name} ({said(each)}) allows fewer a day than a variant does"
    names = {each.name for each in now}
    for each in was:
        if each.name not in names and not _is_among(each, now):
            yield f"the budget {each.name} ({said(each)}), which allowed fewer a day than a variant, does so no more"


def _is_among(budget: Budget, others: Iterable[Budget]) -> bool:
    """Whether one of them is the same, whatever its name."""
    return any(replace(each, name=budget.name) == budget for each in others)


def _tighter(policy: Policy, experiment: Experiment) -> list[Budget]:
    """The other enforced budgets that allow fewer a day than the most generous variant does, of contacts that both
    count."""
    names = budgets_changed(experiment)
    own = [
        each
        for variant in experiment.variants
        for each in patched(policy, variant).budgets
        if each.name in names and not each.shadow
    ]
    others = [each for each in policy.budgets if each.name not in names and not each.shadow]
    return [
        each
        for each in others
        if any(may_share_an_ask(policy, mine, each) and _allows_fewer(each, mine) for mine in own)
    ]


def _allows_fewer(other: Budget, mine: Budget) -> bool:
    """A day, at the least of what it allows to anybody against the most."""
    channels = (mine.selector.channels or _CHANNELS) & (other.selector.channels or _CHANNELS)
    heaviest = max(other.weights.get(each, 1) for each in channels)
    lightest = min(mine.weights.get(each, 1) for each in channels)
    kept = other.hold_back.keep if other.hold_back else 0
    return (min(_limits(other)) - kept) / heaviest / _days(other) < max(_limits(mine)) / lightest / _days(mine)


def _limits(budget: Budget) -> list[float]:
    return [inf if each is None else each for each in (budget.limit, *(each.limit for each in budget.overrides))]


def _days(budget: Budget) -> float:
    match budget.window:
        case Rolling():
            return budget.window.length_us / DAY_US
        case CalendarWindow():
            return PERIOD_DAYS[budget.window.calendar]
        case Lifetime():  # longer than any other, and than any experiment
            return WINDOW_US_MAX / DAY_US
        case _:
            assert_never(budget.window)
