"""All that leaves the engine in which the data lies: counts, moments and risk tables by cell, and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, TypeAlias

from experiments.moments import Counts, Moments, PairMoments
from experiments.risk import RiskTable

Aggregate: TypeAlias = Counts | Moments | PairMoments | RiskTable


class Cell(NamedTuple):
    """Units that are analysed together: of one variant, in one phase, who entered on one day.

    `phase` counts the plan's phases from 0. `entry_day` counts days from the plan's start; None where the table has no
    times.
    """

    variant: str
    phase: int = 0
    entry_day: int | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Rows or units that were left out of the analysis, counted: never silence. `code` is stable, `sentence` is not."""

    code: str
    count: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The units of one value of a declared segment, and their outcomes, as `Aggregates` has those of all.

    Its cells have a phase, and no day of entry: the rows that leave the engine would be as many as values times days,
    most of them of a unit or two.
    """

    units: Mapping[Cell, int]
    outcomes: Mapping[str, Mapping[Cell, Aggregate]] = field(default_factory=dict[str, Mapping[Cell, Aggregate]])


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What `tables` makes of a table, and all that the estimators see.

    `outcomes[metric][cell]` is a `Counts` for rates, retention and reachability, `Moments` for means and counts,
    `PairMoments` for ratios and (money, lost reach) for values, a `RiskTable` for survival. `with_suspects` has the
    same for metrics on events of which some are suspect, these counted. `units` counts everybody who entered, mature
    or not; `segments[column][value]` has both by declared segment, whose values add up to the whole ("(none)": units
    without one). `received`, by variant, is contacts a unit and week, for budget experiments whose table has them.
    `before[metric][variant]` is what units had before they entered. `immature[metric]` counts units whose window is
    not over: they are no part of that outcome yet.
    """

    units: Mapping[Cell, int]
    outcomes: Mapping[str, Mapping[Cell, Aggregate]]
    with_suspects: Mapping[str, Mapping[Cell, Aggregate]] = field(default_factory=dict[str, Mapping[Cell, Aggregate]])
    segments: Mapping[str, Mapping[str, Segment]] = field(default_factory=dict[str, Mapping[str, Segment]])
    received: Mapping[str, Moments] = field(default_factory=dict[str, Moments])
    before: Mapping[str, Mapping[str, Moments]] = field(default_factory=dict[str, Mapping[str, Moments]])
    immature: Mapping[str, int] = field(default_factory=dict[str, int])
    exclusions: tuple[Exclusion, ...] = ()
    as_of: date | None = None
