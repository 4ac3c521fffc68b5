"""Sample ratio mismatch: whether units entered the variants in the shares that the plan's weights say.

Looked at before any effect, since arms that lost units differ by more than the treatment. It tests the whole chain from
assignment to table, and not the hash alone. Variants of weight 0 take no part: `checks.leak` has those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  (no stubs)

from experiments.estimators.curves import Floats

EXPECTED_AT_LEAST = 5.0
"""Expected units a variant from which on the chi-square distribution is near enough (Cochran 1954)."""
MOST_OUTCOMES = 200_000
"""How many outcomes the exact test looks at."""
CONCENTRATIONS = (100.0, 10_000.0)
"""How many units the priors of the sequential test are worth: for shares off by one in ten, and by one in a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the shares. `is_mismatch` if they would be so far off with a probability below `alpha`.

    `effect_size` is Cohen's w (0.1 is small, 0.01 worth an alarm where millions entered); `excess` how many units each
    variant has more than expected, in units. Where `why_not` says why, there was no test, and `p_value` is None.
    """

    units: Mapping[str, int]
    expected: Mapping[str, float]
    alpha: float
    method: str
    p_value: float | None = None
    why_not: str | None = None

    @property
    def is_mismatch(self) -> bool:
        return self.p_value is not None and self.p_value < self.alpha

    @property
    def excess(self) -> Mapping[str, float]:
        return {variant: self.units[variant] - expected for variant, expected in self.expected.items()}

    @property
    def statistic(self) -> float:
        """Pearson's chi-square, whichever test was made; 0 where nobody is expected."""
        return sum(self.excess[name] ** 2 / expected for name, expected in self.expected.items() if expected)

    @property
    def effect_size(self) -> float:
        count = sum(self.units.values())
        return sqrt(self.statistic / count) if count else 0.0


@dataclass(frozen=True, slots=True)
class Entries:
    """Units that entered together, in one day of one phase, and the weights by which they were assigned."""

    units: Mapping[str, int]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sequential:
    """`p_values[i]` after the first i + 1 entries: the smallest so far. `first_alarm` is the first i with one below
    `alpha`, or None. Read as often as wanted, a stream of the planned shares alarms with at most `alpha`."""

    p_values: tuple[float, ...]
    alpha: float
    method: str

    @property
    def p_value(self) -> float | None:
        """The present one; None before the first entry."""
        return self.p_values[-1] if self.p_values else None

    @property
    def first_alarm(self) -> int | None:
        return next((i for i, p_value in enumerate(self.p_values) if p_value < self.alpha), None)


def check(units: Mapping[str, int], weights: Mapping[str, float], alpha: float = 0.001) -> Check:
    """Pearson's chi-square against the weights; with fewer than 5 units expected somewhere the exact multinomial test
    (the probability of all outcomes no likelier than this one), or, if too many outcomes are possible, none.

    Weights need not sum to 1. A variant that `units` leaves out has none. To be called for the whole experiment and for
    each phase and declared segment; `several` shares an alpha among these.

    Raises ValueError for an unknown variant, or counts or weights below 0.
    """
    counts, shares = _validated(units, weights)
    total = sum(counts.values())
    expected = {variant: total * share for variant, share in shares.items()}
    chi_square, exact = "chi-square against the weights", "exact multinomial against the weights"
    if len(shares) < 2:
        why = f"{len(shares)} of the variants have a weight above 0, at least two are needed"
        return Check(units=counts, expected=expected, alpha=alpha, method=chi_square, why_not=why)
    if not total:
        why = "not enough data: nobody entered"
        return Check(units=counts, expected=expected, alpha=alpha, method=chi_square, why_not=why)
    fewest = min(expected, key=lambda variant: expected[variant])
    if expected[fewest] >= EXPECTED_AT_LEAST:
        untested = Check(units=counts, expected=expected, alpha=alpha, method=chi_square)
        p_value = float(chdtrc(len(shares) - 1, untested.statistic))
        return Check(units=counts, expected=expected, alpha=alpha, method=chi_square, p_value=p_value)
    if comb(total + len(shares) - 1, len(shares) - 1) <= MOST_OUTCOMES:
        p_value = _exact(list(counts.values()), list(shares.values()))
        return Check(units=counts, expected=expected, alpha=alpha, method=exact, p_value=p_value)
    why = f"not enough data: {expected[fewest]:.2g} units are expected in {fewest}, at least 5 are needed"
    return Check(units=counts, expected=expected, alpha=alpha, method=chi_square, why_not=why)


def several(
    parts: Mapping[str, Mapping[str, int]], weights: Mapping[str, Mapping[str, float]], alpha: float = 0.001
) -> Mapping[str, Check]:
    """A check of each part (phases, or the values of a segment) against its own weights, all together wrong with a
    probability of at most `alpha` (Bonferroni over the parts in which somebody is)."""
    among = max(1, sum(1 for units in parts.values() if any(units.values())))
    return {name: check(units, weights[name], alpha / among) for name, units in parts.items()}


def sequential(stream: Sequence[Entries], alpha: float = 0.001) -> Sequential:
    """The test that may be read after every day (Lindon and Malek 2022, "Anytime-valid inference for multinomial count
    data"): 1 over the largest Bayes factor so far of Dirichlet mixtures, centred at the weights, against the weights.
    The factor is the mean of two: a wide mixture sees large mismatches among few units, a narrow one small among many.

    Under the planned shares the factor is a martingale that starts at 1, so that it ever exceeds 1 / alpha with a
    probability of at most alpha (Ville 1939). Weights that change mid-flight begin a mixture of their own, and the
    factors multiply: a product of martingales of units that are drawn independently. Any number of units will do.

    Raises ValueError as `check` does.
    """
    seen: dict[tuple[tuple[str, float], ...], dict[str, int]] = {}
    factors: dict[tuple[tuple[str, float], ...], float] = {}
    p_values: list[float] = []
    smallest = 1.0
    for entries in stream:
        counts, shares = _validated(entries.units, entries.weights)
        phase = tuple(sorted(shares.items()))
        before = seen.get(phase, {})
        seen[phase] = {variant: count + before.get(variant, 0) for variant, count in counts.items()}
        factors[phase] = _log_bayes_factor(seen[phase], shares)
        smallest = min(smallest, exp(-max(0.0, sum(factors.values()))))
        p_values.append(smallest)
    return Sequential(tuple(p_values), alpha, "Dirichlet mixture against the weights, valid at any time")


def _validated(units: Mapping[str, int], weights: Mapping[str, float]) -> tuple[dict[str, int], dict[str, float]]:
    """Counts and shares of the variants with a weight, in the order of the weights."""
    for variant, count in units.items():
        if variant not in weights:
            raise ValueError(f"found the variant {variant!r}, expected one of {', '.join(map(repr, weights))}")
        if count < 0:
            raise ValueError(f"found {count} units in {variant!r}, expected 0 or more")
    for variant, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"found a weight of {weight} for {variant!r}, expected 0 or more")
    total = sum(weights.values())
    shares = {variant: weight / total for variant, weight in weights.items() if weight}
    return {variant: units.get(variant, 0) for variant in shares}, shares


def _log_bayes_factor(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    share = np.array(list(shares.values()))
    count = np.array([counts[variant] for variant in shares], dtype=np.float64)
    null, total = float(np.sum(count * np.log(share))), float(np.sum(count))
    logs = [
        _log_gamma(worth) - _log_gamma(worth + total) + _sum_of_rises(worth * share, count) - null
        for worth in CONCENTRATIONS
    ]
    largest = max(logs)
    return largest + log(sum(exp(each - largest) for each in logs) / len(logs))


def _sum_of_rises(prior: Floats, count: Floats) -> float:
    return float(np.sum(_log_gammas(prior + count) - _log_gammas(prior)))


def _exact(counts: Sequence[int], shares: Sequence[float]) -> float:
    outcomes = _outcomes(sum(counts), shares)
    factorials = _log_gammas(np.array(counts) + 1.0)
    observed = _log_gamma(sum(counts) + 1.0) - float(np.sum(factorials - np.array(counts) * np.log(shares)))
    # Equally likely outcomes differ by rounding alone.
    return min(1.0, float(np.sum(np.exp(outcomes[outcomes <= observed + 1e-7]))))


def _outcomes(total: int, shares: Sequence[float]) -> Floats:
    """The log-probability of each way to share out so many units: all beginnings first, then all that may follow."""
    left, logs = np.array([total]), np.array([_log_gamma(total + 1.0)])
    for share in shares[:-1]:
        ways = left + 1
        of = np.repeat(np.arange(len(left)), ways)
        taken = np.arange(len(of)) - np.repeat(np.cumsum(ways) - ways, ways)
        logs = logs[of] + taken * np.log(share) - _log_gammas(taken + 1.0)
        left = left[of] - taken
    return logs + left * np.log(shares[-1]) - _log_gammas(left + 1.0)


def _log_gamma(value: float) -> float:
    return float(_log_gammas(np.array([value]))[0])


def _log_gammas(values: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(gammaln(values), dtype=np.float64)
