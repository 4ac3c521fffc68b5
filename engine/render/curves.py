"""Curves over the days since entry, by variant, each with its intervals and the customers still at risk.

Drawn as steps, for that is what is known. Below the axis stand the numbers at risk, for a curve says little where few
are left. Plain data; nothing is computed but places.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from engine.render.style import DASHES, INK, SMALL_PX, WIDE, Size, Spec, colour, dash, labels, short, spec
from experiments.readout import Line, LineKind, MetricReadout, Point
from experiments.reporting.numbers import count, plain

_STEPS: Final = (1, 2, 7, 14, 28, 56, 91, 182, 364)
_DRAWN_MOST: Final = 120
_TICKS: Final = {False: 9, True: 5}
_SIDE_PX: Final = 60
_HEAD_PX: Final = 22
_RISK_PX: Final = 34


def curves(metric: MetricReadout, kind: LineKind, variants: Sequence[str], size: Size = WIDE) -> Spec:
    """The curves of one kind of a metric. `variants` are all of the readout's, the control first: each keeps its colour
    in every chart. A variant without a curve is left out; ValueError where none has one."""
    names = labels(variants)
    lines = lines_of(metric, kind)
    if not lines:
        raise ValueError(f"found no curve of {metric.name}, expected one or more")
    last = last_day(lines)
    days = ticks(last, _TICKS[size.is_narrow])
    width = size.width_px - _SIDE_PX
    x: Spec = {"type": "quantitative", "scale": {"domain": [0, max(last, 1)], "range": [0, width], "nice": False}}
    places = {variant: place for place, variant in enumerate(variants)}
    shown = [(names.get(each.variant, short(each.variant)), places.get(each.variant, 0), each) for each in lines]
    description = (
        f"{metric.name}, {kind} by variant over {count(last, 'day')}; the table under it has the same numbers."
    )
    return spec(
        {
            "vconcat": [_plot(shown, days, x, width, size), _risk(shown, days, x, width)],
            "spacing": 8,
            "resolve": {"legend": {"color": "shared"}},
        },
        description,
    )


def kinds(metric: MetricReadout) -> list[LineKind]:
    """The kinds of curves that a metric has."""
    return [each for each in LineKind if lines_of(metric, each)]


def lines_of(metric: MetricReadout, kind: LineKind) -> list[Line]:
    """A metric's curves of one kind, without those that hold nothing."""
    return [each for each in metric.curves if each.kind is kind and each.points]


def last_day(lines: Sequence[Line]) -> int:
    """The day on which the last of these curves ends."""
    return max(each.points[-1].day for each in lines)


def ticks(last: int, most: int) -> list[int]:
    """Days to show on an axis and in a table: from 0 on in even steps, whole weeks where there are many."""
    step = next((each for each in _STEPS if last // each < most), -(-last // most))
    return list(range(0, last + 1, step))


def at(line: Line, day: int) -> Point | None:
    """The point of a day, or None where the curve has ended before."""
    return next((each for each in line.points if each.day == day), None)


def _plot(shown: list[tuple[str, int, Line]], days: list[int], x: Spec, width: int, size: Size) -> Spec:
    values = [
        {"variant": label, "day": each.day, "value": each.value, "low": each.low, "high": each.high}
        for label, _, line in shown
        for each in _drawn(line.points)
    ]
    names = [label for label, _, _ in shown]
    keyed: Spec = {"field": "variant", "type": "nominal"}
    colors = {"domain": names, "range": [colour(place) for _, place, _ in shown]}
    dashes = {"domain": names, "range": [list(dash(place)) for _, place, _ in shown]}
    legend: Spec = {"orient": "top", "symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1}
    legend |= {"symbolSize": 200, "offset": 6, "columns": 2 if size.is_narrow else 4}
    axis = {"title": "days since entry", "values": days, "format": "d", "grid": False, "labelFlush": False}
    y_axis: Spec = {"title": None, "format": "~%", "labelExpr": "replace(datum.label, '%', ' %')"}
    y_axis |= {"tickCount": 5, "domain": False, "ticks": False}
    y: Spec = {"type": "quantitative", "scale": {"zero": False, "nice": True}, "axis": y_axis}
    shared: Spec = {"x": {"field": "day", **x, "axis": axis}, "color": {**keyed, "scale": colors, "legend": legend}}
    band: Spec = {"type": "area", "interpolate": "step-after", "opacity": 0.16}
    line: Spec = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    is_plain = all(dash(place) == DASHES[0] for _, place, _ in shown)  # as with up to seven treatments
    dashed: Spec = {} if is_plain else {"strokeDash": {**keyed, "scale": dashes, "legend": None}}
    return {
        "width": width,
        "height": 220 if size.is_narrow else 260,
        "data": {"values": values},
        "layer": [
            {"mark": band, "encoding": {**shared, "y": {"field": "low", **y}, "y2": {"field": "high"}}},
            {"mark": line, "encoding": {**shared, **dashed, "y": {"field": "value", **y}}},
        ],
    }


def _risk(shown: list[tuple[str, int, Line]], days: list[int], x: Spec, width: int) -> Spec:
    """The numbers at risk under the axis, a variant's name above its own."""
    texts = list(_at_risk(shown, days))
    heads: list[Spec] = [{"text": "still at risk", "y": 8, "color": INK}]
    heads += [
        {"text": label, "y": _HEAD_PX + row * _RISK_PX + 4, "color": colour(place)}
        for row, (label, place, _) in enumerate(shown)
    ]
    y: Spec = {"field": "y", "type": "quantitative", "scale": None, "axis": None}
    said: Spec = {"text": {"field": "text", "type": "nominal"}, "y": y}
    colored: Spec = {"color": {"field": "color", "type": "nominal", "scale": None}}
    mark: Spec = {"type": "text", "baseline": "middle", "fontSize": SMALL_PX}
    return {
        "width": width,
        "height": _HEAD_PX + len(shown) * _RISK_PX,
        "layer": [
            {"data": {"values": texts}, "mark": mark, "encoding": {"x": {"field": "day", **x, "axis": None}, **said}},
            {
                "data": {"values": heads},
                "mark": mark | {"align": "left", "dx": -30},
                "encoding": {"x": {"value": 0}, **said, **colored},
            },
        ],
    }


def _at_risk(shown: list[tuple[str, int, Line]], days: list[int]) -> Iterator[Spec]:
    for row, (_, _, line) in enumerate(shown):
        for day in days:
            point = at(line, day)
            if point is not None:
                yield {"day": day, "text": plain(point.at_risk), "y": _HEAD_PX + row * _RISK_PX + 20}


def _drawn(points: tuple[Point, ...]) -> Iterator[Point]:
    """Every k-th day of a long curve, its first and its last."""
    step = -(-len(points) // _DRAWN_MOST)
    yield from (each for place, each in enumerate(points) if place % step == 0 or place == len(points) - 1)
