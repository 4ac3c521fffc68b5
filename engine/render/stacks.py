"""Stacked bars: what was asked on each day, and how full budgets are. Plain data; nothing is computed but shares.

Colours go from what was sent to what was not; the table beside each chart has the numbers.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from engine.render.style import BAD, GOOD, WIDE, Size, Spec, labels, spec
from experiments.reporting.numbers import count

_AMBER: Final = "#b8860b"
_PALE: Final = "#a3aeb8"
OUTCOMES: Final = {"allowed": GOOD, "deferred": _AMBER, "denied": BAD}
LEVELS: Final = {"nothing left": BAD, "close": _AMBER, "comfortable": GOOD, "forgotten": _PALE}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BAR_MOST_PX: Final = 60
_ROW_PX: Final = 34
_FIT: Final[Spec] = {"type": "fit-x", "contains": "padding"}  # labels take what they need of the width


class Day(NamedTuple):
    """A day since 1970-01-01, and its messages."""

    day: int
    allowed: int
    deferred: int
    denied: int


class Filled(NamedTuple):
    """A budget, and the share of customers at each level, in the order of `LEVELS`."""

    budget: str
    shares: Sequence[float]


def by_day(days: Sequence[Day], size: Size = WIDE) -> Spec:
    """Messages asked for, a bar a day: allowed below, refused on top. ValueError where there is no day."""
    if not days:
        raise ValueError("found no day, expected one or more")
    width = size.width_px
    values = [
        {"day": _date(each.day), "outcome": name, "messages": number, "order": place}
        for each in days
        for place, (name, number) in enumerate(zip(OUTCOMES, each[1:], strict=True))
        if number
    ]
    domain = [_date(days[0].day - 0.5), _date(days[-1].day + 0.5)]
    bar = min((width - 40) / len(days) * (0.9 if len(days) > 40 else 0.7), _BAR_MOST_PX)
    ticks = 4 if size.is_narrow else 8
    axis: Spec = {"title": None, "format": "%-d %b", "tickCount": min(ticks, len(days)), "grid": False}
    axis |= {"labelOverlap": True, "labelFlush": False}
    body: Spec = {
        "width": width,
        "autosize": _FIT,
        "height": 200 if size.is_narrow else 240,
        "data": {"values": values},
        "mark": {"type": "bar", "width": bar},
        "encoding": {
            "x": {"field": "day", "type": "temporal", "scale": {"type": "utc", "domain": domain}, "axis": axis},
            "y": {
                "field": "messages",
                "type": "quantitative",
                "stack": "zero",
                "axis": {"title": None, "format": "~s", "tickCount": 5, "domain": False, "ticks": False},
            },
            "color": _coloured("outcome", OUTCOMES),
            "order": {"field": "order", "type": "quantitative"},
        },
    }
    return spec(body, f"Messages asked for on each of {count(len(days), 'day')}: allowed, deferred and denied.")


def by_level(budgets: Sequence[Filled], size: Size = WIDE) -> Spec:
    """How full budgets are: a bar a budget, of all customers. ValueError where there is no budget."""
    if not budgets:
        raise ValueError("found no budget, expected one or more")
    shown = labels([each.budget for each in budgets], 18 if size.is_narrow else 28)
    values: list[dict[str, Any]] = [
        {"budget": shown[each.budget], "level": name, "share": share, "order": place}
        for each in budgets
        for place, (name, share) in enumerate(zip(LEVELS, each.shares, strict=True))
        if share
    ]
    axis: Spec = {"title": None, "format": "~%", "labelExpr": "replace(datum.label, '%', ' %')", "tickCount": 5}
    side: Spec = {"title": None, "labelLimit": 0, "ticks": False, "domain": False}
    # Browsers draw these labels wider than they were measured: kept free, so that none begins left of the chart.
    side["minExtent"] = round((6.2 if size.is_narrow else 7.2) * max(map(len, shown.values())))
    body: Spec = {
        "width": size.width_px,
        "autosize": _FIT,
        "height": {"step": _ROW_PX},
        "data": {"values": values},
        "mark": {"type": "bar", "height": {"band": 0.66}},
        "encoding": {
            "y": {"field": "budget", "type": "nominal", "sort": None, "axis": side},
            "x": {
                "field": "share",
                "type": "quantitative",
                "stack": "zero",
                "scale": {"domain": [0, 1]},
                "axis": {**axis, "grid": False},
            },
            "color": _coloured("level", LEVELS, columns=2 if size.is_narrow else 4),
            "order": {"field": "order", "type": "quantitative"},
        },
    }
    return spec(body, "The share of customers for whom each budget has nothing left, little, or enough.")


def _coloured(field: str, colours: dict[str, str], columns: int = 4) -> Spec:
    legend: Spec = {"orient": "top", "symbolType": "square", "symbolSize": 120, "columns": columns, "offset": 8}
    legend |= {"columnPadding": 18}
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}


def _date(day: float) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
