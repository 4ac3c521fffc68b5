"""What a policy must not say although each part of it is well formed: rules that never bind, or contradict others.

Each check records its problems at the place that somebody would edit, and goes on. Only what was read without a problem
is looked at, so that one mistake is reported once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from engine.core.policy import (
    Budget,
    CasePause,
    Channel,
    Condition,
    Operator,
    QuietHours,
    Scalar,
    Selector,
    Topic,
)
from engine.core.quiet import QuietPeriod
from engine.core.reading import At, Fields, as_mapping, described
from engine.core.reading_values import duration_text

Placed: TypeAlias = tuple[At, Budget]


def limits_can_be_met(at: At, budget: Budget) -> None:
    """A limit above 0 that is under every weight refuses all asks; so does one that is held back whole."""
    least = min(budget.weights.get(channel, 1) for channel in budget.selector.channels or tuple(Channel))
    limits = [(at.within("limit"), budget.limit)]
    limits += [(at.within("overrides", i, "limit"), override.limit) for i, override in enumerate(budget.overrides)]
    for place, limit in limits:
        if limit and limit < least:
            place.report(f"0, or at least the smallest weight of its channels, {least}")
    if budget.hold_back and budget.limit is not None and budget.hold_back.keep >= budget.limit:
        keep = at.within("hold_back", "keep")
        if keep.path.endswith(".keep"):
            keep.report(f"less than the limit of {budget.limit}")
        else:  # a patch: the hold-back stands in the policy
            at.within("limit").report(f"more than hold_back keeps, {budget.hold_back.keep}")


def overrides_are_reached(at: At, budget: Budget) -> None:
    """The first override that matches wins: one that asks for all that an earlier one does, or more, never does."""
    tests = [frozenset(_identity(condition) for condition in override.when) for override in budget.overrides]
    for i, later in enumerate(tests):
        earlier = next((j for j in range(i) if tests[j] <= later), None)
        if earlier is not None:
            at.within("overrides", i).report(
                "customers whom no earlier override takes", f"only those whom overrides[{earlier}] takes already"
            )


def bounds_leave_room(at: At, tests: Mapping[Operator, Scalar | frozenset[Scalar]]) -> None:
    """`{gte: 10, lt: 3}` is met by nobody."""
    for above in (Operator.GT, Operator.GTE):
        for below in (Operator.LT, Operator.LTE):
            low, high = tests.get(above), tests.get(below)
            if low is None or high is None:
                continue
            both_closed = above is Operator.GTE and below is Operator.LTE
            if _exceeds(low, high) or (low == high and not both_closed):
                at.report("bounds that some value meets", f"{above} {described(low)} and {below} {described(high)}")


def budgets_differ(fields: Fields, budgets: Sequence[Placed]) -> None:
    """Names are unique, and of two budgets that differ in nothing but the limit only the lower ever binds."""
    first_of_name: dict[str, str] = {}
    for place in fields.children("budgets"):
        name = place.within("name")
        if isinstance(name.value, str) and first_of_name.setdefault(name.value, place.path) != place.path:
            name.report(f"another name than {first_of_name[name.value]} has")
    for i, (place, later) in enumerate(budgets):
        for earlier_place, earlier in budgets[:i]:
            if _but_for_limit(earlier) == _but_for_limit(later):
                place.report("a budget that differs in more than its limit", f"the same budget as {earlier_place.path}")
                break


def selectors_bind(
    topics: Mapping[str, Topic],
    budgets: Iterable[Placed],
    quiet: Iterable[tuple[At, QuietHours]],
    pauses: Iterable[tuple[At, CasePause]],
) -> None:
    """A rule over exempt topics alone binds nobody, nor does a budget that nothing selected by it uses."""
    if not topics:
        return
    for at, selector in [(at, rule.selector) for rules in (quiet, pauses) for at, rule in rules]:
        if all(topic.exempt for topic in _selected(topics, selector)):
            at.within("topics").report("at least one topic that is not exempt", "exempt topics alone")
    for at, budget in budgets:
        selected = _selected(topics, budget.selector)
        limits = [budget.limit, *(override.limit for override in budget.overrides)]
        if all(topic.exempt for topic in selected):
            at.within("topics").report("at least one topic that is not exempt", "exempt topics alone")
        elif 0 not in limits and not any(topic.counts for topic in selected):
            at.within("topics").report("at least one topic that counts", "topics that use no budget")


def some_hour_is_open(quiet: Sequence[tuple[At, QuietHours]]) -> None:
    """Quiet hours without conditions must leave a minute of the week to each channel and topic."""
    plain = [
        (at, hours.selector, _week(hours.period))
        for at, hours in quiet
        if not (hours.when or hours.selector.campaigns or hours.selector.teams)
    ]
    scopes: list[str | None] = [None, *sorted({topic for _, one, _ in plain for topic in one.topics or ()})]
    for channel in Channel:
        for topic in scopes:
            closed = 0
            for at, selector, week in plain:
                if channel in (selector.channels or (channel,)) and topic in (selector.topics or (topic,)):
                    closed |= week
                    if closed == _WHOLE_WEEK:
                        what = f"{channel} messages" if topic is None else f"{channel} messages of {topic}"
                        at.report(f"an hour of the week in which {what} may be sent", "quiet hours all week")
                        return


def a_zone_is_named(fields: Fields, quiet: Sequence[tuple[At, QuietHours]]) -> None:
    """What happens to customers without a time zone is written down wherever a rule needs one."""
    rules = [*fields.children("budgets"), *fields.children("topics")]
    calendar = next((rule.path for rule in rules if _has_calendar(rule.value)), None)
    why = "quiet_hours need it" if quiet else f"{calendar} needs it" if calendar else None
    if why and "unknown_timezone" not in fields:
        fields.place("unknown_timezone").report(
            f"a time zone such as Europe/Berlin, or deny, for customers whose own is not known: {why}", "nothing"
        )


def lease_fits(fields: Fields, lease_us: int, max_lease_us: int) -> None:
    if lease_us > max_lease_us:
        if "lease" in fields:
            fields.place("lease").report(f"at most max_lease, {duration_text(max_lease_us)}")
        else:
            fields.place("max_lease").report(f"at least lease, {duration_text(lease_us)}")


def kind(value: Scalar) -> str:
    """Python takes true for 1; a policy does not."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _exceeds(low: Scalar | frozenset[Scalar], high: Scalar | frozenset[Scalar]) -> bool:
    """Whether no value lies between: also where one bound is a number and the other a text."""
    if isinstance(low, str) and isinstance(high, str):
        return low > high
    return not (isinstance(low, int | float) and isinstance(high, int | float)) or low > high


def _identity(condition: Condition) -> object:
    if isinstance(condition.value, frozenset):
        return condition.attribute, condition.operator, frozenset((kind(one), one) for one in condition.value)
    return condition.attribute, condition.operator, kind(condition.value), condition.value


def _has_calendar(rule: object) -> bool:
    rule = as_mapping(rule) or {}
    limited = as_mapping(rule.get("ceiling")) or rule
    return "calendar" in (as_mapping(limited.get("window")) or {})


def _but_for_limit(budget: Budget) -> Budget:
    weights = {channel: weight for channel, weight in budget.weights.items() if weight != 1}
    return replace(budget, name="", limit=None, weights=weights)


def _selected(topics: Mapping[str, Topic], selector: Selector) -> list[Topic]:
    """The declared topics that a rule is about; one that is not declared has been reported, and stands for any."""
    return list(topics.values()) if selector.topics is None else [topics.get(name, Topic()) for name in selector.topics]


def _week(period: QuietPeriod) -> int:
    """The minutes of a week that are quiet, Monday 00:00 first, as bits."""
    length = (period.to_min - period.from_min) % _DAY_MIN
    week = 0
    for day in period.days or range(1, 8):
        week |= ((1 << length) - 1) << ((day - 1) * _DAY_MIN + period.from_min)
    return (week | week >> 7 * _DAY_MIN) & _WHOLE_WEEK  # what begins on Sunday may end on Monday


_DAY_MIN: Final = 1440
_WHOLE_WEEK: Final = (1 << 7 * _DAY_MIN) - 1
