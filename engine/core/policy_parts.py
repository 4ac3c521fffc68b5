"""The parts of a policy that several of its sections share: limits, windows, overrides, conditions and selectors."""

from collections.abc import Callable
from typing import Final

from engine.core import policy_checks
from engine.core.policy import (
    DAY_US,
    CalendarWindow,
    Channel,
    Condition,
    Lifetime,
    Operator,
    Override,
    Rolling,
    Scalar,
    Selector,
    Window,
)
from engine.core.reading import At, Fields, Reader, as_list, as_mapping, did_you_mean, each, mapping_of, set_of
from engine.core.reading_values import choice, duration, duration_text, is_whole, label, number, word
from engine.core.windows import Calendar

LIMIT_MAX: Final = 1_000_000
WINDOW_US_MAX: Final = 400 * DAY_US  # contacts are kept for as long
OVERRIDES_MAX: Final = 20
CONDITIONS_MAX: Final = 20
SELECTED_MAX: Final = 500

SELECTOR: Final = ("channels", "topics", "campaigns", "teams")
CHANNELS: Final = tuple(channel.value for channel in Channel)
a_channel: Final = word(CHANNELS)


def a_limit(at: At) -> int | None:
    if at.value is None or is_whole(at.value, 0, LIMIT_MAX):
        return at.value
    raise at.refused(f"a whole number from 0 (none allowed) to {LIMIT_MAX}, or null (no limit)")


def a_window(at: At) -> Window:
    if at.value == "lifetime":
        return Lifetime()
    if as_mapping(at.value) is None:
        raise at.refused("{rolling: 7d}, {calendar: day} or lifetime")
    fields = Fields(at, ("rolling", "tolerance", "calendar"))
    if "calendar" in fields:
        fields.excludes("calendar", ("rolling", "tolerance"))
        calendar = fields.required("calendar", choice(Calendar), "day, week or month")
        fields.close()
        return CalendarWindow(calendar)
    length_us = fields.required("rolling", duration(WINDOW_US_MAX), "rolling or calendar")
    tolerance_us = fields.optional("tolerance", duration(WINDOW_US_MAX), 0)
    fields.close()
    if tolerance_us >= length_us:
        raise fields.place("tolerance").refused(f"less than the window of {duration_text(length_us)}")
    return Rolling(length_us, tolerance_us)


def an_override(at: At) -> Override:
    fields = Fields(at, ("when", "limit"))
    when = fields.required("when", some_conditions, "the attributes of those it is for, such as {lifecycle: new}")
    limit = fields.required("limit", a_limit, "a limit")
    fields.close()
    return Override(when, limit)


def some_conditions(at: At) -> tuple[Condition, ...]:
    """All conditions of a `when`, in one order however it was written."""
    if at.value == {}:
        raise at.refused("at least one attribute")
    tests = mapping_of(label(100), _tests, CONDITIONS_MAX)(at)
    return tuple(
        Condition(attribute, operator, tests[attribute][operator])
        for attribute in sorted(tests)
        for operator in Operator
        if operator in tests[attribute]
    )


def _tests(at: At) -> dict[Operator, Scalar | frozenset[Scalar]]:
    if as_list(at.value) is not None:
        return {Operator.IN: _members(at)}
    if as_mapping(at.value) is None:
        return {Operator.EQ: _scalar(at)}
    if at.value == {}:
        raise at.refused("at least one comparison")
    fields = Fields(at, tuple(_OPERANDS))
    tests = {op: fields.required(op, reader, "a value") for op, reader in _OPERANDS.items() if op in fields}
    fields.close()
    policy_checks.bounds_leave_room(at, tests)
    return tests


def _scalar(at: At) -> Scalar:
    match at.value:
        case bool():
            return at.value
        case str():
            return label(least=0)(at)
        case int() | float():
            return number(at)
        case _:
            raise at.refused("text, a number, or true or false")


def _ordered(at: At) -> Scalar:
    """Numbers by size, texts (dates as 2026-10-05) by their characters."""
    if isinstance(at.value, str):
        return label()(at)
    return number(at)


def _members(at: At) -> frozenset[Scalar]:
    members = each(at, _scalar, SELECTED_MAX, least=1)
    if len({policy_checks.kind(value) for _, value in members}) > 1:
        raise at.refused("values of one type", "values of several types")
    values = frozenset(value for _, value in members)
    if len(values) < len(members):
        raise at.refused("each value once", "a value listed twice")
    return values


def a_selector(fields: Fields, names: frozenset[str]) -> Selector:
    return Selector(
        channels=fields.optional("channels", set_of(a_channel, SELECTED_MAX), None),
        topics=fields.optional("topics", set_of(_declared_topic(names), SELECTED_MAX), None),
        campaigns=fields.optional("campaigns", set_of(label(), SELECTED_MAX), None),
        teams=fields.optional("teams", set_of(label(), SELECTED_MAX), None),
    )


def _declared_topic(names: frozenset[str]) -> Reader[str]:
    def read(at: At) -> str:
        topic = label()(at)
        if names and topic not in names:
            guess = did_you_mean(topic, names)
            raise at.refused("a topic declared in topics" + (f" (did you mean {guess}?)" if guess else ""))
        return topic

    return read


_OPERANDS: Final[dict[Operator, Callable[[At], Scalar | frozenset[Scalar]]]] = {
    Operator.EQ: _scalar,
    Operator.NE: _scalar,
    Operator.LT: _ordered,
    Operator.LTE: _ordered,
    Operator.GT: _ordered,
    Operator.GTE: _ordered,
    Operator.IN: _members,
}
