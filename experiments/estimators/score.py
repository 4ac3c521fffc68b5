"""The score statistic of Miettinen and Nurminen (1985) for a difference of two rates, and its inversion.

Nothing here looks at whether the statistic holds: `proportions` does. Differences are those of the treatment less the
control. The variance is that of the rates which fit the counts best under the difference tested, times N / (N - 1).
"""

from collections.abc import Callable, Sequence
from math import copysign, sqrt

from experiments.estimates import Stratum
from experiments.estimators.special import normal_quantile, root
from experiments.moments import Counts

Weighted = Sequence[tuple[float, Stratum[Counts]]]
_LARGEST = 1e9  # stands for an infinite statistic where the variance is 0


def difference(strata: Weighted) -> float:
    """The weighted mean of the strata's differences of rates."""
    return sum(weight * (each.treatment.rate - each.control.rate) for weight, each in strata)


def statistic(strata: Weighted, delta: float) -> float:
    """How many standard errors the weighted differences are above `delta`: falls in `delta`, in -1 to 1.

    Several strata: section 2.2 of the paper, the sum of weighted differences over the root of their summed variances.
    """
    above = difference(strata) - delta
    variance = sum(weight**2 * _variance(each, delta) for weight, each in strata)
    if above == 0:
        return 0.0
    if variance <= 0:
        return copysign(_LARGEST, above)
    return max(-_LARGEST, min(_LARGEST, above / sqrt(variance)))


def bounds(strata: Weighted, alpha: float) -> tuple[float, float]:
    """The differences that the statistic does not reject at `alpha`, half of it on each side."""
    critical = -normal_quantile(alpha / 2)
    middle = difference(strata)
    low = crossing(lambda delta: statistic(strata, delta) - critical, middle, -1.0)
    high = crossing(lambda delta: statistic(strata, delta) + critical, middle, 1.0)
    return low, high


def crossing(function: Callable[[float], float], inside: float, outside: float, within: float = 1e-15) -> float:
    """Where a falling function changes its sign between the two ends; `outside` where it does nowhere.

    Looks at 0 first, if it lies between them, so that the answer lies on the same side of 0 as the test at 0 says.
    """
    step = copysign(1.0, outside - inside)
    if inside == outside or function(outside) * step >= 0:
        return outside
    if min(inside, outside) < 0 < max(inside, outside):
        at_zero = function(0.0)
        if at_zero == 0:
            return 0.0
        inside, outside = (inside, 0.0) if at_zero * step < 0 else (0.0, outside)
    if function(inside) * step <= 0:
        return inside
    return root(function, inside, outside, within)


def _variance(stratum: Stratum[Counts], delta: float) -> float:
    one, other = stratum.control, stratum.treatment
    p0 = fitted(one, other, delta)
    p1 = p0 + delta
    total = one.count + other.count
    return (p0 * (1 - p0) / one.count + p1 * (1 - p1) / other.count) * (total / (total - 1))


def fitted(control: Counts, treatment: Counts, delta: float) -> float:
    """The control's rate that fits both arms best if the treatment's lies `delta` above it (maximum likelihood).

    The likelihood is concave, and its maximum lies between the control's own rate and the treatment's less `delta`.
    There its slope is followed to 0: the paper's formula by a cosine loses half the digits where rates are small.
    """
    if delta < 0:
        return fitted(treatment, control, -delta) - delta
    if delta == 0:
        return (control.successes + treatment.successes) / (control.count + treatment.count)
    x0, y0 = control.successes, control.count - control.successes
    x1, y1 = treatment.successes, treatment.count - treatment.successes

    def slope(p: float) -> float:
        # Of the log likelihood, times what keeps it finite; factors that no count asks for stay out.
        q = max(0.0, 1 - p - delta)
        a, b, risen, missed = p if x0 else 1.0, q if y1 else 1.0, p + delta, 1 - p
        return risen * missed * (x0 * b - y1 * a) + a * b * (x1 * missed - y0 * risen)

    lowest, highest = 0.0, max(0.0, 1 - delta)
    own, others = (min(max(each, lowest), highest) for each in (control.rate, treatment.rate - delta))
    low, high = min(own, others), max(own, others)
    if low == high or slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    return root(slope, low, high, 1e-18)
