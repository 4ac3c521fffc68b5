"""The metrics of a plan's file: one short form a kind, from which outcomes and metrics are built."""

from enum import StrEnum
from typing import Any, Final, assert_never

from experiments.plans.checking import ABSENT, DAYS_MAX, UNREAD, As
from experiments.plans.fields import NOTHING, Given, Reading, as_mapping, picked
from experiments.plans.metrics import Form, Mean, Outcome, Rate, Ratio, Reachable, Retention, Survival, Value


class Kind(StrEnum):
    """What a metric of a file may be."""

    RATE = "rate"
    MEAN = "mean"
    COUNT = "count"
    RATIO = "ratio"
    REACHABLE = "reachable"
    RETENTION = "retention"
    SURVIVAL = "survival"
    VALUE = "value"


LATER: Final = ("nps", "quantile")
_COMMON: Final = ("name", "title", "kind", "role", "direction", "margin")


def read_metric(reading: Reading, horizon_days: object, path: str, value: object) -> Any:
    """The metric, or `UNREAD`. A survival metric that names no horizon takes the plan's."""
    everything = as_mapping(value)
    if everything is None:
        reading.add(path, value, "a mapping such as {name: converted, kind: rate, column: converted, ...}")
        return UNREAD
    kind = reading.choice(f"{path}.kind", everything.get("kind", ABSENT), Kind, later=LATER)
    if kind is None:
        return UNREAD
    given = (
        reading.fields(path, everything, ("name", "title", "kind", "role", "direction", "margin", *_FIELDS[kind])) or {}
    )
    common = picked(given, ("name", "role", "direction"), ("margin", "title"))
    match kind:
        case Kind.RATE:
            return reading.build(path, Rate, {**common, "outcome": _outcome(reading, path, given)}, _SHORT)
        case Kind.MEAN | Kind.COUNT:
            counted = {"outcome": _outcome(reading, path, given), "is_count": kind is Kind.COUNT}
            return reading.build(path, Mean, {**common, **counted, **picked(given, (), ("cap",))}, _SHORT)
        case Kind.RATIO:
            return _ratio(reading, path, given, common)
        case Kind.RETENTION:
            return _retention(reading, path, given, common)
        case Kind.REACHABLE:
            return reading.build(path, Reachable, {**common, **picked(given, ("day",), ("channel", "column"))})
        case Kind.SURVIVAL:
            return _survival(reading, path, given, common, horizon_days)
        case Kind.VALUE:
            return _value(reading, path, given, common)
        case _:
            assert_never(kind)


def _outcome(reading: Reading, path: str, given: Given) -> Any:
    """The short form: the fields of the outcome stand in the metric itself."""
    return reading.build(path, Outcome, picked(given, (), _OUTCOME))


def _part(reading: Reading, path: str, value: object, days: Given) -> Any:
    """An outcome in a mapping of its own; its days are those of the metric."""
    fields = reading.fields(path, value, _PART)
    return UNREAD if fields is None else reading.build(path, Outcome, {**fields, **days})


def _days(reading: Reading, path: str, given: Given) -> Given:
    """The days that all parts of a metric share."""
    days = given.get("within_days")
    if days is None or reading.whole(f"{path}.within_days", days, 1, DAYS_MAX) is None:
        return NOTHING
    return {"within_days": days}


def _ratio(reading: Reading, path: str, given: Given, common: Given) -> Any:
    days = _days(reading, path, given)
    names = ("numerator", "denominator")
    parts = {name: _part(reading, f"{path}.{name}", given.get(name, ABSENT), days) for name in names}
    return reading.build(path, Ratio, {**common, **parts})


def _retention(reading: Reading, path: str, given: Given, common: Given) -> Any:
    """One of three forms, told apart by the fields that are there."""
    form: Any = UNREAD
    first: Any = UNREAD
    until: Any = UNREAD
    begins = {Form.ON_DAY: "on_day", Form.WITHIN: "from_day", Form.ON_OR_AFTER: "on_or_after_day"}
    named = [each for each, name in begins.items() if name in given]
    if len(named) == 1 and (named[0] is Form.ON_DAY) == ("until_day" not in given):
        form, first = named[0], given[begins[named[0]]]
        until = given.get("until_day", UNREAD)
        if form is Form.ON_DAY and isinstance(first, int):
            until = first + 1
    else:
        names = [name for name in (*begins.values(), "until_day") if name in given]
        found = As(" and ".join(names) or "no days")
        reading.add(path, found, "on_day, or from_day and until_day, or on_or_after_day and until_day")
    days = {"form": form, "from_day": first, "until_day": until}
    rest = {"outcome": _outcome(reading, path, given), **picked(given, (), ("clock",))}
    first_name = begins.get(form, "")
    renamed = {"outcome": "", "from_day": first_name, "until_day": "on_day" if form is Form.ON_DAY else "until_day"}
    return reading.build(path, Retention, {**common, **days, **rest}, renamed)


def _survival(reading: Reading, path: str, given: Given, common: Given, horizon_days: object) -> Any:
    competing = given.get("competing", ())
    rest = {
        **picked(given, ("event",), ("duration", "channel")),
        "horizon_days": given.get("horizon", horizon_days),
        "competing": (competing,) if isinstance(competing, str) else competing,
    }
    return reading.build(path, Survival, {**common, **rest}, {"horizon_days": "horizon"})


def _value(reading: Reading, path: str, given: Given, common: Given) -> Any:
    """Revenue in a mapping of its own, or in the short form."""
    days = _days(reading, path, given)
    parts = {
        name: _part(reading, f"{path}.{name}", given[name], days)
        for name in ("revenue", "contacts", "lost_reach")
        if given.get(name) is not None
    }
    short = picked(given, (), ("column", "event", "value", "channel"))
    if "revenue" not in parts:
        parts["revenue"] = reading.build(path, Outcome, {**short, **days})
    elif short:
        reading.add(path, As(f"revenue beside {', '.join(short)}"), "one of the two: both say where money comes from")
    rest = picked(given, (), ("margin_share", "cost_per_contact", "loss_of_reach", "currency"))
    return reading.build(path, Value, {**common, **parts, **rest}, {} if "revenue" in given else {"revenue": ""})


_PART: Final = ("column", "event", "value", "channel")
_OUTCOME: Final = (*_PART, "within_days")
_SHORT: Final = {"outcome": ""}
_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.RATE: _OUTCOME,
    Kind.MEAN: (*_OUTCOME, "cap"),
    Kind.COUNT: (*_OUTCOME, "cap"),
    Kind.RATIO: ("numerator", "denominator", "within_days"),
    Kind.REACHABLE: ("day", "channel", "column"),
    Kind.RETENTION: (*_OUTCOME, "on_day", "from_day", "on_or_after_day", "until_day", "clock"),
    Kind.SURVIVAL: ("event", "competing", "duration", "horizon", "channel"),
    Kind.VALUE: (
        *_OUTCOME,
        *("revenue", "contacts", "lost_reach", "margin_share", "cost_per_contact", "loss_of_reach", "currency"),
    ),
}
