"""Intervals that may be read at any time: asymptotic confidence sequences for means, rates and customer-level ratios;
of rates those of `mixtures` where they are too few for these.

All intervals of one sequence together are wrong with a probability of at most alpha, however often it is read and
whatever made the reader stop; either bound alone with at most alpha/2. An interval is that of now: running extremes of
earlier ones are not kept, so that a later interval may be wider than an earlier one, and nothing has to be remembered.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (Annals of Statistics 52, 2024; arXiv 2103.06476), Theorems 2.2 and 2.5; for the boundary Robbins (1970) and
Howard, Ramdas, McAuliffe and Sekhon (Annals of Statistics 49, 2021), Proposition 6. Decision 21 says what was chosen.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import erfc, exp, inf, isfinite, log, log1p, pi, sqrt
from typing import NamedTuple, TypeVar

from experiments.counted import counted
from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import mixtures, ratios, welch
from experiments.moments import Counts, Moments, PairMoments

MINIMUM_UNITS = 50
"""Units that each arm must have before a difference of means or rates is given."""
MINIMUM_UNITS_OF_RATIOS = 1_000
"""The same for ratios: their moments tell how skewed numerators are, not the skewness of both together."""
SKEWNESS_OF_BOTH = 1 / sqrt(20)
"""The most that the arms' means may add up to. For arms of equal size: 10 times the squared skewness of their units."""
SKEWNESS_OF_DIFFERENCE = 1 / sqrt(40)
"""The most that may be left after they cancel: where one arm is small, 40 times the squared skewness of its units."""

_SMALLEST_SPREAD = 1e-12  # relative to the numbers themselves: below it, what varies is their rounding

A = TypeVar("A", Moments, PairMoments)


def difference(strata: Sequence[Stratum[Moments]], level: Level, planned_units: int) -> Estimate:
    """The mean of the treatment less that of the control, with an interval that holds at all times together.

    `planned_units`: how many units both arms together will have at the planned end, fixed before the first look. The
    interval is as narrow as it can be there: 1.55 times the fixed one at alpha = 0.05, and at most 1.6 times at any
    alpha up to 0.065. Further units leave it valid.

    Of several strata (phases, in their order) the effect is the mean of their effects, weighted by n1 n0 / (n1 + n0).
    The sequence stays valid: with these weights the sum over strata grows by the increments of the present phase alone
    (those before stay as they are), so that it remains a martingale, whose variance is the clock of the boundary. The
    boundary is tuned by the first stratum of 50 units an arm. Where phases have different effects, their running
    weighted mean is estimated. Strata with fewer than two units in an arm are left out.

    Validity region: each arm has at least 50 units; with arms of equal size 10 times the squared skewness of the units,
    up to 40 times in the smaller one of very different arms (`SKEWNESS_OF_BOTH`, `SKEWNESS_OF_DIFFERENCE`). Outside:
    not enough data. Within it, in all cases of docs/statistics.md, the sequence was wrong ever in at most 5 %, and each
    bound alone in at most 2.5 %.
    """
    method = _method(planned_units)
    usable = [each for each in strata if _is_usable(each)]
    control, treatment = _sums(usable, Moments())
    why_not = _too_few_units(control, treatment, MINIMUM_UNITS) or _too_skewed(control, treatment)
    parts = [_part(each, lambda arm: arm.mean, lambda arm: arm.variance) for each in usable]
    return _estimate("difference of means", method, parts, level, planned_units, why_not)


def rate_difference(strata: Sequence[Stratum[Counts]], level: Level, planned_units: int) -> Estimate:
    """The rate of the treatment less that of the control: as `difference`, of units that are 0 or 1.

    Validity region as there. For a rare outcome it says: 10 units with it in each of two arms of equal size, up to 40
    in the smaller one of very different arms. Outside, with a unit in each arm: `mixtures.difference`, valid at any
    counts and wide. Each of the two is ever wrong with at most alpha; a sequence that passes from one to the other was
    so too in all cases of docs/statistics.md.
    """
    moments = [Stratum(each.control.moments, each.treatment.moments) for each in strata]
    found = difference(moments, level, planned_units)
    if not found.is_known:
        return mixtures.difference(strata, level)
    return Estimate(
        "difference of rates",
        found.method,
        level,
        found.effect,
        found.low if found.low is None else max(-1.0, found.low),
        found.high if found.high is None else min(1.0, found.high),
        found.p_value,
    )


def ratio_difference(strata: Sequence[Stratum[PairMoments]], level: Level, planned_units: int) -> Estimate:
    """The ratio of totals of the treatment less that of the control: as `difference`, each unit linearised.

    The ratio R of an arm moves as the mean of (x - R y) / mean(y) over its units (the delta method; Deng, Knoblich and
    Lu 2018), whose moments follow from those given. Strata are weighted by d1 d0 / (d1 + d0) of the arms' total
    denominators, as in `ratios.difference`: one of a few units adds little and asks for nothing of its own.

    Validity region: each arm has at least 1,000 units, its denominator is known to 10 % as in `ratios.difference`, and
    neither arm is more skewed than in `difference`, by the third moments of the numerators; where these were not taken,
    by the least that such numbers can have.
    """
    method = _method(planned_units)
    usable = [each for each in strata if _is_usable(each)]
    control, treatment = _sums(usable, PairMoments())
    weighted = ratios.weighted(usable)
    why_not = _too_few_units(control, treatment, MINIMUM_UNITS_OF_RATIOS)
    if why_not is None and not ratios.is_denominator_known(weighted):
        why_not = "not enough data: the denominator of an arm is too close to 0 to divide by"
    why_not = why_not or _too_skewed_ratios(*_sums([each for _, each in weighted], PairMoments()))
    parts = [] if why_not else [_scored(*each) for each in ratios.scores(weighted)]
    return _estimate("difference of ratios", method, parts, level, planned_units, why_not)


@lru_cache(maxsize=4096)
def boundary(share: float, alpha: float) -> float:
    """How many standard errors the interval reaches to either side, at this share of the planned information.

    The z at which either of two half-normal mixtures of the likelihood ratio reaches 2/alpha. With v for the share
    times `tuning(alpha)`, and k = v / (1 + v): 2 exp(z^2 k / 2) Phi(z sqrt(k)) / sqrt(1 + v) = 2 / alpha.
    """
    if not 0 < share < inf or not 0 < alpha < 1:
        raise ValueError(f"found a share of {share} and an alpha of {alpha}, expected both above 0 and alpha below 1")
    k = _shrinkage(share, alpha)
    z = sqrt((log1p(share * tuning(alpha)) - 2 * log(alpha)) / k)  # that of the two-sided mixture: a little too low
    step = z  # Newton, on a convex function: one step too far, then back
    while abs(step) > 1e-12 * z:
        root = z * sqrt(k)
        slope = z * k + sqrt(k) * _normal_density(root) / _normal(root)
        step = (_log_p(z, share, alpha) - log(alpha)) / slope
        z += step
    return z


def p_value(z: float, share: float, alpha: float) -> float:
    """The smallest alpha of an interval that leaves 0 out; the effect is z standard errors, `share` as in `boundary`.

    Valid at all times together, as the interval is. `alpha` is that of the interval shown, by which the mixture is
    tuned: it is the same mixture that is inverted, so that the p-value is below `alpha` exactly where |z| is beyond
    the boundary.
    """
    return min(1.0, exp(_log_p(abs(z), share, alpha)))


@lru_cache(maxsize=256)
def tuning(alpha: float) -> float:
    """The planned information over that of the mixture, x, for the narrowest interval at the planned end.

    x - log(1 + x) = -2 log(alpha) (Waudby-Smith and others, appendix on the choice of rho; their rho^2 is x over the
    planned units). There the boundary of the two-sided mixture is sqrt(1 + x); that of `boundary` is wider by less
    than one in a thousand at any alpha up to 0.1.
    """
    goal = -2 * log(alpha)
    x = goal + 2.0
    for _ in range(60):
        x = goal + log1p(x)
    return x


class _Part(NamedTuple):
    """A stratum: its effect, the larger of the two numbers that it is the difference of, the variance of it, its weight
    n1 n0 / (n1 + n0), its units, and those of the smaller arm."""

    effect: float
    largest: float
    variance: float
    weight: float
    units: int
    fewest: int


def _estimate(
    estimand: str, method: str, parts: Sequence[_Part], level: Level, planned_units: int, why_not: str | None
) -> Estimate:
    if why_not is not None:
        return unknown(estimand, method, level, why_not)
    weight = sum(each.weight for each in parts)
    effect = sum(each.weight * each.effect for each in parts) / weight
    information = [each.weight**2 * each.variance for each in parts]
    error = sqrt(sum(information)) / weight
    if not isfinite(effect) or not isfinite(error):
        return unknown(estimand, method, level, "the numbers are too large to compute with")
    if error <= _SMALLEST_SPREAD * max(each.largest for each in parts):
        return unknown(estimand, method, level, "not enough data: nothing varies among the units yet")
    first = _first(parts)
    share = sum(information) / (information[first] / parts[first].units * planned_units)
    half = boundary(share, level.alpha_each) * error
    p = level.adjusted(p_value(effect / error, share, level.alpha_each))
    return Estimate(estimand, method, level, effect, effect - half, effect + half, p)


def _first(parts: Sequence[_Part]) -> int:
    """The stratum that tunes the boundary: the first of `MINIMUM_UNITS` in each arm, or else the first that varies. A
    handful of units, with which a ramp may begin, would tell at random what a unit tells."""
    varying = [index for index, each in enumerate(parts) if each.weight * each.weight * each.variance > 0]
    return next((index for index in varying if parts[index].fewest >= MINIMUM_UNITS), varying[0])


def _method(planned_units: int) -> str:
    if planned_units < 1:
        raise ValueError(f"found {planned_units} planned units, expected at least one")
    return f"asymptotic confidence sequence, narrowest at {counted(planned_units, 'unit')}"


def _is_usable(stratum: Stratum[A]) -> bool:
    return min(stratum.control.count, stratum.treatment.count) >= 2


def _sums(strata: Sequence[Stratum[A]], nothing: A) -> tuple[A, A]:
    return sum((each.control for each in strata), nothing), sum((each.treatment for each in strata), nothing)


def _part(stratum: Stratum[A], value: Callable[[A], float], variance: Callable[[A], float]) -> _Part:
    control, treatment = stratum.control, stratum.treatment
    n0, n1 = control.count, treatment.count
    return _Part(
        value(treatment) - value(control),
        max(abs(value(treatment)), abs(value(control))),
        variance(treatment) / n1 + variance(control) / n0,
        n1 * n0 / (n1 + n0),
        n1 + n0,
        min(n1, n0),
    )


def _scored(weight: float, stratum: Stratum[welch.Average]) -> _Part:
    control, treatment = stratum.control, stratum.treatment
    return _Part(
        treatment.value - control.value,
        max(abs(treatment.value), abs(control.value)),
        treatment.squared_error + control.squared_error,
        weight,
        treatment.count + control.count,
        min(treatment.count, control.count),
    )


def _too_few_units(control: A, treatment: A, minimum: int) -> str | None:
    fewest = min(control.count, treatment.count)
    if fewest >= minimum:
        return None
    found = counted(fewest, "unit")
    return f"not enough data: {found} in the smaller arm, expected at least {minimum:,} to read at any time"


def _too_skewed(control: Moments, treatment: Moments) -> str | None:
    """Two guards: of what both arms add up to, and, as they would under no effect, of what they leave of each other."""
    n0, n1 = control.count, treatment.count
    if control.m2 + treatment.m2 <= 0:
        return "not enough data: nothing varies among the units yet"
    both = (_third(control) + _third(treatment)) / _power(control.variance / n0 + treatment.variance / n1)
    if both > SKEWNESS_OF_BOTH:
        return _skewed(n0, n1, both / SKEWNESS_OF_BOTH)
    pooled = (control.m3 + treatment.m3) / (n0 + n1)
    variance = (control.m2 + treatment.m2) / (n0 + n1)
    left = abs(pooled * (1 / n1**2 - 1 / n0**2)) / _power(variance * (1 / n0 + 1 / n1))
    return _skewed(n0, n1, left / SKEWNESS_OF_DIFFERENCE) if left > SKEWNESS_OF_DIFFERENCE else None


def _too_skewed_ratios(control: PairMoments, treatment: PairMoments) -> str | None:
    """As `_too_skewed`, of units linearised. Numbers that are too large for it are `_estimate`'s to refuse."""
    arms = [ratios.score(arm, arm.ratio) for arm in (control, treatment)]
    if not all(isfinite(arm.value) and isfinite(arm.m2) and isfinite(arm.m3) for arm in arms):
        return None
    return _too_skewed(*(Moments(arm.count, arm.value, arm.m2, arm.m3) for arm in arms))


def _third(arm: Moments) -> float:
    """The third moment of the arm's mean, without its sign."""
    return abs(arm.m3) / arm.count / arm.count**2


def _power(variance: float) -> float:
    """To the 3/2, infinite where `**` would raise."""
    return variance * sqrt(variance)


def _skewed(n0: int, n1: int, excess: float) -> str:
    return (
        f"not enough data: the numbers are too skewed to read arms of {n0:,} and {counted(n1, 'unit')} at any time, "
        f"expected about {excess**2:.3g} times as many"
    )


def _log_p(z: float, share: float, alpha: float) -> float:
    """Of 2 / mixture, both sides together."""
    k = _shrinkage(share, alpha)
    return log1p(share * tuning(alpha)) / 2 - z * z * k / 2 - log(_normal(z * sqrt(k)))


def _shrinkage(share: float, alpha: float) -> float:
    spread = share * tuning(alpha)
    return spread / (1 + spread)


def _normal(z: float) -> float:
    return erfc(-z / sqrt(2)) / 2


def _normal_density(z: float) -> float:
    return exp(-z * z / 2) / sqrt(2 * pi)
