"""The dose table: what each tested limit did, beside the contacts that its customers really received.

The dose is the limit that was set (intention to treat); the contacts received follow from it and are shown, never
compared as if they had been assigned. Effects are against the control, each in an interval that holds for all tested
doses at once, so that it still holds for the one chosen. Nothing is said of doses between the tested ones.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import isfinite, pi, sqrt
from typing import Final, Generic, TypeVar

import numpy as np

from experiments.design import Direction
from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import means, proportions, ratios, value
from experiments.estimators.special import normal_below, normal_quantile, normal_tail, root
from experiments.moments import Counts, Moments, PairMoments

T = TypeVar("T")

_STEP = 0.025
_CHANCES = np.arange(-9, 9 + _STEP / 2, _STEP)  # what chance adds to the control, in its standard errors
_DENSITIES = _STEP * np.exp(-(_CHANCES**2) / 2) / sqrt(2 * pi)


@dataclass(frozen=True, slots=True)
class Measure(Generic[T]):
    """How an outcome is read: the difference of two arms, one arm's level, and the squared standard error of that.

    The last is None where the level is not close to normal, or as a whole where nobody knows it.
    """

    difference: Callable[[Sequence[Stratum[T]], Level], Estimate]
    level: Callable[[T], float]
    squared_error: Callable[[T], float | None] | None = None


RATES: Final[Measure[Counts]] = Measure(proportions.difference, lambda counts: counts.rate, proportions.squared_error)
MEANS: Final[Measure[Moments]] = Measure(means.difference, lambda moments: moments.mean, means.squared_error)
RATIOS: Final[Measure[PairMoments]] = Measure(ratios.difference, lambda pairs: pairs.ratio, ratios.squared_error)


def net_value(loss_of_reach: float) -> Measure[PairMoments]:
    """Net value a unit at this loss of reach: `value.net_difference`."""
    return Measure(
        lambda strata, level: value.net_difference(strata, loss_of_reach, level),
        lambda pairs: pairs.mean_x - loss_of_reach * pairs.mean_y,
        lambda pairs: value.squared_error(pairs, loss_of_reach),
    )


@dataclass(frozen=True, slots=True)
class Arm(Generic[T]):
    """A variant with its limit, its outcomes over all phases, and the contacts that it received a unit and week.

    `strata` holds the outcomes by phase, each beside the control's; the control itself has none.
    """

    variant: str
    dose: float | None
    outcome: T
    received: Moments | None = None
    strata: Sequence[Stratum[T]] = ()


@dataclass(frozen=True, slots=True)
class DoseRow:
    """One tested dose. `level` is the outcome of its units, `effect` against the control: None in the control's row."""

    variant: str
    dose: float | None
    received: float | None
    level: float | None
    effect: Estimate | None


@dataclass(frozen=True, slots=True)
class DoseTable:
    """The control and the tested doses, by dose. Each effect's p-value is corrected as its interval is."""

    rows: tuple[DoseRow, ...]
    control: str
    level: Level

    def row(self, variant: str) -> DoseRow:
        return next(each for each in self.rows if each.variant == variant)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The dose with the best value among those allowed. `is_shown`: its interval lies wholly on the good side of 0."""

    variant: str
    dose: float | None
    effect: Estimate | None
    is_shown: bool
    sentence: str


def table(control: Arm[T], tested: Sequence[Arm[T]], measure: Measure[T], level: Level) -> DoseTable:
    """The dose table of one outcome, its rows by dose.

    Each effect by the metric's own method, at the level at which all tested doses together keep `level.alpha_each`:
    Dunnett (1955), JASA 50:1096, two-sided, with the correlation that the shared control gives, for large samples (an
    integral over what chance adds to the control; no random numbers). That needs one phase, and levels close to
    normal; elsewhere Bonferroni's. An effect's p-value, corrected alike, is below `level.alpha` exactly where its
    interval leaves 0 out. Effects in the metric's own unit, `received` in contacts a unit and week. Without tested
    doses: the control's row alone.
    """
    doses = len(tested)
    shares = _shares_of_control(tested, measure) if doses > 1 else None
    if shares is None:
        each_level, how = Level(level.alpha_each / max(1, doses)), "Bonferroni"
    else:
        each_level, how = Level(2 * normal_tail(_critical(shares, level.alpha_each))), "Dunnett"

    def row(arm: Arm[T]) -> DoseRow:
        found = measure.difference(arm.strata, each_level)
        p_value = None if found.p_value is None else level.adjusted(_corrected(found.p_value, doses, shares))
        method = f"{found.method}, simultaneous over {doses} doses ({how})" if doses > 1 else found.method
        effect = replace(found, level=level, method=method, p_value=p_value)
        return DoseRow(arm.variant, arm.dose, _mean_received(arm), _level(arm, measure), effect)

    rows = [DoseRow(control.variant, control.dose, _mean_received(control), _level(control, measure), None)]
    rows += [row(each) for each in tested]
    rows.sort(key=lambda each: (each.dose is None, each.dose or 0.0))
    return DoseTable(tuple(rows), control.variant, level)


def recommended(
    values: DoseTable,
    allowed: Collection[str],
    direction: Direction = Direction.INCREASE,
    undecided: Collection[str] = (),
    of: str = "value",
) -> Recommendation | None:
    """The dose with the best value among the control and the variants in `allowed`: those whose guardrails are shown.

    `values` is the table of net value, or of what else stands for it: `of` is what to call that, `direction` its good
    one. The choice looks at the data; the interval shown is simultaneous over all tested doses and so holds for
    whichever is chosen. Of a dose in `undecided`, which the interval that decides does not tell from the control,
    nothing is said to be shown. None where no tested dose has a known effect: then there is nothing to choose by.
    """
    sign = 1.0 if direction is Direction.INCREASE else -1.0
    known = [
        (sign * each.effect.effect, each) for each in values.rows if each.effect and each.effect.effect is not None
    ]
    if not known:
        return None
    control = values.row(values.control)
    best, row = max([(0.0, control), *(each for each in known if each[1].variant in allowed)], key=lambda each: each[0])
    if row is control or row.effect is None:
        sentence = f"{control.variant} stays: no tested dose whose guardrails are shown has a better {of}."
        return Recommendation(control.variant, control.dose, None, False, sentence)
    is_shown = best > 0 and row.effect.excludes(0) and row.variant not in undecided
    told = f"its {of} is shown to be better than" if is_shown else f"its {of} is not told apart from"
    dose = "" if row.dose is None else f", a limit of {row.dose:g},"
    sentence = (
        f"{row.variant}{dose} has the best {of} of the doses whose guardrails are shown; {told} {control.variant}'s."
    )
    return Recommendation(row.variant, row.dose, row.effect, is_shown, sentence)


def _mean_received(arm: Arm[T]) -> float | None:
    return arm.received.mean if arm.received is not None and arm.received.count else None


def _level(arm: Arm[T], measure: Measure[T]) -> float | None:
    level = measure.level(arm.outcome)
    return level if isfinite(level) else None


def _shares_of_control(tested: Sequence[Arm[T]], measure: Measure[T]) -> list[float] | None:
    """The control's share of the variance of each difference; None where their joint distribution is unknown.

    Differences i and j are correlated by the root of the product of their shares.
    """
    found: list[float] = []
    for arm in tested:
        if measure.squared_error is None or len(arm.strata) != 1:
            return None
        control, treatment = (measure.squared_error(each) for each in (arm.strata[0].control, arm.strata[0].treatment))
        if not control or not treatment:
            return None
        found.append(control / (control + treatment))
    return found


def _together(z: float, shares: Sequence[float]) -> float:
    """How likely all differences lie within `z` standard errors: given the control's chance they are independent."""
    found = _DENSITIES.copy()
    for share in shares:
        own = sqrt(1 - share)
        shift = sqrt(share) * _CHANCES
        found *= normal_below((z - shift) / own) - normal_below((-z - shift) / own)
    return float(found.sum())


def _critical(shares: Sequence[float], alpha: float) -> float:
    """The `z` within which all differences lie with 1 - alpha: between that of one and that of Bonferroni."""
    one, all_apart = -normal_quantile(alpha / 2), -normal_quantile(alpha / 2 / len(shares))
    return root(lambda z: _together(z, shares) - (1 - alpha), one, all_apart, 1e-12)


def _corrected(p_value: float, doses: int, shares: Sequence[float] | None) -> float:
    """The p-value of the largest of all differences, as `_critical` has it."""
    bonferroni = min(1.0, doses * p_value)
    if shares is None or p_value <= 0:
        return bonferroni
    together = 1 - _together(-normal_quantile(p_value / 2), shares)
    return min(bonferroni, max(p_value, together))
