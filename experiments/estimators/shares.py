"""Shares known by an estimate and its variance: their intervals, and that of a difference of two.

A share is a probability, or a part of a horizon: anything between 0 and 1 that was not simply counted, since some units
were censored. It is treated as if it had been counted among `units` effective ones. No units, tables or outcomes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import erfc, exp, expm1, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  (no stubs)
from scipy.special import betainccinv, betaincinv  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from experiments.estimates import Level
from experiments.estimators.curves import Floats
from experiments.risk import Ints

_FARTHEST = 37.0  # standard errors: beyond, a p-value is no longer a floating-point number above 0
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Share:
    """An estimate between 0 and 1, its variance, and the number of uncensored units that would know it as well."""

    estimate: float
    variance: float
    units: float


class Side(Enum):
    """Of an effect."""

    BELOW = "below"
    ABOVE = "above"


class Contrast(NamedTuple):
    """The shares of two arms, and how much their difference weighs among others."""

    weight: float
    control: Share
    treatment: Share


class Difference(NamedTuple):
    """Treatment less control, its interval, and the p-value that inverts the interval."""

    effect: float
    low: float
    high: float
    p_value: float


def two_sided(alpha: float) -> float:
    """How many standard errors leave half of `alpha` out on each side."""
    return -NormalDist().inv_cdf(alpha / 2)


def effective_units(estimate: float, variance: float, slopes: Floats, at_risk: Ints) -> float:
    """How many uncensored units would give this estimate this variance: of a probability all, if none was censored.

    `slopes[k]` is by how much the estimate rises with the probability of an event on day k, where `at_risk[k]` units
    are watched. Estimate and variance are those observed, and of one more event that fell on all days evenly: few
    events, all of them early, say little about the variance that late ones would bring, and none say nothing at all.
    Always above 0; somebody must have been at risk.
    """
    watched = at_risk > 0
    weight, units = slopes[watched], at_risk[watched]
    if not np.any(weight):  # no event could have changed the estimate
        return float(units[0])
    evenly = float(np.sum(weight)) / float(np.sum(units))
    spread = float(np.sum(weight**2 / units)) / float(np.sum(units))
    if estimate >= 1:
        return evenly / spread
    return (estimate + evenly) / (variance / (1 - estimate) + spread)


def limits(estimate: float, units: float, z: float) -> tuple[float, float]:
    """The equal-tailed interval of a share by Jeffreys' prior, on effective units; at 0 and 1 Clopper and Pearson's.

    Of the intervals for a proportion the one that is missed as often on either side, also where it is small (Brown, Cai
    and DasGupta 2001, sections 3 and 4.1.2); Wilson's was missed twice as often on one side in arms of 1 to 10. It
    always has the estimate in it.
    """
    tail = erfc(z / sqrt(2)) / 2
    one, other = estimate * units + 0.5, (1 - estimate) * units + 0.5
    none = -expm1(log(tail) / units)  # the share of which nobody among so many is as unlikely as the tail
    if estimate <= 0:
        return 0.0, none
    if estimate >= 1:
        return 1 - none, 1.0
    return min(estimate, float(betaincinv(one, other, tail))), max(estimate, float(betainccinv(one, other, tail)))


def pointwise(
    estimates: Floats, variances: Floats, slopes: Floats, at_risk: Ints, alpha: float
) -> tuple[Floats, Floats]:
    """Low and high of a curve at the ends of 0, 1, ... days, of which the first is a convention and has no error.

    Symmetric in log(-log(share)), within 0 and 1 (Kalbfleisch and Prentice 1980, section 1.3); where the estimate is 0
    or 1 and that has no value, an exact one on effective units. `slopes` and `at_risk` are as in `effective_units`.
    """
    z = two_sided(alpha)
    pairs = [(float(estimates[0]), float(estimates[0]))] if len(estimates) else []
    for day, (estimate, variance) in enumerate(zip(estimates[1:].tolist(), variances[1:].tolist(), strict=True), 1):
        if 0 < estimate < 1:
            pairs.append(_log_log(estimate, variance, z))
        else:
            pairs.append(limits(estimate, effective_units(estimate, 0.0, slopes[:day], at_risk[:day]), z))
    found = np.array(pairs).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def difference(contrasts: Sequence[Contrast], level: Level) -> Difference:
    """The weighted mean of the contrasts' differences. Weights must sum to 1, and not depend on outcomes.

    The interval recovers the variances of both arms from their own limits (MOVER: Zou and Donner 2008; with Jeffreys'
    limits Laud 2017, who finds its tails equal), at the level's alpha for each. The p-value is the smallest family-wise
    alpha at which the interval leaves 0 out, and 1 if none does.
    """
    effect = sum(each.weight * (each.treatment.estimate - each.control.estimate) for each in contrasts)
    z = two_sided(level.alpha_each)
    low, high = effect - _reach(contrasts, z, Side.BELOW), effect + _reach(contrasts, z, Side.ABOVE)
    return Difference(effect, low, high, level.adjusted(_p_value(contrasts, effect)))


def _reach(contrasts: Sequence[Contrast], z: float, side: Side) -> float:
    """How far the interval reaches to one side of the effect."""
    squares = 0.0
    for weight, control, treatment in contrasts:
        less, more = (control, treatment) if side is Side.ABOVE else (treatment, control)
        squares += weight**2 * (limits(less.estimate, less.units, z)[0] - less.estimate) ** 2
        squares += weight**2 * (limits(more.estimate, more.units, z)[1] - more.estimate) ** 2
    return sqrt(squares)


def _log_log(estimate: float, variance: float, z: float) -> tuple[float, float]:
    middle = log(-log(estimate))
    width = z * sqrt(variance) / (estimate * -log(estimate))
    return exp(-exp(min(middle + width, _LARGEST_EXPONENT))), exp(-exp(middle - width))


def _p_value(contrasts: Sequence[Contrast], effect: float) -> float:
    side = Side.BELOW if effect > 0 else Side.ABOVE

    def left(z: float) -> float:
        return abs(effect) - _reach(contrasts, z, side)

    if left(0.0) <= 0:
        return 1.0
    # The reach is nearly in proportion to z: begin where that would end, and widen until it is between.
    near = min(_FARTHEST, 2 * abs(effect) / _reach(contrasts, 2.0, side))
    low, high = near / 2, min(_FARTHEST, near * 1.1)
    while left(low) < 0:
        low /= 2
    while left(high) > 0:
        if high == _FARTHEST:
            return erfc(_FARTHEST / sqrt(2))
        low, high = high, min(_FARTHEST, 1.5 * high)
    root = brentq(left, low, high, xtol=1e-11)  # pyright: ignore[reportUnknownVariableType]  (no stubs)
    return erfc(float(root) / sqrt(2))  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]  (nor here)
