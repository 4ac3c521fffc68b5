"""A difference of two averages, studentised: what means, ratios and values share once each arm is one number.

After Welch (1938) with the degrees of freedom of Satterthwaite (1946), over phases too. Where the difference is skewed,
the statistic is straightened by Hall's monotone cubic (1992, JRSS B 54:221; Johnson 1978 for one sample), with the
third moment of both arms together: of arms of one size nothing is left to straighten, and noise would do harm.

A treatment whose buyers pay twice as much is more skewed than its control. Where the arms are `scaled` so, a bound
is that of the effect it stands for: at an effect of 0 both arms are alike, at another one an arm's numbers are those of
the other times the ratio of the means that this effect leaves them. So no noise enters the test of no effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cbrt, inf, sqrt

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators.special import root, t_quantile, t_tail

STRAIGHTENED_FROM = 0.05  # skewness of the difference; below it each bound of plain Welch is wrong in 2 to 3 %
SCALE_MAX = 3.0  # by which an effect is taken to multiply the numbers of an arm, at most
ADDED_MAX = 0.5  # skewness that an effect may add to a bound, at most


@dataclass(frozen=True, slots=True)
class Average:
    """Of one arm: its average, and the central sums of the 2nd and 3rd powers of what each unit adds to it.

    `m3` of 0 also where it is not known.
    """

    count: int
    value: float
    m2: float
    m3: float = 0.0

    @property
    def squared_error(self) -> float:
        """The variance of the average; at least two units."""
        return self.m2 / (self.count - 1) / self.count


@dataclass(frozen=True, slots=True)
class Shape:
    """What both arms of a stratum have in common under no effect: mean, and a unit's 2nd and 3rd central moments."""

    weight: float
    n0: int
    n1: int
    mean: float
    variance: float
    third: float

    def moments(self, effect: float) -> tuple[float, float]:
        """Variance and third moment of the weighted difference, if the arms' means are so far apart."""
        n, by = self.n0 + self.n1, self._scale(effect)
        control = n / (self.n0 + self.n1 * by**2), n / (self.n0 + self.n1 * by**3)
        variance = self.variance * control[0] * (by**2 / self.n1 + 1 / self.n0)
        third = self.third * control[1] * (by**3 / self.n1**2 - 1 / self.n0**2)
        return self.weight**2 * variance, self.weight**3 * third

    def _scale(self, effect: float) -> float:
        """How many times the control's numbers the treatment's are. 1 where the mean of all is 0: no scale is known."""
        if not self.mean or not effect:
            return 1.0
        control = 1 - effect / self.mean * self.n1 / (self.n0 + self.n1)
        treatment = control + effect / self.mean
        found = treatment / control if control > 0 else inf
        return min(SCALE_MAX, max(1 / SCALE_MAX, found))


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment less control: standard error, degrees of freedom, and the skewness of what chance adds.

    `shapes`: of the strata, where the numbers of the arms are scaled.
    """

    effect: float
    error: float
    degrees: float
    skewness: float
    shapes: tuple[Shape, ...] = ()

    @property
    def is_straightened(self) -> bool:
        return abs(self.skewness) > STRAIGHTENED_FROM

    @property
    def is_scaled(self) -> bool:
        """Whether an effect two standard errors off adds to the skewness what cannot be passed over."""
        ends = (self.effect + 2 * self.error, self.effect - 2 * self.error)
        return any(abs(self._added(each)) > STRAIGHTENED_FROM for each in ends)

    @property
    def p_value(self) -> float:
        """Of no difference, on both sides."""
        return 2 * t_tail(abs(self._straight(self.effect / self.error)), self.degrees)

    def estimate(self, estimand: str, method: str, level: Level) -> Estimate:
        """The interval, and the p-value of the same statistic, corrected as the interval is."""
        critical = t_quantile(1 - level.alpha_each / 2, self.degrees)
        off = self._off if self.is_scaled else self._bent
        low, high = self.effect - self.error * off(critical), self.effect - self.error * off(-critical)
        return Estimate(estimand, method, level, self.effect, low, high, level.adjusted(self.p_value))

    def _off(self, critical: float) -> float:
        """As `_bent`, of a statistic to which each effect adds its skewness, by the first term of Cornish and Fisher.

        An effect of 0 adds nothing: looked for on that side of it where the test of no effect says, the bound agrees
        with the p-value, also were there several.
        """
        share = (2 * critical**2 + 1) / 6
        most = min(ADDED_MAX, abs(critical) / 2 / share)

        def excess(t: float) -> float:
            added = max(-most, min(most, self._added(self.effect - t * self.error)))
            return self._straight(t) + share * added - critical

        least, greatest = self._bent(critical - share * most), self._bent(critical + share * most)
        none = self.effect / self.error
        if least < none < greatest:
            least, greatest = (least, none) if self._straight(none) > critical else (none, greatest)
        if excess(least) >= 0:
            return least
        return root(excess, least, greatest, 1e-12) if excess(greatest) > 0 else greatest

    def _added(self, effect: float) -> float:
        """The skewness that such an effect adds to that of none."""
        return _skewness(self.shapes, effect) - self.skewness if self.shapes else 0.0

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


def difference(weighted: Sequence[tuple[float, Stratum[Average]]], *, are_scaled: bool = False) -> Difference | None:
    """The weighted mean of the strata's differences; None where an arm has one unit alone, or where nothing varies.

    `are_scaled`: an effect multiplies the numbers of units, so that its bounds are skewed as the effect says.
    """
    if any(min(each.control.count, each.treatment.count) < 2 for _, each in weighted):
        return None
    effect = 0.0
    parts: list[tuple[float, int]] = []
    shapes: list[Shape] = []
    for weight, each in weighted:
        one, other = each.control, each.treatment
        effect += weight * (other.value - one.value)
        parts += [(weight**2 * arm.squared_error, arm.count - 1) for arm in (one, other)]
        shapes.append(_shape(weight, one, other))
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return None
    degrees = 1 / sum((part / variance) ** 2 / left for part, left in parts)
    skewness = _skewness(shapes, 0.0)
    return Difference(effect, sqrt(variance), degrees, skewness, tuple(shapes) if are_scaled else ())


def _shape(weight: float, one: Average, other: Average) -> Shape:
    n = one.count + other.count
    mean = (one.count * one.value + other.count * other.value) / n
    third = (one.m3 + other.m3) / n
    return Shape(weight, one.count, other.count, mean, (one.m2 + other.m2) / (n - 2), third)


def _skewness(shapes: Sequence[Shape], effect: float) -> float:
    """Of the difference, were this its effect."""
    found = [shape.moments(effect) for shape in shapes]
    variance = sum(each for each, _ in found)
    return sum(each for _, each in found) / variance / sqrt(variance)
