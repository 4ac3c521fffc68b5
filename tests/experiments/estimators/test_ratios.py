"""Ratios of totals against tea-tasting, and against units drawn again."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

from dataclasses import replace
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


def test_phases_are_weighted_by_their_denominators():
    rng = np.random.default_rng(4)
    strata = [Stratum(pairs(*clicks(rng, n)), pairs(*clicks(rng, m, 0.12))) for n, m in ((900, 300), (500, 1_500))]
    alone = [ratios.difference([each], LEVEL) for each in strata]
    found = ratios.difference(strata, LEVEL)
    totals = [[arm.count * arm.mean_y for arm in (each.control, each.treatment)] for each in strata]
    weights = np.array([one * other / (one + other) for one, other in totals])
    weights /= weights.sum()
    assert found.effect == pytest.approx(sum(w * each.effect for w, each in zip(weights, alone, strict=True)))
    halves = [(each.high - each.low) / 2 for each in alone]
    assert (found.high - found.low) / 2 == pytest.approx(np.hypot(*(weights * halves)), rel=2e-3)
    assert ratios.difference([strata[0], Stratum(strata[1].control, PairMoments())], LEVEL) == alone[0]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_tiny_phase_neither_silences_the_others_nor_moves_them(size: int, is_first: bool):
    rng = np.random.default_rng(7)
    large = [Stratum(pairs(*clicks(rng, 9_000)), pairs(*clicks(rng, 1_000, 0.12))) for _ in range(2)]
    expected = ratios.difference(large, LEVEL)
    for _ in range(50):
        tiny = Stratum(pairs(*clicks(rng, size)), pairs(*clicks(rng, size)))
        assert not ratios.difference([tiny], LEVEL).is_known
        found = ratios.difference([tiny, *large] if is_first else [*large, tiny], LEVEL)
        # Its weight is about that of its units: 2.5 of 1,802.5 for 5 and 5, which is 0.04 standard errors.
        width = expected.high - expected.low
        assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.05 * width)


def test_a_phase_in_which_nobody_has_a_denominator_is_left_out():
    rng = np.random.default_rng(8)
    large = Stratum(pairs(*clicks(rng, 900)), pairs(*clicks(rng, 300)))
    for silent in (PairMoments(2_000), PairMoments(1)):
        for strata in ([Stratum(silent, silent), large], [large, Stratum(large.control, silent)]):
            assert ratios.difference(strata, LEVEL) == ratios.difference([large], LEVEL)


def test_many_phases_that_are_vague_are_not_taken_for_one_that_is_known():
    rng = np.random.default_rng(9)
    vague = [Stratum(pairs(*clicks(rng, 4)), pairs(*clicks(rng, 4))) for _ in range(200)]
    assert "not known to 10%" in ratios.difference(vague, LEVEL).why_not


def test_phases_whose_weights_changed_do_not_make_an_effect_where_there_is_none():
    """Simpson's reversal: busy season triples the ratio, and by then most units are treated. Summed up, the treatment
    would seem to double it; it lowers it in each phase."""
    rng = np.random.default_rng(10)
    strata = [
        Stratum(pairs(*clicks(rng, 9_000, 0.1)), pairs(*clicks(rng, 1_000, 0.08))),
        Stratum(pairs(*clicks(rng, 1_000, 0.3)), pairs(*clicks(rng, 9_000, 0.25))),
        Stratum(pairs(*clicks(rng, 4, 0.9)), pairs(*clicks(rng, 2, 0.0))),
    ]
    summed = [sum(arms, PairMoments()) for arms in ([s.control for s in strata], [s.treatment for s in strata])]
    assert ratios.difference([Stratum(*summed)], LEVEL).low > 0
    assert ratios.difference(strata, LEVEL).high < 0


def test_a_tiny_phase_adds_nothing_on_average_where_the_variants_do_not_differ():
    """Arms of 3 and 1 units, where those with a large denominator have a small ratio: ratios of arms are biased by
    their size, and what a phase adds here is not."""
    rng = np.random.default_rng(11)
    added, apart = [], []
    for _ in range(20_000):
        (x0, y0), (x1, y1) = ((x.sum(), y.sum()) for x, y in (clicks(rng, 3, 0.5), clicks(rng, 1, 0.5)))
        added.append((x1 * y0 - x0 * y1) / (y0 + y1))
        apart.append(x1 / y1 - x0 / y0)
    assert abs(np.mean(added)) < 4 * np.std(added) / np.sqrt(20_000)
    assert np.mean(apart) > 4 * np.std(apart) / np.sqrt(20_000)


@pytest.mark.parametrize(("amounts", "heavy"), [("an order", 30_000), ("a message", 18_000)])
def test_third_moments_are_those_of_what_a_unit_adds(amounts: str, heavy: int):
    """The mixed moments that are not taken are put together from the second ones: near where orders are 0 or 1, or
    where amounts have nothing to do with the denominator."""
    rng = np.random.default_rng(12)
    paid = rng.lognormal(0, 1, heavy) * (rng.random(heavy) < 0.05)
    y = (paid > 0).astype(float) if amounts == "an order" else 1.0 + rng.poisson(4, heavy)
    one = pairs(paid, y)
    taken = replace(one, m3_x=((paid - paid.mean()) ** 3).sum())
    added = (paid - paid.sum() / y.sum() * y) / y.mean()
    assert ratios.score(taken, taken.ratio).m3 == pytest.approx((added**3).sum(), rel=0.05)


def test_few_large_amounts_in_a_small_arm_are_corrected_or_unknown():
    rng = np.random.default_rng(13)

    def spent(units: int, share: float = 0.05, sigma: float = 1.0) -> PairMoments:
        paid, y = rng.lognormal(0, sigma, units) * (rng.random(units) < share), 1.0 + rng.poisson(4, units)
        return replace(pairs(paid, y), m3_x=((paid - paid.mean()) ** 3).sum())

    found = ratios.difference([Stratum(spent(18_000), spent(2_000))], LEVEL)
    assert found.method == ratios.STRAIGHTENED
    assert found.high - found.effect > found.effect - found.low
    assert found.excludes(0) == (found.p_value < 0.05)
    few = ratios.difference([Stratum(spent(90_000, 0.2, 1.5), spent(2_000, 0.2, 1.5))], LEVEL)
    assert "skews the difference" in few.why_not


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
