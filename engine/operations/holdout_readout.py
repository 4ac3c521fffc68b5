"""The readout of a holdout: who stayed under the old policy against everybody else, from the ship on.

Computed like an experiment's readout, in the same process (`readout_process`), and kept for good. Everybody of the
cohort (`store.cohorts`) enters at the ship. Left out are those who had lived under another variant of the experiment
by then: what it did to them goes on, on both sides; the effects with them stand beside.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from engine.core.errors import Conflict, NotFound
from engine.core.policy import DAY_US
from engine.core.policy_reader import read_policy
from engine.operations.cohort_cut import cut_of
from engine.operations.experiments import day_of
from engine.operations.holdout_plan import held_plan, name_of_held
from engine.operations.plan_file import read_plan
from engine.operations.readout import (
    REFUSALS_KEPT_DAYS,
    SCHEMA,
    Found,
    brought,
    check_whole,
    effects,
    gravest,
    pauses_between,
    stretch_data,
)
from engine.operations.ship import planned_us, readouts_us
from engine.operations.standard_metrics import as_told
from engine.store import analysis, experiments, pruning
from engine.store import holdout_readouts as store
from engine.store.analysis import COLUMNS
from engine.store.cohorts import TREATED, Cohort, Side
from engine.store.experiments import Holdout, Record
from engine.store.holdout_readouts import HeldSnapshot, Reader
from engine.store.snapshots import next_number
from experiments.aggregates import Aggregates
from experiments.analysis import readout_of
from experiments.design import Experiment, Role
from experiments.errors import ExperimentError
from experiments.reading.reasons import Reason
from experiments.readout import Readout
from experiments.reporting.json_form import document
from experiments.tables import aggregate

_DECIDES: Final = (Role.PRIMARY, Role.GUARDRAIL)


class Span(NamedTuple):
    """What a readout is about: the first `days` days since the ship, up to `as_of_us`. It decides where that is on the
    day of `end_us`; before, it is an effect to date. `day`: the one on which it was due."""

    as_of_us: int
    end_us: int
    days: int
    day: int | None


class Held(NamedTuple):
    """The readout of a holdout, and the instant that it saw."""

    found: Found
    span: Span
    now_us: int


def refresh_held(url: str, number: int, ticket: int, day: int | None) -> int:
    """Compute the readout of a holdout and keep it, one at a time of an experiment; when it was computed.

    `day`: the one that was due so many days after the ship, of which there is one; None: as of now. Raises `Conflict`
    for what cannot be read.
    """
    with analysis.alone(url, number) as connection:
        done_us = store.computed(connection, number, day, ticket)
        if done_us is not None:
            return done_us
        begun = time.perf_counter()
        place = next_number(connection)
        try:
            with analysis.one_instant(connection):
                found, span, now_us = read_held(connection, number, day)
        except ExperimentError as error:
            raise Conflict(f"the readout cannot be made: {error}") from error
        took_us, call = round((time.perf_counter() - begun) * 1e6), gravest(found.readout)
        store.add(connection, HeldSnapshot(number, place, now_us, span.as_of_us, took_us, day, call, found.document))
        return now_us


def read_held(connection: Reader, number: int, day: int | None) -> Held:
    """The readout of a holdout, within `one_instant`. Raises `ExperimentError`, `Conflict`, and `NotFound` of none."""
    record = experiments.current(connection, number)
    every = store.current(connection)
    holdout = next((each for each in every if each.experiment == number), None)
    if holdout is None:
        raise NotFound(f"{record.key!r} has left no holdout")
    check_whole(holdout.name, holdout.from_us, pruning.readable_since_us(connection))
    plan = replace(read_plan(record.plan), columns=COLUMNS)
    policy = read_policy(store.policy(connection, holdout.policy_version))
    span = span_of(holdout, store.clock_us(connection), day)
    new = str(record.shipped)
    cut = cut_of(holdout, number, plan, policy, every)
    cohort = Cohort(connection, cut, name_of_held(new), new, span.as_of_us, span.days)
    return Held(compute_held(record, plan, holdout, cohort, span), span, cohort.now_us)


def span_of(holdout: Holdout, now_us: int, day: int | None) -> Span:
    """What is read on a day that was due, or as of now. Raises `Conflict` where that is not over yet."""
    if day is not None:
        as_of_us = holdout.from_us + day * DAY_US
        if as_of_us not in readouts_us(holdout) or as_of_us > now_us:
            raise Conflict(f"day {day} of the holdout {holdout.name!r} is no day of a readout, or not over yet")
        return Span(as_of_us, as_of_us, day, day)
    as_of_us = min(now_us, holdout.over_us)
    days = (as_of_us - holdout.from_us) // DAY_US
    if days < 1:
        raise Conflict(f"the holdout {holdout.name!r} has not been there for a day: there is nothing to read yet")
    # One that was ended by hand decides on no other day than was planned: the day of its end was chosen by looking.
    return Span(as_of_us, next((each for each in planned_us(holdout) if each > as_of_us), as_of_us), days, None)


def compute_held(record: Record, plan: Experiment, holdout: Holdout, cohort: Cohort, span: Span) -> Found:
    """The readout of a holdout. Raises `ExperimentError`."""
    sides = cohort.sides()
    shipped, start, end = str(record.shipped), day_of(holdout.from_us), day_of(span.end_us)
    base = held_plan(as_told(plan), shipped, holdout.share, start, end, span.days)
    base = replace(base, planned_units=max(2, sum(each.analysed for each in sides)))
    has_refusals = _days_on_record(cohort) <= REFUSALS_KEPT_DAYS
    more, everybody, events = brought(base, cohort, has_refusals=has_refusals, days=span.days, reached_on=span.days - 1)
    as_of = analysis.instant(span.as_of_us)
    untouched = everybody.filter(~everybody[TREATED]).drop(TREATED)
    readout = readout_of(more.plan, _own(aggregate(more.plan, untouched, events, as_of=as_of)))
    beside: Readout | None = None
    if any(each.treated for each in sides):
        deciding = replace(
            base,
            metrics=tuple(each for each in more.plan.metrics if each.role in _DECIDES),
            planned_units=max(2, sum(each.analysed + each.treated for each in sides)),
        )
        beside = readout_of(deciding, aggregate(deciding, everybody.drop(TREATED), events, as_of=as_of))
    names = {True: base.control.name, False: shipped}
    ran_days = ((record.ended_us or holdout.from_us) - (record.started_us or holdout.from_us)) / DAY_US
    return Found(
        readout,
        {
            "schema": SCHEMA,
            "readout": document(readout),
            "standard": list(more.added),
            "day": span.day,
            "days": span.days,
            "policy_version": holdout.policy_version,
            "run": {
                "days": round(ran_days, 1),
                "horizon_days": plan.horizon_days,
                "is_short": ran_days < plan.horizon_days,
            },
            "cohort": [
                {
                    "variant": names[each.is_held],
                    "customers": each.analysed,
                    "treated_before": each.treated,
                    "in_older_holdout": each.elsewhere,
                    "merged": each.merged,
                }
                for each in sides
            ],
            "with_treated_before": None if beside is None else _beside(beside),
            "since": _since(cohort, span),
            "cautions": [
                *_about_cohort(sides, readout, beside),
                *_about_time(base, plan, cohort, span, ran_days),
                *more.cautions,
            ],
        },
    )


def _own(aggregates: Aggregates) -> Aggregates:
    """Without the events of customers who are left out: those are accounted for."""
    return replace(aggregates, exclusions=tuple(e for e in aggregates.exclusions if e.code != Reason.EVENT_OF_OTHERS))


def _beside(readout: Readout) -> dict[str, Any]:
    return {
        "customers": sum(each.units for each in readout.groups),
        "call": gravest(readout),
        "effects": [effect for metric in readout.metrics for effect in effects(metric)],
    }


def _since(cohort: Cohort, span: Span) -> dict[str, Any]:
    """What came between: all of it is part of what is compared."""
    from_us = cohort.from_us
    pauses = pauses_between(cohort.pauses(from_us), from_us, span.as_of_us)
    return {
        "policies": [{"version": version, "from_us": at_us} for version, at_us in cohort.policies()],
        "experiments": [{"experiment": each.experiment, "customers": each.customers} for each in cohort.ran()],
        "pauses": [stretch_data(each) for each in pauses],
    }


def _about_cohort(sides: Sequence[Side], readout: Readout, beside: Readout | None) -> Iterator[str]:
    held, others = sides
    if beside is not None:
        one, other = (gravest(each).replace("_", " ") for each in (readout, beside))
        yield (
            f"Left out are {held.treated + others.treated:,} customers, {held.treated:,} of them held back, whom the"
            " experiment had under another variant than the control before the ship: what that did to them goes on, on"
            " both sides. "
            + (f"With them it would read '{other}'." if one != other else "With them it reads the same.")
        )
    if elsewhere := held.elsewhere + others.elsewhere:
        yield f"Left out are {elsewhere:,} customers of older holdouts, who are under neither of the two policies."
    if merged := held.merged + others.merged:
        yield f"Left out are {merged:,} customers who were merged with others since the ship."


def _about_time(base: Experiment, plan: Experiment, cohort: Cohort, span: Span, ran_days: float) -> Iterator[str]:
    if ran_days < plan.horizon_days:
        yield f"Short run: it was shipped after {ran_days:.0f} of the {plan.horizon_days} days of its horizon."
    if span.end_us > span.as_of_us:
        yield f"Read before {day_of(span.end_us)}, the next day that was planned for a decision: an effect to date."
    known = {each.name for each in plan.metrics}
    if stretched := [each.name for each in base.metrics if each.role is Role.GUARDRAIL and each.name not in known]:
        yield f"Margins are those of the plan, which had other windows: {', '.join(stretched)}."
    if changes := len(cohort.policies()) - 1:
        times = "once" if changes == 1 else f"{changes} times"
        yield f"The policy was changed {times} since the ship: the old budgets are compared with all that came after."
    if ran := cohort.ran():
        keys = ", ".join(each.experiment for each in ran)
        yield f"Since the ship experiments ran among the others alone, as part of what is compared: {keys}."
    if _days_on_record(cohort) > REFUSALS_KEPT_DAYS:
        yield f"Refusals are not read: customers' own are kept for {REFUSALS_KEPT_DAYS} days."


def _days_on_record(cohort: Cohort) -> float:
    return (cohort.now_us - cohort.from_us) / DAY_US
