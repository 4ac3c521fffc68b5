"""A policy, or a variant's patch of one, read from JSON-like data: strict, and with all problems at once.

This file is the grammar: one reader a section. What only shows once a section is read (limits that no ask can meet,
rules that contradict each other) stands in `policy_checks`; the way back to data in `policy_writer`. Source text and
line numbers belong to whoever parsed it. Reading is the only way to a policy that is known to be valid.
"""

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from engine.core import policy_checks
from engine.core.errors import InvalidPolicy
from engine.core.policy import (
    DAY_US,
    Budget,
    CasePause,
    Ceiling,
    ConsentRule,
    HoldBack,
    Lifetime,
    OnExpiry,
    Per,
    Policy,
    PolicyMode,
    Purpose,
    QuietHours,
    Rolling,
    SoftBounces,
    Topic,
    WhenExceeded,
)
from engine.core.policy_parts import (
    CHANNELS,
    LIMIT_MAX,
    OVERRIDES_MAX,
    SELECTOR,
    WINDOW_US_MAX,
    a_channel,
    a_limit,
    a_selector,
    a_window,
    an_override,
    some_conditions,
)
from engine.core.policy_writer import WEEKDAYS, policy_data
from engine.core.quiet import QuietPeriod
from engine.core.reading import (
    At,
    Fields,
    as_mapping,
    described,
    did_you_mean,
    each,
    entries,
    list_of,
    mapping_of,
    read_all,
    set_of,
)
from engine.core.reading_values import a_name, choice, duration, flag, is_whole, label, time_of_day, whole, word
from engine.core.windows import UnknownTimeZone, zone

__all__ = ["policy_data", "read_patch", "read_policy"]

BUDGETS_MAX: Final = 50
QUIET_HOURS_MAX: Final = 50
PAUSES_MAX: Final = 50
TOPICS_MAX: Final = 500
WEIGHT_MAX: Final = 1_000
LEASE_US_MAX: Final = 2 * DAY_US  # with 14 days of send_at it ends within the 16 days that message ids are remembered


def read_policy(data: object) -> Policy:
    """The policy that the data describes; raises `InvalidPolicy` with every problem, in the order of the document."""
    return read_all(_policy, data, InvalidPolicy)


def read_patch(policy: Policy, data: object) -> Policy:
    """The policy with limits changed, from `{budgets: {push-weekly: {limit: 3}}}`; raises `InvalidPolicy`.

    A patch replaces a budget's limit and all its overrides: there are none unless the patch gives some.
    """
    return read_all(partial(_patched, policy), data, InvalidPolicy)


def _policy(at: At) -> Policy:
    fields = Fields(at, _POLICY)
    fields.required("schema", _schema, "1, the number of this grammar")
    names = _topic_names(at.value)
    topics = fields.optional("topics", mapping_of(label(), _topic, TOPICS_MAX), {})
    channels = fields.optional("channels", mapping_of(a_channel, _channel, len(CHANNELS)), {})
    budgets = fields.optional("budgets", lambda there: each(there, partial(_budget, names), BUDGETS_MAX), [])
    quiet = fields.optional("quiet_hours", lambda there: each(there, partial(_quiet, names), QUIET_HOURS_MAX), [])
    pauses = fields.optional("pauses", lambda there: each(there, partial(_pause, names), PAUSES_MAX), [])
    unknown_timezone = fields.optional("unknown_timezone", _zone_name, None)
    mode = fields.optional("mode", choice(PolicyMode), _DEFAULTS.mode)
    lease_us = fields.optional("lease", duration(LEASE_US_MAX), _DEFAULTS.lease_us)
    max_lease_us = fields.optional("max_lease", duration(LEASE_US_MAX), _DEFAULTS.max_lease_us)
    on_expiry = fields.optional("on_expiry", choice(OnExpiry), _DEFAULTS.on_expiry)
    soft_bounces = fields.optional("soft_bounces", _soft_bounces, _DEFAULTS.soft_bounces)

    if len(topics) == len(names):  # otherwise some could not be read, and what they would have been is anyone's guess
        policy_checks.selectors_bind(topics, budgets, quiet, pauses)
    policy_checks.budgets_differ(fields, budgets)
    policy_checks.some_hour_is_open(quiet)
    policy_checks.a_zone_is_named(fields, quiet)
    policy_checks.lease_fits(fields, lease_us, max_lease_us)
    fields.close()
    return Policy(
        topics=MappingProxyType(topics),
        budgets=tuple(budget for _, budget in budgets),
        unknown_timezone=unknown_timezone,
        channels=MappingProxyType(channels),
        quiet_hours=tuple(hours for _, hours in quiet),
        pauses=tuple(pause for _, pause in pauses),
        mode=mode,
        lease_us=lease_us,
        max_lease_us=max_lease_us,
        on_expiry=on_expiry,
        soft_bounces=soft_bounces,
    )


def _schema(at: At) -> int:
    if is_whole(at.value, 1, 1):
        return 1
    raise at.refused("1, the number of this grammar")


def _topic_names(data: object) -> frozenset[str]:
    """The topics declared, also those that cannot be read: a selector that names one is not to blame."""
    topics = as_mapping((as_mapping(data) or {}).get("topics")) or {}
    return frozenset(name for name in topics if isinstance(name, str))


def _topic(at: At) -> Topic:
    fields = Fields(at, ("purpose", "consent", "exempt", "counts", "ceiling"))
    topic = Topic(
        purpose=fields.optional("purpose", choice(Purpose), _TOPIC.purpose),
        consent=fields.optional("consent", choice(ConsentRule), _TOPIC.consent),
        exempt=fields.optional("exempt", flag, _TOPIC.exempt),
        counts=fields.optional("counts", flag, _TOPIC.counts),
        ceiling=fields.optional("ceiling", _ceiling, None),
    )
    fields.close()
    if topic.ceiling and not topic.exempt:
        raise fields.place("ceiling").refused("no ceiling on a topic that is not exempt: a budget limits it")
    if topic.exempt and topic.consent is not ConsentRule.OPT_OUT:
        raise fields.place("consent").refused("no consent rule on an exempt topic: only hard suppressions bind it")
    return topic


def _ceiling(at: At) -> Ceiling:
    fields = Fields(at, ("limit", "window"))
    limit = fields.required("limit", whole(0, LIMIT_MAX), "a limit")
    window = fields.required("window", a_window, "a window")
    fields.close()
    if isinstance(window, Lifetime):
        raise fields.place("window").refused("a rolling or calendar window: a ceiling guards against loops")
    return Ceiling(limit, window)


def _channel(at: At) -> ConsentRule:
    fields = Fields(at, ("consent",))
    consent = fields.required("consent", choice(ConsentRule), "a consent rule")
    fields.close()
    return consent


def _budget(names: frozenset[str], at: At) -> Budget:
    fields = Fields(at, _BUDGET)
    name = fields.required("name", a_name, "a name")
    selector = a_selector(fields, names)
    per = fields.optional("per", choice(Per), None)
    when_exceeded = fields.optional("when_exceeded", choice(WhenExceeded), WhenExceeded.DEFER)
    shadow = fields.optional("shadow", flag, False)
    if "min_gap" in fields:
        fields.excludes("min_gap", ("limit", "window", "weights", "overrides", "hold_back"))
        gap_us = fields.required("min_gap", duration(WINDOW_US_MAX), "a duration")
        fields.close()
        return Budget(name, Rolling(gap_us), 1, selector, per, when_exceeded=when_exceeded, shadow=shadow, is_gap=True)

    limit = fields.required("limit", a_limit, "a limit and a window, or a min_gap")
    window = fields.required("window", a_window, "a window")
    if window == Lifetime():
        fields.excludes("a lifetime window", ("campaigns", "teams", "per", "hold_back"))
    budget = Budget(
        name=name,
        window=window,
        limit=limit,
        selector=selector,
        per=per,
        weights=MappingProxyType(
            fields.optional("weights", mapping_of(a_channel, whole(1, WEIGHT_MAX), len(CHANNELS)), {})
        ),
        overrides=fields.optional("overrides", list_of(an_override, OVERRIDES_MAX), ()),
        when_exceeded=when_exceeded,
        hold_back=fields.optional("hold_back", _hold_back, None),
        shadow=shadow,
    )
    fields.close()
    policy_checks.limits_can_be_met(at, budget)
    policy_checks.overrides_are_reached(at, budget)
    return budget


def _hold_back(at: At) -> HoldBack:
    fields = Fields(at, ("keep", "for_priority"))
    keep = fields.required("keep", whole(1, LIMIT_MAX), "how much of the limit to keep")
    for_priority = fields.required("for_priority", whole(1, 100), "the least priority that may use it")
    fields.close()
    return HoldBack(keep, for_priority)


def _quiet(names: frozenset[str], at: At) -> QuietHours:
    fields = Fields(at, (*SELECTOR, "from", "to", "days", "when"))
    selector = a_selector(fields, names)
    from_min = fields.required("from", time_of_day(), 'a time of day such as "21:00"')
    to_min = fields.required("to", time_of_day(midnight_ends=True), 'a time of day such as "08:00"')
    days = fields.optional("days", set_of(word(WEEKDAYS), len(WEEKDAYS)), None)
    when = fields.optional("when", some_conditions, ())
    fields.close()
    if from_min == to_min:
        raise fields.place("to").refused("another time than from; a whole day is 00:00 to 12:00 and 12:00 to 24:00")
    numbers = None if days is None else frozenset(WEEKDAYS.index(day) + 1 for day in days)
    return QuietHours(QuietPeriod(from_min, to_min, numbers), selector, when)


def _pause(names: frozenset[str], at: At) -> CasePause:
    fields = Fields(at, (*SELECTOR, "from", "until", "at_most"))
    selector = a_selector(fields, names)
    from_event = fields.required("from", label(), "the event that begins the pause")
    until_event = fields.required("until", label(), "the event that ends the pause")
    at_most_us = fields.required("at_most", duration(WINDOW_US_MAX), "the longest that the pause may last")
    fields.close()
    if from_event == until_event:
        raise fields.place("until").refused("another event than from")
    return CasePause(from_event, until_event, at_most_us, selector)


def _soft_bounces(at: At) -> SoftBounces:
    fields = Fields(at, ("suppress_after", "within"))
    suppress_after = fields.optional("suppress_after", whole(1, 1_000), _DEFAULTS.soft_bounces.suppress_after)
    within_us = fields.optional("within", duration(WINDOW_US_MAX), _DEFAULTS.soft_bounces.within_us)
    fields.close()
    return SoftBounces(suppress_after, within_us)


def _zone_name(at: At) -> str | None:
    if at.value == "deny":
        return None
    try:
        return zone(label(100)(at)).name
    except UnknownTimeZone:
        raise at.refused("an IANA time zone such as Europe/Berlin (not an offset), or deny") from None


def _patched(policy: Policy, at: At) -> Policy:
    fields = Fields(at, ("budgets",))
    changed = fields.required("budgets", partial(_patches, policy), "the budgets to change")
    fields.close()
    return replace(policy, budgets=tuple(changed.get(budget.name, budget) for budget in policy.budgets))


def _patches(policy: Policy, at: At) -> dict[str, Budget]:
    limited = {budget.name: budget for budget in policy.budgets if not budget.is_gap}
    changed: dict[str, Budget] = {}
    for name, there in entries(at, BUDGETS_MAX):
        if name in limited:
            changed[name] = _patch(policy, limited[name], there)
        else:
            guess = did_you_mean(name, limited)
            expected = "a budget of the policy that has a limit" + (f" (did you mean {guess}?)" if guess else "")
            there.report(expected, f"the name {described(name)}")
    if at.value == {}:
        raise at.refused("at least one budget")
    return changed


def _patch(policy: Policy, budget: Budget, at: At) -> Budget:
    fields = Fields(at, ("limit", "overrides"))
    limit = fields.required("limit", a_limit, "a limit")
    overrides = fields.optional("overrides", list_of(an_override, OVERRIDES_MAX), ())
    fields.close()
    patched = replace(budget, limit=limit, overrides=overrides)
    policy_checks.limits_can_be_met(at, patched)
    policy_checks.overrides_are_reached(at, patched)
    policy_checks.selectors_bind(policy.topics, [(at, patched)], [], [])
    return patched


_DEFAULTS: Final = Policy(topics={}, budgets=(), unknown_timezone=None)
_TOPIC: Final = Topic()
_BUDGET: Final = (
    *("name", *SELECTOR, "per", "limit", "window", "min_gap"),
    *("overrides", "weights", "when_exceeded", "hold_back", "shadow"),
)
_POLICY: Final = (
    *("schema", "mode", "unknown_timezone", "topics", "channels", "budgets", "quiet_hours", "pauses"),
    *("lease", "max_lease", "on_expiry", "soft_bounces"),
)
