"""Who gets what: variants, phases, layers, holdouts, and the conditions of an audience.

Values only, frozen and checked when built. Who is assigned by them is the business of `assignment`; what only shows
beside the rest of the plan (names, the order of phases) is checked by `design`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeAlias, cast

from experiments.plans.checking import UNREAD, As, Checks, described, entry, set_field

Scalar: TypeAlias = bool | int | float | str

VARIANTS_MAX: Final = 50
SLOTS: Final = 10_000
WEIGHT_MAX: Final = 1e6
VALUES_MAX: Final = 1_000
PATCH_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm. `dose` is the limit that it sets; `policy` the patch of a budget experiment, as the engine reads it."""

    name: str
    weight: float = 1.0
    control: bool = False
    dose: float | None = None
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check = Checks()
        check.text("name", self.name)
        check.number("weight", self.weight, least=0, most=WEIGHT_MAX)
        check.flag("control", self.control)
        dose_is_known = self.dose is None or check.number("dose", self.dose, least=0) is not None
        policy = None if self.policy is UNREAD else _copied(check, self.policy)
        limits = _limits(check, policy) if policy else None
        if limits is not None and dose_is_known and self.dose is not None and self.dose not in limits:
            found = As(f"{described(self.dose)}, where the policy's patch sets {_listed(limits)}")
            check.add("dose", found, "the limit itself: a dose is what the patch allows")
        check.close()
        set_field(self, "policy", policy)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of constant weights and traffic, from a date on. Analysed as a stratum."""

    start: date
    weights: Mapping[str, float]
    traffic: float = 1.0

    def __post_init__(self) -> None:
        check = Checks()
        check.day("start", self.start)
        check.number("traffic", self.traffic, least=0, most=1)
        weights = check.mapping("weights", self.weights, VARIANTS_MAX)
        for name, weight in weights.items():
            check.number(entry("weights", name), weight, least=0, most=WEIGHT_MAX)
        set_field(self, "weights", weights)
        check.close()


@dataclass(frozen=True, slots=True)
class Layer:
    """Experiments of one layer exclude each other: each has slots of 10,000 of its own, [first, after)."""

    name: str
    first: int
    after: int

    def __post_init__(self) -> None:
        check = Checks()
        check.text("name", self.name)
        first = check.whole("first", self.first, 0, SLOTS - 1)
        after = check.whole("after", self.after, 1, SLOTS)
        if first is not None and after is not None and after <= first:
            check.add("after", after, f"a slot after {first}: it is the first that is not the experiment's own")
        check.close()


@dataclass(frozen=True, slots=True)
class Holdout:
    """Customers kept out of all experiments: a share, chosen by a seed of its own."""

    name: str
    share: float

    def __post_init__(self) -> None:
        check = Checks()
        check.text("name", self.name)
        share = check.number("share", self.share, above=0, most=1)
        if share == 1:
            check.add("share", share, "a share below 1: it leaves nobody for the experiment")
        check.close()


@dataclass(frozen=True, slots=True)
class Condition:
    """An attribute compared with a value: `equal`, `among` several, or from `at_least` on and `below` another."""

    attribute: str
    equal: Scalar | None = None
    among: tuple[Scalar, ...] | None = None
    at_least: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        check = Checks()
        check.text("attribute", self.attribute)
        forms = [
            self.equal is not None,
            self.among is not None,
            self.at_least is not None or self.below is not None,
        ]
        if sum(forms) != 1:
            found = As("several comparisons" if any(forms) else "nothing")
            check.add("", found, "equal, among, or at_least and below (one of the two or both)")
        if self.equal is not None:
            _scalar(check, "equal", self.equal)
        if self.among is not None:
            values = check.items("among", self.among, VALUES_MAX, least=1) or ()
            for i, value in enumerate(values):
                _scalar(check, f"among[{i}]", value)
            set_field(self, "among", tuple(values))
        low, high = (
            None if getattr(self, name) is None else check.number(name, getattr(self, name))
            for name in ("at_least", "below")
        )
        if low is not None and high is not None and high <= low:
            check.add("below", high, f"a number above {described(low)}: nothing lies between them")
        check.close()


def _scalar(check: Checks, path: str, value: object) -> None:
    match value:
        case bool():
            pass
        case str():
            check.text(path, value)
        case int() | float():
            check.number(path, value)
        case _:
            check.add(path, value, "a text, a number, true or false")


def _limits(check: Checks, policy: Mapping[str, Any]) -> list[object] | None:
    """The limits that a patch sets, a null for none; None where they cannot be read."""
    budgets = policy.get("budgets", {})
    if not isinstance(budgets, dict):
        return check.add("policy.budgets", budgets, "a mapping of budgets")
    limits: list[object] = []
    before = len(check.problems)
    for name, budget in cast("dict[str, object]", budgets).items():
        path = entry("policy.budgets", name)
        if not isinstance(budget, dict):
            check.add(path, budget, "a mapping such as {limit: 3}")
        elif "limit" in budget:
            limit = cast("dict[str, object]", budget)["limit"]
            limits.append(limit)
            if limit is not None:
                check.number(f"{path}.limit", limit, least=0)
    return limits if len(check.problems) == before else None


def _listed(limits: list[object]) -> str:
    return " and ".join(f"a limit of {described(each)}" for each in limits[:3]) if limits else "no limit"


def _copied(check: Checks, policy: object) -> dict[str, Any] | None:
    """A copy of a patch, so that nobody changes a plan from outside."""
    try:
        text = json.dumps(policy, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return check.add("policy", As("what JSON cannot say"), "a patch such as {budgets: {push-weekly: {limit: 3}}}")
    copy: object = json.loads(text)
    if len(text) > PATCH_MAX or not isinstance(copy, dict):
        return check.add("policy", policy, f"a mapping of at most {PATCH_MAX:,} characters in all")
    return cast("dict[str, Any]", copy)
