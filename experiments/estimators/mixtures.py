"""Bounds of rates that may be read at any time, whatever the counts: nothing is asked of them, and so they are wide.

A rate p is tested at every number of units n by how much likelier its x outcomes are under the rates below it (or above
it), mixed by Jeffreys' beta(1/2, 1/2) on that side, than under p itself. Such a mixture is a supermartingale under p
and under every rate farther away, so that it ever reaches 1/error with a probability of at most `error` (Ville 1939).

Source: Robbins, "Statistical methods related to the law of the iterated logarithm" (Annals of Mathematical Statistics
41, 1970); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences"
(Annals of Statistics 49, 2021), on sub-Bernoulli processes and one-sided beta-binomial mixtures.
"""

from collections.abc import Sequence
from math import asin, exp, log, log1p, sqrt
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import strata
from experiments.estimators.special import beta_below, log_beta, root
from experiments.moments import Counts

DIFFERENCE: Final = "difference of rates"
METHOD: Final = "beta-binomial mixture confidence sequence of each rate"

_FARTHEST = -700.0  # the logarithm of the least p-value

_Weighted = Sequence[tuple[int, float, Stratum[Counts]]]  # the place of a phase, its weight, its arms


def difference(strata_of_counts: Sequence[Stratum[Counts]], level: Level) -> Estimate:
    """The treatment's rate less the control's, with an interval that holds at all times together, at any counts.

    Its low bound is the treatment's low one less the control's high one, its high bound likewise: each ever wrong with
    at most alpha/2, shared by both arms. Of several phases the effect is the mean of their effects, weighted by
    n1 n0 / (n1 + n0), and so is each bound. Of an arm's share the first phase has half, the second a quarter, and so
    on: shares that stay the same however many phases will come. The p-value is the least alpha whose interval leaves 0
    out; there is none where nobody had the outcome, or everybody: nothing was seen that could differ.

    Holds for any counts and rates, with one unit in both arms. It is wide: some 1.6 to 2.7 times the fixed interval.
    Unknown without units in both arms.
    """
    usable = _weighted(strata_of_counts)
    if not usable:
        return unknown(DIFFERENCE, METHOD, level, "not enough data: one of the arms has no units")
    effect = sum(weight * (each.treatment.rate - each.control.rate) for _, weight, each in usable)
    log_alpha = log(level.alpha_each)
    low, high = _low(usable, log_alpha), -_low(_swapped(usable), log_alpha)
    p_value = None if _is_without_variation(usable) else level.adjusted(_p_value(usable, effect))
    return Estimate(DIFFERENCE, METHOD, level, effect, low, high, p_value)


def highest(counts: Counts, log_error: float) -> float:
    """A rate that the true one ever exceeds, at any number of units, with a probability of at most exp(`log_error`).

    `log_error` is at most -log(4): from there on `log_evidence` rises in the rate wherever it reaches that far.
    """
    if counts.successes == counts.count:
        return 1.0

    def lacking(rate: float) -> float:
        return log_evidence(counts, rate) + log_error

    start, end = max(counts.rate, 1e-300), 1 - 1e-16
    return root(lacking, start, end, 1e-16) if lacking(end) > 0 else 1.0


def lowest(counts: Counts, log_error: float) -> float:
    """As `highest`, from below."""
    return 1 - highest(Counts(counts.count - counts.successes, counts.count), log_error)


def log_evidence(counts: Counts, rate: float) -> float:
    """The logarithm of the mixture of likelihoods of all lower rates, by Jeffreys' prior among them, over that of
    `rate`, which lies between 0 and 1 and not below that of the counts."""
    x, missed = counts.successes, counts.count - counts.successes
    a, b = x + 0.5, missed + 0.5
    mixed = log_beta(a, b) + log(beta_below(a, b, rate)) - log(2 * asin(sqrt(rate)))  # log(pi) is in both
    own = (x * log(rate) if x else 0.0) + missed * log1p(-rate)
    return mixed - own


def _weighted(strata_of_counts: Sequence[Stratum[Counts]]) -> _Weighted:
    places = [place for place, each in enumerate(strata_of_counts) if each.control.count and each.treatment.count]
    found = strata.weighted(strata_of_counts, lambda counts: counts.count)
    return [(place, weight, each) for place, (weight, each) in zip(places, found, strict=True)]


def _swapped(usable: _Weighted) -> _Weighted:
    return [(place, weight, Stratum(each.treatment, each.control)) for place, weight, each in usable]


def _low(usable: _Weighted, log_alpha: float) -> float:
    bound = 0.0
    for place, weight, each in usable:
        log_error = log_alpha - (place + 3) * log(2)  # half for this side, half for this arm, and the phase's share
        bound += weight * (lowest(each.treatment, log_error) - highest(each.control, log_error))
    return bound


def _p_value(usable: _Weighted, effect: float) -> float:
    towards = usable if effect > 0 else _swapped(usable)
    if _low(towards, 0.0) <= 0:
        return 1.0
    if _low(towards, _FARTHEST) > 0:
        return exp(_FARTHEST)
    return exp(root(lambda log_alpha: _low(towards, log_alpha), _FARTHEST, 0.0, 1e-12))


def _is_without_variation(usable: _Weighted) -> bool:
    total = sum((arm for _, _, each in usable for arm in (each.control, each.treatment)), Counts())
    return total.rate in (0, 1)
