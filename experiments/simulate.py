"""Customers with known truth: what limits on contacts do to people who keep none of the assumptions of an analysis.

Engaged customers are asked more and leave less, so that the contacts received go with staying while contacts cause
leaving. Fatigue fades, half never reach the limit, weeks have a shape, people fall asleep and return, leave by other
ways, are erased; link scanners click and unsubscribe, events come late and twice, few buy and some of them a lot.
Nothing here is fitted to anybody's data. The same seed gives the same people and the same luck under every variant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from experiments.simulation.lives import Floats, Ints, Log, People, live, people
from experiments.simulation.tables import events_table, exposures_table, outcomes, wide_table

HISTORY_DAYS = 14
"""How long customers are simulated before the start, under the control's limit."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is simulated: `limits` says how many e-mails each variant allows in any 7 days; the first is the control.

    Customers enter at their first ask within `entry_days` of `start`; some are never asked. Outcomes are those within
    `horizon_days` of entry. `weights` share out the variants (equally if not given).
    """

    customers: int = 100_000
    limits: Mapping[str, int] = field(default_factory=lambda: {"one": 1, "three": 3})
    weights: Mapping[str, float] | None = None
    start: date = date(2026, 10, 5)
    entry_days: int = 28
    horizon_days: int = 28
    seed: int = 1

    def __post_init__(self) -> None:
        if self.customers < 1 or self.entry_days < 1 or self.horizon_days < 2 or self.seed < 0:
            raise ValueError(f"found {self!r}, expected customers, days to enter, 2 days to watch, a seed from 0")
        if not self.limits or min(self.limits.values()) < 0:
            raise ValueError(f"found limits {dict(self.limits)}, expected at least one, none below 0")
        if self.weights is not None and (
            set(self.weights) != set(self.limits) or min(self.weights.values()) < 0 or sum(self.weights.values()) <= 0
        ):
            raise ValueError(f"found weights {dict(self.weights)}, expected one for each of {list(self.limits)}")

    @property
    def days(self) -> int:
        """From the start until the last customer has been watched to the horizon."""
        return self.entry_days + self.horizon_days


@dataclass(frozen=True)
class Simulation:
    """What an analyst gets, as pyarrow tables. Only what had happened, and had arrived, by `as_of_day` is in them.

    `exposures`: customer_id, variant, entered_at, lifecycle (of before), time_zone; one row a customer who entered.
    `events`: id, customer_id, type, at, received_at, channel, message_id, value, suspect; in the order of arrival, some
    of them twice with the same id; also of customers who did not enter, and of times before they did.
    `wide`: the columns of `exposures`, and the customer's outcomes (`OUTCOMES`) from the events as they really were,
    each once and none of them suspect; `unsubscribed_suspects_counted`, as a careless analyst has it; and `mature`,
    `days`, `event`, `competing`, the form of a survival metric: watched for how long, ended by what.
    """

    exposures: Any
    events: Any
    wide: Any


@dataclass(frozen=True)
class Truth:
    """The means of all customers who enter, had all of them been in each variant: `means[variant][outcome]`."""

    units: int
    means: Mapping[str, Mapping[str, float]]

    def effect(self, outcome: str, treatment: str, control: str) -> float:
        """The average treatment effect on these customers."""
        return self.means[treatment][outcome] - self.means[control][outcome]


def simulate(world: World, as_of_day: int | None = None) -> Simulation:
    """One experiment: each customer lives in the variant that chance gave. 100,000 customers take a few seconds.

    `as_of_day` counts days from the start; None is the end, when everybody is mature.
    """
    crowd = people(world.customers, world.seed)
    variants = _assigned(world)
    log = _lived(world, crowd, np.array(list(world.limits.values()))[variants])
    until = world.days if as_of_day is None else as_of_day
    return Simulation(
        exposures_table(world.start, tuple(world.limits), crowd, variants, log, until),
        events_table(world.start, world.seed, log, until),
        wide_table(world.start, tuple(world.limits), crowd, variants, log, until, world.horizon_days),
    )


def truth(world: World) -> Truth:
    """All customers under each variant in turn, with the same luck: exact for these customers, not an estimate."""
    means: dict[str, dict[str, float]] = {}
    units = 0
    for variant, found in potential_outcomes(world).items():
        means[variant] = {name: float(each.mean()) for name, each in found.items()}
        units = len(found["sent"])
    return Truth(units, means)


def potential_outcomes(world: World) -> dict[str, dict[str, Floats]]:
    """By variant and outcome, one number a customer who enters, in the same order under every variant."""
    crowd = people(world.customers, world.seed)
    found: dict[str, dict[str, Floats]] = {}
    for variant, limit in world.limits.items():
        log = _lived(world, crowd, np.full(world.customers, limit))
        entered = log.entered_at >= 0
        found[variant] = {name: each[entered] for name, each in outcomes(log, world.horizon_days).items()}
    return found


def _lived(world: World, crowd: People, limits: Ints) -> Log:
    before = next(iter(world.limits.values()))
    return live(crowd, limits, before, (-HISTORY_DAYS, world.days), world.entry_days, world.seed)


def _assigned(world: World) -> Ints:
    weights = np.array([1.0 if world.weights is None else world.weights[each] for each in world.limits])
    chance = np.random.default_rng([world.seed, 2]).random(world.customers)
    return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], chance, side="right").astype(np.int64)
