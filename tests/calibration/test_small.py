"""The smaller run of the calibration, with fixed seeds; and analyses that are wrong, which it must catch."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from experiments.estimates import Estimate, Level
from tests.calibration.cases import all_cases
from tests.calibration.claims import (
    AT_LEAST,
    EVER,
    EXACT,
    MARGINAL,
    Case,
    Claim,
    Tally,
    Verdict,
    alarms,
    generator,
    judge,
)
from tests.calibration.counting import moments_of_buyers, of_each, tally
from tests.calibration.report import report

SEED = 7
SIMULATIONS = 400
CASES = all_cases()
LEVEL = Level()


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each.family}: {each.name}")
def test_no_claim_is_excluded(case: Case):
    finding = judge(case, case.run(generator(case, SEED), SIMULATIONS), len(CASES))
    assert finding.verdict is not Verdict.FAILS, (finding.tally, finding.band)


def test_cases_have_names_of_their_own():
    names = [(each.family, each.name) for each in CASES]
    assert len(set(names)) == len(names)


def test_the_same_seed_gives_the_same_numbers():
    case = CASES[0]
    assert case.run(generator(case, SEED), 50) == case.run(generator(case, SEED), 50)


def _judged(claim: Claim, found: Tally) -> Verdict:
    case = Case("wrong", "analysis", claim, lambda _random, _count: found)
    return judge(case, found, len(CASES)).verdict


def _rates(estimate: Callable[[int, int], Estimate], n0: int, n1: int, p: float, simulations: int = 4_000) -> Tally:
    random = np.random.default_rng(SEED)
    drawn = np.stack([random.binomial(n, p, simulations) for n in (n0, n1)], axis=1)
    return tally(of_each(drawn, estimate), 0.0)


def _around(effect: float, error: float, reach: float, p_value: float | None = None) -> Estimate:
    return Estimate("", "", LEVEL, effect, effect - reach * error, effect + reach * error, p_value)


def test_intervals_by_the_rates_alone_are_caught_where_events_are_few():
    """What a tired team would write: p plus or minus 1.96 standard errors, in arms of very different sizes."""

    def wald(x0: int, x1: int) -> Estimate:
        p0, p1 = x0 / 9_000, x1 / 1_000
        return _around(p1 - p0, sqrt(p0 * (1 - p0) / 9_000 + p1 * (1 - p1) / 1_000), 1.96)

    assert _judged(MARGINAL, _rates(wald, 9_000, 1_000, 0.005)) is Verdict.FAILS


def test_fixed_intervals_read_at_every_look_are_caught():
    random = np.random.default_rng(SEED)
    z = np.cumsum(random.standard_normal((2_000, 100)), axis=1) / np.sqrt(np.arange(1, 101))
    below, above = (z < -1.96).any(axis=1), (z > 1.96).any(axis=1)
    found = Tally(2_000, 2_000, int(below.sum()), int(above.sum()), wrong=int((below | above).sum()))
    assert _judged(EVER, found) is Verdict.FAILS


def test_sequences_that_are_too_wide_are_caught():
    assert _judged(EVER, Tally(1_000, 1_000, 1, 1, width=1.7)) is Verdict.FAILS
    assert _judged(EVER, Tally(1_000, 1_000, 1, 1, width=1.59)) is Verdict.HOLDS


def test_plain_welch_is_caught_where_one_arm_has_few_buyers():
    random = np.random.default_rng(SEED)
    arms = [
        moments_of_buyers(random, 4_000, n, 0.02, lambda k: np.exp(random.standard_normal(k))) for n in (9_000, 1_000)
    ]

    def welch(one: int) -> Estimate:
        control, treatment = (each[one] for each in arms)
        error = sqrt(control.variance / control.count + treatment.variance / treatment.count)
        return _around(treatment.mean - control.mean, error, 1.97)

    assert _judged(MARGINAL, tally(map(welch, range(4_000)), 0.0)) is Verdict.FAILS


def test_three_comparisons_at_the_alpha_of_one_are_caught():
    random = np.random.default_rng(SEED)
    z = (random.standard_normal((4_000, 3)) - random.standard_normal((4_000, 1))) / sqrt(2)
    wrong = int((abs(z) > 1.96).any(axis=1).sum())
    assert _judged(AT_LEAST, Tally(4_000, 4_000, 0, 0, wrong=wrong)) is Verdict.FAILS


def test_a_p_value_of_another_test_than_the_interval_is_caught():
    def torn(x0: int, x1: int) -> Estimate:
        p0, p1, p = x0 / 500, x1 / 500, (x0 + x1) / 1_000
        p_value = 2 * stats.norm.sf(abs(p1 - p0) / sqrt(2 * p * (1 - p) / 500))
        return _around(p1 - p0, sqrt(p0 * (1 - p0) / 500 + p1 * (1 - p1) / 500), 1.96, float(p_value))

    found = _rates(torn, 500, 500, 0.2)
    assert found.torn > 0
    assert _judged(MARGINAL, found) is Verdict.FAILS


def test_one_sided_misses_are_caught_though_their_sum_is_right():
    assert _judged(MARGINAL, Tally(10_000, 10_000, 80, 420)) is Verdict.FAILS
    assert _judged(MARGINAL, Tally(10_000, 10_000, 250, 250)) is Verdict.HOLDS


def test_an_estimator_that_never_answers_is_caught():
    assert _judged(EXACT, Tally(1_000, 0, 0, 0)) is Verdict.FAILS


def test_alarms_at_twice_the_nominal_rate_are_caught():
    assert _judged(alarms(0.05), Tally(10_000, 10_000, 0, 1_000)) is Verdict.FAILS
    assert _judged(alarms(0.05), Tally(10_000, 10_000, 0, 100)) is Verdict.FAILS
    assert _judged(alarms(0.05, at_most=True), Tally(10_000, 10_000, 0, 100)) is Verdict.HOLDS


def test_a_band_excludes_no_more_than_its_share_of_true_claims():
    """At the edge of the claim the chance of a failure is at most the share of 1e-4 that the check has."""
    case = CASES[0]
    band = judge(case, Tally(10_000, 10_000, 250, 250), len(CASES)).band
    outside = stats.binom.cdf(round(band[0] * 10_000) - 1, 10_000, 0.945)
    outside += stats.binom.sf(round(band[1] * 10_000), 10_000, 0.955)
    assert 0 < outside < 1e-4 / (3 * len(CASES))


def test_the_report_has_a_row_a_case_and_says_what_failed():
    cases = CASES[:2]
    findings = [judge(cases[0], Tally(100, 100, 2, 3), 2), judge(cases[1], Tally(100, 100, 60, 0, 4), 2)]
    text = report(findings, 100, SEED, 1.0)
    assert "**1 of 2 claims are excluded.**" in text
    assert f"| {cases[0].name} | 95.00% |" in text
    assert "NO (interval and p-value disagree 4 times) |" in text


def test_cases_of_one_family_make_one_claim_unless_they_count_alarms():
    claims: dict[str, set[str]] = {}
    for each in CASES:
        if not each.claim.of_alarms:
            claims.setdefault(each.family, set()).add(each.claim.words)
    assert all(len(each) == 1 for each in claims.values())
