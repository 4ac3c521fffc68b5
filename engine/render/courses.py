"""How an effect went: over the days on which it was read, and over the weeks since customers entered.

Over the calendar each value stands in a band that holds at every look (an anytime interval), because whoever watches
it looks many times. Over the weeks it is one fixed cohort, so that a week's effect is of the same customers as the one
before. Plain data; nothing is computed but places.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Final, NamedTuple

from engine.render.style import BAD, INK, SMALL_PX, TEXT_PX, WIDE, Size, Spec, colour, labels, scaled, short, spec
from engine.store.snapshots import Reading
from experiments.design import Direction, Role
from experiments.readout import MetricReadout, Readout
from experiments.reporting.sentences import measured_in

_SIDE_PX: Final = 60
_AXIS_PX: Final = 44
_DAY_MS: Final = 86_400_000
_DAY_US: Final = 1_000 * _DAY_MS
_MARKED_MOST: Final = 31
_DRAWN_MOST: Final = 61
_TICKS: Final = {False: 8, True: 4}


class Weekly(NamedTuple):
    """The effect within one week since entry (1 is the first) on a fixed cohort."""

    metric: str
    variant: str
    week: int
    effect: float | None
    low: float | None
    high: float | None


def over_time(readout: Readout, metric: MetricReadout, readings: Sequence[Reading], size: Size = WIDE) -> Spec:
    """One metric's effect over the days on which it was read, a line a variant; of many days some, evenly chosen."""
    drawn = set(dates_shown(readings, _DRAWN_MOST))
    readings = [each for each in readings if each.as_of_us in drawn]
    days = [each.day for each in readings]
    rows = [
        {
            "day": f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}",
            **_row(readout, metric, each.variant, day * _DAY_MS, each.effect, each.low, each.high),
        }
        for day, each in zip(days, readings, strict=True)
    ]
    first, last = min(days) * _DAY_MS, max(days) * _DAY_MS
    x: Spec = {
        "field": "x",
        "type": "temporal",
        "scale": {"type": "utc", "nice": False},
        "axis": {
            "title": None,
            "grid": False,
            "values": _dates(first, last, _TICKS[size.is_narrow]),
            "format": "%-d %b",
        },
    }
    line: Spec = {"type": "line", "strokeWidth": 2}
    if len(set(days)) <= _MARKED_MOST:
        line["point"] = {"size": 24, "filled": True}
    band: Spec = {"type": "area", "opacity": 0.16}
    banded = [each for each in rows if "low" in each]
    description = f"{metric.name}: the effect over time; the table under it has the same numbers."
    return _panel(readout, metric, rows, banded, x, (line, band), size, description)


def by_week(readout: Readout, metric: MetricReadout, weeks: Sequence[Weekly], size: Size = WIDE) -> Spec:
    """One metric's effect by week since entry, with an interval each."""
    rows = [
        {"week": each.week, **_row(readout, metric, each.variant, each.week, each.effect, each.low, each.high)}
        for each in weeks
        if each.effect is not None
    ]
    names = labels(readout.treatments)
    several = len(readout.treatments) > 1
    x: Spec = {
        "field": "x",
        "type": "ordinal",
        "scale": {"domain": sorted({each.week for each in weeks})},
        "axis": {"title": "week since entry", "grid": False, "labelAngle": 0, "ticks": False},
    }
    offset: Spec = {"xOffset": {"field": "variant", "scale": {"domain": list(names.values())}}} if several else {}
    point: Spec = {"type": "point", "filled": True, "size": 60, "opacity": 1}
    rule: Spec = {"type": "rule", "strokeWidth": 2.5, "strokeCap": "round"}
    description = f"{metric.name}: the effect by week since entry; the table under it has the same numbers."
    banded = [each for each in rows if "low" in each]
    return _panel(readout, metric, rows, banded, x, (point, rule), size, description, offset)


def dates_shown(readings: Iterable[Reading], most: int) -> list[int]:
    """Some of the instants read, evenly chosen, with the first and the last."""
    found = sorted({each.as_of_us for each in readings})
    if len(found) <= most:
        return found
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def _row(
    readout: Readout,
    metric: MetricReadout,
    variant: str,
    x: float,
    effect: float,
    low: float | None,
    high: float | None,
) -> Spec:
    found: Spec = {"x": x, "variant": labels(readout.treatments)[variant], "effect": scaled(effect, metric.scale)}
    if low is not None and high is not None and isfinite(low) and isfinite(high):
        found |= {"low": scaled(low, metric.scale), "high": scaled(high, metric.scale)}
    return found


def _panel(
    readout: Readout,
    metric: MetricReadout,
    rows: list[Spec],
    banded: list[Spec],
    x: Spec,
    marks: tuple[Spec, Spec],
    size: Size,
    description: str,
    offset: Spec | None = None,
) -> Spec:
    """A value and its interval for each x and variant, against no effect and, of a guardrail, its margin."""
    names = labels(readout.treatments)
    y: Spec = {
        "type": "quantitative",
        "scale": {"nice": True, "zero": True},
        "axis": {
            "title": None,
            "tickCount": 5,
            "domain": False,
            "ticks": False,
            "minExtent": _AXIS_PX,
            "maxExtent": _AXIS_PX,
            "labelExpr": "(datum.value > 0 ? '+' : '') + replace(datum.label, '\u2212', '-')",
        },
    }
    palette = {"domain": list(names.values()), "range": [colour(place + 1) for place in range(len(names))]}
    legend: Spec | None = None
    if len(names) > 1:
        legend = {"orient": "top", "symbolType": "circle", "symbolSize": 80, "symbolOpacity": 1, "offset": 6}
    base: Spec = {
        "x": x,
        "color": {"field": "variant", "type": "nominal", "scale": palette, "legend": legend},
        **(offset or {}),
    }
    value, interval = marks
    layers: list[Spec] = [*_lines(metric)]
    if banded:
        ends: Spec = {"y": {"field": "low", **y}, "y2": {"field": "high"}}
        layers.append({"data": {"values": banded}, "mark": interval, "encoding": base | ends})
    layers.append({"data": {"values": rows}, "mark": value, "encoding": base | {"y": {"field": "effect", **y}}})
    title: Spec = {
        "text": short(metric.called, 60),
        "subtitle": measured_in(metric),
        "anchor": "start",
        "frame": "bounds",
    }
    title |= {"color": INK, "subtitleColor": INK, "fontSize": TEXT_PX, "subtitleFontSize": SMALL_PX, "fontWeight": 600}
    width = size.width_px - _SIDE_PX
    return spec(
        {"title": title, "width": width, "height": 180 if size.is_narrow else 200, "layer": layers}, description
    )


def _lines(metric: MetricReadout) -> Iterable[Spec]:
    def line(place: float, **looks: object) -> Spec:
        return {
            "data": {"values": [{"y": place}]},
            "mark": {"type": "rule", **looks},
            "encoding": {"y": {"field": "y", "type": "quantitative"}},
        }

    yield line(0.0, stroke=INK, strokeWidth=1)
    if metric.role is Role.GUARDRAIL and metric.margin is not None:
        sign = 1 if metric.direction is Direction.DECREASE else -1
        yield line(sign * scaled(metric.margin, metric.scale), stroke=BAD, strokeWidth=1.5, strokeDash=[4, 3])


def _dates(first: int, last: int, most: int) -> list[Spec]:
    """Whole days for the axis, as Vega says them in UTC."""
    days = (last - first) // _DAY_MS
    step = max(1, -(-days // most))
    found: list[Spec] = []
    for number in range(0, days + 1, step):
        day = datetime.fromtimestamp((first + number * _DAY_MS) / 1000, UTC)
        found.append({"year": day.year, "month": day.month, "date": day.day, "utc": True})
    return found
