"""Rulesets with running experiments and holdouts, written as an activation writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.windows import tzdata_version
from engine.store import policies
from engine.store.database import Database

POLICY = """\
schema: 1
unknown_timezone: UTC
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell, consent: opt_in}
  orders: {purpose: serve, exempt: true, counts: false}
budgets:
  - {name: push-weekly, channels: [push], limit: 1, window: {rolling: 7d}}
  - {name: email-weekly, channels: [email], limit: 2, window: {rolling: 7d}}
  - {name: any-monthly, limit: 40, window: {rolling: 30d}}
lease: 20m
"""


def plan(key: str, **more: Any) -> dict[str, Any]:
    """A plan that changes no budget, in the form of the file."""
    return {
        "key": key,
        "variants": [{"name": "old", "control": True}, {"name": "new"}],
        "start": "2026-01-05",
        "end": "2030-01-04",
        "metrics": [
            {
                "name": "bought",
                "kind": "rate",
                "event": "purchase",
                "within_days": 14,
                "role": "primary",
                "direction": "increase",
            }
        ],
        **more,
    }


def budget_plan(key: str, budget: str, limits: Mapping[str, int | None], **more: Any) -> dict[str, Any]:
    """A plan whose treatments set limits of a budget, beside a control called `control`."""
    treatments = [{"name": name, "policy": {"budgets": {budget: {"limit": n}}}} for name, n in limits.items()]
    return plan(key, variants=[{"name": "control", "control": True}, *treatments], **more)


def everybody(name: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The same plan with all customers in one variant, but for one in a million millions."""
    variants = [{**each, "weight": 1e6 if each["name"] == name else 1e-6} for each in plan["variants"]]
    return {**plan, "variants": variants}


async def put_in_force(
    database: Database,
    plans: Sequence[Mapping[str, Any]] | None = None,
    holdouts: Sequence[Mapping[str, Any]] | None = None,
) -> int:
    """The policy in force with these experiments, numbered from 1 in their order, and holdouts; returns its number."""
    experiments = None if plans is None else [{"number": n, "plan": dict(each)} for n, each in enumerate(plans, 1)]
    async with database.transaction() as connection:
        await policies.lock_activation(connection)
        ruleset = await policies.add_ruleset(
            connection, tzdata_version(), "test", experiments=experiments, holdouts=holdouts
        )
    return ruleset.number
