"""The dose table against Dunnett's own figures, a multivariate normal, and simulated experiments."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from experiments.design import Direction
from experiments.estimates import Level, Stratum
from experiments.estimators import dose, means, proportions, value
from experiments.estimators.dose import Arm, DoseTable
from experiments.moments import Counts, Moments, PairMoments

LEVEL = Level()
CONTROL = Counts(1_000, 10_000)


def rates(treated: Sequence[Counts], control: Counts = CONTROL, level: Level = LEVEL) -> DoseTable:
    """Of doses 2, 3, ... beside a control of dose 1."""
    tested = [
        Arm(f"limit {place}", float(place), each, strata=[Stratum(control, each)])
        for place, each in enumerate(treated, start=2)
    ]
    return dose.table(Arm("limit 1", 1.0, control), tested, dose.RATES, level)


@pytest.mark.parametrize(
    ("doses", "alpha", "critical"),
    # Dunnett (1964), Biometrics 20:482, table II, two-sided, infinite degrees of freedom.
    [
        (2, 0.05, 2.21),
        (3, 0.05, 2.35),
        (4, 0.05, 2.44),
        (5, 0.05, 2.51),
        (9, 0.05, 2.69),
        (2, 0.01, 2.79),
        (5, 0.01, 3.06),
    ],
)
def test_arms_of_one_size_have_dunnetts_critical_values(doses: int, alpha: float, critical: float):
    arms = [Moments(10_000, 1.0, 10_000.0, 0.0, 10_000)] * (doses + 1)
    tested = [Arm(str(i), float(i), each, strata=[Stratum(arms[0], each)]) for i, each in enumerate(arms[1:], start=2)]
    table = dose.table(Arm("control", 1.0, arms[0]), tested, dose.MEANS, Level(alpha))
    half = table.row("2").effect.high - table.row("2").effect.effect
    assert half / np.sqrt(2 / 9_999) == pytest.approx(critical, abs=0.0051)


def test_bounds_and_p_values_are_those_of_a_multivariate_normal():
    treated = [Counts(1_080, 9_000), Counts(560, 5_000), Counts(2_300, 22_000)]
    variances = [each.rate * (1 - each.rate) / each.count for each in (CONTROL, *treated)]
    shares = np.array([variances[0] / (variances[0] + each) for each in variances[1:]])
    correlation = np.sqrt(np.outer(shares, shares))
    np.fill_diagonal(correlation, 1)

    def outside(z: float) -> float:
        box = np.full(3, z)
        return 1 - multivariate_normal(cov=correlation, seed=1).cdf(box, lower_limit=-box)

    critical = brentq(lambda z: outside(z) - 0.05, 1.9, 2.6, xtol=1e-7)
    table = rates(treated)
    for place, each in enumerate(treated, start=2):
        alone = proportions.difference([Stratum(CONTROL, each)], Level(2 * norm.sf(critical)))
        found = table.row(f"limit {place}").effect
        # scipy draws points for its integral, good to some 1e-5
        assert [found.low, found.high] == pytest.approx([alone.low, alone.high], abs=1e-6)
        assert found.p_value == pytest.approx(outside(-norm.ppf(alone.p_value / 2)), abs=1e-4)
        assert found.effect == alone.effect


def test_simultaneous_intervals_lie_between_single_ones_and_bonferronis():
    treated = [Counts(1_080, 10_000), Counts(1_050, 10_000), Counts(1_100, 10_000)]
    for row, each in zip(rates(treated).rows[1:], treated, strict=True):
        strata = [Stratum(CONTROL, each)]
        single, bonferroni = (proportions.difference(strata, Level(0.05, count)) for count in (1, 3))
        assert bonferroni.low < row.effect.low < single.low
        assert single.high < row.effect.high < bonferroni.high
        assert single.p_value < row.effect.p_value <= 3 * single.p_value


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(900, 1_150), min_size=1, max_size=4), st.sampled_from([0.05, 0.2]), st.integers(1, 3))
def test_p_values_are_below_alpha_exactly_where_intervals_leave_out_0(
    successes: list[int], alpha: float, comparisons: int
):
    level = Level(alpha, comparisons)
    for row in rates([Counts(each, 10_000) for each in successes], level=level).rows[1:]:
        assert row.effect.level == level
        assert row.effect.excludes(0) == (row.effect.p_value < level.alpha)


def test_intervals_hold_for_all_doses_and_for_the_one_chosen():
    rng = np.random.default_rng(1)
    truth, sizes = np.array([1.0, 1.1, 1.2, 1.2, 1.0]), (900, 400, 400, 1_500, 400)
    missed = missed_best = 0
    for _ in range(800):
        means_drawn = rng.normal(truth, 1 / np.sqrt(sizes))
        control, *treated = (Moments(n, mean, float(n - 1), 0.0, n) for n, mean in zip(sizes, means_drawn, strict=True))
        tested = [Arm(str(i), float(i), each, strata=[Stratum(control, each)]) for i, each in enumerate(treated, 2)]
        rows = dose.table(Arm("control", 1.0, control), tested, dose.MEANS, LEVEL).rows[1:]
        effects = truth[1:] - truth[0]
        misses = [row.effect.excludes(effect) for row, effect in zip(rows, effects, strict=True)]
        missed += any(misses)
        missed_best += misses[int(np.argmax([row.effect.effect for row in rows]))]
    # Of 800 at 5 %, more than 8.3 % or fewer than 2.0 % would come once in 10,000 times.
    assert 0.020 < missed / 800 < 0.083
    assert missed_best <= missed


def test_one_dose_is_compared_as_ever():
    found = rates([Counts(1_080, 10_000)]).row("limit 2").effect
    assert found == proportions.difference([Stratum(CONTROL, Counts(1_080, 10_000))], LEVEL)


def test_tiny_counts_and_several_phases_are_corrected_by_bonferroni():
    tiny = rates([Counts(3, 10_000), Counts(9, 10_000)], Counts(2, 10_000))
    for row, each in zip(tiny.rows[1:], (Counts(3, 10_000), Counts(9, 10_000)), strict=True):
        alone = proportions.difference([Stratum(Counts(2, 10_000), each)], Level(0.05, 2))
        assert (row.effect.low, row.effect.high) == (alone.low, alone.high)
        assert row.effect.p_value == pytest.approx(alone.p_value)
        assert "Bonferroni" in row.effect.method
    arms = [Moments(1_000, mean, 1_000.0, 0.0, 1_000) for mean in (1.0, 1.1, 1.2)]
    tested = [Arm(str(i), float(i), arms[i], strata=[Stratum(arms[0], arms[i])] * 2) for i in (1, 2)]
    table = dose.table(Arm("control", 0.0, arms[0]), tested, dose.MEANS, LEVEL)
    alone = means.difference([Stratum(arms[0], arms[2])] * 2, Level(0.05, 2))
    assert [table.row("2").effect.low, table.row("2").effect.high] == pytest.approx([alone.low, alone.high])


def test_limits_and_contacts_received_stand_side_by_side_by_dose():
    control, low, high = (Counts(each, 10_000) for each in (1_000, 1_010, 1_090))
    received = [Moments(10_000, mean, 5_000.0, 0.0, 9_000) for mean in (0.9, 1.4, 2.1)]
    tested = [
        Arm("ten", 10.0, high, received[2], [Stratum(control, high)]),
        Arm("three", 3.0, low, received[1], [Stratum(control, low)]),
    ]
    table = dose.table(Arm("five", 5.0, control, received[0]), tested, dose.RATES, LEVEL)
    assert [(row.variant, row.dose, row.received, row.level) for row in table.rows] == [
        ("three", 3.0, 1.4, 0.101),
        ("five", 5.0, 0.9, 0.1),
        ("ten", 10.0, 2.1, 0.109),
    ]
    assert table.row("five").effect is None
    assert dose.table(Arm("five", 5.0, control, Moments()), [], dose.RATES, LEVEL).rows[0].received is None


def test_an_arm_without_units_is_a_row_without_an_effect():
    table = rates([Counts(), Counts(1_080, 10_000)])
    assert table.row("limit 2").level is None
    assert "no units" in table.row("limit 2").effect.why_not
    assert table.row("limit 3").effect.is_known


def test_net_value_and_ratios_have_tables_too():
    arms = [PairMoments(2_000, mean, 0.05, 2_000.0, 95.0, 10.0) for mean in (1.0, 1.1, 1.2)]
    tested = [Arm(str(i), float(i), arms[i], strata=[Stratum(arms[0], arms[i])]) for i in (1, 2)]
    table = dose.table(Arm("control", 0.0, arms[0]), tested, dose.net_value(2.0), LEVEL)
    single = value.net_difference([Stratum(arms[0], arms[2])], 2.0, LEVEL)
    found = table.row("2").effect
    assert table.row("2").level == pytest.approx(1.1)
    assert (found.high - found.low) / (single.high - single.low) == pytest.approx(2.2121 / 1.96, rel=1e-3)
    ratios = dose.table(Arm("control", 0.0, arms[0]), tested, dose.RATIOS, LEVEL)
    assert ratios.row("1").level == pytest.approx(22)
    assert "Dunnett" in ratios.row("1").effect.method


def values() -> DoseTable:
    return rates([Counts(1_020, 10_000), Counts(1_200, 10_000), Counts(1_250, 10_000)])


def test_the_best_value_among_those_with_shown_guardrails_is_recommended():
    found = dose.recommended(values(), {"limit 2", "limit 3"})
    assert (found.variant, found.dose, found.is_shown) == ("limit 3", 3.0, True)
    assert found.effect == values().row("limit 3").effect
    assert dose.recommended(values(), {"limit 2", "limit 3", "limit 4"}).variant == "limit 4"


def test_a_best_value_that_may_be_chance_is_said_to_be():
    found = dose.recommended(values(), {"limit 2"})
    assert (found.variant, found.is_shown) == ("limit 2", False)
    assert "not told apart" in found.sentence


def test_the_control_stays_where_nothing_allowed_is_better():
    assert dose.recommended(values(), set()).variant == "limit 1"
    stays = dose.recommended(values(), {"limit 4"}, Direction.DECREASE)
    assert (stays.variant, stays.effect, stays.is_shown) == ("limit 1", None, False)


def test_without_any_known_effect_nothing_is_recommended():
    assert dose.recommended(rates([Counts(), Counts()]), {"limit 2"}) is None
    assert dose.recommended(replace(values(), rows=values().rows[:1]), {"limit 2"}) is None
