"""What speaks against shipping a variant: that its readout does, or that it is not what was tested any more.

A ship is for people to decide, so none of this refuses it; it is told to whoever ships, and stays in the log. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.core.policy import Budget, Policy
from engine.operations.footing import moved, said
from engine.operations.plan_file import patched, patched_budgets
from experiments.design import Experiment, Variant

_AGAINST: Final = ("invalid", "stop", "do_not_ship")


def speaks_against(document: Mapping[str, Any], variant: str, on: object) -> Iterator[str]:
    """What the newest readout of an experiment says against a variant. `document`: as it is kept, of the day `on`."""
    for each in document.get("verdicts", ()):
        if each["variant"] == variant and each["call"] in _AGAINST:
            because = ", ".join(each["because"])
            told = each["call"].replace("_", " ") + (f" ({because})" if because else "")
            yield f"Against its readout: the newest, of {on}, says of {variant!r}: {told}."


def not_as_tested(then: Policy, now: Policy, experiment: Experiment, shipped: Variant) -> Iterator[str]:
    """What is otherwise now than when the experiment was started: the budgets that it changes, under its control and
    under the variant that is shipped, and what it stands on besides."""
    before, after = ({each.name: each for each in patched(policy, shipped).budgets} for policy in (then, now))
    controls = {each.name: each for each in patched_budgets(then, experiment)}
    for budget in patched_budgets(now, experiment):
        control = controls.get(budget.name)
        if control is None or (control, before[budget.name]) == (budget, after[budget.name]):
            continue
        yield (
            f"Not as it was tested: the budget {budget.name} was changed since the start. {shipped.name!r} was tested"
            f" at {said(before[budget.name])}, and ships as {said(after[budget.name])}; its control was at"
            f" {said(control)}, and the policy is at {said(budget)}{_in_more(control, budget)}."
        )
    beside = moved(then, now, experiment)
    if beside:
        yield f"Not as it was tested: since the start, {'; '.join(beside)}."


def _in_more(was: Budget, now: Budget) -> str:
    """That more differs than the limit and the window."""
    return " (with other overrides, weights or asks that it counts)" if said(was) == said(now) else ""
