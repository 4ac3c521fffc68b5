"""Policies and plans for the tests of experiments: a shop with push, e-mail and phone."""

from datetime import date
from typing import Any

from engine.operations.plan_file import Plan, load_plan

POLICY = """\
schema: 1
# What the shop allows.
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  orders: {purpose: serve, exempt: true}
budgets:
  - name: push-weekly               # the one that is argued about
    channels: [push]
    topics: [promotions]
    limit: 1
    window: {rolling: 7d}
    overrides: [{when: {tier: gold}, limit: 2}]
  - {name: email-weekly, channels: [email], limit: 2, window: {rolling: 7d}}
  - {name: any-weekly, topics: [newsletter], limit: 9, window: {rolling: 7d}}
  - {name: spacing, channels: [phone], min_gap: 3d}
"""
PLAN = """\
key: push-more
hypothesis: Three pushes a week lose nobody.
variants:
  - {name: one, control: true, dose: 1}
  - {name: three, dose: 3, policy: {budgets: {push-weekly: {limit: 3}}}}
start: 2026-10-05
end: 2027-01-04
metrics:
  - {name: reachable, kind: reachable, channel: push, day: 28, role: primary, direction: increase}
  - {name: gone, kind: rate, event: unsubscribed, within_days: 28, role: guardrail, direction: decrease, margin: 0.002}
"""
THREE_ARMS = PLAN.replace(
    "start: 2026", "  - {name: five, dose: 5, policy: {budgets: {push-weekly: {limit: 5}}}}\nstart: 2026", 1
)
EMAIL = (
    PLAN.replace("push-more", "email-more")
    .replace("push-weekly", "email-weekly")
    .replace("dose: 1", "dose: 2")
    .replace("{channel: push, ", "")
)
AA = """\
key: a-a
variants:
  - {name: a, control: true}
  - {name: b}
start: 2026-10-05
end: 2026-11-30
metrics:
  - {name: bought, kind: rate, event: purchase, within_days: 14, role: primary, direction: increase}
"""


def plan(text: str = PLAN, **more: Any) -> Plan:
    """A plan with further fields, given as YAML on a line of their own."""
    return load_plan(written(text, **more))


def written(text: str = PLAN, **more: Any) -> str:
    return text + "".join(f"{name}: {value}\n" for name, value in more.items())


def layered(text: str, first: int, after: int, name: str = "budgets") -> str:
    return written(text, layer=f"{{name: {name}, slots: [{first}, {after}]}}")


def day(text: str) -> date:
    return date.fromisoformat(text)
