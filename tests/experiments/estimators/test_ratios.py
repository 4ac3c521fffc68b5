"""Ratios of totals against tea-tasting, and against units drawn again."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.estimates import Level, Stratum
from experiments.estimators import ratios
from experiments.moments import PairMoments

LEVEL = Level()
Floats = NDArray[np.float64]


def pairs(x: Floats, y: Floats) -> PairMoments:
    dx, dy = x - x.mean(), y - y.mean()
    return PairMoments(len(x), x.mean(), y.mean(), (dx**2).sum(), (dy**2).sum(), (dx * dy).sum())


def clicks(rng: np.random.Generator, units: int, rate: float = 0.1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Clicks and messages, where who gets more messages clicks less."""
    messages = rng.poisson(rng.gamma(4, 2, units)) + 1.0
    return rng.binomial(messages.astype(int), rate * 3 / (messages + 3)).astype(float), messages


@pytest.mark.parametrize("sizes", [(800, 800), (2_000, 700)])
@pytest.mark.filterwarnings("ignore")
def test_interval_and_p_value_are_those_of_tea_tasting(sizes: tuple[int, int]):
    import pyarrow as pa
    import tea_tasting as tt

    rng = np.random.default_rng(1)
    arms = [clicks(rng, sizes[0]), clicks(rng, sizes[1], 0.12)]
    table = pa.table(
        {
            "variant": np.repeat([0, 1], sizes),
            "x": np.concatenate([arm[0] for arm in arms]),
            "y": np.concatenate([arm[1] for arm in arms]),
        }
    )
    experiment = tt.Experiment(ratio=tt.RatioOfMeans("x", "y", confidence_level=0.95, equal_var=False, use_t=True))
    expected = experiment.analyze(table)["ratio"]
    found = ratios.difference([Stratum(*(pairs(*arm) for arm in arms))], LEVEL)
    assert found.effect == pytest.approx(expected.effect_size, abs=1e-12)
    assert [found.low, found.high] == pytest.approx(
        [expected.effect_size_ci_lower, expected.effect_size_ci_upper], abs=1e-9
    )
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_intervals_cover_the_ratio_of_totals():
    rng = np.random.default_rng(2)
    truth = np.subtract(*(a.sum() / b.sum() for a, b in (clicks(rng, 2_000_000, 0.12), clicks(rng, 2_000_000))))
    below = above = 0
    for _ in range(2_000):
        found = ratios.difference([Stratum(pairs(*clicks(rng, 500)), pairs(*clicks(rng, 400, 0.12)))], LEVEL)
        below, above = below + (found.high < truth), above + (found.low > truth)
    # Bands of a binomial at 1e-4: 2,000 draws of 5 % lie within 1.9 points, of 2.5 % within 1.4.
    assert 0.031 < (below + above) / 2_000 < 0.069
    assert 0.011 < below / 2_000 < 0.039
    assert 0.011 < above / 2_000 < 0.039


def test_units_vary_and_not_messages():
    # Each unit's messages are all clicked or none: as many units as before tell less than their messages seem to.
    rng = np.random.default_rng(3)
    messages = np.full(500, 10.0)
    arms = [pairs(messages * (rng.random(500) < 0.3), messages) for _ in range(2)]
    found = ratios.difference([Stratum(*arms)], LEVEL)
    by_message = 1.96 * np.sqrt(2 * 0.3 * 0.7 / 5_000)
    assert (found.high - found.low) / 2 > 3 * by_message


def test_phases_are_weighted_by_sizes_alone():
    rng = np.random.default_rng(4)
    strata = [Stratum(pairs(*clicks(rng, n)), pairs(*clicks(rng, m, 0.12))) for n, m in ((900, 300), (500, 1_500))]
    alone = [ratios.difference([each], LEVEL) for each in strata]
    found = ratios.difference(strata, LEVEL)
    weights = np.array([900 * 300 / 1_200, 500 * 1_500 / 2_000])
    weights /= weights.sum()
    assert found.effect == pytest.approx(sum(w * each.effect for w, each in zip(weights, alone, strict=True)))
    halves = [(each.high - each.low) / 2 for each in alone]
    assert (found.high - found.low) / 2 == pytest.approx(np.hypot(*(weights * halves)), rel=2e-3)
    assert ratios.difference([strata[0], Stratum(strata[1].control, PairMoments())], LEVEL) == alone[0]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.05, 0.01]), st.floats(0.5, 2))
def test_p_value_is_below_alpha_exactly_where_the_interval_leaves_out_0(seed: int, alpha: float, lift: float):
    rng = np.random.default_rng(seed)
    found = ratios.difference(
        [Stratum(pairs(*clicks(rng, 200)), pairs(*clicks(rng, 220, 0.1 * lift)))], Level(alpha, 2)
    )
    assert found.is_known
    assert found.excludes(0) == (found.p_value < alpha)


PLENTY = PairMoments(500, 1.0, 4.0, 500.0, 2_000.0, 100.0)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (PairMoments(), PLENTY, "no units"),
        (PLENTY, PairMoments(500, 1.0, 0.0, 500.0), "denominator of an arm is 0"),
        (PLENTY, PairMoments(500, 1.0, 0.001, 500.0, 50.0), "not known to 10%"),
        (PLENTY, PairMoments(1, 1.0, 2.0), "not known to 10%"),
        (PairMoments(500, 0.01, 4.0, 5.0, 2_000.0), PairMoments(500, 0.02, 4.0, 9.0, 2_000.0), "worth of numerator"),
        (PairMoments(9_000, 0.04, 4.0, 400.0, 2e4), PairMoments(900, 0.04, 4.0, 40.0, 2e3), "skews the difference"),
        (PairMoments(50, 1.0, 2.0), PairMoments(50, 1.0, 2.0), "nothing varies"),
        (PairMoments(50, 0.0, 2.0), PairMoments(50, 0.0, 2.0), "nothing varies"),
    ],
)
def test_too_little_is_unknown_and_says_why(one: PairMoments, other: PairMoments, why: str):
    found = ratios.difference([Stratum(one, other)], LEVEL)
    assert why in found.why_not
    assert "not enough data" in found.why_not
    assert (found.effect, found.low, found.high, found.p_value) == (None,) * 4


def test_no_strata_are_unknown():
    assert not ratios.difference([], LEVEL).is_known
