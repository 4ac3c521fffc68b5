"""Which experiments may not run at the same time: those between which one ask could be charged.

Two that change budgets conflict when some ask is selected by a budget of each; what an answer did could then be told of
neither. Slots of one layer keep their customers apart. Pure: the policy and plans in, a sentence out.
"""

from collections.abc import Iterable, Sequence

from engine.core.errors import Conflict
from engine.core.policy import Budget, Policy
from engine.operations.plan_file import misfits, patched_budgets
from engine.operations.yaml_data import written
from experiments.design import Experiment, Layer
from experiments.plans.variants import SLOTS


def conflict(policy: Policy, starting: Experiment, running: Iterable[Experiment]) -> str | None:
    """Why one more experiment may not run beside those that do, and what to do about it; None where it may."""
    others = list(running)
    for other in others:
        why = (
            _overlap_in_layer(starting, other, others)
            or _same_seed(starting, other)
            or _shared_asks(policy, starting, other, others)
        )
        if why:
            return why
    return None


def check_policy(before: Policy, policy: Policy, running: Sequence[Experiment]) -> None:
    """Raise `Conflict` where the policy would change, under a running experiment, what it stands on: its budgets, the
    limits of its control (the control is the policy), and what keeps it apart from others."""
    for place, each in enumerate(running):
        problems = misfits(policy, each)
        why = (
            f"it does not fit this policy ({problems[0]})"
            if problems
            else _moves_control(before, policy, each) or conflict(policy, each, running[:place])
        )
        if why:
            raise Conflict(f"the experiment {each.key!r} is running, and {why}: stop it first, or leave its budget")


def touched(before: Policy, policy: Policy, running: Iterable[Experiment]) -> list[Experiment]:
    """The experiments of whose budgets one would be another under the policy, in whatever way."""
    return [each for each in running if patched_budgets(before, each) != patched_budgets(policy, each)]


def may_share_an_ask(policy: Policy, one: Budget, other: Budget) -> bool:
    """Whether some ask could be charged to both budgets."""
    for mine, theirs in (
        (one.selector.channels, other.selector.channels),
        (one.selector.campaigns, other.selector.campaigns),
        (one.selector.teams, other.selector.teams),
    ):
        if mine is not None and theirs is not None and not mine & theirs:
            return False
    mine, theirs = one.selector.topics, other.selector.topics
    if mine is None and theirs is None and not policy.topics:
        return True  # any topic is accepted
    every = (
        frozenset(policy.topics) if mine is None and theirs is None else (mine or frozenset()) | (theirs or frozenset())
    )
    shared = every if mine is None or theirs is None else mine & theirs
    return any(name not in policy.topics or not policy.topics[name].exempt for name in shared)


def _overlap_in_layer(starting: Experiment, other: Experiment, others: list[Experiment]) -> str | None:
    mine, theirs = starting.layer, other.layer
    if mine is None or theirs is None or mine.name != theirs.name:
        return None
    if mine.first >= theirs.after or theirs.first >= mine.after:
        return None
    return (
        f"the running experiment {other.key!r} has the slots {theirs.first} to {theirs.after} of the layer"
        f" {theirs.name!r}, and this plan asks for {mine.first} to {mine.after}: {_room(theirs, others)}"
    )


def _moves_control(before: Policy, policy: Policy, experiment: Experiment) -> str | None:
    """By the limits themselves: a plan need not say its doses."""
    limits = {each.name: each.limit for each in patched_budgets(before, experiment)}
    for budget in patched_budgets(policy, experiment):
        was, now = limits.get(budget.name, budget.limit), budget.limit
        if was != now:
            was, now = ("none" if each is None else each for each in (was, now))
            return f"its control would have another limit of {budget.name}, {now} and not {was}"
    return None


def _same_seed(starting: Experiment, other: Experiment) -> str | None:
    """Whoever is in an arm of one would be in the same arm of the other: neither could be told apart."""
    if starting.seed != other.seed or _are_apart(starting, other):
        return None
    return (
        f"it has the seed of the running experiment {other.key!r}, and so the same customers in its arms: give another"
    )


def _are_apart(starting: Experiment, other: Experiment) -> bool:
    """Whether they are in one layer, in which slots that overlap were refused."""
    return starting.layer is not None and other.layer is not None and starting.layer.name == other.layer.name


def _shared_asks(policy: Policy, starting: Experiment, other: Experiment, others: list[Experiment]) -> str | None:
    if _are_apart(starting, other):
        return None
    pairs = (
        (mine, theirs)
        for mine in patched_budgets(policy, starting)
        for theirs in patched_budgets(policy, other)
        if may_share_an_ask(policy, mine, theirs)
    )
    found = next(pairs, None)
    if found is None:
        return None
    mine, theirs = (each.name for each in found)
    what = (
        f"both change the budget {mine}"
        if mine == theirs
        else f"one ask could be charged to {mine} here and to {theirs} there"
    )
    advice = (
        f"put this one into its layer: {_room(other.layer, others)}"
        if other.layer
        else f"stop it first, then give both slots of one layer, such as {_slots('budgets', 0, SLOTS // 2)} and"
        f" {_slots('budgets', SLOTS // 2, SLOTS)}"
    )
    return f"it conflicts with the running experiment {other.key!r} ({what}): {advice}"


def _room(layer: Layer, running: Iterable[Experiment]) -> str:
    """The widest stretch of a layer that no running experiment has."""
    taken = sorted(
        (each.layer.first, each.layer.after) for each in running if each.layer and each.layer.name == layer.name
    )
    free: list[tuple[int, int]] = []
    at = 0
    for first, after in [*taken, (SLOTS, SLOTS)]:
        if first > at:
            free.append((at, first))
        at = max(at, after)
    if not free:
        return f"the layer {layer.name!r} is full, so wait for one of its experiments to end"
    return f"free is {_slots(layer.name, *max(free, key=lambda each: each[1] - each[0]))}"


def _slots(name: str, first: int, after: int) -> str:
    return f"layer: {{name: {written(name)}, slots: [{first}, {after}]}}"
