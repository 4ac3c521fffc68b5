"""The plan by which a holdout is read: the shipped experiment's own metrics, each watched to the day of the readout.

Everybody enters at the ship, so the experiment's windows would be over after the first readout, and the later ones
would say it again. Roles, directions and margins stay what was agreed. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Final, assert_never

from experiments.design import (
    Experiment,
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
    Variant,
)

HELD: Final = "holdout"
_ROLES: Final = (Role.PRIMARY, Role.GUARDRAIL, Role.SECONDARY, Role.DESCRIPTIVE)


def held_plan(plan: Experiment, shipped: str, share: float, start: date, end: date, days: int) -> Experiment:
    """Who was held back against everybody else. `start`: the day of the ship; decided on `end`; read after `days`."""
    variants = (Variant(name_of_held(shipped), weight=share, control=True), Variant(shipped, weight=1 - share))
    return replace(
        plan,
        variants=variants,
        metrics=tuple(_stretched(plan.metrics, days)),
        start=start,
        end=end,
        traffic=1.0,
        layer=None,
        holdout=None,
        phases=(),
        audience=(),
        testers={},
        segments=(),
        planned_units=None,
        min_days=min(plan.min_days, (end - start).days),
        horizon_days=max(plan.horizon_days, days),
    )


def name_of_held(shipped: str) -> str:
    """What those who are held back are called beside the shipped variant."""
    return HELD if shipped != HELD else "held back"


def watched(metric: Metric, days: int) -> Metric:
    """The metric over the first `days` days: over the last of them, where it is about a certain stretch of days."""
    match metric:
        case Rate() | Mean():
            return replace(metric, outcome=_until(metric.outcome, days))
        case Ratio():
            return replace(
                metric, numerator=_until(metric.numerator, days), denominator=_until(metric.denominator, days)
            )
        case Value():
            contacts = metric.contacts and _until(metric.contacts, days)
            lost_reach = metric.lost_reach and _until(metric.lost_reach, days)
            return replace(metric, revenue=_until(metric.revenue, days), contacts=contacts, lost_reach=lost_reach)
        case Survival():
            return replace(metric, horizon_days=days)
        case Reachable():
            return replace(metric, day=days - 1)  # days count from 0: at the end of this one, so many have passed
        case Retention():
            first = days - (metric.until_day - metric.from_day)
            if metric.form is Form.ON_OR_AFTER:
                first = min(metric.from_day, days - 1)
            return replace(metric, from_day=max(first, 0), until_day=days)
        case _:
            assert_never(metric)


def _until(outcome: Outcome, days: int) -> Outcome:
    return outcome if outcome.within_days is None else replace(outcome, within_days=days)


def _stretched(metrics: tuple[Metric, ...], days: int) -> Iterator[Metric]:
    """Each under a name that says the day; of two that have become the same, the one that matters more.

    A title goes with what it was the title of.
    """
    taken: set[str] = set()
    kept: list[Metric] = []
    for metric in sorted(metrics, key=lambda each: _ROLES.index(each.role)):
        found = watched(metric, days)
        if any(_is_same(found, each) for each in kept):
            continue
        name, title = (metric.name, metric.title) if found == metric else (_named(metric, days), None)
        while name in taken:
            name += "_"
        taken.add(name)
        kept.append(replace(found, name=name, title=title))
    yield from kept


def _is_same(one: Metric, other: Metric) -> bool:
    """Whether they would say the same; a guardrail stays for its margin, whatever else counts its outcome."""
    if one.role is Role.GUARDRAIL and (other.role, other.margin) != (one.role, one.margin):
        return False
    return replace(one, role=other.role, margin=other.margin, name=other.name, title=other.title) == other


def _named(metric: Metric, days: int) -> str:
    """`bought_14` is `bought_90` after 90 days, and `left` is `left_90`."""
    stem, _, last = metric.name.rpartition("_")
    return f"{stem}_{days}" if stem and last.isdecimal() else f"{metric.name}_{days}"
