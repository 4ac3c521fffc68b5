"""Draws are uniform, independent, and the same as on paper to the last digit (invariant 17)."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from experiments.assigning.draws import WHOLE, Draw, bounds, threshold
from experiments.assignment import assign, assign_many
from experiments.design import Experiment, Layer
from tests.experiments.assignment_oracle import numbers, vectors
from tests.experiments.assignment_plans import (
    MANY,
    golden,
    plan,
    same,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "assignment.json").read_text())
RARE = 1e-6  # the inputs are fixed, and so is the answer: a fault, and no bad luck


# --- to the byte ------------------------------------------------------------------------------------------------------


def test_the_golden_vectors_are_what_sha256sum_and_decimal_arithmetic_give() -> None:
    assert vectors() == VECTORS


def test_draws_are_those_of_the_golden_vectors() -> None:
    for each in VECTORS["draws"]:
        expected = int(each["first"]), int(each["second"])
        draw = Draw(*each["fields"])
        assert draw.pair(each["unit"].encode()) == expected, each
        assert tuple(int(column[0]) for column in draw.pairs([each["unit"].encode()])) == expected, each


def test_thresholds_and_bounds_are_those_of_the_golden_vectors() -> None:
    for each in VECTORS["thresholds"]:
        assert threshold(float(each["share"])) == int(each["threshold"]), each
    for each in VECTORS["bounds"]:
        assert bounds(list(map(float, each["weights"]))) == tuple(map(int, each["bounds"])), each


def test_assignments_are_those_of_the_golden_vectors() -> None:
    for each in VECTORS["assignments"]:
        found = assign(golden(), each["unit"])
        assert (found.variant, found.reason) == (each["variant"], each["reason"]), each
    assert {each["reason"] for each in VECTORS["assignments"]} == {
        "assigned",
        "holdout",
        "other_slot",
        "not_in_traffic",
    }


def test_seed_and_unit_do_not_run_together() -> None:
    assert Draw("a1").pair(b"2") != Draw("a").pair(b"12")
    assert Draw("a").pair(b"1:b") != Draw("a", "1:").pair(b"b")
    assert (
        len({Draw(*fields).pair(unit) for fields, unit in ((("a", "b"), b"c"), (("ab",), b"c"), (("a",), b"bc"))}) == 3
    )


@given(st.lists(st.text(max_size=3), min_size=2, max_size=4), st.lists(st.text(max_size=3), min_size=2, max_size=4))
def test_other_fields_or_another_unit_are_another_draw(one: list[str], other: list[str]) -> None:
    pairs = {Draw(*texts[:-1]).pair(texts[-1].encode()) for texts in (one, other)}
    assert len(pairs) == (1 if one == other else 2)


def test_a_lasting_state_serves_units_of_every_length() -> None:
    draw = Draw("seed")
    for unit in ["x" * 255, "x" * 256, "x" * 5000, "x" * 255, "x" * 5000]:
        assert draw.pair(unit.encode()) == numbers("seed", unit)


def test_a_weight_counts_as_the_decimal_it_is_written_as() -> None:
    assert bounds([0.1, 0.2, 0.7]) == (WHOLE // 10, WHOLE * 3 // 10, WHOLE)
    assert bounds([1, 1]) == bounds([0.3, 0.3]) == (WHOLE // 2, WHOLE)
    assert threshold(0.1) == WHOLE // 10
    assert (threshold(0), threshold(1)) == (0, WHOLE)


@pytest.mark.parametrize("weights", [[], [0.0], [0.0, 0.0], [1.0, -0.5]])
def test_weights_that_part_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected none below 0 and one above"):
        bounds(weights)


# --- uniform and independent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "units",
    [
        pytest.param(range(1_000_000), id="numbers in a row"),
        pytest.param([f"customer-{i:09}" for i in range(200_000)], id="padded"),
        pytest.param([f"{i}@example.com" for i in range(200_000)], id="addresses"),
        pytest.param(["x" * (i % 200) + str(i) for i in range(100_000)], id="of many lengths"),
    ],
)
def test_numbers_are_uniform(units: Sequence[Any]) -> None:
    encoded = [str(each).encode() for each in units]
    for column in Draw("uniform").pairs(encoded):
        assert column.min() >= 0
        assert column.max() < WHOLE
        for bins in (7, 1024):
            assert chisquare(np.bincount(column // (WHOLE // bins + 1), minlength=bins)).pvalue > RARE
        assert chisquare(np.bincount(column % 1024)).pvalue > RARE  # the last digits too


def test_variants_get_their_weights() -> None:
    found = assign_many(plan(("a", 1), ("b", 2), ("c", 0), ("d", 0.5)), range(1_000_000))
    counts = Counter(found.variants.tolist())
    assert counts["c"] == 0
    shares = np.array([1, 2, 0.5]) / 3.5 * len(found)
    assert chisquare([counts[each] for each in "abd"], shares).pvalue > RARE


def independent(one: np.ndarray, other: np.ndarray) -> bool:
    table = pd.crosstab(one, other)
    assert table.size > 1
    found: Any = chi2_contingency(table.to_numpy())
    return found.pvalue > RARE


def variants_of(each: Experiment) -> np.ndarray:
    return assign_many(each, MANY).variants.astype(str)


def test_traffic_tells_nothing_of_the_variant() -> None:
    traffic, variant = Draw("both").pairs([each.encode() for each in MANY])
    assert independent(traffic // (WHOLE // 8), variant // (WHOLE // 8))


@pytest.mark.parametrize("other", ["push-budget-2026q5", "a", "layer", "push-budget-2026q4-"])
def test_experiments_are_independent_of_each_other(other: str) -> None:
    assert independent(variants_of(plan()), variants_of(plan(key=other)))


def test_experiment_layers_and_holdout_are_independent_whatever_their_names() -> None:
    name = "push-budget"
    units = [each.encode() for each in MANY]
    draws = (Draw(name), Draw("layer", name), Draw("holdout", name), Draw("layer", "email"))
    for one, other in combinations([draw.pairs(units)[0] // (WHOLE // 8) for draw in draws], 2):
        assert independent(one, other)


def test_variants_within_a_slot_get_their_weights() -> None:
    found = assign_many(plan(layer=Layer("push-budget-2026q4", 0, 2500)), MANY)
    inside = found.variants[found.is_analysed]
    assert abs(len(inside) / len(MANY) - 0.25) < 0.01
    assert chisquare(list(Counter(inside.tolist()).values())).pvalue > RARE


def test_an_experiment_without_a_seed_draws_by_its_key() -> None:
    assert same(assign_many(plan(), MANY), assign_many(plan(key="renamed", seed="push-budget-2026q4"), MANY))
    assert not same(assign_many(plan(), MANY), assign_many(plan(seed="other"), MANY))
