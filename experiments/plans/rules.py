"""What must hold between the parts of a plan: functions of parts that are valid by themselves.

Each reports to the `Checks` that it is given, with the path within the plan and the reason, and never raises. A part
that could not be read is None, and no rule is held against it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from experiments.plans.checking import DAYS_MAX, As, Checks, described, entry
from experiments.plans.metrics import (
    AnyMetric,
    Mean,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
)
from experiments.plans.variants import Phase, Variant

Phases = Sequence[Phase | None]


def check_times(check: Checks, start: object, end: object, min_days: object) -> tuple[date | None, date | None]:
    """A plan ends after it starts, and not before it may be read for the first time."""
    first, last = check.day("start", start), check.day("end", end)
    least = check.whole("min_days", min_days, 1, DAYS_MAX)
    if first and last:
        length = (last - first).days
        if length <= 0:
            check.add("end", last, f"a date after the start, {first}")
        elif length > DAYS_MAX:
            check.add("end", last, f"at most {DAYS_MAX:,} days after the start, {first}")
        elif least and least > length:
            check.add("min_days", least, f"at most {length}, the days from start to end")
    return first, last


def check_variants(check: Checks, variants: Sequence[Variant]) -> None:
    """Names differ, and exactly one is the control."""
    check.differ("variants", (each.name for each in variants), "name")
    controls = [each.name for each in variants if each.control]
    if len(controls) != 1:
        found = f"{len(controls)} controls, {_listed(controls)}" if controls else "no control"
        check.add("variants", As(found), "exactly one variant with control: true")


def check_phase_dates(check: Checks, phases: Phases, start: date | None, end: date | None) -> None:
    """The first begins with the plan, each after the one before, all before the end."""
    before: date | None = None
    for i, phase in enumerate(phases):
        path = f"phases[{i}].start"
        if phase and i == 0 and start and phase.start != start:
            check.add(path, phase.start, f"{start}, the start of the plan")
        elif phase and before and phase.start <= before:
            check.add(path, phase.start, f"a date after {before}, where the phase before begins")
        elif phase and end and phase.start >= end:
            check.add(path, phase.start, f"a date before the end, {end}")
        before = phase.start if phase else None


def check_weights(check: Checks, variants: Sequence[Variant], phases: Phases) -> None:
    """Phases name variants, all of them between them; at one time two have customers, one of these the control."""
    names = [each.name for each in variants]
    named = {name for phase in phases if phase for name in phase.weights}
    for i, phase in enumerate(phases):
        for name in phase.weights if phase else ():
            if name not in names:
                check.add(entry(f"phases[{i}].weights", name), As("an unknown variant"), _listed(names, "or"))
    if None in phases:
        return
    forgotten = [name for name in names if phases and name not in named]
    if forgotten:
        check.add("phases", As(f"no weight of {_listed(forgotten)}"), "one in at least one phase, 0 for no customers")
    control = next((each.name for each in variants if each.control), None)
    weights = [each.weights for each in phases if each and each.traffic > 0]
    if not phases:
        weights = [{each.name: each.weight for each in variants}]
    if control is not None and not any(_compares(each, control) for each in weights):
        found = As("the control or all others without customers" + (" in every phase" if phases else ""))
        check.add("phases" if phases else "variants", found, "weights (and traffic) above 0 in both at one time")


def complete(phases: Phases, variants: Sequence[Variant]) -> tuple[Phase | None, ...]:
    """Phases with a weight for every variant: what a phase does not name has no customers in it."""
    names = [each.name for each in variants]
    return tuple(
        each and replace(each, weights={name: each.weights.get(name, 0.0) for name in names}) for each in phases
    )


def check_testers(check: Checks, variants: Sequence[Variant], testers: Mapping[str, object]) -> None:
    names = [each.name for each in variants]
    for unit, name in testers.items():
        if name not in names:
            check.add(entry("testers", unit), name, f"the name of a variant: {_listed(names, 'or')}")


def check_denominator(check: Checks, path: str, metric: AnyMetric | None) -> None:
    """In an experiment about budgets, nothing is decided by a ratio: the treatment moves what it divides by."""
    if isinstance(metric, Ratio) and metric.role in (Role.PRIMARY, Role.GUARDRAIL):
        check.add(f"{path}.role", metric.role, _WHY_NO_RATIO)


def check_unit(check: Checks, unit: str | None) -> None:
    """In an experiment about budgets nothing is counted per message: there are more of them where more are allowed."""
    if unit is not None and unit.casefold() in _PER_MESSAGE:
        check.add("columns.unit", unit, WHY_THE_CUSTOMER)


def check_horizon(check: Checks, path: str, metric: AnyMetric | None, horizon_days: int) -> None:
    if isinstance(metric, Survival) and metric.horizon_days > horizon_days:
        expected = f"at most {horizon_days}, the horizon_days of the plan"
        check.add(f"{path}.horizon_days", metric.horizon_days, expected)


def check_columns(check: Checks, path: str, metric: AnyMetric | None) -> None:
    """Where nothing names the units, no event can be theirs."""
    match metric:
        case Survival():
            held = metric.duration is not None
        case Reachable():
            held = metric.column is not None
        case Rate() | Mean() | Retention():
            held = _has_column(metric.outcome)
        case Ratio():
            held = _has_column(metric.numerator) and _has_column(metric.denominator)
        case Value():
            held = all(map(_has_column, (metric.revenue, metric.contacts, metric.lost_reach)))
        case _:
            held = True
    if not held:
        check.add(path, As("events alone"), "columns: where nothing names the units (unit: null), none has events")


def _has_column(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.column is not None


def _compares(weights: Mapping[str, float], control: str) -> bool:
    return weights.get(control, 0) > 0 and any(weight > 0 for name, weight in weights.items() if name != control)


def _listed(names: Iterable[str], word: str = "and") -> str:
    *most, last = map(described, names)
    return f"{', '.join(most)} {word} {last}" if most else last


WHY_THE_CUSTOMER: Final = (
    "customer_id: a budget is a customer's, and changes how many messages there are, so that a metric per message "
    "compares different things (where a table calls the customer otherwise, columns.unit names that column)"
)
_PER_MESSAGE: Final = frozenset(
    f"{noun}{ending}"
    for noun in ("message", "contact", "ask", "send", "delivery", "event", "campaign")
    for ending in ("", "_id", "id")
)
_WHY_NO_RATIO: Final = (
    "secondary or descriptive: a budget changes how many messages, opens and subscribers there are, so that a ratio to "
    "any of them compares different things; what decides is counted per customer"
)
