"""The readout of an experiment in the service: computed on its own PostgreSQL, kept as a snapshot, read from there.

Computing is a process of its own (`readout_process`), so that asks go on; here is what that process does. A readout is
the plan's with the standard metrics, as `experiments` finds it, and beside it what only the service knows: the effect
on all eligible, pauses, experiments that met in the same customers.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from engine.core.errors import Conflict
from engine.core.events import EventType
from engine.core.policy import DAY_US
from engine.operations.experiments import day_of
from engine.operations.plan_file import read_plan
from engine.operations.standard_metrics import DAY, Extended, as_told, extended, values_of
from engine.store import analysis as store
from engine.store import experiments, pruning, snapshots
from engine.store.analysis import COLUMNS, Analysis, Entered, Met, Relations, Wanted
from engine.store.experiments import Record
from engine.store.exposures import ExposureFlag
from engine.store.snapshots import Snapshot
from experiments.aggregates import Aggregates, Exclusion
from experiments.analysis import readout_of
from experiments.design import Clock, Experiment, Ratio, Retention, Role, Value
from experiments.errors import ExperimentError
from experiments.estimators import srm
from experiments.reading.event_survey import needed_kinds
from experiments.reading.reasons import Reason, exclusion
from experiments.readout import Check, CheckCode, MetricReadout, Readout
from experiments.reporting.json_form import document
from experiments.reporting.validity import weights_of
from experiments.reporting.verdicts import Call
from experiments.reporting.weekly import Weekly, weekly
from experiments.tables import aggregate

SCHEMA: Final = 1
REFUSALS_KEPT_DAYS: Final = 30
REFUSALS_DAYS: Final = 28  # of the last days: whole weeks, of which none is gone
_GRAVEST: Final = (Call.INVALID, Call.STOP, Call.DO_NOT_SHIP, Call.INCONCLUSIVE, Call.KEEP_RUNNING, Call.SHIP)
_DECIDES: Final = (Role.PRIMARY, Role.GUARDRAIL)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A pause that was in force from an instant until another."""

    name: str
    from_us: int
    until_us: int
    is_breaker: bool


class Found(NamedTuple):
    """A readout and what stands beside it, as it is kept: `document` is JSON."""

    readout: Readout
    document: dict[str, Any]


class Brought(NamedTuple):
    """A plan with the standard metrics, and its exposures and events as Ibis tables."""

    more: Extended
    exposures: Any
    events: Any


def refresh(url: str, number: int, ticket: int | None = None) -> int:
    """Compute a readout and keep it, one at a time of an experiment; when it was computed.

    Who waited for another that began after their ticket was drawn takes that one. Raises `Conflict` for what cannot be
    read.
    """
    with store.alone(url, number) as connection:
        fresh = None if ticket is None else snapshots.since(connection, number, ticket)
        if fresh is not None:
            return fresh
        begun = time.perf_counter()
        place = snapshots.next_number(connection)
        try:
            with store.one_instant(connection):
                record = experiments.current(connection, number)  # its plan too is of this instant: phases come and go
                check_whole(record.key, record.started_us or 0, pruning.readable_since_us(connection))
                plan = replace(read_plan(record.plan), columns=COLUMNS)
                analysis = Analysis(connection, wanted(record, plan), record.ended_us)
                found = compute(record, plan, analysis)
        except ExperimentError as error:
            raise Conflict(f"the readout cannot be made: {error}") from error
        took_us = round((time.perf_counter() - begun) * 1e6)
        call = gravest(found.readout)
        seen = analysis.now_us, analysis.as_of_us
        snapshots.add(connection, Snapshot(number, place, *seen, took_us, call, found.document))
        return analysis.now_us


def check_whole(key: str, begun_us: int, since_us: int) -> None:
    """A readout of what is left would be another one than it says to be, so there is none: `Conflict`."""
    if begun_us - pruning.READ_BACK_DAYS * DAY_US < since_us:
        since = store.instant(since_us).date()
        raise Conflict(
            f"the readout of {key!r} cannot be made anew: contacts and events of before {since} were let go of."
            " The readouts that were kept stay"
        )


def wanted(record: Record, plan: Experiment) -> Wanted:
    """What of the experiment is analysed: of one about budgets, those for whom variants differed."""
    by_calendar = any(isinstance(each, Retention) and each.clock is Clock.CALENDAR for each in plan.metrics)
    variants = tuple(each.name for each in plan.variants)
    return Wanted(record.number, variants, plan.is_about_budgets, plan.segments, by_calendar, tuple(plan.testers))


def compute(record: Record, plan: Experiment, analysis: Analysis) -> Found:
    """The readout as of the analysis' instant. Raises `ExperimentError`."""
    plan = replace(as_told(plan), testers={})  # `analysis` has left them out, and gives the others numbers for names
    as_of_us, started_us = analysis.as_of_us, record.started_us or 0
    days = (analysis.now_us - started_us) / DAY_US  # of what is on record: a run may be over for longer than it took
    more, exposures, events = brought(plan, analysis, has_refusals=days <= REFUSALS_KEPT_DAYS)
    as_of = store.instant(as_of_us)
    aggregates = _counted(aggregate(more.plan, exposures, events, as_of=as_of), analysis.left_out())
    ended = None if record.ended_us is None else day_of(record.ended_us)
    readout = readout_of(more.plan, aggregates, ended=ended)
    entered = analysis.entered()
    of_eligible = tuple(_eligible_checks(plan, entered)) if plan.is_about_budgets else ()
    readout = replace(readout, checks=(*of_eligible, *readout.checks))
    stretches = pauses_between(analysis.pauses(started_us), started_us, as_of_us)
    cautions = [*_about_policy(analysis.changed_under()), *_about_refusals(days), *more.cautions]
    unpaused: Readout | None = None
    if stretches:
        deciding = tuple(each for each in more.plan.metrics if each.role in _DECIDES)
        deciding = replace(plan, metrics=deciding, segments=())
        outside = store.outside(exposures, [(each.from_us, each.until_us) for each in stretches])
        unpaused = readout_of(deciding, aggregate(deciding, outside, events, as_of=as_of), ended=ended)
        unpaused = replace(unpaused, checks=(*of_eligible, *unpaused.checks))
        cautions += _about_pauses(readout, unpaused)
    return Found(
        readout,
        {
            "schema": SCHEMA,
            "readout": document(readout),
            "standard": list(more.added),
            "eligible": _eligible(plan, entered, readout) if plan.is_about_budgets else None,
            "pauses": _paused(stretches, unpaused),
            "concurrent": _concurrent(plan, analysis.met()),
            "refusals": _refusals(analysis, started_us) if plan.is_about_budgets else None,
            "weeks": [_weeks(each) for each in weekly(more.plan, aggregates)],
            "cautions": cautions,
        },
    )


def brought(
    plan: Experiment, relations: Relations, *, has_refusals: bool, days: int = DAY, reached_on: int = DAY
) -> Brought:
    """The plan with the standard metrics over so many days, and the tables that it needs."""
    channels = relations.channels()
    more = extended(plan, channels, has_margins=True, has_refusals=has_refusals, days=days, reached_on=reached_on)
    values = values_of(more.plan)
    exposures, events = relations.tables(needed_kinds(more.plan), values)
    if "margin" in values and not relations.has(EventType.PURCHASE, "margin"):
        more = extended(plan, channels, has_margins=False, has_refusals=has_refusals, days=days, reached_on=reached_on)
        has_value = any(isinstance(each, Value) for each in plan.metrics)
        more = more._replace(lacks_margins=not has_value and relations.has(EventType.PURCHASE))
    return Brought(more, exposures, events)


def gravest(readout: Readout) -> Call:
    """Of the verdicts on the treatments."""
    return min((each.call for each in readout.verdicts), key=_GRAVEST.index)


def pauses_between(
    in_force: Sequence[tuple[int, Sequence[Mapping[str, Any]]]], from_us: int, until_us: int
) -> list[Stretch]:
    """When which pause was in force from an instant until another. `in_force`: the pauses from an instant on."""
    found: list[Stretch] = []
    for place, (at_us, pauses) in enumerate(in_force):
        next_us = in_force[place + 1][0] if place + 1 < len(in_force) else until_us
        for pause in pauses:
            low = max(from_us, at_us, pause.get("from_us") or 0)
            high = min(until_us, next_us, until_us if pause.get("until_us") is None else pause["until_us"])
            if low >= high:
                continue
            name, is_breaker = str(pause["name"]), bool(pause.get("is_breaker"))
            before = next((each for each in found if each.name == name and each.until_us == low), None)
            if before is not None:
                found.remove(before)
                low = before.from_us
            found.append(Stretch(name, low, high, is_breaker))
    return sorted(found, key=lambda each: (each.from_us, each.name))


def _counted(aggregates: Aggregates, left_out: Mapping[ExposureFlag, int]) -> Aggregates:
    """With those who were left out before anything was brought together."""
    counts: Counter[Reason] = Counter()
    for flags, count in left_out.items():
        counts[Reason.IN_TWO_VARIANTS if flags & ExposureFlag.IN_TWO_VARIANTS else Reason.TESTER] += count
    known: dict[str, Exclusion] = {each.code: each for each in aggregates.exclusions if each.code in counts}
    ours = [
        exclusion(reason, count + (known[reason].count if reason in known else 0)) for reason, count in counts.items()
    ]
    return replace(aggregates, exclusions=(*ours, *(each for each in aggregates.exclusions if each.code not in counts)))


def _eligible_checks(plan: Experiment, entered: Iterable[Entered]) -> Iterable[Check]:
    """The shares of the variants among all eligible, by phase: those who are analysed are looked at anyway."""
    parts: dict[str, dict[str, int]] = {}
    for each in entered:
        if each.phase < max(1, len(plan.phases)):
            parts.setdefault(str(each.phase), {})[plan.variants[each.variant].name] = each.eligible
    for phase, found in srm.several(parts, {each: weights_of(plan, int(each)) for each in parts}).items():
        where = "all eligible" if len(parts) == 1 else f"all eligible of phase {int(phase) + 1}"
        if found.why_not is not None:
            sentence = f"The shares of the variants among {where} were not tested: {found.why_not}."
        elif found.is_mismatch:
            counted = ", ".join(
                f"{name} has {found.units[name]:,} where {expected:,.0f} were expected"
                for name, expected in found.expected.items()
            )
            sentence = f"The variants do not hold the shares planned among {where}: {counted}."
        else:
            sentence = f"The variants hold the shares planned among {where}: {found.method}."
        code = CheckCode.SRM if len(parts) == 1 else CheckCode.SRM_PHASE
        yield Check(code, found.is_mismatch, sentence, where, found.p_value, found.effect_size)


def _eligible(plan: Experiment, entered: Sequence[Entered], readout: Readout) -> dict[str, Any]:
    """How many were eligible, and the effects on all of them: on the others no variant can have had any."""
    eligible, analysed = sum(each.eligible for each in entered), sum(each.analysed for each in entered)
    share = analysed / eligible if eligible else None
    ratios = {each.name for each in plan.metrics if isinstance(each, Ratio)}
    by_variant: Counter[str] = Counter()
    for each in entered:
        by_variant[plan.variants[each.variant].name] += each.eligible
    return {
        "customers": {each.name: by_variant[each.name] for each in plan.variants},
        "share_diverged": share,
        "effects": [
            effect
            for metric in readout.metrics
            if metric.name not in ratios  # of those no effect is one on each customer
            for effect in effects(metric, share)
        ]
        if share is not None
        else [],
    }


def effects(metric: MetricReadout, times: float = 1.0) -> list[dict[str, Any]]:
    return [
        {
            "metric": metric.name,
            "variant": each.variant,
            "effect": each.estimate.effect * times,
            "low": _finite(each.estimate.low * times),
            "high": _finite(each.estimate.high * times),
        }
        for each in metric.comparisons
        if each.estimate.effect is not None and each.estimate.low is not None and each.estimate.high is not None
    ]


def _finite(number: float) -> float | None:
    """None for an interval without an end on this side."""
    return number if abs(number) < float("inf") else None


def _paused(stretches: Sequence[Stretch], unpaused: Readout | None) -> dict[str, Any] | None:
    if unpaused is None:
        return None
    return {
        "stretches": [stretch_data(each) for each in stretches],
        "customers_without": sum(each.units for each in unpaused.groups),
        "effects_without": [effect for metric in unpaused.metrics for effect in effects(metric)],
    }


def stretch_data(each: Stretch) -> dict[str, Any]:
    return {"name": each.name, "from_us": each.from_us, "until_us": each.until_us, "is_breaker": each.is_breaker}


def _about_pauses(readout: Readout, unpaused: Readout) -> list[str]:
    return [
        f"Without those who entered while contacts were paused, the verdict on {one.variant} would be "
        f"'{other.call.replace('_', ' ')}' and not '{one.call.replace('_', ' ')}'."
        for one, other in zip(readout.verdicts, unpaused.verdicts, strict=True)
        if one.call is not other.call
    ]


def _concurrent(plan: Experiment, met: Iterable[Met]) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in met:
        count = {"variant": plan.variants[each.variant].name, "other": each.other, "customers": each.customers}
        found.setdefault(each.experiment, []).append(count)
    return [{"experiment": key, "customers": counts} for key, counts in found.items()]


def _refusals(analysis: Analysis, started_us: int) -> dict[str, Any] | None:
    """The messages that customers were refused in the last weeks, by variant; None where nobody was in it for a week
    that is still on record."""
    since_us, refused = analysis.refused(REFUSALS_DAYS)
    if not refused:
        return None
    return {
        "from_us": max(since_us, started_us),
        "until_us": analysis.as_of_us,
        "by_variant": [
            {
                "variant": each.variant,
                "customers": each.customers,
                "weeks": each.watched_us / (7 * DAY_US),
                "messages": each.messages,
            }
            for each in sorted(refused)
        ],
    }


def _weeks(found: Weekly) -> dict[str, Any]:
    return {
        "metric": found.metric,
        "variant": found.variant,
        "cohort": dict(found.cohort),
        "alpha": found.effects[0].level.alpha,
        "effects": [
            {
                "week": place + 1,
                "effect": each.effect,
                "low": None if each.low is None else _finite(each.low),
                "high": None if each.high is None else _finite(each.high),
                "method": each.method,
                "why_not": each.why_not,
            }
            for place, each in enumerate(found.effects)
        ],
    }


def _about_policy(changes: Iterable[tuple[int, int, Sequence[str] | None]]) -> Iterable[str]:
    for version, at_us, beside in changes:
        on = store.instant(at_us).date()
        what = (
            f"A budget that this experiment changes became another on {on}, with version {version} of the policy"
            if beside is None
            else f"Since {on}, with version {version} of the policy, {'; '.join(beside)}"
        )
        yield f"{what}, for the control too: before and after it something else was compared."


def _about_refusals(days: float) -> Iterable[str]:
    if days > REFUSALS_KEPT_DAYS:
        yield (
            "The metrics of refusals are not read: customers' own are kept for"
            f" {REFUSALS_KEPT_DAYS} days, and this began before."
        )
