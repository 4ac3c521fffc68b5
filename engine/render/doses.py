"""The dose chart: what each tested limit did, over the limits that were set and over the contacts that came of them.

Beside each other, because a limit that nobody reaches changes nothing. Intervals hold for all tested limits at once;
between the limits nothing was tested, and nothing is drawn. Plain data; nothing is computed but places.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Final

from engine.render.style import (
    HAIR,
    INK,
    SMALL_PX,
    TEXT_PX,
    WIDE,
    Size,
    Spec,
    colour,
    labels,
    scaled,
    short,
    spec,
)
from experiments.design import Role
from experiments.estimators.dose import DoseRow
from experiments.readout import Doses, MetricReadout, Readout
from experiments.reporting.numbers import Scale, plain
from experiments.reporting.sentences import measured_in

_SIDE_PX: Final = 60
_GAP_PX: Final = 20
_AXIS_PX: Final = 44  # of every row alike, so that titles stand below each other


def tested(readout: Readout) -> list[Doses]:
    """Of metrics that decide, and of money: those with several tested limits, one of them with a known effect."""
    return [
        each
        for each in readout.doses
        if len(each.table.rows) > 2
        and _counts(readout.metric(each.metric))
        and any(row.effect is not None and row.effect.is_known for row in each.table.rows)
    ]


def dose_chart(readout: Readout, size: Size = WIDE) -> Spec:
    """One row of two charts for each metric that `tested` names."""
    rows = [_row(readout, each, size) for each in tested(readout)]
    description = (
        f"Effects of {readout.key} by limit and by contacts received; the table under it has the same numbers."
    )
    return spec({"vconcat": rows, "spacing": 16, "resolve": {"legend": {"color": "shared"}}}, description)


def limit_of(row: DoseRow) -> str:
    return "no limit" if row.dose is None else plain(row.dose)


def _counts(metric: MetricReadout) -> bool:
    return metric.role in (Role.PRIMARY, Role.GUARDRAIL) or metric.scale is Scale.MONEY


def _row(readout: Readout, doses: Doses, size: Size) -> Spec:
    metric = readout.metric(doses.metric)
    names = labels([each.variant for each in readout.groups])
    values = list(_values(metric, doses, names))
    places = {each.variant: place for place, each in enumerate(readout.groups)}
    palette = {"domain": list(names.values()), "range": [colour(places[each]) for each in names]}
    legend: Spec = {"orient": "top", "symbolType": "circle", "symbolSize": 80, "symbolOpacity": 1, "offset": 12}
    color: Spec = {"field": "variant", "type": "nominal", "scale": palette, "legend": legend}
    width = (size.width_px - _SIDE_PX - _GAP_PX) // 2
    limits = list(dict.fromkeys(limit_of(each) for each in doses.table.rows))
    by_limit: Spec = {
        "field": "limit",
        "type": "ordinal",
        "scale": {"domain": limits},
        "axis": {"title": "limit", "labelAngle": 0, "ticks": False, "grid": False},
    }
    by_contacts: Spec = {
        "field": "received",
        "type": "quantitative",
        "scale": {"zero": False, "nice": True, "padding": 12},
        "axis": {"title": "contacts received a week", "grid": False, "tickCount": 3 if size.is_narrow else 5},
    }
    panels = [_panel(values, by_limit, color, width, is_first=True)]
    received = [each for each in values if each["received"] is not None]
    if received:
        panels.append(_panel(received, by_contacts, color, width, is_first=False))
    title: Spec = {"text": short(metric.called, 60), "subtitle": measured_in(metric), "anchor": "start"}
    title |= {"color": INK, "subtitleColor": INK, "fontSize": TEXT_PX, "subtitleFontSize": SMALL_PX, "fontWeight": 600}
    return {"title": title, "hconcat": panels, "spacing": _GAP_PX, "resolve": {"scale": {"y": "shared"}}}


def _panel(values: list[Spec], x: Spec, color: Spec, width: int, *, is_first: bool) -> Spec:
    y: Spec = {
        "type": "quantitative",
        "scale": {"zero": True, "nice": True},
        "axis": {
            "title": None,
            "labels": is_first,
            "ticks": False,
            "domain": False,
            "tickCount": 4,
            **({"minExtent": _AXIS_PX, "maxExtent": _AXIS_PX} if is_first else {}),
            "labelExpr": "(datum.value > 0 ? '+' : '') + replace(datum.label, '\u2212', '-')",
        },
    }
    base: Spec = {"x": x, "color": color}
    ends: Spec = {"y": {"field": "low", **y}, "y2": {"field": "high"}}
    zero: Spec = {
        "data": {"values": [{"y": 0}]},
        "mark": {"type": "rule", "stroke": INK, "strokeWidth": 1},
        "encoding": {"y": {"field": "y", "type": "quantitative"}},
    }
    with_ends = [each for each in values if each["low"] is not None]
    rule: Spec = {"type": "rule", "strokeWidth": 3, "strokeCap": "round"}
    point: Spec = {"type": "point", "filled": True, "size": 90, "opacity": 1}
    return {
        "width": width,
        "height": 130,
        "view": {"stroke": HAIR},
        "layer": [
            zero,
            {"data": {"values": with_ends}, "mark": rule, "encoding": base | ends},
            {"data": {"values": values}, "mark": point, "encoding": base | {"y": {"field": "effect", **y}}},
        ],
    }


def _values(metric: MetricReadout, doses: Doses, names: dict[str, str]) -> Iterator[Spec]:
    """The control lies at 0, without an interval: it is what the others are compared with."""
    for row in doses.table.rows:
        effect, low, high = 0.0, None, None
        if row.effect is not None:
            if row.effect.effect is None or row.effect.low is None or row.effect.high is None:
                continue
            effect = scaled(row.effect.effect, metric.scale)
            if isfinite(row.effect.low) and isfinite(row.effect.high):
                low, high = (scaled(end, metric.scale) for end in (row.effect.low, row.effect.high))
        yield {
            "variant": names[row.variant],
            "limit": limit_of(row),
            "received": row.received,
            "effect": effect,
            "low": low,
            "high": high,
        }
