"""Single units with days and fates, and the estimators done on them one by one: shares no code with what it judges."""

from collections import Counter
from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from experiments.estimates import Estimate, Level, Stratum
from experiments.risk import RiskTable

CENSORED, EVENT, COMPETING = 0, 1, 2
HORIZON = 30
LEVEL = Level()


class Unit(NamedTuple):
    """Left on this day, by this fate; censored: was watched for so many whole days."""

    day: int
    fate: int

    @property
    def time(self) -> int:
        """As continuous-time tools want it: an event of day k has happened by time k + 1."""
        return self.day if self.fate == CENSORED else self.day + 1


WATCHED = RiskTable({3: 4}, censored={HORIZON: 96})
"""Enough of everything, to stand beside an arm that has not."""


def table(units: list[Unit]) -> RiskTable:
    by_fate = [dict(Counter(each.day for each in units if each.fate == fate)) for fate in (EVENT, COMPETING, CENSORED)]
    return RiskTable(*by_fate)


def units_of(risk: RiskTable) -> list[Unit]:
    parts = ((risk.events, EVENT), (risk.competing, COMPETING), (risk.censored, CENSORED))
    return [Unit(day, fate) for by_day, fate in parts for day, count in by_day.items() for _ in range(count)]


def drawn(
    rng: np.random.Generator, size: int, *, event: float, competing: float = 0.0, censored: float = 0.0, end: int = 60
) -> list[Unit]:
    """Units with constant probabilities a day; those still there at the end are censored then."""

    def one() -> Unit:
        for day in range(end):
            if rng.random() < censored:
                return Unit(day, CENSORED)
            draw = rng.random()
            if draw < event + competing:
                return Unit(day, EVENT if draw < event else COMPETING)
        return Unit(end, CENSORED)

    return [one() for _ in range(size)]


def risk_tables(most: int = 40, last_day: int = 12) -> st.SearchStrategy[RiskTable]:
    unit = st.builds(Unit, st.integers(0, last_day), st.sampled_from((CENSORED, EVENT, COMPETING)))
    return st.lists(unit, max_size=most).map(table)


def strata_of_risk() -> st.SearchStrategy[list[Stratum[RiskTable]]]:
    """Up to three phases, of single units up to some thousand."""

    def several(arms: tuple[list[tuple[RiskTable, RiskTable]], int]) -> list[Stratum[RiskTable]]:
        pairs, factor = arms
        return [Stratum(times(control, factor), times(treatment, factor)) for control, treatment in pairs]

    phases = st.lists(st.tuples(risk_tables(), risk_tables()), max_size=3)
    return st.tuples(phases, st.integers(1, 40)).map(several)


def incidence(units: list[Unit], weights: np.ndarray, horizon: int) -> float:
    """Aalen-Johansen over weighted units."""
    staying, found = 1.0, 0.0
    for day in range(horizon):
        at_risk = sum(w for each, w in zip(units, weights, strict=True) if _is_at_risk(each, day))
        events = sum(w for each, w in zip(units, weights, strict=True) if each == (day, EVENT))
        others = sum(w for each, w in zip(units, weights, strict=True) if each == (day, COMPETING))
        if at_risk > 0:
            found += staying * events / at_risk
            staying *= 1 - (events + others) / at_risk
    return found


def mean_days(units: list[Unit], weights: np.ndarray, horizon: int) -> float:
    """The area under Kaplan-Meier over weighted units, of leaving by either event."""
    staying, area = 1.0, 0.0
    for day in range(horizon):
        area += staying
        at_risk = sum(w for each, w in zip(units, weights, strict=True) if _is_at_risk(each, day))
        leaving = sum(w for each, w in zip(units, weights, strict=True) if each.day == day and each.fate != CENSORED)
        staying *= 1 - leaving / at_risk if at_risk > 0 else 1
    return area


def jackknifed(estimator: Callable[[list[Unit], np.ndarray, int], float], units: list[Unit], horizon: int) -> float:
    """The infinitesimal jackknife: the sum of the squares of what each unit's weight does to the estimate (Jaeckel
    1972). For Kaplan-Meier and Aalen-Johansen it is the delta method's variance, ties included."""
    step, total = 1e-4, 0.0
    for i in range(len(units)):
        nudge = np.zeros(len(units))
        nudge[i] = step
        up, down = (estimator(units, 1 + sign * nudge, horizon) for sign in (1, -1))
        total += ((up - down) / (2 * step)) ** 2
    return total


def known(estimate: Estimate) -> tuple[float, float, float, float]:
    """Effect, low, high and p-value of an estimate that must have them."""
    assert estimate.effect is not None, estimate.why_not
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.p_value is not None
    return estimate.effect, estimate.low, estimate.high, estimate.p_value


def says_why(found: Estimate, why: str) -> bool:
    """Whether an estimate is unknown in all its numbers, and says that there is not enough data, and this of it."""
    assert (found.effect, found.low, found.high, found.p_value) == (None,) * 4
    assert found.why_not is not None
    return not found.is_known and found.why_not.startswith("not enough data: ") and why in found.why_not


def is_in_order(found: Estimate) -> bool:
    """Whether an estimate is unknown, or finite, with its effect inside and its p-value agreeing with the interval."""
    if not found.is_known:
        return True
    effect, low, high, p_value = known(found)
    is_inside = isfinite(low) and isfinite(high) and low <= effect <= high and low < high
    return is_inside and (p_value < LEVEL.alpha) == found.excludes(0)


def meets_0_at_its_p_value(difference: Callable[[Level], Estimate], level: Level) -> bool:
    """Whether the interval of the alpha that is the p-value ends at 0, and p-value and interval agree at this level."""
    found = difference(level)
    effect, _, _, p_value = known(found)
    _, low, high, _ = known(difference(Level(p_value, level.comparisons)))
    return (p_value < level.alpha) == found.excludes(0) and abs(low if effect > 0 else high) < 1e-8


def times(risk: RiskTable, factor: int) -> RiskTable:
    """As many units of each kind, `factor` times."""
    parts = (risk.events, risk.competing, risk.censored)
    return RiskTable(*({day: count * factor for day, count in each.items()} for each in parts))


def _is_at_risk(unit: Unit, day: int) -> bool:
    return unit.day > day or (unit.day == day and unit.fate != CENSORED)
