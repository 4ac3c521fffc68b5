"""A policy as canonical JSON-like data: equal policies give equal data, and reading it gives the policy back.

Keys stand in the order in which people write them, sets are sorted, and what is not said need not be read: selectors
that select everything, empty lists and the defaults of a budget or topic are left out. Settings of the whole policy
are always there, so that what is shown is complete.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, assert_never

from engine.core.policy import (
    Budget,
    CalendarWindow,
    CasePause,
    Ceiling,
    Condition,
    HoldBack,
    Lifetime,
    Operator,
    Override,
    Policy,
    QuietHours,
    Rolling,
    Scalar,
    Selector,
    SoftBounces,
    Topic,
    WhenExceeded,
    Window,
)
from engine.core.reading_values import duration_text, time_of_day_text

Data: TypeAlias = dict[str, object]

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def policy_data(policy: Policy) -> Data:
    """What `read_policy` reads as an equal policy, in JSON types alone."""
    return {
        "schema": 1,
        "mode": str(policy.mode),
        "unknown_timezone": policy.unknown_timezone or "deny",
        **_given(
            topics={name: _topic(policy.topics[name]) for name in sorted(policy.topics)},
            channels={name: {"consent": str(policy.channels[name])} for name in sorted(policy.channels)},
            budgets=[_budget(budget) for budget in policy.budgets],
            quiet_hours=[_quiet_hours(hours) for hours in policy.quiet_hours],
            pauses=[_pause(pause) for pause in policy.pauses],
        ),
        "lease": duration_text(policy.lease_us),
        "max_lease": duration_text(policy.max_lease_us),
        "on_expiry": str(policy.on_expiry),
        "soft_bounces": _soft_bounces(policy.soft_bounces),
    }


def _topic(topic: Topic) -> Data:
    return {
        "purpose": str(topic.purpose),
        "consent": str(topic.consent),
        **_given(exempt=topic.exempt),
        **({} if topic.counts else {"counts": False}),
        **_given(ceiling=topic.ceiling and _ceiling(topic.ceiling)),
    }


def _ceiling(ceiling: Ceiling) -> Data:
    return {"limit": ceiling.limit, "window": _window(ceiling.window)}


def _budget(budget: Budget) -> Data:
    data: Data = {"name": budget.name, **_selector(budget.selector), **_given(per=budget.per and str(budget.per))}
    if budget.is_gap and isinstance(budget.window, Rolling):
        data |= {"min_gap": duration_text(budget.window.length_us)}
    else:
        data |= {"limit": budget.limit, "window": _window(budget.window)}
        data |= _given(
            overrides=[_override(override) for override in budget.overrides],
            weights={channel: budget.weights[channel] for channel in sorted(budget.weights)},
            hold_back=budget.hold_back and _hold_back(budget.hold_back),
        )
    if budget.when_exceeded is not WhenExceeded.DEFER:
        data["when_exceeded"] = str(budget.when_exceeded)
    return data | _given(shadow=budget.shadow)


def _window(window: Window) -> object:
    match window:
        case Rolling():
            tolerance = window.tolerance_us and duration_text(window.tolerance_us)
            return {"rolling": duration_text(window.length_us), **_given(tolerance=tolerance)}
        case CalendarWindow():
            return {"calendar": str(window.calendar)}
        case Lifetime():
            return "lifetime"
        case _:
            assert_never(window)


def _override(override: Override) -> Data:
    return {"when": _conditions(override.when), "limit": override.limit}


def _hold_back(hold_back: HoldBack) -> Data:
    return {"keep": hold_back.keep, "for_priority": hold_back.for_priority}


def _conditions(conditions: Iterable[Condition]) -> Data:
    """By attribute: one equality or membership in its short form, anything else by its operators."""
    tests: dict[str, dict[Operator, object]] = {}
    for condition in conditions:
        value = condition.value
        tests.setdefault(condition.attribute, {})[condition.operator] = (
            _sorted_members(value) if isinstance(value, frozenset) else value
        )
    return {attribute: _tests(found) for attribute, found in tests.items()}


def _tests(found: Mapping[Operator, object]) -> object:
    if len(found) == 1:
        for operator in (Operator.EQ, Operator.IN):
            if operator in found:
                return found[operator]
    return {str(operator): value for operator, value in found.items()}


def _sorted_members(values: frozenset[Scalar]) -> list[Scalar]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _selector(selector: Selector) -> Data:
    return _given(
        channels=_sorted_names(selector.channels),
        topics=_sorted_names(selector.topics),
        campaigns=_sorted_names(selector.campaigns),
        teams=_sorted_names(selector.teams),
    )


def _sorted_names(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(str(name) for name in names)


def _quiet_hours(hours: QuietHours) -> Data:
    period = hours.period
    return {
        **_selector(hours.selector),
        "from": time_of_day_text(period.from_min),
        "to": time_of_day_text(period.to_min),
        **_given(
            days=[WEEKDAYS[day - 1] for day in sorted(period.days or ())],
            when=_conditions(hours.when),
        ),
    }


def _pause(pause: CasePause) -> Data:
    return {
        **_selector(pause.selector),
        "from": pause.from_event,
        "until": pause.until_event,
        "at_most": duration_text(pause.at_most_us),
    }


def _soft_bounces(soft: SoftBounces) -> Data:
    return {"suppress_after": soft.suppress_after, "within": duration_text(soft.within_us)}


def _given(**fields: object) -> Data:
    """The fields that say something: neither null, false, 0 nor empty."""
    return {name: value for name, value in fields.items() if value}
