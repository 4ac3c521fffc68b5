"""What an estimator claims, and whether counts of simulations exclude it: binomial bounds, no estimator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

import numpy as np
from scipy import stats

FAMILY_WISE = 1e-4
"""The probability with which any check of a whole run fails although all claims are true."""


class Verdict(StrEnum):
    """HOLDS: the share found lies within the claim. WITHIN_CHANCE: outside, by no more than chance explains."""

    HOLDS = "yes"
    WITHIN_CHANCE = "within chance"
    FAILS = "NO"


@dataclass(frozen=True, slots=True)
class Claim:
    """The shares of simulations that an estimator says it covers, and misses on either side; and how many times as wide
    as the fixed interval it is at most, on average, at the planned end. `of_alarms`: a miss is an alarm."""

    words: str
    covered: tuple[float, float]
    missed_each_side: tuple[float, float]
    widest: float = inf
    of_alarms: bool = False


MARGINAL = Claim("covers 94.5 to 95.5 %, each bound wrong in 2 to 3 %", (0.945, 0.955), (0.02, 0.03))
SKEWED = Claim("covers 93 to 97.5 %, each bound wrong in at most 4 %", (0.93, 0.975), (0.0, 0.04))
AT_LEAST = Claim("covers at least 94.5 %", (0.945, 1.0), (0.0, 1.0))
EXACT = Claim("covers at least 95 %, each bound wrong in at most 2.5 %", (0.95, 1.0), (0.0, 0.025))
EVER = Claim(
    "ever wrong in at most 5 %, each bound in at most 2.5 %, at most 1.6 times as wide", (0.95, 1.0), (0.0, 0.025), 1.6
)
EVER_AT_ANY_COUNTS = replace(
    EVER, words="ever wrong in at most 5 %, each bound in at most 2.5 %; of its width nothing is claimed", widest=inf
)
EVER_WIDER = replace(
    EVER, words="ever wrong in at most 5 %, each bound in at most 2.5 %, at most 1.75 times as wide", widest=1.75
)


def alarms(alpha: float, *, at_most: bool = False) -> Claim:
    """Alarms without a cause: an alarm is a miss, and has one side."""
    least = 0.0 if at_most else 0.9 * alpha
    words = f"at most {alpha:.1%}" if at_most else f"{alpha:.1%}, give or take a tenth"
    most = alpha if at_most else 1.1 * alpha
    return Claim(words, (1 - most, 1 - least), (0.0, 1.0), of_alarms=True)


@dataclass(frozen=True, slots=True)
class Tally:
    """Of `known` simulations with an answer (of `simulations`), in how many the truth lay below or above the interval.

    `torn`: how often p-value and interval disagreed about 0, which must never be. `width`: how many times as wide as
    the fixed interval on the same numbers, on average; None where that is not the question.
    """

    simulations: int
    known: int
    below: int
    above: int
    torn: int = 0
    width: float | None = None
    wrong: int | None = None
    """Where both sides may be missed in one simulation: in how many any was."""

    @property
    def missed(self) -> int:
        return self.below + self.above if self.wrong is None else self.wrong

    @property
    def coverage(self) -> float:
        return 1 - self.missed / self.known


@dataclass(frozen=True, slots=True)
class Case:
    """One situation in which an estimator is tried. `run` gets its own generator, the same in every run."""

    family: str
    name: str
    claim: Claim
    run: Callable[[np.random.Generator, int], Tally]


@dataclass(frozen=True, slots=True)
class Finding:
    """A case and what came of it; `band` is the coverage that would not fail it."""

    case: Case
    tally: Tally
    band: tuple[float, float]
    verdict: Verdict


CHECKS_A_CASE = 3


def judge(case: Case, tally: Tally, cases: int) -> Finding:
    """Coverage and either side against the claim, at a family-wise `FAMILY_WISE` over so many cases."""
    each = FAMILY_WISE / (cases * CHECKS_A_CASE)
    n = tally.known
    if not n:
        return Finding(case, tally, (0.0, 1.0), Verdict.FAILS)
    band = _band(n, case.claim.covered, each)
    sides = _band(n, case.claim.missed_each_side, each)
    shares = (tally.coverage, tally.below / n, tally.above / n)
    bands = (band, sides, sides)
    claims = (case.claim.covered, case.claim.missed_each_side, case.claim.missed_each_side)
    is_too_wide = tally.width is not None and tally.width > case.claim.widest
    if is_too_wide or tally.torn or not all(map(_is_within, shares, bands)):
        verdict = Verdict.FAILS
    elif all(map(_is_within, shares, claims)):
        verdict = Verdict.HOLDS
    else:
        verdict = Verdict.WITHIN_CHANCE
    return Finding(case, tally, band, verdict)


def examine(cases: Sequence[Case], simulations: int, seed: int) -> list[Finding]:
    return [judge(each, each.run(generator(each, seed), simulations), len(cases)) for each in cases]


def generator(case: Case, seed: int) -> np.random.Generator:
    """Its own for each case, by name: a new case changes no other's numbers."""
    return np.random.default_rng([seed, *f"{case.family}/{case.name}".encode()])


def _band(n: int, claimed: tuple[float, float], each: float) -> tuple[float, float]:
    """The shares of n that exclude no value of the claim, each end failing with half of `each`."""
    low, high = claimed
    least = stats.binom.ppf(each / 2, n, low) / n if low > 0 else 0.0
    most = stats.binom.isf(each / 2, n, high) / n if high < 1 else 1.0
    return float(least), float(most)


def _is_within(share: float, band: tuple[float, float]) -> bool:
    return band[0] - 1e-12 <= share <= band[1] + 1e-12
