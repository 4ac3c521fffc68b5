"""From a plan and aggregates to a readout: which estimator, which level, which checks and which doubts."""

import subprocess
import sys
import time
import warnings
from dataclasses import replace
from datetime import date, timedelta
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import experiments as ex
from experiments import anytime, competing, means, proportions, value
from experiments.aggregates import Aggregate, Aggregates, Cell, Exclusion
from experiments.design import (
    Columns,
    Direction,
    Experiment,
    Inference,
    Mean,
    Metric,
    Outcome,
    Phase,
    Rate,
    Ratio,
    Role,
    Survival,
    Value,
    Variant,
)
from experiments.estimates import Level, Stratum
from experiments.moments import Counts, Moments, PairMoments
from experiments.numbers import Scale
from experiments.planned import planned_units
from experiments.readout import CautionCode, CheckCode, LineKind, Readout
from experiments.risk import RiskTable
from experiments.verdicts import Call

START, END = date(2026, 10, 5), date(2027, 1, 4)
VISIT = Rate(name="visit", role=Role.PRIMARY, direction=Direction.INCREASE, outcome=Outcome(column="visit"))
SPEND = Mean(name="spend", role=Role.SECONDARY, direction=Direction.INCREASE, outcome=Outcome(column="spend"))
LEFT = Rate(name="left", role=Role.GUARDRAIL, direction=Direction.DECREASE, margin=0.01, outcome=Outcome(column="left"))
CHURN = Survival(
    name="churn",
    role=Role.PRIMARY,
    direction=Direction.DECREASE,
    event="unsubscribed",
    competing=("account_closed",),
    horizon_days=28,
)


def a_plan(*metrics: Metric, **more: Any) -> Experiment:
    given: dict[str, Any] = {
        "key": "push",
        "variants": (Variant("one", control=True), Variant("three"), Variant("five")),
        "metrics": metrics or (VISIT, LEFT, SPEND),
        "start": START,
        "end": END,
    }
    return Experiment(**{**given, **more})


def by_variant(*values: Aggregate) -> dict[Cell, Aggregate]:
    return {Cell(name): each for name, each in zip(("one", "three", "five"), values, strict=False)}


def some(**outcomes: dict[Cell, Aggregate]) -> Aggregates:
    return Aggregates(units={Cell("one"): 10_000, Cell("three"): 10_050, Cell("five"): 9_950}, outcomes=outcomes)


VISITS = by_variant(Counts(1_000, 10_000), Counts(1_150, 10_050), Counts(900, 9_950))
LEFTS = by_variant(Counts(100, 10_000), Counts(101, 10_050), Counts(400, 9_950))
SPENDS = by_variant(
    *(Moments(n, mean, n * 25.0, n * 60.0, n // 4) for n, mean in ((10_000, 2.0), (10_050, 2.3), (9_950, 1.9)))
)
ALL = some(visit=VISITS, left=LEFTS, spend=SPENDS)


def codes(readout: Readout) -> set[CautionCode]:
    return {each.code for each in readout.cautions}


def strata(cells: dict[Cell, Aggregate], variant: str) -> list[Stratum[Any]]:
    return [Stratum(cells[Cell("one")], cells[Cell(variant)])]


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


def test_units_of_a_variant_that_the_plan_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="'ten'"):
        ex.readout_of(a_plan(), replace(ALL, units={**ALL.units, Cell("ten"): 3}))


def test_each_treatment_has_a_verdict_of_its_own() -> None:
    found = ex.readout_of(a_plan(), ALL)
    assert [(each.variant, each.call) for each in found.verdicts] == [("three", Call.SHIP), ("five", Call.STOP)]


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
    assert [each.where for each in found.checks if each.code is CheckCode.SRM_PHASE] == ["phase 1", "phase 2"]
    assert not found.problems


def risk(seed: int, hazard: float, day: int) -> dict[Cell, Aggregate]:
    """Customers of one variant who entered on `day`, watched until day 60 of the experiment."""
    drawn = np.random.default_rng(seed)
    times, kinds = drawn.geometric(hazard, 2_000) - 1, drawn.random(2_000) < 0.7
    watched = 60 - day
    events: dict[int, int] = {}
    others: dict[int, int] = {}
    for at, is_event in zip(times.tolist(), kinds.tolist(), strict=True):
        if at < watched:
            into = events if is_event else others
            into[at] = into.get(at, 0) + 1
    table = RiskTable(events, others, {watched: 2_000 - sum(events.values()) - sum(others.values())})
    return {Cell("one" if hazard > 0.01 else "three", 0, day): table}


def survival_aggregates() -> Aggregates:
    cells: dict[Cell, Aggregate] = {}
    for day in (0, 20, 40):
        cells |= risk(day, 0.012, day) | risk(100 + day, 0.008, day)
    units = {cell: each.count for cell, each in cells.items() if isinstance(each, RiskTable)}
    return Aggregates(units, {"churn": cells}, as_of=START + timedelta(days=63))


TWO = (Variant("one", control=True), Variant("three"))


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


def test_a_matured_rate_that_parts_from_the_survival_estimate_warns() -> None:
    plan = a_plan(CHURN, variants=TWO)
    assert CautionCode.RATE_AGAINST_SURVIVAL not in codes(ex.readout_of(plan, survival_aggregates()))
    heavy = {Cell("one", 0, 0): RiskTable({3: 900}, {}, {60: 1_100})}
    mixed = survival_aggregates()
    found = ex.readout_of(plan, replace(mixed, outcomes={"churn": {**mixed.outcomes["churn"], **heavy}}))
    assert CautionCode.RATE_AGAINST_SURVIVAL in codes(found)


def pairs(seed: int, mean: float, lost: float) -> PairMoments:
    drawn = np.random.default_rng(seed)
    x, y = drawn.gamma(2, mean / 2, 5_000), (drawn.random(5_000) < lost).astype(float)
    dx, dy = x - x.mean(), y - y.mean()
    return PairMoments(5_000, float(x.mean()), float(y.mean()), float(dx @ dx), float(dy @ dy), float(dx @ dy))


def a_value(loss: float | None) -> Value:
    return Value(
        name="net_value",
        role=Role.SECONDARY,
        direction=Direction.INCREASE,
        revenue=Outcome(column="revenue"),
        lost_reach=Outcome(column="lost"),
        loss_of_reach=loss,
    )


def test_a_value_is_money_less_what_lost_reach_costs() -> None:
    cells: dict[Cell, Aggregate] = {Cell("one"): pairs(1, 3.0, 0.02), Cell("three"): pairs(2, 3.2, 0.04)}
    shown = Aggregates({Cell("one"): 5_000, Cell("three"): 5_000}, {"net_value": cells})
    found = ex.readout_of(a_plan(VISIT, a_value(6.0), variants=TWO), shown).metric("net_value")
    assert found.comparison("three").estimate == value.net_difference(strata(cells, "three"), 6.0, Level())
    assert (found.scale, found.unit, found.comparison("three").break_even) == (Scale.MONEY, "EUR", None)
    one = pairs(1, 3.0, 0.02)
    assert found.arm("one").value == one.mean_x - 6.0 * one.mean_y


def test_a_value_without_the_loss_of_reach_gives_the_break_even() -> None:
    cells: dict[Cell, Aggregate] = {Cell("one"): pairs(1, 3.0, 0.02), Cell("three"): pairs(2, 3.2, 0.04)}
    shown = Aggregates({Cell("one"): 5_000, Cell("three"): 5_000}, {"net_value": cells})
    readout = ex.readout_of(a_plan(VISIT, a_value(None), variants=TWO), shown)
    found = readout.metric("net_value").comparison("three")
    assert found.break_even == value.break_even(strata(cells, "three"), Level())
    assert found.break_even is not None
    assert " ".join(found.break_even.sentence.split()) in " ".join(str(readout).split())
    assert "lost reach not counted" in found.estimate.estimand
    assert Readout.from_json(readout.to_json()) == readout


def test_doses_stand_beside_the_contacts_that_were_received() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    received = {name: Moments(9_000, mean, 9_000.0) for name, mean in (("one", 0.8), ("three", 1.9), ("five", 2.4))}
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, received=received))
    assert [(each.dose, each.per_week) for each in found.received] == [(1, 0.8), (3, 1.9), (5, 2.4)]
    assert [each.metric for each in found.doses] == ["visit", "left", "spend"]
    effects = [row.effect for each in found.doses for row in each.table.rows]
    assert [effect is None for effect in effects] == [True, False, False] * 3
    assert all(effect is None or effect.p_value is None for effect in effects)
    page = str(found)
    assert page.index("WHAT CHANGED FOR CUSTOMERS") < page.index("three AGAINST one")
    assert "limit 3: 1.9 contacts a customer and week, over 9,000 customers" in page
    assert found.recommendation is not None
    assert found.recommendation.variant == "three"
    assert found.recommendation.sentence in " ".join(page.split())
    assert Readout.from_json(found.to_json()) == found


def test_no_dose_is_recommended_before_the_end() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, as_of=START + timedelta(days=20)))
    assert found.doses
    assert found.recommendation is None


def test_shares_that_are_not_those_planned_make_it_invalid() -> None:
    skewed = replace(ALL, units={Cell("one"): 10_000, Cell("three"): 9_400, Cell("five"): 9_950})
    found = ex.readout_of(a_plan(), skewed)
    assert {each.call for each in found.verdicts} == {Call.INVALID}
    assert "three has 9,400 customers where 9,783 were expected" in " ".join(str(found).split())
    assert CautionCode.CHECK in codes(found)


def test_a_variant_of_weight_zero_with_customers_is_a_leak() -> None:
    plan = a_plan(variants=(Variant("one", control=True), Variant("three"), Variant("five", weight=0)))
    leaking = replace(ALL, units={Cell("one"): 10_000, Cell("three"): 10_050, Cell("five"): 3})
    found = ex.readout_of(plan, leaking)
    assert [each.code for each in found.checks if each.is_alarm] == [CheckCode.LEAK]
    assert found.verdicts[0].call is Call.INVALID


def test_shares_are_tested_day_by_day_where_there_are_days() -> None:
    days = {Cell(name, 0, day): 400 for name in ("one", "three", "five") for day in range(20)}
    found = ex.readout_of(a_plan(), replace(ALL, units=days, as_of=START + timedelta(days=20)))
    assert [(each.code, each.is_alarm) for each in found.checks] == [
        (CheckCode.SRM, False),
        (CheckCode.SRM_SEQUENTIAL, False),
    ]
    broken = {**days, **{Cell("three", 0, day): 250 for day in range(10, 20)}}
    found = ex.readout_of(a_plan(), replace(ALL, units=broken, as_of=START + timedelta(days=20)))
    assert {each.code for each in found.checks if each.is_alarm} == {CheckCode.SRM, CheckCode.SRM_SEQUENTIAL}


def test_segments_and_balance_warn_and_void_nothing() -> None:
    plan = a_plan(segments=("lifecycle",))
    off = replace(
        ALL,
        segments={"lifecycle": {"new": {"one": 900, "three": 500, "five": 900}}},
        before={"spend": {"one": Moments(10_000, 2.0, 250_000.0), "three": Moments(10_050, 2.5, 250_000.0)}},
    )
    found = ex.readout_of(plan, off)
    assert [each.code for each in found.checks if each.is_alarm] == [CheckCode.SRM_SEGMENT, CheckCode.BALANCE]
    assert found.verdicts[0].call is Call.SHIP
    assert "in lifecycle new" in str(found)


def test_segments_are_not_tested_over_changed_weights() -> None:
    phases = (Phase(START, {"one": 9.0, "three": 1.0}), Phase(date(2026, 11, 2), {"one": 1.0, "three": 1.0}))
    plan = a_plan(VISIT, variants=TWO, phases=phases, segments=("lifecycle",))
    units = {Cell("one", 0): 9_000, Cell("three", 0): 1_000, Cell("one", 1): 500, Cell("three", 1): 500}
    found = ex.readout_of(plan, Aggregates(units, {}, segments={"lifecycle": {"new": {"one": 500, "three": 500}}}))
    assert [each.sentence for each in found.checks if each.code is CheckCode.SRM_SEGMENT] == [
        "Shares were not tested by segment: the weights changed, and segments are not known by phase."
    ]


def test_a_verdict_that_changes_with_suspects_warns() -> None:
    bots = by_variant(Counts(100, 10_000), Counts(400, 10_050), Counts(400, 9_950))
    found = ex.readout_of(a_plan(), replace(ALL, with_suspects={"left": bots}))
    assert [each.sentence for each in found.cautions if each.code is CautionCode.SUSPECTS] == [
        "With suspect events counted, which look like a machine's, the verdict on three would be 'stop' and not 'ship'."
    ]
    assert [each.numerator for each in found.metric("left").with_suspects] == [100, 400, 400]
    same = ex.readout_of(a_plan(), replace(ALL, with_suspects={"left": LEFTS}))
    assert CautionCode.SUSPECTS not in codes(same)


def test_a_primary_or_guardrail_without_an_estimate_is_said_and_counts_neither_way() -> None:
    found = ex.readout_of(a_plan(), replace(ALL, outcomes={"visit": VISITS, "spend": SPENDS}))
    assert CautionCode.NO_ESTIMATE in codes(found)
    assert [each.call for each in found.verdicts] == [Call.INCONCLUSIVE, Call.INCONCLUSIVE]
    assert (
        "counted neither way: the guardrail left of three and the guardrail left of five (not enough data"
        in " ".join(str(found).split())
    )


def test_nobody_at_all_is_a_readout_that_says_so() -> None:
    for plan in (a_plan(), a_plan(VISIT, CHURN, a_value(None), replace(a_value(2.0), name="other_value"))):
        found = ex.readout_of(plan, Aggregates({}, {}))
        assert {each.call for each in found.verdicts} == {Call.INCONCLUSIVE}
        assert CautionCode.EMPTY_VARIANT in codes(found)
        assert "not enough data" in str(found)
        assert Readout.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("more", "aggregates", "code"),
    [
        ({}, replace(ALL, immature={"visit": 12}), CautionCode.IMMATURE),
        ({}, replace(ALL, exclusions=(Exclusion("tester", 3, "3 units of the testers"),)), CautionCode.EXCLUDED),
        ({"columns": Columns(unit=None)}, ALL, CautionCode.UNNAMED_UNITS),
        ({"min_days": 10}, ALL, CautionCode.SHORT_PLAN),
        ({"horizon_days": 180}, ALL, CautionCode.SHORT_RUN),
        ({}, ALL, CautionCode.NO_TIMES),
    ],
)
def test_each_doubt_is_raised_where_it_applies_and_nowhere_else(
    more: dict[str, Any], aggregates: Aggregates, code: CautionCode
) -> None:
    assert code in codes(ex.readout_of(a_plan(**more), aggregates))
    calm = ex.readout_of(a_plan(), replace(ALL, as_of=END))
    assert not codes(calm)


def test_a_run_under_two_windows_of_what_decides_is_a_short_plan() -> None:
    late = replace(VISIT, outcome=Outcome(event="session", within_days=60))
    found = ex.readout_of(a_plan(late), some(visit=VISITS))
    assert [each.sentence for each in found.cautions if each.code is CautionCode.SHORT_PLAN] == [
        "The planned run of 91 days is under two full windows of visit, 60 days each."
    ]


def test_two_variants_that_ship_were_not_compared_with_each_other() -> None:
    both = some(visit=by_variant(Counts(1_000, 10_000), Counts(1_150, 10_050), Counts(1_200, 9_950)))
    found = ex.readout_of(a_plan(VISIT), both)
    assert CautionCode.NOT_COMPARED in codes(found)


def entries(by_day: dict[int, int]) -> Aggregates:
    units = {Cell(name, 0, day): count for day, count in by_day.items() for name in ("one", "three", "five")}
    return Aggregates(units, {}, as_of=START + timedelta(days=max(by_day) + 1))


def power_of_two(expected: float) -> int:
    return 2 ** round(np.log2(expected))


def test_planned_units_lie_between_all_at_first_and_evenly_to_the_end() -> None:
    early = power_of_two(2 * 100 * 7 * sqrt(91 / 7))
    assert planned_units(a_plan(), entries(dict.fromkeys(range(7), 100))) == {"three": early, "five": early}


def test_planned_units_stay_once_the_shortest_run_is_over() -> None:
    two_weeks = dict.fromkeys(range(14), 100)
    then = power_of_two(2_800 * sqrt(91 / 14))
    for later in (0, 3, 5_000):
        found = planned_units(a_plan(), entries({**two_weeks, **dict.fromkeys(range(14, 60), later)}))
        assert found == {"three": then, "five": then}


def test_planned_units_follow_the_traffic_that_the_plan_has_for_each_day() -> None:
    equal = {"one": 1.0, "three": 1.0}
    phases = (Phase(START, equal, traffic=0.01), Phase(START + timedelta(days=14), equal, traffic=1.0))
    plan = a_plan(VISIT, variants=TWO, phases=phases)
    units = {Cell(name, 0, day): 10 for day in range(14) for name in ("one", "three")}
    found = planned_units(plan, Aggregates(units, {}, as_of=START + timedelta(days=14)))
    growth = (14 * 0.01 + 77 * 1.0) / 91 / 0.01
    assert found == {"three": power_of_two(280 * growth * sqrt(91 / 14))}


def test_planned_units_of_a_table_without_dates_are_those_that_are_there() -> None:
    assert planned_units(a_plan(), ALL) == {"three": 20_050, "five": 19_950}
    assert planned_units(a_plan(), Aggregates({}, {})) == {"three": 2, "five": 2}


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


def test_twenty_metrics_are_read_within_50_ms() -> None:
    metrics: list[Metric] = [replace(VISIT, name=f"rate_{k}", role=Role.SECONDARY) for k in range(10)]
    metrics += [replace(SPEND, name=f"mean_{k}") for k in range(9)] + [VISIT]
    outcomes = {each.name: SPENDS if isinstance(each, Mean) else VISITS for each in metrics}
    plan, given = a_plan(*metrics), replace(ALL, outcomes=outcomes)
    ex.readout_of(plan, given)
    taken: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        ex.readout_of(plan, given)
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.05


def test_importing_loads_neither_statistics_nor_engines_of_tables() -> None:
    seen = "import sys, experiments; print(sorted({'ibis', 'scipy', 'numpy', 'duckdb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(ex.__all__) <= set(dir(ex))
    assert all(getattr(ex, name) is not None for name in ex.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ex.nothing


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # of DuckDB, by Ibis
def test_a_file_and_a_frame_are_read_to_the_same_verdict(tmp_path: Path) -> None:
    plan = a_plan(VISIT, SPEND, variants=TWO, columns=Columns(unit="id", variant="arm"), inference="fixed")
    drawn = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "id": range(4_000),
            "arm": ["one", "three"] * 2_000,
            "visit": (drawn.random(4_000) < np.tile([0.1, 0.2], 2_000)).astype(int),
            "spend": drawn.gamma(2, 3, 4_000),
        }
    )
    frame.to_csv(tmp_path / "customers.csv", index=False)
    of_frame, of_file = ex.analyze(plan, frame), ex.analyze(plan, tmp_path / "customers.csv")
    assert of_frame.verdicts[0].call is Call.SHIP
    assert of_frame.verdicts == of_file.verdicts
    counted = frame.groupby("arm").visit.agg(["sum", "count"])
    for variant in ("one", "three"):
        arm = of_frame.metric("visit").arm(variant)
        assert (arm.numerator, arm.denominator) == tuple(counted.loc[variant])
