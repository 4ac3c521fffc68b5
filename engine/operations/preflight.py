"""Before an experiment starts: whether its run can show what its plan wants to decide.

Warnings, never a refusal. Customers are those that the asks of the last 28 days were about, where there is at least a
week of them, or else the plan's `planned_units`; base rates come from the events of those days. It is a bound from
above: an audience is not looked at, and readouts of budgets analyse those whose answers diverged, who are fewer.
"""

import asyncio
from collections.abc import Iterable, Iterator
from math import ceil, inf
from typing import Any, Final, NamedTuple

from engine.core.errors import DatabaseUnavailable
from engine.core.policy import DAY_US, Budget, CalendarWindow, Channel, Lifetime, Policy, PolicyMode, Rolling
from engine.operations.footing import PERIOD_DAYS
from engine.operations.plan_file import patched, patched_budgets
from engine.store import traffic
from engine.store.database import Connection, Database, clock_us
from engine.store.traffic import Asked, Happened
from experiments.design import (
    Experiment,
    Inference,
    Mean,
    Metric,
    Rate,
    Reachable,
    Role,
    Survival,
)
from experiments.plans.variants import SLOTS

LOOK_BACK_DAYS: Final = 28
_PATIENCE_S: Final = 8.0  # of all looks together: somebody waits for the start
_HISTORY_DAYS: Final = 7  # a base rate of fewer days is that of a few weekdays
_LOST: Final = ("unsubscribed", "complained")


class Needed(NamedTuple):
    """What a metric asks for, in customers of the smaller arm. `shows`: the least difference that those shown there
    will show (power 80 %). `base` is a rate, or a mean."""

    metric: str
    role: str
    base: float
    expected: int
    needed: int | None
    shows: float | None


class Preflight(NamedTuple):
    """What the run will be like. None where nothing is known of it."""

    customers: int | None = None
    asks_per_day: float | None = None
    metrics: tuple[Needed, ...] = ()
    warnings: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        return {
            "customers": self.customers,
            "asks_per_day": self.asks_per_day,
            "metrics": [each._asdict() for each in self.metrics],
        }


class _Base(NamedTuple):
    """A metric's mean and variance a customer, over its own days, and how long those are."""

    mean: float
    variance: float
    days: int


async def look_ahead(database: Database, policy: Policy, experiment: Experiment) -> Preflight:
    """What can be told of an experiment that would start now."""
    budgets = patched_budgets(policy, experiment)
    about_rules = tuple(_about_rules(policy, experiment, budgets))
    try:
        async with asyncio.timeout(_PATIENCE_S), traffic.looking(database) as connection:
            now_us = await clock_us(connection)
            asked = await traffic.asked(connection, now_us, LOOK_BACK_DAYS, *_selected(budgets))
            bases = {
                metric.name: await _base(connection, now_us, metric, asked)
                for metric in experiment.metrics
                if metric.role in (Role.PRIMARY, Role.GUARDRAIL)
            }
    except (DatabaseUnavailable, TimeoutError):
        slow = "How many customers it will have could not be read in a few seconds, so no margin was looked at."
        return Preflight(warnings=(*about_rules, slow))
    is_known = asked.days >= _HISTORY_DAYS and asked.customers > 0
    customers = _share(experiment, asked.customers) if is_known else experiment.planned_units
    if customers is None:
        unknown = "How many customers it will have is not known: there is no week of asks yet, and no planned_units."
        return Preflight(warnings=(*about_rules, unknown))
    needs = [
        _needed(experiment, metric, base, customers, is_known)
        for metric in experiment.metrics
        if (base := bases.get(metric.name)) is not None
    ]
    warnings = (*about_rules, *_about_margins(experiment, needs), *_about_bases(experiment, bases))
    per_day = round(asked.asks / asked.days, 1) if asked.days > 0 else None
    return Preflight(customers, per_day, tuple(needs), warnings)


async def _base(connection: Connection, now_us: int, metric: Metric, asked: Asked) -> _Base | None:
    """What a customer is like without the experiment; None where the last weeks do not tell."""
    found = _event_of(metric)
    if found is None or asked.customers == 0 or asked.days < _HISTORY_DAYS:
        return None
    events, channel, days, sums = found
    if channel is not None and channel not in list(Channel):
        return None
    happened = [
        await traffic.happened(connection, now_us, LOOK_BACK_DAYS, event, channel, sums=sums) for event in events
    ]
    total = Happened(*(sum(each) for each in zip(*happened, strict=True)))
    if total.customers == 0:
        return None
    scale = days / min(asked.days, LOOK_BACK_DAYS)
    if isinstance(metric, Mean):
        mean = total.total / asked.customers
        variance = max(total.squares / asked.customers - mean * mean, 0.0)
        return _Base(mean * scale, variance * scale, days)  # as if days were independent of each other
    rate = 1 - (1 - min(total.customers / asked.customers, 0.999)) ** scale
    return _Base(rate, rate * (1 - rate), days)


def _event_of(metric: Metric) -> tuple[tuple[str, ...], str | None, int, bool] | None:
    """The events of a metric, their channel, its days, and whether their values are summed."""
    match metric:
        case Rate() | Mean() if metric.outcome.event is not None:
            outcome = metric.outcome
            sums = isinstance(metric, Mean) and not metric.is_count
            return (outcome.event or "",), outcome.channel, outcome.within_days or LOOK_BACK_DAYS, sums
        case Reachable():
            return _LOST, metric.channel, max(metric.day, 1), False
        case Survival():
            return (metric.event,), metric.channel, metric.horizon_days, False
        case _:  # what begins later, or is a ratio or money, the last weeks do not tell
            return None


def _needed(experiment: Experiment, metric: Metric, base: _Base, customers: int, is_known: bool) -> Needed:
    """Of the comparison of the control with the smallest other arm."""
    from experiments import power  # loads scipy, for which no other command should wait

    weights = _weights(experiment)
    control = weights[experiment.control.name]
    treatment = min(weight for each in experiment.treatments if (weight := weights[each.name]) > 0)
    run_days = (experiment.end - experiment.start).days
    entering_days = max(0, run_days - base.days)
    share = min(1.0, entering_days / LOOK_BACK_DAYS) if is_known else entering_days / run_days
    arms = [customers * share * each / sum(weights.values()) for each in (control, treatment)]
    guardrails = sum(each.role is Role.GUARDRAIL for each in experiment.metrics)
    primaries = sum(each.role is Role.PRIMARY for each in experiment.metrics)
    anytime = experiment.inference is Inference.ANYTIME and not isinstance(metric, Survival)
    if metric.role is Role.GUARDRAIL:  # all must pass: the chance to miss one is shared out among them
        alpha, chance = experiment.alpha, 1 - (1 - power.POWER) / guardrails
    else:
        alpha, chance = experiment.alpha / (primaries * len(experiment.treatments)), power.POWER
    comparison = power.Comparison(alpha=alpha, power=chance, ratio=treatment / control, anytime=anytime)
    needed = None
    if metric.margin is not None and base.variance > 0:
        units = power.means(base.variance, metric.margin, comparison)
        needed = ceil(units * min(1.0, comparison.ratio))
    shows = power.detectable(base.variance, *arms, comparison=comparison)
    return Needed(metric.name, metric.role.value, base.mean, int(min(arms)), needed, None if shows == inf else shows)


def _weights(experiment: Experiment) -> dict[str, float]:
    """Those of the first phase in which the control and another have customers."""
    control = experiment.control.name
    for phase in experiment.phases:
        if phase.weights[control] > 0 and sum(weight > 0 for weight in phase.weights.values()) > 1:
            return dict(phase.weights)
    return {each.name: each.weight for each in experiment.variants}


def _share(experiment: Experiment, customers: int) -> int:
    """How many of those who are asked about may enter."""
    share = max((each.traffic for each in experiment.phases), default=experiment.traffic)
    if experiment.layer:
        share *= (experiment.layer.after - experiment.layer.first) / SLOTS
    if experiment.holdout:
        share *= 1 - experiment.holdout.share
    return round(customers * share)


def _selected(budgets: Iterable[Budget]) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The channels and topics that the budgets select between them; None for all."""
    selectors = [each.selector for each in budgets]
    channels = [each.channels for each in selectors if each.channels is not None]
    topics = [each.topics for each in selectors if each.topics is not None]
    return (
        frozenset[str]().union(*channels) if selectors and len(channels) == len(selectors) else None,
        frozenset[str]().union(*topics) if selectors and len(topics) == len(selectors) else None,
    )


def _about_rules(policy: Policy, experiment: Experiment, budgets: Iterable[Budget]) -> Iterator[str]:
    run_days = (experiment.end - experiment.start).days
    windows = [_days(each) for each in budgets]
    longest = max(windows, default=7.0)
    if run_days < 2 * longest:
        yield (
            f"It runs for {run_days} days, under two full windows of {longest:g} days: what customers do about the"
            " first is all that it can show."
        )
    if experiment.is_about_budgets and run_days < experiment.horizon_days:
        yield (
            f"It runs for {run_days} days, and its horizon is {experiment.horizon_days}: whatever is shipped before"
            " that reads 'short run'."
        )
    if budgets and policy.mode is PolicyMode.OBSERVE:
        yield "The policy only observes: no variant will hold anything back, so no two will differ."
    for each in budgets:
        if each.shadow:
            yield f"The budget {each.name} is a shadow, which is not enforced: no two variants will differ in it."
    for each in experiment.treatments:
        if each.policy and patched(policy, each) == policy:
            yield f"The variant {each.name} sets what the policy has: nobody in it will differ from the control."


def _about_margins(experiment: Experiment, needs: Iterable[Needed]) -> Iterator[str]:
    for each in needs:
        if each.needed is not None and each.expected < each.needed:
            yield (
                f"The margin of {each.metric} cannot be shown in time: at a base of {each.base:.3g} it needs"
                f" {each.needed:,} customers a variant, and {each.expected:,} will have been watched by the end."
            )
        elif each.needed is None and each.expected == 0:
            yield f"Nobody will have been watched for as long as {each.metric} takes by the end, {experiment.end}."


def _about_bases(experiment: Experiment, bases: dict[str, _Base | None]) -> Iterator[str]:
    silent = [each.name for each in experiment.metrics if each.role is Role.GUARDRAIL and bases.get(each.name) is None]
    if silent:
        yield (
            f"Whether the margin of {' and '.join(silent)} can be shown in time is not known: the last"
            f" {LOOK_BACK_DAYS} days hold no events to take a base from."
        )


def _days(budget: Budget) -> float:
    match budget.window:
        case Rolling():
            return budget.window.length_us / DAY_US
        case CalendarWindow():
            return float(PERIOD_DAYS[budget.window.calendar])
        case Lifetime():
            return 7.0
