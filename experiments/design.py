"""The plan of an experiment: who is assigned to what, and what will be read, fixed before it starts.

Values only, frozen and checked when built: whatever is here was checked, and what is wrong is a `PlanError` with all
problems. `plan_reader` makes plans from YAML and JSON and adds the lines. The parts of a plan live in `variants` and
`metrics`, and are at home here for whoever imports them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import IO, Final

from experiments.plans import rules as plan_rules
from experiments.plans.checking import DAYS_MAX, UNITS_MAX, As, Checks, set_field
from experiments.plans.metrics import (
    AnyMetric,
    Clock,
    Direction,
    Form,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
)
from experiments.plans.variants import VARIANTS_MAX, Condition, Holdout, Layer, Phase, Scalar, Variant

__all__ = ["Clock", "Columns", "Condition", "Direction", "Experiment", "Form", "Holdout", "Inference", "Layer", "Mean"]
__all__ += ["Metric", "Outcome", "Phase", "Rate", "Ratio", "Reachable", "Retention", "Role", "Scalar", "Survival"]
__all__ += ["Value", "Variant"]

METRICS_MAX: Final = 100
PHASES_MAX: Final = 100
CONDITIONS_MAX: Final = 50
TESTERS_MAX: Final = 1_000
SEGMENTS_MAX: Final = 20
HYPOTHESIS_MAX: Final = 2_000
INFERENCE_LATER: Final = ("group_sequential", "bayesian")


class Inference(StrEnum):
    """FIXED is read once, at the planned end; ANYTIME may be read at any time."""

    FIXED = "fixed"
    ANYTIME = "anytime"


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of tables are called. `unit` None: each row of the wide form is a unit that nothing names."""

    unit: str | None = "customer_id"
    variant: str = "variant"
    entered: str = "entered_at"
    phase: str = "phase"
    event: str = "type"
    at: str = "at"
    event_id: str | None = None
    channel: str = "channel"
    suspect: str = "suspect"
    time_zone: str = "time_zone"

    def __post_init__(self) -> None:
        check = Checks()
        for name in (*_OF_UNITS, *_OF_EVENTS):
            value = getattr(self, name)
            if value is not None or name not in ("unit", "event_id"):
                check.text(name, value)
        if not check.problems:
            for names in (_OF_UNITS, ("unit", *_OF_EVENTS)):
                self._differ(check, names)
        check.close()

    def _differ(self, check: Checks, names: Sequence[str]) -> None:
        """A table has one column of a name, in most engines whatever its case."""
        taken: dict[str, str] = {}
        for name in names:
            column: str | None = getattr(self, name)
            if column is not None and taken.setdefault(column.casefold(), name) != name:
                check.add(name, column, f"another column than {taken[column.casefold()]} has")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole plan. `seed` decides the assignment and never changes; by default it is the key.

    Where there are phases, they hold in place of the variants' weights and of `traffic`. The first begins at `start`;
    each has a weight for every variant, 0 for those that it did not name. `planned_units`: how many customers will have
    entered by the end, all variants together; without it the entries of the first `min_days` tell.
    Raises `PlanError` with every problem, where it stands, and why it is one.
    """

    key: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    start: date
    end: date
    hypothesis: str = ""
    seed: str = ""
    traffic: float = 1.0
    layer: Layer | None = None
    holdout: Holdout | None = None
    phases: tuple[Phase, ...] = ()
    audience: tuple[Condition, ...] = ()
    testers: Mapping[str, str] = field(default_factory=dict[str, str])
    min_days: int = 14
    planned_units: int | None = None
    horizon_days: int = 90
    segments: tuple[str, ...] = ()
    alpha: float = 0.05
    inference: Inference = Inference.ANYTIME
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        check = Checks()
        _check_fields(check, self)
        start, end = plan_rules.check_times(check, self.start, self.end, self.min_days)
        if self.planned_units is not None:
            check.whole("planned_units", self.planned_units, 2, UNITS_MAX)
        horizon_days = check.whole("horizon_days", self.horizon_days, 1, DAYS_MAX)
        variants = _check_arms(check, self, start, end)
        about_budgets = any(each and (each.policy or each.dose is not None) for each in variants)
        _check_metrics(check, self, about_budgets, horizon_days)
        check.close()
        if not self.seed:
            set_field(self, "seed", self.key)

    @classmethod
    def from_yaml(cls, source: "str | os.PathLike[str] | IO[str] | IO[bytes]") -> "Experiment":
        """The plan in a file, by path or open; JSON will do. Raises `PlanError` with lines, and `OSError`."""
        from experiments.plans import reader as plan_reader  # the reader makes experiments, so it imports this file

        return plan_reader.read(source)

    @property
    def control(self) -> Variant:
        return next(each for each in self.variants if each.control)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        return tuple(each for each in self.variants if not each.control)

    @property
    def is_about_budgets(self) -> bool:
        """Whether the budget is the treatment: then outcomes are per customer, and the dose is read too."""
        return any(each.policy or each.dose is not None for each in self.variants)


def _check_fields(check: Checks, plan: Experiment) -> None:
    """What stands by itself."""
    check.text("key", plan.key)
    if plan.seed != "":
        check.text("seed", plan.seed)
    if plan.hypothesis != "":
        check.paragraph("hypothesis", plan.hypothesis, HYPOTHESIS_MAX)
    traffic = check.number("traffic", plan.traffic, least=0, most=1)
    if traffic == 0 and not plan.phases:
        check.add("traffic", traffic, "a share above 0: nobody would be in the experiment")
    alpha = check.number("alpha", plan.alpha, above=0, most=0.5)
    if alpha == 0.5:
        check.add("alpha", alpha, "a number below 0.5")
    set_field(plan, "inference", check.choice("inference", plan.inference, Inference, later=INFERENCE_LATER))
    for name, kind in (("layer", Layer), ("holdout", Holdout)):
        if getattr(plan, name) is not None:
            check.part(name, getattr(plan, name), kind)
    audience = check.parts("audience", plan.audience, Condition, CONDITIONS_MAX)
    check.differ("audience", (each and each.attribute for each in audience))
    set_field(plan, "audience", tuple(audience))
    set_field(plan, "segments", check.texts("segments", plan.segments, SEGMENTS_MAX))


def _check_arms(check: Checks, plan: Experiment, start: date | None, end: date | None) -> list[Variant | None]:
    """Variants, and the phases and testers that name them."""
    variants = check.parts("variants", plan.variants, Variant, VARIANTS_MAX, least=2)
    phases = check.parts("phases", plan.phases, Phase, PHASES_MAX)
    testers = check.mapping("testers", plan.testers, TESTERS_MAX)
    all_variants = [each for each in variants if each is not None]
    plan_rules.check_phase_dates(check, phases, start, end)
    if variants and len(all_variants) == len(variants):  # otherwise what the others are called is anyone's guess
        plan_rules.check_variants(check, all_variants)
        plan_rules.check_weights(check, all_variants, phases)
        plan_rules.check_testers(check, all_variants, testers)
        phases = plan_rules.complete(phases, all_variants)
    set_field(plan, "variants", tuple(variants))
    set_field(plan, "phases", tuple(phases))
    set_field(plan, "testers", testers)
    return variants


def _check_metrics(check: Checks, plan: Experiment, about_budgets: bool, horizon_days: int | None) -> None:
    metrics = check.parts("metrics", plan.metrics, AnyMetric, METRICS_MAX, least=1)
    columns = check.part("columns", plan.columns, Columns)
    check.differ("metrics", (each and each.name for each in metrics), "name")
    if metrics and None not in metrics and not any(each and each.role is Role.PRIMARY for each in metrics):
        check.add("metrics", As("no primary"), "at least one metric of role primary: without, no verdict is ever ship")
    for i, metric in enumerate(metrics):
        path = f"metrics[{i}]"
        if about_budgets:
            plan_rules.check_denominator(check, path, metric)
        if horizon_days:
            plan_rules.check_horizon(check, path, metric, horizon_days)
        if columns and columns.unit is None:
            plan_rules.check_columns(check, path, metric)
    if about_budgets and columns:
        plan_rules.check_unit(check, columns.unit)
    set_field(plan, "metrics", tuple(metrics))


_OF_UNITS: Final = ("unit", "variant", "entered", "phase", "time_zone")
_OF_EVENTS: Final = ("event", "at", "event_id", "channel", "suspect")
