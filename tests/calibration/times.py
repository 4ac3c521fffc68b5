"""Cases of times to events: risk tables of customers who enter over weeks, leave by two ways, and are censored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import competing, survival
from experiments.estimators.curves import Curve
from experiments.risk import RiskTable
from tests.calibration.claims import MARGINAL, Case, Tally
from tests.calibration.counting import Floats, tally

LEVEL = Level()
DAYS = 28
INCIDENCE = "Cumulative incidence at the horizon, Aalen-Johansen"
CURVES = "Curves at their last day, pointwise"
MEAN_TIMES = "Restricted mean times, Kaplan-Meier"


@dataclass(frozen=True, slots=True)
class Arm:
    """`event` and `leave` are the chances of either on the first day, fading by half every 20 days; of the units a
    share `censored` is watched for fewer days than the horizon, any number equally likely."""

    units: int
    event: float
    leave: float
    censored: float

    def hazards(self) -> tuple[Floats, Floats]:
        fading = 0.5 ** (np.arange(DAYS) / 20)
        return self.event * fading, self.leave * fading

    def censoring(self) -> Floats:
        """The chance, at the end of k days, that a unit still there is watched no longer; k from 1 to the horizon."""
        left = 1 - self.censored * np.arange(DAYS) / (DAYS - 1)
        return np.append(1 - left[1:] / left[:-1], 1.0)

    def tables(self, random: np.random.Generator, simulations: int) -> list[RiskTable]:
        """Day by day, all simulations at once: what happens to those at risk is multinomial."""
        at_risk = np.full(simulations, self.units)
        found = np.zeros((3, DAYS + 1, simulations), dtype=np.int64)
        for day, (event, leave, censor) in enumerate(zip(*self.hazards(), self.censoring(), strict=True)):
            found[0, day] = random.binomial(at_risk, event)
            found[1, day] = random.binomial(at_risk - found[0, day], leave / (1 - event))
            at_risk = at_risk - found[0, day] - found[1, day]
            found[2, day + 1] = random.binomial(at_risk, censor)
            at_risk = at_risk - found[2, day + 1]
        days = range(DAYS + 1)
        return [
            RiskTable(*(dict(zip(days, kind, strict=True)) for kind in each))
            for each in found.transpose(2, 0, 1).tolist()
        ]

    def incidence(self) -> float:
        event, leave = self.hazards()
        before = np.concatenate(([1.0], np.cumprod(1 - event - leave)[:-1]))
        return float((before * event).sum())

    def share_ended(self, family: str) -> float:
        """By the event; for mean times by either."""
        return self.incidence() if family == INCIDENCE else 1 - self.staying()

    def staying(self) -> float:
        event, leave = self.hazards()
        return float(np.prod(1 - event - leave))

    def mean_days(self) -> float:
        event, leave = self.hazards()
        return float(np.concatenate(([1.0], np.cumprod(1 - event - leave)[:-1])).sum())


_COMMON = [
    ("half censored", Arm(2_000, 0.002, 0.002, 0.5), Arm(2_000, 0.003, 0.002, 0.5)),
    ("half censored, many leave", Arm(500, 0.02, 0.03, 0.5), Arm(500, 0.02, 0.03, 0.5)),
    ("nine tenths censored", Arm(5_000, 0.003, 0.001, 0.9), Arm(5_000, 0.003, 0.001, 0.9)),
]
_OF_INCIDENCE = [  # from 10 events in an arm
    ("nobody censored", Arm(1_000, 0.001, 0.001, 0.0), Arm(1_000, 0.0015, 0.001, 0.0)),
    ("half censored, few events", Arm(2_000, 0.0005, 0.001, 0.5), Arm(2_000, 0.0005, 0.001, 0.5)),
    ("a third censored, 9 to 1", Arm(9_000, 0.001, 0.001, 0.33), Arm(1_000, 0.001, 0.001, 0.33)),
]
_OF_MEAN_TIMES = [  # from 20 of either kind: both end staying
    ("nobody censored", Arm(1_000, 0.001, 0.001, 0.0), Arm(1_000, 0.0015, 0.001, 0.0)),
    ("half censored, few events", Arm(2_000, 0.0005, 0.0005, 0.5), Arm(2_000, 0.0005, 0.0005, 0.5)),
    ("a third censored, 9 to 1", Arm(9_000, 0.001, 0.001, 0.33), Arm(1_000, 0.001, 0.001, 0.33)),
]


def cases() -> list[Case]:
    of_times = survival.restricted_mean_difference
    return [
        *(_case(INCIDENCE, *each, competing.difference, Arm.incidence) for each in (*_COMMON, *_OF_INCIDENCE)),
        *(_case(MEAN_TIMES, *each, of_times, Arm.mean_days) for each in (*_COMMON, *_OF_MEAN_TIMES)),
        *(_curve(words, arm, competing.curve, Arm.incidence) for words, arm, _ in (*_COMMON, *_OF_INCIDENCE)),
        *(_curve(words, arm, survival.curve, Arm.staying) for words, arm, _ in _COMMON),
    ]


def _case(
    family: str,
    words: str,
    control: Arm,
    treatment: Arm,
    estimate: Callable[[list[Stratum[RiskTable]], int, Level], Estimate],
    of: Callable[[Arm], float],
) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        pairs = zip(control.tables(random, simulations), treatment.tables(random, simulations), strict=True)
        return tally((estimate([Stratum(*each)], DAYS, LEVEL) for each in pairs), of(treatment) - of(control))

    ends = " and ".join(f"{each.units * each.share_ended(family):,.0f}" for each in (control, treatment))
    units = f"{control.units:,} and {treatment.units:,} units"
    return Case(family, f"{words}; {units}, {ends} events if all were watched", MARGINAL, run)


def _curve(words: str, arm: Arm, curve: Callable[[RiskTable, int], Curve], of: Callable[[Arm], float]) -> Case:
    """The last point of a curve."""

    def run(random: np.random.Generator, simulations: int) -> Tally:
        truth, below, above = of(arm), 0, 0
        for table in arm.tables(random, simulations):
            found = curve(table, DAYS)
            below += truth < found.low[DAYS]
            above += truth > found.high[DAYS]
        return Tally(simulations, simulations, below, above)

    what = "incidence" if of is Arm.incidence else "staying"
    return Case(CURVES, f"{what}; {words}; {arm.units:,} units", MARGINAL, run)
