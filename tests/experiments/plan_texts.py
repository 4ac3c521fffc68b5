"""Texts of plans for the tests: the one in the design, a small one, and the one in the reference."""

import io
import re
from pathlib import Path

from experiments.design import Experiment
from experiments.plans import reader as plan_reader

DESIGN = """\
key: push-budget-2026q4
hypothesis: One promotional push a week keeps more customers reachable at no loss of revenue.
unit: customer_id
variants:
  - {name: one, weight: 1, control: true, dose: 1}                                          # the policy as it is
  - {name: three, weight: 1, dose: 3, policy: {budgets: {push-weekly: {limit: 3}}}}         # a dose that differs from its limit is an error
traffic: 1.0
layer: {name: push-budget, slots: [0, 5000]}     # of 10,000; overlaps are refused at start
start: 2026-10-05
end: 2027-01-04                                # the planned end; min_days: 14; horizon_days: 90
min_days: 14
horizon_days: 90
metrics:                                  # kind: rate | mean | ratio | count | nps | reachable | retention | survival | value | ...
  - {name: reachable_28, kind: reachable, channel: push, day: 28, role: primary, direction: increase}
  - {name: retention_28, kind: retention, event: session, on_or_after_day: 28, until_day: 56, role: secondary, direction: increase}
  - {name: unsubscribed, kind: rate, column: unsubscribed, event: unsubscribed, within_days: 28, role: guardrail, direction: decrease, margin: 0.002}
  - {name: spend, kind: mean, column: spend, event: purchase, value: value, within_days: 28, role: secondary, direction: increase}
  - {name: unsubscribes_per_message, kind: ratio, numerator: {event: unsubscribed}, denominator: {event: sent}, role: descriptive, direction: decrease}
  - {name: time_to_unsubscribe, kind: survival, duration: days, event: unsubscribed, competing: left, horizon: 90, role: secondary, direction: decrease}
segments: [lifecycle]
alpha: 0.05
inference: anytime                        # fixed | anytime (group_sequential comes later and is refused until then)
"""  # noqa: E501  (as it stands in the design)
SMALL = """\
key: k
variants:
  - {name: one, control: true}
  - {name: three}
start: 2026-10-05
end: 2027-01-04
metrics:
  - {name: spend, kind: mean, column: spend, role: primary, direction: increase}
"""
REFERENCE = Path(__file__).parent.parent.parent / "docs" / "plan.md"


def read(text: str | bytes) -> Experiment:
    return plan_reader.read(io.BytesIO(text) if isinstance(text, bytes) else io.StringIO(text))


def reference() -> str:
    (text,) = re.findall(r"<!-- plan -->\n```yaml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    return text
