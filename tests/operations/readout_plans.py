"""Plans for tests of readouts, and a readout in the service as of the world's own instant."""

from dataclasses import replace
from typing import Any

import psycopg

from engine.operations.plan_file import read_plan
from engine.operations.readout import Found, compute, wanted
from engine.store import analysis
from engine.store.analysis import Analysis
from engine.store.experiments import Record, current
from experiments.design import Experiment
from tests.operations.readout_worlds import World

METRICS: list[dict[str, Any]] = [
    {"name": "bought", "kind": "rate", "event": "purchase", "within_days": 14, "role": "primary"},
    {"name": "spend", "kind": "mean", "event": "purchase", "value": "value", "within_days": 28, "role": "secondary"},
    {"name": "pages", "kind": "mean", "event": "session", "value": "pages", "role": "descriptive"},
    {"name": "back", "kind": "retention", "event": "session", "on_or_after_day": 7, "until_day": 14,
     "role": "secondary"},
    {"name": "on_day_3", "kind": "retention", "event": "session", "on_day": 3, "clock": "calendar",
     "role": "descriptive"},
    {"name": "pushable", "kind": "reachable", "channel": "push", "day": 28, "role": "descriptive"},
    {"name": "days", "kind": "survival", "event": "unsubscribed", "competing": ["bounced"], "horizon": 28,
     "role": "secondary", "direction": "decrease"},
    {"name": "per_contact", "kind": "ratio", "numerator": {"event": "unsubscribed"}, "denominator": {"event": "sent"},
     "role": "descriptive", "direction": "decrease"},
    {"name": "left", "kind": "rate", "event": "unsubscribed", "within_days": 28, "role": "guardrail", "margin": 0.1,
     "direction": "decrease"},
]  # fmt: skip
PLAIN: dict[str, Any] = {
    "key": "a-b",
    "unit": "customer_id",
    "variants": [{"name": "old", "control": True}, {"name": "new"}, {"name": "other"}],
    "start": "2026-10-05",
    "end": "2026-11-09",
    "metrics": [{"direction": "increase", **each} for each in METRICS],
    "segments": ["tier"],
}
BUDGET: dict[str, Any] = {
    **PLAIN,
    "key": "budget",
    "variants": [
        {"name": "one", "control": True, "dose": 1},
        {"name": "three", "dose": 3, "policy": {"budgets": {"push-weekly": {"limit": 3}}}},
    ],
    "phases": [
        {"start": "2026-10-05", "weights": {"one": 1, "three": 1}},
        {"start": "2026-10-20", "weights": {"one": 2, "three": 2}},
    ],
}


def computed(world: World) -> Found:
    world.settle()
    with analysis.alone(world.url, world.number) as connection, analysis.one_instant(connection):
        return compute(*opened(world, connection))


def opened(world: World, connection: psycopg.Connection[Any]) -> tuple[Record, Experiment, Analysis]:
    record = current(connection, world.number)
    plan = replace(read_plan(record.plan), columns=analysis.COLUMNS)
    return record, plan, Analysis(connection, wanted(record, plan), world.now_us)


def arms(found: Found, metric: str) -> dict[str, tuple[float, float]]:
    return {each.variant: (each.numerator, each.denominator) for each in found.readout.metric(metric).arms}
