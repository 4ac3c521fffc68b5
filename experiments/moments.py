"""Sufficient statistics that add up: what leaves an engine in place of rows.

`Counts`, `Moments` and `PairMoments` are monoids under `+`, with an empty one as zero: the moments of two sets of
customers together are the sum of theirs, in any order, to floating point. They hold central sums, so that a large mean
costs no digits (Chan, Golub and LeVeque 1983; Pebay 2008 for the third).
"""

from dataclasses import dataclass
from math import isfinite, nan, sqrt


@dataclass(frozen=True, slots=True)
class Counts:
    """Of `count` units, `successes` had the outcome."""

    successes: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.count:
            raise ValueError(f"found {self.successes} successes of {self.count} units, expected 0 to as many as units")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.successes + other.successes, self.count + other.count)

    @property
    def rate(self) -> float:
        return self.successes / self.count if self.count else nan

    @property
    def moments(self) -> "Moments":
        """The moments of the outcome as 0 and 1."""
        n, p = self.count, self.rate if self.count else 0.0
        return Moments(n, p, n * p * (1 - p), n * p * (1 - p) * (1 - 2 * p), self.successes)


@dataclass(frozen=True, slots=True)
class Moments:
    """One number a unit: how many units, their mean, the sums of the 2nd and 3rd powers of what each is off the mean,
    and how many units are not 0."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    nonzero: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.mean) and isfinite(self.m2) and isfinite(self.m3)) or self.m2 < 0 or self.count < 0:
            raise ValueError(f"found moments that no finite numbers have: {self!r}")

    def __add__(self, other: "Moments") -> "Moments":
        if not self.count:
            return other
        if not other.count:
            return self
        a, b = self.count, other.count
        n, delta = a + b, other.mean - self.mean
        m2 = self.m2 + other.m2 + delta**2 * a * b / n
        m3 = self.m3 + other.m3 + delta**3 * a * b * (a - b) / n**2 + 3 * delta * (a * other.m2 - b * self.m2) / n
        return Moments(n, self.mean + delta * b / n, m2, m3, self.nonzero + other.nonzero)

    @property
    def total(self) -> float:
        return self.count * self.mean

    @property
    def variance(self) -> float:
        """The sample variance, by n - 1; nan for fewer than two units."""
        return self.m2 / (self.count - 1) if self.count > 1 else nan

    @property
    def skewness(self) -> float:
        """Of the sample, without a correction; nan where nothing varies."""
        return sqrt(self.count) * self.m3 / self.m2**1.5 if self.m2 > 0 else nan


@dataclass(frozen=True, slots=True)
class PairMoments:
    """Two numbers a unit, a numerator `x` and a denominator `y`: means, and central sums of squares and products.

    `m3_x`: the sum of the 3rd powers of what each `x` is off its mean; None where it was not taken.
    """

    count: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    m2_x: float = 0.0
    m2_y: float = 0.0
    c_xy: float = 0.0
    m3_x: float | None = None

    def __post_init__(self) -> None:
        sums = (self.mean_x, self.mean_y, self.m2_x, self.m2_y, self.c_xy, self.m3_x or 0.0)
        if not all(map(isfinite, sums)) or self.m2_x < 0 or self.m2_y < 0 or self.count < 0:
            raise ValueError(f"found moments that no finite numbers have: {self!r}")

    def __add__(self, other: "PairMoments") -> "PairMoments":
        if not self.count:
            return other
        if not other.count:
            return self
        a, b = self.count, other.count
        n, dx, dy = a + b, other.mean_x - self.mean_x, other.mean_y - self.mean_y
        m3_x = None
        if self.m3_x is not None and other.m3_x is not None:
            m3_x = self.m3_x + other.m3_x + dx**3 * a * b * (a - b) / n**2
            m3_x += 3 * dx * (a * other.m2_x - b * self.m2_x) / n
        return PairMoments(
            n,
            self.mean_x + dx * b / n,
            self.mean_y + dy * b / n,
            self.m2_x + other.m2_x + dx * dx * a * b / n,
            self.m2_y + other.m2_y + dy * dy * a * b / n,
            self.c_xy + other.c_xy + dx * dy * a * b / n,
            m3_x,
        )

    @property
    def ratio(self) -> float:
        return self.mean_x / self.mean_y if self.mean_y else nan
