"""Sequences of rates at any counts, against numerical integration, exact enumeration, and what a plan asks of them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

import experiments as ex
from experiments.aggregates import Aggregates, Cell
from experiments.design import Rate
from experiments.estimates import Level, Stratum
from experiments.estimators import mixtures, proportions
from experiments.moments import Counts
from experiments.reporting.verdicts import Call
from tests.experiments.planned import LEFT, TWO, VISIT, a_plan, by_variant

LEVEL = Level()


def evidence(counts: Counts, rate: float) -> float:
    """The likelihoods of lower rates over that of `rate`, averaged over Jeffreys' prior among them: by quadrature."""
    x, missed = counts.successes, counts.count - counts.successes

    def log_likelihood(p: float) -> float:
        return (x * math.log(p) if x else 0.0) + (missed * math.log1p(-p) if missed else 0.0)

    # p = sin(angle)^2 makes the prior flat
    most = math.asin(math.sqrt(rate))
    own, around = log_likelihood(rate), math.asin(math.sqrt(counts.rate))
    area, _ = integrate.quad(
        lambda angle: math.exp(log_likelihood(math.sin(angle) ** 2) - own),
        1e-12,
        most,
        points=[min(max(around, 1e-9), most)],
        epsrel=1e-11,
        limit=500,
    )
    return area / most


@pytest.mark.parametrize(
    ("successes", "count", "rate"),
    [
        (0, 20_000, 0.0003),
        (0, 5, 0.6),
        (3, 20_000, 0.0005),
        (7, 10, 0.95),
        (30, 1_000, 0.05),
        (999, 1_000, 0.9999),
        (50, 100, 0.62),
    ],
)
def test_the_evidence_is_the_mixture_integrated_numerically(successes: int, count: int, rate: float) -> None:
    counts = Counts(successes, count)
    assert math.exp(mixtures.log_evidence(counts, rate)) == pytest.approx(evidence(counts, rate), rel=1e-7)


@pytest.mark.parametrize("error", [0.00625, 0.0001])
@pytest.mark.parametrize("counts", [Counts(0, 20_000), Counts(4, 20_000), Counts(0, 3), Counts(2, 3), Counts(400, 900)])
def test_a_bound_is_where_the_mixture_integrated_numerically_reaches_one_over_the_error(
    counts: Counts, error: float
) -> None:
    high = mixtures.highest(counts, math.log(error))
    assert evidence(counts, high) == pytest.approx(1 / error, rel=1e-6)
    mirrored = Counts(counts.count - counts.successes, counts.count)
    assert mixtures.lowest(mirrored, math.log(error)) == pytest.approx(1 - high, abs=1e-15)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("rate", [0.001, 0.2, 0.5, 0.99])
def test_evidence_against_a_rate_is_no_more_than_1_on_average_under_it_and_under_any_higher_one(
    count: int, rate: float
) -> None:
    for true in (rate, rate + (1 - rate) / 2, 1.0):
        mean = sum(
            stats.binom.pmf(x, count, true) * math.exp(mixtures.log_evidence(Counts(x, count), rate))
            for x in range(count + 1)
        )
        assert mean <= 1 + 1e-9
        if true == rate:
            assert mean == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.3, 0.05])
def test_a_bound_is_ever_crossed_as_rarely_as_promised_by_exact_enumeration(rate: float) -> None:
    """Every path of 300 units, looked at after each: the probability of being still within, unit by unit."""
    error, within = 0.025, {0: 1.0}
    for count in range(1, 301):
        steps: dict[int, float] = {}
        for x, chance in within.items():
            steps[x + 1] = steps.get(x + 1, 0.0) + chance * rate
            steps[x] = steps.get(x, 0.0) + chance * (1 - rate)
        within = {x: p for x, p in steps.items() if mixtures.highest(Counts(x, count), math.log(error)) >= rate}
    crossed = 1 - sum(within.values())
    assert 0.1 * error < crossed <= error


@given(st.integers(1, 400), st.data())
def test_beyond_a_bound_the_evidence_only_rises(count: int, data: st.DataObject) -> None:
    counts = Counts(data.draw(st.integers(0, count - 1)), count)
    high = mixtures.highest(counts, -math.log(8))
    beyond = [high + (1 - high) * part / 20 for part in range(1, 20)]
    found = [mixtures.log_evidence(counts, each) for each in beyond if each < 1 - 1e-12]
    assert all(each >= math.log(8) - 1e-9 for each in found)
    assert found == sorted(found)


@given(st.data(), st.integers(1, 3))
def test_the_interval_leaves_0_out_exactly_where_the_p_value_is_below_alpha(data: st.DataObject, phases: int) -> None:
    strata: list[Stratum[Counts]] = []
    for _ in range(phases):
        n0, n1 = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
        strata.append(Stratum(Counts(data.draw(st.integers(0, n0)), n0), Counts(data.draw(st.integers(0, n1)), n1)))
    level = Level(data.draw(st.sampled_from([0.001, 0.05, 0.3])), data.draw(st.integers(1, 4)))
    found = mixtures.difference(strata, level)
    assert found.effect is not None
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= found.effect <= found.high <= 1
    if found.p_value is None:
        assert not found.excludes(0)
    else:
        assert (found.p_value < level.alpha) == found.excludes(0)
    swapped = mixtures.difference([Stratum(each.treatment, each.control) for each in strata], level)
    assert (swapped.low, swapped.high) == (-found.high, -found.low)


def test_arms_without_any_event_have_an_interval_and_no_p_value() -> None:
    found = mixtures.difference([Stratum(Counts(0, 20_000), Counts(0, 20_000))], LEVEL)
    fixed = proportions.difference([Stratum(Counts(0, 20_000), Counts(0, 20_000))], LEVEL)
    assert found.effect == 0
    assert found.p_value is None
    assert found.high is not None
    assert fixed.high is not None
    assert fixed.high < found.high < 2 * fixed.high


def test_a_phase_has_half_of_what_is_left_however_many_will_come() -> None:
    """The second phase's bounds are those of a quarter of an arm's share, and the first one's do not move with it."""
    first, second = Stratum(Counts(1, 500), Counts(2, 500)), Stratum(Counts(0, 1_500), Counts(4, 1_500))
    alone, both = mixtures.difference([first], LEVEL), mixtures.difference([first, second], LEVEL)
    low = mixtures.lowest(second.treatment, math.log(0.05 / 16)) - mixtures.highest(second.control, math.log(0.05 / 16))
    assert alone.low is not None
    assert both.low == pytest.approx(0.25 * alone.low + 0.75 * low, rel=1e-12)


def test_units_in_one_arm_alone_are_not_enough_data() -> None:
    for strata in ([], [Stratum(Counts(0, 0), Counts(3, 5))]):
        found = mixtures.difference(strata, LEVEL)
        assert found.why_not == "not enough data: one of the arms has no units"


@pytest.mark.parametrize("events", [(0, 0), (3, 4)])
def test_a_guardrail_with_hardly_any_event_does_not_keep_an_anytime_plan_from_shipping(events: tuple[int, int]) -> None:
    outcomes = {
        "visit": by_variant(Counts(1_000, 10_000), Counts(1_400, 10_050)),
        "left": by_variant(*(Counts(each, 10_000) for each in events)),
    }
    aggregates = Aggregates({Cell("one"): 10_000, Cell("three"): 10_050}, outcomes)
    found = ex.readout_of(a_plan(VISIT, _guardrail(0.005), variants=TWO), aggregates)
    assert found.metric("left").comparison("three").estimate.method == mixtures.METHOD
    assert [each.call for each in found.verdicts] == [Call.SHIP]
    tight = ex.readout_of(a_plan(VISIT, _guardrail(0.0003), variants=TWO), aggregates)
    assert [each.call for each in tight.verdicts] != [Call.SHIP]


def _guardrail(margin: float) -> Rate:
    return replace(LEFT, margin=margin)
