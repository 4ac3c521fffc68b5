"""Experiments that ended long ago, as rows by hand: each with a readout that says what the test wants."""

import random
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from experiments.design import Direction, Role
from experiments.readout import Check, CheckCode, Readout
from experiments.reporting.json_form import document
from experiments.reporting.numbers import Scale
from tests.render.readouts import a_metric, a_readout, an_estimate

END = date(2027, 1, 4)  # of all these readouts
START_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000


def a_result(effect: float, wide: float, lost: float = 0.0, *, is_valid: bool = True, as_of: date = END) -> Readout:
    """A primary and a guardrail, each so wide, of one variant against the control."""
    checks = () if is_valid else (Check(CheckCode.SRM, True, "The variants do not hold the shares planned."),)
    kept = replace(
        a_metric("kept", Role.PRIMARY, an_estimate(effect, effect - wide, effect + wide)), title="customers kept"
    )
    left = a_metric(
        "left", Role.GUARDRAIL, an_estimate(lost, lost - wide, lost + wide), direction=Direction.DECREASE, margin=0.02
    )
    spent = a_metric("spent", Role.SECONDARY, an_estimate(1.5, 1, 2), scale=Scale.MONEY, unit="EUR")
    return a_readout(kept, left, spent, as_of=as_of, checks=checks)


def some_results(seed: int, number: int) -> list[Readout]:
    """Of every kind there is."""
    random_ = random.Random(seed)  # noqa: S311 - a test's
    return [
        a_result(
            random_.choice([-0.05, 0.0, 0.05]),
            random_.choice([0.01, 0.1]),
            random_.choice([0.0, 0.06]),
            is_valid=random_.random() < 0.8,
            as_of=random_.choice([END, date(2026, 11, 2)]),
        )
        for _ in range(number)
    ]


def ended(
    url: str,
    key: str,
    readout: Readout | None,
    *,
    state: str = "stopped",
    ended_day: int = 100,
    older: Readout | None = None,
    hypothesis: str = "",
    note: str = "",
    told: dict[str, Any] | None = None,
) -> int:
    """Write one down; its number. `older`: what an older readout of it said; `told`: the document in the newest one's
    place."""
    is_running, shipped = state == "running", "three" if state == "shipped" else None
    ended_us = None if is_running else START_US + ended_day * DAY_US
    plan = {"key": key, "hypothesis": hypothesis, "start": "2026-10-05", "end": "2020-01-01", "variants": []}
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "INSERT INTO experiments (key, state, on_harm, created_us, started_us, ended_us, shipped, source, plan)"
            " VALUES (%s, %s, 'alert', %s, %s, %s, %s, '', %s) RETURNING number",
            (key, state, START_US, START_US, ended_us, shipped, Jsonb(plan)),
        ).fetchone()
        assert found
        number: int = found[0]
        if not is_running:
            connection.execute(
                "INSERT INTO experiment_log (experiment, entry, at_us, action, author, note, data)"
                " VALUES (%s, 1, %s, %s, 'ann', %s, '{}')",
                (number, ended_us, "ship" if shipped else "stop", note),
            )
        for place, each in ((1, older), (2, readout)):
            if each is not None:
                at_us = START_US + place * DAY_US
                row = {"schema": 1, "readout": (each is readout and told) or document(each)}
                connection.execute(
                    "INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)"
                    " VALUES (%s, %s, %s, %s, 1, %s, %s)",
                    (number, place, at_us, at_us, each.verdicts[0].call.value, Jsonb(row)),
                )
        return number


def renamed(readout: Readout, name: str) -> Readout:
    """The same with another name of its treatment."""
    return replace(
        readout,
        groups=(readout.groups[0], replace(readout.groups[1], variant=name)),
        metrics=tuple(
            replace(
                metric,
                arms=(metric.arms[0], replace(metric.arms[1], variant=name)),
                comparisons=tuple(replace(each, variant=name) for each in metric.comparisons),
            )
            for metric in readout.metrics
        ),
    )
