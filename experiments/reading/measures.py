"""What both forms of a table are brought to: one row a unit in the engine, with columns of agreed names.

`UnitTable` is a promise of what to compute, not rows. Its columns: `arm` (the place of the variant in the plan, or
below 0 the reason why the unit is left out), `phase` and `entry_day` where there are any, one for each segment, and
those of the measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from experiments.reading.reasons import Reason
from experiments.reading.relations import Expression, Table

ARM, PHASE, ENTRY_DAY = "arm", "phase", "entry_day"
EVENT, COMPETING, CENSORED, BOTH = range(4)  # how observation ended; BOTH: an event, and a competing one as well


class Kind(Enum):
    """What is kept of a measure: COUNTS of units with it, MOMENTS of a number, PAIRS of two, RISK by day."""

    COUNTS = auto()
    MOMENTS = auto()
    PAIRS = auto()
    RISK = auto()


class Part(Enum):
    """Which part of the aggregates a measure is for."""

    OUTCOME = auto()
    WITH_SUSPECTS = auto()
    BEFORE = auto()
    RECEIVED = auto()


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric's columns. `x` is null in units that are no part of it; `ripe` is false in those that are immature.

    COUNTS: `x` a boolean, or a number of which anything but 0 and 1 is an error in `source`. PAIRS: `x` and `y`, null
    together. RISK: `x` is `ended(day, status)`. `null_is`: why `x` is null in units that are not immature.
    """

    metric: str
    kind: Kind
    x: str
    y: str | None = None
    ripe: str | None = None
    part: Part = Part.OUTCOME
    source: str | None = None
    null_is: Reason = Reason.NO_OUTCOME


@dataclass(frozen=True)
class UnitTable:
    """`sample` is the same table of a few units alone, from which the middle of a number is guessed, and a
    segment of too many values found out early.

    `sums` are columns of whole numbers to be summed over the analysed units, beside the measures.
    """

    table: Table
    sample: Table
    measures: tuple[Measure, ...]
    has_phase: bool = False
    has_entry_day: bool = False
    segments: Mapping[str, str] = field(default_factory=dict[str, str])
    sums: tuple[str, ...] = ()


def ended(day: Expression, status: Expression) -> Expression:
    """The day on which a unit's observation ended, at most the horizon, and how, in one whole number: a group has one
    key less."""
    return day * 4 + status


def day_and_status(code: int) -> tuple[int, int]:
    """What `ended` put together."""
    return divmod(code, 4)
