"""The plan of an experiment as the service takes it: read with the line of every problem, and held against a policy.

What a plan is, `experiments` knows; what a budget is, `engine.core`. Here the two meet: a patch must name budgets that
the policy has, and a dose must be the limit that it stands for.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from engine.core.errors import InvalidPlan, InvalidPolicy, Problem
from engine.core.policy import Budget, Policy
from engine.core.policy_reader import read_patch
from engine.core.reading import described, join
from engine.store.analysis import RESERVED
from experiments.design import Experiment, Mean, Metric, Outcome, Rate, Ratio, Retention, Value, Variant
from experiments.errors import PlanError
from experiments.plans import reader
from experiments.plans.text import parse

CUSTOMER: Final = "customer_id"
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was written (`source`), as JSON-like data in the form of the file, and as what it means."""

    source: str
    data: dict[str, Any]
    experiment: Experiment
    lines: Mapping[str, int]

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        return [each if each.line else replace(each, line=self._line(each.path)) for each in problems]

    def _line(self, path: str) -> int | None:
        """Where the path stands, or the innermost entry on the way to it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def load_plan(text: str | bytes, source: str = "plan") -> Plan:
    """The plan in the text, YAML or JSON; raises `InvalidPlan` with every problem, its line, and the source's name."""
    try:
        experiment = reader.read(io.StringIO(text) if isinstance(text, str) else io.BytesIO(text))
        document = parse(text)
    except PlanError as error:
        raise InvalidPlan(_problems(error), source) from None
    data = cast("dict[str, Any]", document.data)
    plan = Plan(text if isinstance(text, str) else text.decode("utf-8-sig"), data, experiment, dict(document.lines))
    problems = [*_unkept(data), *_unread(plan)]
    if problems:
        raise InvalidPlan(plan.placed(problems), source)
    return plan


def kept_plan(source: str, data: dict[str, Any]) -> Plan:
    """A plan that is on record, as it stands now: `data` may have moved on from what was written."""
    return Plan(source, data, read_plan(data), {})


def read_plan(data: object) -> Experiment:
    """What JSON-like data means, in the form of the file; raises `InvalidPlan`, without lines."""
    try:
        return reader.read_data(data)
    except PlanError as error:
        raise InvalidPlan(_problems(error)) from None


def budgets_changed(experiment: Experiment) -> frozenset[str]:
    """The names of the budgets that some variant patches."""
    return frozenset(name for each in experiment.variants for name in _patched(each))


def misfits(policy: Policy, experiment: Experiment) -> list[Problem]:
    """Why the experiment cannot run under the policy, with the places in its plan; nothing where it can."""
    found: list[Problem] = []
    names = budgets_changed(experiment)
    limits = {budget.name: budget.limit for budget in policy.budgets if budget.name in names}
    for i, variant in enumerate(experiment.variants):
        path = f"variants[{i}]"
        if variant.policy and variant.control:
            found.append(Problem(f"{path}.policy", "a patch", "none: the control is the policy as it is"))
        elif variant.policy:
            found += _misfit_patch(policy, variant, path)
        elif variant.dose is not None:
            found += _misfit_dose(variant, path, limits)
    return found


def patched(policy: Policy, variant: Variant) -> Policy:
    """The policy under a variant's patch; the policy itself where it has none."""
    return read_patch(policy, dict(variant.policy)) if variant.policy else policy


def patched_budgets(policy: Policy, experiment: Experiment) -> list[Budget]:
    """The policy's budgets that some variant patches."""
    names = budgets_changed(experiment)
    return [each for each in policy.budgets if each.name in names]


def _misfit_patch(policy: Policy, variant: Variant, path: str) -> Iterator[Problem]:
    try:
        read_patch(policy, dict(variant.policy))
    except InvalidPolicy as invalid:
        for each in invalid.problems:
            within = f".{each.path}" if each.path and not each.path.startswith("[") else each.path
            yield replace(each, path=f"{path}.policy{within}")


def _misfit_dose(variant: Variant, path: str, limits: Mapping[str, int | None]) -> Iterator[Problem]:
    """A variant without a patch is the policy: its dose is the limit of a budget that the others change."""
    shown = f"{variant.dose:g}"
    if not limits:
        yield Problem(
            f"{path}.dose", shown, "a patch of a budget of the policy in some variant: a dose is a budget's limit"
        )
    elif variant.dose not in limits.values():
        listed = " and ".join(
            f"{'no limit' if limit is None else limit} of {name}" for name, limit in sorted(limits.items())
        )
        yield Problem(f"{path}.dose", shown, f"the policy's own limit: {listed}")


def _patched(variant: Variant) -> list[str]:
    budgets: object = variant.policy.get("budgets")
    return list(cast("dict[str, object]", budgets)) if isinstance(budgets, dict) else []


def _unread(plan: Plan) -> Iterator[Problem]:
    """What the service cannot keep or read: keys that lead nowhere, units but customers, columns of tables."""
    key, unit = plan.experiment.key, plan.experiment.columns.unit
    if not _KEY.fullmatch(key):
        expected = "at most 100 letters, digits and - _ . :, so that the key can stand in an address"
        yield Problem("key", described(key), expected)
    if plan.data.get("unit") != CUSTOMER and unit != CUSTOMER:
        path = "unit" if "unit" in plan.data else "columns.unit"
        yield Problem(path, described(unit), f"{CUSTOMER}: the service assigns customers, and reads them")
    for i, metric in enumerate(plan.experiment.metrics):
        outcomes = _outcomes(metric)
        if any(each.event is None for each in outcomes.values()):
            yield Problem(f"metrics[{i}]", "a column alone", "an event: the service reads events, and no columns")
        for path, each in outcomes.items():
            if each.value in RESERVED:
                expected = f"a number of the event: {', '.join(sorted(RESERVED))} say which event it is, and are none"
                yield Problem(f"metrics[{i}].{path}", described(each.value), expected)


def _outcomes(metric: Metric) -> dict[str, Outcome]:
    """Where a metric's numbers come from, each under the path of the field that it sums."""
    match metric:
        case Rate() | Mean() | Retention():
            found: dict[str, Outcome | None] = {"value": metric.outcome}
        case Ratio():
            found = {"numerator.value": metric.numerator, "denominator.value": metric.denominator}
        case Value():
            found = {
                "revenue.value": metric.revenue,
                "contacts.value": metric.contacts,
                "lost_reach.value": metric.lost_reach,
            }
        case _:
            found = {}
    return {path: each for path, each in found.items() if each is not None}


def _unkept(data: object, path: str = "") -> Iterator[Problem]:
    """Texts that no database keeps: escapes let NUL and lone surrogates past the check of the characters."""
    match data:
        case dict():
            for key, value in cast("dict[str, object]", data).items():
                place = join(path, key)
                yield from _unkept(key, place)
                yield from _unkept(value, place)
        case list():
            for i, value in enumerate(cast("list[object]", data)):
                yield from _unkept(value, join(path, i))
        case str() if not _is_kept(data):
            yield Problem(path, described(data), "printable text")
        case _:
            pass


def _is_kept(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _problems(error: PlanError) -> list[Problem]:
    return [Problem(each.path, each.found, each.expected, each.line) for each in error.problems]


def as_text(plan: Mapping[str, Any]) -> str:
    """A plan that came as JSON, as the text that is kept of it."""
    return json.dumps(plan, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
