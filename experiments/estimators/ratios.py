"""Ratios: the total of one number over the total of another, each summed by unit, and how the arms' ratios differ.

The unit is who was randomised, so units are what varies, never single messages or orders. Where the treatment moves the
denominator too (messages under a budget), a ratio describes and decides nothing: the plan sees to that.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import strata, welch
from experiments.moments import PairMoments

DIFFERENCE: Final = "difference of ratios of totals"
DELTA: Final = "Welch's t interval by the delta method"
STRAIGHTENED: Final = "Welch's t interval by the delta method, corrected for skewness"

NUMERATORS_MIN: Final = 20.0
DENOMINATOR_ERROR_MAX: Final = 0.1
SKEWNESS_MAX: Final = 0.5
LEAST_SKEWNESS_MAX: Final = 0.1

Weighted = Sequence[tuple[float, Stratum[PairMoments]]]


def difference(strata_of_pairs: Sequence[Stratum[PairMoments]], level: Level) -> Estimate:
    """The treatment's ratio of totals less the control's, with an interval and the p-value of the same statistic.

    Delta method by unit: Deng, Knoblich and Lu (2018), KDD, section 3.1, with Welch's t, corrected for skewness as
    `means.difference` is. Of several phases the mean of their differences, weighted by d0 * d1 / (d0 + d1) of the arms'
    total denominators (Greenland and Robins 1985, Biometrics 41:55): each phase is compared within itself, and one of a
    few units adds little: (x1 * d0 - x0 * d1) / (d0 + d1) of its totals x, on average 0 where variants do not differ,
    however few its units. In numerators a denominator.

    Holds for numbers that are never below 0 (counts, amounts), where each arm's denominator is known to 10 %
    (`DENOMINATOR_ERROR_MAX`, its relative standard error; of several phases the root of the weighted mean of squares),
    where each arm is expected to have `NUMERATORS_MIN` (20) units' worth of numerator ((sum of x)^2 / (n * variance),
    at the rates of both arms together: events, where one unit has at most one), and where the difference is skewed by
    at most `SKEWNESS_MAX` (0.5). Pairs without `m3_x` show the least skewness that such numbers can have: then nothing
    is corrected, and at most 0.1 of it is borne (`LEAST_SKEWNESS_MAX`). Else unknown, as with a denominator of 0.
    """
    usable = weighted(strata_of_pairs)
    if why_not := _why_not(strata_of_pairs, usable):
        return unknown(DIFFERENCE, DELTA, level, why_not)
    scored = scores(usable)
    found = welch.difference(scored, are_scaled=True)
    if found is None:
        return unknown(DIFFERENCE, DELTA, level, "not enough data: an arm has one unit alone, or nothing varies")
    if (expected := _expected(usable)) < NUMERATORS_MIN:
        return unknown(DIFFERENCE, DELTA, level, _too_few(expected))
    is_taken = all(arm.m3_x is not None for _, each in usable for arm in (each.control, each.treatment))
    if abs(found.skewness) > (most := SKEWNESS_MAX if is_taken else LEAST_SKEWNESS_MAX):
        return unknown(DIFFERENCE, DELTA, level, _too_skewed(found.skewness, most))
    if not is_taken:
        found = replace(found, skewness=0.0, shapes=())
    return found.estimate(DIFFERENCE, STRAIGHTENED if found.is_straightened or found.is_scaled else DELTA, level)


def squared_error(pairs: PairMoments) -> float | None:
    """The squared standard error of one arm's ratio; None for fewer than two units or a denominator of 0."""
    return score(pairs, pairs.ratio).squared_error if pairs.count > 1 and pairs.mean_y else None


def weighted(strata_of_pairs: Sequence[Stratum[PairMoments]]) -> Weighted:
    """The strata that have a denominator in both arms, each with its weight; of those with one unit in an arm only
    where there are no others."""
    found = [each for each in strata_of_pairs if min(each.control.mean_y, each.treatment.mean_y) > 0]
    enough = [each for each in found if min(each.control.count, each.treatment.count) > 1]
    return strata.weighted(enough or found, lambda pairs: pairs.count * pairs.mean_y)


def is_denominator_known(usable: Weighted) -> bool:
    """Whether to `DENOMINATOR_ERROR_MAX`, in each arm. What linearisation is off by grows with the squared errors, so
    that it is their mean by weight which counts, and many vague phases are not taken for one that is known well."""
    arms = ([(weight, each.control) for weight, each in usable], [(weight, each.treatment) for weight, each in usable])
    squares = (sum(weight * _squared_denominator_error(pairs) for weight, pairs in arm) for arm in arms)
    return bool(usable) and all(each <= DENOMINATOR_ERROR_MAX**2 for each in squares)


def scores(usable: Weighted) -> list[tuple[float, Stratum[welch.Average]]]:
    """Each stratum's ratios with the moments of what a unit adds to the weighted difference, over its weight.

    A unit moves its arm's ratio by (x - ratio * y) / mean of y, and by its denominator the weight of its stratum, which
    counts where the strata's differences differ.
    """
    differences = [each.treatment.ratio - each.control.ratio for _, each in usable]
    effect = sum(weight * one for (weight, _), one in zip(usable, differences, strict=True))
    found: list[tuple[float, Stratum[welch.Average]]] = []
    for (weight, each), one in zip(usable, differences, strict=True):
        control, treatment = (arm.count * arm.mean_y for arm in (each.control, each.treatment))
        share, off = treatment / (control + treatment), one - effect
        arms = (
            score(each.control, each.control.ratio + off * share),
            score(each.treatment, each.treatment.ratio - off * (1 - share)),
        )
        found.append((weight, Stratum(*arms)))
    return found


def score(pairs: PairMoments, slope: float) -> welch.Average:
    """One arm's ratio, where a unit adds (x - slope * y) / mean of y; its third moment is about that."""
    m2 = max(0.0, pairs.m2_x - 2 * slope * pairs.c_xy + slope * slope * pairs.m2_y) / pairs.mean_y / pairs.mean_y
    m3 = (
        (_least_m3(pairs) if pairs.m3_x is None else _m3(pairs, pairs.m3_x))
        / pairs.mean_y
        / pairs.mean_y
        / pairs.mean_y
    )
    return welch.Average(pairs.count, pairs.ratio, m2, m3)


def _m3(pairs: PairMoments, m3_x: float) -> float:
    """About the third central sum of x - ratio * y: the mixed moments, which were not taken, as if each denominator
    were made of equal pieces, each with an x of its own (0 or 1 order of any amount; events that come one by one)."""
    n, r, x2, xy, y2 = pairs.count, pairs.ratio, pairs.m2_x, pairs.c_xy, pairs.m2_y
    return m3_x - (3 * x2 * xy - 3 * r * r * xy * y2 + r * r * r * y2 * y2) / n / pairs.mean_y


def _least_m3(pairs: PairMoments) -> float:
    """The least third central sum of numbers not below 0, of this mean and variance: by E x^3 * E x >= (E x^2)^2."""
    if pairs.mean_x <= 0:
        return 0.0
    squares = pairs.m2_x / pairs.count
    return max(0.0, pairs.count * squares * (squares / pairs.mean_x - pairs.mean_x))


def _squared_denominator_error(pairs: PairMoments) -> float:
    return inf if pairs.count < 2 else pairs.m2_y / (pairs.count - 1) / pairs.count / pairs.mean_y / pairs.mean_y


def _why_not(strata_of_pairs: Sequence[Stratum[PairMoments]], usable: Weighted) -> str | None:
    if not any(each.control.count and each.treatment.count for each in strata_of_pairs):
        return "not enough data: one of the arms has no units"
    if not usable:
        return "not enough data: the denominator of an arm is 0"
    if not is_denominator_known(usable):
        return f"not enough data: the denominator of an arm is not known to {DENOMINATOR_ERROR_MAX:.0%}"
    return None


def _expected(usable: Weighted) -> float:
    """How many units of one size would make the smaller arm's numerator as uncertain as it is, over all strata."""
    control = treatment = 0.0
    for _, each in usable:
        both = each.control + each.treatment
        share = both.mean_x**2 / (both.m2_x / both.count) if both.m2_x > 0 else float(both.mean_x != 0)
        control, treatment = control + each.control.count * share, treatment + each.treatment.count * share
    return min(control, treatment)


def _too_few(expected: float) -> str:
    return (
        f"not enough data: {expected:.1f} units' worth of numerator are expected in the smaller arm, "
        f"and an interval needs {NUMERATORS_MIN:g}"
    )


def _too_skewed(skewness: float, most: float) -> str:
    return (
        f"not enough data: numerators are few or a few are large, in arms of unequal sizes, which skews the difference "
        f"by {abs(skewness):.2f}, beyond {most:g}"
    )
