"""A difference of two averages, studentised: what means, ratios and values share once each arm is one number.

After Welch (1938) with the degrees of freedom of Satterthwaite (1946), over phases too. Where the difference is skewed,
the statistic is straightened by Hall's monotone cubic (1992, JRSS B 54:221; Johnson 1978 for one sample), with the
third moment of both arms together: of arms of one size nothing is left to straighten, and noise would do harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cbrt, sqrt

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators.special import t_quantile, t_tail

STRAIGHTENED_FROM = 0.05  # skewness of the difference; below it each bound of plain Welch is wrong in 2 to 3 %


@dataclass(frozen=True, slots=True)
class Average:
    """Of one arm: its average, and the central sums of the 2nd and 3rd powers of what each unit adds to it.

    `m3` None: not known, and taken for none.
    """

    count: int
    value: float
    m2: float
    m3: float | None = None

    @property
    def squared_error(self) -> float:
        """The variance of the average; at least two units."""
        return self.m2 / (self.count - 1) / self.count


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment less control: standard error, degrees of freedom, and the skewness of what chance adds."""

    effect: float
    error: float
    degrees: float
    skewness: float

    @property
    def is_straightened(self) -> bool:
        return abs(self.skewness) > STRAIGHTENED_FROM

    @property
    def p_value(self) -> float:
        """Of no difference, on both sides."""
        return 2 * t_tail(abs(self._straight(self.effect / self.error)), self.degrees)

    def estimate(self, estimand: str, method: str, level: Level) -> Estimate:
        """The interval, and the p-value of the same statistic, corrected as the interval is."""
        critical = t_quantile(1 - level.alpha_each / 2, self.degrees)
        low = self.effect - self.error * self._bent(critical)
        high = self.effect - self.error * self._bent(-critical)
        return Estimate(estimand, method, level, self.effect, low, high, level.adjusted(self.p_value))

    def _straight(self, t: float) -> float:
        if not self.is_straightened:
            return t
        a = self.skewness / 3
        return t + a * t * t + a * a * t**3 / 3 + a / 2

    def _bent(self, t: float) -> float:
        """The inverse of `_straight`."""
        if not self.is_straightened:
            return t
        a = self.skewness / 3
        return (cbrt(1 + 3 * a * (t - a / 2)) - 1) / a


def difference(weighted: Sequence[tuple[float, Stratum[Average]]]) -> Difference | None:
    """The weighted mean of the strata's differences; None where an arm has one unit alone, or where nothing varies."""
    if any(min(each.control.count, each.treatment.count) < 2 for _, each in weighted):
        return None
    effect = pooled = third = 0.0
    parts: list[tuple[float, int]] = []
    for weight, each in weighted:
        one, other = each.control, each.treatment
        effect += weight * (other.value - one.value)
        parts += [(weight**2 * arm.squared_error, arm.count - 1) for arm in (one, other)]
        n0, n1 = one.count, other.count
        pooled += weight**2 * (one.m2 + other.m2) / (n0 + n1 - 2) * (1 / n0 + 1 / n1)
        third += weight**3 * ((one.m3 or 0.0) + (other.m3 or 0.0)) / (n0 + n1) * (1 / n1**2 - 1 / n0**2)
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return None
    degrees = 1 / sum((part / variance) ** 2 / left for part, left in parts)
    return Difference(effect, sqrt(variance), degrees, third / pooled / sqrt(pooled))
