"""Readouts made by hand: what a budget experiment might show after four weeks, without any statistics run."""

from dataclasses import replace
from datetime import date

from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate, Level
from experiments.readout import (
    Arm,
    Caution,
    CautionCode,
    Check,
    CheckCode,
    Comparison,
    Group,
    MetricReadout,
    Readout,
)
from experiments.reporting.numbers import Scale


def an_estimate(effect: float, low: float, high: float, method: str = "by hand", p_value: float = 0.01) -> Estimate:
    return Estimate("the difference of the shares", method, Level(), effect, low, high, p_value)


def a_metric(
    name: str,
    role: Role,
    estimate: Estimate,
    *,
    bound: Estimate | None = None,
    direction: Direction = Direction.INCREASE,
    margin: float | None = None,
    scale: Scale = Scale.SHARE,
    unit: str | None = None,
) -> MetricReadout:
    arms = (Arm("one", 20_000, 15_000, 20_000, 0.75), Arm("three", 20_100, 15_300, 20_100, 15_300 / 20_100))
    return MetricReadout(
        name=name,
        role=role,
        direction=direction,
        scale=scale,
        arms=arms,
        comparisons=(Comparison("three", estimate, bound),),
        margin=margin,
        unit=unit,
    )


def a_readout(*metrics: MetricReadout, as_of: date | None = date(2026, 11, 2)) -> Readout:
    return Readout(
        key="push-budget-2026q4",
        hypothesis="Three promotional pushes a week sell more at no loss of reachable customers.",
        inference=Inference.ANYTIME,
        alpha=0.05,
        start=date(2026, 10, 5),
        end=date(2027, 1, 4),
        min_days=14,
        horizon_days=90,
        as_of=as_of,
        groups=(Group("one", 20_000, 1.0, is_control=True, dose=1.0), Group("three", 20_100, 1.0, dose=3.0)),
        metrics=metrics,
        checks=(Check(CheckCode.SRM, False, "The variants hold the shares planned.", p_value=0.62),),
        cautions=(Caution(CautionCode.EXCLUDED, "12 rows were left out: their customer is in two variants."),),
    )


REACHABLE = a_metric(
    "reachable_28",
    Role.PRIMARY,
    an_estimate(0.0112, 0.0031, 0.0193),
    bound=replace(an_estimate(0.0112, 0.0031, 0.0193), p_value=None),
)
UNSUBSCRIBED = a_metric(
    "unsubscribed",
    Role.GUARDRAIL,
    an_estimate(0.0004, -0.0003, 0.0011),
    bound=replace(an_estimate(0.0004, -0.0005, 0.0013, "by hand, at any time"), p_value=None),
    direction=Direction.DECREASE,
    margin=0.002,
)
VALUE = a_metric("net_value", Role.SECONDARY, an_estimate(0.31, -0.05, 0.67), scale=Scale.MONEY, unit="EUR")
PER_MESSAGE = a_metric(
    "unsubscribes_per_message",
    Role.DESCRIPTIVE,
    Estimate("the ratio", "by hand", Level(), why_not="nobody in one was sent a message"),
    scale=Scale.RATIO,
    unit="unsubscribed per sent",
)
SHIPPING = a_readout(REACHABLE, UNSUBSCRIBED, VALUE, PER_MESSAGE)
