"""Net value: read where it is known what stays of a purchase, and missed in words where it is not."""

from typing import Any

import pytest

from engine.core.policy import DAY_US
from tests.operations.readout_plans import PLAIN, computed
from tests.operations.readout_worlds import START_US, World

BOUGHT = {"name": "bought", "kind": "rate", "event": "purchase", "role": "primary", "direction": "increase"}
OWN = {"name": "worth", "kind": "value", "revenue": {"event": "purchase", "value": "value"}, "margin_share": 0.3,
       "within_days": 28, "role": "secondary", "direction": "increase"}  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "told", "values", "is_missed"),
    [
        ([BOUGHT], [{"value": 50.0}], [], True),
        ([BOUGHT], [{"value": 50.0}, {"value": 50.0, "margin": 9.0}], ["net_value_28"], False),
        ([BOUGHT, OWN], [{"value": 50.0}], ["worth"], False),
        ([BOUGHT], [], [], False),
    ],
    ids=["without margins", "with margins", "a plan that knows its margins", "nobody bought"],
)
def test_net_value_needs_to_know_what_stays(
    database_url: str, metrics: list[Any], told: list[Any], values: list[str], is_missed: bool
) -> None:
    world = World(database_url, {**PLAIN, "metrics": metrics, "segments": []}, START_US + 30 * DAY_US)
    try:
        world.enter("ann", 0, START_US)
        world.enter("ben", 1, START_US)
        for each in told:
            world.tell("ben", "purchase", START_US + DAY_US, **each)
        found = computed(world)
        assert [each.name for each in found.readout.metrics if each.name in {"net_value_28", "worth"}] == values
        assert any("no net value" in each for each in found.document["cautions"]) == is_missed
    finally:
        world.close()
