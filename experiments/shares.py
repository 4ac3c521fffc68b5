"""Shares known by an estimate and its variance: their intervals, and that of a difference of two.

A share is a probability, or a part of a horizon: anything between 0 and 1 that was not simply counted, since some units
were censored. It is treated as if it had been counted among `units` effective ones. No units, tables or outcomes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  (no stubs)

from experiments.curves import Floats
from experiments.estimates import Level
from experiments.risk import Ints

_FARTHEST = 37.0  # standard errors: beyond, a p-value is no longer a floating-point number above 0
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Share:
    """An estimate between 0 and 1, its variance, and the number of uncensored units that would know it as well."""

    estimate: float
    variance: float
    units: float


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


def wilson(estimate: float, units: float, z: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927) on effective units (Rothman 1978; Anderson, Bernstein and Pike 1982,
    who prefer it in small samples to the logit, the log-log and Greenwood's)."""
    centre, width = estimate + z * z / (2 * units), z * sqrt(estimate * (1 - estimate) / units + (z / (2 * units)) ** 2)
    scale = 1 + z * z / units
    low = 0.0 if estimate <= 0 else max(0.0, (centre - width) / scale)
    high = 1.0 if estimate >= 1 else min(1.0, (centre + width) / scale)
    return low, high


def pointwise(
    estimates: Floats, variances: Floats, slopes: Floats, at_risk: Ints, alpha: float
) -> tuple[Floats, Floats]:
    """Low and high of a curve at the ends of 0, 1, ... days, of which the first is a convention and has no error.

    Symmetric in log(-log(share)), within 0 and 1 (Kalbfleisch and Prentice 1980, section 1.3); where the estimate is 0
    or 1 and that has no value, the score interval. `slopes` and `at_risk` are as in `effective_units`.
    """
    z = two_sided(alpha)
    limits = [(float(estimates[0]), float(estimates[0]))] if len(estimates) else []
    for day, (estimate, variance) in enumerate(zip(estimates[1:].tolist(), variances[1:].tolist(), strict=True), 1):
        if 0 < estimate < 1:
            limits.append(_log_log(estimate, variance, z))
        else:
            limits.append(wilson(estimate, effective_units(estimate, 0.0, slopes[:day], at_risk[:day]), z))
    found = np.array(limits).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def difference(contrasts: Sequence[Contrast], level: Level) -> Difference:
    """The weighted mean of the contrasts' differences. Weights must sum to 1, and not depend on outcomes.

    The interval recovers the variances of both arms from their own score limits (MOVER: Newcombe 1998, method 10; Zou
    and Donner 2008), at the level's alpha for each. Without censoring and with one contrast it is Newcombe's. The
    p-value is the smallest family-wise alpha at which the interval leaves 0 out.
    """
    effect = sum(each.weight * (each.treatment.estimate - each.control.estimate) for each in contrasts)
    below, above = _reach(contrasts, two_sided(level.alpha_each))
    return Difference(effect, effect - below, effect + above, level.adjusted(_p_value(contrasts, effect)))


def _reach(contrasts: Sequence[Contrast], z: float) -> tuple[float, float]:
    """How far the interval reaches below the effect, and above it."""
    below = above = 0.0
    for weight, control, treatment in contrasts:
        control_low, control_high = wilson(control.estimate, control.units, z)
        treatment_low, treatment_high = wilson(treatment.estimate, treatment.units, z)
        below += weight**2 * ((treatment.estimate - treatment_low) ** 2 + (control_high - control.estimate) ** 2)
        above += weight**2 * ((treatment_high - treatment.estimate) ** 2 + (control.estimate - control_low) ** 2)
    return sqrt(below), sqrt(above)


def _log_log(estimate: float, variance: float, z: float) -> tuple[float, float]:
    middle = log(-log(estimate))
    width = z * sqrt(variance) / (estimate * -log(estimate))
    return exp(-exp(min(middle + width, _LARGEST_EXPONENT))), exp(-exp(middle - width))


def _p_value(contrasts: Sequence[Contrast], effect: float) -> float:
    if effect == 0:
        return 1.0
    side = 0 if effect > 0 else 1

    def left(z: float) -> float:
        return abs(effect) - _reach(contrasts, z)[side]

    if left(_FARTHEST) >= 0:
        return erfc(_FARTHEST / sqrt(2))
    root = brentq(left, 0.0, _FARTHEST, xtol=1e-12)  # pyright: ignore[reportUnknownVariableType]  (no stubs)
    return erfc(float(root) / sqrt(2))  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]  (nor here)
