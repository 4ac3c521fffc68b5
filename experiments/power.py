"""How many units a comparison needs, and what so many units can show: before it starts, for rates and means.

Closed forms of the normal distribution (Chow, Shao and Wang, Sample Size Calculations in Clinical Research, 2008,
sections 3.2 and 4.2), and nothing else: t-distributions, and counts so small that the readout turns to exact methods,
ask for a little more. All answer units of the *control*; the treatment has `ratio` times as many. To be read at any
time costs more: there the bound is that of a confidence sequence at its planned end.
"""

from math import inf, sqrt
from typing import Final

from experiments.estimators.anytime import boundary
from experiments.estimators.special import normal_quantile

POWER: Final = 0.8


def means(
    variance: float,
    difference: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    ratio: float = 1.0,
    anytime: bool = False,
) -> float:
    """Units of the control for a difference of means of this size to be shown, where a unit has this variance.

    Also the units for a margin (non-inferiority with no true difference): a guardrail's own side of alpha is alpha/2.
    """
    _check(difference=difference, alpha=alpha, power=power, ratio=ratio)
    if variance < 0:
        raise ValueError(f"found a variance of {variance}, expected 0 or more")
    return variance * (1 + 1 / ratio) * (_reach(alpha, power, anytime) / difference) ** 2


def margin(
    rate: float,
    difference: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    ratio: float = 1.0,
    anytime: bool = False,
) -> float:
    """Units of the control to show that a rate is not worse by `difference`, where it is the same in both arms."""
    _check_rate(rate)
    variance = rate * (1 - rate)
    return means(variance, difference, alpha=alpha, power=power, ratio=ratio, anytime=anytime)


def rates(
    control: float,
    treatment: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    ratio: float = 1.0,
    anytime: bool = False,
) -> float:
    """Units of the control for two rates to be told apart: pooled where there is no difference, each its own where
    there is."""
    _check_rate(control)
    _check_rate(treatment)
    _check(difference=abs(treatment - control), alpha=alpha, power=power, ratio=ratio)
    pooled = (control + ratio * treatment) / (1 + ratio)
    null = sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    true = sqrt(control * (1 - control) + treatment * (1 - treatment) / ratio)
    reach = _critical(alpha, anytime) * null + normal_quantile(power) * true
    return (reach / (treatment - control)) ** 2


def detectable(
    variance: float,
    control: float,
    treatment: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    anytime: bool = False,
) -> float:
    """The smallest difference of means that so many units show with this power: infinite without units in an arm."""
    _check(difference=1.0, alpha=alpha, power=power, ratio=1.0)
    if min(control, treatment) <= 0:
        return inf
    return _reach(alpha, power, anytime) * sqrt(variance * (1 / control + 1 / treatment))


def _reach(alpha: float, power: float, anytime: bool) -> float:
    """How many standard errors a true difference must be."""
    return _critical(alpha, anytime) + normal_quantile(power)


def _critical(alpha: float, anytime: bool) -> float:
    return boundary(1.0, alpha) if anytime else normal_quantile(1 - alpha / 2)


def _check(*, difference: float, alpha: float, power: float, ratio: float) -> None:
    if not 0 < difference < inf:
        raise ValueError(f"found a difference of {difference}, expected one above 0")
    if not 0 < alpha < 1 or not 0 < power < 1:
        raise ValueError(f"found an alpha of {alpha} and a power of {power}, expected both between 0 and 1")
    if not 0 < ratio < inf:
        raise ValueError(f"found a ratio of {ratio}, expected one above 0")


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"found a rate of {rate}, expected a share from 0 to 1")
