"""How many units a comparison needs, and what so many units can show: before it starts, for rates and means.

Closed forms of the normal distribution (Chow, Shao and Wang, Sample Size Calculations in Clinical Research, 2008,
sections 3.2 and 4.2), and nothing else: t-distributions, and counts so small that the readout turns to exact methods,
ask for a little more. All answer units of the *control*.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

from experiments.estimators.anytime import boundary
from experiments.estimators.special import normal_quantile

POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a treatment is compared with the control: two-sided at `alpha`, and shown with the chance `power`.

    The treatment has `ratio` times as many units. To be read at any time (`anytime`) costs more: the bound is that of a
    confidence sequence at its planned end. Raises `ValueError` for what no comparison can be.
    """

    alpha: float = 0.05
    power: float = POWER
    ratio: float = 1.0
    anytime: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not 0 < self.power < 1:
            found = f"an alpha of {self.alpha} and a power of {self.power}"
            raise ValueError(f"found {found}, expected both between 0 and 1")
        if not 0 < self.ratio < inf:
            raise ValueError(f"found a ratio of {self.ratio}, expected one above 0")

    @property
    def critical(self) -> float:
        """How many standard errors from nothing a difference counts."""
        return boundary(1.0, self.alpha) if self.anytime else normal_quantile(1 - self.alpha / 2)

    @property
    def reach(self) -> float:
        """How many standard errors a true difference must be."""
        return self.critical + normal_quantile(self.power)


EVENLY: Final = Comparison()


def means(variance: float, difference: float, comparison: Comparison = EVENLY) -> float:
    """Units of the control for a difference of means of this size to be shown, where a unit has this variance.

    Also the units for a margin (non-inferiority with no true difference): a guardrail's own side of alpha is alpha/2.
    """
    _check_difference(difference)
    if variance < 0:
        raise ValueError(f"found a variance of {variance}, expected 0 or more")
    return variance * (1 + 1 / comparison.ratio) * (comparison.reach / difference) ** 2


def margin(rate: float, difference: float, comparison: Comparison = EVENLY) -> float:
    """Units of the control to show that a rate is not worse by `difference`, where it is the same in both arms."""
    _check_rate(rate)
    return means(rate * (1 - rate), difference, comparison)


def rates(control: float, treatment: float, comparison: Comparison = EVENLY) -> float:
    """Units of the control for two rates to be told apart: pooled where there is no difference, each its own where
    there is."""
    _check_rate(control)
    _check_rate(treatment)
    _check_difference(abs(treatment - control))
    ratio = comparison.ratio
    pooled = (control + ratio * treatment) / (1 + ratio)
    null = sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    true = sqrt(control * (1 - control) + treatment * (1 - treatment) / ratio)
    reach = comparison.critical * null + normal_quantile(comparison.power) * true
    return (reach / (treatment - control)) ** 2


def detectable(variance: float, control: float, treatment: float, comparison: Comparison = EVENLY) -> float:
    """The smallest difference of means that so many units of each show, whatever the ratio: infinite without units in
    an arm."""
    if min(control, treatment) <= 0:
        return inf
    return comparison.reach * sqrt(variance * (1 / control + 1 / treatment))


def _check_difference(difference: float) -> None:
    if not 0 < difference < inf:
        raise ValueError(f"found a difference of {difference}, expected one above 0")


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"found a rate of {rate}, expected a share from 0 to 1")
