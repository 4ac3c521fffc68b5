"""Cases of anytime intervals of rates with few events: 100 looks at each of many experiments, every one of them asked.

Counts are small, so that few of the looks differ, and each that does is put to the estimator: no shortcut is taken.
"""

from collections.abc import Sequence

import numpy as np

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import anytime, proportions
from experiments.moments import Counts
from tests.calibration.claims import EVER_AT_ANY_COUNTS, Case, Tally
from tests.calibration.counting import Ints, is_torn

LEVEL = Level()
LOOKS = 100
FEW = "Anytime, rates of few events, by mixtures of each rate"
_COMPARED = 100  # simulations whose width at the end is compared

Phase = tuple[int, int, float, float]  # units of the control and of the treatment, and their rates


def cases() -> list[Case]:
    return [
        _case((20_000, 20_000, 0.0001, 0.0001)),
        _case((20_000, 20_000, 0.0001, 0.0003)),
        _case((4_500, 500, 0.002, 0.002)),
        _case((1_000, 1_000, 0.001, 0.02)),
        _case((30, 30, 0.5, 0.5)),
        _case((3_000, 3_000, 0.004, 0.004)),
        _case((450, 50, 0.004, 0.004), (1_000, 1_000, 0.001, 0.001)),
    ]


def _case(*phases: Phase) -> Case:
    """The looks are spread evenly over all units, one phase after the other."""
    truths = {round(p1 - p0, 9) for _, _, p0, p1 in phases}
    assert len(truths) == 1  # the weights of phases grow: another mean of effects would be the truth at each look
    truth, planned = truths.pop(), sum(n0 + n1 for n0, n1, _, _ in phases)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        sizes = _sizes(phases)
        rates = np.array([each for _, _, *of_arms in phases for each in of_arms])
        steps = np.diff(sizes, axis=0, prepend=0)
        counts = np.cumsum(random.binomial(steps, rates, (simulations, LOOKS, len(rates))), axis=1)
        looks = np.broadcast_to(np.arange(LOOKS)[:, np.newaxis], (simulations, LOOKS, 1))
        rows = np.concatenate((looks, counts), axis=2).reshape(simulations * LOOKS, -1)
        distinct, where = np.unique(rows, axis=0, return_inverse=True)

        def strata(row: Ints) -> list[Stratum[Counts]]:
            arms = [Counts(int(x), int(n)) for x, n in zip(row[1:], sizes[row[0]], strict=True)]
            return [Stratum(*pair) for pair in zip(arms[::2], arms[1::2], strict=True)]

        made = [anytime.rate_difference(strata(row), LEVEL, planned) for row in distinct]
        which = where.reshape(simulations, LOOKS)
        below = np.array([each.low is not None and truth < each.low for each in made])[which].any(axis=1)
        above = np.array([each.high is not None and truth > each.high for each in made])[which].any(axis=1)
        at_end = which[:_COMPARED, -1]
        return Tally(
            simulations,
            simulations,
            int(below.sum()),
            int(above.sum()),
            sum(map(is_torn, made)),
            _width([(made[each], proportions.difference(strata(distinct[each]), LEVEL)) for each in at_end]),
            int((below | above).sum()),
        )

    name = "; ".join(f"{n0:,} and {n1:,} units, {p0:.2g} and {p1:.2g}" for n0, n1, p0, p1 in phases)
    return Case(FEW, name, EVER_AT_ANY_COUNTS, run)


def _sizes(phases: Sequence[Phase]) -> Ints:
    """Units at each look, by phase and arm."""
    seen = np.linspace(1 / LOOKS, 1, LOOKS) * sum(n0 + n1 for n0, n1, _, _ in phases)
    columns: list[Ints] = []
    for n0, n1, _, _ in phases:
        share = np.clip(seen / (n0 + n1), 0, 1)
        columns += [np.rint(share * each).astype(np.int64) for each in (n0, n1)]
        seen = seen - n0 - n1
    return np.stack(columns, axis=1)


def _width(pairs: Sequence[tuple[Estimate, Estimate]]) -> float | None:
    """Over that of the fixed method, where both know."""
    found = [
        (one.high - one.low) / (other.high - other.low)
        for one, other in pairs
        if one.low is not None and one.high is not None and other.low is not None and other.high is not None
    ]
    return float(np.mean(found)) if found else None
