"""Means: what a unit has on average, and how much more or less the treatment's units have than the control's.

Any number a unit: spend, visits, contacts. Nothing is capped here: a cap that the plan declares was applied by the
table, and the estimate's method says so.
"""

from collections.abc import Sequence
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import strata, welch
from experiments.moments import Moments

DIFFERENCE: Final = "difference of means"
WELCH: Final = "Welch's t interval"
STRAIGHTENED: Final = "Welch's t interval, corrected for skewness"

NONZERO_MIN: Final = 20.0
SKEWNESS_MAX: Final = 0.5


def difference(strata_of_moments: Sequence[Stratum[Moments]], level: Level, cap: float | None = None) -> Estimate:
    """The treatment's mean less the control's, with an interval and the p-value of the same statistic.

    Welch (1938), Biometrika 29:350, with Satterthwaite's degrees of freedom; several phases by Mantel-Haenszel weights.
    Where the difference is skewed by more than 0.05 (arms of unequal sizes), its t is corrected for skewness after
    Johnson (1978) and Hall (1992), with the third moment of both arms together. A bound is corrected too for what the
    effect that it stands for would add: buyers of one arm who pay so many times as much (of numbers on one side of 0
    alone). The p-value, which is of no effect, is not. `cap` is the plan's, for the method's name alone. In the
    metric's own unit.

    Holds where each arm has at least `NONZERO_MIN` (20) units other than 0 expected at the common share, and where the
    difference is skewed by at most `SKEWNESS_MAX` (0.5). Simulated with 2 % buyers of log-normal amounts (sigma 0.7 to
    1.5, arms of 9:1 to 1:1, from 25 buyers on), one arm's paying up to half as much more, intervals cover 94.5 to
    97.5 % and each bound is wrong in at most 3 %; at twice as much they cover 93 to 95 %, and a bound is wrong in up to
    4 %, where plain Welch is in 6 %. Of amounts without a bound no interval covers whatever their distribution
    (Bahadur and Savage 1956): elsewhere unknown, with what is missing.
    """
    method = _named(WELCH, cap)
    usable = strata.varying(strata_of_moments, lambda moments: moments.count)
    if not usable:
        return unknown(DIFFERENCE, method, level, "not enough data: one of the arms has no units")
    are_scaled = all(_may_be_amounts(arm) for _, each in usable for arm in (each.control, each.treatment))
    found = welch.difference([(weight, _averages(each)) for weight, each in usable], are_scaled=are_scaled)
    if found is None:
        return unknown(DIFFERENCE, method, level, "not enough data: an arm has one unit alone, or nothing varies")
    if (expected := _expected_nonzero(usable)) < NONZERO_MIN:
        return unknown(DIFFERENCE, method, level, _too_few(expected))
    if abs(found.skewness) > SKEWNESS_MAX:
        return unknown(DIFFERENCE, method, level, _too_skewed(found.skewness))
    is_corrected = found.is_straightened or found.is_scaled
    return found.estimate(DIFFERENCE, _named(STRAIGHTENED, cap) if is_corrected else method, level)


def squared_error(moments: Moments) -> float | None:
    """The squared standard error of one arm's mean; None for fewer than two units."""
    return moments.variance / moments.count if moments.count > 1 else None


def _averages(stratum: Stratum[Moments]) -> Stratum[welch.Average]:
    one, other = (
        welch.Average(each.count, each.mean, each.m2, each.m3) for each in (stratum.control, stratum.treatment)
    )
    return Stratum(one, other)


def _may_be_amounts(moments: Moments) -> bool:
    """Whether no number need be below 0, or none above: then E x^3 * E x >= (E x^2)^2, and an effect may multiply."""
    n, mean = moments.count, moments.mean
    if not n or not mean:
        return not moments.m2
    squares, cubes = moments.m2 / n / mean / mean, moments.m3 / n / mean / mean / mean
    return 1 + 3 * squares + cubes >= (1 + squares) * (1 + squares) * (1 - 1e-9)


def _expected_nonzero(usable: Sequence[tuple[float, Stratum[Moments]]]) -> float:
    """The fewest units other than 0 expected in one arm, over all strata."""
    control = treatment = 0.0
    for _, each in usable:
        n0, n1 = each.control.count, each.treatment.count
        share = (each.control.nonzero + each.treatment.nonzero) / (n0 + n1)
        control, treatment = control + n0 * share, treatment + n1 * share
    return min(control, treatment)


def _named(method: str, cap: float | None) -> str:
    return method if cap is None else f"{method}, numbers above {cap:g} counted as {cap:g}"


def _too_few(expected: float) -> str:
    return (
        f"not enough data: {expected:.1f} units of the smaller arm are expected to have anything but 0, "
        f"and an interval needs {NONZERO_MIN:g}"
    )


def _too_skewed(skewness: float) -> str:
    return (
        f"not enough data: a few large numbers in arms of unequal sizes skew the difference by {skewness:.2f}, "
        f"beyond {SKEWNESS_MAX:g}; more units, arms of like sizes or a cap declared in the plan would help"
    )
