"""Net value: what a customer brings, less what it costs that some can no longer be reached.

Pairs of (money, lost reach) a unit: money is margin less the cost of contacts, lost reach 1 for a customer who can no
longer be reached. Net is money less `loss_of_reach` times lost reach. Without that figure there is the break-even: the
loss of reach at which two variants are worth the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan, inf, pi, tan
from typing import Final

from experiments.estimates import Estimate, Level, Stratum, unknown
from experiments.estimators import strata, welch
from experiments.estimators.special import root
from experiments.moments import PairMoments

DIFFERENCE: Final = "difference of net value a unit"
BREAK_EVEN: Final = "loss of reach at which the variants are worth the same"
WELCH: Final = "Welch's t interval of money less loss of reach"
STRAIGHTENED: Final = "Welch's t interval of money less loss of reach, corrected for skewness"
FIELLER: Final = "Fieller's interval, by Welch's t"

SKEWNESS_MAX: Final = 0.5

_LAST = pi / 2 - 1e-9  # the angle that stands for an infinite loss
_Usable = Sequence[tuple[float, Stratum[PairMoments]]]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Which losses of reach are compatible with a tie, as `parts` [low, high] of 0 to infinity, in money a customer.

    None, one or two parts: nothing where one variant is worth more at any loss, all where nothing can be told, two
    where only losses in between tell the variants apart. `loss` is the estimate, None where it would be below 0 or no
    loss makes a tie. `sentence` says it in words where they need no amount: amounts are in a currency,
    which the plan knows. `why_not` as in `Estimate`.
    """

    estimand: str
    method: str
    level: Level
    loss: float | None = None
    parts: tuple[tuple[float, float], ...] = ()
    sentence: str = ""
    why_not: str | None = None

    @property
    def is_known(self) -> bool:
        return self.why_not is None


def net_difference(strata_of_pairs: Sequence[Stratum[PairMoments]], loss_of_reach: float, level: Level) -> Estimate:
    """The treatment's net value a unit less the control's, with an interval and the p-value of the same statistic.

    Welch (1938) on money - `loss_of_reach` * lost reach; several phases by Mantel-Haenszel weights; corrected for
    skewness as in `means.difference`, where the pairs carry the third moment of money (`m3_x`). In money a unit.

    Holds where the difference is skewed by at most `SKEWNESS_MAX` (0.5), else unknown. Pairs without `m3_x` cannot
    show it: then it holds for arms of like sizes, or with some 1,000 paying units in the smaller arm.
    """
    if not 0 <= loss_of_reach < inf:
        raise ValueError(f"found a loss of reach of {loss_of_reach!r}, expected a finite amount not below 0")
    usable = strata.varying(strata_of_pairs, lambda pairs: pairs.count)
    if not usable:
        return unknown(DIFFERENCE, WELCH, level, "not enough data: one of the arms has no units")
    found = _net(usable, loss_of_reach)
    if found is None:
        return unknown(DIFFERENCE, WELCH, level, "not enough data: an arm has one unit alone, or nothing varies")
    if abs(found.skewness) > SKEWNESS_MAX:
        return unknown(DIFFERENCE, WELCH, level, _too_skewed(found.skewness))
    return found.estimate(DIFFERENCE, STRAIGHTENED if found.is_straightened else WELCH, level)


def break_even(strata_of_pairs: Sequence[Stratum[PairMoments]], level: Level) -> BreakEven:
    """The losses of reach at which the difference of net values is not told from 0: net_difference inverted.

    Fieller (1954), JRSS B 16:175, for the ratio of the difference of money to that of lost reach, with Welch's t at
    each loss; over losses from 0 on. Region as for `net_difference`. Unknown where nobody's reach was lost.
    """
    usable = strata.varying(strata_of_pairs, lambda pairs: pairs.count)
    if not usable:
        return _unknown(level, "not enough data: one of the arms has no units")
    money, lost = _net(usable, 0.0), _lost(usable)
    if lost is None:
        return _unknown(level, "not enough data: nobody's reach was lost, or everybody's")
    if money is None:
        return _unknown(level, "not enough data: an arm has one unit alone, or money does not vary")
    if abs(money.skewness) > SKEWNESS_MAX:
        return _unknown(level, _too_skewed(money.skewness))
    unit = money.error / lost.error  # angles from 0 to a right one stand for losses of 0 to infinity of this unit

    def excess(angle: float) -> float:
        net = _net(usable, unit * tan(angle))
        return 1 - level.alpha_each if net is None else net.p_value - level.alpha_each

    angles = _parts(excess, _turns(usable, money, lost, unit))
    parts = tuple((unit * tan(a), inf if b == _LAST else unit * tan(b)) for a, b in angles)
    loss = money.effect / lost.effect if lost.effect else None
    if loss is not None and not 0 <= atan(loss / unit) < _LAST:  # such as where losses differ by their rounding alone
        loss = None
    return BreakEven(
        BREAK_EVEN,
        FIELLER,
        level,
        loss,
        parts,
        _sentence(parts, money.effect),
    )


def squared_error(pairs: PairMoments, loss_of_reach: float) -> float | None:
    """The squared standard error of one arm's net value a unit; None for fewer than two units."""
    return _average(pairs, loss_of_reach).squared_error if pairs.count > 1 else None


def _net(usable: _Usable, loss: float) -> welch.Difference | None:
    return welch.difference(
        [(weight, Stratum(_average(each.control, loss), _average(each.treatment, loss))) for weight, each in usable]
    )


def _average(pairs: PairMoments, loss: float) -> welch.Average:
    """The third moment is that of money less that of a loss at this rate: what both share of it is left out."""
    m2 = max(0.0, pairs.m2_x - 2 * loss * pairs.c_xy + loss**2 * pairs.m2_y)
    m3 = 0.0 if pairs.m3_x is None else pairs.m3_x - loss**3 * pairs.m2_y * (1 - 2 * pairs.mean_y)
    return welch.Average(pairs.count, pairs.mean_x - loss * pairs.mean_y, m2, m3)


def _lost(usable: _Usable) -> welch.Difference | None:
    def average(pairs: PairMoments) -> welch.Average:
        return welch.Average(pairs.count, pairs.mean_y, pairs.m2_y)

    return welch.difference(
        [(weight, Stratum(average(each.control), average(each.treatment))) for weight, each in usable]
    )


def _turns(usable: _Usable, money: welch.Difference, lost: welch.Difference, unit: float) -> list[float]:
    """The angles between which the p-value only rises or only falls: it is 1 at the tie and least at one other loss."""
    one = _net(usable, unit)
    shared = (2 * money.error**2 - one.error**2) / (2 * unit) if one else money.error * lost.error
    tie = (money.effect, lost.effect)
    least = (
        money.effect * shared - lost.effect * money.error**2,
        money.effect * lost.error**2 - lost.effect * shared,
    )
    angles = [atan(over / under / unit) if under else pi / 2 for over, under in (tie, least)]
    return sorted({0.0, *(each for each in angles if 0 < each < _LAST), _LAST})


def _parts(excess: Callable[[float], float], turns: Sequence[float]) -> list[tuple[float, float]]:
    """Where the p-value is at least alpha: stretches of angles."""
    edges = [0.0] if excess(0.0) >= 0 else []
    for one, other in pairwise(turns):
        if (excess(one) >= 0) != (excess(other) >= 0):
            edges.append(root(excess, one, other, 1e-15))
    if len(edges) % 2:
        edges.append(_LAST)
    return list(zip(edges[::2], edges[1::2], strict=True))


def _sentence(parts: Sequence[tuple[float, float]], money: float) -> str:
    if not parts:
        return f"The {'treatment' if money > 0 else 'control'} is worth more at any loss of reach."
    if parts[0] == (0.0, inf):
        return "At any loss of reach the variants may be worth the same: neither money nor reach tells them apart."
    return ""


def _unknown(level: Level, why_not: str) -> BreakEven:
    return BreakEven(BREAK_EVEN, FIELLER, level, why_not=why_not)


def _too_skewed(skewness: float) -> str:
    return (
        f"not enough data: a few large amounts in arms of unequal sizes skew the difference by {skewness:.2f}, "
        f"beyond {SKEWNESS_MAX:g}; more units or arms of like sizes would help"
    )
