"""What DOMAIN.md promises of an ask, by brute force: the slow, plain definition that `decide` has to equal.

It shares the values (policies, customers, contacts) with the code under test and nothing that computes: no meter, no
gauge, no window. Use of a rolling budget is looked at at every instant at which anything begins or ends, and beside
it; days and quiet hours are read off the wall clock (`clocks`); conditions are spelt out again.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from engine.core.account import Contact, Lease
from engine.core.customer import Customer, Preference
from engine.core.policy import (
    Budget,
    CalendarWindow,
    Condition,
    ConsentRule,
    Lifetime,
    PolicyMode,
    Rolling,
    Selector,
    Topic,
    Window,
)
from engine.core.rules import Rules
from engine.core.suppression import Scope
from engine.core.verdict import Ask, Code
from tests.core.clocks import DAY_US, begins, is_quiet, periods, wall, zoneinfo


@dataclass(frozen=True)
class Refusal:
    code: Code
    rule: str
    is_hard: bool = False
    is_shadow: bool = False


@dataclass(frozen=True)
class Case:
    """All that a verdict depends on but the clock."""

    rules: Rules
    customer: Customer
    contacts: tuple[Contact, ...]
    ask: Ask
    totals: Mapping[tuple[str, str], int]
    variants: Mapping[int, int]


def refusals(case: Case, now: int) -> list[Refusal]:
    """Every rule that refuses the ask at an instant, shadow budgets too."""
    topic = Topic() if not case.rules.policy.topics else case.rules.policy.topics.get(case.ask.topic)
    found = suppressed(case, exempt=topic is not None and topic.exempt)
    if topic is None:
        return [*found, Refusal(Code.UNKNOWN_TOPIC, case.ask.topic), *over_own_limits(case, now)]
    if topic.exempt:
        return [*found, *over_ceiling(case, topic, now)]
    if not consented(case, topic):
        found.append(Refusal(Code.NO_CONSENT, f"{case.ask.channel}/{case.ask.topic}", True))
    return [*found, *resting(case, now), *over_limits(case, now)]


def suppressed(case: Case, *, exempt: bool) -> list[Refusal]:
    """The first suppression that covers the ask; of an exempt topic, one that names it or is hard."""
    ask = case.ask
    for each in case.customer.suppressions:
        if covers(each.scope, ask) and (each.binds_exempt or each.scope.topic == ask.topic or not exempt):
            return [Refusal(Code.SUPPRESSED, f"{each.scope.channel or '*'}/{each.scope.topic or '*'}", True)]
    return []


def over_ceiling(case: Case, topic: Topic, now: int) -> list[Refusal]:
    if topic.ceiling is None:
        return []
    if isinstance(topic.ceiling.window, CalendarWindow) and zone_of(case) is None:
        return [Refusal(Code.UNKNOWN_TIMEZONE, "unknown_timezone")]
    selector = Selector(topics=frozenset({case.ask.topic}))
    ceiling = Budget(f"ceiling:{case.ask.topic}", topic.ceiling.window, topic.ceiling.limit, selector)
    fit = fits(case, ceiling, topic.ceiling.limit, now, under_ceiling=True)
    return [] if fit else [Refusal(Code.CEILING, ceiling.name)]


def resting(case: Case, now: int) -> list[Refusal]:
    """Pauses and open cases, by the time of the send."""
    ask, (send, _) = case.ask, occupancy(case, now)
    found = [
        Refusal(Code.BREAKER if each.is_breaker else Code.PAUSED, each.name, True)
        for each in case.rules.pauses
        if selects(each.selector, ask) and each.from_us <= send and (each.until_us is None or send < each.until_us)
    ]
    for rest in case.rules.policy.pauses:
        found += [
            Refusal(Code.CASE_OPEN, rest.from_event)
            for opened in case.customer.open_cases
            if selects(rest.selector, ask)
            and opened.from_event == rest.from_event
            and send < opened.opened_us + rest.at_most_us  # one told ahead of its time rests at once
        ]
    return found


def over_limits(case: Case, now: int) -> list[Refusal]:
    """Quiet hours and budgets; where an enforced one cannot be read without a zone, that refuses."""
    found: list[Refusal] = []
    hours = [each for each in case.rules.policy.quiet_hours if selects(each.selector, case.ask)]
    send, _ = occupancy(case, now)
    zone = zone_of(case)
    known = zone is not None
    if zone and any(meets(case.customer, each.when, now) and is_quiet(zone, each.period, send) for each in hours):
        found.append(Refusal(Code.QUIET_HOURS, "quiet_hours"))
    needs = [each for each, _ in budgets(case, now) if isinstance(each.window, CalendarWindow) and not each.shadow]
    if not known and (hours or needs):
        found.append(Refusal(Code.UNKNOWN_TIMEZONE, "unknown_timezone"))
    for budget, limit in budgets(case, now):
        if limit is None or (not known and isinstance(budget.window, CalendarWindow)):
            continue
        if not fits(case, budget, limit, now):
            code = Code.MIN_GAP if budget.is_gap else Code.LIMIT
            if budget.hold_back and fits(case, replace(budget, hold_back=None), limit, now):
                code = Code.HOLD_BACK
            found.append(Refusal(code, budget.name, is_own(budget), is_shadow=budget.shadow))
    return found


def over_own_limits(case: Case, now: int) -> list[Refusal]:
    """Where a policy denies the topic nothing is left to say; one that observes leaves the customer's own limits."""
    if not observes(case):
        return []
    own = [each for each in chosen(case) if is_own(each)]
    return [Refusal(Code.LIMIT, each.name, True) for each in own if not fits(case, each, each.limit or 0, now)]


def is_own(budget: Budget) -> bool:
    return budget.name.startswith("own:")


def observes(case: Case) -> bool:
    return case.rules.policy.mode is PolicyMode.OBSERVE


def binding(case: Case, now: int) -> list[Refusal]:
    """The refusals for which an ask is not allowed."""
    return [each for each in refusals(case, now) if not each.is_shadow and (each.is_hard or not observes(case))]


def allows(case: Case, now: int) -> bool:
    return not binding(case, now)


class Chosen(Budget):
    """A budget whose limit the customer chose: a number of contacts."""


def as_chosen(budget: Budget, choice: Preference, limit: int | None) -> Budget:
    if choice.by_weight:
        return replace(budget, limit=limit, overrides=())
    values = {each.name: getattr(budget, each.name) for each in fields(Budget)}
    return Chosen(**values | {"limit": limit, "overrides": (), "weights": {}, "hold_back": None})


def chosen(case: Case) -> Iterator[Budget]:
    """The budgets that select the ask, with an experiment's patch and then the customer's own choices in force."""
    ask = case.ask
    selected = [each for each in case.rules.policy.budgets if selects(each.selector, ask)]
    patches = {
        budget.name: budget
        for experiment in sorted(case.variants)
        for budget in case.rules.patches.get(experiment, {}).get(case.variants[experiment], ())
    }
    selected = [patches.get(each.name, each) for each in selected]
    choices = [
        each
        for each in case.customer.preferences
        if (each.channel in (None, ask.channel) and each.topic in (None, ask.topic))
    ]
    for each in selected:
        mine = [choice for choice in choices if is_for(choice.channel, choice.topic, each)]
        if mine:
            numbers = [choice.limit for choice in mine if choice.limit is not None]
            limit = min(numbers) if numbers else None
            binding = min((choice for choice in mine if choice.limit == limit), key=lambda choice: choice.by_weight)
            each = as_chosen(each, binding, limit)  # noqa: PLW2901 - the choice
        if each.limit is None and not each.overrides:
            continue
        if each.per is None or getattr(ask, each.per.value) is not None:
            yield each
    for choice in choices:
        if choice.limit is None:
            continue
        channels = None if choice.channel is None else frozenset({choice.channel})
        topics = None if choice.topic is None else frozenset({choice.topic})
        wholes = (Selector(channels=channels), Selector(topics=topics))
        bound = any(
            is_for(choice.channel, choice.topic, each) and not each.shadow and not each.per and each.selector in wholes
            for each in selected
        )
        if observes(case) or not bound:
            name = f"own:{choice.channel or choice.topic}"
            own = Budget(name, Rolling(7 * DAY_US), choice.limit, Selector(channels, topics))
            yield as_chosen(own, choice, choice.limit)


def is_for(channel: str | None, topic: str | None, budget: Budget) -> bool:
    if budget.is_gap:
        return False
    of_channel = channel is not None and budget.selector.channels == frozenset({channel})
    return of_channel or (topic is not None and budget.selector.topics == frozenset({topic}))


def budgets(case: Case, now: int) -> Iterator[tuple[Budget, int | None]]:
    for budget in chosen(case):
        limit = budget.limit
        for override in budget.overrides:
            if meets(case.customer, override.when, now):
                limit = override.limit
                break
        yield budget, limit


def fits(case: Case, budget: Budget, limit: int, now: int, *, under_ceiling: bool = False) -> bool:
    """Whether at no instant of the ask's own occupancy the use exceeds the limit, nor low use what is not kept."""
    ask = case.ask
    weight = weigh(budget, ask.channel, ask.weight)
    held = [each for each in case.contacts if charges(case, budget, each, now, under_ceiling=under_ceiling)]
    if used(case, budget, held, now) + weight > limit:
        return False
    if budget.hold_back is None or ask.priority >= budget.hold_back.for_priority:
        return True
    low = [each for each in held if each.priority < budget.hold_back.for_priority]
    return used(case, budget, low, now) + weight <= limit - budget.hold_back.keep


def charges(case: Case, budget: Budget, contact: Contact, now: int, *, under_ceiling: bool) -> bool:
    if contact.lease is Lease.RELEASES and contact.end_us <= now:
        return False  # expired
    if not (contact.counts or (under_ceiling and contact.under_ceiling)):
        return False
    if not selects(budget.selector, contact):
        return False
    if budget.per is not None and getattr(contact, budget.per.value) != getattr(case.ask, budget.per.value):
        return False
    observed = budget.shadow or (observes(case) and not is_own(budget))
    if observed and not under_ceiling and not isinstance(budget.window, Lifetime):
        return contact.uncharged != ("*",) and budget.name not in contact.uncharged
    return True


def used(case: Case, budget: Budget, held: Sequence[Contact], now: int) -> int:
    """The most in use at any instant of the ask's occupancy."""
    start, end = occupancy(case, now)
    window = budget.window
    if isinstance(window, Rolling):
        length = window.length_us - window.tolerance_us
        edges = {start, *(each.start_us for each in held), *(each.end_us + length for each in held)}
        instants = {edge + beside for edge in edges for beside in (-1, 0, 1)}
        mine = [instant for instant in instants if start <= instant < end + length]
        return max(
            sum(
                weigh(budget, each.channel, each.weight)
                for each in held
                if each.start_us <= instant < each.end_us + length
            )
            for instant in mine
        )
    if isinstance(window, CalendarWindow):
        zone = zone_of(case)
        assert zone is not None
        return max(
            sum(
                weigh(budget, each.channel, each.weight)
                for each in held
                if each.start_us < until and each.end_us >= begins
            )
            for begins, until in periods(window, zone, start, end)
        )
    before = sum(
        weigh(budget, channel, total)
        for (channel, topic), total in case.totals.items()
        if (budget.selector.channels is None or channel in budget.selector.channels)
        and (budget.selector.topics is None or topic in budget.selector.topics)
    )
    return before + sum(weigh(budget, each.channel, each.weight) for each in held)


def zone_of(case: Case) -> ZoneInfo | None:
    name = case.customer.time_zone or case.rules.policy.unknown_timezone
    return None if name is None else zoneinfo(name)


def occupancy(case: Case, now: int) -> tuple[int, int]:
    ask, policy = case.ask, case.rules.policy
    start = now if ask.send_at_us is None or ask.send_at_us < now else ask.send_at_us
    return start, start + min(ask.lease_us or policy.lease_us, policy.max_lease_us)


def weigh(budget: Budget, channel: str, weight: int) -> int:
    is_counted = isinstance(budget, Chosen) and not isinstance(budget.window, Lifetime)
    return 1 if budget.is_gap or is_counted else weight * budget.weights.get(channel, 1)


def selects(selector: Selector, labels: Ask | Contact) -> bool:
    wanted = (
        (selector.channels, labels.channel),
        (selector.topics, labels.topic),
        (selector.campaigns, labels.campaign),
        (selector.teams, labels.team),
    )
    return all(those is None or label in those for those, label in wanted)


def covers(scope: Scope, ask: Ask) -> bool:
    return scope.channel in (None, ask.channel) and scope.topic in (None, ask.topic)


def consented(case: Case, topic: Topic) -> bool:
    ask, customer = case.ask, case.customer
    covering = [each for each in customer.consents if covers(each.scope, ask)]
    if covering:
        newest = max(each.at_us for each in covering)
        return all(each.given for each in covering if each.at_us == newest)
    wanted = {topic.consent, case.rules.policy.channels.get(ask.channel, ConsentRule.OPT_OUT)}
    if ConsentRule.OPT_IN in wanted:
        return False
    return ConsentRule.EXISTING_CUSTOMER not in wanted or customer.attributes.get("existing_customer") is True


def meets(customer: Customer, conditions: Sequence[Condition], now: int) -> bool:
    return all(holds(customer, each, now) for each in conditions)


def holds(customer: Customer, condition: Condition, now: int) -> bool:
    name, wanted = condition.attribute, condition.value
    if name in customer.since_us:
        found = 0
        while customer.since_us[name] + (found + 1) * DAY_US <= now:
            found += 1
    elif name in customer.attributes:
        found = customer.attributes[name]
    else:
        return condition.operator.value == "ne"
    if isinstance(wanted, frozenset):
        return any(kind(found) == kind(each) and found == each for each in wanted)
    if kind(found) != kind(wanted):
        return condition.operator.value == "ne"
    compare = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lte": operator.le, "gt": operator.gt}
    if condition.operator.value in ("lt", "lte", "gt", "gte") and isinstance(found, bool):
        return False
    return bool(compare.get(condition.operator.value, operator.ge)(found, wanted))


def kind(value: object) -> str:
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


# Every instant at which an answer may change.


def boundaries(case: Case, now: int, until: int) -> list[int]:
    """All instants in (now, until] at which anything begins, ends, opens or turns, and the one before each."""
    policy, zone = case.rules.policy, zone_of(case)
    found: set[int] = {case.ask.send_at_us or 0}
    windows: list[Window] = [each.window for each in chosen(case)]
    windows += [topic.ceiling.window for topic in policy.topics.values() if topic.ceiling]
    lengths = {0, *(each.length_us - each.tolerance_us for each in windows if isinstance(each, Rolling))}
    for contact in case.contacts:
        found |= {edge + length for edge in (contact.start_us, contact.end_us) for length in lengths}
    for pause in case.rules.pauses:
        found |= {pause.from_us, pause.until_us or 0}
    for rest in policy.pauses:
        found |= {opened.opened_us + after for opened in case.customer.open_cases for after in (0, rest.at_most_us)}
    for since in case.customer.since_us.values():
        found |= {since + days * DAY_US for days in range(60)}
    days = (until - now) // DAY_US + 3
    if zone is not None and (policy.quiet_hours or any(isinstance(each, CalendarWindow) for each in windows)):
        minutes = {0} | {minute for each in policy.quiet_hours for minute in (each.period.from_min, each.period.to_min)}
        for n in range(-1, days):
            opening = begins(zone, wall(zone, now).date() + timedelta(days=n))
            found |= {opening + minute * 60_000_000 for minute in minutes}
    return sorted(each + beside for each in found for beside in (-1, 0) if now < each + beside <= until)
