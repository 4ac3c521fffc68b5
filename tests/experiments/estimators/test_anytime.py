"""Intervals for any time, against numerical integration, formulas on rows, and paths that were walked."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from experiments.estimates import Level, Stratum
from experiments.estimators import anytime, mixtures
from experiments.moments import Counts, Moments, PairMoments

LEVEL = Level()
SHARES = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 10.0)
ALPHAS = (0.0001, 0.005, 0.01, 0.025, 0.05, 0.07)


def log_mixture(z: float, share: float, x: float) -> float:
    """The logarithm of the likelihood ratio of a drift against none, averaged over a half-normal prior: by quadrature.

    In units of the planned information the path stands at z sqrt(share) at time `share`; the prior's variance is x.
    """
    path = z * math.sqrt(share)

    def exponent(drift: float) -> float:
        return drift * path - drift * drift * share / 2 - drift * drift / (2 * x)

    width = math.sqrt(x / (1 + share * x))
    peak = path * width**2
    area, _ = integrate.quad(
        lambda drift: math.exp(exponent(drift) - exponent(peak)),
        max(0.0, peak - 12 * width),
        peak + 12 * width,
        points=[peak],
        epsabs=0,
        epsrel=1e-12,
        limit=500,
    )
    return exponent(peak) + math.log(2 * area / math.sqrt(2 * math.pi * x))


def root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(function, low, high, xtol=1e-13))  # pyright: ignore[reportArgumentType]  asked for a root alone


def reach_of(share: float, alpha: float, x: float) -> float:
    return root(lambda z: log_mixture(z, share, x) - math.log(2 / alpha), 1e-3, 500)


def moments(rows: np.ndarray) -> Moments:
    off = rows - rows.mean()
    return Moments(len(rows), rows.mean(), (off**2).sum(), (off**3).sum(), int((rows != 0).sum()))


def pairs(x: np.ndarray, y: np.ndarray) -> PairMoments:
    dx, dy = x - x.mean(), y - y.mean()
    return PairMoments(len(x), x.mean(), y.mean(), (dx * dx).sum(), (dy * dy).sum(), (dx * dy).sum())


@pytest.mark.parametrize(("share", "alpha"), list(product(SHARES, ALPHAS)))
def test_the_boundary_is_where_the_mixture_integrated_numerically_reaches_two_over_alpha(share: float, alpha: float):
    exact = reach_of(share, alpha, anytime.tuning(alpha))
    assert anytime.boundary(share, alpha) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(("z", "share"), list(product((0.5, 1.96, 3.0, 5.0), SHARES)))
def test_the_p_value_is_two_over_the_mixture_integrated_numerically(z: float, share: float):
    exact = min(1.0, 2 / math.exp(log_mixture(z, share, anytime.tuning(0.05))))
    assert anytime.p_value(z, share, 0.05) == pytest.approx(exact, rel=1e-8)
    assert anytime.p_value(-z, share, 0.05) == anytime.p_value(z, share, 0.05)


@given(st.floats(1e-6, 0.065))
def test_at_the_planned_end_it_is_at_most_1_6_times_as_wide_as_the_fixed_interval(alpha: float):
    """sqrt(1 + x) with x - log(1 + x) = -2 log(alpha) is the two-sided mixture's, by setting the derivative to 0."""
    fixed = stats.norm.isf(alpha / 2)
    x = root(lambda x: x - math.log1p(x) + 2 * math.log(alpha), 1e-9, 1e3)
    assert anytime.tuning(alpha) == pytest.approx(x, rel=1e-9)
    assert math.sqrt(1 + x) <= anytime.boundary(1.0, alpha) <= 1.001 * math.sqrt(1 + x)
    assert anytime.boundary(1.0, alpha) <= 1.6 * fixed


def test_at_five_percent_it_is_1_55_times_as_wide():
    assert anytime.boundary(1.0, 0.05) / stats.norm.isf(0.025) == pytest.approx(1.549, abs=5e-4)


@pytest.mark.parametrize("alpha", [0.005, 0.05, 0.1])
def test_no_other_tuning_would_be_narrower_at_the_planned_end(alpha: float):
    found: Any = optimize.minimize_scalar(  # its stubs say object
        lambda log_x: reach_of(1.0, alpha, math.exp(log_x)), bounds=(0, 5), method="bounded"
    )
    assert found.fun <= anytime.boundary(1.0, alpha) <= found.fun * 1.00001


def test_paths_leave_either_boundary_as_rarely_as_promised_and_not_much_less_often():
    """3,000 walks of 4,000 steps, looked at from the fourth on: no estimator, no formula but the z."""
    walks, steps, planned = 3_000, 4_000, 400
    noise = np.random.default_rng(20).standard_normal((walks, steps), dtype=np.float32)
    z = np.cumsum(noise, axis=1)[:, 3:] / np.sqrt(np.arange(4, steps + 1))
    line = np.array([anytime.boundary(n / planned, 0.05) for n in range(4, steps + 1)])
    above, below = (z > line).any(axis=1).sum(), (z < -line).any(axis=1).sum()
    assert stats.binom.sf(max(above, below) - 1, walks, 0.025) > 1e-4
    assert above + below > 0.02 * walks  # of the 5 % only what comes before and after is left unspent


@given(st.floats(1e-3, 20), st.sampled_from(ALPHAS), st.floats(0.3, 3))
def test_the_p_value_is_below_alpha_exactly_beyond_the_boundary(share: float, alpha: float, times: float):
    line = anytime.boundary(share, alpha)
    assert anytime.p_value(line, share, alpha) == pytest.approx(alpha, rel=1e-9)
    if abs(times - 1) > 1e-9:
        assert (anytime.p_value(times * line, share, alpha) < alpha) is (times > 1)


@given(st.integers(20, 900), st.integers(20, 900), st.integers(1, 4))
def test_the_interval_leaves_0_out_exactly_where_the_p_value_is_below_alpha(one: int, other: int, comparisons: int):
    level = Level(0.05, comparisons)
    found = anytime.rate_difference([Stratum(Counts(one, 2_000), Counts(other, 2_000))], level, 10_000)
    assert found.p_value is not None
    assert found.excludes(0) is (found.p_value < level.alpha)


def test_a_difference_of_means_is_what_the_rows_say():
    random = np.random.default_rng(5)
    control, treatment = random.gamma(2, 3, 700), random.gamma(2.2, 3, 500)
    found = anytime.difference([Stratum(moments(control), moments(treatment))], LEVEL, 3_000)
    error = math.sqrt(control.var(ddof=1) / 700 + treatment.var(ddof=1) / 500)
    effect = treatment.mean() - control.mean()
    reach = reach_of(0.4, 0.05, anytime.tuning(0.05))
    assert (found.effect, found.low, found.high) == pytest.approx(
        (effect, effect - reach * error, effect + reach * error), rel=1e-8
    )
    assert found.p_value == pytest.approx(
        2 / math.exp(log_mixture(effect / error, 0.4, anytime.tuning(0.05))), rel=1e-7
    )
    assert found.estimand == "difference of means"
    assert found.method == "asymptotic confidence sequence, narrowest at 3,000 units"


def test_a_difference_of_rates_is_that_of_means_of_0_and_1():
    rows = [np.repeat([1.0, 0.0], [k, n - k]) for k, n in ((60, 1_000), (90, 1_200))]
    as_means = anytime.difference([Stratum(moments(rows[0]), moments(rows[1]))], LEVEL, 5_000)
    as_rates = anytime.rate_difference([Stratum(Counts(60, 1_000), Counts(90, 1_200))], LEVEL, 5_000)
    assert (as_rates.effect, as_rates.low, as_rates.high, as_rates.p_value) == pytest.approx(
        (as_means.effect, as_means.low, as_means.high, as_means.p_value), rel=1e-9
    )


def test_a_difference_of_rates_stays_within_1():
    found = anytime.rate_difference([Stratum(Counts(20, 60), Counts(40, 60))], LEVEL, 1_000_000)
    assert (found.low, found.high) == (-1, 1)


def test_a_difference_of_ratios_is_that_of_the_linearised_rows():
    random = np.random.default_rng(6)
    rows = []
    for scale in (1.0, 1.1):
        y = 1.0 + random.poisson(4, 1_500)
        rows.append((random.gamma(y, scale), y))
    (x0, y0), (x1, y1) = rows
    found = anytime.ratio_difference([Stratum(pairs(x0, y0), pairs(x1, y1))], LEVEL, 4_000)
    linear = [(x - x.sum() / y.sum() * y) / y.mean() for x, y in rows]
    error = math.sqrt(sum(each.var(ddof=1) / 1_500 for each in linear))
    effect = x1.sum() / y1.sum() - x0.sum() / y0.sum()
    reach = anytime.boundary(0.75, 0.05)
    assert (found.effect, found.low, found.high) == pytest.approx(
        (effect, effect - reach * error, effect + reach * error), rel=1e-9
    )


def test_phases_are_weighted_by_sizes_and_their_clock_is_the_variance_of_what_was_summed():
    random = np.random.default_rng(7)
    sizes, spreads = ((900, 100), (800, 1_000)), (1.0, 3.0)
    phases = [tuple(random.normal(0, s, n) for n in each) for each, s in zip(sizes, spreads, strict=True)]
    found = anytime.difference([Stratum(*map(moments, each)) for each in phases], LEVEL, 4_000)
    weights = [90.0, 800 / 1.8]
    summed = [w * (t.mean() - c.mean()) for w, (c, t) in zip(weights, phases, strict=True)]
    variances = [t.var(ddof=1) / len(t) + c.var(ddof=1) / len(c) for c, t in phases]
    grown = [w * w * v for w, v in zip(weights, variances, strict=True)]
    effect, error = sum(summed) / sum(weights), math.sqrt(sum(grown)) / sum(weights)
    reach = anytime.boundary(sum(grown) / (grown[0] * 4), 0.05)
    assert (found.effect, found.low, found.high) == pytest.approx(
        (effect, effect - reach * error, effect + reach * error), rel=1e-9
    )


def clicked(random: np.random.Generator, units: int, rate: float = 0.1) -> PairMoments:
    sessions = 1.0 + random.poisson(4, units)
    return pairs(random.binomial(sessions.astype(int), rate).astype(float), sessions)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tiny_phase_neither_silences_a_ratio_nor_moves_it(size: int):
    random = np.random.default_rng(30)
    large = [Stratum(clicked(random, 2_000), clicked(random, n)) for n in (300, 2_000)]
    expected = anytime.ratio_difference(large, LEVEL, 5_000)
    assert expected.effect is not None
    assert expected.low is not None
    for _ in range(20):
        tiny = Stratum(clicked(random, size), clicked(random, size))
        for strata in ([tiny, *large], [*large, tiny]):
            found = anytime.ratio_difference(strata, LEVEL, 5_000)
            assert found.effect == pytest.approx(expected.effect, abs=0.1 * (expected.effect - expected.low))
            assert found.low == pytest.approx(expected.low, abs=0.1 * (expected.effect - expected.low))


def test_ratios_of_phases_whose_weights_changed_make_no_effect_where_there_is_none():
    """Ratios triple when most units are treated: summed up, the treatment would seem to raise them."""
    random = np.random.default_rng(31)
    strata = [
        Stratum(clicked(random, 9_000, 0.1), clicked(random, 1_000, 0.08)),
        Stratum(clicked(random, 1_000, 0.3), clicked(random, 9_000, 0.25)),
    ]
    found = anytime.ratio_difference(strata, LEVEL, 20_000)
    assert found.high is not None
    assert found.high < 0


def test_a_ratio_of_few_large_amounts_is_too_skewed_for_any_time():
    random = np.random.default_rng(32)

    def spent(units: int) -> PairMoments:
        paid, y = random.lognormal(0, 1.5, units) * (random.random(units) < 0.02), 1.0 + random.poisson(4, units)
        return replace(pairs(paid, y), m3_x=float(((paid - paid.mean()) ** 3).sum()))

    found = anytime.ratio_difference([Stratum(spent(2_000), spent(2_000))], LEVEL, 10_000)
    assert found.why_not is not None
    assert "too skewed" in found.why_not
    assert anytime.ratio_difference([Stratum(clicked(random, 2_000), clicked(random, 2_000))], LEVEL, 10_000).is_known


def test_a_phase_without_units_in_one_arm_is_left_out():
    full = Stratum(Counts(60, 1_000), Counts(90, 1_200))
    lopsided = Stratum(Counts(0, 0), Counts(50, 300))
    assert anytime.rate_difference([lopsided, full], LEVEL, 5_000) == anytime.rate_difference([full], LEVEL, 5_000)


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_moving_and_stretching_all_numbers_moves_and_stretches_the_interval(by: float, times: float):
    random = np.random.default_rng(8)
    rows = random.normal(1, 2, (2, 200))
    plain = anytime.difference([Stratum(moments(rows[0]), moments(rows[1]))], LEVEL, 1_000)
    moved = by + times * rows
    found = anytime.difference([Stratum(moments(moved[0]), moments(moved[1]))], LEVEL, 1_000)
    assert None not in (plain.low, plain.high, found.low, found.high)
    assert (found.low, found.high) == pytest.approx((times * plain.low, times * plain.high), rel=1e-6)  # type: ignore[operator]
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-6)


def test_more_comparisons_are_one_alpha_shared():
    phase = [Stratum(Counts(60, 1_000), Counts(120, 1_000))]
    three, sixth = (
        anytime.rate_difference(phase, Level(0.06, 3), 4_000),
        anytime.rate_difference(phase, Level(0.02), 4_000),
    )
    assert (three.low, three.high) == (sixth.low, sixth.high)
    assert sixth.p_value is not None
    assert three.p_value == pytest.approx(3 * sixth.p_value)


@pytest.mark.parametrize(
    ("control", "treatment", "why"),
    [
        (Counts(0, 0), Counts(0, 0), "0 units in the smaller arm"),
        (Counts(1, 1), Counts(1, 1), "0 units in the smaller arm"),  # of a stratum with a single unit nothing is known
        (Counts(20, 40), Counts(5_000, 10_000), "40 units in the smaller arm"),
        (Counts(0, 5_000), Counts(0, 5_000), "nothing varies"),
        (Counts(5_000, 5_000), Counts(5_000, 5_000), "nothing varies"),
        (Counts(9, 5_000), Counts(9, 5_000), "too skewed"),
        (Counts(4_991, 5_000), Counts(4_991, 5_000), "too skewed"),
        (Counts(200, 20_000), Counts(10, 1_000), "too skewed"),  # enough for equal arms, not for one of a twentieth
    ],
)
def test_too_little_is_not_enough_data_and_of_rates_for_a_wide_sequence(control: Counts, treatment: Counts, why: str):
    found = anytime.difference([Stratum(control.moments, treatment.moments)], LEVEL, 10_000)
    assert found.why_not is not None
    assert found.why_not.startswith("not enough data")
    assert why in found.why_not
    assert (found.effect, found.low, found.high, found.p_value) == (None, None, None, None)
    strata = [Stratum(control, treatment)]
    assert anytime.rate_difference(strata, LEVEL, 10_000) == mixtures.difference(strata, LEVEL)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        (Counts(10, 5_000), Counts(10, 5_000)),
        (Counts(0, 5_000), Counts(50, 5_000)),  # an arm without any event against one with many says a lot
        (Counts(800, 20_000), Counts(40, 1_000)),
    ],
)
def test_enough_is_enough(control: Counts, treatment: Counts):
    found = anytime.rate_difference([Stratum(control, treatment)], LEVEL, 10_000)
    assert found.method == "asymptotic confidence sequence, narrowest at 10,000 units"


def test_no_strata_are_not_enough_data():
    for found in (
        anytime.difference([], LEVEL, 10),
        anytime.rate_difference([], LEVEL, 10),
        anytime.ratio_difference([], LEVEL, 10),
    ):
        assert found.why_not is not None


def test_what_varies_by_rounding_alone_does_not_vary():
    """Sums of 0.1 in two orders differ in the last digit: no effect of 1e-17 is shown to be one."""
    found = anytime.difference(
        [Stratum(Moments(500, 0.1, 1e-33, 0, 500), Moments(500, 0.1 + 2e-17, 1e-33, 0, 500))], LEVEL, 10
    )
    assert found.why_not is not None
    assert "nothing varies" in found.why_not


def test_numbers_too_large_to_divide_are_said_to_be():
    arms = PairMoments(2_000, 1e300, 1e-300, 1, 0, 0), PairMoments(2_000, 1, 1, 1, 1, 0)
    found = anytime.ratio_difference([Stratum(*arms)], LEVEL, 10_000)
    assert found.why_not == "the numbers are too large to compute with"


@pytest.mark.parametrize(
    ("arm", "why"),
    [
        (PairMoments(900, 1, 1, 900, 900, 0), "900 units in the smaller arm"),
        (PairMoments(2_000, 1, 0, 2_000, 0, 0), "too close to 0"),
        (PairMoments(2_000, 1, 0.1, 2_000, 2_000, 0), "too close to 0"),
        (PairMoments(2_000, 1, -3, 2_000, 2_000, 0), "too close to 0"),
        (PairMoments(2_000, 0, 1, 0, 2_000, 0), "nothing varies"),
        (PairMoments(2_000, 2, 1, 4 * 2_000, 2_000, 2 * 2_000), "nothing varies"),
    ],
)
def test_a_ratio_without_a_denominator_is_not_enough_data(arm: PairMoments, why: str):
    found = anytime.ratio_difference([Stratum(arm, arm)], LEVEL, 10_000)
    assert found.why_not is not None
    assert why in found.why_not


@pytest.mark.parametrize("call", [anytime.difference, anytime.rate_difference, anytime.ratio_difference])
def test_a_plan_without_units_is_refused(call):  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="planned units"):
        call([], LEVEL, 0)


@pytest.mark.parametrize(("share", "alpha"), [(0, 0.05), (-1, 0.05), (math.inf, 0.05), (1, 0), (1, 1)])
def test_a_boundary_nowhere_is_refused(share: float, alpha: float):
    with pytest.raises(ValueError, match="expected both above 0"):
        anytime.boundary(share, alpha)
