"""One metric from its aggregates: which estimator, at which level, with which arms."""

import warnings
from dataclasses import replace
from datetime import date
from math import isclose, sqrt

import pytest
from scipy import stats

import experiments as ex
from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import (
    Direction,
    Inference,
    Outcome,
    Phase,
    Ratio,
    Role,
    Variant,
)
from experiments.estimates import Level, Stratum
from experiments.estimators import anytime, competing, means, proportions, value
from experiments.moments import Counts
from experiments.readout import CautionCode, CheckCode, LineKind, Readout
from experiments.reporting.numbers import Scale
from experiments.reporting.sentences import break_even_text
from experiments.reporting.verdicts import Call
from experiments.risk import RiskTable
from tests.experiments.planned import (
    ALL,
    CHURN,
    END,
    LEFTS,
    SPENDS,
    START,
    TWO,
    VISIT,
    VISITS,
    a_plan,
    a_value,
    codes,
    pairs,
    strata,
    survival_aggregates,
)


def test_primaries_share_alpha_and_others_keep_it() -> None:
    for inference, method in (
        (Inference.FIXED, proportions.difference),
        (Inference.ANYTIME, lambda s, level: anytime.rate_difference(s, level, 20_050)),
    ):
        found = ex.readout_of(a_plan(inference=inference), ALL)
        shown = {each.name: each.comparison("three").estimate for each in found.metrics}
        assert shown["visit"] == method(strata(VISITS, "three"), Level(0.05, 2))
        assert shown["left"] == method(strata(LEFTS, "three"), Level(0.05, 1))
    found = ex.readout_of(a_plan(inference=Inference.FIXED), ALL)
    assert found.metric("spend").comparison("five").estimate == means.difference(strata(SPENDS, "five"), Level(0.05))


def test_a_rate_agrees_with_an_oracle_that_shares_no_code() -> None:
    with warnings.catch_warnings(action="ignore"):
        from statsmodels.stats.proportion import confint_proportions_2indep

        low, high = confint_proportions_2indep(101, 10_050, 100, 10_000, method="score", compare="diff", alpha=0.05)
    found = ex.readout_of(a_plan(inference=Inference.FIXED), ALL).metric("left").comparison("three").estimate
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)


def test_a_mean_agrees_with_welch_by_scipy() -> None:
    found = ex.readout_of(a_plan(inference=Inference.FIXED), ALL).metric("spend").comparison("three").estimate
    deviations = [sqrt(n * 25.0 / (n - 1)) for n in (10_050, 10_000)]
    test = stats.ttest_ind_from_stats(2.3, deviations[0], 10_050, 2.0, deviations[1], 10_000, equal_var=False)
    assert found.p_value == pytest.approx(test.pvalue, abs=1e-6)


def test_the_bound_for_stopping_is_an_anytime_one_for_each_metric_alone_and_has_no_p_value() -> None:
    for inference in Inference:
        found = ex.readout_of(a_plan(inference=inference), ALL)
        for name, cells in (("visit", VISITS), ("left", LEFTS)):
            bound = found.metric(name).comparison("three").bound
            assert bound == replace(anytime.rate_difference(strata(cells, "three"), Level(0.05), 20_050), p_value=None)
        assert found.metric("spend").comparison("three").bound is None


def test_arms_show_what_was_counted() -> None:
    found = ex.readout_of(a_plan(), ALL)
    arm = found.metric("visit").arm("three")
    assert (arm.units, arm.numerator, arm.denominator, arm.value) == (10_050, 1_150, 10_050, 1_150 / 10_050)
    assert found.metric("spend").arm("one").numerator == 20_000.0
    assert [each.variant for each in found.metric("visit").arms] == ["one", "three", "five"]


def test_phases_are_strata_and_days_of_entry_are_summed() -> None:
    phases = (
        Phase(START, {"one": 9.0, "three": 1.0}),
        Phase(date(2026, 11, 2), {"one": 1.0, "three": 1.0}),
    )
    plan = a_plan(VISIT, variants=(Variant("one", control=True), Variant("three")), phases=phases, inference="fixed")
    parts = {("one", 0): (900, 9_000), ("three", 0): (120, 1_000), ("one", 1): (400, 5_000), ("three", 1): (500, 5_000)}
    halves = {
        Cell(variant, phase, 30 * phase + half): Counts(good // 2, all_ // 2)
        for (variant, phase), (good, all_) in parts.items()
        for half in (0, 1)
    }
    found = ex.readout_of(plan, Aggregates({cell: each.count for cell, each in halves.items()}, {"visit": halves}))
    whole = [Stratum(Counts(*parts["one", phase]), Counts(*parts["three", phase])) for phase in (0, 1)]
    assert found.metric("visit").comparison("three").estimate == proportions.difference(whole, Level())
    assert [each.where for each in found.checks if each.code is CheckCode.SRM_PHASE] == [
        "the phase from 2026-10-05",
        "the phase from 2026-11-02",
    ]
    assert not found.problems


def test_survival_is_decided_by_the_cumulative_incidence_and_at_the_end_only() -> None:
    plan = a_plan(CHURN, variants=TWO)
    early = ex.readout_of(plan, survival_aggregates())
    churn = early.metric("churn")
    tables = {name: RiskTable() for name in ("one", "three")}
    for cell, each in survival_aggregates().outcomes["churn"].items():
        assert isinstance(each, RiskTable)
        tables[cell.variant] += each
    expected = competing.difference([Stratum(tables["one"], tables["three"])], 28, Level())
    assert churn.comparison("three").estimate == expected
    assert (churn.at_end_only, churn.comparison("three").bound) == (True, None)
    assert [each.p_value for each in churn.comparison("three").beside] == [None]
    assert [(each.variant, each.kind) for each in churn.curves] == [
        (variant, kind) for variant in ("one", "three") for kind in (LineKind.INCIDENCE, LineKind.STAYING)
    ]
    last = churn.curves[0].points[-1]
    assert (last.day, last.value) == (28, churn.arm("one").value)
    assert early.verdicts[0].call is Call.KEEP_RUNNING
    assert CautionCode.AT_END_ONLY in codes(early)
    over = ex.readout_of(plan, replace(survival_aggregates(), as_of=END))
    assert over.verdicts[0].call is Call.SHIP
    assert CautionCode.AT_END_ONLY not in codes(over)


def test_a_value_is_money_less_what_lost_reach_costs() -> None:
    cells: dict[Cell, Aggregate] = {Cell("one"): pairs(1, 3.0, 0.02), Cell("three"): pairs(2, 3.2, 0.04)}
    shown = Aggregates({Cell("one"): 5_000, Cell("three"): 5_000}, {"net_value": cells})
    found = ex.readout_of(a_plan(VISIT, a_value(6.0), variants=TWO), shown).metric("net_value")
    assert found.comparison("three").estimate == value.net_difference(strata(cells, "three"), 6.0, Level())
    assert (found.scale, found.unit, found.comparison("three").break_even) == (Scale.MONEY, "EUR", None)
    assert found.comparison("three").estimate.method == "Welch's t interval of money less loss of reach"
    one = pairs(1, 3.0, 0.02)
    assert found.arm("one").value == one.mean_x - 6.0 * one.mean_y


def test_a_value_without_the_loss_of_reach_gives_the_break_even() -> None:
    cells: dict[Cell, Aggregate] = {Cell("one"): pairs(1, 3.0, 0.02), Cell("three"): pairs(2, 3.2, 0.04)}
    shown = Aggregates({Cell("one"): 5_000, Cell("three"): 5_000}, {"net_value": cells})
    readout = ex.readout_of(a_plan(VISIT, a_value(None), variants=TWO), shown)
    found = readout.metric("net_value").comparison("three")
    tie = value.break_even(strata(cells, "three"), Level())
    assert found.break_even == replace(tie, sentence=break_even_text(tie, "EUR"))
    assert found.break_even is not None
    assert found.break_even.sentence.endswith(" EUR.")
    assert " ".join(found.break_even.sentence.split()) in " ".join(str(readout).split())
    assert f"net_value, break-even: {tie.estimand}, by {tie.method}, 95 %." in " ".join(str(readout).split())
    assert "lost reach not counted" in found.estimate.estimand
    assert found.estimate.method == "Welch's t interval of money"
    assert Readout.from_json(readout.to_json()) == readout


def test_a_ratio_is_counted_in_what_it_divides() -> None:
    ratio = Ratio(
        name="basket",
        role=Role.SECONDARY,
        direction=Direction.INCREASE,
        numerator=Outcome(column="spend"),
        denominator=Outcome(column="orders"),
    )
    cells: dict[Cell, Aggregate] = {Cell("one"): pairs(1, 3.0, 0.5), Cell("three"): pairs(2, 3.2, 0.5)}
    shown = Aggregates({Cell("one"): 5_000, Cell("three"): 5_000}, {"basket": cells})
    found = ex.readout_of(a_plan(VISIT, ratio, variants=TWO), shown).metric("basket")
    assert (found.unit, found.scale) == ("spend per orders", Scale.RATIO)
    assert isclose(found.arm("one").value or 0, pairs(1, 3.0, 0.5).ratio)
