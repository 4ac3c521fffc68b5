"""Plans from YAML or JSON: which field of a file becomes which field of a plan, and on which line it is wrong.

This file knows the form of the file alone: what a value may be is known to the value, which checks itself when it is
built. All problems are found at once, and come in the order of the file.
"""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from typing import IO, Any, Final

from experiments.design import Columns, Experiment
from experiments.errors import PlanError, Problem
from experiments.plans import text as plan_text
from experiments.plans.checking import ABSENT, UNREAD, As, entry
from experiments.plans.fields import Given, Reading, as_list, as_mapping, picked
from experiments.plans.metric_fields import read_metric
from experiments.plans.rules import WHY_THE_CUSTOMER
from experiments.plans.variants import Condition, Holdout, Layer, Phase, Variant

HORIZON_DAYS: Final = 90
CUSTOMER: Final = "customer_id"


def read(source: "str | os.PathLike[str] | IO[str] | IO[bytes]") -> Experiment:
    """The plan in a file of YAML or JSON: its path, or the open file (`io.StringIO(text)` for a text).

    Raises `PlanError` with all problems, their paths and lines, whatever the file holds; `OSError` where it cannot be
    opened.
    """
    name: object
    if isinstance(source, str | os.PathLike):
        name = str(source)
        if not name.isprintable():
            problem = Problem("", "a text of several lines", "the path of a file; io.StringIO makes a file of a text")
            raise PlanError([problem])
        with open(source, "rb") as file:
            text = file.read(plan_text.BYTES_MAX + 1)
    else:
        name = getattr(source, "name", None)
        text = source.read(plan_text.BYTES_MAX + 1)
    try:
        document = plan_text.parse(text)
        return _read(document.data, document)
    except PlanError as error:
        raise PlanError(error.problems, name if isinstance(name, str) else None) from None


def read_data(data: object) -> Experiment:
    """The plan that JSON-like data describes, in the form of the file. Raises `PlanError`, without lines."""
    return _read(data, None)


def _read(data: object, document: plan_text.Document | None) -> Experiment:
    reading = Reading()
    plan = _plan(reading, data)
    problems = [*reading.problems, *(document.problems if document else ())]
    if document:
        lines = [each.line or document.line(each.path) for each in problems]
        placed = (Problem(each.path, each.found, each.expected, n) for each, n in zip(problems, lines, strict=True))
        problems = sorted(placed, key=lambda problem: problem.line or 0)
    if problems:
        raise PlanError(problems)
    return plan


def _plan(reading: Reading, data: object) -> Any:
    given = reading.fields("", data, _FIELDS)
    if given is None:
        return UNREAD
    horizon_days = given.get("horizon_days", HORIZON_DAYS)
    if not isinstance(horizon_days, int):
        horizon_days = UNREAD
    variants = _each(given.get("variants", ABSENT), "variants", partial(_variant, reading))
    metrics = _each(given.get("metrics", ABSENT), "metrics", partial(read_metric, reading, horizon_days))
    phases = _each(given.get("phases", ()), "phases", partial(_phase, reading, given, _weights(variants)))
    parts = {
        "variants": variants,
        "metrics": metrics,
        "phases": phases,
        "audience": _audience(reading, given.get("audience")),
        "columns": _columns(reading, _with_customers(reading, given, variants)),
        "layer": _layer(reading, given.get("layer")),
        "holdout": _holdout(reading, given.get("holdout")),
        "start": _date(given.get("start", ABSENT)),
        "end": _date(given.get("end", ABSENT)),
        "hypothesis": _stripped(given.get("hypothesis", "")),
    }
    as_they_are = ("seed", "traffic", "testers", "min_days", "horizon_days", "segments", "alpha", "inference")
    as_they_are += ("planned_units",)
    places = range(len(as_list(metrics) or ()))
    renamed = {f"metrics[{i}].horizon_days": f"metrics[{i}].horizon" for i in places}
    return reading.build("", Experiment, {**parts, **picked(given, ("key",), as_they_are)}, renamed)


def _each(values: object, path: str, reader: Callable[[str, object], Any]) -> Any:
    """Every item read; what is no list is left for the plan to complain about."""
    items = as_list(values)
    return values if items is None else [reader(f"{path}[{i}]", value) for i, value in enumerate(items)]


def _weights(variants: object) -> Any:
    """The variants' own weights, for phases that name none."""
    read = [each for each in as_list(variants) or () if isinstance(each, Variant)]
    return {each.name: each.weight for each in read} if len(read) == len(as_list(variants) or ()) else UNREAD


def _variant(reading: Reading, path: str, value: object) -> Any:
    given = reading.fields(path, value, ("name", "weight", "control", "dose", "policy"))
    if given is None:
        return UNREAD
    return reading.build(path, Variant, {"name": ABSENT, **given})


def _phase(reading: Reading, plan: Given, weights: Any, path: str, value: object) -> Any:
    """A phase takes from the plan what it does not say: the weights of its variants, or its traffic."""
    given = reading.fields(path, value, ("start", "weights", "traffic"))
    if given is None:
        return UNREAD
    traffic = plan.get("traffic", 1.0)
    if not isinstance(traffic, int | float) or not 0 <= traffic <= 1:
        traffic = UNREAD  # on record already, as the plan's
    fields = {"weights": weights, "traffic": traffic, **picked(given, ("start",), ("weights", "traffic"))}
    return reading.build(path, Phase, {**fields, "start": _date(fields["start"])})


def _layer(reading: Reading, value: object) -> Any:
    if value is None:
        return None
    given = reading.fields("layer", value, ("name", "slots"))
    if given is None:
        return UNREAD
    pair = reading.items("layer.slots", given.get("slots", ABSENT), most=2, least=2) or (UNREAD, UNREAD)
    renamed = {"first": "slots[0]", "after": "slots[1]"}
    return reading.build("layer", Layer, {**picked(given, ("name",)), "first": pair[0], "after": pair[1]}, renamed)


def _holdout(reading: Reading, value: object) -> Any:
    if value is None:
        return None
    given = reading.fields("holdout", value, ("name", "share"))
    return UNREAD if given is None else reading.build("holdout", Holdout, picked(given, ("name", "share")))


def _audience(reading: Reading, value: object) -> Any:
    """`{country: DE, tier: [gold, silver], age_days: {at_least: 30}}`: all of it must hold."""
    if value is None:
        return ()
    conditions = as_mapping(value)
    if conditions is None:
        reading.add("audience", value, "a mapping of attributes such as {country: DE, age_days: {at_least: 30}}")
        return UNREAD
    return [_condition(reading, attribute, wanted) for attribute, wanted in conditions.items()]


def _condition(reading: Reading, attribute: object, wanted: object) -> Any:
    path = entry("audience", str(attribute)[:100])
    if as_list(wanted) is not None:
        return reading.build(path, Condition, {"attribute": attribute, "among": wanted}, {"attribute": "", "among": ""})
    if as_mapping(wanted) is None:
        return reading.build(path, Condition, {"attribute": attribute, "equal": wanted}, {"attribute": "", "equal": ""})
    given = reading.fields(path, wanted, ("equal", "among", "at_least", "below")) or {}
    return reading.build(path, Condition, {"attribute": attribute, **given}, {"attribute": ""})


def _with_customers(reading: Reading, plan: Given, variants: object) -> Given:
    """The plan without a `unit` that is not the customer, where that is refused: in an experiment about budgets."""
    unit = plan.get("unit")
    read = [each for each in as_list(variants) or () if isinstance(each, Variant)]
    if not isinstance(unit, str) or unit == CUSTOMER or not any(each.policy or each.dose is not None for each in read):
        return plan
    reading.add("unit", unit, WHY_THE_CUSTOMER)
    return {name: value for name, value in plan.items() if name != "unit"}


def _columns(reading: Reading, plan: Given) -> Any:
    """The names of columns; that of the unit may stand in the plan itself, and beside `unit: customer_id`."""
    value = plan.get("columns")
    given = reading.fields("columns", {} if value is None else value, _COLUMNS)
    if given is None:
        return UNREAD
    if "unit" in given and plan.get("unit") == CUSTOMER:
        plan = {name: value for name, value in plan.items() if name != "unit"}  # whose column it is: a customer's
    if "unit" in plan and "unit" in given:
        reading.add("columns.unit", As("the unit again"), "it once: here, or as unit in the plan itself")
    if "unit" in plan:
        given = {**given, "unit": plan["unit"]}
    before = len(reading.problems)
    columns = reading.build("columns", Columns, given)
    if "unit" in plan:
        for i, each in enumerate(reading.problems[before:], before):
            if each.path == "columns.unit":
                reading.problems[i] = replace(each, path="unit")
    return columns


def _date(value: object) -> object:
    """A date written as 2026-10-05; anything else is left for the value to complain about."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value  # a folded text ends in a line break


_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COLUMNS: Final = tuple(Columns.__dataclass_fields__)
_FIELDS: Final = (
    *("key", "hypothesis", "unit", "variants", "traffic", "layer", "holdout", "phases", "audience", "testers"),
    *(
        "start",
        "end",
        "min_days",
        "planned_units",
        "horizon_days",
        "metrics",
        "segments",
        "alpha",
        "inference",
        "columns",
        "seed",
    ),
)
