"""A policy in words: what each of its rules allows, as a campaign manager would say it."""

from collections.abc import Iterable
from typing import NamedTuple, assert_never

from markupsafe import Markup, escape

from engine.core.policy import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Budget,
    CalendarWindow,
    CasePause,
    Condition,
    ConsentRule,
    Lifetime,
    OnExpiry,
    Operator,
    Policy,
    Purpose,
    QuietHours,
    Rolling,
    Selector,
    Topic,
    WhenExceeded,
    Window,
)
from engine.core.windows import Calendar
from engine.render.frame import name

_PURPOSES = {Purpose.SERVE: "serves", Purpose.SELL: "sells", Purpose.ASK: "asks"}
_CONSENTS = {
    ConsentRule.OPT_IN: "only after a yes",
    ConsentRule.EXISTING_CUSTOMER: "only after a yes or a purchase",
    ConsentRule.OPT_OUT: "unless they said no",
}
_CALENDARS = {Calendar.DAY: "on a day", Calendar.WEEK: "in a week from Monday", Calendar.MONTH: "in a month"}
_OPERATORS = {
    Operator.EQ: "is",
    Operator.NE: "is not",
    Operator.LT: "is below",
    Operator.LTE: "is at most",
    Operator.GT: "is above",
    Operator.GTE: "is at least",
    Operator.IN: "is one of",
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = ((DAY_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute"), (1_000_000, "second"), (1, "microsecond"))


class Rule(NamedTuple):
    """A rule by its name, and what it says."""

    name: Markup
    says: Markup


def topics(policy: Policy) -> list[Rule]:
    return [Rule(name(each), _topic(topic)) for each, topic in policy.topics.items()]


def budgets(policy: Policy) -> list[Rule]:
    return [Rule(name(each.name), _budget(each)) for each in policy.budgets]


def others(policy: Policy) -> list[Rule]:
    """Quiet hours, pauses by cases, consents by channel, leases, and what is done about zones and soft bounces."""
    zone = policy.unknown_timezone
    expiry = {
        OnExpiry.RELEASE: "then the budget returns",
        OnExpiry.PRESUME_SENT: "then the message counts as sent",
    }[policy.on_expiry]
    bounces = policy.soft_bounces
    return [
        *(Rule(Markup("quiet hours"), _quiet(each)) for each in policy.quiet_hours),
        *(Rule(Markup("open cases"), _case(each)) for each in policy.pauses),
        *(Rule(name(channel), escape(_CONSENTS[rule])) for channel, rule in policy.channels.items()),
        Rule(
            Markup("leases"),
            Markup("an allowed message is to be confirmed within {}, at most {}; {}").format(
                length(policy.lease_us), length(policy.max_lease_us), expiry
            ),
        ),
        Rule(
            Markup("unknown time zones"),
            Markup("are denied") if zone is None else Markup("are taken for {}").format(zone),
        ),
        Rule(
            Markup("soft bounces"),
            Markup("{} within {} stop an address").format(bounces.suppress_after, length(bounces.within_us)),
        ),
    ]


def length(length_us: int) -> str:
    """A duration in its largest whole unit: `16 hours`."""
    for unit_us, unit in _UNITS:
        if length_us % unit_us == 0:
            number = length_us // unit_us
            return f"{number} {unit}{'' if number == 1 else 's'}"
    raise AssertionError("microseconds divide everything")


def _topic(topic: Topic) -> Markup:
    parts = [_PURPOSES[topic.purpose], _CONSENTS[topic.consent]]
    if topic.exempt:
        parts.append("passes every limit")
    if not topic.counts:
        parts.append("uses no budget")
    if topic.ceiling:
        parts.append(f"at most {topic.ceiling.limit} {_within(topic.ceiling.window)}, beyond that denied")
    return Markup("; ").join(parts)


def _budget(budget: Budget) -> Markup:
    if budget.is_gap and isinstance(budget.window, Rolling):
        says = Markup("at least {} between two contacts").format(length(budget.window.length_us))
    elif budget.limit is None:
        says = Markup("no limit")
    else:
        says = Markup("at most {} {}").format(budget.limit, _within(budget.window))
    parts = [says + _about(budget.selector)]
    if budget.per is not None:
        parts.append(Markup("for each {} by itself").format(budget.per.value))
    for override in budget.overrides:
        limit = "no limit" if override.limit is None else str(override.limit)
        parts.append(Markup("{} where {}").format(limit, _conditions(override.when)))
    if budget.weights:
        weights = ", ".join(f"{channel} {weight}" for channel, weight in budget.weights.items())
        parts.append(Markup("weighed: {}").format(weights))
    if budget.hold_back:
        kept = budget.hold_back
        parts.append(Markup("{} of them kept for priority {} and above").format(kept.keep, kept.for_priority))
    full = "later" if budget.when_exceeded is WhenExceeded.DEFER else "denied"
    parts.append(Markup("{} where it is full").format(full))
    if budget.shadow:
        parts.append(Markup("a shadow: it refuses nothing, and is counted"))
    return Markup("; ").join(parts)


def _quiet(quiet: QuietHours) -> Markup:
    begins, ends = (f"{minute // 60:02}:{minute % 60:02}" for minute in (quiet.period.from_min, quiet.period.to_min))
    days = quiet.period.days
    on = "" if days is None else f" on {', '.join(_DAYS[day - 1] for day in sorted(days))}"
    where = Markup(" where {}").format(_conditions(quiet.when)) if quiet.when else Markup()
    said = Markup("nothing from {} to {} of the customer's own time{}").format(begins, ends, on)
    return said + _about(quiet.selector) + where


def _case(pause: CasePause) -> Markup:
    said = Markup("nothing from {} to {}, at most {}").format(
        name(pause.from_event), name(pause.until_event), length(pause.at_most_us)
    )
    return said + _about(pause.selector)


def _within(window: Window) -> str:
    match window:
        case CalendarWindow():
            return f"{_CALENDARS[window.calendar]} of the customer's own"
        case Lifetime():
            return "ever"
        case Rolling():
            return f"in any {length(window.length_us)}"
        case _:
            assert_never(window)


def _about(selector: Selector) -> Markup:
    parts: list[Markup] = []
    for word, values in (
        ("by", selector.channels),
        ("about", selector.topics),
        ("of the campaigns", selector.campaigns),
        ("of the teams", selector.teams),
    ):
        if values is not None:
            parts.append(Markup(" {} {}").format(word, _listed(map(name, sorted(values)))))
    return Markup("").join(parts)


def _conditions(conditions: Iterable[Condition]) -> Markup:
    return Markup(" and ").join(
        Markup("{} {} {}").format(name(each.attribute), _OPERATORS[each.operator], _value(each)) for each in conditions
    )


def _value(condition: Condition) -> Markup:
    if isinstance(condition.value, frozenset):
        return _listed(map(name, sorted(condition.value, key=str)))
    return name(condition.value)


def _listed(names: Iterable[Markup]) -> Markup:
    found = list(names)
    if len(found) < 2:
        return Markup("").join(found)
    return Markup(", ").join(found[:-1]) + Markup(" or ") + found[-1]
