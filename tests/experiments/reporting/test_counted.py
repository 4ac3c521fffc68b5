"""Every sentence that counts something reads right of one and of two."""

import re
from dataclasses import replace
from datetime import date, timedelta
from math import inf

import pytest

import experiments as ex
from experiments.aggregates import Cell
from experiments.design import Inference, Role
from experiments.estimates import Estimate, Level
from experiments.estimators.value import BreakEven
from experiments.plans.checking import Checks
from experiments.plans.rules import check_times
from experiments.readout import Arm, CautionCode, Line, LineKind, MetricReadout, Readout, Received
from experiments.reporting.numbers import Scale
from experiments.reporting.sentences import arm_text, beside_text, break_even_text, estimate_text, sized
from experiments.risk import RiskTable
from tests.experiments.handmade import REACHABLE, a_metric, a_readout, an_estimate
from tests.experiments.planned import ALL, CHURN, SPEND, START, TWO, VISIT, a_plan

ONE_OF_SEVERAL = re.compile(r"(?<![\d.,+-])1 (?:customers|units|days|events|contacts|rows|comparisons)\b")
CURVE = Line("three", LineKind.INCIDENCE, "share that had the event", "by hand", 0.05, ())
DAYS = a_metric("stayed", Role.SECONDARY, an_estimate(1, 1, 2), scale=Scale.DAYS)
LEFT = replace(a_metric("left", Role.SECONDARY, an_estimate(0.1, 0, 0.2)), curves=(CURVE,))


def page(readout: Readout) -> str:
    return " ".join(str(readout).split())


def caution(readout: Readout, code: CautionCode) -> str:
    (sentence,) = [each.sentence for each in readout.cautions if each.code is code]
    return sentence


def lasting(days: int) -> Readout:
    end = date(2026, 10, 5) + timedelta(days=days)
    return replace(a_readout(REACHABLE, as_of=end), end=end, min_days=1)


@pytest.mark.parametrize(("days", "said"), [(1, "after 1 of 1 day:"), (2, "after 2 of 2 days:")])
def test_how_long_it_ran(days: int, said: str) -> None:
    assert said in page(lasting(days))


@pytest.mark.parametrize(
    ("units", "per_week", "said"),
    [
        (1, 1.0, "1 contact a customer and week, over 1 customer"),
        (2, 2.0, "2 contacts a customer and week, over 2 customers"),
        (2, 0.9999, "1 contact a customer and week, over 2 customers"),
        (2, 0.5, "0.5 contacts a customer and week, over 2 customers"),
    ],
)
def test_contacts_received(units: int, per_week: float, said: str) -> None:
    assert said in page(replace(a_readout(REACHABLE), received=(Received("one", 1.0, per_week, units),)))


@pytest.mark.parametrize(("events", "said"), [(1, "(1 event in 9)"), (2, "(2 events in 9)"), (0, "(0 events in 9)")])
def test_events_of_a_curve(events: int, said: str) -> None:
    arm = Arm("three", 9, events, 9, 0.1)
    assert arm_text(LEFT, arm).endswith(said)
    assert arm_text(LEFT, replace(arm, value=None)) == said.strip("()")


@pytest.mark.parametrize(
    ("effect", "size", "said"),
    [
        (1, "1 day a customer", "+1 day a customer (+1 to +2)"),
        (2, "2 days a customer", "+2 days a customer (+1 to +2)"),
        (0.5, "0.5 days a customer", "+0.5 days a customer (+1 to +2)"),
        (0.9999, "1 day a customer", "+1 day a customer (+1 to +2)"),
    ],
)
def test_days(effect: float, size: str, said: str) -> None:
    found = an_estimate(effect, 1, 2)
    assert sized(DAYS, effect) == size
    assert estimate_text(DAYS, found) == said
    assert beside_text(found) == f"the difference of the shares: {said}"


@pytest.mark.parametrize(("days", "said"), [(1, "1 day"), (2, "2 days"), (0.9999, "0.9999 days")])
def test_days_of_an_arm(days: float, said: str) -> None:
    assert arm_text(DAYS, Arm("three", 9, 1, 9, days)) == f"{said} (1 event in 9)"


def test_days_lost_are_days_too_and_none_have_their_reason() -> None:
    assert beside_text(an_estimate(-1, -2, -0.5)).endswith(": -1 day a customer (-2 to -0.5)")
    assert beside_text(Estimate("days", "by hand", Level(), why_not="nobody stayed")) == "days: nobody stayed"


@pytest.mark.parametrize(
    ("count", "said"), [(1, "without 1 customer not yet watched"), (2, "without 2 customers not yet watched")]
)
def test_customers_not_yet_watched(count: int, said: str) -> None:
    found = ex.readout_of(a_plan(), replace(ALL, immature={"visit": count}))
    assert said in caution(found, CautionCode.IMMATURE)


def test_of_metrics_that_decide_nothing_only_how_many_are_not_yet_watched() -> None:
    other = replace(SPEND, role=Role.SECONDARY)
    plan = a_plan(replace(VISIT, title="share who came"), other, replace(other, name="more"))
    some = replace(ALL, outcomes={**ALL.outcomes, "more": ALL.outcomes["spend"]})
    for immature, said in (
        ({"visit": 5, "spend": 5}, "of the window: share who came and 1 metric that decides nothing."),
        ({"visit": 5, "spend": 5, "more": 5}, "of the window: share who came and 2 metrics that decide nothing."),
        ({"spend": 5}, "of the window: 1 metric that decides nothing."),
    ):
        assert said in caution(ex.readout_of(plan, replace(some, immature=immature)), CautionCode.IMMATURE)


@pytest.mark.parametrize(("days", "said"), [(1, "A short run: 1 day, where"), (2, "A short run: 2 days, where")])
def test_a_short_run(days: int, said: str) -> None:
    plan = a_plan(VISIT, end=START + timedelta(days=days), min_days=1)
    assert said in caution(ex.readout_of(plan, ALL), CautionCode.SHORT_RUN)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (1, "The planned run of 1 day is under two full windows of visit, 1 day each."),
        (2, "The planned run of 2 days is under two full windows of visit, 2 days each."),
    ],
)
def test_a_run_under_two_windows(days: int, said: str) -> None:
    visit = replace(VISIT, outcome=replace(VISIT.outcome, event="visit", within_days=days))
    plan = a_plan(visit, end=START + timedelta(days=days), min_days=1, inference=Inference.FIXED)
    sentences = [each.sentence for each in ex.readout_of(plan, ALL).cautions if each.code is CautionCode.SHORT_PLAN]
    assert said in sentences


@pytest.mark.parametrize(("days", "said"), [(1, "watched for the whole 1 day 90 %"), (2, "the whole 2 days 90 %")])
def test_a_matured_rate_beside_a_curve(days: int, said: str) -> None:
    early, late = RiskTable({0: 900}, {}, {60: 100}), RiskTable({}, {}, {60: 5_000})
    units = {(name, day): table for name in ("one", "three") for day, table in ((0, early), (90, late))}
    cells = {Cell(name, 0, day): table for (name, day), table in units.items()}
    found = ex.readout_of(
        a_plan(replace(CHURN, horizon_days=days), variants=TWO),
        ex.Aggregates(
            {cell: each.count for cell, each in cells.items()}, {"churn": cells}, as_of=START + timedelta(91)
        ),
    )
    assert any(said in each.sentence for each in found.cautions if each.code is CautionCode.RATE_AGAINST_SURVIVAL)


@pytest.mark.parametrize(("length", "said"), [(1, "at most 1, the days"), (2, "at most 2, the days")])
def test_a_first_reading_beyond_the_end(length: int, said: str) -> None:
    check = Checks()
    check_times(check, START, START + timedelta(days=length), 14)
    assert check.problems[0].expected.startswith(said)


@pytest.mark.parametrize(
    ("parts", "costs"),
    [
        (((4.25, 9.5),), "costs 4.25 to 9.5 EUR."),
        (((0.0, 9.5),), "costs at most 9.5 EUR."),
        (((12_345.6, inf),), "costs at least 12,346 EUR."),
        (((0.0, 9.5), (70.125, inf)), "costs at most 9.5 EUR, or at least 70.12 EUR."),
    ],
)
def test_a_break_even_is_money(parts: tuple[tuple[float, float], ...], costs: str) -> None:
    tie = BreakEven("loss", "Fieller", Level(), None, parts, "in its own words")
    assert break_even_text(tie, "EUR") == f"The variants may be worth the same if a lost customer {costs}"


@pytest.mark.parametrize("parts", [(), ((0.0, inf),)])
def test_a_break_even_without_an_amount_stays_in_its_own_words(parts: tuple[tuple[float, float], ...]) -> None:
    assert break_even_text(BreakEven("loss", "Fieller", Level(), None, parts, "At any loss."), "EUR") == "At any loss."


def test_nothing_on_a_page_of_ones_is_counted_as_several() -> None:
    def small(metric: MetricReadout) -> MetricReadout:
        return replace(metric, arms=tuple(Arm(each.variant, 1, 1, 1, 1.0) for each in metric.arms), immature=1)

    start = lasting(1)
    shown = replace(
        start,
        metrics=tuple(map(small, (REACHABLE, DAYS, LEFT))),
        groups=tuple(replace(each, units=number) for number, each in enumerate(start.groups)),
        received=(Received("one", 1.0, 1.0, 1),),
    )
    assert "1 customer (" in page(shown)
    assert not ONE_OF_SEVERAL.search(page(shown))
