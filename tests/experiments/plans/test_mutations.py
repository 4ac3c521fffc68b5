"""Whatever a plan's file holds, it is read or refused with reasons: never another error."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.design import Experiment
from experiments.errors import PlanError, Problem
from experiments.plans import reader as plan_reader
from experiments.plans import text as plan_text
from tests.experiments.plan_texts import DESIGN, SMALL, read, reference

WORDS = st.sampled_from(["kind", "event", "column", "from_day", "rate", "ratio", "value", "2026-10-05", "one", "three"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
DATA: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children: list[tuple[Any, Any]] = []
    if isinstance(data, dict | list):
        children = list(data.items() if isinstance(data, dict) else enumerate(data))
    return [path, *(found for key, child in children for found in places(child, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid plan of which some places hold other things, hold nothing, or hold something more."""
    data: Any = copy.deepcopy(plan_text.parse(reference()).data)
    for _ in range(draw(st.integers(1, 4))):
        paths = places(data)[1:]
        if not paths:
            return draw(DATA)
        path = draw(st.sampled_from(paths))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "delete", "add", "copy"])):
            case "replace":
                parent[path[-1]] = draw(DATA)
            case "delete":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(WORDS | st.text(max_size=8))] = draw(DATA)
            case "add":
                parent.append(draw(DATA))
            case _:
                source: Any = data
                for key in draw(st.sampled_from(places(data))):
                    source = source[key]
                parent[path[-1]] = copy.deepcopy(source)
    return data


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_plan_is_read_or_refused_with_its_reasons(data: Any) -> None:
    found: tuple[Problem, ...] = ()
    try:
        plan = plan_reader.read_data(data)
        assert plan.control in plan.variants
    except PlanError as error:
        found = error.problems
    assert all(each.found and each.expected and each.line is None for each in found)
    assert len(set(found)) == len(found)


@settings(max_examples=60, deadline=None)
@given(mutated())
def test_a_text_says_of_a_mutated_plan_what_the_data_says(data: Any) -> None:
    def outcome(read_it: Any) -> Any:
        try:
            return read_it()
        except PlanError as error:
            return sorted((each.path, each.found, each.expected) for each in error.problems)

    try:
        text = json.dumps(data, allow_nan=False)
    except ValueError:
        return  # JSON has no such number
    by_text, by_data = outcome(lambda: read(text)), outcome(lambda: plan_reader.read_data(data))
    assert (isinstance(by_text, Experiment)) == (isinstance(by_data, Experiment))
    if isinstance(by_text, Experiment):
        assert by_text == by_data


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mutated_text_is_read_or_refused_with_lines(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([DESIGN, SMALL]))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 8))
        text = (
            text[:start]
            + data.draw(st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\tax01.~<=\\é\x00", max_size=4))
            + text[start + length :]
        )
    found: tuple[Problem, ...] = ()
    try:
        read(text)
    except PlanError as error:
        found = error.problems
    assert all(each.line is None or 1 <= each.line <= text.count("\n") + 1 for each in found)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_noise_is_refused(noise: str | bytes) -> None:
    with pytest.raises(PlanError):
        read(noise)
