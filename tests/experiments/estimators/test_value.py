"""Net value against Welch's test of the net amounts themselves; the break-even against trying many losses."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

from dataclasses import replace
from math import inf, nextafter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from experiments.estimates import Level, Stratum
from experiments.estimators import value
from experiments.moments import PairMoments

LEVEL = Level()
Floats = NDArray[np.float64]
Arm = tuple[Floats, Floats]  # money and lost reach


def pairs(arm: Arm, with_m3: bool = True) -> PairMoments:
    x, y = arm
    dx, dy = x - x.mean(), y - y.mean()
    m3 = float((dx**3).sum()) if with_m3 else None
    return PairMoments(len(x), x.mean(), y.mean(), (dx**2).sum(), (dy**2).sum(), (dx * dy).sum(), m3)


def draw(rng: np.random.Generator, units: int, more: float = 0.0, lost: float = 0.05) -> Arm:
    return rng.gamma(4, 1, units) + more, (rng.random(units) < lost).astype(float)


def stratum(*arms: Arm) -> Stratum[PairMoments]:
    return Stratum(*(pairs(each) for each in arms))


@pytest.mark.parametrize("loss", [0.0, 1.5, 40.0])
def test_net_difference_is_welch_of_the_net_amounts(loss: float):
    rng = np.random.default_rng(1)
    arms = draw(rng, 900), draw(rng, 1_000, 0.2, 0.08)
    one, other = (x - loss * y for x, y in arms)
    expected = stats.ttest_ind(other, one, equal_var=False)
    found = value.net_difference([stratum(*arms)], loss, LEVEL)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert [found.low, found.high] == pytest.approx(list(expected.confidence_interval(0.95)), abs=1e-9)


def tried(strata: list[Stratum[PairMoments]], level: Level, largest: float) -> list[tuple[float, bool]]:
    """Losses from 0 on, and whether the net difference at each is compatible with 0."""
    losses = np.concatenate([np.linspace(0, largest, 800), np.geomspace(largest, 1e9 * largest, 60)])
    return [(loss, not value.net_difference(strata, loss, level).excludes(0)) for loss in losses]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(-0.4, 0.4), st.floats(0.01, 0.12), st.sampled_from([0.05, 0.3]))
def test_break_even_holds_the_losses_that_tie_and_no_others(seed: int, more: float, lost: float, alpha: float):
    rng = np.random.default_rng(seed)
    strata = [stratum(draw(rng, 400), draw(rng, 500, more, lost)), stratum(draw(rng, 300), draw(rng, 200, more, lost))]
    found = value.break_even(strata, Level(alpha))
    for loss, ties in tried(strata, Level(alpha), 30.0):
        close = any(abs(loss - edge) <= 1e-6 * (1 + loss) for part in found.parts for edge in part)
        assert close or ties == any(low <= loss <= high for low, high in found.parts)


def known(more: float, lost: float, units: int = 4_000) -> value.BreakEven:
    rng = np.random.default_rng(5)
    return value.break_even([stratum(draw(rng, units), draw(rng, units, more, lost))], LEVEL)


def test_more_money_for_more_lost_customers_ties_between_two_losses():
    found = known(0.4, 0.15)
    ((low, high),) = found.parts
    assert 0 < low < found.loss < high < inf
    assert found.sentence == ""  # amounts are said in the plan's currency


def test_more_money_and_fewer_lost_customers_are_better_at_any_loss():
    found = known(0.4, 0.01)
    assert found.parts == ()
    assert found.loss is None
    assert found.sentence == "The treatment is worth more at any loss of reach."
    assert known(-0.4, 0.15).sentence == "The control is worth more at any loss of reach."


def test_more_money_and_perhaps_as_many_lost_customers_tie_from_a_loss_on():
    ((low, high),) = known(0.4, 0.05).parts
    assert low > 0
    assert high == inf


def test_as_much_money_and_more_lost_customers_tie_up_to_a_loss():
    found = known(0.0, 0.15)
    ((low, high),) = found.parts
    assert low == 0
    assert high < inf


def test_nothing_told_apart_ties_at_any_loss():
    found = known(0.0, 0.05)
    assert found.parts == ((0.0, inf),)
    assert "any loss of reach" in found.sentence


def test_losses_that_differ_by_their_rounding_alone_make_no_tie_at_an_astronomic_loss():
    rng = np.random.default_rng(19)
    one, other = pairs(draw(rng, 500)), pairs(draw(rng, 500, 0.3))
    other = replace(other, mean_y=nextafter(one.mean_y, 0.0))
    assert value.break_even([Stratum(one, replace(other, mean_y=one.mean_y))], LEVEL).loss is None
    found = value.break_even([Stratum(one, other)], LEVEL)
    assert found.is_known
    assert found.loss is None


def test_losses_in_between_alone_may_tell_variants_apart():
    # Money and lost reach vary together, so that some net is nearly certain while both alone are not.
    one = PairMoments(1_000, 1.0, 0.10, 900.0, 90.0, 280.0)
    other = PairMoments(1_000, 1.05, 0.08, 900.0, 90.0, 280.0)
    found = value.break_even([Stratum(one, other)], LEVEL)
    (first, second) = found.parts
    assert first[0] == 0
    assert second[1] == inf
    assert first[1] < second[0]
    middle = (first[1] + second[0]) / 2
    assert value.net_difference([Stratum(one, other)], middle, LEVEL).excludes(0)


def test_break_even_covers_the_loss_that_ties():
    rng = np.random.default_rng(6)
    truth, missed = 0.3 / 0.05, 0
    for _ in range(1_500):
        found = value.break_even([stratum(draw(rng, 300, 0.0, 0.05), draw(rng, 300, 0.3, 0.10))], LEVEL)
        missed += not any(low <= truth <= high for low, high in found.parts)
    assert 0.028 < missed / 1_500 < 0.074  # a binomial's band at 1e-4 around 5 %


def test_few_large_amounts_in_a_small_arm_are_corrected_or_refused():
    rng = np.random.default_rng(7)

    def spend(units: int, share: float) -> Arm:
        return rng.lognormal(3, 0.7, units) * (rng.random(units) < share), (rng.random(units) < 0.05).astype(float)

    found = value.net_difference([stratum(spend(9_000, 0.1), spend(1_500, 0.1))], 2.0, LEVEL)
    assert found.method == value.STRAIGHTENED
    few = [stratum(spend(9_000, 0.01), spend(300, 0.01))]
    assert "skew" in value.net_difference(few, 2.0, LEVEL).why_not
    assert "skew" in value.break_even(few, LEVEL).why_not


def test_few_lost_customers_of_a_large_loss_skew_the_net_too():
    rng = np.random.default_rng(9)
    arms = draw(rng, 9_000, 0.0, 0.04), draw(rng, 1_500, 0.0, 0.04)
    assert value.net_difference([stratum(*arms)], 0.1, LEVEL).method == value.WELCH
    found = value.net_difference([stratum(*arms)], 60.0, LEVEL)
    assert found.method == value.STRAIGHTENED
    assert found.effect - found.low > found.high - found.effect


def test_without_third_moments_nothing_is_corrected():
    rng = np.random.default_rng(8)
    arms = draw(rng, 900), draw(rng, 1_000)
    found = value.net_difference([Stratum(*(pairs(each, with_m3=False) for each in arms))], 2.0, LEVEL)
    assert found.method == value.WELCH


ALL_ALIKE = PairMoments(50, 1.0, 0.0)
SOME = PairMoments(50, 1.0, 0.1, 20.0, 4.5, 0.5)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (PairMoments(), SOME, "no units"),
        (PairMoments(1, 1.0, 1.0), SOME, "one unit alone"),
        (ALL_ALIKE, ALL_ALIKE, "nothing varies"),
    ],
)
def test_too_little_is_unknown_and_says_why(one: PairMoments, other: PairMoments, why: str):
    found = value.net_difference([Stratum(one, other)], 2.0, LEVEL)
    assert why in found.why_not
    assert (found.effect, found.low, found.high, found.p_value) == (None,) * 4
    assert not value.break_even([Stratum(one, other)], LEVEL).is_known


def test_without_lost_reach_there_is_no_break_even():
    kept = PairMoments(50, 1.0, 0.0, 20.0)
    assert "nobody's reach was lost" in value.break_even([Stratum(kept, kept)], LEVEL).why_not
    assert not value.break_even([], LEVEL).is_known


def test_money_that_does_not_vary_has_no_break_even():
    flat = PairMoments(50, 1.0, 0.1, 0.0, 4.5)
    assert "does not vary" in value.break_even([Stratum(flat, flat)], LEVEL).why_not


@pytest.mark.parametrize("loss", [-1.0, inf, float("nan")])
def test_a_loss_that_is_no_amount_is_refused(loss: float):
    with pytest.raises(ValueError, match="loss of reach"):
        value.net_difference([Stratum(SOME, SOME)], loss, LEVEL)
