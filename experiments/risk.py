"""Risk tables: when units left observation since they entered, and why. They add up, and hold no unit.

Time is in whole days since entry. Day 0 is the first; what happens within day k happens after k and before k + 1 days,
so that an event of day k is known to have happened by time k + 1. A unit censored at `k` was watched for k whole days:
it was at risk on the days 0 to k - 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RiskTable:
    """By day: units with the event, units with a competing one, and units whose observation ended."""

    events: Mapping[int, int] = field(default_factory=dict[int, int])
    competing: Mapping[int, int] = field(default_factory=dict[int, int])
    censored: Mapping[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        for name in ("events", "competing", "censored"):
            for day, count in getattr(self, name).items():
                if day < 0 or count < 0:
                    raise ValueError(f"found {count} {name} on day {day}, expected neither below 0")

    def __add__(self, other: "RiskTable") -> "RiskTable":
        return RiskTable(
            _sum(self.events, other.events),
            _sum(self.competing, other.competing),
            _sum(self.censored, other.censored),
        )

    @cached_property
    def count(self) -> int:
        """All units."""
        return sum(self.events.values()) + sum(self.competing.values()) + sum(self.censored.values())

    def days(self, horizon: int) -> "Days":
        """Arrays of the days 0 to horizon - 1."""
        events, competing, censored = (
            _array(each, horizon + 1) for each in (self.events, self.competing, self.censored)
        )
        left = np.concatenate(([0], np.cumsum(events + competing)[:-1])) + np.cumsum(censored)
        return Days((self.count - left)[:horizon], events[:horizon], competing[:horizon])

    def watched(self, horizon: int) -> Ints:
        """How many units were watched for k whole days and had not left by then, for each k from 0 to the horizon.

        As figures below a curve have it: a unit censored at k was still there at k, though it saw nothing of day k.
        """
        return self.days(horizon + 1).at_risk + _array(self.censored, horizon + 1)


@dataclass(frozen=True, slots=True)
class Days:
    """`at_risk[k]` units entered day k under observation; of these, `events[k]` and `competing[k]` ended within it."""

    at_risk: Ints
    events: Ints
    competing: Ints


def _sum(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {day: one.get(day, 0) + other.get(day, 0) for day in sorted({*one, *other})}


def _array(by_day: Mapping[int, int], length: int) -> Ints:
    found = np.zeros(length, dtype=np.int64)
    for day, count in by_day.items():
        if day < length:
            found[day] += count
    return found
