"""Plans made ready for decisions: what a ruleset says of running experiments and holdouts, as part of its rules.

Here `experiments` and `engine.core` meet: the formula of a plan is handed to rules that know no plans. A plan is read
and a patch compiled once for each form they have; what is made here belongs to a ruleset's number and never changes.
"""

import json
import logging
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from engine.core.customer import Customer
from engine.core.errors import InvalidPolicy, Unavailable
from engine.core.policy import DAY_US, Budget, CalendarWindow, Policy
from engine.core.policy_reader import read_patch
from engine.core.rules import Holdout, Pause, Place, Rules, RunningExperiment
from experiments.design import Experiment
from experiments.errors import PlanError
from experiments.plans.reader import read_data

# The formula brings numpy, which every command of `takt` would load: it is imported where a plan is made ready.
if TYPE_CHECKING:
    from experiments.assigning.draws import Draw

_DAY_ZERO: Final = date(1970, 1, 1).toordinal()
_PLANS_MAX: Final = 200

log = logging.getLogger("takt.running")


def rules_of(
    number: int,
    policy: Policy,
    pauses: tuple[Pause, ...],
    experiments: Iterable[Mapping[str, Any]] = (),
    holdouts: Iterable[Mapping[str, Any]] = (),
    frozen: Mapping[int, Policy] = MappingProxyType({}),
) -> Rules:
    """A ruleset's rules. `experiments` and `holdouts` are as it has them; `frozen` are the policies that holdouts name.

    Frozen of those are the budgets alone. Topics, consents, quiet hours, pauses and the mode bind customers of a
    holdout as everybody: an emergency stop must stop, and a consent rule is none of the question that they are held
    back for. Raises `Unavailable` where a plan cannot be read: whom it would have treated cannot be known then.
    """
    running: list[RunningExperiment] = []
    patches: dict[int, Mapping[int, tuple[Budget, ...]]] = {}
    for each in experiments:
        formula = _formula(json.dumps(each["plan"], sort_keys=True))
        plan = formula.plan
        names = tuple(variant.name for variant in plan.variants)
        running.append(RunningExperiment(each["number"], plan.key, names, formula, plan.segments))
        changed = _patches(policy, plan)
        if any(changed.values()):
            patches[each["number"]] = changed
    kept = [_holdout(each, Rules(number, _held(policy, frozen[each["policy_version"]]), pauses)) for each in holdouts]
    kept.sort(key=lambda each: (each.from_us, each.name))  # where a customer is in two, the older binds
    return Rules(number, policy, pauses, MappingProxyType(patches), tuple(running), tuple(kept))


class Formula:
    """A plan's formula, for customers as of an instant: by attributes as they then are, derived ones too."""

    def __init__(self, plan: Experiment) -> None:
        from experiments.assignment import Allocation, Reason

        self.plan = plan
        self._allocation = Allocation(plan)
        self._tester = Reason.TESTER
        self._numbers = {each.name: number for number, each in enumerate(plan.variants)}
        self._asked_for = tuple({each.attribute for each in plan.audience})
        self._phases = [each.start for each in plan.phases]
        self._out = {each: Place(None, each.value) for each in Reason}

    def __call__(self, customer_id: str, customer: Customer, now_us: int, /) -> Place:
        entered = date.fromordinal(_DAY_ZERO + now_us // DAY_US) if self._phases else None
        attributes = {name: customer.attribute(name, now_us) for name in self._asked_for} if self._asked_for else None
        found = self._allocation.assign(customer_id, attributes=attributes, entered=entered)
        if found.variant is None:
            return self._out[found.reason]
        phase = 0 if entered is None else max(bisect_right(self._phases, entered) - 1, 0)
        return Place(self._numbers[found.variant], found.reason.value, phase, found.reason is self._tester)


@dataclass(frozen=True, slots=True)
class _Share:
    """The customers of a holdout."""

    draw: "Draw"
    below: int

    def __call__(self, customer_id: str) -> bool:
        return self.draw.pair(customer_id.encode())[0] < self.below


@lru_cache(maxsize=_PLANS_MAX)  # a plan comes again in each of the rulesets that pauses and policies make
def _formula(text: str) -> Formula:
    try:
        return Formula(read_data(json.loads(text)))
    except PlanError as error:
        raise Unavailable(f"the plan of a running experiment cannot be read, so nothing is decided: {error}") from error


def _patches(policy: Policy, plan: Experiment) -> Mapping[int, tuple[Budget, ...]]:
    """The budgets that each variant changes. One whose patch does not fit the policy is under the policy as it is.

    An activation refuses such a policy; this is for the day that it does not: contacts go on.
    """
    found: dict[int, tuple[Budget, ...]] = {}
    for number, variant in enumerate(plan.variants):
        patched = policy
        if variant.policy:
            try:
                patched = read_patch(policy, dict(variant.policy))
            except InvalidPolicy:
                log.error("the patch of a variant does not fit the policy in force, and is left out")
        changed = {each.name for each in patched.budgets} & set(variant.policy.get("budgets", ()))
        found[number] = tuple(each for each in patched.budgets if patched is not policy and each.name in changed)
    return MappingProxyType(found)


def _held(policy: Policy, kept: Policy) -> Policy:
    """The policy of a holdout: the budgets of the version that it keeps, and all else as the policy in force has it.

    A budget may name topics that are declared no more: it selects no ask about them. Where nothing in the policy in
    force reads a time zone, and so it need not say what holds without one, the version kept says it for its budgets.
    """
    silent = policy.unknown_timezone is None and not _reads_zone(policy)
    zone = kept.unknown_timezone if silent else policy.unknown_timezone
    return replace(policy, budgets=kept.budgets, unknown_timezone=zone)


def _reads_zone(policy: Policy) -> bool:
    ceilings = [topic.ceiling for topic in policy.topics.values() if topic.ceiling]
    windows = [each.window for each in (*policy.budgets, *ceilings)]
    return bool(policy.quiet_hours) or any(isinstance(each, CalendarWindow) for each in windows)


def _holdout(data: Mapping[str, Any], rules: Rules) -> Holdout:
    from experiments.assigning.draws import Draw, threshold

    contains = _Share(Draw("holdout", data["seed"]), threshold(data["share"]))
    return Holdout(data["name"], data["from_us"], data["until_us"], contains, rules)
