"""Rates: how many of the units had the outcome, and how much more or fewer of the treatment's than of the control's.

One method decides, by the counts alone, in this order: the score interval of Miettinen and Nurminen where it holds;
an exact one where counts are tiny. The p-value is always that of the same test at a difference of 0.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import exact, score, strata
from experiments.estimators.special import normal_quantile, normal_tail
from experiments.moments import Counts

DIFFERENCE: Final = "difference of rates"
RATE: Final = "rate"
SCORE: Final = "Miettinen-Nurminen score interval"
SCORE_OF_STRATA: Final = "Miettinen-Nurminen score interval, phases by Mantel-Haenszel weights"
EXACT: Final = "exact unconditional interval, by order of Miettinen-Nurminen"
WILSON: Final = "Wilson score interval"
CLOPPER_PEARSON: Final = "Clopper-Pearson exact interval"

EXPECTED_MIN: Final = 10.0
SKEWNESS_MAX: Final = 0.15


def difference(strata_of_counts: Sequence[Stratum[Counts]], level: Level) -> Estimate:
    """The treatment's rate less the control's, with an interval and the p-value of the same test at 0.

    Miettinen and Nurminen (1985), Statistics in Medicine 4:213, with their factor N / (N - 1); several phases by the
    stratified form of their section 2.2 with Mantel-Haenszel weights. Holds where each arm has at least `EXPECTED_MIN`
    (10) units expected with the outcome and as many without, both at the common rate, and where the difference is
    skewed by at most `SKEWNESS_MAX` (0.15: arms of 9 to 1 need 32 expected in the smaller). There the interval
    covers 94.5 to 95.5 %, and each bound is wrong in 2 to 3 %.

    Elsewhere, in one phase: the exact interval of `estimators.exact`, never below its level and wider. It takes some
    10 to 60 ms, and more than 100 only with thousands of outcomes in one arm and a handful in the other. Where nobody
    had the outcome, or everybody, there is such an interval, but no p-value: nothing was seen that could differ.

    Unknown without units in both arms, and for tiny counts over several phases. In shares of units, -1 to 1.
    """
    usable = strata.weighted(strata_of_counts, lambda counts: counts.count)
    if not usable:
        return unknown(DIFFERENCE, SCORE, level, "not enough data: one of the arms has no units")
    if holds(usable):
        return _by_score(usable, level)
    if len(usable) > 1:
        return unknown(DIFFERENCE, SCORE_OF_STRATA, level, _too_few(usable))
    return _exactly(usable[0][1], level)


def interval(counts: Counts, level: Level) -> Estimate:
    """The rate of one arm, for display beside it: no p-value, as there is nothing to compare it with.

    Wilson (1927), JASA 22:209, where at least `EXPECTED_MIN` units had the outcome and as many had not; else Clopper
    and Pearson (1934), Biometrika 26:404, which covers at least what it says. Unknown without units.
    """
    if not counts.count:
        return unknown(RATE, WILSON, level, "not enough data: there are no units")
    if min(counts.successes, counts.count - counts.successes) < EXPECTED_MIN:
        low, high = exact.rate_bounds(counts, level.alpha_each)
        return Estimate(RATE, CLOPPER_PEARSON, level, counts.rate, low, high)
    z, n, rate = normal_quantile(1 - level.alpha_each / 2), counts.count, counts.rate
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return Estimate(RATE, WILSON, level, rate, middle - half, middle + half)


def holds(usable: score.Weighted) -> bool:
    """Whether the score interval holds: enough outcomes expected at the common rate, and little skewness."""
    variance = third = 0.0
    for weight, each in usable:
        rate = _common_rate(each)
        n0, n1 = each.control.count, each.treatment.count
        variance += weight**2 * rate * (1 - rate) * (1 / n0 + 1 / n1)
        third += weight**3 * rate * (1 - rate) * (1 - 2 * rate) * (1 / n1**2 - 1 / n0**2)
    return _expected(usable) >= EXPECTED_MIN and abs(third) <= SKEWNESS_MAX * variance**1.5


def squared_error(counts: Counts) -> float | None:
    """The squared standard error of one arm's rate; None where counts are too small for a normal distribution."""
    if min(counts.successes, counts.count - counts.successes) < EXPECTED_MIN:
        return None
    return counts.rate * (1 - counts.rate) / counts.count


def _by_score(usable: score.Weighted, level: Level) -> Estimate:
    low, high = score.bounds(usable, level.alpha_each)
    p_value = level.adjusted(2 * normal_tail(abs(score.statistic(usable, 0.0))))
    method = SCORE if len(usable) == 1 else SCORE_OF_STRATA
    return Estimate(DIFFERENCE, method, level, score.difference(usable), low, high, p_value)


def _exactly(stratum: Stratum[Counts], level: Level) -> Estimate:
    found = exact.difference(stratum.control, stratum.treatment, level.alpha_each)
    p_value = None if _common_rate(stratum) in (0, 1) else level.adjusted(found.p_value)
    effect = stratum.treatment.rate - stratum.control.rate
    return Estimate(DIFFERENCE, EXACT, level, effect, found.low, found.high, p_value)


def _common_rate(stratum: Stratum[Counts]) -> float:
    return (stratum.control + stratum.treatment).rate


def _expected(usable: score.Weighted) -> float:
    """The fewest units expected in any of the four cells, over all strata."""
    cells = [0.0, 0.0, 0.0, 0.0]
    for _, each in usable:
        rate = _common_rate(each)
        for place, arm in enumerate((each.control, each.treatment)):
            cells[2 * place] += arm.count * rate
            cells[2 * place + 1] += arm.count * (1 - rate)
    return min(cells)


def _too_few(usable: score.Weighted) -> str:
    return (
        f"not enough data: over {len(usable)} phases {_expected(usable):.1f} units are expected in the smallest of the "
        f"four cells (with and without the outcome, by arm), too few for the arms' sizes"
    )
