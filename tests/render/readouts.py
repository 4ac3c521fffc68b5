"""Readouts made by hand, as a budget experiment might show them: no statistics are run."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from math import exp, sqrt

from experiments.aggregates import Exclusion
from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate, Level, unknown
from experiments.estimators.dose import DoseRow, DoseTable
from experiments.estimators.value import BreakEven
from experiments.readout import (
    Arm,
    Caution,
    CautionCode,
    Check,
    CheckCode,
    Comparison,
    Doses,
    Group,
    Line,
    LineKind,
    MetricReadout,
    Point,
    Readout,
    Received,
)
from experiments.reporting.numbers import Scale

UNITS = 21_300
LEVEL = Level(0.05, 2)
LIMITS = (1.0, 3.0, 5.0)


def an_estimate(effect: float, low: float, high: float, estimand: str = "the difference of the shares") -> Estimate:
    return Estimate(estimand, "Miettinen-Nurminen", LEVEL, effect, low, high, 0.0312)


def a_metric(
    name: str,
    role: Role,
    *estimates: Estimate,
    variants: Sequence[str] = ("one", "three"),
    direction: Direction = Direction.INCREASE,
    scale: Scale = Scale.SHARE,
    margin: float | None = None,
    unit: str | None = None,
    curves: tuple[Line, ...] = (),
    note: str = "",
) -> MetricReadout:
    """A metric of these variants, the control first, with one estimate for each of the others."""
    base = 0.75 if scale is Scale.SHARE else 12.5
    arms = [Arm(variants[0], UNITS, base * UNITS, UNITS, base)]
    for variant, each in zip(variants[1:], estimates, strict=True):
        value = base + (each.effect or 0.0)
        arms.append(Arm(variant, UNITS, round(value * UNITS), UNITS, value))
    return MetricReadout(
        name=name,
        role=role,
        direction=direction,
        scale=scale,
        arms=tuple(arms),
        comparisons=tuple(
            Comparison(variant, each, replace(each, method="asymptotic confidence sequence", p_value=None))
            for variant, each in zip(variants[1:], estimates, strict=True)
        ),
        margin=margin,
        unit=unit,
        curves=curves,
        note=note,
    )


def a_line(variant: str, hazard: float, kind: LineKind, days: int = 90, units: int = UNITS) -> Line:
    """An exponential curve with an interval that widens as customers go."""
    points: list[Point] = []
    for day in range(days + 1):
        stay, left = exp(-hazard * day), round(units * exp(-0.02 * day))
        wide = 2.5 * sqrt(stay * (1 - stay) / max(left, 1))
        value = 1 - stay if kind is LineKind.INCIDENCE else stay
        points.append(Point(day, value, max(0.0, value - wide), min(1.0, value + wide), left))
    estimand = {LineKind.INCIDENCE: "the share who unsubscribed by a day", LineKind.STAYING: "the share who stayed"}
    return Line(variant, kind, estimand[kind], "Aalen-Johansen", 0.05, tuple(points))


def a_readout(
    *metrics: MetricReadout,
    variants: Sequence[str] = ("one", "three"),
    as_of: date | None = date(2026, 11, 2),
    checks: Sequence[Check] = (),
    cautions: Sequence[Caution] = (),
    exclusions: Sequence[Exclusion] = (),
    received: Sequence[Received] = (),
    doses: Sequence[Doses] = (),
) -> Readout:
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
        groups=tuple(
            Group(variant, UNITS + 17 * place, 1.0, is_control=place == 0, dose=LIMITS[place % 3])
            for place, variant in enumerate(variants)
        ),
        metrics=metrics,
        received=tuple(received),
        doses=tuple(doses),
        checks=tuple(checks),
        cautions=tuple(cautions),
        exclusions=tuple(exclusions),
    )


def a_dose_table(variants: Sequence[str]) -> DoseTable:
    rows = [DoseRow(variants[0], LIMITS[0], 0.8, 12.5, None)]
    for k, each in enumerate(variants[1:], 1):
        effect = replace(an_estimate(0.31 * k, -0.11 * k, 0.73 * k), p_value=None)
        rows.append(DoseRow(each, LIMITS[k % 3], 0.8 + k, 12.5 + k, effect))
    return DoseTable(tuple(rows), variants[0], LEVEL)


def with_break_even(metric: MetricReadout) -> MetricReadout:
    tie = BreakEven("the loss at a tie", "Fieller", LEVEL, 4.2, ((1.0, 9.5),), "They tie at 4.2 EUR a lost customer.")
    return replace(metric, comparisons=tuple(replace(each, break_even=tie) for each in metric.comparisons))


def a_full_readout(variants: Sequence[str] = ("one", "three", "five")) -> Readout:
    """Every kind of metric, standing, check and caution, over as many variants as are named."""
    grow = range(1, len(variants))
    left, infinite = "the difference of cumulative incidence at day 90", float("inf")
    curves = (
        *(a_line(each, 0.0008 + 0.0004 * k, LineKind.INCIDENCE) for k, each in enumerate(variants)),
        *(a_line(each, 0.002 + 0.0003 * k, LineKind.STAYING) for k, each in enumerate(variants)),
    )
    return a_readout(
        a_metric(
            "reachable_28",
            Role.PRIMARY,
            *(an_estimate(0.0112 / k, 0.0031 / k - 0.002 * (k - 1), 0.0193) for k in grow),
            variants=variants,
        ),
        a_metric(
            "unsubscribed",
            Role.GUARDRAIL,
            *(an_estimate(0.0004 * k, -0.0003, 0.0011 * k) for k in grow),
            variants=variants,
            direction=Direction.DECREASE,
            margin=0.002,
        ),
        a_metric(
            "complained",
            Role.GUARDRAIL,
            *(an_estimate(0.0031, 0.0024, infinite) for _ in grow),
            variants=variants,
            direction=Direction.DECREASE,
            margin=0.0005,
        ),
        with_break_even(
            a_metric(
                "net_value",
                Role.SECONDARY,
                *(an_estimate(0.31 * k, -0.05, 0.67 * k, "the difference of the means") for k in grow),
                variants=variants,
                scale=Scale.MONEY,
                unit="EUR",
            )
        ),
        a_metric(
            "time_to_unsubscribe",
            Role.SECONDARY,
            *(an_estimate(0.03 * k, 0.021 * k, 0.04 * k, left) for k in grow),
            variants=variants,
            direction=Direction.DECREASE,
            curves=curves,
            note="The matured rate and the curve agree.",
        ),
        a_metric(
            "days_retained",
            Role.SECONDARY,
            *(an_estimate(-0.4 * k, -0.9 * k, 0.1, "the difference of restricted means") for k in grow),
            variants=variants,
            scale=Scale.DAYS,
        ),
        a_metric(
            "unsubscribes_per_message",
            Role.DESCRIPTIVE,
            *(unknown("the ratio", "delta method", LEVEL, "nobody in one was sent a message") for _ in grow),
            variants=variants,
            scale=Scale.RATIO,
            direction=Direction.DECREASE,
            unit="unsubscribed per sent",
        ),
        variants=variants,
        received=[Received(each, LIMITS[k % 3], 0.8 + k, UNITS) for k, each in enumerate(variants)],
        doses=[Doses("net_value", a_dose_table(variants))],
        checks=(
            Check(CheckCode.SRM, False, "The variants hold the shares planned.", p_value=0.62),
            Check(CheckCode.LEAK, False, "Nobody is in a variant of weight 0."),
            Check(CheckCode.BALANCE, True, "spend differed before anybody entered.", "spend", 0.0004),
        ),
        cautions=(
            Caution(CautionCode.IMMATURE, "1,204 customers are not watched for 28 days yet and not in reachable_28."),
            Caution(CautionCode.EXCLUDED, "12 rows were left out: their customer is in two variants."),
            Caution(CautionCode.CHECK, "spend differed before anybody entered."),
        ),
        exclusions=(Exclusion("two_variants", 12, "12 units seen in two variants"),),
    )
