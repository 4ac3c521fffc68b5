"""Looks at the data that speak of no effect, but of whether effects can be believed; beside `srm`, which counts units.

Diagnostics: their p-values are never those of a metric's effect, and nothing here changes an estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erfc, hypot, sqrt

from scipy.special import stdtr  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  (no stubs)

from experiments.counted import counted
from experiments.estimators import competing, horizon
from experiments.moments import Counts, Moments
from experiments.risk import RiskTable

_ROUNDING = 1e-12  # relative to the numbers themselves


@dataclass(frozen=True, slots=True)
class Leak:
    """`units` are in a variant of weight 0, where nobody should be."""

    variant: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One metric of one treatment's units *before* they entered, against the control's: a difference is no effect.

    `in_deviations` is the difference over the arms' mean standard deviation. `is_off` if so large a one comes by chance
    with a probability below alpha over all `comparisons` looks (Bonferroni); `p_value` is corrected so. Where `why_not`
    says why, nothing was tested, and the numbers are None.
    """

    metric: str
    variant: str
    comparisons: int
    alpha: float
    difference: float | None = None
    in_deviations: float | None = None
    p_value: float | None = None
    why_not: str | None = None

    @property
    def is_off(self) -> bool:
        return self.p_value is not None and self.p_value < self.alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Maturity:
    """The rate among those watched to the horizon and the survival estimate of all, which part.

    `errors_apart`: by how many standard errors of their difference. Both should estimate the same share; where they do
    not, units that entered early differ from later ones, or being watched has to do with the outcome.
    """

    matured: float
    estimate: float
    horizon_days: int
    errors_apart: float
    p_value: float


def leak(units: Mapping[str, int], weights: Mapping[str, float]) -> tuple[Leak, ...]:
    """The variants of weight 0 that have units, in the order of `units`. One whose weight is not given has none: 0."""
    return tuple(Leak(variant, count) for variant, count in units.items() if count and not weights.get(variant))


def balance(before: Mapping[str, Mapping[str, Moments]], control: str, alpha: float = 0.01) -> tuple[Balance, ...]:
    """Each metric before exposure, by variant, each treatment against the control, by Welch's test (1947).

    Its validity is that of a mean's (`means.difference`): with few units that are not 0 it alarms too often or too
    seldom, which a diagnostic can bear. Treatments in the order of the mapping. A metric without the control is left
    out, as it compares nothing.
    """
    pairs = [
        (metric, variant, moments[control], arm)
        for metric, moments in before.items()
        if control in moments
        for variant, arm in moments.items()
        if variant != control
    ]
    return tuple(_balance(metric, variant, one, other, len(pairs), alpha) for metric, variant, one, other in pairs)


def maturity(matured: Counts, table: RiskTable, horizon_days: int, alpha: float = 0.01) -> Maturity | None:
    """A warning if the rate among matured units and the incidence at the horizon part by more than chance, else None.

    `matured`: of the units of `table` that were watched to the horizon (or would have been, had nothing happened), how
    many had the event before it. Both then estimate the same, and the incidence, which uses all units, is the more
    precise one: the variance of the difference is the difference of the variances (Hausman 1978). If that is not above
    0, nothing was gained by the others, and the rate's own variance stands in: it warns too seldom then, not too often.

    None too where either says nothing: fewer than 20 matured units, or an arm that `horizon.why_silent` calls silent.
    Raises ValueError for a horizon of less than a day.
    """
    horizon.checked(horizon_days)
    if matured.count < horizon.AT_LEAST or horizon.why_silent(table, horizon_days):
        return None
    share, rate = competing.incidence(table, horizon_days), matured.rate
    # The rate under what is known best: the incidence of all; an observed 0 of 20 has no error of its own.
    own = share.estimate * (1 - share.estimate) / matured.count
    variance = own - share.variance if own > share.variance else own
    if not variance:
        return None
    apart = abs(rate - share.estimate) / sqrt(variance)
    p_value = erfc(apart / sqrt(2))
    if p_value >= alpha:
        return None
    return Maturity(
        matured=rate, estimate=share.estimate, horizon_days=horizon_days, errors_apart=apart, p_value=p_value
    )


def _balance(metric: str, variant: str, one: Moments, other: Moments, comparisons: int, alpha: float) -> Balance:
    if why_not := _why_not(one, other, variant):
        return Balance(metric=metric, variant=variant, comparisons=comparisons, alpha=alpha, why_not=why_not)
    parts = [arm.variance / arm.count for arm in (one, other)]
    difference, error = other.mean - one.mean, sqrt(sum(parts))
    # Scaled first, since squares of small variances could vanish.
    shares = [part / sum(parts) for part in parts]
    freedom = 1 / sum(share**2 / (arm.count - 1) for share, arm in zip(shares, (one, other), strict=True))
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Balance(
        metric=metric,
        variant=variant,
        comparisons=comparisons,
        alpha=alpha,
        difference=difference,
        in_deviations=difference / (hypot(sqrt(one.variance), sqrt(other.variance)) / sqrt(2)),
        p_value=min(1.0, comparisons * p_value),
    )


def _why_not(one: Moments, other: Moments, variant: str) -> str | None:
    if min(one.count, other.count) < 2:
        units = f"{one.count:,} and {counted(other.count, 'unit')}"
        return f"not enough data: {units} in the control and {variant}, two each are needed"
    if not _varies(one) and not _varies(other):
        return f"nothing varies: every unit has {one.mean:g} in the control and {other.mean:g} in {variant}"
    return None


def _varies(moments: Moments) -> bool:
    """Whether by more than the rounding of its numbers."""
    return sqrt(moments.variance) > max(_ROUNDING * abs(moments.mean), 1e-150)
