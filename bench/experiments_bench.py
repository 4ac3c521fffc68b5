"""Deciding with five running experiments, two of them on budgets, beside the same asks without any."""

import asyncio
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from bench.load import hammer, post_batches, post_to_all
from bench.report import Report, judged
from bench.service import Service
from engine.core.windows import tzdata_version
from engine.store import policies
from engine.store.database import Database

GOAL: Final = 0.85
CUSTOMERS_MAX: Final = 200_000  # few enough that all have entered, and so many that nobody comes near a limit
_SIZE: Final = 1_000


def measure(report: Report, one: Service, database_url: str, customers: int, seconds: int, rounds: int) -> None:
    """Customers enter first, which is one more row each; the goal is for those who are in, as most asks find them.

    All asks are allowed, with experiments and without: a refusal takes longer, whoever refuses.
    """
    customers = min(customers, CUSTOMERS_MAX)
    report.section(f"Five running experiments, two of them on budgets that select every ask; {customers:,} customers")
    put_in_force(database_url, [])
    cold = post_batches(one.url, one.key, customers, run="none-cold", size=_SIZE, seconds=seconds).per_s
    put_in_force(database_url, PLANS)
    entering = post_batches(one.url, one.key, customers, run="entering", size=_SIZE, seconds=1).per_s
    post_to_all(one.url, one.key, customers, run="enter", size=_SIZE)
    plain: list[tuple[float, float]] = []
    running: list[tuple[float, float]] = []
    for turn in range(rounds):
        pair = ([], plain), (PLANS, running)
        for plans, found in pair if turn % 2 else pair[::-1]:  # accounts grow: each is the second in turn
            put_in_force(database_url, plans)
            run = f"experiments{turn}x{len(plans)}"
            batches = post_batches(one.url, one.key, customers, run=f"{run}b", size=_SIZE, seconds=seconds).per_s
            singles = hammer(one.url, "/v1/decisions", one.key, customers, run=f"{run}s", seconds=seconds).per_s
            found.append((batches, singles))
    put_in_force(database_url, [])
    for place, what in enumerate((f"batches of {_SIZE:,}", "single asks over HTTP")):
        ratio = median(each[place] / none[place] for each, none in zip(running, plain, strict=True))
        rates = [median(each[place] for each in both) for both in (plain, running)]
        report.row(
            what, f"{rates[1]:,.0f} asks/s, {rates[0]:,.0f} without", f"{ratio:.0%}", judged(ratio, GOAL, "{:.0%}")
        )
    report.row("batches in which nearly everybody enters", f"{entering:,.0f} asks/s", f"{entering / cold:.0%}")


def put_in_force(database_url: str, plans: Sequence[Mapping[str, Any]]) -> None:
    """The rules as they are, with these experiments and no others running."""

    async def put() -> None:
        database = Database(database_url, size=1)
        await database.open()
        try:
            async with database.transaction() as connection:
                await policies.lock_activation(connection)
                experiments = [{"number": number, "plan": plan} for number, plan in enumerate(plans, 1)]
                await policies.add_ruleset(connection, tzdata_version(), "bench", experiments=experiments)
        finally:
            await database.close()

    asyncio.run(put())


def _plan(key: str, variants: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    rate = {"name": "bought", "kind": "rate", "event": "purchase", "within_days": 14}
    return {
        "key": key,
        "variants": [{"name": "control", "control": True}, *variants],
        "start": "2026-01-05",
        "end": "2030-01-04",
        "metrics": [{**rate, "role": "primary", "direction": "increase"}],
        **more,
    }


def _limits(budget: str, *limits: int) -> list[dict[str, Any]]:
    return [{"name": f"limit-{each}", "policy": {"budgets": {budget: {"limit": each}}}} for each in limits]


# Both budgets select every ask of the load, so the two share a layer: each customer is in one of them.
PLANS: Final = [
    _plan("email", _limits("email-weekly", 15, 30), layer={"name": "budgets", "slots": [0, 5_000]}),
    _plan("daily", _limits("any-daily", 15, 30), layer={"name": "budgets", "slots": [5_000, 10_000]}),
    *(_plan(key, [{"name": "other"}]) for key in ("welcome", "layout", "tone")),
]
