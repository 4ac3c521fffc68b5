"""Tables and plans of the wide form: one row a unit."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

from experiments.aggregates import Aggregates
from experiments.design import (
    Direction,
    Experiment,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Role,
    Survival,
    Variant,
)

AS: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
VISIT = Rate(name="visit", outcome=Outcome(column="visit"), role=Role.PRIMARY, direction=Direction.INCREASE)
SPEND = Mean(name="spend", outcome=Outcome(column="spend"), **AS)
LEFT = Survival(name="left", event="gone", competing=("closed", "erased"), duration="days", horizon_days=30, **AS)


def plan(*metrics: Metric, **given: Any) -> Experiment:
    return Experiment(
        **{
            "key": "wide",
            "variants": (Variant("a", control=True), Variant("b")),
            "metrics": (VISIT, *metrics),
            "start": date(2026, 1, 1),
            "end": date(2026, 3, 1),
            **given,
        }
    )


def frame(**columns: Any) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    usual: dict[str, Sequence[Any]] = {
        "customer_id": range(rows),
        "variant": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2),
        "visit": [0] * rows,
    }
    return pd.DataFrame({**usual, **columns})


def codes(aggregates: Aggregates) -> dict[str, int]:
    return {each.code: each.count for each in aggregates.exclusions}


EVERYTHING = plan(
    SPEND,
    LEFT,
    Ratio(name="ratio", numerator=Outcome(column="spend"), denominator=Outcome(column="visit"), **AS),
    segments=("country",),
)
