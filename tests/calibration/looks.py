"""Cases of anytime intervals: 100 looks at each of many experiments, and whether any of them was wrong.

Where a look is far from the boundary nothing is asked; the others are put to the estimator, the farthest first, until
one is wrong. A share of all looks is put to it as well, so that a boundary of its own could not go unnoticed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, isclose

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  (no stubs)

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import anytime, means, mixtures, proportions, ratios
from experiments.moments import Counts, Moments, PairMoments
from tests.calibration.claims import EVER, EVER_WIDER, Case, Claim, Tally
from tests.calibration.counting import Floats, Ints, central, is_torn, log_normal, power_sums

LEVEL = Level()
LOOKS = 100
ENOUGH = "Anytime, to the planned end"
BEYOND = "Anytime, on to ten times the planned end"
UNLIKE = "Anytime, over phases of which one tells far more a unit than the other"
_NEAR = 0.9  # of the boundary: from there on the estimator is asked
_ASKED_ANYWAY = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """Sums at every look of every simulation: `z` off the truth in standard errors, `line` the boundary expected.

    `at` gives the strata of one look of one simulation; `anytime` and `fixed` are what a readout would call.
    """

    z: Floats
    line: Floats
    at: Callable[[int, int], Sequence[Stratum]]
    anytime: Callable[[Sequence[Stratum], Level, int], Estimate]
    fixed: Callable[[Sequence[Stratum], Level], Estimate]
    planned: int
    planned_look: int
    truth: float
    unlikely: NDArray[np.bool_] | None = None
    """Of rates: where any phase is so unlikely under no effect that the sequence that stands in might be wrong."""


def watched(seen: Seen, random: np.random.Generator) -> Tally:
    """Wrong ever: above, below, either; and the width at the planned end."""

    def asked(simulation: int, look: int) -> Estimate:
        return seen.anytime(seen.at(simulation, look), LEVEL, seen.planned)

    simulations = len(seen.z)
    torn = 0
    missed = np.zeros((2, simulations), dtype=np.bool_)
    unlikely = np.zeros(seen.z.shape, dtype=np.bool_) if seen.unlikely is None else seen.unlikely
    for side, far in enumerate((-seen.z / seen.line, seen.z / seen.line)):
        near = (far > _NEAR) | (unlikely & (far > 0))
        for simulation in np.flatnonzero(near.any(axis=1)):
            for look in np.argsort(-far[simulation]):
                if not near[simulation, look]:
                    continue
                found = asked(int(simulation), int(look))
                torn += is_torn(found)
                if found.excludes(seen.truth):
                    missed[side, simulation] = True
                    break
    for simulation, look in random.integers(0, (simulations, seen.z.shape[1]), (_ASKED_ANYWAY, 2)):
        found = asked(int(simulation), int(look))
        if found.effect is not None and found.high is not None:
            z = (found.effect - seen.truth) / (found.high - found.effect)
            expected = seen.z[simulation, look] / seen.line[simulation, look]
            if found.method == mixtures.METHOD:
                assert unlikely[simulation, look] or abs(expected) > _NEAR or not found.excludes(seen.truth)
            else:
                assert isclose(z, expected, rel_tol=1e-6, abs_tol=1e-9)
    below, above = missed.sum(axis=1)
    return Tally(
        simulations, simulations, int(below), int(above), torn, _width(seen, asked), int(missed.any(axis=0).sum())
    )


def _width(seen: Seen, asked: Callable[[int, int], Estimate]) -> float | None:
    """At the planned end, over that of the fixed method there; where both know, and the asymptotic sequence holds."""
    ratios_found: list[float] = []
    for simulation in range(min(_ASKED_ANYWAY, len(seen.z))):
        one = asked(simulation, seen.planned_look)
        if one.method == mixtures.METHOD:
            continue
        other = seen.fixed(seen.at(simulation, seen.planned_look), LEVEL)
        if one.low is not None and one.high is not None and other.low is not None and other.high is not None:
            ratios_found.append((one.high - one.low) / (other.high - other.low))
    return float(np.mean(ratios_found)) if ratios_found else None


def cases() -> list[Case]:
    even, uneven = 0.5, 0.1
    return [
        *(_rates(ENOUGH, *each) for each in ((20_000, even, 0.1), (20_000, uneven, 0.1), (400_000, even, 0.002))),
        *(_rates(ENOUGH, *each) for each in ((40_000, uneven, 0.01), (1_000, even, 0.5), (4_000, even, 0.005))),
        _rates(BEYOND, 20_000, even, 0.1),
        _rates(BEYOND, 20_000, uneven, 0.02),
        *(_spend(ENOUGH, *each) for each in ((40_000, even, 0.05, 1.0), (100_000, uneven, 0.05, 1.0))),
        *(_spend(ENOUGH, *each) for each in ((10_000, even, 0.05, 1.0), (100_000, even, 0.02, 1.5))),
        _spend(BEYOND, 10_000, even, 0.10, 1.0),
        _normal(ENOUGH, 500),
        _normal(BEYOND, 500),
        _clicks(ENOUGH, 10_000, even),
        _clicks(ENOUGH, 20_000, uneven),
        _clicks_of_phases(),
        _phases("from 10 to 50 % treated at a quarter", (0.1, 0.5), 0.1, 0.1),
        _phases("rates triple at a quarter", (0.5, 0.5), 0.05, 0.15),
        _phases("from 90 to 50 % treated at a quarter", (0.9, 0.5), 0.04, 0.04),
        _phases("from 2 to 50 % treated at a quarter, rates double", (0.02, 0.5), 0.1, 0.2, EVER_WIDER),
    ]


def _sizes(family: str, planned: int, share: float) -> Ints:
    """Units at each look, control and treatment: evenly spaced to the planned end, or by factors far beyond it."""
    if family == ENOUGH:
        total = np.linspace(planned / LOOKS, planned, LOOKS)
    else:
        total = np.geomspace(planned / LOOKS, 10 * planned, LOOKS)
    return np.rint(np.stack((total * (1 - share), total * share), axis=1)).astype(np.int64)


def _look_at_end(sizes: Ints, planned: int) -> int:
    return int(np.argmin(np.abs(sizes.sum(axis=1) - planned)))


def _lines(sizes: Ints, planned: int) -> Floats:
    return np.array([anytime.boundary(float(each) / planned, 0.05) for each in sizes.sum(axis=1)])


def _steps(sizes: Ints) -> Ints:
    """How many are new at each look: never fewer than none."""
    steps = np.diff(sizes, axis=0, prepend=0)
    assert steps.min() >= 0
    return steps


def _words(family: str, planned: int, share: float) -> str:
    arms = "equal arms" if share == 0.5 else f"{1 - share:.0%} and {share:.0%}"
    return f"{planned:,} units planned, {arms}"


def _rates(family: str, planned: int, share: float, rate: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        sizes = _sizes(family, planned, share)
        found = np.cumsum(random.binomial(_steps(sizes), rate, (simulations, LOOKS, 2)), axis=1)
        p = found / sizes
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.nan_to_num((p[..., 1] - p[..., 0]) / np.sqrt((p * (1 - p) / (sizes - 1)).sum(axis=2)))
        return watched(
            Seen(
                z,
                np.broadcast_to(_lines(sizes, planned), z.shape),
                lambda i, look: [
                    Stratum(*(Counts(int(x), int(n)) for x, n in zip(found[i, look], sizes[look], strict=True)))
                ],
                anytime.rate_difference,
                proportions.difference,
                planned,
                _look_at_end(sizes, planned),
                0.0,
                _unlikely(found, sizes),
            ),
            random,
        )

    return Case(family, f"rate {rate:g}, {_words(family, planned, share)}", EVER, run)


def _means_seen(sums: Floats, nonzero: Ints, sizes: Ints, planned: int) -> Seen:
    """`sums` of the first three powers, and how many are not 0, by simulation, look and arm."""
    mean, m2, m3 = central(sums, sizes.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num((mean[..., 1] - mean[..., 0]) / np.sqrt((m2 / (sizes - 1) / sizes).sum(axis=2)))

    def arm(i: int, look: int, which: int) -> Moments:
        at = i, look, which
        return Moments(int(sizes[look, which]), float(mean[at]), float(m2[at]), float(m3[at]), int(nonzero[at]))

    return Seen(
        z,
        np.broadcast_to(_lines(sizes, planned), z.shape),
        lambda i, look: [Stratum(arm(i, look, 0), arm(i, look, 1))],
        anytime.difference,
        means.difference,
        planned,
        _look_at_end(sizes, planned),
        0.0,
    )


def _spend(family: str, planned: int, share: float, buying: float, sigma: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        sizes = _sizes(family, planned, share)
        buyers = random.binomial(_steps(sizes), buying, (simulations, LOOKS, 2))
        ends = np.cumsum(_portions(simulations, int(buying * sizes[-1].sum())))
        sums = [power_sums(some, log_normal(random, sigma)) for some in np.split(buyers, ends[:-1])]
        seen = _means_seen(np.cumsum(np.concatenate(sums), axis=1), np.cumsum(buyers, axis=1), sizes, planned)
        return watched(seen, random)

    name = f"{buying:.0%} spend, log-normal with sigma {sigma:g}, {_words(family, planned, share)}"
    return Case(family, name, EVER, run)


def _normal(family: str, planned: int) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        sizes = _sizes(family, planned, 0.5)
        steps, portions = _steps(sizes), []
        for some in _portions(simulations, int(sizes[-1].sum())):
            ends = np.cumsum(steps.ravel())
            values = random.normal(1.0, 1.0, (some, int(ends[-1])))
            begins = np.minimum(ends - steps.ravel(), ends[-1] - 1)
            powers = [np.add.reduceat(values**power, begins, axis=1) for power in (1, 2, 3)]
            powers = [np.where(steps.ravel() > 0, each, 0.0) for each in powers]  # nobody new: reduceat gives the next
            portions.append(np.stack(powers, axis=-1).reshape(some, LOOKS, 2, 3))
        nonzero = np.broadcast_to(sizes, (simulations, LOOKS, 2))
        return watched(_means_seen(np.cumsum(np.concatenate(portions), axis=1), nonzero, sizes, planned), random)

    return Case(family, f"normal, {_words(family, planned, 0.5)}", EVER, run)


def _clicks(family: str, planned: int, share: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        sizes = _sizes(family, planned, share)
        clicked = _Clicked.drawn(random, simulations, sizes, 1.0)
        return watched(_clicks_seen([clicked], 0, planned, _look_at_end(sizes, planned)), random)

    return Case(family, f"customers who clicked a session, {_words(family, planned, share)}", EVER, run)


def _clicks_of_phases() -> Case:
    """Ten customers to begin with, then a tenth treated for a quarter, then half of them, of whom twice as many click.
    What is seen of a look is right from where the second phase has 50 units in each arm; before, nothing is known."""
    planned, shares, rates = 20_000, (0.5, 0.1, 0.5), (1.0, 1.0, 2.0)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        total = np.linspace(planned / LOOKS, planned, LOOKS)
        until = np.minimum.outer((10.0, planned / 4, float(planned)), total)
        phases = [
            _Clicked.drawn(random, simulations, np.rint(np.stack((n * (1 - s), n * s), axis=1)).astype(np.int64), rate)
            for n, s, rate in zip(np.diff(until, axis=0, prepend=0), shares, rates, strict=True)
        ]
        return watched(_clicks_seen(phases, 1, planned, LOOKS - 1), random)

    words = "of ten customers, from 10 to 50 % treated at a quarter, twice as many click"
    return Case(ENOUGH, f"customers who clicked a session, three phases, {words}, {planned:,} units planned", EVER, run)


@dataclass(frozen=True, slots=True)
class _Clicked:
    """Clicks over sessions of one phase, by simulation, look and arm. In cells of equal customers, so that sums are
    binomial: how many came k times, and how many clicks they made; the square of clicks would need the customers, so
    that a customer clicks once or never."""

    sizes: Ints
    x: Floats
    y: Floats
    m2_x: Floats
    m2_y: Floats
    c_xy: Floats

    @classmethod
    def drawn(cls, random: np.random.Generator, simulations: int, sizes: Ints, rate: float) -> "_Clicked":
        sessions = np.arange(1, 9)
        chance = exp(-2.0) * 2.0 ** np.arange(8) / np.cumprod(np.maximum(np.arange(8), 1))
        came = np.cumsum(_multinomial(random, _steps(sizes), chance / chance.sum(), simulations), axis=1)
        new = np.diff(came, axis=1, prepend=0)
        clicked = np.cumsum(random.binomial(new, rate * 0.3 / sessions**0.5), axis=1)
        n = np.maximum(sizes, 1).astype(np.float64)
        x, y = clicked.sum(axis=3) / n, (came * sessions).sum(axis=3) / n
        m2_y, c_xy = (came * sessions**2).sum(axis=3) - n * y * y, (clicked * sessions).sum(axis=3) - n * x * y
        return cls(sizes, x, y, n * x * (1 - x), m2_y, c_xy)

    def arm(self, simulation: int, look: int, which: int) -> PairMoments:
        columns = (self.x, self.y, self.m2_x, self.m2_y, self.c_xy)
        n = int(self.sizes[look, which])
        return PairMoments(n, *(float(each[simulation, look, which]) for each in columns)) if n else PairMoments()

    def variance(self, slopes: Floats) -> Floats:
        """Of the difference of ratios, where a unit adds (x - slope * y) / mean of y."""
        squares = self.m2_x - 2 * slopes * self.c_xy + slopes**2 * self.m2_y
        return (squares / (self.sizes - 1) / self.y**2 / self.sizes).sum(axis=2)


def _clicks_seen(phases: Sequence[_Clicked], tuned: int, planned: int, planned_look: int) -> Seen:
    """The boundary is that of what was told, relative to what the phase `tuned` tells a unit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = [each.x / each.y for each in phases]
        totals = [each.sizes * each.y for each in phases]
        is_there = [each.sizes.min(axis=1) >= 2 for each in phases]
        weights = [
            np.where(there, t.prod(axis=2) / t.sum(axis=2), 0.0) for there, t in zip(is_there, totals, strict=True)
        ]
        apart = [np.where(there, each[..., 1] - each[..., 0], 0.0) for there, each in zip(is_there, ratio, strict=True)]
        weight = np.sum(weights, axis=0)
        effect = np.sum([w * d for w, d in zip(weights, apart, strict=True)], axis=0) / weight
        grown: list[Floats] = []
        for each, r, t, w, d in zip(phases, ratio, totals, weights, apart, strict=True):
            off = (d - effect)[..., np.newaxis] * np.flip(t, axis=2) / t.sum(axis=2, keepdims=True)
            grown.append(np.where(w > 0, w**2 * each.variance(r + off * np.array((1, -1))), 0.0))
        told: Floats = np.sum(grown, axis=0)
        z = np.nan_to_num(effect * weight / np.sqrt(told))
        share = told / (grown[tuned] / phases[tuned].sizes.sum(axis=1) * planned)
    share = np.where(np.isfinite(share) & (share > 0), share, 1.0)
    return Seen(
        z,
        np.vectorize(lambda each: anytime.boundary(float(each), 0.05))(share),
        lambda i, look: [Stratum(each.arm(i, look, 0), each.arm(i, look, 1)) for each in phases],
        anytime.ratio_difference,
        ratios.difference,
        planned,
        planned_look,
        0.0,
    )


def _multinomial(random: np.random.Generator, steps: Ints, chance: Floats, simulations: int) -> Ints:
    left = np.broadcast_to(steps, (simulations, *steps.shape)).copy()
    found = np.zeros((*left.shape, len(chance)), dtype=np.int64)
    remaining = 1.0
    for cell, each in enumerate(chance[:-1]):
        found[..., cell] = random.binomial(left, each / remaining)
        left -= found[..., cell]
        remaining -= each
    found[..., -1] = left
    return found


def _phases(words: str, shares: tuple[float, float], before: float, after: float, claim: Claim = EVER) -> Case:
    """Rates in two phases, the second from a quarter of the planned units on; no effect in either."""
    planned = 20_000

    def run(random: np.random.Generator, simulations: int) -> Tally:
        total = np.linspace(planned / LOOKS, planned, LOOKS)
        first = np.minimum(total, planned / 4)
        sizes: list[Ints] = []
        for units, share in zip((first, total - first), shares, strict=True):
            sizes.append(np.rint(np.stack((units * (1 - share), units * share), axis=1)).astype(np.int64))
        found = [
            np.cumsum(random.binomial(_steps(n), rate, (simulations, LOOKS, 2)), axis=1)
            for n, rate in zip(sizes, (before, after), strict=True)
        ]
        weight: list[Floats] = []
        effect: list[Floats] = []
        variance: list[Floats] = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for n, x in zip(sizes, found, strict=True):
                p = x / n
                is_there = n.min(axis=1) >= 2
                weight.append(np.where(is_there, n[:, 0] * n[:, 1] / n.sum(axis=1), 0.0))
                effect.append(np.where(is_there, p[..., 1] - p[..., 0], 0.0))
                variance.append(np.where(is_there, (p * (1 - p) / (n - 1)).sum(axis=2), 0.0))
            grown = [w**2 * v for w, v in zip(weight, variance, strict=True)]
            total_grown = grown[0] + grown[1]
            z = (weight[0] * effect[0] + weight[1] * effect[1]) / np.sqrt(total_grown)
            share = total_grown / (grown[0] / sizes[0].sum(axis=1) * planned)
        z = np.nan_to_num(z)
        share = np.where(share > 0, share, 1.0)
        line = np.vectorize(lambda each: anytime.boundary(float(each), 0.05))(share)

        def at(i: int, look: int) -> Sequence[Stratum]:
            return [
                Stratum(*(Counts(int(k), int(m)) for k, m in zip(x[i, look], n[look], strict=True)))
                for n, x in zip(sizes, found, strict=True)
            ]

        far = _unlikely(found[0], sizes[0]) | _unlikely(found[1], sizes[1])
        return watched(
            Seen(z, line, at, anytime.rate_difference, proportions.difference, planned, LOOKS - 1, 0.0, far), random
        )

    return Case(ENOUGH if claim is EVER else UNLIKE, f"two phases, {words}, {planned:,} units planned", claim, run)


def _unlikely(found: Ints, sizes: Ints) -> NDArray[np.bool_]:
    """Where both arms together are less likely under one rate than under their own by some 3,000 times. Mixtures
    leave 0 out of a phase where each arm is, under some one rate, by 160."""

    def log_likelihood(x: Ints, n: Ints) -> Floats:
        return xlogy(x, x / np.maximum(n, 1)) + xlogy(n - x, 1 - x / np.maximum(n, 1))

    return log_likelihood(found, sizes).sum(axis=2) - log_likelihood(found.sum(axis=2), sizes.sum(axis=1)) > 8


def _portions(simulations: int, numbers_each: int) -> list[int]:
    """Simulations at a time, so that no more than 20 million numbers are held."""
    some = max(1, min(simulations, 20_000_000 // max(1, numbers_each)))
    return [some] * (simulations // some) + ([simulations % some] if simulations % some else [])
