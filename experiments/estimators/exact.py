"""Exact bounds for a difference of two rates where counts are tiny: they cover at least what they say, at any rates.

One-sided tests of two independent binomials, inverted for each bound. Tables are ordered by their 95 % bound after
Miettinen and Nurminen, whatever the level asked for: of all exact bounds that keep an order these are the tightest
(Buehler 1957), and one p-value function gives interval and p-value. The rate that no hypothesis fixes is searched where
both rates lie but with a probability of `_OUTSIDE`, which is added to the p-value (Berger and Boos 1994).

The order is sharp where it decides: p-values near 0.05 are those of other exact tests, larger ones are conservative.
8 of 1,028 against 10 of 972 gives 1 where Barnard's test gives 0.58, 5 of 1,000 against 9 of 1,000 gives 0.53 (0.30).
An order by the statistic at 0 would mend these, and widen the intervals by a half.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import asin, ceil, floor, log, sqrt

import numpy as np

from experiments.estimates import Stratum
from experiments.estimators.score import bounds, crossing, statistic
from experiments.estimators.special import Floats, beta_quantile, log_gamma
from experiments.moments import Counts

_ORDER_ALPHA = 0.05  # of the bound that orders the tables
_OUTSIDE = 1e-6
_CUT = 1e-10  # how likely an arm's count is beyond those enumerated, on each side
_COARSE, _FINE = 64, 17  # rates searched: first everywhere, then between the neighbours of the worst
_PRECISION = 1e-7  # of a bound, in parts of its distance from the effect


@dataclass(frozen=True, slots=True)
class Exact:
    """Bounds of treatment less control, each wrong with at most half of alpha, and twice the smaller p-value."""

    low: float
    high: float
    p_value: float


def difference(control: Counts, treatment: Counts, alpha: float) -> Exact:
    """In some 10 to 60 ms where counts are tiny; it grows with the root of the larger arm's successes."""
    effect = treatment.rate - control.rate
    low, high = bounds([(1.0, Stratum(control, treatment))], alpha)
    above, below = _p_value_of_at_most(control, treatment), _p_value_of_at_most(treatment, control)
    return Exact(
        _crossing(lambda delta: alpha / 2 - above(delta), effect, low, -1.0),
        _crossing(lambda delta: below(-delta) - alpha / 2, effect, high, 1.0),
        min(1.0, 2 * min(above(0.0), below(0.0))),
    )


def rate_bounds(counts: Counts, alpha: float) -> tuple[float, float]:
    """Of one rate, after Clopper and Pearson (1934): each wrong with at most half of alpha."""
    x, n = counts.successes, counts.count
    low = beta_quantile(alpha / 2, x, n - x + 1) if x else 0.0
    high = beta_quantile(1 - alpha / 2, x + 1, n - x) if x < n else 1.0
    return low, high


def _crossing(function: Callable[[float], float], effect: float, guess: float, end: float) -> float:
    near, far = effect + 0.8 * (guess - effect), effect + 1.4 * (guess - effect)
    if not -1 < far < 1 or function(far) * function(end) < 0:
        far = end
    if function(near) * function(effect) < 0:
        near = effect
    return crossing(function, near, far, within=_PRECISION * abs(guess - effect))


def _p_value_of_at_most(control: Counts, treatment: Counts) -> Callable[[float], float]:
    """The p-value of "the treatment's rate lies at most `delta` above the control's": rises in `delta`.

    The order rises with the treatment's count and falls with the control's. Under such an order the likeliest extreme
    tables lie where the difference is `delta` itself, so that only the control's rate is left to search.
    """
    lowest_0, highest_0 = rate_bounds(control, _OUTSIDE / 2)
    lowest_1, highest_1 = rate_bounds(treatment, _OUTSIDE / 2)
    arm_0, arm_1 = _Arm.between(control.count, lowest_0, highest_0), _Arm.between(treatment.count, lowest_1, highest_1)
    most = np.fromiter(_most_extreme(control, treatment, arm_0.counts, arm_1.counts), dtype=np.int64)
    places = most - int(arm_0.counts[0]) + 1

    def tail(rates: Floats, delta: float) -> Floats:
        at_most = np.cumsum(arm_0.probabilities(rates), axis=1)
        at_most = np.concatenate((np.zeros((rates.size, 1)), at_most), axis=1)
        found: Floats = (arm_1.probabilities(rates + delta) * at_most[:, places]).sum(axis=1)
        return found

    def p_value(delta: float) -> float:
        low, high = max(lowest_0, lowest_1 - delta), min(highest_0, highest_1 - delta)
        if low > high:  # no such rates within the bounds, or no others
            return 1.0 if delta > 0 and highest_1 - lowest_0 <= delta else _OUTSIDE
        angles = np.linspace(asin(sqrt(max(0.0, low))), asin(sqrt(min(1.0, high))), _COARSE)
        tails = tail(np.clip(np.sin(angles) ** 2, low, high), delta)
        worst = int(tails.argmax())
        around = float(angles[max(0, worst - 1)]), float(angles[min(_COARSE - 1, worst + 1)])
        closer = np.linspace(*around, _FINE)
        closer_tails = tail(np.clip(np.sin(closer) ** 2, low, high), delta)
        return min(1.0, max(float(tails.max()), float(closer_tails.max())) + _OUTSIDE + 4 * _CUT)

    return p_value


def _most_extreme(control: Counts, treatment: Counts, counts_0: Floats, counts_1: Floats) -> Iterator[int]:
    """For each count of the treatment the largest one of the control that is as extreme as what was observed."""

    def stratum(of_control: int, of_treatment: int) -> list[tuple[float, Stratum[Counts]]]:
        return [(1.0, Stratum(Counts(of_control, control.count), Counts(of_treatment, treatment.count)))]

    delta, _ = bounds(stratum(control.successes, treatment.successes), _ORDER_ALPHA)
    observed = statistic(stratum(control.successes, treatment.successes), delta)
    least = observed - 1e-9 * max(1.0, abs(observed))  # ties are ties, whatever the last digits say
    reached, last = int(counts_0[0]) - 1, int(counts_0[-1])
    for of_treatment in map(int, counts_1):
        stride = 1
        while stride:  # in strides that double while they hold, and halve once they do not: never back
            ahead = min(reached + stride, last)
            if ahead > reached and statistic(stratum(ahead, of_treatment), delta) >= least:
                reached, stride = ahead, 2 * stride
            else:
                stride //= 2
        yield reached


@dataclass(frozen=True, slots=True)
class _Arm:
    """The counts that an arm can have, and the logarithms of how many ways lead to each."""

    size: int
    counts: Floats
    ways: Floats

    @classmethod
    def between(cls, size: int, lowest: float, highest: float) -> "_Arm":
        (least, most), (fewest_left, most_left) = _reach(size, lowest, highest), _reach(size, 1 - highest, 1 - lowest)
        first, last = max(least, size - most_left), min(most, size - fewest_left)
        counts = np.arange(first, last + 1, dtype=np.float64)
        return cls(size, counts, _log_ways(size, counts))

    def probabilities(self, rates: Floats) -> Floats:
        """One row a rate."""
        rate = np.clip(rates, 1e-300, 1 - 1e-16)[:, np.newaxis]
        logs: Floats = self.ways + self.counts * np.log(rate) + (self.size - self.counts) * np.log1p(-rate)
        return np.exp(logs)


def _log_ways(size: int, counts: Floats) -> Floats:
    """The logarithms of how many ways lead to each count."""
    return log_gamma(np.array([size + 1.0])) - log_gamma(counts + 1) - log_gamma(size - counts + 1)


def _reach(size: int, lowest: float, highest: float) -> tuple[int, int]:
    """The counts outside which a binomial lies with at most `_CUT` on each side (Okamoto 1958, theorems 3 and 4)."""
    down, up = sqrt(-log(_CUT) / size), sqrt(-log(_CUT) / size / 2)
    least, most = max(0.0, sqrt(max(0.0, lowest)) - down), min(1.0, sqrt(max(0.0, highest)) + up)
    return ceil(size * least**2), floor(size * most**2)
