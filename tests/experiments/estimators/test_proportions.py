"""The score interval against published figures, an inversion that shares no code, and statsmodels; the exact one
against enumeration of all tables."""
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportOptionalIterable=false
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# An estimate's numbers may be None, and scipy has no types: a test that expects a number fails without one anyway.

from functools import cache
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import barnard_exact, binom, binomtest, norm

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import exact, proportions, score
from experiments.moments import Counts
from tests.calibration.report import report

LEVEL = Level()
Table = tuple[int, int, int, int]  # successes and units of the control, then of the treatment
TABLES: list[Table] = [
    (20, 100, 35, 110),
    (30, 1000, 54, 900),
    (120, 400, 90, 410),
    (40, 1_000_000, 55, 1_000_000),
    (995, 1000, 980, 1000),
    (500, 5_000_000, 700, 5_000_000),
]


def stratum(table: Table) -> Stratum[Counts]:
    return Stratum(Counts(*table[:2]), Counts(*table[2:]))


def compare(*tables: Table, level: Level = LEVEL) -> Estimate:
    return proportions.difference([stratum(each) for each in tables], level)


def likeliest(table: Table, delta: float) -> float:
    """The control's rate under which the counts are likeliest if the treatment's is `delta` more: by bisection."""
    x0, n0, x1, n1 = table
    low, high = max(0.0, -delta), min(1.0, 1 - delta)
    for _ in range(70):
        p = (low + high) / 2
        q = p + delta
        parts = ((x0, p), (x0 - n0, 1 - p), (x1, q), (x1 - n1, 1 - q))
        if sum(count / rate if rate > 0 else count * inf for count, rate in parts if count) > 0:
            low = p
        else:
            high = p
    return (low + high) / 2


def oracle_z(tables: list[Table], weights: list[float], delta: float) -> float:
    above = variance = 0.0
    for table, weight in zip(tables, weights, strict=True):
        x0, n0, x1, n1 = table
        p0 = likeliest(table, delta)
        p1 = min(1.0, max(0.0, p0 + delta))
        above += weight * (x1 / n1 - x0 / n0 - delta)
        variance += weight**2 * (p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1) * (n0 + n1) / (n0 + n1 - 1)
    return above / sqrt(variance)


def oracle_bounds(tables: list[Table], weights: list[float]) -> list[float]:
    """By bisection."""
    effect = sum(w * (t[2] / t[3] - t[0] / t[1]) for t, w in zip(tables, weights, strict=True))
    found = []
    for end, sign in ((-1 + 1e-12, 1), (1 - 1e-12, -1)):
        inside, outside = effect, end
        for _ in range(60):
            middle = (inside + outside) / 2
            if sign * oracle_z(tables, weights, middle) > norm.ppf(0.975):
                outside = middle
            else:
                inside = middle
        found.append(inside)
    return found


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17:873, table II, method 5.
        ((48, 80, 56, 70), 0.0528, 0.3382),
        ((3, 10, 9, 10), 0.1700, 0.8406),
        ((2, 7, 6, 7), 0.0342, 0.8534),
        ((0, 29, 5, 56), -0.0326, 0.1933),
        ((0, 20, 0, 10), -0.1658, 0.2844),
        ((0, 10, 0, 10), -0.2879, 0.2879),
        ((0, 20, 10, 10), 0.7156, 1.0000),
        ((0, 10, 10, 10), 0.6636, 1.0000),
    ],
)
def test_score_bounds_are_those_that_newcombe_published(table: Table, low: float, high: float):
    assert score.bounds([(1.0, stratum(table))], 0.05) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize("table", TABLES)
def test_score_bounds_are_those_of_a_plain_inversion(table: Table):
    found = compare(table)
    assert found.method == proportions.SCORE
    assert [found.low, found.high] == pytest.approx(oracle_bounds([table], [1.0]), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.filterwarnings("ignore")
def test_p_value_is_that_of_statsmodels(table: Table):
    from statsmodels.stats.proportion import test_proportions_2indep

    x0, n0, x1, n1 = table
    expected = test_proportions_2indep(x1, n1, x0, n0, method="score", compare="diff", correction=True)
    assert compare(table).p_value == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_bounds_are_those_of_statsmodels_where_its_slip_does_not_matter():
    # statsmodels 0.15 has the control's successes where its units belong, in the cubic whose root the fitted rate is
    # (its issue 10269). Bounds differ in the third digit, save where the fitted rate is 0 or 1 anyway.
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = score.bounds([(1.0, stratum((0, 30, 9, 30)))], 0.05)
    assert found == pytest.approx(
        confint_proportions_2indep(9, 30, 0, 30, method="score", compare="diff", correction=True), abs=1e-6
    )
    x0, n0, x1, n1 = 10, 100, 20, 110
    expected = confint_proportions_2indep(x1, n1, x0, n0, method="score", compare="diff", correction=True)
    assert abs(compare((x0, n0, x1, n1)).high - expected[1]) > 1e-3


def test_phases_are_those_of_a_plain_inversion_of_the_stratified_statistic():
    tables: list[Table] = [(20, 100, 35, 110), (300, 2000, 90, 500), (7, 50, 12, 400)]
    sizes = [n0 * n1 / (n0 + n1) for _, n0, _, n1 in tables]
    weights = [each / sum(sizes) for each in sizes]
    found = compare(*tables)
    assert found.method == proportions.SCORE_OF_STRATA
    assert found.effect == pytest.approx(
        sum(w * (t[2] / t[3] - t[0] / t[1]) for t, w in zip(tables, weights, strict=True))
    )
    assert [found.low, found.high] == pytest.approx(oracle_bounds(tables, weights), abs=1e-6)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(oracle_z(tables, weights, 0.0))), rel=1e-6)


def test_phases_of_other_weights_do_not_mix_their_rates():
    # Within each phase nothing differs; added up, the treatment would seem to be 16 points better.
    found = compare((100, 1000, 10, 100), (50, 100, 500, 1000))
    assert found.effect == pytest.approx(0, abs=1e-12)
    assert not found.excludes(0)


def test_a_phase_without_units_in_one_arm_is_left_out():
    assert compare((20, 100, 35, 110), (5, 50, 0, 0)) == compare((20, 100, 35, 110))


ANY_TABLE = st.tuples(st.integers(1, 300), st.integers(1, 300)).flatmap(
    lambda sizes: st.tuples(st.integers(0, sizes[0]), st.just(sizes[0]), st.integers(0, sizes[1]), st.just(sizes[1]))
)


@settings(deadline=None, max_examples=80)
@given(ANY_TABLE, st.sampled_from([0.2, 0.05, 0.01]), st.integers(1, 4))
def test_p_value_is_below_alpha_exactly_where_the_interval_leaves_out_0(table: Table, alpha: float, comparisons: int):
    level = Level(alpha, comparisons)
    found = compare(table, level=level)
    assert found.is_known
    assert -1 <= found.low <= found.effect <= found.high <= 1
    assert found.low < found.high
    assert found.excludes(0) == (found.p_value is not None and found.p_value < level.alpha)


@settings(deadline=None, max_examples=40)
@given(ANY_TABLE)
def test_arms_changed_change_the_sign_alone_and_so_do_outcomes(table: Table):
    x0, n0, x1, n1 = table
    found = compare(table)
    for mirrored in (compare((x1, n1, x0, n0)), compare((n0 - x0, n0, n1 - x1, n1))):
        assert [-mirrored.high, -mirrored.low] == pytest.approx([found.low, found.high], abs=1e-6)
        assert mirrored.p_value == pytest.approx(found.p_value, abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(ANY_TABLE)
def test_a_surer_interval_contains_a_less_sure_one(table: Table):
    one, other = compare(table, level=Level(0.05)), compare(table, level=Level(0.01))
    assert other.low <= one.low + 1e-9
    assert other.high >= one.high - 1e-9


@pytest.mark.parametrize(
    ("n0", "n1", "p0", "p1"), [(500, 500, 0.04, 0.04), (500, 500, 0.04, 0.07), (900, 300, 0.2, 0.25)]
)
def test_score_interval_covers_what_it_says_where_it_holds(n0: int, n1: int, p0: float, p1: float):
    counts0 = np.arange(binom.ppf(1e-6, n0, p0), binom.isf(1e-6, n0, p0) + 1).astype(int)
    counts1 = np.arange(binom.ppf(1e-6, n1, p1), binom.isf(1e-6, n1, p1) + 1).astype(int)
    critical = norm.ppf(0.975)
    above = below = 0.0
    for x0 in map(int, counts0):
        for x1 in map(int, counts1):
            z = score.statistic([(1.0, stratum((x0, n0, x1, n1)))], p1 - p0)
            chance = binom.pmf(x0, n0, p0) * binom.pmf(x1, n1, p1)
            above, below = above + chance * (z > critical), below + chance * (z < -critical)
    assert 0.945 <= 1 - above - below <= 0.955
    assert 0.018 <= above <= 0.032
    assert 0.018 <= below <= 0.032


@cache
def exact_bounds(table: Table, alpha: float) -> tuple[float, float]:
    found = exact.difference(*(Counts(*each) for each in (table[:2], table[2:])), alpha)
    return found.low, found.high


@pytest.mark.parametrize(("n0", "n1"), [(1, 1), (1, 9), (8, 8), (5, 13)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_exact_bounds_are_each_wrong_with_at_most_half_of_alpha(n0: int, n1: int, alpha: float):
    low, high = np.array(
        [[exact_bounds((x0, n0, x1, n1), alpha) for x1 in range(n1 + 1)] for x0 in range(n0 + 1)]
    ).transpose(2, 0, 1)
    worst = 0.0
    for p0 in np.linspace(0.003, 0.997, 61):
        for p1 in np.linspace(0.003, 0.997, 61):
            chances = np.outer(binom.pmf(np.arange(n0 + 1), n0, p0), binom.pmf(np.arange(n1 + 1), n1, p1))
            missed_above, missed_below = chances[low > p1 - p0].sum(), chances[high < p1 - p0].sum()
            worst = max(worst, missed_above, missed_below)
    assert worst <= alpha / 2
    if min(n0, n1) > 1:
        assert worst > alpha / 5  # and not by being useless


@pytest.mark.parametrize("table", [(1, 100, 6, 100), (0, 80, 4, 75), (3, 50, 0, 120), (19, 20, 20, 20), (1, 20, 9, 12)])
def test_exact_p_value_is_that_of_all_tables_enumerated(table: Table):
    # The order of tables by an own inversion of the score; the rate searched by steps where both arms allow it.
    x0, n0, x1, n1 = table
    reference = oracle_bounds([table], [1.0])[0]
    k0, k1 = np.arange(n0 + 1), np.arange(n1 + 1)
    z = np.array([[oracle_z_of((int(a), n0, int(b), n1), reference) for b in k1] for a in k0])
    extreme = z >= z[x0, x1] - 1e-7
    allowed = [binomtest(x, n).proportion_ci(1 - 5e-7, method="exact") for x, n in ((x0, n0), (x1, n1))]
    rates = np.linspace(max(each.low for each in allowed), min(each.high for each in allowed), 1501)[:, np.newaxis]
    tails = np.einsum("ri,ij,rj->r", binom.pmf(k0, n0, rates), extreme.astype(float), binom.pmf(k1, n1, rates))
    one_sided = exact._p_value_of_at_most(Counts(x0, n0), Counts(x1, n1))(0.0)
    assert one_sided == pytest.approx(tails.max(), rel=1e-3, abs=3e-6)


def oracle_z_of(table: Table, delta: float) -> float:
    try:
        return oracle_z([table], [1.0], delta)
    except ZeroDivisionError:
        return inf


def test_exact_p_value_is_barnards_where_both_order_tables_alike():
    for x0, n0, x1, n1 in ((1, 100, 6, 100), (19, 20, 20, 20)):
        expected = barnard_exact([[x1, x0], [n1 - x1, n0 - x0]], alternative="greater").pvalue
        found = exact.difference(Counts(x0, n0), Counts(x1, n1), 0.05)
        assert found.p_value == pytest.approx(2 * expected, abs=4e-6)


def test_extreme_tables_are_those_with_more_of_the_treatment_and_fewer_of_the_control():
    # What the exact bounds rest on: the statistic rises with the treatment's count and falls with the control's.
    for n0, n1 in ((9, 9), (5, 13)):
        for delta in (-0.9, -0.3, 0.0, 0.2, 0.7):
            z = np.array(
                [
                    [score.statistic([(1.0, stratum((a, n0, b, n1)))], delta) for b in range(n1 + 1)]
                    for a in range(n0 + 1)
                ]
            )
            assert (np.diff(z, axis=1) >= -1e-9).all()
            assert (np.diff(z, axis=0) <= 1e-9).all()


def test_tiny_counts_are_exact_whatever_the_number_of_units():
    found = compare((2, 500_000, 7, 500_000))
    assert found.method == proportions.EXACT
    assert found.low < 0 < found.high
    assert found.p_value == pytest.approx(0.1027, abs=1e-3)
    # Given 9 outcomes in all, the treatment's are binomial with one half: what an exact test of two Poisson rates says.
    assert found.p_value < 2 * binom.sf(6, 9, 0.5)


@pytest.mark.parametrize("successes", [0, 1000])
def test_where_nobody_or_everybody_had_the_outcome_there_are_bounds_and_no_p_value(successes: int):
    found = compare((successes, 1000, successes, 1000))
    assert found.p_value is None
    assert found.effect == 0
    assert -0.005 < found.low < -0.003
    assert 0.003 < found.high < 0.005


@pytest.mark.parametrize("tables", [[], [(0, 0, 0, 0)], [(0, 0, 3, 10)], [(3, 10, 0, 0), (0, 0, 3, 10)]])
def test_without_units_in_both_arms_nothing_is_known(tables: list[Table]):
    found = compare(*tables)
    assert not found.is_known
    assert "not enough data" in found.why_not
    assert (found.effect, found.low, found.high, found.p_value) == (None,) * 4


def test_tiny_counts_over_several_phases_are_not_enough():
    found = compare((1, 1000, 2, 1000), (0, 500, 1, 500))
    assert "1.6" in found.why_not or "units are expected" in found.why_not


def test_few_outcomes_in_arms_of_unequal_sizes_are_exact():
    assert compare((160, 8000, 20, 1000)).method == proportions.EXACT
    assert compare((30, 1000, 30, 1000)).method == proportions.SCORE


@pytest.mark.parametrize(("x", "n"), [(0, 20), (3, 40), (20, 20), (30, 200), (15_000, 100_000)])
@pytest.mark.filterwarnings("ignore")
def test_the_interval_of_one_arm_is_that_of_statsmodels(x: int, n: int):
    from statsmodels.stats.proportion import proportion_confint

    found = proportions.interval(Counts(x, n), Level(0.1, 2))
    method = "beta" if min(x, n - x) < 10 else "wilson"
    assert [found.low, found.high] == pytest.approx(proportion_confint(x, n, alpha=0.05, method=method), abs=1e-9)
    assert found.p_value is None


def test_one_arm_without_units_is_unknown():
    assert "no units" in proportions.interval(Counts(), LEVEL).why_not


def _barnard(control: tuple[int, int], treatment: tuple[int, int]) -> float:
    """Two-sided, tables ordered by the pooled z: the likeliest rate, of those at which the counts are not far off."""
    (x0, n0), (x1, n1) = control, treatment
    k0, k1 = np.arange(80)[:, np.newaxis], np.arange(80)[np.newaxis, :]
    pooled = (k0 + k1) / (n0 + n1)
    with np.errstate(invalid="ignore"):
        z = np.nan_to_num(np.abs(k1 / n1 - k0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1)))
    extreme = z >= z[x0, x1] - 1e-12
    return max(
        float((binom.pmf(k0, n0, p) * binom.pmf(k1, n1, p))[extreme].sum()) for p in np.linspace(0.002, 0.02, 200)
    )


@pytest.mark.parametrize(
    ("control", "treatment", "shown", "barnards"),
    [((8, 1_028), (10, 972), "1", "0.58"), ((5, 1_000), (9, 1_000), "0.53", "0.30")],
)
def test_exact_p_values_far_above_alpha_are_as_conservative_as_is_said_of_them(
    control: tuple[int, int], treatment: tuple[int, int], shown: str, barnards: str
):
    found = exact.difference(Counts(*control), Counts(*treatment), 0.05)
    assert f"{found.p_value:.2g}" == shown
    assert f"{_barnard(control, treatment):.2f}" == barnards
    words = f"{control[0]} of {control[1]:,} against {treatment[0]} of {treatment[1]:,} gives {shown}"
    for text in (exact.__doc__ or "", report([], 1, 1, 1.0)):
        assert words in " ".join(text.split())
        assert barnards in text


def test_the_order_by_the_statistic_at_0_would_widen_intervals_by_a_half(monkeypatch: pytest.MonkeyPatch):
    tables = Counts(8, 1_028), Counts(10, 972)
    kept = exact.difference(*tables, 0.05)
    monkeypatch.setattr(exact, "_ORDER_ALPHA", 0.95)
    other = exact.difference(*tables, 0.05)
    assert (other.high - other.low) / (kept.high - kept.low) == pytest.approx(1.5, abs=0.1)
    assert other.p_value < kept.p_value
