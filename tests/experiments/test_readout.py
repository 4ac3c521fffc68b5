"""The verdict follows from what a readout shows: recomputed from its JSON alone, by rules written a second time."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.aggregates import Exclusion
from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate, Level, unknown
from experiments.readout import (
    Arm,
    Caution,
    CautionCode,
    Check,
    CheckCode,
    Comparison,
    Group,
    Line,
    LineKind,
    MetricReadout,
    Point,
    Readout,
)
from experiments.reporting.numbers import Scale
from tests.experiments.handmade import SHIPPING, a_metric, a_readout, an_estimate

START, END = date(2026, 10, 5), date(2027, 1, 4)


def verdict_of_json(read: Any, variant: str) -> str:
    """The rules of docs/readout.md on plain JSON: no code of the library."""
    if any(each["is_alarm"] and each["code"] not in ("srm_segment", "balance") for each in read["checks"]):
        return "invalid"
    over = read["as_of"] is None or read["as_of"] >= read["end"]
    fixed = read["inference"] == "fixed"
    good, bad, outside, not_inside = [], [], [], []
    for metric in read["metrics"]:
        found = next(each for each in metric["comparisons"] if each["variant"] == variant)
        sign = 1 if metric["direction"] == "increase" else -1
        is_primary, is_guardrail = metric["role"] == "primary", metric["role"] == "guardrail"
        line = -metric["margin"] if is_guardrail else 0
        bound = gains(found["bound"], sign)
        if (is_primary or is_guardrail) and bound and bound[1] < line:
            return "stop"
        waits = not over and (fixed or metric["at_end_only"])
        gain = None if waits else gains(found["estimate"], sign)
        if is_guardrail and not (gain and gain[0] > line):
            not_inside.append(metric["name"])
        if is_guardrail and gain and gain[1] < line:
            outside.append(metric["name"])
        if is_primary and gain and gain[0] > 0:
            good.append(metric["name"])
        if is_primary and gain and gain[1] < 0:
            bad.append(metric["name"])
    days = 0 if over else (date.fromisoformat(read["as_of"]) - date.fromisoformat(read["start"])).days
    cut = read["ended"] is not None and not over
    if over or (not fixed and days >= read["min_days"] and (cut or days % 7 == 0)):
        if bad or outside:
            return "do_not_ship"
        if good and not not_inside:
            return "ship"
    return "inconclusive" if over or cut else "keep_running"


def gains(estimate: Any, sign: int) -> list[float] | None:
    """The interval turned so that more is better."""
    if estimate is None or estimate["low"] is None:
        return None
    return sorted(sign * float(estimate[end]) for end in ("low", "high"))


numbers = st.floats(-1, 1)
names = st.text("abcü_ \"'", min_size=1, max_size=8)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    level = Level(draw(st.sampled_from([0.05, 0.1])), draw(st.integers(1, 6)))
    if draw(st.booleans()) and draw(st.booleans()):
        return unknown("the difference", "by hand", level, draw(names))
    low, effect, high = sorted((draw(numbers), draw(numbers), draw(numbers)))
    low, high = draw(st.sampled_from([low, -inf])), draw(st.sampled_from([high, inf]))
    return Estimate("the difference", "by hand", level, effect, low, high, draw(st.floats(0, 1)))


@st.composite
def metrics(draw: st.DrawFn, name: str, variants: tuple[str, ...]) -> MetricReadout:
    role = draw(st.sampled_from(Role))
    bounds = st.none() | estimates().map(lambda each: replace(each, p_value=None))
    points = st.builds(Point, st.integers(0, 90), numbers, numbers, numbers, st.integers(0, 9))
    return MetricReadout(
        name=name,
        role=role,
        direction=draw(st.sampled_from(Direction)),
        scale=draw(st.sampled_from(Scale)),
        arms=tuple(Arm(each, 3, draw(numbers), 3.0, draw(st.none() | numbers)) for each in ("control", *variants)),
        comparisons=tuple(Comparison(each, draw(estimates()), draw(bounds)) for each in variants),
        margin=draw(st.floats(0.001, 0.5)) if role is Role.GUARDRAIL else None,
        unit=draw(st.none() | names),
        at_end_only=draw(st.booleans()),
        immature=draw(st.integers(0, 9)),
        curves=tuple(Line(each, LineKind.STAYING, "staying", "by hand", 0.05, (draw(points),)) for each in variants),
    )


@st.composite
def readouts(draw: st.DrawFn) -> Readout:
    variants = draw(st.sampled_from([("a",), ("a", "b")]))
    checks = st.builds(Check, st.sampled_from(CheckCode), st.sampled_from([False, False, True]), names, names)
    return Readout(
        key=draw(names),
        hypothesis=draw(names),
        inference=draw(st.sampled_from(Inference)),
        alpha=0.05,
        start=START,
        end=END,
        min_days=draw(st.integers(1, 40)),
        horizon_days=90,
        as_of=draw(st.none() | st.integers(0, 120).map(lambda days: START + timedelta(days=days))),
        groups=(
            Group("control", draw(st.integers(0, 9)), 1.0, True),
            *(Group(each, 3, 1.0, dose=draw(st.none() | st.just(3.0))) for each in variants),
        ),
        metrics=tuple(draw(metrics(f"metric_{k}", variants)) for k in range(draw(st.integers(0, 4)))),
        checks=tuple(draw(st.lists(checks, max_size=2))),
        cautions=tuple(draw(st.lists(st.builds(Caution, st.sampled_from(CautionCode), names), max_size=2))),
        exclusions=tuple(draw(st.lists(st.builds(Exclusion, names, st.integers(0, 9), names), max_size=2))),
        ended=draw(st.none() | st.integers(0, 90).map(lambda days: START + timedelta(days=days))),
    )


@given(readouts())
def test_the_verdict_is_the_one_that_follows_from_the_json_alone(readout: Readout) -> None:
    read = json.loads(readout.to_json().replace('"infinity"', "1e999").replace('"-infinity"', "-1e999"))
    for shown in read["verdicts"]:
        assert shown["call"] == verdict_of_json(read, shown["variant"])


@given(readouts())
def test_a_readout_comes_back_from_its_json_as_it_was(readout: Readout) -> None:
    again = Readout.from_json(readout.to_json())
    assert again == readout
    assert again.to_json() == readout.to_json()
    assert str(again) == str(readout)


def test_json_holds_no_number_that_json_does_not_know() -> None:
    open_ended = a_metric("visit", Role.PRIMARY, Estimate("the difference", "by hand", Level(), 0.1, -inf, inf, 0.4))
    text = a_readout(open_ended).to_json()
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"found {name}"))
    assert read["metrics"][0]["comparisons"][0]["estimate"]["low"] == "-infinity"
    assert Readout.from_json(text).metric("visit").comparison("three").estimate.high == inf


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["schema"], 2, "schema"),
        (["key"], 7, "readout.key"),
        (["start"], "yesterday", "readout.start"),
        (["inference"], "bayes", "readout.inference"),
        (["metrics"], {}, "readout.metrics"),
        (["metrics", 0, "arms", 1, "units"], True, r"readout.metrics\[0\].arms\[1\].units"),
        (["metrics", 0, "comparisons", 0, "estimate", "effect"], "big", "estimate.effect"),
        (["groups", 0], None, r"readout.groups\[0\]"),
        (["surplus"], 1, "surplus"),
        (["verdicts", 0, "call"], "stop", "verdicts"),
        (["groups"], [], "readout.groups"),
        (["groups", 0, "variant"], "x", r"readout.metrics\[0\].arms"),
        (["groups", 1, "variant"], "one", "readout.groups"),
        (["metrics", 0, "comparisons"], [], r"readout.metrics\[0\].comparisons"),
        (["metrics", 0, "arms", 0, "numerator"], "infinity", r"readout.metrics\[0\].arms\[0\].numerator"),
        (["metrics", 0, "arms", 0, "numerator"], {}, r"readout.metrics\[0\].arms\[0\].numerator"),
        (["metrics", 0, "arms", 0, "numerator"], float("nan"), "NaN"),
        (["metrics", 0, "arms", 0, "numerator"], 10**400, r"arms\[0\].numerator"),
        (["metrics", 0, "comparisons", 0, "estimate", "low"], None, r"comparisons\[0\].estimate"),
        (["metrics", 0, "comparisons", 0, "estimate", "level", "alpha"], 2.0, r"estimate.level: .* alpha"),
        (["metrics", 1, "name"], "reachable_28", "readout.metrics"),
        (["metrics", 1, "margin"], None, r"readout.metrics\[1\].margin"),
        (["min_days"], 10**9, "readout.min_days"),
        (["end"], "9999-12-31", "readout.end"),
        (["checks", 0, "p_value"], "x", r"readout.checks\[0\].p_value"),
    ],
)
def test_json_that_is_no_readout_is_refused_and_the_place_named(path: list[Any], value: object, named: str) -> None:
    read = json.loads(SHIPPING.to_json())
    holder = read
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    with pytest.raises(ValueError, match=named):
        Readout.from_json(json.dumps(read))


def test_json_with_an_effect_moved_is_refused_as_its_verdict_no_longer_follows() -> None:
    read = json.loads(SHIPPING.to_json())
    read["metrics"][0]["comparisons"][0]["estimate"].update(low=-0.02, effect=-0.01, high=-0.001)
    with pytest.raises(ValueError, match="verdicts"):
        Readout.from_json(json.dumps(read))


@pytest.mark.parametrize("number", [10**19, 2**53 + 2, -(10**300)])
def test_an_amount_may_be_spelled_out_as_postgresql_does(number: int) -> None:
    read = json.loads(SHIPPING.to_json())
    read["metrics"][0]["arms"][0]["numerator"] = number
    found = Readout.from_json(json.dumps(read))
    assert found.metrics[0].arms[0].numerator == float(number)
    assert Readout.from_json(found.to_json()) == found


def test_something_else_than_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        Readout.from_json("[]")
    with pytest.raises(ValueError, match="too deeply"):
        Readout.from_json("[" * 200_000)


def test_an_older_document_lacks_the_newer_fields_and_no_others() -> None:
    read = json.loads(SHIPPING.to_json())
    del read["checks"][0]["effect_size"]
    del read["metrics"][0]["title"]
    del read["ended"]
    assert Readout.from_json(json.dumps(read)) == SHIPPING
    del read["checks"][0]["p_value"]
    with pytest.raises(ValueError, match=r"checks\[0\]: found fields missing or unknown: p_value"):
        Readout.from_json(json.dumps(read))


@given(st.data())
def test_json_of_which_any_part_was_changed_is_refused_by_name_or_prints(data: st.DataObject) -> None:
    read = json.loads(SHIPPING.to_json())
    holder, path = read, data.draw(st.sampled_from(sorted(set(places(read)), key=str)))
    for step in path[:-1]:
        holder = holder[step]
    values = [None, "x", "", -1, 0, 0.5, 1e308, -1e308, 10**9, 10**400, [], {}, True, "infinity", "2199-01-01", "stop"]
    holder[path[-1]] = data.draw(st.sampled_from(values))
    try:
        found = Readout.from_json(json.dumps(read))
    except ValueError as error:
        if not re.search(r"schema|readout[.\[: ]|verdicts", str(error)):
            raise
    else:
        assert str(Readout.from_json(found.to_json())) == str(found)


def places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each part of a document, but of what follows from the rest."""
    within = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for step, each in within:
        if step not in ("verdicts", "recommendation"):
            yield (*path, step)
            yield from places(each, (*path, step))


def test_a_check_that_alarms_makes_every_variant_invalid_unless_it_only_warns() -> None:
    for code in CheckCode:
        alarmed = replace(SHIPPING, checks=(Check(code, True, "The variants do not hold the shares planned."),))
        warns = code in (CheckCode.SRM_SEGMENT, CheckCode.BALANCE)
        assert [each.call for each in alarmed.verdicts] == ["ship" if warns else "invalid"]


def test_a_bound_for_stopping_carries_no_second_p_value() -> None:
    for metric in SHIPPING.metrics:
        for each in metric.comparisons:
            assert each.bound is None or each.bound.p_value is None


def test_a_metric_is_found_by_name_or_refused() -> None:
    assert SHIPPING.metric("net_value").unit == "EUR"
    with pytest.raises(KeyError):
        SHIPPING.metric("nothing")


def test_the_effect_of_an_estimate_by_hand_is_printed_with_its_interval() -> None:
    assert "+112 in 10,000 customers (+31 to +193)" in str(a_readout(a_metric("x", Role.PRIMARY, _EFFECT)))


_EFFECT = an_estimate(0.0112, 0.0031, 0.0193)
