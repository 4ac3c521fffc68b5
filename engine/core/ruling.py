"""The rules that have a say in one ask, each bound to the customer and able to tell from when on it allows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine.core.account import ALL_BUDGETS, Contact, Lease
from engine.core.customer import Customer
from engine.core.gates import Closed, Quiet, Shut
from engine.core.meter import Charge, Meter, Slot
from engine.core.policy import (
    Budget,
    CalendarWindow,
    Ceiling,
    ConsentRule,
    Lifetime,
    Policy,
    PolicyMode,
    Selector,
    WhenExceeded,
)
from engine.core.rules import Rules
from engine.core.suppression import find_suppression, has_consent
from engine.core.verdict import Ask, Code, Verdict
from engine.core.windows import Zone, zone

_CLOSED = Closed()


class Timed(Protocol):
    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant from `clock_us` on, and by `until_us`, at which this lets the ask pass."""
        ...


class Rule(NamedTuple):
    """One rule that has a say in an ask. `is_hard`: it binds in an observed policy too."""

    code: Code
    name: str
    refusal: Verdict
    timed: Timed
    is_hard: bool = False
    is_shadow: bool = False

    def refuses(self, now_us: int) -> bool:
        return self.timed.earliest_us(now_us, now_us) is None

    def code_at(self, now_us: int) -> Code:
        if self.code is Code.LIMIT and isinstance(self.timed, Meter) and self.timed.lacks_only_held_back(now_us):
            return Code.HOLD_BACK
        return self.code


class Situation(NamedTuple):
    """One ask before one customer's contacts, at one instant, under one set of rules."""

    rules: Rules
    customer: Customer
    contacts: Sequence[Contact]
    totals: Mapping[tuple[str, str], int]
    ask: Ask
    slot: Slot
    now_us: int


def rules_for(case: Situation) -> list[Rule]:
    """Every rule that has a say, those that speak first in front."""
    rules, customer, ask = case.rules, case.customer, case.ask
    topic = rules.topic(ask.topic)
    exempt = topic is not None and topic.exempt
    found: list[Rule] = []
    suppression = find_suppression(customer.suppressions, ask.channel, ask.topic, exempt=exempt)
    if suppression is not None:
        found.append(Rule(Code.SUPPRESSED, str(suppression.scope), Verdict.DENY, _CLOSED, is_hard=True))
    if topic is None:
        return [*found, Rule(Code.UNKNOWN_TOPIC, ask.topic, Verdict.DENY, _CLOSED)]
    if topic.exempt:
        if topic.ceiling is not None:
            found += _ceiling(case, topic.ceiling)
        return found
    consent_rules = (topic.consent, rules.policy.channels.get(ask.channel, ConsentRule.OPT_OUT))
    if not has_consent(consent_rules, customer.consents, customer.attributes, ask.channel, ask.topic):
        found.append(Rule(Code.NO_CONSENT, f"{ask.channel}/{ask.topic}", Verdict.DENY, _CLOSED, is_hard=True))
    found += _pauses(case)
    own_zone = zone_of(rules.policy, customer)
    quiet_hours = [each for each in rules.policy.quiet_hours if each.selector.selects(*ask.labels)]
    budgets = rules.budgets_for(customer, ask.labels)
    if own_zone is None:
        if quiet_hours or any(isinstance(budget.window, CalendarWindow) for _, budget in budgets):
            return [*found, Rule(Code.UNKNOWN_TIMEZONE, "unknown_timezone", Verdict.DENY, _CLOSED)]
    elif quiet_hours:
        gate = Quiet(case.slot, quiet_hours, customer, own_zone)
        found.append(Rule(Code.QUIET_HOURS, "quiet_hours", Verdict.DEFER, gate))
    found += _budgets(case, budgets, own_zone)
    return found


def zone_of(policy: Policy, customer: Customer) -> Zone | None:
    """The zone by which a customer's days run; None where it is unknown and the policy denies for it."""
    name = customer.time_zone or policy.unknown_timezone
    return zone(name) if name else None


def ceiling_budget(topic: str, ceiling: Ceiling) -> Budget:
    """The ceiling of an exempt topic, as the budget it is."""
    selector = Selector(topics=frozenset({topic}))
    return Budget(f"ceiling:{topic}", ceiling.window, ceiling.limit, selector, when_exceeded=WhenExceeded.DENY)


def _pauses(case: Situation) -> Iterator[Rule]:
    """Pauses by hand and by the breaker bind even in an observed policy: an emergency stop must stop."""
    for pause in case.rules.pauses:
        if pause.selector.selects(*case.ask.labels):
            code = Code.BREAKER if pause.is_breaker else Code.PAUSED
            shut = Shut(case.slot, pause.from_us, pause.until_us)
            yield Rule(code, pause.name, Verdict.DEFER, shut, is_hard=True)
    for rest in case.rules.policy.pauses:
        if rest.selector.selects(*case.ask.labels):
            for opened in case.customer.open_cases:
                if opened.from_event == rest.from_event:
                    shut = Shut(case.slot, opened.at_us, opened.at_us + rest.at_most_us)
                    yield Rule(Code.CASE_OPEN, rest.from_event, Verdict.DEFER, shut)


def _ceiling(case: Situation, ceiling: Ceiling) -> Iterator[Rule]:
    budget = ceiling_budget(case.ask.topic, ceiling)
    own_zone = zone_of(case.rules.policy, case.customer)
    if own_zone is None and isinstance(budget.window, CalendarWindow):
        yield Rule(Code.UNKNOWN_TIMEZONE, "unknown_timezone", Verdict.DENY, _CLOSED)
        return
    contacts = [each for each in case.contacts if each.topic == case.ask.topic]
    yield Rule(Code.CEILING, budget.name, Verdict.DENY, _meter(case, budget, contacts, own_zone, is_shadow=False))


def _budgets(case: Situation, budgets: Sequence[tuple[int, Budget]], own_zone: Zone | None) -> Iterator[Rule]:
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    selected = case.rules.selected
    counting = [(each, selected(each[3:7]).mask) for each in case.contacts if each.counts]  # 3:7, its labels
    for index, budget in budgets:
        kept_for = budget.per and getattr(case.ask, budget.per)
        if budget.per is not None and kept_for is None:
            continue  # kept per campaign, and the ask names none
        if index < 0:
            contacts = [each for each, _ in counting if budget.selector.selects(*each[3:7])]
        else:
            contacts = [each for each, mask in counting if mask >> index & 1]
        if budget.per is not None:
            contacts = [each for each in contacts if getattr(each, budget.per) == kept_for]
        meter = _meter(case, budget, contacts, own_zone, is_shadow=budget.shadow or observing)
        yield Rule(
            Code.MIN_GAP if budget.is_gap else Code.LIMIT,
            budget.name,
            Verdict.DENY if budget.when_exceeded is WhenExceeded.DENY else Verdict.DEFER,
            meter,
            is_shadow=budget.shadow,
        )


def _meter(
    case: Situation, budget: Budget, contacts: Sequence[Contact], own_zone: Zone | None, *, is_shadow: bool
) -> Meter:
    low_below = budget.hold_back.for_priority if budget.hold_back else 0
    if is_shadow:
        contacts = [each for each in contacts if not _is_uncharged(each, budget.name)]
    is_plain = not budget.weights and not budget.is_gap
    charges: list[Charge] = [
        (
            each.start_us,
            each.end_us,
            each.weight if is_plain else _weight(budget, each.channel, each.weight),
            each.lease is Lease.RELEASES,
            each.priority < low_below,
        )
        for each in contacts
    ]
    before = 0
    if isinstance(budget.window, Lifetime):
        before = sum(
            _weight(budget, channel, total)
            for (channel, topic), total in case.totals.items()
            if budget.selector.selects(channel, topic, None, None)
        )
    weight = _weight(budget, case.ask.channel, case.ask.weight)
    return Meter(budget, case.customer, charges, case.slot, weight, case.ask.priority, own_zone, before)


def _weight(budget: Budget, channel: str, weight: int) -> int:
    """What a contact weighs in a budget: its own weight times the channel's; in a gap all weigh 1."""
    if budget.is_gap:
        return 1
    return weight * budget.weights.get(channel, 1) if budget.weights else weight


def _is_uncharged(contact: Contact, budget: str) -> bool:
    return contact.uncharged == ALL_BUDGETS or budget in contact.uncharged
