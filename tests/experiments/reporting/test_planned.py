"""How many units are expected at the planned end: from entries alone, and then left as it is."""

from datetime import timedelta
from math import sqrt

import numpy as np

from experiments.aggregates import Aggregates, Cell
from experiments.design import Phase, Variant
from experiments.reporting.planned import planned_units
from tests.experiments.planned import ALL, START, TWO, VISIT, a_plan


def entries(by_day: dict[int, int]) -> Aggregates:
    units = {Cell(name, 0, day): count for day, count in by_day.items() for name in ("one", "three", "five")}
    return Aggregates(units, {}, as_of=START + timedelta(days=max(by_day) + 1))


def power_of_two(expected: float) -> int:
    return 2 ** round(np.log2(expected))


def test_planned_units_lie_between_all_at_first_and_evenly_to_the_end() -> None:
    early = power_of_two(2 * 100 * 7 * sqrt(91 / 7))
    assert planned_units(a_plan(), entries(dict.fromkeys(range(7), 100))) == {"three": early, "five": early}


def test_planned_units_stay_once_the_shortest_run_is_over() -> None:
    two_weeks = dict.fromkeys(range(14), 100)
    then = power_of_two(2_800 * sqrt(91 / 14))
    for later in (0, 3, 5_000):
        found = planned_units(a_plan(), entries({**two_weeks, **dict.fromkeys(range(14, 60), later)}))
        assert found == {"three": then, "five": then}


def test_planned_units_follow_the_traffic_that_the_plan_has_for_each_day() -> None:
    equal = {"one": 1.0, "three": 1.0}
    phases = (Phase(START, equal, traffic=0.01), Phase(START + timedelta(days=14), equal, traffic=1.0))
    plan = a_plan(VISIT, variants=TWO, phases=phases)
    units = {Cell(name, 0, day): 10 for day in range(14) for name in ("one", "three")}
    found = planned_units(plan, Aggregates(units, {}, as_of=START + timedelta(days=14)))
    growth = (14 * 0.01 + 77 * 1.0) / 91 / 0.01
    assert found == {"three": power_of_two(280 * growth * sqrt(91 / 14))}


def test_planned_units_of_a_table_without_dates_are_those_that_are_there() -> None:
    assert planned_units(a_plan(), ALL) == {"three": 20_050, "five": 19_950}
    assert planned_units(a_plan(), Aggregates({}, {})) == {"three": 2, "five": 2}


def test_what_the_plan_says_of_its_units_is_shared_out_by_the_weights() -> None:
    plan = a_plan(
        variants=(Variant("one", 2, control=True), Variant("three", 1), Variant("five", 1)), planned_units=40_000
    )
    assert planned_units(plan, entries(dict.fromkeys(range(7), 100))) == {"three": 30_000, "five": 30_000}
