"""From a table to a readout: aggregates, checks, estimates, verdicts and cautions, in this order.

`analyze` reads the table where it lies; `readout_of` is pure and takes milliseconds, whatever the number of customers.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from experiments.aggregates import Aggregates
from experiments.design import Experiment, Role
from experiments.readout import Group, Readout
from experiments.reporting.cautions import cautions
from experiments.reporting.dosing import dose_tables, received
from experiments.reporting.measuring import arms_of, measure
from experiments.reporting.planned import planned_units
from experiments.reporting.validity import looks


def analyze(plan: Experiment, table: Any, events: Any = None, *, as_of: date | str | None = None) -> Readout:
    """The readout of an experiment from a table of customers.

    `table` is a path (CSV, Parquet), a data frame or an Ibis table: one row a customer (wide), or, with `events`, the
    exposures (long). The readout holds what happened before `as_of`, a date or ISO text. Only counts and sums leave the
    engine that the table lies in.

    Raises TableError, which names the column, where the table holds what cannot be analysed.
    """
    from experiments.tables import aggregate  # Ibis takes a second to import, and readouts from JSON do not need it

    return readout_of(plan, aggregate(plan, table, events, as_of=as_of))


def readout_of(plan: Experiment, aggregates: Aggregates, *, ended: date | None = None) -> Readout:
    """The readout of these aggregates: a pure function of both. `ended`: when the experiment was ended, if it was; an
    end on the planned day or later changes nothing.

    Raises ValueError for units of a variant that the plan does not have.
    """
    known = {each.name for each in plan.variants}
    if strangers := {cell.variant for cell in aggregates.units} - known:
        raise ValueError(f"found units in {', '.join(map(repr, sorted(strangers)))}, expected one of {sorted(known)}")
    planned = planned_units(plan, aggregates)
    found = _without_cautions(plan, aggregates, planned)
    found = replace(found, ended=ended if ended is not None and ended < plan.end else None)
    with_suspects = _counting_suspects(plan, aggregates, planned, found)
    return replace(found, cautions=cautions(plan, aggregates, found, with_suspects))


def _counting_suspects(plan: Experiment, aggregates: Aggregates, planned: Mapping[str, int], found: Readout) -> Readout:
    """The readout whose verdicts are those with suspect events counted."""
    suspects = aggregates.with_suspects
    metrics = (
        measure(plan, metric, suspects[metric.name], planned, in_full=False)
        if metric.name in suspects and metric.role in (Role.PRIMARY, Role.GUARDRAIL)
        else found.metric(metric.name)
        for metric in plan.metrics
    )
    return replace(found, metrics=tuple(metrics))


def _without_cautions(plan: Experiment, aggregates: Aggregates, planned: Mapping[str, int]) -> Readout:
    metrics = [
        replace(
            measure(plan, metric, aggregates.outcomes.get(metric.name, {}), planned),
            immature=aggregates.immature.get(metric.name, 0),
            with_suspects=arms_of(plan, metric, aggregates.with_suspects[metric.name])
            if metric.name in aggregates.with_suspects
            else (),
        )
        for metric in plan.metrics
    ]
    return Readout(
        key=plan.key,
        hypothesis=plan.hypothesis,
        inference=plan.inference,
        alpha=plan.alpha,
        start=plan.start,
        end=plan.end,
        min_days=plan.min_days,
        horizon_days=plan.horizon_days,
        as_of=aggregates.as_of,
        groups=_groups(plan, aggregates),
        metrics=tuple(metrics),
        received=received(plan, aggregates),
        doses=dose_tables(plan, aggregates, metrics, planned),
        checks=looks(plan, aggregates),
        exclusions=aggregates.exclusions,
    )


def _groups(plan: Experiment, aggregates: Aggregates) -> tuple[Group, ...]:
    units = dict.fromkeys((each.name for each in plan.variants), 0)
    for cell, count in aggregates.units.items():
        units[cell.variant] += count
    return tuple(
        Group(each.name, units[each.name], each.weight, each.control, each.dose)
        for each in (plan.control, *plan.treatments)
    )
