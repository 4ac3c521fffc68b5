"""Whether a budget refused a message because of what others had sent: asked again of the asker's own contacts alone.

Pure. Who asks is a *party*: the team, or the sender where no team is named.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from engine.core.account import Account, Contact
from engine.core.customer import Customer
from engine.core.meter import Meter
from engine.core.rules import Rules
from engine.core.ruling import meters
from engine.core.situation import situation
from engine.core.verdict import Ask


class Sent(NamedTuple):
    """A contact, and whose it was."""

    contact: Contact
    party: str | None


class Crowded(NamedTuple):
    """Why a budget had no room. `is_others`: the asker's own contacts would have left room. `filler` is then whoever
    had the most in it, of equals the latest; else the asker."""

    is_others: bool
    filler: str | None


def crowded(
    rules: Rules, customer: Customer, sent: Sequence[Sent], ask: Ask, party: str | None, budget: str, now_us: int
) -> Crowded | None:
    """Whose contacts kept an ask from fitting a budget. `rules` are those that bound the customer.

    None where these contacts do not explain a refusal, or the budget is one over a lifetime, which forgets who sent.
    """
    case = situation(rules, customer, Account(contacts=[each.contact for each in sent]), ask, now_us)
    meter = next((each for each in meters(case) if each.name == budget), None)
    if meter is None or meter.gauge.is_lifetime or not meter.refuses(now_us):
        return None
    own = [each.contact for each in sent if each.party == party]
    alone = next(each for each in meters(replace(case, contacts=own)) if each.name == budget)
    if alone.refuses(now_us):
        return Crowded(is_others=False, filler=party)
    shares: Counter[str | None] = Counter()
    for each in sorted(sent, key=lambda each: -each.contact.start_us):  # of equals the first is kept: the latest
        if each.party != party:
            shares[each.party] += _use(meter, each.contact, now_us)
    return Crowded(is_others=True, filler=max(shares, key=lambda each: shares[each]))


def _use(meter: Meter, contact: Contact, now_us: int) -> int:
    """How much of the budget one contact had in use."""
    case = replace(meter.case, contacts=[contact])
    alone = next((each for each in meters(case) if each.name == meter.name), None)
    return 0 if alone is None else alone.used(now_us)
