"""The rules that have a say in one ask, each bound to the customer and able to tell from when on it allows.

Gates open and close by time alone; meters are budgets. What always holds: an exempt topic meets no rule but hard
suppressions and its own ceiling.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from engine.core.account import Contact, Lease
from engine.core.gates import Gate, Quiet, Shut
from engine.core.gauge import Gauge
from engine.core.meter import Charge, Meter
from engine.core.policy import PolicyMode
from engine.core.rules import Masks
from engine.core.situation import Situation
from engine.core.suppression import find_suppression, has_consent
from engine.core.verdict import Code, Verdict

_RELEASES: Final = Lease.RELEASES


class Rule(Protocol):
    """What a gate and a meter have in common. `is_hard`: it binds in an observed policy too."""

    @property
    def name(self) -> str: ...
    @property
    def refusal(self) -> Verdict: ...
    @property
    def is_hard(self) -> bool: ...
    @property
    def is_shadow(self) -> bool: ...

    def code_at(self, now_us: int) -> Code: ...
    def refuses(self, now_us: int) -> bool: ...
    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant from `clock_us` on, and by `until_us`, at which this lets the ask pass."""
        ...


def gates(case: Situation) -> list[Gate]:
    """The rules that have a say whatever was sent, those that speak first in front."""
    terms, customer, ask = case.terms, case.customer, case.ask
    topic = terms.topic
    found: list[Gate] = []
    if customer.suppressions:
        exempt = topic is not None and topic.exempt
        suppression = find_suppression(customer.in_force, ask.channel, ask.topic, exempt=exempt)
        if suppression is not None:
            found.append(Gate(Code.SUPPRESSED, str(suppression.scope), is_hard=True))
    if topic is None:
        return [*found, Gate(Code.UNKNOWN_TOPIC, ask.topic)]
    if (terms.asks_consent or (customer.consents and not topic.exempt)) and not has_consent(
        terms.consents, customer.consents, customer.attributes, ask.channel, ask.topic
    ):
        found.append(Gate(Code.NO_CONSENT, f"{ask.channel}/{ask.topic}", is_hard=True))
    if terms.pauses or terms.case_pauses:
        found += _pauses(case)
    if case.zone is not None:
        if terms.quiet_hours:
            found.append(Quiet(case, terms.quiet_hours, case.zone))
    elif terms.needs_zone:
        found.append(Gate(Code.UNKNOWN_TIMEZONE, "unknown_timezone"))
    return found


def meters(case: Situation) -> list[Meter]:
    """The budgets that select the ask, in the order of the policy; without a zone no calendar can be read."""
    terms = case.terms
    if not terms.gauges:
        return []
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    charges = _charges(
        case.contacts, case.rules.masks, case.now_us, under_ceiling=terms.topic is not None and terms.topic.exempt
    )
    latest_us = max([each[0] for each in charges], default=0)
    return [
        Meter(
            gauge,
            case,
            charges,
            latest_us,
            observing,
            _before(case, gauge) if gauge.is_lifetime else 0,
        )
        for gauge in terms.gauges
        if gauge.calendar is None or case.zone is not None
    ]


def _pauses(case: Situation) -> Iterator[Gate]:
    """Pauses by hand and by the breaker bind even in an observed policy: an emergency stop must stop."""
    for pause in case.terms.pauses:
        code = Code.BREAKER if pause.is_breaker else Code.PAUSED
        yield Shut(code, pause.name, case, pause.from_us, pause.until_us, is_hard=True)
    for rest in case.terms.case_pauses:
        for opened in case.customer.open_cases:
            if opened.from_event == rest.from_event:
                until_us = opened.opened_us + rest.at_most_us
                yield Shut(Code.CASE_OPEN, rest.from_event, case, 0, until_us, is_hard=False)  # told ahead: at once


def _charges(contacts: Iterable[Contact], masks: Masks, now_us: int, *, under_ceiling: bool) -> list[Charge]:
    """What occupies budgets, or (`under_ceiling`) what a ceiling counts as well. An expired lease is not there."""
    return [
        (start, end, weight, lease, priority, masks[labels], labels, uncharged)
        for _, start, end, labels, weight, priority, lease, _, counts, ceiling, uncharged in contacts
        if (counts or (under_ceiling and ceiling)) and (lease is not _RELEASES or end > now_us)
    ]


def _before(case: Situation, gauge: Gauge) -> int:
    """What a lifetime budget has in the totals of contacts that left the account."""
    selects = gauge.budget.selector.selects
    return sum(
        gauge.weigh(channel, total)
        for (channel, topic), total in case.totals.items()
        if selects(channel, topic, None, None)
    )
