"""A first look at the events: how many of each needed type, how many of them are of no use, and from when to when.

One query, with a row a type. What it finds decides what the second look has to compute.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.design import Experiment
from experiments.errors import TableError
from experiments.reading import event_metrics, reach
from experiments.reading.fields import Fields
from experiments.reading.relations import Expression, Table, ibis
from experiments.reading.sources import Engine


@dataclass(frozen=True)
class Survey:
    """Of the events of needed types: counts, `kinds` by type and `without_value` by the name of the value. Instants in
    microseconds.

    `last_us` is that of all events, of other types too.
    """

    count: int = 0
    without_unit: int = 0
    without_time: int = 0
    after_as_of: int = 0
    bounces: int = 0
    first_us: int | None = None
    last_us: int | None = None
    kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    suspect_kinds: frozenset[str] = frozenset()
    without_value: Mapping[str, int] = field(default_factory=dict[str, int])


def needed_kinds(plan: Experiment) -> frozenset[str]:
    """The types of events that the plan's metrics look at; contacts sent, in a budget experiment."""
    of_metrics = frozenset[str]().union(*(event_metrics.kinds(each) for each in plan.metrics))
    return of_metrics | {event_metrics.SENT} if plan.is_about_budgets else of_metrics


def columns_of(plan: Experiment, fields: Fields, unit: Expression) -> dict[str, Expression]:
    """The columns of events under agreed names. Raises `TableError` with the metric that lacks a column."""
    names = plan.columns
    found: dict[str, Expression] = {
        "unit": unit,
        "kind": fields.text(names.event, "the type of an event"),
        "at": fields.instant(names.at, "the time of an event"),
    }
    for metric in plan.metrics:
        if event_metrics.channels(metric):
            found["channel"] = fields.text(names.channel, f"which metric {metric.name!r} needs")
        for outcome in event_metrics.outcomes(metric):
            if outcome.event is None:
                what = f"metric {metric.name!r} names no event, which the long form (exposures and events) needs"
                raise TableError(None, what)
            if outcome.value is not None:
                number = fields.number(outcome.value, f"which metric {metric.name!r} needs")
                found[event_metrics.value(outcome)] = number
    if fields.has(names.suspect):
        found["suspect"] = fields.is_true(names.suspect, "which marks suspect events").fill_null(False)
    if fields.has(HARD):
        found["hard"] = fields.is_true(HARD, "which tells hard bounces from soft").fill_null(False)
    event_id = names.event_id or (ID if fields.has(ID) else None)
    if event_id is not None:
        found["id"] = fields.unit(event_id, "which names an event")
        if fields.has(SOURCE):
            found["source"] = fields.text(SOURCE, "which names the source of an event")
    return found


HARD, ID, SOURCE = "hard", "id", "source"


def survey(plan: Experiment, engine: Engine, events: Table, as_of_us: int) -> Survey:
    """Looks at all events once. `events` has the columns of `columns_of`."""
    kinds = needed_kinds(plan)
    kind: Expression = (
        ibis.cases((events["kind"].isin(sorted(kinds)), events["kind"])) if kinds else ibis.null("string")
    )
    looked = events.mutate(kind=kind)
    wanted: dict[str, Expression] = {
        "n": looked.count(),
        "units": looked["unit"].count(),
        "times": looked["at"].count(),
        "first": looked["at"].min(),
        "last": looked["at"].max(),
        "after": looked.count(where=looked["at"] >= as_of_us),
    }
    if "suspect" in looked.columns:
        wanted["suspects"] = looked.count(where=looked["suspect"])
    values = [each for each in looked.columns if each.startswith("v_")]
    wanted |= {f"n_{each}": looked[each].count() for each in values}
    rows = engine.rows(looked.group_by("kind").aggregate(**wanted))
    return _survey(plan, rows, kinds)


def _survey(plan: Experiment, rows: list[dict[str, Any]], kinds: Collection[str]) -> Survey:
    ours = [each for each in rows if each["kind"] in kinds]
    by_kind = {each["kind"]: each for each in ours}
    without_value: dict[str, int] = {}
    of_values = {
        (outcome.value, outcome.event)
        for metric in plan.metrics
        for outcome in event_metrics.outcomes(metric)
        if outcome.value is not None
    }
    for value, kind in sorted(of_values, key=str):
        if kind in by_kind:
            row = by_kind[kind]
            without_value[value] = without_value.get(value, 0) + row["n"] - row[f"n_v_{value}"]
    bounced = by_kind.get(reach.BOUNCED)
    return Survey(
        count=sum(each["n"] for each in ours),
        without_unit=sum(each["n"] - each["units"] for each in ours),
        without_time=sum(each["n"] - each["times"] for each in ours),
        after_as_of=sum(each["after"] for each in ours),
        bounces=bounced["n"] if bounced else 0,
        first_us=min((each["first"] for each in rows if each["first"] is not None), default=None),
        last_us=max((each["last"] for each in rows if each["last"] is not None), default=None),
        kinds={each: row["n"] for each, row in by_kind.items()},
        suspect_kinds=frozenset(each["kind"] for each in ours if each.get("suspects")),
        without_value=without_value,
    )
