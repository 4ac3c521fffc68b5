"""One ask before one customer's contacts: what the rules that have a say in it share.

Time appears twice: the *clock* decides which leases have ended; the *send*, max(send_at, clock), is where the ask's
occupancy begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.core.account import Account, Contact
from engine.core.customer import Customer
from engine.core.rules import Rules, Terms
from engine.core.verdict import Ask
from engine.core.windows import Zone, zone


@dataclass(slots=True)
class Situation:
    """A value, although not frozen: to freeze it would cost every ask as much as two budgets do."""

    rules: Rules
    terms: Terms
    customer: Customer
    zone: Zone | None
    contacts: Sequence[Contact]
    totals: Mapping[tuple[str, str], int]
    ask: Ask
    lease_us: int
    now_us: int

    def start_us(self, clock_us: int) -> int:
        """When an ask made at this instant would be sent, at the earliest."""
        send_at_us = self.ask.send_at_us
        return clock_us if send_at_us is None or send_at_us < clock_us else send_at_us


def situation(rules: Rules, customer: Customer, account: Account, ask: Ask, now_us: int) -> Situation:
    policy = rules.policy
    terms = rules.terms(ask.labels, customer.preferences)
    return Situation(
        rules,
        terms,
        customer,
        zone_of(rules, customer) if terms.reads_zone else None,
        account.contacts,
        account.totals,
        ask,
        min(ask.lease_us or policy.lease_us, policy.max_lease_us),
        now_us,
    )


def zone_of(rules: Rules, customer: Customer) -> Zone | None:
    """The zone by which a customer's days run; None where it is unknown and the policy denies for it."""
    name = customer.time_zone or rules.policy.unknown_timezone
    return zone(name) if name else None
