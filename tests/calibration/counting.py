"""Counting where truths lie, and drawing the sums that estimators see."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from experiments.estimates import Estimate
from experiments.moments import Moments
from tests.calibration.claims import Tally

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def tally(estimates: Iterable[Estimate], truth: float) -> Tally:
    simulations = known = below = above = torn = 0
    for each in estimates:
        simulations += 1
        if each.low is None or each.high is None:
            continue
        known += 1
        below += truth < each.low
        above += truth > each.high
        torn += is_torn(each)
    return Tally(simulations, known, below, above, torn)


def is_torn(estimate: Estimate) -> bool:
    """Whether the p-value says other than the interval of 0."""
    return estimate.p_value is not None and (estimate.p_value < estimate.level.alpha) != estimate.excludes(0)


def of_each(rows: Ints, estimate: Callable[..., Estimate]) -> list[Estimate]:
    """The estimate of each row of counts, made once for rows that are equal."""
    distinct, where = np.unique(rows, axis=0, return_inverse=True)
    made = [estimate(*map(int, each)) for each in distinct]
    return [made[index] for index in where.ravel()]


def moments_of(rows: Floats) -> list[Moments]:
    """Of each row of numbers."""
    mean = rows.mean(axis=1)
    off = rows - mean[:, np.newaxis]
    squares = off * off
    m2, m3 = squares.sum(axis=1), np.einsum("ij,ij->i", squares, off)
    nonzero = np.count_nonzero(rows, axis=1)
    return [Moments(rows.shape[1], *each) for each in zip(*map(_list, (mean, m2, m3, nonzero)), strict=True)]


def power_sums(buyers: Ints, amounts: Callable[[int], Floats]) -> Floats:
    """The sums of the first three powers of so many amounts each; in the last axis."""
    flat = buyers.ravel()
    ends = np.cumsum(flat)
    found = np.empty((len(flat), 3))
    values = amounts(int(ends[-1]))
    for power in (1, 2, 3):
        running = np.concatenate(([0.0], np.cumsum(values**power)))
        found[:, power - 1] = running[ends] - running[ends - flat]
    return found.reshape(*buyers.shape, 3)


def central(sums: Floats, units: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Mean and central sums of the 2nd and 3rd powers, from sums of powers of numbers of which the rest is 0."""
    s1, s2, s3 = sums[..., 0], sums[..., 1], sums[..., 2]
    mean = s1 / units
    m2 = s2 - units * mean**2
    return mean, np.maximum(m2, 0.0), s3 - 3 * mean * s2 + 2 * units * mean**3


def moments_of_buyers(
    random: np.random.Generator, simulations: int, units: int, share: float, amounts: Callable[[int], Floats]
) -> list[Moments]:
    """Of units of which a share buys for these amounts, and the others for nothing."""
    buyers = random.binomial(units, share, simulations)
    mean, m2, m3 = central(power_sums(buyers, amounts), units)
    return [Moments(units, *each) for each in zip(*map(_list, (mean, m2, m3, buyers)), strict=True)]


def log_normal(random: np.random.Generator, sigma: float, scale: float = 1.0) -> Callable[[int], Floats]:
    return lambda count: scale * np.exp(sigma * random.standard_normal(count))


def _list(column: NDArray[np.generic]) -> list[float]:
    return column.tolist()
