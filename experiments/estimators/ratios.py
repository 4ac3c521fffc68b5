"""Ratios: the total of one number over the total of another, each summed by unit, and how the arms' ratios differ.

The unit is who was randomised, so units are what varies, never single messages or orders. Where the treatment moves the
denominator too (messages under a budget), a ratio describes and decides nothing: the plan sees to that.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import strata, welch
from experiments.moments import PairMoments

DIFFERENCE: Final = "difference of ratios of totals"
DELTA: Final = "Welch's t interval by the delta method"

NUMERATORS_MIN: Final = 20.0
DENOMINATOR_ERROR_MAX: Final = 0.1
SKEWNESS_MAX: Final = 0.1


def difference(strata_of_pairs: Sequence[Stratum[PairMoments]], level: Level) -> Estimate:
    """The treatment's ratio of totals less the control's, with an interval and the p-value of the same statistic.

    Delta method by unit: Deng, Knoblich and Lu (2018), KDD, section 3.1, with Welch's t; several phases by
    Mantel-Haenszel weights. In numerators a denominator.

    Holds for numbers that are never below 0 (counts, amounts), where each arm's denominator is known to 10 %
    (`DENOMINATOR_ERROR_MAX`, its relative standard error), where each arm is expected to have `NUMERATORS_MIN` (20)
    units' worth of numerator ((sum of x)^2 / (n * variance), at the rates of both arms together: events, where one unit
    has at most one), and where the difference is skewed by at most `SKEWNESS_MAX` (0.1), judged by the least skewness
    that such numbers can have. Else unknown, as with a denominator of 0.
    """
    usable = strata.varying(strata_of_pairs, lambda pairs: pairs.count)
    if why_not := _why_not(usable):
        return unknown(DIFFERENCE, DELTA, level, why_not)
    found = welch.difference([(weight, _averages(each, is_skewed=False)) for weight, each in usable])
    skewed = welch.difference([(weight, _averages(each, is_skewed=True)) for weight, each in usable])
    if found is None or skewed is None:
        return unknown(DIFFERENCE, DELTA, level, "not enough data: an arm has one unit alone, or nothing varies")
    if abs(skewed.skewness) > SKEWNESS_MAX:
        return unknown(DIFFERENCE, DELTA, level, _too_skewed(skewed.skewness))
    return found.estimate(DIFFERENCE, DELTA, level)


def squared_error(pairs: PairMoments) -> float | None:
    """The squared standard error of one arm's ratio; None for fewer than two units or a denominator of 0."""
    return _average(pairs, is_skewed=False).squared_error if pairs.count > 1 and pairs.mean_y else None


def _averages(stratum: Stratum[PairMoments], *, is_skewed: bool) -> Stratum[welch.Average]:
    return Stratum(_average(stratum.control, is_skewed=is_skewed), _average(stratum.treatment, is_skewed=is_skewed))


def _average(pairs: PairMoments, *, is_skewed: bool) -> welch.Average:
    """A unit adds (x - ratio * y) / mean of y to the ratio."""
    ratio = pairs.ratio
    m2 = max(0.0, pairs.m2_x - 2 * ratio * pairs.c_xy + ratio**2 * pairs.m2_y) / pairs.mean_y**2
    m3 = _least_m3(pairs) / abs(pairs.mean_y) ** 3 if is_skewed else None
    return welch.Average(pairs.count, ratio, m2, m3)


def _least_m3(pairs: PairMoments) -> float:
    """The least third central sum of numbers not below 0, of this mean and variance: by E x^3 * E x >= (E x^2)^2."""
    if pairs.mean_x <= 0:
        return 0.0
    squares = pairs.m2_x / pairs.count
    return max(0.0, pairs.count * squares * (squares / pairs.mean_x - pairs.mean_x))


def _why_not(usable: Sequence[tuple[float, Stratum[PairMoments]]]) -> str | None:
    if not usable:
        return "not enough data: one of the arms has no units"
    for _, each in usable:
        for arm in (each.control, each.treatment):
            if arm.mean_y == 0:
                return "not enough data: the denominator of an arm is 0"
            if arm.count < 2 or sqrt(arm.m2_y / (arm.count - 1) / arm.count) > DENOMINATOR_ERROR_MAX * abs(arm.mean_y):
                return f"not enough data: the denominator of an arm is not known to {DENOMINATOR_ERROR_MAX:.0%}"
    if (expected := _expected(usable)) < NUMERATORS_MIN:
        return (
            f"not enough data: {expected:.1f} units' worth of numerator are expected in the smaller arm, "
            f"and an interval needs {NUMERATORS_MIN:g}"
        )
    return None


def _expected(usable: Sequence[tuple[float, Stratum[PairMoments]]]) -> float:
    """How many units of one size would make the smaller arm's numerator as uncertain as it is, over all strata."""
    control = treatment = 0.0
    for _, each in usable:
        both = each.control + each.treatment
        if both.m2_x > 0:
            share = both.mean_x**2 / (both.m2_x / both.count)
            control, treatment = control + each.control.count * share, treatment + each.treatment.count * share
        else:
            control, treatment = control + each.control.count, treatment + each.treatment.count
    return min(control, treatment)


def _too_skewed(skewness: float) -> str:
    return (
        f"not enough data: numerators are few in arms of unequal sizes, which skews the difference by at least "
        f"{abs(skewness):.2f}, beyond {SKEWNESS_MAX:g}"
    )
