"""The policy under which chaos runs: short rolling windows, so that they roll many times a minute.

The budgets are values here, from which both the policy's text and the oracle's arithmetic are made. So are the doses
of the experiments that start and stop meanwhile, all on one budget.
"""

from typing import NamedTuple, Protocol

SECOND_US = 1_000_000


class Message(Protocol):
    @property
    def channel(self) -> str: ...
    @property
    def campaign(self) -> str: ...


class Budget(NamedTuple):
    """A rolling budget. `window_us` is what binds: the window less its tolerance."""

    name: str
    limit: int
    window_us: int
    channels: tuple[str, ...] | None = None
    per_campaign: bool = False

    def group(self, message: "Message") -> str | None:
        """What it counts a message together with; None if it does not count it."""
        if self.channels is not None and message.channel not in self.channels:
            return None
        return message.campaign if self.per_campaign else ""

    def limit_of(self, dose: int | None) -> int:
        """The limit for a customer whose variant has this dose."""
        return (self.name == TESTED and dose) or self.limit


BUDGETS = (
    Budget("all", 3, 9 * SECOND_US),
    Budget("email", 2, 6 * SECOND_US, ("email",)),
    Budget("gap", 1, 1 * SECOND_US, ("push", "sms")),
    Budget("campaign", 4, 20 * SECOND_US, per_campaign=True),
)
LONGEST_US = max(each.window_us for each in BUDGETS)
TESTED = "email"  # the budget, and the channel that it is about
DOSES = {"two": 2, "one": 1, "three": 3}  # its limit by variant; the first is the policy as it is
MOST = max(DOSES.values())
YAML = """\
schema: 1
mode: enforce
unknown_timezone: Europe/Berlin
budgets:
  - {name: all, limit: 3, window: {rolling: 10s, tolerance: 1s}}
  - {name: email, channels: [email], limit: 2, window: {rolling: 6s}}
  - {name: gap, channels: [push, sms], min_gap: 1s}
  - {name: campaign, per: campaign, limit: 4, window: {rolling: 20s}}
  - {name: day, limit: 1000000, window: {calendar: day}}
lease: 3s
max_lease: 24h
"""


def plan(key: str) -> str:
    """An experiment on the tested budget, as YAML."""
    control, *others = DOSES
    patched = "".join(
        f"  - {{name: {each}, dose: {DOSES[each]}, policy: {{budgets: {{{TESTED}: {{limit: {DOSES[each]}}}}}}}}}\n"
        for each in others
    )
    return f"""\
key: {key}
variants:
  - {{name: {control}, control: true, dose: {DOSES[control]}}}
{patched}start: 2026-10-05
end: 2027-01-04
metrics:
  - {{name: reachable, kind: reachable, channel: email, day: 28, role: primary, direction: increase}}
"""
