"""Sample sizes against statsmodels, against simulated trials, and against the figure that the domain states."""

from math import inf, sqrt
from typing import Any

import numpy as np
import pytest

from experiments import power
from experiments.power import Comparison

RATES = [(0.005, 0.007), (0.1, 0.12), (0.5, 0.4), (0.03, 0.031)]
LEVELS = [(0.05, 0.8), (0.05, 0.9), (0.01, 0.95)]
RATIOS = [1.0, 0.25, 3.0]


def test_two_tenths_of_a_point_at_half_a_percent_need_19500_a_variant():
    assert round(power.margin(0.005, 0.002), -2) == 19_500


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("alpha", "wanted"), LEVELS)
@pytest.mark.parametrize(("control", "treatment"), RATES)
def test_units_for_two_rates_are_those_of_statsmodels(
    control: float, treatment: float, alpha: float, wanted: float, ratio: float
):
    from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

    other_way: Any = 1 / ratio  # its first sample is the one that differs, ours the control
    theirs = samplesize_proportions_2indep_onetail(treatment - control, control, wanted, other_way, alpha)
    comparison = Comparison(alpha=alpha, power=wanted, ratio=ratio)
    assert power.rates(control, treatment, comparison) == pytest.approx(theirs / ratio, rel=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("alpha", "wanted"), LEVELS)
def test_units_for_means_are_those_of_statsmodels(alpha: float, wanted: float, ratio: float):
    from statsmodels.stats.power import NormalIndPower

    theirs = NormalIndPower().solve_power(
        effect_size=2.0 / 25.0, alpha=alpha / 2, power=wanted, ratio=ratio, alternative="larger"
    )  # one side at alpha / 2: what its two-sided form adds is the chance to be wrong about the direction
    comparison = Comparison(alpha=alpha, power=wanted, ratio=ratio)
    assert power.means(625.0, 2.0, comparison) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
def test_units_for_a_margin_are_those_of_statsmodels(ratio: float):
    from statsmodels.stats.power import normal_sample_size_one_tail

    error = sqrt(0.02 * 0.98 * (1 + 1 / ratio))
    theirs = normal_sample_size_one_tail(0.004, 0.8, 0.025, std_null=error, std_alternative=error)
    assert power.margin(0.02, 0.004, Comparison(ratio=ratio)) == pytest.approx(theirs, rel=1e-6)


def test_so_many_units_show_it_as_often_as_they_claim():
    random = np.random.default_rng(20261122)
    trials = 20_000
    units = round(power.rates(0.10, 0.13))
    control, treatment = (random.binomial(units, rate, trials) / units for rate in (0.10, 0.13))
    pooled = (control + treatment) / 2
    shown = (treatment - control) / np.sqrt(2 * pooled * (1 - pooled) / units) > 1.959963984540054
    assert shown.mean() == pytest.approx(0.8, abs=4 * sqrt(0.8 * 0.2 / trials))


def test_what_units_show_is_what_asks_for_so_many():
    units = power.means(4.0, 0.1, Comparison(ratio=2.0))
    assert power.detectable(4.0, units, 2 * units) == pytest.approx(0.1, rel=1e-9)
    assert power.detectable(4.0, 0, 100) == inf


def test_to_be_read_at_any_time_costs_more_by_the_square_of_its_width():
    always = Comparison(anytime=True)
    fixed, anytime = (power.margin(0.005, 0.002, each) for each in (Comparison(), always))
    assert 1.8 < anytime / fixed < 2.1
    assert power.detectable(1.0, 500, 500, always) > power.detectable(1.0, 500, 500)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: power.margin(1.5, 0.1), "a rate of 1.5"),
        (lambda: power.margin(float("nan"), 0.1), "a rate of nan"),
        (lambda: power.means(1.0, 0.0), "a difference of 0"),
        (lambda: power.means(-1.0, 1.0), "a variance of -1"),
        (lambda: Comparison(ratio=0.0), "a ratio of 0"),
        (lambda: power.rates(0.1, 0.1), "a difference of 0"),
        (lambda: Comparison(power=1.0), "a power of 1"),
    ],
)
def test_what_has_no_answer_is_refused(call: object, told: str):
    with pytest.raises(ValueError, match=told):
        call()  # type: ignore[operator]
