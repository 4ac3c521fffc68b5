"""The forest plot: one interval a metric and variant, against 0 and, for guardrails, against the margin.

Each metric has an axis of its own, in its own unit: what 100 in 10,000 customers are to one is nothing to another.
Colours say how the metrics that decide stand. Plain data; nothing is computed but places.
"""

from collections.abc import Iterator
from math import isinf
from typing import Final, NamedTuple

from engine.render.style import (
    BAD,
    GOOD,
    INK,
    OPEN,
    SMALL_PX,
    WIDE,
    Size,
    Spec,
    labels,
    scaled,
    short,
    spec,
)
from experiments.design import Direction, Role
from experiments.readout import Comparison, MetricReadout, Readout, result
from experiments.reporting.numbers import effect
from experiments.reporting.sentences import measured_in
from experiments.reporting.verdicts import Standing, standing

_HEAD_PX: Final = 26
_GAP_PX: Final = 14
_FREE: Final = 0.06


class _Frame(NamedTuple):
    """Where things go: the axis from `left` to `right`, rows of `row` pixels, each interval `line` below its row's top,
    and the texts `text` below it."""

    left: int
    right: int
    row: int
    line: int
    text: int


class _Row(NamedTuple):
    """One interval on paper, or none. Where an end is infinite it lies at the edge, and an arrow points on."""

    label: str
    text: str
    color: str
    top: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    arrows: tuple[float, ...] = ()


def forest(readout: Readout, size: Size = WIDE) -> Spec:
    """All effects of a readout. Metrics in its order, the variants of each in theirs."""
    most = 16 if not size.is_narrow else 24
    names = labels(readout.treatments, most)
    panels = [_panel(each, names, size) for each in readout.metrics]
    description = f"One interval for each metric of {readout.key}; the table under it has the same numbers."
    return spec({"vconcat": panels, "spacing": _GAP_PX}, description)


def _frame(size: Size) -> _Frame:
    if size.is_narrow:
        return _Frame(left=4, right=size.width_px - 4, row=40, line=30, text=12)
    return _Frame(left=130, right=size.width_px - 200, row=26, line=13, text=13)


def _panel(metric: MetricReadout, names: dict[str, str], size: Size) -> Spec:
    frame = _frame(size)
    low, high = domain(metric)
    rows = list(_rows(metric, names, frame, (low, high)))
    height = _HEAD_PX + frame.row * len(rows)
    scale = {"domain": [low, high], "range": [frame.left, frame.right], "nice": False, "zero": False}
    axis = {
        "title": " ".join(_axis_title(metric)),
        "titlePadding": 4,
        "titleAnchor": "middle",
        "tickCount": 3 if size.is_narrow else 5,
        "grid": False,
        "labelFlush": False,
        "labelExpr": "(datum.value > 0 ? '+' : '') + replace(datum.label, '\u2212', '-')",
    }
    is_known = any(each.effect is not None for each in rows)
    x = {"type": "quantitative", "scale": scale, "axis": axis if is_known else None}
    return {
        "width": size.width_px,
        "height": height,
        "layer": [
            *_texts(metric, rows, frame, size),
            *(_lines(metric, rows, frame, x, size) if is_known else ()),
            *(_intervals(rows, frame, x) if is_known else ()),
        ],
    }


def domain(metric: MetricReadout) -> tuple[float, float]:
    """From where to where a metric's axis goes: over all finite ends, 0 and the margin, with some room beside them."""
    ends = [0.0, _margin(metric) or 0.0]
    for each in metric.comparisons:
        found = (each.estimate.low, each.estimate.effect, each.estimate.high)
        ends += [scaled(end, metric.scale) for end in found if end is not None and not isinf(end)]
    low, high = min(ends), max(ends)
    room = (high - low) * _FREE or 1.0
    return low - room, high + room


def _rows(metric: MetricReadout, names: dict[str, str], frame: _Frame, edges: tuple[float, float]) -> Iterator[_Row]:
    for place, found in enumerate(metric.comparisons):
        top = _HEAD_PX + place * frame.row
        label = names.get(found.variant, short(found.variant))
        estimate = found.estimate
        if estimate.effect is None or estimate.low is None or estimate.high is None:
            yield _Row(label, "not enough data", INK, top)
            continue
        ends = (estimate.low, estimate.high)
        low, high = (min(max(scaled(end, metric.scale), edges[0]), edges[1]) for end in ends)
        arrows = tuple(edge for edge, end in zip((low, high), ends, strict=True) if isinf(end))
        text = effect(estimate.effect, *ends, metric.scale)
        yield _Row(label, text, _color(metric, found), top, scaled(estimate.effect, metric.scale), low, high, arrows)


def _color(metric: MetricReadout, found: Comparison) -> str:
    """By where the interval lies, for metrics that decide; others claim nothing."""
    if metric.role not in (Role.PRIMARY, Role.GUARDRAIL):
        return OPEN
    seen = result(metric, found.variant)
    return {Standing.GOOD: GOOD, Standing.BAD: BAD}.get(standing(seen, seen.interval), OPEN)


def _margin(metric: MetricReadout) -> float | None:
    """Where a guardrail's line stands on the axis."""
    if metric.margin is None:
        return None
    return scaled(metric.margin, metric.scale) * (1 if metric.direction is Direction.DECREASE else -1)


def _axis_title(metric: MetricReadout) -> Iterator[str]:
    yield measured_in(metric)
    yield "(more is better)" if metric.direction is Direction.INCREASE else "(less is better)"


def _texts(metric: MetricReadout, rows: list[_Row], frame: _Frame, size: Size) -> Iterator[Spec]:
    """The names: of the metric, of its role, of the variants, and the numbers beside their intervals."""
    yield _text([{"text": short(metric.called, 36 if size.is_narrow else 60), "y": 9}], 0, "left", bold=True)
    yield _text([{"text": metric.role.value, "y": 9}], size.width_px, "right", small=True)
    yield _text([{"text": each.label, "y": each.top + frame.text} for each in rows], 0, "left")
    yield _text([{"text": each.text, "y": each.top + frame.text} for each in rows], size.width_px, "right")


def _text(values: list[Spec], x: int, align: str, *, bold: bool = False, small: bool = False) -> Spec:
    mark: Spec = {"type": "text", "align": align, "baseline": "middle"}
    mark |= {"fontWeight": 600} if bold else {}
    mark |= {"fontSize": SMALL_PX} if small else {}
    encoding = {"x": {"value": x}, "y": _pixels("y"), "text": {"field": "text", "type": "nominal"}}
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _lines(metric: MetricReadout, rows: list[_Row], frame: _Frame, x: Spec, size: Size) -> Iterator[Spec]:
    """The lines that intervals are read against: no effect, and the margin, dashed. They cross no text."""
    margin = _margin(metric)
    kinds: list[tuple[float, Spec]] = [(0.0, {"stroke": INK, "strokeWidth": 1})]
    kinds += [] if margin is None else [(margin, {"stroke": BAD, "strokeWidth": 1.5, "strokeDash": [4, 3]})]
    pieces = [(_HEAD_PX - 4, _HEAD_PX + frame.row * len(rows))]
    if size.is_narrow:
        pieces = [(each.top + frame.text + 9, each.top + frame.row) for each in rows]
    for place, looks in kinds:
        values = [{"x": place, "from": top, "to": bottom} for top, bottom in pieces]
        encoding = {"x": {"field": "x", **x}, "y": _pixels("from"), "y2": {"field": "to"}}
        yield {"data": {"values": values}, "mark": {"type": "rule", **looks}, "encoding": encoding}


def _intervals(rows: list[_Row], frame: _Frame, x: Spec) -> Iterator[Spec]:
    values: list[Spec] = []
    arrows: list[Spec] = []
    for each in rows:
        if each.effect is None or each.low is None:
            continue
        place: Spec = {"y": each.top + frame.line, "color": each.color}
        values.append({"low": each.low, "high": each.high, "effect": each.effect, **place})
        arrows += [{"edge": edge, "angle": -90 if edge == each.low else 90, **place} for edge in each.arrows]
    base: Spec = {"y": _pixels("y"), "color": {"field": "color", "type": "nominal", "scale": None}}
    whole = {"x": {"field": "low", **x}, "x2": {"field": "high"}}
    rule: Spec = {"type": "rule", "strokeWidth": 3, "strokeCap": "round"}
    yield {"data": {"values": values}, "mark": rule, "encoding": base | whole}
    point: Spec = {"type": "point", "filled": True, "opacity": 1}
    at_effect = {"x": {"field": "effect", **x}}
    yield {"data": {"values": values}, "mark": point | {"size": 90}, "encoding": base | at_effect}
    if arrows:
        turned = {"x": {"field": "edge", **x}, "angle": {"field": "angle", "type": "quantitative", "scale": None}}
        mark = point | {"shape": "triangle", "size": 60}
        yield {"data": {"values": arrows}, "mark": mark, "encoding": base | turned}


def _pixels(field: str) -> Spec:
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}
