"""Valid policies and arbitrary JSON, as hypothesis strategies for whoever tests with them.

A policy is built to be valid, not filtered by the reader: what the reader refuses of these is the reader's mistake.
"""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from engine.core.policy import (
    DAY_US,
    Budget,
    CalendarWindow,
    CasePause,
    Ceiling,
    Channel,
    Condition,
    ConsentRule,
    HoldBack,
    Lifetime,
    OnExpiry,
    Operator,
    Override,
    Per,
    Policy,
    PolicyMode,
    Purpose,
    QuietHours,
    Rolling,
    Selector,
    SoftBounces,
    Topic,
    WhenExceeded,
    Window,
)
from engine.core.quiet import QuietPeriod
from engine.core.windows import Calendar

SECOND_US = 1_000_000
PROMOTIONS = "promotions"  # never exempt and always counting, so that whatever selects it can bind


def labels(most: int = 12) -> st.SearchStrategy[str]:
    printable = st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
    words = st.sampled_from(["yes", "NO", "null", "~", "22:00", "1", "0x10", "1.5", "- a", "#", "a: b", "*a", "{", "'"])
    return words | st.text(printable | st.just(" "), min_size=1, max_size=most)


def names() -> st.SearchStrategy[str]:
    return st.text("abcxyz0189._-", min_size=1, max_size=12)


def durations(most_us: int = 400 * DAY_US) -> st.SearchStrategy[int]:
    round_ones = st.sampled_from([60, 3600, 86_400, 7 * 86_400, 30 * 86_400]).filter(lambda s: s * SECOND_US <= most_us)
    return (round_ones | st.integers(1, most_us // SECOND_US)).map(lambda s: s * SECOND_US)


@st.composite
def rolling(draw: st.DrawFn) -> Rolling:
    length_us = draw(durations())
    tolerance_us = draw(st.integers(0, min(length_us // SECOND_US - 1, 86_400))) * SECOND_US
    return Rolling(length_us, tolerance_us)


def windows() -> st.SearchStrategy[Window]:
    return rolling() | st.sampled_from(Calendar).map(CalendarWindow) | st.just(Lifetime())


def topics() -> st.SearchStrategy[Topic]:
    plain = st.builds(Topic, st.sampled_from(Purpose), st.sampled_from(ConsentRule), st.just(False), st.booleans())
    ceilings = st.none() | st.builds(
        Ceiling, st.integers(0, 1_000_000), windows().filter(lambda each: not isinstance(each, Lifetime))
    )
    exempt = st.builds(
        Topic, st.sampled_from(Purpose), st.just(ConsentRule.OPT_OUT), st.just(True), st.booleans(), ceilings
    )
    return plain | exempt


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(values, min_size=1, max_size=4)


@st.composite
def selectors(draw: st.DrawFn, declared: tuple[str, ...], *, narrow: bool = True) -> Selector:
    chosen = draw(some(st.sampled_from(declared) if declared else labels()))
    return Selector(
        channels=draw(some(st.sampled_from(Channel).map(str))),
        topics=chosen and chosen | {PROMOTIONS},
        campaigns=draw(some(labels())) if narrow else None,
        teams=draw(some(labels())) if narrow else None,
    )


NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.booleans() | NUMBERS | labels() | st.just("")


@st.composite
def conditions(draw: st.DrawFn, attribute: str) -> tuple[Condition, ...]:
    if draw(st.booleans()):
        value = draw(
            SCALARS
            | st.frozensets(NUMBERS, min_size=1, max_size=4)
            | st.frozensets(labels(), min_size=1, max_size=4)
            | st.frozensets(st.booleans(), min_size=1)
        )
        operator = Operator.IN if isinstance(value, frozenset) else Operator.EQ
        return (Condition(attribute, operator, value),)
    low, high = sorted(draw(st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] != pair[1])))
    tests = [
        Condition(attribute, Operator.NE, draw(SCALARS)),
        Condition(attribute, draw(st.sampled_from([Operator.LT, Operator.LTE])), high),
        Condition(attribute, draw(st.sampled_from([Operator.GT, Operator.GTE])), low),
    ]
    kept = draw(st.lists(st.sampled_from(tests), min_size=1, unique=True))
    return tuple(test for test in tests if test in kept)


@st.composite
def whens(draw: st.DrawFn, most: int) -> list[tuple[Condition, ...]]:
    """Conditions of which none takes what another takes: each has attributes of its own."""
    groups: list[tuple[Condition, ...]] = []
    attributes = draw(st.lists(labels(), max_size=2 * most, unique=True))
    while attributes and len(groups) < most:
        taken = sorted(attributes.pop() for _ in range(min(len(attributes), draw(st.integers(1, 2)))))
        groups.append(tuple(test for attribute in taken for test in draw(conditions(attribute))))
    return groups


@st.composite
def budgets(draw: st.DrawFn, declared: tuple[str, ...]) -> Budget:
    when_exceeded, shadow = draw(st.sampled_from(WhenExceeded)), draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        return Budget(
            name=draw(names()),
            window=Rolling(draw(durations())),
            limit=1,
            selector=draw(selectors(declared)),
            per=draw(st.none() | st.sampled_from(Per)),
            when_exceeded=when_exceeded,
            shadow=shadow,
            is_gap=True,
        )
    window = draw(windows())
    lifetime = isinstance(window, Lifetime)
    selector = draw(selectors(declared, narrow=not lifetime))
    weights = draw(st.dictionaries(st.sampled_from(Channel).map(str), st.integers(1, 1000), max_size=3))
    least = min(weights.get(channel, 1) for channel in selector.channels or tuple(Channel))
    limits = st.none() | st.just(0) | st.integers(least, 1_000_000)
    limit = draw(limits)
    hold_back = None
    if limit and limit > 1 and not lifetime and draw(st.booleans()):
        hold_back = HoldBack(draw(st.integers(1, limit - 1)), draw(st.integers(1, 100)))
    return Budget(
        name=draw(names()),
        window=window,
        limit=limit,
        selector=selector,
        per=None if lifetime else draw(st.none() | st.sampled_from(Per)),
        weights=MappingProxyType(weights),
        overrides=tuple(Override(when, draw(limits)) for when in draw(whens(3))),
        when_exceeded=when_exceeded,
        hold_back=hold_back,
        shadow=shadow,
    )


@st.composite
def quiet_hours(draw: st.DrawFn, declared: tuple[str, ...]) -> QuietHours:
    """At night, or at weekends: noon from Monday to Friday stays open."""
    if draw(st.booleans()):
        days = draw(st.none() | st.frozensets(st.integers(1, 7), min_size=1))
        period = QuietPeriod(draw(st.integers(18 * 60, 1439)), draw(st.integers(0, 10 * 60)), days)
    else:
        weekend = frozenset(draw(st.sets(st.sampled_from([6, 7]), min_size=1)))
        period = QuietPeriod(draw(st.integers(0, 720)), draw(st.integers(721, 1439)), weekend)
    when = draw(whens(1))
    return QuietHours(period, draw(selectors(declared)), when[0] if when else ())


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    declared = draw(st.just({}) | st.dictionaries(labels(), topics(), max_size=3))
    if declared:
        declared[PROMOTIONS] = Topic(consent=draw(st.sampled_from(ConsentRule)))
    known = tuple(declared)
    lease_us, max_lease_us = sorted(draw(st.tuples(durations(2 * DAY_US), durations(2 * DAY_US))))
    events = st.lists(labels(), min_size=2, max_size=2, unique=True)
    pauses = st.builds(
        lambda pair, at_most_us, selector: CasePause(pair[0], pair[1], at_most_us, selector),
        events,
        durations(),
        selectors(known),
    )
    return Policy(
        topics=MappingProxyType(declared),
        budgets=tuple(
            draw(st.lists(budgets(known), max_size=4, unique_by=(lambda each: each.name, _all_but_name_and_limit)))
        ),
        unknown_timezone=draw(st.sampled_from([None, "Europe/Berlin", "America/New_York", "UTC"])),
        channels=MappingProxyType(
            draw(st.dictionaries(st.sampled_from(Channel).map(str), st.sampled_from(ConsentRule), max_size=3))
        ),
        quiet_hours=tuple(draw(st.lists(quiet_hours(known), max_size=3))),
        pauses=tuple(draw(st.lists(pauses, max_size=2))),
        mode=draw(st.sampled_from(PolicyMode)),
        lease_us=lease_us,
        max_lease_us=max_lease_us,
        on_expiry=draw(st.sampled_from(OnExpiry)),
        soft_bounces=SoftBounces(draw(st.integers(1, 1000)), draw(durations())),
    )


def _all_but_name_and_limit(budget: Budget) -> object:
    plain = replace(budget, name="", limit=None, overrides=(), weights=MappingProxyType({}), hold_back=None)
    return repr(plain.window), plain.selector, plain.per, plain.when_exceeded, plain.shadow, plain.is_gap


def json_values() -> st.SearchStrategy[Any]:
    """Whatever a JSON reader may hand over, and some of what none should: NaN, lone surrogates, enormous numbers."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.sampled_from([10**4000, -1, 0, 1, 2**53 + 1])
        | st.floats()
        | st.text(max_size=20)
        | st.sampled_from(
            ["\x00", "\ud800", "7d", "21:00", "lifetime", "email", "promotions", "Europe/Berlin", "x" * 300]
        )
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | _WORDS, inner, max_size=4),
        max_leaves=20,
    )


_WORDS = st.sampled_from(
    [
        *("schema", "mode", "unknown_timezone", "topics", "channels", "budgets", "quiet_hours", "pauses", "lease"),
        *("name", "limit", "window", "rolling", "tolerance", "calendar", "min_gap", "overrides", "when", "weights"),
        *("hold_back", "keep", "for_priority", "shadow", "per", "from", "to", "days", "until", "at_most", "purpose"),
        *("consent", "exempt", "counts", "ceiling", "gte", "lt", "in", "ne", "eq", "within", "suppress_after"),
    ]
)
