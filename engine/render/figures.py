"""The charts of a readout, each with a name, its two widths, and the numbers that it shows as a sheet to be saved.

The names are parts of addresses. Specs and sheets alone: nothing is drawn here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from engine.render import courses, doses
from engine.render import curves as curve
from engine.render.courses import Weekly
from engine.render.forest import forest
from engine.render.style import NARROW, WIDE, Spec
from engine.store.snapshots import Reading
from experiments.design import Role
from experiments.readout import LineKind, MetricReadout, Readout
from experiments.reporting.numbers import Scale

_TOLD: Final = ("variant", "limit", "day", "week", "received", "value", "effect", "low", "high")


class Sheet(NamedTuple):
    """Numbers as they are, not rounded; None is an empty cell."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart in two widths, and its numbers."""

    name: str
    wide: Spec
    narrow: Spec
    sheet: Sheet

    @property
    def description(self) -> str:
        return self.wide["description"]


def figures(readout: Readout, readings: Sequence[Reading] = (), weeks: Sequence[Weekly] = ()) -> dict[str, Figure]:
    """All charts that a readout has, by name. `readings` and `weeks` of other metrics than its own are left out."""
    found = [*_forests(readout), *_doses(readout), *_curves(readout)]
    found += [*_weeks(readout, weeks), *_over_time(readout, readings)]
    return {each.name: each for each in found}


def deciding(readout: Readout) -> tuple[MetricReadout, ...]:
    """Of all metrics those that one needs to decide: primaries, guardrails and money."""
    return tuple(
        each
        for each in readout.metrics
        if each.role in (Role.PRIMARY, Role.GUARDRAIL) or (each.scale is Scale.MONEY and each.role is Role.SECONDARY)
    )


def interactive(spec: Spec) -> Spec:
    """A chart that answers to a pointer: what lies under it is told, and where there is one plot it can be zoomed."""
    found = _pointed(spec)
    if "layer" in found and "resolve" not in found:
        last = next((each for each in found["layer"] if _is_line(each)), None)
        if last is not None and last["encoding"]["x"].get("type") == "temporal":
            zoom = {"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales"}
            last["params"] = [zoom]
    return found


def intervals(readout: Readout, metrics: Iterable[MetricReadout] | None = None) -> Sheet:
    """One interval a metric and variant, with both arms, as it decides."""
    columns = ("metric", "role", "direction", "unit", "variant", "control", "effect", "low", "high", "alpha")
    columns += ("comparisons", "p_value", "margin", "numerator", "denominator", "value")
    columns += ("control_numerator", "control_denominator", "control_value", "estimand", "method", "why_not")
    rows: list[tuple[Any, ...]] = []
    for metric in readout.metrics if metrics is None else metrics:
        control = metric.arm(readout.control)
        for each in metric.comparisons:
            arm, found = metric.arm(each.variant), each.estimate
            row = (metric.name, metric.role.value, metric.direction.value, _unit(metric))
            row += (each.variant, readout.control, found.effect, found.low, found.high, found.level.alpha)
            row += (found.level.comparisons, found.p_value, metric.margin, arm.numerator, arm.denominator, arm.value)
            row += (control.numerator, control.denominator, control.value)
            rows.append((*row, found.estimand, found.method, found.why_not))
    return Sheet(columns, rows)


def _unit(metric: MetricReadout) -> str:
    """What a sheet's effects are in: a share of 1, or a number, money or days for each customer."""
    return metric.unit or metric.scale.value


def _instant(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _forests(readout: Readout) -> Iterator[Figure]:
    first = deciding(readout)
    rest = tuple(each for each in readout.metrics if each not in first)
    for name, metrics in (("metrics", first), ("others", rest)):
        if metrics:
            shown = replace(readout, metrics=metrics)
            yield Figure(name, forest(shown, WIDE), forest(shown, NARROW), intervals(readout, metrics))


def _doses(readout: Readout) -> Iterator[Figure]:
    if not doses.tested(readout):
        return
    columns = ("metric", "unit", "variant", "limit", "received_a_week", "level", "effect", "low", "high", "method")
    columns += ("why_not",)
    rows = [
        (
            each.metric,
            _unit(readout.metric(each.metric)),
            row.variant,
            row.dose,
            row.received,
            row.level,
            *((found.effect, found.low, found.high, found.method, found.why_not) if found else (None,) * 5),
        )
        for each in readout.doses
        for row in each.table.rows
        for found in (row.effect,)
    ]
    yield Figure("doses", doses.dose_chart(readout, WIDE), doses.dose_chart(readout, NARROW), Sheet(columns, rows))


def _curves(readout: Readout) -> Iterator[Figure]:
    variants = [each.variant for each in readout.groups]
    columns = ("metric", "kind", "variant", "day", "value", "low", "high", "at_risk")
    for place, metric in enumerate(readout.metrics):
        for kind in curve.kinds(metric):
            rows = [
                (metric.name, kind.value, line.variant, each.day, each.value, each.low, each.high, each.at_risk)
                for line in curve.lines_of(metric, kind)
                for each in line.points
            ]
            wide, narrow = (curve.curves(metric, kind, variants, size) for size in (WIDE, NARROW))
            yield Figure(curve_name(place, kind), wide, narrow, Sheet(columns, rows))


def _weeks(readout: Readout, weeks: Sequence[Weekly]) -> Iterator[Figure]:
    columns = ("metric", "unit", "variant", "week", "effect", "low", "high")
    for place, metric in enumerate(readout.metrics):
        own = [each for each in weeks if each.metric == metric.name and each.variant in readout.treatments]
        if any(each.effect is not None for each in own):
            wide, narrow = (courses.by_week(readout, metric, own, size) for size in (WIDE, NARROW))
            rows = [(each.metric, _unit(metric), *each[1:]) for each in own]
            yield Figure(f"weeks-{place + 1}", wide, narrow, Sheet(columns, rows))


def _over_time(readout: Readout, readings: Sequence[Reading]) -> Iterator[Figure]:
    columns = ("as_of", "metric", "unit", "variant", "effect", "low", "high")
    for place, metric in enumerate(readout.metrics):
        own = [each for each in readings if each.metric == metric.name and each.variant in readout.treatments]
        if len({each.day for each in own}) > 1:
            wide, narrow = (courses.over_time(readout, metric, own, size) for size in (WIDE, NARROW))
            rows = [(_instant(each.as_of_us), each.metric, _unit(metric), *each[2:]) for each in own]
            yield Figure(f"time-{place + 1}", wide, narrow, Sheet(columns, rows))


def curve_name(place: int, kind: LineKind) -> str:
    """The name of the chart of one kind of curve of the metric in this place."""
    return f"{kind.value}-{place + 1}"


def _pointed(part: Any, above: Sequence[Spec] = ()) -> Any:
    """A copy whose marks tell what they stand for: rows of their own data, or of what lies above."""
    if isinstance(part, list):
        return [_pointed(each, above) for each in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    whole = cast("Spec", part)
    values: Sequence[Spec] = whole["data"]["values"] if "data" in whole else above
    found: Spec = {name: each if name in ("data", "config") else _pointed(each, values) for name, each in whole.items()}
    mark: Any = found.get("mark")
    told = list(_told(values[0])) if values else []
    if isinstance(mark, dict) and mark["type"] in ("point", "line", "rule") and told:
        found["encoding"] = {**found["encoding"], "tooltip": told}
    if "layer" in found:
        found["layer"] = [*found["layer"], *(_points_of(each) for each in found["layer"] if _is_line(each))]
    return found


def _is_line(layer: Spec) -> bool:
    return layer["mark"]["type"] == "line"


def _points_of(line: Spec) -> Spec:
    """What a pointer finds on a line: points that nobody sees, with neither colour nor legend."""
    encoding = {name: each for name, each in line["encoding"].items() if name in ("x", "y", "tooltip")}
    return {**line, "mark": {"type": "point", "size": 90, "opacity": 0}, "encoding": encoding}


def _told(row: Mapping[str, Any]) -> Iterator[Spec]:
    """Of what a mark stands for, what a person would ask for."""
    for name in _TOLD:
        if isinstance(row.get(name), str):
            yield {"field": name, "type": "nominal"}
        elif row.get(name) is not None:
            yield {"field": name, "type": "quantitative", "format": ",.4~g"}
