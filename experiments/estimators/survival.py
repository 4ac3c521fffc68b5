"""Time until an event: the Kaplan-Meier curve, and the difference of restricted mean times at a horizon.

Computed on risk tables in whole days, so that ties are exact and not a nuisance. What is estimated here is *staying*;
with competing events a curve's complement is no incidence of one of them: `experiments.estimators.competing` has that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.counted import counted
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import horizon
from experiments.estimators.curves import Curve, Floats, last_day
from experiments.estimators.shares import Share, effective_units, pointwise
from experiments.risk import Days, Ints, RiskTable


class _Staying(NamedTuple):
    """`staying[k]`, at the end of k days; on day k itself, `leaving[k]` of the `at_risk[k]` have the event."""

    staying: Floats
    leaving: Ints
    at_risk: Ints


def curve(table: RiskTable, horizon_days: int, alpha: float = 0.05, *, cause_specific: bool = False) -> Curve:
    """The share of units still without an event after 0, 1, ... `horizon_days` days (Kaplan and Meier 1958).

    A competing event ends staying too. With `cause_specific` it censors instead: the share that would stay if nobody
    left by one, had they otherwise the same hazard; such a curve's complement exceeds what happens to anybody.

    Intervals are pointwise, symmetric in log(-log), on Greenwood's (1926) variance; while nobody or after everybody
    has left, exact ones on effective units. Ends early where nobody is at risk; empty without units. They are
    good from about 10 events and 10 units at risk on.

    Raises ValueError for a horizon of less than a day.
    """
    horizon.checked(horizon_days)
    days = _staying(table.days(horizon_days), cause_specific=cause_specific)
    last = last_day(days.at_risk, days.staying) if table.count else -1
    estimate = days.staying[: last + 1]
    variance = estimate**2 * np.concatenate(([0.0], _greenwood(days)))[: last + 1]
    low, high = pointwise(estimate, variance, days.staying, days.at_risk, alpha)
    return Curve(
        estimand="share without the event, had nobody a competing one" if cause_specific else "share still staying",
        method="Kaplan-Meier, Greenwood, pointwise log-log intervals",
        alpha=alpha,
        days=np.arange(last + 1),
        estimate=estimate,
        low=low,
        high=high,
        at_risk=table.watched(horizon_days)[: last + 1],
    )


def restricted_mean(table: RiskTable, horizon_days: int, *, cause_specific: bool = False) -> Share:
    """The mean time until an event or the horizon, whichever is first, as a share of the horizon.

    Times `horizon_days` it is the area under the curve, in days: an event of day k comes after k + 1 days. The
    variance (times the horizon squared) is the sum over days of the squared area to come, times Greenwood's d / (n (n -
    d)) (Irwin 1949; Royston and Parmar 2013); without censoring exactly the variance of a mean, by n.

    Raises ValueError for a horizon of less than a day, or one before which nobody is at risk any more.
    """
    days = _staying(table.days(horizon.checked(horizon_days)), cause_specific=cause_specific)
    horizon.reached(last_day(days.at_risk, days.staying), horizon_days)
    # What happens on the last day comes after as many days as the horizon has, and changes nothing.
    area = np.concatenate((np.cumsum(days.staying[horizon_days - 1 : 0 : -1])[::-1], [0.0]))
    estimate = min(1.0, float(np.sum(days.staying[:horizon_days])) / horizon_days)
    steps = np.diff(_greenwood(days), prepend=0.0)
    variance = float(np.sum((area / horizon_days) ** 2 * steps))
    units = effective_units(1 - estimate, variance, area / horizon_days, days.at_risk)
    return Share(estimate, variance, units)


def restricted_mean_difference(
    strata: Sequence[Stratum[RiskTable]], horizon_days: int, level: Level, *, cause_specific: bool = False
) -> Estimate:
    """How many days longer treated units stay on average, within the first `horizon_days` days.

    A competing event ends staying as the event does, unless `cause_specific`; see `curve`. The interval is MOVER on
    Jeffreys' limits of the share of the horizon (`estimators.shares`), as days lost to a rare event are skewed.
    Strata: `horizon.compare`.

    Valid from 20 events in each arm on, with 20 units in each still under observation at the horizon: there 95 %
    intervals covered 94.6 to 95.2 % (10,000 simulations each, 20 to 600 events, arms of 1 to 20, up to 96 % censored),
    missed by 2.2 to 2.9 % on each side; with 10 events 94.4 %.

    Unknown, with the reason, if an arm has fewer units, or no two units differ; never another horizon than the plan's.
    Raises ValueError for a horizon of less than a day.
    """
    horizon.checked(horizon_days)
    what = "without the event, had nobody a competing one" if cause_specific else "until they left"
    return horizon.compare(
        strata,
        horizon_days,
        level,
        lambda table: restricted_mean(table, horizon_days, cause_specific=cause_specific),
        estimand=f"difference of the mean days {what}, of the first {counted(horizon_days, 'day')}",
        method="restricted mean of Kaplan-Meier, Greenwood's variance, MOVER on Jeffreys' limits",
        nothing=f"within the first {counted(horizon_days, 'day')} no unit stayed longer than another",
        scale=horizon_days,
    )


def _staying(days: Days, *, cause_specific: bool) -> _Staying:
    leaving = days.events if cause_specific else days.events + days.competing
    left = leaving / np.maximum(days.at_risk, 1)
    return _Staying(np.concatenate(([1.0], np.cumprod(1 - left))), leaving, days.at_risk)


def _greenwood(days: _Staying) -> Floats:
    """The squared relative error of the curve after each day; it stops where the curve reaches 0 and has none."""
    remaining = days.at_risk - days.leaving
    return np.cumsum(np.where(remaining > 0, days.leaving / np.maximum(days.at_risk * remaining, 1), 0.0))
