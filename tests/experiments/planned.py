"""Plans and aggregates made by hand: three variants of a push budget, some of which should ship."""

from datetime import date, timedelta
from typing import Any

import numpy as np

from experiments.aggregates import Aggregate, Aggregates, Cell
from experiments.design import (
    Direction,
    Experiment,
    Mean,
    Metric,
    Outcome,
    Rate,
    Role,
    Survival,
    Value,
    Variant,
)
from experiments.estimates import Stratum
from experiments.moments import Counts, Moments, PairMoments
from experiments.readout import CautionCode, Readout
from experiments.risk import RiskTable

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
