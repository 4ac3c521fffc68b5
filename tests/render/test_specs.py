"""Specs are plain data that hold the readout's own numbers, and become the same bytes of SVG each time."""

import json
import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.render.curves import curves, kinds, last_day, lines_of, ticks
from engine.render.forest import domain, forest
from engine.render.style import (
    BAD,
    CONTROL,
    GOOD,
    INK,
    NARROW,
    OPEN,
    TREATMENTS,
    WIDE,
    Size,
    colour,
    dash,
    labels,
    short,
)
from engine.render.svg import ChartError, svg
from experiments.design import Direction, Role
from experiments.estimates import unknown
from experiments.readout import LineKind, MetricReadout
from tests.render.readouts import LEVEL, a_full_readout, a_line, a_metric, a_readout, an_estimate

FULL = a_full_readout()
VARIANTS = ("one", "three", "five")
SURVIVAL = FULL.metric("time_to_unsubscribe")
NASTY = ("<script>alert(1)</script>", "a \"quoted\" & 'single' name", "ünïcødé 👩‍👩‍👧 \u202egnp", "x" * 200)


def values(spec: Any, *fields: str) -> list[dict[str, Any]]:
    """The rows anywhere in a spec that have all these fields."""
    if isinstance(spec, list):
        return [row for each in spec for row in values(each, *fields)]
    if not isinstance(spec, dict):
        return []
    own = [row for row in spec.get("data", {}).get("values", []) if all(field in row for field in fields)]
    return own + [row for name, each in spec.items() if name != "data" for row in values(each, *fields)]


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314 (drawn here, and what it holds is what is tested)


def texts(drawn: str) -> str:
    return "\n".join(each.text or "" for each in parsed(drawn).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_forest_holds_the_effects_and_ends_of_the_readout_in_10_000_customers(size: Size) -> None:
    panel = forest(a_readout(FULL.metric("unsubscribed")), size)["vconcat"][0]
    rows = {
        tuple(round(row[end], 9) for end in ("low", "effect", "high")) for row in values(panel, "low", "effect", "high")
    }
    assert rows == {(-3.0, 4.0, 11.0), (-3.0, 8.0, 22.0)}
    assert {row["x"] for row in values(panel, "x", "from")} == {0.0, 20.0}
    assert "+4 (-3 to +11)" in [row["text"] for row in values(panel, "text")]


def test_the_margin_of_a_metric_that_should_rise_lies_below_0() -> None:
    kept = a_metric("kept", Role.GUARDRAIL, an_estimate(0.001, -0.001, 0.003), margin=0.002)
    assert {row["x"] for row in values(forest(a_readout(kept)), "x", "from")} == {0.0, -20.0}


def test_colours_say_how_the_metrics_that_decide_stand_and_others_claim_nothing() -> None:
    found = {each.name: [row["color"] for row in values(forest(a_readout(each)), "low")][:2] for each in FULL.metrics}
    assert found["reachable_28"] == [GOOD, OPEN]
    assert found["unsubscribed"] == [GOOD, OPEN]
    assert found["complained"] == [BAD, BAD]
    assert found["time_to_unsubscribe"] == [OPEN, OPEN]


def test_an_end_without_limit_lies_at_the_edge_and_an_arrow_points_on() -> None:
    panel = forest(a_readout(FULL.metric("complained")))["vconcat"][0]
    low, high = domain(FULL.metric("complained"))
    assert low < 0 < 31 < high < math.inf
    assert {(row["edge"], row["angle"]) for row in values(panel, "edge")} == {(high, 90)}
    below = a_metric("x", Role.PRIMARY, an_estimate(0.1, -math.inf, 0.2))
    arrows = values(forest(a_readout(below)), "edge")
    assert [(row["edge"], row["angle"]) for row in arrows] == [(domain(below)[0], -90)]
    json.dumps(panel, allow_nan=False)


def test_a_metric_without_an_estimate_says_so_and_draws_nothing() -> None:
    spec = forest(a_readout(a_metric("spend", Role.PRIMARY, unknown("the mean", "Welch", LEVEL, "one buyer"))))
    assert values(spec, "low") == values(spec, "x") == []
    assert "not enough data" in texts(svg(spec))


def test_an_axis_has_room_where_all_is_0() -> None:
    low, high = domain(a_metric("same", Role.PRIMARY, an_estimate(0.0, 0.0, 0.0)))
    assert low < 0 < high


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("kind", list(LineKind))
def test_curves_hold_every_day_with_its_interval_and_who_is_at_risk(size: Size, kind: LineKind) -> None:
    spec = curves(SURVIVAL, kind, VARIANTS, size)
    rows = values(spec, "day", "value")
    for line in lines_of(SURVIVAL, kind):
        drawn = [(row["day"], row["value"], row["low"], row["high"]) for row in rows if row["variant"] == line.variant]
        assert drawn == [(each.day, each.value, each.low, each.high) for each in line.points]
    at_risk = [row["text"] for row in values(spec, "day", "text")]
    assert len(at_risk) == 3 * len(ticks(90, 5 if size.is_narrow else 9))
    assert at_risk[0] == "21,300"


def test_a_long_curve_keeps_its_first_and_last_day() -> None:
    line = a_line("three", 0.001, LineKind.STAYING, days=1_000)
    metric = a_metric("stay", Role.PRIMARY, an_estimate(0.1, 0.05, 0.2), curves=(line,))
    days = [row["day"] for row in values(curves(metric, LineKind.STAYING, ("one", "three")), "day", "value")]
    assert days[0] == 0
    assert days[-1] == 1_000
    assert days == sorted(set(days))
    assert len(days) <= 122


def test_a_variant_keeps_its_colour_where_others_have_no_curve() -> None:
    lines = (a_line("five", 0.001, LineKind.STAYING), a_line("one", 0.001, LineKind.STAYING, days=10))
    metric = a_metric("stay", Role.PRIMARY, an_estimate(0.1, 0.05, 0.2), curves=lines)
    color = curves(metric, LineKind.STAYING, VARIANTS)["vconcat"][0]["layer"][0]["encoding"]["color"]["scale"]
    assert color == {"domain": ["five", "one"], "range": [colour(2), CONTROL]}
    assert last_day(lines_of(metric, LineKind.STAYING)) == 90


def test_a_metric_without_curves_has_no_chart_of_them() -> None:
    metric = FULL.metric("net_value")
    assert kinds(metric) == []
    with pytest.raises(ValueError, match="found no curve of net_value"):
        curves(metric, LineKind.STAYING, VARIANTS)


@pytest.mark.parametrize(("last", "most"), [(0, 9), (1, 5), (6, 9), (28, 5), (90, 9), (365, 5), (3_650, 9)])
def test_ticks_begin_at_0_in_even_steps_and_are_few(last: int, most: int) -> None:
    found = ticks(last, most)
    assert found[0] == 0
    assert found[-1] <= last
    assert len(found) <= most
    assert len({after - before for before, after in pairwise(found)}) <= 1


def test_short_names_differ_as_the_names_do() -> None:
    names = ["a" * 100, "a" * 99 + "b", "", " ", "plain"]
    found = labels(names, 20)
    assert len(set(found.values())) == len(names)
    assert all(0 < len(each) <= 20 for each in found.values())
    assert found["plain"] == "plain"
    assert short("one\u202etwo\x00") == "one\ufffdtwo\ufffd"


def test_more_variants_than_colours_differ_by_their_dashes() -> None:
    assert len({(colour(place), tuple(dash(place))) for place in range(1, 29)}) == 28


def contrast(color: str, other: str) -> float:
    """By WCAG 2, section 1.4.11."""
    channels = [[int(each[k : k + 2], 16) / 255 for k in (1, 3, 5)] for each in (color, other)]
    linear = [[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in each] for each in channels]
    light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("page", ["#fbfbfa", "#ffffff", "#14171b"])
def test_every_colour_can_be_seen_on_both_pages(page: str) -> None:
    assert min(contrast(each, page) for each in (GOOD, BAD, OPEN, CONTROL, INK, *TREATMENTS)) >= 3


def all_specs(variants: tuple[str, ...] = VARIANTS) -> list[dict[str, Any]]:
    readout = a_full_readout(variants)
    survival: MetricReadout = readout.metric("time_to_unsubscribe")
    return [
        spec
        for size in (WIDE, NARROW)
        for spec in (forest(readout, size), *(curves(survival, kind, variants, size) for kind in LineKind))
    ]


def test_the_same_spec_gives_the_same_bytes_in_this_process_and_in_another() -> None:
    specs = all_specs()
    assert [svg(each) for each in specs] == [svg(each) for each in reversed(specs)][::-1]
    program = "import json, sys; from engine.render.svg import svg; sys.stdout.write(svg(json.load(sys.stdin)))"
    again = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=json.dumps(specs[0]),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert again.stdout == svg(specs[0])


def test_names_of_every_kind_are_drawn_as_text_and_nothing_else() -> None:
    for spec in all_specs(("control", *NASTY)):
        drawn = svg(spec)
        kinds_of_elements = {each.tag.rpartition("}")[2] for each in parsed(drawn).iter()}
        assert kinds_of_elements <= {"svg", "g", "path", "line", "text", "rect"}
        assert "<script" not in drawn
        assert "\u202e" not in drawn
        assert short(NASTY[0], 16)[:8] in texts(drawn)


def test_a_drawing_names_no_address_and_no_id_that_another_could_share() -> None:
    for spec in all_specs():
        drawn = svg(spec)
        assert set(re.findall(r"https?://[^\"' ]+", drawn)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert " id=" not in drawn
        assert "url(" not in drawn


def test_what_cannot_be_drawn_is_a_named_error_in_one_line() -> None:
    for spec in (
        {"mark": "nonsense"},
        {},
        {"data": {"url": "http://127.0.0.1:9/x.csv"}, "mark": "bar"},
        {"x": "\ud800"},
    ):
        with pytest.raises(ChartError, match="the chart cannot be drawn") as caught:
            svg(spec)
        assert "\n" not in str(caught.value)
    with pytest.raises(ChartError):
        svg({"mark": "bar", "width": math.nan})


def test_a_margin_of_a_metric_that_should_fall_is_above_0() -> None:
    metric = a_metric("u", Role.GUARDRAIL, an_estimate(0.0, -0.1, 0.1), direction=Direction.DECREASE, margin=0.5)
    assert domain(metric)[1] > 5_000
