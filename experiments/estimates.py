"""What an estimator answers: an effect with its one interval, or why there is none.

Every number names what it estimates and by which method. The p-value is the interval inverted: below `alpha` exactly
where the interval leaves 0 out. An effect is that of the treatment less that of the control, in the metric's own unit.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stratum(Generic[T]):
    """The two arms of one phase: what was observed under the same weights."""

    control: T
    treatment: T


@dataclass(frozen=True, slots=True)
class Level:
    """How sure an interval is: wrong about any of `comparisons` effects with a probability of `alpha` (Bonferroni).

    `alpha` is shared by both sides; one bound alone is wrong with half of it.
    """

    alpha: float = 0.05
    comparisons: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.comparisons < 1:
            raise ValueError(f"found {self!r}, expected 0 < alpha < 1 and at least one comparison")

    @property
    def alpha_each(self) -> float:
        """What is left to one interval."""
        return self.alpha / self.comparisons

    def adjusted(self, p_value: float) -> float:
        """The p-value of one comparison, corrected as its interval is."""
        return min(1.0, self.comparisons * p_value)


@dataclass(frozen=True, slots=True)
class Estimate:
    """`effect` within [`low`, `high`], or, where `why_not` says so, nothing: then all numbers are None.

    `low` and `high` may be infinite. `estimand` says what is estimated, `method` how, `level` how sure.
    """

    estimand: str
    method: str
    level: Level
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    why_not: str | None = None

    @property
    def is_known(self) -> bool:
        return self.why_not is None

    def excludes(self, value: float) -> bool:
        """Whether the interval leaves this value out."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


def unknown(estimand: str, method: str, level: Level, why_not: str) -> Estimate:
    """No estimate, and why: never a p-value of 1, never an interval of (0, 0)."""
    return Estimate(estimand, method, level, why_not=why_not)
