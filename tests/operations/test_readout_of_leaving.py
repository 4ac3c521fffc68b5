"""Who left, as events say it: the account closed, the app removed, an erasure, or a company's own word for it."""

from engine.core.policy import DAY_US
from tests.operations.readout_plans import PLAIN, arms, computed
from tests.operations.readout_worlds import START_US, World

LEFT = [
    {"name": "gone", "kind": "rate", "event": "left", "within_days": 28, "role": "primary", "direction": "decrease"},
    {"name": "until", "kind": "survival", "event": "unsubscribed", "competing": "left", "horizon": 28,
     "role": "secondary", "direction": "decrease"},
]  # fmt: skip
WAYS = ("account_closed", "uninstalled", "erased", "left", "unsubscribed", "session")


def test_who_left_is_read_from_what_says_so(database_url: str) -> None:
    world = World(database_url, {**PLAIN, "metrics": LEFT, "segments": []}, START_US + 40 * DAY_US)
    try:
        for way in WAYS:
            world.enter(way, 1, START_US)
            world.tell(way, way, START_US + DAY_US)
        world.tell("session", "account_closed", START_US - DAY_US)
        world.tell("uninstalled", "account_closed", START_US + DAY_US)
        world.enter("other", 0, START_US)
        found = computed(world)
        assert arms(found, "gone") == {"old": (0, 1), "new": (4, 6), "other": (0, 0)}
        lines = [each for each in found.readout.metric("until").curves if each.variant == "new"]
        assert [[point.at_risk for point in each.points[:4]] for each in lines] == 2 * [[5, 5, 0, 0]]
    finally:
        world.close()
