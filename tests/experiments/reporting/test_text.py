"""What a product manager reads: the verdict first, with people and money in it, and lines that fit."""

from dataclasses import replace
from datetime import date
from math import inf

import pytest
from hypothesis import given

from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate, Level
from experiments.readout import Arm, Check, CheckCode, Comparison, Line, LineKind, MetricReadout, Readout
from experiments.reporting.numbers import Scale
from experiments.reporting.text import WIDTH
from tests.experiments.handmade import (
    PER_MESSAGE,
    REACHABLE,
    SHIPPING,
    UNSUBSCRIBED,
    VALUE,
    a_metric,
    a_readout,
    an_estimate,
)
from tests.experiments.test_readout import readouts

END = date(2027, 1, 4)


def flat(readout: Readout) -> str:
    """The page as one line, so that what is looked for may be wrapped anywhere."""
    return " ".join(str(readout).split())


def without_estimate(metric: MetricReadout) -> MetricReadout:
    nothing = Comparison("three", Estimate("x", "y", Level(), why_not="none came"))
    return replace(metric, comparisons=(nothing,))


def test_a_readout_prints_verdict_then_results_then_doubts_then_methods() -> None:
    page = str(SHIPPING)
    parts = ["push-budget-2026q4", "VERDICT", "three AGAINST one", "WHAT COULD MAKE THIS WRONG", "METHODS"]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def test_a_ship_says_how_many_people_and_how_much_money() -> None:
    assert (
        "Ship three (short run: 28 of 90 days): reachable_28 rises by 112 in 10,000 customers (+31 to +193); "
        "unsubscribed stays inside its margin of 20 in 10,000 customers (-3 to +11); net_value +3,100 EUR from "
        "10,000 customers (-500 to +6,700)."
    ) in flat(SHIPPING)


def test_sentences_call_a_metric_by_its_title_and_methods_say_whose_it_is() -> None:
    titled = replace(REACHABLE, title="share reachable by push on day 28")
    page = flat(a_readout(titled, UNSUBSCRIBED, VALUE))
    assert "share reachable by push on day 28 rises by 112 in 10,000 customers (+31 to +193)" in page
    assert f"share reachable by push on day 28 ({REACHABLE.name}):" in page
    assert page.count(REACHABLE.name) == page.count(f"({REACHABLE.name})")


def test_a_ship_at_the_horizon_is_no_short_run() -> None:
    assert "short run" not in flat(replace(SHIPPING, as_of=END))


def test_every_arm_shows_numerator_and_denominator() -> None:
    assert "15,300 of 20,100 (76.12 %) against 15,000 of 20,000 (75 %)" in flat(SHIPPING)
    assert "15,300 EUR over 20,100 (0.7612 each) against 15,000 EUR over 20,000 (0.75 each)" in flat(SHIPPING)
    assert "not enough data: nobody in one was sent a message" in flat(SHIPPING)


def test_a_survival_estimate_shows_its_events_beside_it_and_not_their_quotient() -> None:
    curve = Line("three", LineKind.INCIDENCE, "share that had the event", "by hand", 0.05, ())
    arms = (Arm("one", 900, 30, 900, 0.05), Arm("three", 1_000, 20, 1_000, 0.03))
    metric = replace(a_metric("unsubscribed", Role.SECONDARY, an_estimate(-0.02, -0.03, -0.01)), curves=(curve,))
    page = flat(a_readout(replace(metric, arms=arms)))
    assert "3 % (20 events in 1,000) against 5 % (30 events in 900)" in page
    assert "-200 in 10,000 customers (-300 to -100)" in page


def test_a_guardrail_is_read_against_its_margin_and_a_primary_against_nothing() -> None:
    assert "+4 in 10,000 customers (-3 to +11): inside its margin of +20" in flat(SHIPPING)
    broken = replace(
        UNSUBSCRIBED, comparisons=(replace(UNSUBSCRIBED.comparisons[0], estimate=an_estimate(0.005, 0.003, 0.007)),)
    )
    assert "+50 in 10,000 customers (+30 to +70): outside its margin of +20" in flat(a_readout(REACHABLE, broken))
    wide = replace(
        UNSUBSCRIBED, comparisons=(replace(UNSUBSCRIBED.comparisons[0], estimate=an_estimate(0.001, -0.002, 0.004)),)
    )
    assert "(-20 to +40): not shown inside its margin of +20" in flat(a_readout(REACHABLE, wide))
    revenue = a_metric("spend", Role.GUARDRAIL, an_estimate(-0.1, -0.3, 0.1), margin=0.5, scale=Scale.NUMBER)
    assert "-0.1 a customer (-0.3 to +0.1): inside its margin of -0.5" in flat(a_readout(REACHABLE, revenue))


@pytest.mark.parametrize(
    ("readout", "sentence"),
    [
        (
            a_readout(a_metric("visit", Role.PRIMARY, an_estimate(-0.02, -0.03, -0.01)), as_of=END),
            "Do not ship three: visit falls by 200 in 10,000 customers (-300 to -100).",
        ),
        (
            a_readout(a_metric("visit", Role.PRIMARY, an_estimate(0.001, -0.002, 0.004)), as_of=END),
            "three is inconclusive: visit may have moved by -20 to +40 in 10,000 customers, more is excluded.",
        ),
        (
            a_readout(a_metric("visit", Role.PRIMARY, an_estimate(0.001, -0.002, 0.004)), as_of=date(2026, 11, 4)),
            "Keep running three until 2027-01-04 (next decision: 2026-11-09). So far visit moved by -20 to +40 in "
            "10,000 customers.",
        ),
        (
            replace(
                a_readout(a_metric("visit", Role.PRIMARY, an_estimate(0.001, -0.002, 0.004)), as_of=date(2026, 11, 4)),
                ended=date(2026, 11, 4),
            ),
            "three is inconclusive: it was ended on 2026-11-04, before its planned end on 2027-01-04. Until then visit "
            "may have moved by -20 to +40 in 10,000 customers, more is excluded.",
        ),
        (
            replace(a_readout(REACHABLE), inference=Inference.FIXED, ended=date(2026, 11, 2)),
            "three is inconclusive: it was ended on 2026-11-02, before its planned end on 2027-01-04. Until then "
            "reachable_28 rises by 112 in 10,000 customers (+31 to +193).",
        ),
        (
            a_readout(a_metric("visit", Role.PRIMARY, Estimate("x", "y", Level(), why_not="none came")), as_of=END),
            "three is inconclusive: visit could not be judged (not enough data: none came).",
        ),
        (
            a_readout(REACHABLE, without_estimate(UNSUBSCRIBED), as_of=END),
            "three is inconclusive: unsubscribed could not be judged against its margin of 20 in 10,000 customers "
            "(not enough data: none came).",
        ),
        (
            a_readout(REACHABLE, without_estimate(UNSUBSCRIBED)),
            "Keep running three until 2027-01-04 (next decision: 2026-11-09). So far reachable_28 rises by 112 in "
            "10,000 customers (+31 to +193); unsubscribed could not be judged against its margin of 20 in 10,000 "
            "customers (not enough data: none came).",
        ),
        (
            a_readout(without_estimate(REACHABLE), without_estimate(UNSUBSCRIBED)),
            "Keep running three until 2027-01-04 (next decision: 2026-11-09).",
        ),
        (
            a_readout(
                a_metric(
                    "visit",
                    Role.PRIMARY,
                    an_estimate(-0.02, -0.05, 0.01),
                    bound=an_estimate(-0.02, -0.03, -0.01),
                )
            ),
            "Stop three: visit falls by 200 in 10,000 customers (-300 to -100, valid at any time).",
        ),
        (
            replace(SHIPPING, checks=(Check(CheckCode.SRM, True, "The variants do not hold the shares planned."),)),
            "three cannot be compared with one: the variants do not hold the shares planned.",
        ),
        (
            a_readout(REACHABLE, replace(UNSUBSCRIBED, margin=0.0005), as_of=END),
            "three is inconclusive: unsubscribed is not shown to stay inside its margin of 5 in 10,000 customers "
            "(-3 to +11).",
        ),
    ],
)
def test_each_verdict_is_one_sentence_with_its_intervals(readout: Readout, sentence: str) -> None:
    assert f"VERDICT * {sentence} " in flat(readout)


def test_a_mean_is_said_a_customer_and_a_ratio_in_its_own_unit() -> None:
    spend = a_metric("spend", Role.PRIMARY, an_estimate(0.77, 0.48, 1.06), scale=Scale.NUMBER)
    assert "Ship three: spend rises by 0.77 a customer (+0.48 to +1.06)." in flat(a_readout(spend, as_of=END))
    ratio = a_metric("basket", Role.SECONDARY, an_estimate(0.5, 0.2, 0.8), scale=Scale.RATIO, unit="value per purchase")
    assert "+0.5 value per purchase (+0.2 to +0.8)" in flat(a_readout(spend, ratio))


def test_the_bound_for_stopping_is_shown_where_it_is_not_the_interval_that_decides() -> None:
    page = flat(SHIPPING)
    assert "unsubscribed, bound for stopping: three -5 to +13 in 10,000 customers (by hand, at any time, 95 %)." in page
    assert "reachable_28, bound for stopping" not in page


def test_each_effect_has_one_p_value_and_it_stands_under_methods() -> None:
    before, methods = str(SHIPPING).split("METHODS")
    assert "p =" not in before
    assert methods.count("three p = 0.01") == 3


def test_a_readout_without_dates_says_so() -> None:
    assert "Read as complete: 40,100 customers" in flat(replace(SHIPPING, as_of=None))


def test_simultaneous_intervals_say_over_how_many() -> None:
    both = Estimate("the difference", "by hand", Level(0.05, 2), 0.01, 0.001, 0.019, 0.03)
    assert "by hand, 95 % over 2 comparisons at once" in flat(a_readout(a_metric("visit", Role.PRIMARY, both)))


def test_a_page_fits_its_columns_and_needs_no_colours() -> None:
    long = a_metric(
        "unsubscribes_within_twenty_eight_days_of_entry",
        Role.SECONDARY,
        an_estimate(0.0112345, -inf, 0.0193),
        direction=Direction.DECREASE,
    )
    many = (Arm("one", 10, 15_000_000, 20_000_000, 0.75), Arm("three", 10, 15_300_000, 20_100_000, 0.7612))
    for readout in (SHIPPING, a_readout(REACHABLE, replace(long, arms=many), VALUE, PER_MESSAGE)):
        lines = str(readout).splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert all(line == line.rstrip() and line.isprintable() for line in lines)


@given(readouts())
def test_any_readout_prints_and_none_of_its_lines_runs_over(readout: Readout) -> None:
    longest_word = max(len(word) for word in str(readout).split())
    assert max(map(len, str(readout).splitlines())) <= max(WIDTH, longest_word + 40)
    assert "nan" not in str(readout)


def test_a_fixed_plan_says_that_it_is_decided_at_the_end() -> None:
    fixed = replace(a_readout(REACHABLE), inference=Inference.FIXED)
    assert "Keep running three until 2027-01-04. So far reachable_28 rises by 112" in flat(fixed)
