"""Welch's interval against scipy; its correction against raw data, a plain inversion and a simulation."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import means
from experiments.moments import Moments

LEVEL = Level()
Floats = NDArray[np.float64]


def moments(x: Floats) -> Moments:
    d = x - x.mean()
    return Moments(len(x), float(x.mean()), float((d**2).sum()), float((d**3).sum()), int((x != 0).sum()))


def compare(*arms: tuple[Floats, Floats], level: Level = LEVEL) -> Estimate:
    return means.difference([Stratum(moments(one), moments(other)) for one, other in arms], level)


def spend(rng: np.random.Generator, units: int, share: float = 0.1, sigma: float = 0.7) -> Floats:
    return rng.lognormal(3, sigma, units) * (rng.random(units) < share)


@pytest.mark.parametrize("sizes", [(400, 400), (3_000, 2_800), (25, 30)])
def test_interval_and_p_value_are_those_of_scipy(sizes: tuple[int, int]):
    rng = np.random.default_rng(1)
    one, other = rng.normal(10, 3, sizes[0]), rng.normal(10.5, 5, sizes[1])
    found = compare((one, other), level=Level(0.05, 2))
    expected = stats.ttest_ind(other, one, equal_var=False)
    interval = expected.confidence_interval(0.975)
    assert found.method == means.WELCH
    assert found.p_value == pytest.approx(min(1, 2 * expected.pvalue), rel=1e-9)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high], abs=1e-9)


@pytest.mark.parametrize(("sizes", "share", "is_scaled"), [((9_000, 2_500), 0.1, False), ((3_000, 1_500), 0.05, True)])
def test_few_buyers_in_a_small_arm_are_corrected_as_the_raw_data_say(
    sizes: tuple[int, int], share: float, is_scaled: bool
):
    rng = np.random.default_rng(2)
    one, other = (spend(rng, units, share) for units in sizes)
    found = compare((one, other))
    assert found.method == means.STRAIGHTENED
    n0, n1 = len(one), len(other)
    residuals = np.concatenate([one - one.mean(), other - other.mean()])
    variance, third = (residuals**2).sum() / (n0 + n1 - 2), (residuals**3).mean()
    welch = stats.ttest_ind(other, one, equal_var=False)
    error = (other.mean() - one.mean()) / welch.statistic
    critical = stats.t.ppf(0.975, welch.df)

    def skewness(effect: float) -> float:
        """Of arms of this pooled variance and third moment, the treatment's units `scale` times the control's."""
        total = one.sum() + other.sum()
        scale = (total + n0 * effect) / (total - n1 * effect)
        v, k = variance * (n0 + n1) / (n0 + n1 * scale**2), third * (n0 + n1) / (n0 + n1 * scale**3)
        return k * (scale**3 / n1**2 - 1 / n0**2) / (v * (scale**2 / n1 + 1 / n0)) ** 1.5

    def straight(effect: float) -> float:
        t = (other.mean() - one.mean() - effect) / error
        plain = t + skewness(0) * (2 * t**2 + 1) / 6 + skewness(0) ** 2 * t**3 / 27
        return plain + is_scaled * (skewness(effect) - skewness(0)) * (2 * critical**2 + 1) / 6

    wide = 3.5 * error
    low, high = (
        brentq(lambda effect, c=c: straight(effect) - c, found.effect - wide, found.effect + wide, xtol=1e-12)
        for c in (critical, -critical)
    )
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-8)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(straight(0)), welch.df), rel=1e-8)
    # Chance lies to the right where few large numbers make the small arm: so does the bound.
    assert found.high - found.effect > found.effect - found.low


def test_arms_of_one_size_are_tested_as_they_are():
    """The third moment is noise to a test of no effect, which arms of one size need no correction for."""
    rng = np.random.default_rng(3)
    one, other = spend(rng, 3_000, sigma=1.5), spend(rng, 3_000, sigma=1.5)
    found = compare((one, other))
    assert found.p_value == pytest.approx(stats.ttest_ind(other, one, equal_var=False).pvalue, rel=1e-9)
    # An effect of that size would be large payments in one arm: each bound reaches farther than without them.
    error = np.sqrt(one.var(ddof=1) / 3_000 + other.var(ddof=1) / 3_000)
    assert found.high - found.effect > 2 * error
    assert found.effect - found.low > 2 * error


def test_each_bound_is_wrong_in_at_most_3_percent_where_few_buyers_pay_half_as_much_more():
    rng = np.random.default_rng(9)
    truth = 0.02 * 0.5 * np.exp(3 + 0.5)
    below = above = plain = 0
    for _ in range(4_000):
        one, other = _sparse(rng, 2_000, 0.02, 1.0), _sparse(rng, 2_000, 0.02, 1.0, 1.5)
        found = means.difference([Stratum(one, other)], LEVEL)
        below, above = below + (truth < found.low), above + (truth > found.high)
        error = np.sqrt((one.variance + other.variance) / 2_000)
        plain += truth > other.mean - one.mean + 1.96 * error
    # Of 4,000 draws of 2.5 % at most 3.4 % are above by chance, at 1e-4; plain Welch is wrong in more than 4 %.
    assert below / 4_000 < 0.034
    assert above / 4_000 < 0.034
    assert plain / 4_000 > 0.036


@pytest.mark.parametrize(("n0", "n1", "sigma", "share"), [(9_000, 1_000, 0.7, 0.03), (4_500, 1_500, 1.0, 0.02)])
def test_corrected_intervals_cover_where_plain_ones_do_not(n0: int, n1: int, sigma: float, share: float):
    rng = np.random.default_rng(4)
    known = missed = plain_missed = 0
    for _ in range(3_000):
        one, other = (_sparse(rng, n, share, sigma) for n in (n0, n1))
        found = means.difference([Stratum(one, other)], LEVEL)
        known += found.is_known
        missed += found.is_known and found.excludes(0)
        error = np.sqrt(one.variance / n0 + other.variance / n1)
        plain_missed += abs(other.mean - one.mean) > 1.97 * error
    assert known > 2_700
    # Bands of a binomial at 1e-4: 3,000 draws of 5 % lie within 1.6 points.
    assert 0.034 < missed / known < 0.066, missed / known
    assert plain_missed / 3_000 > 0.062


def test_numbers_on_both_sides_of_0_are_moved_by_an_effect_and_not_multiplied():
    """Of gains and losses about 0 a few hundred are skewed alike in both arms: equal arms need no correction."""
    rng = np.random.default_rng(10)
    one, other = rng.exponential(1, 200) - 0.95, rng.exponential(1, 200) - 0.8
    found, expected = compare((one, other)), stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
    assert found.method == means.WELCH
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-9)
    losses = compare((-spend(rng, 3_000, 0.05), -spend(rng, 3_000, 0.05)))
    assert losses.method == means.STRAIGHTENED


def _sparse(rng: np.random.Generator, n: int, share: float, sigma: float, times: float = 1.0) -> Moments:
    """The moments of n units of which few are not 0, without the zeros in memory."""
    x = times * rng.lognormal(3, sigma, rng.binomial(n, share))
    mean = x.sum() / n
    d, zeros = x - mean, n - len(x)
    return Moments(n, mean, (d**2).sum() + zeros * mean**2, (d**3).sum() - zeros * mean**3, len(x))


def test_phases_are_weighted_by_sizes_alone():
    rng = np.random.default_rng(5)
    arms = [(rng.normal(5, 2, 300), rng.normal(6, 2, 100)), (rng.normal(9, 3, 200), rng.normal(9, 4, 600))]
    sizes = np.array([len(a) * len(b) / (len(a) + len(b)) for a, b in arms])
    weights = sizes / sizes.sum()
    effect = sum(w * (b.mean() - a.mean()) for w, (a, b) in zip(weights, arms, strict=True))
    parts = [
        (w**2 * each.var(ddof=1) / len(each), len(each) - 1)
        for w, pair in zip(weights, arms, strict=True)
        for each in pair
    ]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / left for part, left in parts)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(variance)
    found = compare(*arms)
    assert [found.effect, found.low, found.high] == pytest.approx([effect, effect - half, effect + half], abs=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(effect) / np.sqrt(variance), degrees), rel=1e-9)


def test_a_phase_without_units_in_one_arm_is_left_out():
    rng = np.random.default_rng(6)
    one, other = moments(rng.normal(5, 2, 300)), moments(rng.normal(6, 2, 300))
    alone = means.difference([Stratum(one, other)], LEVEL)
    assert means.difference([Stratum(one, other), Stratum(one, Moments())], LEVEL) == alone


def test_a_phase_with_one_unit_in_an_arm_does_not_silence_the_others():
    """The first day of a ramp may bring one customer: alone it has no variance."""
    one, other = (Moments(1_000, mean, 1_000.0, 0.0, 1_000) for mean in (1.0, 1.2))
    alone = Moments(1, 7.0, 0.0, 0.0, 1)
    plenty = Stratum(one, other)
    expected = means.difference([plenty], LEVEL)
    assert expected.is_known
    for small in (Stratum(alone, other), Stratum(one, alone), Stratum(alone, alone)):
        assert means.difference([small, plenty], LEVEL) == expected
        assert "one unit alone" in (means.difference([small], LEVEL).why_not or "")


@settings(deadline=None)
@given(
    st.integers(30, 3_000),
    st.integers(30, 3_000),
    st.floats(-3, 3),
    st.floats(0.1, 5),
    st.floats(-8, 8),
    st.sampled_from([0.2, 0.05, 0.001]),
)
def test_p_value_is_below_alpha_exactly_where_the_interval_leaves_out_0(
    n0: int, n1: int, effect: float, spread: float, skewness: float, alpha: float
):
    m3 = skewness * n0
    one, other = Moments(n0, 1.0, float(n0), m3, n0), Moments(n1, 1.0 + effect / 10, n1 * spread, m3, n1)
    found = means.difference([Stratum(one, other)], Level(alpha, 3))
    if found.is_known:
        assert found.low < found.effect < found.high or found.method == means.STRAIGHTENED
        assert found.low < found.high
        assert found.excludes(0) == (found.p_value < alpha)


@given(st.floats(0.01, 100), st.integers(1, 40))
def test_other_units_of_money_change_the_numbers_alone(factor: float, seed: int):
    rng = np.random.default_rng(seed)
    one, other = spend(rng, 2_000), spend(rng, 600)
    found, scaled = compare((one, other)), compare((one * factor, other * factor))
    assert scaled.why_not == found.why_not
    if found.is_known:
        assert [scaled.low, scaled.high] == pytest.approx([found.low * factor, found.high * factor], rel=1e-6, abs=1e-9)
        assert scaled.p_value == pytest.approx(found.p_value, rel=1e-6)


def test_arms_changed_change_the_sign_alone():
    rng = np.random.default_rng(7)
    one, other = spend(rng, 9_000), spend(rng, 2_500)
    there, back = compare((one, other)), compare((other, one))
    assert [there.low, there.high, there.p_value] == pytest.approx([-back.high, -back.low, back.p_value])


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (Moments(), Moments(), "no units"),
        (Moments(), Moments(50, 1.0, 9.0, 0.0, 50), "no units"),
        (Moments(1, 3.0, 0.0, 0.0, 1), Moments(50, 1.0, 9.0, 0.0, 50), "one unit alone"),
        (Moments(50, 0.0), Moments(50, 0.0), "nothing varies"),
        (Moments(50, 1.0, 0.0, 0.0, 50), Moments(50, 1.0, 0.0, 0.0, 50), "nothing varies"),
        (Moments(500, 0.01, 5.0, 5.0, 4), Moments(500, 0.01, 5.0, 5.0, 6), "anything but 0"),
        (Moments(9_000, 1.0, 9e5, 5e8, 900), Moments(1_000, 1.0, 1e5, 5e8, 100), "skew"),
    ],
)
def test_too_little_is_unknown_and_says_why(one: Moments, other: Moments, why: str):
    found = means.difference([Stratum(one, other)], LEVEL)
    assert why in found.why_not
    assert "not enough data" in found.why_not
    assert (found.effect, found.low, found.high, found.p_value) == (None,) * 4


def test_no_strata_are_unknown():
    assert not means.difference([], LEVEL).is_known


def test_an_arm_in_which_all_is_0_is_compared_where_the_other_has_plenty():
    rng = np.random.default_rng(8)
    found = compare((np.zeros(2_000), spend(rng, 2_000)))
    assert found.excludes(0)


def test_a_declared_cap_is_named():
    one, other = Moments(50, 1.0, 9.0, 0.0, 50), Moments(50, 2.0, 9.0, 0.0, 50)
    assert "above 250 counted as 250" in means.difference([Stratum(one, other)], LEVEL, cap=250).method


def test_huge_numbers_stay_finite():
    one, other = Moments(50, 1e140, 50e280, 0.0, 50), Moments(50, 1.3e140, 50e280, 0.0, 50)
    found = means.difference([Stratum(one, other)], LEVEL)
    assert np.isfinite([found.low, found.high]).all()
    tiny = Moments(50, 1e-140, 50e-280, 0.0, 50), Moments(50, 1.3e-140, 50e-280, 0.0, 50)
    assert means.difference([Stratum(*tiny)], LEVEL).p_value == pytest.approx(found.p_value, rel=1e-9)
