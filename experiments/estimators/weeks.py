"""The effect within each week since entry, on units that were all watched for as long: whether it fades or grows.

A week's share has the whole cohort for its denominator, those who had left included: who is still there in the third
week differs by what the treatment did in the first two.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import proportions
from experiments.moments import Counts
from experiments.risk import RiskTable

ESTIMAND: Final = "difference of the shares of the cohort with the event within week {week} since entry"
DAYS: Final = 7


def by_week(strata: Sequence[Stratum[RiskTable]], weeks: int, level: Level) -> list[Estimate]:
    """The treatment's share less the control's for week 1, 2, ... `weeks`, in intervals for all weeks at once.

    Each by `proportions.difference` at Bonferroni's level, without a p-value: it decides nothing. A unit that left by a
    competing event stays in every denominator. One whose observation ended before a week did (an erased customer's) is
    no part of that week: where nobody's did, every week is of the same units. In shares of units, -1 to 1.

    Raises ValueError for fewer than one week.
    """
    if weeks < 1:
        raise ValueError(f"found {weeks} weeks, expected at least one")
    several = Level(level.alpha, level.comparisons * weeks)
    arms = [(_counts(each.control, weeks), _counts(each.treatment, weeks)) for each in strata]
    found: list[Estimate] = []
    for week in range(weeks):
        estimate = proportions.difference([Stratum(one[week], other[week]) for one, other in arms], several)
        found.append(replace(estimate, estimand=ESTIMAND.format(week=week + 1), p_value=None))
    return found


def _counts(table: RiskTable, weeks: int) -> list[Counts]:
    """By week: who had the event within it, of all who were watched until its end or had left by then."""
    last = weeks * DAYS
    events = table.days(last).events.reshape(weeks, DAYS).sum(axis=1)
    gone = np.zeros(weeks, dtype=np.int64)
    for day, count in table.censored.items():
        gone[day // DAYS :] += count  # censored at day k: watched for k whole days, so for the weeks that end by then
    return [Counts(int(one), int(table.count - lost)) for one, lost in zip(events, gone, strict=True)]
