"""Readouts of holdouts: what the service finds is what one counts by hand of who was there, and on which side."""

from collections.abc import Generator
from typing import Any

import pytest

from engine.operations.holdout_readout import read_held
from engine.operations.readout import Found
from engine.store import analysis
from tests.operations.holdout_worlds import (
    SHIP_US,
    Shipped,
    counted,
    is_treated,
    random_shipped,
    side,
)
from tests.operations.readout_plans import arms
from tests.operations.readout_worlds import DAY_US


@pytest.fixture
def worlds(database_url: str) -> Generator[list[Shipped]]:
    made: list[Shipped] = []
    yield made
    for each in made:
        each.world.close()


def read(shipped: Shipped, day: int | None) -> Found:
    shipped.world.settle()
    with analysis.alone(shipped.world.url, shipped.world.number) as connection, analysis.one_instant(connection):
        return read_held(connection, shipped.world.number, day).found


@pytest.mark.parametrize(("day", "seed"), [(28, 1), (90, 2)])
def test_each_side_is_what_one_counts_by_hand(database_url: str, worlds: list[Shipped], day: int, seed: int) -> None:
    shipped = random_shipped(database_url, seed, 260, SHIP_US + (day + 9) * DAY_US)
    worlds.append(shipped)
    found = read(shipped, day)
    for metric, name in {
        "bought": f"bought_{day}",
        "spend": "spend" if day == 28 else f"spend_{day}",
        "back": f"back_{day}",
        "left": "left" if day == 28 else f"left_{day}",
        "pages": "pages",
        **{
            each: f"{each}_{day}"
            for each in ("contacts", "three_in_24h", "active_weeks", "complained_again", "returned")
        },
    }.items():
        if metric == "pages":
            continue
        expected = counted(shipped, metric, day)
        assert sum(total for total, _ in expected.values()) > 0, metric
        told = arms(found, name)
        assert {each: told[each][1] for each in told} == {each: expected[each][1] for each in expected}, name
        for each in expected:
            assert told[each][0] == pytest.approx(expected[each][0], rel=1e-9), name
    assert not any(each.name == "bought_7" for each in found.readout.metrics)
    cohort = {each["variant"]: each for each in found.document["cohort"]}
    for name, each in cohort.items():
        mine = [who for who in shipped.world.customers if side(shipped, who) == name]
        assert each["treated_before"] == sum(is_treated(shipped, who) for who in mine)
        assert each["customers"] == len(mine) - each["treated_before"]
    beside: dict[str, Any] = found.document["with_treated_before"]
    assert beside["customers"] == sum(each["customers"] + each["treated_before"] for each in cohort.values())
