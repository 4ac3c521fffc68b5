"""Cases of sample ratio mismatch: customers assigned as planned, and how often the check alarms."""

from collections.abc import Sequence

import numpy as np

from experiments.estimators import srm
from tests.calibration.claims import Case, Tally, alarms

CHECK = "Sample ratio mismatch, where there is none"
DAYS = 100


def cases() -> list[Case]:
    return [
        *(_check(*each) for each in ((10_000, (1, 1), 0.05), (10_000, (1, 1), 0.001), (2_000, (9, 1), 0.05))),
        *(_check(*each) for each in ((3_000, (2, 1, 1), 0.05), (1_000_000, (1, 1), 0.05))),
        _check(40, (9, 1), 0.05, is_exact=True),
        _segments(5, 2_000, 0.05),
        *(_days(*each) for each in ((100, (1, 1), 0.05), (1_000, (9, 1), 0.05), (200, (2, 1, 1), 0.01))),
    ]


def _check(units: int, weights: Sequence[int], alpha: float, *, is_exact: bool = False) -> Case:
    names = [str(each) for each in range(len(weights))]
    plan = dict(zip(names, map(float, weights), strict=True))

    def run(random: np.random.Generator, simulations: int) -> Tally:
        drawn = random.multinomial(units, np.array(weights) / sum(weights), simulations)
        distinct, times = np.unique(drawn, axis=0, return_counts=True)
        alarmed = sum(
            int(count)
            for found, count in zip(distinct, times, strict=True)
            if srm.check(dict(zip(names, map(int, found), strict=True)), plan, alpha).is_mismatch
        )
        return Tally(simulations, simulations, 0, alarmed)

    words = "exact" if is_exact else "chi-square"
    name = f"{words} at {alpha:g}, {units:,} units, weights {_list(weights)}"
    return Case(CHECK, name, alarms(alpha, at_most=is_exact), run)


def _segments(parts: int, units: int, alpha: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        plan = {str(each): {"a": 1.0, "b": 1.0} for each in range(parts)}
        alarmed = 0
        for ones in random.binomial(units, 0.5, (simulations, parts)):
            cells = {str(i): {"a": int(one), "b": units - int(one)} for i, one in enumerate(ones)}
            alarmed += any(each.is_mismatch for each in srm.several(cells, plan, alpha).values())
        return Tally(simulations, simulations, 0, alarmed)

    return Case(
        CHECK, f"any of {parts} segments of {units:,} units, at {alpha:g} together", alarms(alpha, at_most=True), run
    )


def _days(units: int, weights: Sequence[int], alpha: float) -> Case:
    names = [str(each) for each in range(len(weights))]
    plan = dict(zip(names, map(float, weights), strict=True))

    def run(random: np.random.Generator, simulations: int) -> Tally:
        alarmed = 0
        for _ in range(simulations):
            days = random.multinomial(units, np.array(weights) / sum(weights), DAYS).tolist()
            stream = [srm.Entries(dict(zip(names, each, strict=True)), plan) for each in days]
            alarmed += srm.sequential(stream, alpha).first_alarm is not None
        return Tally(simulations, simulations, 0, alarmed)

    name = f"sequentially at {alpha:g}, ever in {DAYS} days of {units:,} units, weights {_list(weights)}"
    return Case(CHECK, name, alarms(alpha, at_most=True), run)


def _list(weights: Sequence[int]) -> str:
    return " to ".join(map(str, weights))
