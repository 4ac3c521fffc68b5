"""Cases of rates: binomial counts, in one phase and in several, many and few."""

from collections.abc import Sequence

import numpy as np

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import dose, proportions
from experiments.moments import Counts
from tests.calibration.claims import AT_LEAST, EXACT, MARGINAL, Case, Claim, Tally
from tests.calibration.counting import is_torn, of_each, tally

LEVEL = Level()
SCORE = "Rates, Miettinen-Nurminen"
PHASES = "Rates over phases, Miettinen-Nurminen with Mantel-Haenszel weights"
TINY = "Rates of tiny counts, exact"
ALONE = "The rate of one arm, Wilson"
ALONE_TINY = "The rate of one arm of tiny counts, Clopper-Pearson"
SHARED = "Rates of several variants at once"


def cases() -> list[Case]:
    score = [
        (100, 100, 0.10, 0.10),
        (500, 500, 0.04, 0.06),
        (1_000, 1_000, 0.5, 0.55),
        (1_000, 1_000, 0.9, 0.88),
        (20_000, 20_000, 0.002, 0.003),
        (100_000, 100_000, 0.03, 0.031),
        (2_000, 200, 0.30, 0.25),
        (9_000, 1_000, 0.05, 0.05),
        (1_000, 9_000, 0.05, 0.04),
        (50_000, 1_000, 0.10, 0.12),
    ]
    tiny = [(30, 30, 0.10, 0.10), (15, 15, 0.5, 0.8), (60, 20, 0.05, 0.10), (1_000, 1_000, 0.002, 0.004)]
    phases = [
        ((900, 100, 0.10, 0.12), (500, 500, 0.20, 0.22)),
        ((2_000, 2_000, 0.01, 0.015), (2_000, 2_000, 0.02, 0.025), (1_000, 1_000, 0.03, 0.035)),
        ((5_000, 500, 0.05, 0.05), (300, 3_000, 0.08, 0.08)),
    ]
    return [
        *(_case(SCORE, MARGINAL, (each,)) for each in score),
        *(_case(PHASES, MARGINAL, each) for each in phases),
        *(_case(TINY, EXACT, (each,)) for each in tiny),
        *(_alone(ALONE, MARGINAL, *each) for each in ((500, 0.10), (2_000, 0.05), (100_000, 0.002))),
        *(_alone(ALONE_TINY, EXACT, *each) for each in ((50, 0.05), (2_000, 0.001))),
        _simultaneous(2_000, 0.10, (0.10, 0.12)),
        _simultaneous(5_000, 0.02, (0.02, 0.02, 0.03)),
        _doses(2_000, 0.10, (0.11, 0.12, 0.14)),
        _doses(10_000, 0.02, (0.02, 0.02)),
    ]


def _case(family: str, claim: Claim, strata: Sequence[tuple[int, int, float, float]]) -> Case:
    name = "; ".join(f"{n0:,} and {n1:,} units, {p0:.2g} and {p1:.2g}" for n0, n1, p0, p1 in strata)
    weights = [n0 * n1 / (n0 + n1) for n0, n1, _, _ in strata]
    truth = sum(w * (p1 - p0) for w, (_, _, p0, p1) in zip(weights, strata, strict=True)) / sum(weights)

    def estimate(*found: int) -> Estimate:
        pairs = zip(found[::2], found[1::2], strict=True)
        phases = [
            Stratum(Counts(x0, n0), Counts(x1, n1)) for (x0, x1), (n0, n1, _, _) in zip(pairs, strata, strict=True)
        ]
        return proportions.difference(phases, LEVEL)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        draws = [random.binomial(n, p, simulations) for n0, n1, p0, p1 in strata for n, p in ((n0, p0), (n1, p1))]
        return tally(of_each(np.stack(draws, axis=1), estimate), truth)

    return Case(family, name, claim, run)


def _alone(family: str, claim: Claim, units: int, rate: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        drawn = random.binomial(units, rate, (simulations, 1))
        return tally(of_each(drawn, lambda x: proportions.interval(Counts(x, units), LEVEL)), rate)

    return Case(family, f"{units:,} units, {rate:.2g}", claim, run)


def _simultaneous(units: int, rate: float, rates: Sequence[float]) -> Case:
    """All of several variants against one control, each at its share of alpha: wrong where any is."""
    level = Level(0.05, len(rates))

    def run(random: np.random.Generator, simulations: int) -> Tally:
        control = random.binomial(units, rate, simulations)
        wrong, torn = np.zeros(simulations, dtype=np.bool_), 0
        for each in rates:
            treated = random.binomial(units, each, simulations)
            found = of_each(
                np.stack((control, treated), axis=1),
                lambda x0, x1: proportions.difference([Stratum(Counts(x0, units), Counts(x1, units))], level),
            )
            wrong |= np.array([one.excludes(each - rate) for one in found])
            torn += sum(map(is_torn, found))
        return Tally(simulations, simulations, 0, 0, torn, wrong=int(wrong.sum()))

    name = f"{units:,} units each, {rate:.2g} against {_list(rates)}, Bonferroni"
    return Case(SHARED, name, AT_LEAST, run)


def _doses(units: int, rate: float, rates: Sequence[float]) -> Case:
    """The dose table, and with it the interval of whichever dose looks best: wrong where any is."""

    def table(*found: int) -> Tally:
        control, *tested = (Counts(each, units) for each in found)
        arms = [
            dose.Arm(str(number), number, each, strata=[Stratum(control, each)])
            for number, each in enumerate(tested, 1)
        ]
        made = dose.table(dose.Arm("control", 0, control), arms, dose.RATES, LEVEL)
        effects = [made.row(str(number)).effect for number in range(1, len(rates) + 1)]
        known = [(each, p - rate) for each, p in zip(effects, rates, strict=True) if each is not None]
        return Tally(
            1,
            int(len(known) == len(rates)),
            0,
            0,
            sum(is_torn(each) for each, _ in known),
            wrong=int(any(each.excludes(truth) for each, truth in known)),
        )

    def run(random: np.random.Generator, simulations: int) -> Tally:
        draws = np.stack([random.binomial(units, p, simulations) for p in (rate, *rates)], axis=1)
        made = [table(*map(int, each)) for each in draws]
        return Tally(
            simulations,
            sum(each.known for each in made),
            0,
            0,
            sum(each.torn for each in made),
            wrong=sum(each.missed for each in made),
        )

    return Case(SHARED, f"{units:,} units each, {rate:.2g} against {_list(rates)}, dose table", AT_LEAST, run)


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{each:.2g}" for each in rates)
