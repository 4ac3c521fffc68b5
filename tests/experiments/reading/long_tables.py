"""Tables and plans of the long form: customers over whom all sorts of things happen."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from experiments import tables
from experiments.aggregates import Aggregates
from experiments.design import (
    Clock,
    Direction,
    Experiment,
    Form,
    Mean,
    Metric,
    Outcome,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
    Variant,
)
from tests.experiments.table_oracle import DAY, Row

START = datetime(2026, 3, 1, tzinfo=UTC)
AS: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
LEFT = Rate(name="left", outcome=Outcome(event="unsubscribed", within_days=14), **{**AS, "role": Role.PRIMARY})
SPEND = Mean(name="spend", outcome=Outcome(event="purchase", value="value", within_days=14), cap=90, **AS)
SENT = Mean(name="sent", outcome=Outcome(event="sent", channel="push"), is_count=True, **AS)
TIME = Survival(name="time", event="unsubscribed", competing=("account_closed", "erased"), horizon_days=21, **AS)
PUSH, EMAIL = (Reachable(name=each, channel=each, day=9, **AS) for each in ("push", "email"))


def retention(clock: Clock) -> Retention:
    outcome = Outcome(event="session")
    form = Form.ON_OR_AFTER
    return Retention(name=f"stay_{clock}", outcome=outcome, form=form, from_day=3, until_day=9, clock=clock, **AS)


METRICS: tuple[Metric, ...] = (
    LEFT,
    SPEND,
    SENT,
    TIME,
    PUSH,
    EMAIL,
    retention(Clock.ROLLING),
    retention(Clock.CALENDAR),
    Ratio(
        name="per_message",
        numerator=Outcome(event="unsubscribed"),
        denominator=Outcome(event="sent"),
        **{**AS, "role": Role.DESCRIPTIVE},
    ),
    Value(
        name="net",
        revenue=Outcome(event="purchase", value="value", within_days=14),
        margin_share=0.4,
        contacts=Outcome(event="sent", within_days=14),
        cost_per_contact=0.1,
        lost_reach=Outcome(event="unsubscribed", within_days=14),
        **AS,
    ),
)


def plan(*metrics: Metric, **given: Any) -> Experiment:
    """Of these metrics, the first of which is the primary one."""
    if metrics and all(each.role is not Role.PRIMARY for each in metrics):
        metrics = (replace(metrics[0], role=Role.PRIMARY), *metrics[1:])
    return Experiment(
        **{
            "key": "long",
            "variants": (Variant("a", control=True, dose=1), Variant("b", dose=3)),
            "metrics": metrics or METRICS,
            "start": START.date(),
            "end": date(2026, 5, 1),
            "horizon_days": 21,
            **given,
        }
    )


def table(rows: list[Row]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def exposure(unit: Any, variant: str = "a", entered: datetime = START, **more: Any) -> Row:
    return {"customer_id": unit, "variant": variant, "entered_at": entered, **more}


def event(
    unit: Any, kind: str, after: timedelta, value: float | None = 0.0, entered: datetime = START, **more: Any
) -> Row:
    return {"customer_id": unit, "type": kind, "at": entered + after, "channel": None, "value": value, **more}


LATEST = event(-1, "nothing", 60 * DAY)
"""Of nobody who is analysed: with it all windows are over."""


def aggregate(metrics: tuple[Metric, ...], exposures: list[Row], events: list[Row], **given: Any) -> Aggregates:
    as_of = given.pop("as_of", None)
    return tables.aggregate(plan(*metrics, **given), table(exposures), table(events), as_of=as_of)


def whole(found: Aggregates, metric: str) -> Any:
    """Over all cells."""
    first, *others = found.outcomes[metric].values()
    total: Any = first
    for each in others:
        total = total + each
    return total


def codes(found: Aggregates) -> dict[str, int]:
    return {each.code: each.count for each in found.exclusions}


KINDS = {
    "sent": 0.3,
    "session": 0.25,
    "purchase": 0.1,
    "unsubscribed": 0.06,
    "resubscribed": 0.03,
    "consented": 0.02,
    "complained": 0.02,
    "hard_bounced": 0.01,
    "bounced": 0.03,
    "account_closed": 0.02,
    "erased": 0.01,
    "push_disabled": 0.05,
    "push_enabled": 0.03,
    "uninstalled": 0.02,
    "survey": 0.05,
}


def population(seed: int, units: int = 400, many: int = 6_000) -> tuple[list[Row], list[Row]]:
    """Customers over whom all sorts of things happen, near the edges of days too."""
    random = np.random.default_rng(seed)
    zones = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "UTC", "Mars", None]
    exposures = [
        exposure(
            unit,
            "ab"[int(random.integers(2))],
            START + timedelta(microseconds=int(random.integers(40 * 86_400_000_000))),
            time_zone=zones[int(random.integers(len(zones)))],
            country=["DE", "AT"][int(random.integers(2))],
        )
        for unit in range(units)
    ]
    events: list[Row] = []
    for place in range(many):
        unit = int(random.integers(units))
        entered = exposures[unit]["entered_at"]
        whole_days = timedelta(days=int(random.integers(-20, 30)))
        edge = timedelta(microseconds=int(random.choice([-1, 0, 1])))
        anywhere = timedelta(seconds=float(random.random()) * 86_400)
        kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
        row = event(unit, kind, whole_days + (edge if random.random() < 0.3 else anywhere), entered=entered)
        row["value"] = float(random.lognormal(3, 1))
        row["channel"] = [None, "push", "email"][int(random.integers(3))]
        row["suspect"] = bool(random.random() < 0.05)
        row["hard"] = bool(random.random() < 0.5)
        row["event_id"] = f"e{place}"
        events.append(row)
        if random.random() < 0.03:
            events.append(dict(row, at=row["at"] + timedelta(hours=5)))
    return exposures, events
