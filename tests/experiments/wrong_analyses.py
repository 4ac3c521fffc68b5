"""Analyses that a tired team would write: each puts a wrong piece in the place of a right one of `experiments`.

All of them run, look plausible and give an interval. They are wrong by what they count, whom they divide by, or which
test they take a p-value from. A substitution ends with the test that made it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import ibis
import pytest
from scipy import stats

from experiments import tables
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import Experiment, Rate, Ratio, Retention
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import anytime, competing, means, proportions
from experiments.moments import Counts, Moments, PairMoments
from experiments.reading import event_metrics, long
from experiments.reporting import measuring
from experiments.risk import RiskTable

Substitution: TypeAlias = Callable[[pytest.MonkeyPatch], None]
Table: TypeAlias = Any

SILENCE_DAYS: Final = 14
OFTEN: Final = 4  # contacts in 28 days: as many as a limit of one a week allows


def per_message(patch: pytest.MonkeyPatch) -> None:
    """A rate of customers becomes the ratio of its events to messages: what the plan's descriptive ratio says."""

    def wrong(plan: Experiment, found: Aggregates) -> dict[str, Mapping[Cell, Aggregate]]:
        ratios = {each.numerator.event: each.name for each in plan.metrics if isinstance(each, Ratio)}
        rates = {each.name: each.outcome.event for each in plan.metrics if isinstance(each, Rate)}
        return {
            name: {cell: _counted(pairs) for cell, pairs in found.outcomes[ratios[event]].items()}
            for name, event in rates.items()
            if event in ratios
        }

    _replace_outcomes(patch, wrong)


def everybody_as_denominator(patch: pytest.MonkeyPatch) -> None:
    """Active over all: who was not watched to the end of the window counts as not retained, phases thrown together."""

    def everybody(plan: Experiment, found: Aggregates, metric: str) -> dict[Cell, Aggregate]:
        retained = {each.name: 0 for each in plan.variants}
        all_ = dict(retained)
        for cell, counts in found.outcomes[metric].items():
            retained[cell.variant] += _successes(counts)
        for cell, units in found.units.items():
            all_[cell.variant] += units
        return {Cell(name): Counts(retained[name], all_[name]) for name in all_}

    def wrong(plan: Experiment, found: Aggregates) -> dict[str, Mapping[Cell, Aggregate]]:
        return {each.name: everybody(plan, found, each.name) for each in plan.metrics if isinstance(each, Retention)}

    _replace_outcomes(patch, wrong)


def immature_counted(patch: pytest.MonkeyPatch) -> None:
    """Everybody again, phases kept apart: what has not come in a window that is not over is taken as not to come."""
    patch.setattr(event_metrics, "_watched", lambda _days: None)


def phases_pooled(patch: pytest.MonkeyPatch) -> None:
    """Customers of all phases thrown together, though the weights changed in between."""
    right = measuring.by_phase

    def wrong(plan: Experiment, total: Callable[..., Any], cells: Mapping[Cell, Aggregate]) -> list[dict[str, Any]]:
        phases = right(plan, total, cells)
        return [{each.name: total(phase[each.name] for phase in phases) for each in plan.variants}]

    patch.setattr(measuring, "by_phase", wrong)


def exposed_when_allowed(patch: pytest.MonkeyPatch) -> None:
    """Entry by the first ask that was *allowed*: whoever was refused all the time is not there, others come later."""

    def wrong(exposures: Table, events: Table) -> tuple[Table, Table]:
        sent = events.filter(events["type"] == "sent").select("customer_id", "at")
        sent = sent.join(exposures.select("customer_id", "entered_at"), "customer_id")
        sent = sent.filter(sent["at"] >= sent["entered_at"])
        first = sent.group_by("customer_id").aggregate(allowed_at=sent["at"].min())
        joined = exposures.join(first, "customer_id")
        return joined.mutate(entered_at=joined["allowed_at"]).drop("allowed_at"), events

    replace_tables(patch, wrong)


def grouped_by_contacts_received(patch: pytest.MonkeyPatch) -> None:
    """As treated: customers are compared by what they got, not by what they were assigned."""

    def wrong(exposures: Table, events: Table) -> tuple[Table, Table]:
        sent = events.filter(events["type"] == "sent").select("customer_id", "at")
        sent = sent.join(exposures.select("customer_id", "entered_at"), "customer_id")
        until = sent["entered_at"] + ibis.interval(days=28)
        sent = sent.filter((sent["at"] >= sent["entered_at"]) & (sent["at"] < until))
        often = sent.group_by("customer_id").aggregate(contacts=sent.count())
        joined = exposures.left_join(often, "customer_id")
        arm = ibis.cases((joined["contacts"] > OFTEN, "five"), else_="one")
        return joined.mutate(variant=arm).select(exposures.columns), events

    replace_tables(patch, wrong)


def inactive_as_left(patch: pytest.MonkeyPatch) -> None:
    """Churn is fourteen days without a session, whatever the customer said or did."""

    def wrong(exposures: Table, events: Table) -> tuple[Table, Table]:
        sessions = events.filter(events["type"] == "session")
        by_customer = ibis.window(group_by="customer_id", order_by=sessions["at"])
        until = sessions["at"] + ibis.interval(days=SILENCE_DAYS)
        silent = sessions.mutate(until=until, following=sessions["at"].lead().over(by_customer))
        silent = silent.filter(silent["following"].isnull() | (silent["following"] > silent["until"]))
        silent = silent.mutate(type=ibis.literal("left"), at=silent["until"], id=ibis.literal("silent-") + silent["id"])
        last = events["at"].max().as_scalar()
        silent = silent.select(events.columns).filter(lambda each: each["at"] <= last)
        return exposures, events.filter(events["type"] != "left").union(silent)

    replace_tables(patch, wrong)


def suspects_counted(patch: pytest.MonkeyPatch) -> None:
    """Unsubscribes of link scanners are taken for those of customers."""
    patch.setattr(event_metrics.Definitions, "_trusted", lambda _self, _events, condition, _part: condition)


def one_minus_kaplan_meier(patch: pytest.MonkeyPatch) -> None:
    """Who left by a competing event is taken as if still to be watched."""
    right = competing.difference
    patch.setattr(competing, "difference", lambda strata, days, level: right(_events_alone(strata), days, level))


def fisher_beside_a_score_interval(patch: pytest.MonkeyPatch) -> None:
    right = proportions.difference

    def wrong(strata: Sequence[Stratum[Counts]], level: Level) -> Estimate:
        cells = [[arm.successes, arm.count - arm.successes] for arm in (strata[0].control, strata[0].treatment)]
        return replace(right(strata, level), p_value=_p_value_of(stats.fisher_exact(cells)))

    patch.setattr(proportions, "difference", wrong)


def student_beside_welch(patch: pytest.MonkeyPatch) -> None:
    right = means.difference

    def wrong(strata: Sequence[Stratum[Moments]], level: Level, cap: float | None = None) -> Estimate:
        found = right(strata, level, cap)
        one, other = ((arm.mean, arm.variance**0.5, arm.count) for arm in (strata[0].control, strata[0].treatment))
        return found if found.why_not else replace(found, p_value=_p_value_of(stats.ttest_ind_from_stats(*other, *one)))

    patch.setattr(means, "difference", wrong)


def uncorrected_beside_simultaneous(patch: pytest.MonkeyPatch) -> None:
    """The interval holds for all primaries at once, the p-value for one."""
    patch.setattr(Level, "adjusted", lambda _self, p_value: p_value)


def fixed_beside_anytime(patch: pytest.MonkeyPatch) -> None:
    right = anytime.rate_difference

    def wrong(strata: Sequence[Stratum[Counts]], level: Level, planned_units: int) -> Estimate:
        found = right(strata, level, planned_units)
        return found if found.why_not else replace(found, p_value=proportions.difference(strata, level).p_value)

    patch.setattr(anytime, "rate_difference", wrong)


def hazards_beside_incidence(patch: pytest.MonkeyPatch) -> None:
    """The p-value of a comparison without the competing events, beside the interval with them."""
    right = competing.difference

    def wrong(strata: Sequence[Stratum[RiskTable]], horizon_days: int, level: Level) -> Estimate:
        p_value = right(_events_alone(strata), horizon_days, level).p_value
        return replace(right(strata, horizon_days, level), p_value=p_value)

    patch.setattr(competing, "difference", wrong)


def _replace_outcomes(
    patch: pytest.MonkeyPatch, wrong: Callable[[Experiment, Aggregates], dict[str, Mapping[Cell, Aggregate]]]
) -> None:
    right = tables.aggregate

    def aggregate(plan: Experiment, table: Table, events: Table = None, *, as_of: Any = None) -> Aggregates:
        found = right(plan, table, events, as_of=as_of)
        return replace(found, outcomes={**found.outcomes, **wrong(plan, found)})

    patch.setattr(tables, "aggregate", aggregate)


def replace_tables(patch: pytest.MonkeyPatch, wrong: Callable[[Table, Table], tuple[Table, Table]]) -> None:
    right = long.prepare

    def prepare(plan: Experiment, engine: Any, exposures: Table, events: Table, as_of: Any) -> long.LongForm:
        return right(plan, engine, *wrong(exposures, events), as_of)

    patch.setattr(long, "prepare", prepare)


def _p_value_of(test: Any) -> float:
    return float(test.pvalue)


def _counted(pairs: Aggregate) -> Counts:
    assert isinstance(pairs, PairMoments)
    return Counts(round(pairs.count * pairs.mean_x), round(pairs.count * pairs.mean_y))


def _successes(counts: Aggregate) -> int:
    assert isinstance(counts, Counts)
    return counts.successes


def _events_alone(strata: Sequence[Stratum[RiskTable]]) -> list[Stratum[RiskTable]]:
    """Competing events as ends of observation."""

    def alone(table: RiskTable) -> RiskTable:
        return RiskTable(table.events, {}, (table + RiskTable(censored=table.competing)).censored)

    return [Stratum(alone(each.control), alone(each.treatment)) for each in strata]
