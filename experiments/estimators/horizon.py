"""Two arms compared at a horizon that the plan fixed: which strata can speak, how they are combined, or why none can.

Shared by what is read from risk tables, `survival` and `competing`; how a table becomes a share is theirs to say.
"""

from collections.abc import Callable, Sequence

from experiments.counted import counted
from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators.shares import Contrast, Share, difference
from experiments.estimators.strata import weighted
from experiments.risk import RiskTable

AT_LEAST = 20
"""So many units an arm must have, and so many must still be under observation at the horizon if any were censored."""


def checked(horizon_days: int) -> int:
    """The horizon itself; ValueError if it is not at least one day."""
    if horizon_days < 1:
        raise ValueError(f"found a horizon of {counted(horizon_days, 'day')}, expected at least 1")
    return horizon_days


def reached(last_day: int, horizon_days: int) -> None:
    """ValueError if an estimate is known up to an earlier day alone."""
    if last_day < horizon_days:
        raise ValueError(
            f"found nobody at risk after {counted(last_day, 'day')}, expected somebody up to {horizon_days}"
        )


def why_silent(table: RiskTable, horizon_days: int) -> str | None:
    """Why this arm says nothing about the horizon, or None if it does.

    Where nobody was censored before the horizon, everybody's fate is known, however few remain.
    """
    if not table.count:
        return "has no units"
    if table.count < AT_LEAST:
        return f"has {counted(table.count, 'unit')}, at least {AT_LEAST} are needed"
    if not any(count for day, count in table.censored.items() if day < horizon_days):
        return None
    remaining = int(table.days(horizon_days).at_risk[-1])
    if remaining >= AT_LEAST:
        return None
    wanting = "nobody" if not remaining else f"only {counted(remaining, 'unit')}"
    last = f"the last of {counted(horizon_days, 'day')}"
    return f"has {wanting} still under observation on {last}, at least {AT_LEAST} are needed"


def compare(
    strata: Sequence[Stratum[RiskTable]],
    horizon_days: int,
    level: Level,
    share: Callable[[RiskTable], Share],
    *,
    estimand: str,
    method: str,
    nothing: str,
    scale: float = 1.0,
) -> Estimate:
    """The difference of `share` between the arms, times `scale`, over all strata that can speak.

    Strata count by n1 n2 / (n1 + n2) of all units that entered (Mantel-Haenszel), whatever became of them. One of which
    an arm is silent is left out, and `method` says so. Unknown if none remains, or if no unit differs from another:
    then `nothing` says what did not happen.
    """
    speaking = [each for each in strata if _why_silent(each, horizon_days) is None]
    contrasts = [
        Contrast(weight, share(each.control), share(each.treatment))
        for weight, each in weighted(speaking, lambda table: table.count)
    ]
    if not contrasts:
        why = _why_silent(strata[0], horizon_days) if strata else "there are no units"
        return unknown(estimand, method, level, f"not enough data: {why}")
    if len(strata) > 1:
        method += f"; {len(contrasts)} of {len(strata)} phases, weighted by their sizes"
    if all(not each.variance and each.estimate == contrasts[0].control.estimate for each in _shares(contrasts)):
        return unknown(estimand, method, level, f"not enough data: {nothing}")
    found = difference(contrasts, level)
    low, high = scale * found.low, scale * found.high
    return Estimate(estimand, method, level, scale * found.effect, low, high, found.p_value)


def _why_silent(stratum: Stratum[RiskTable], horizon_days: int) -> str | None:
    for name, table in (("control", stratum.control), ("treatment", stratum.treatment)):
        if why := why_silent(table, horizon_days):
            return f"the {name} {why}"
    return None


def _shares(contrasts: Sequence[Contrast]) -> list[Share]:
    return [share for each in contrasts for share in (each.control, each.treatment)]
