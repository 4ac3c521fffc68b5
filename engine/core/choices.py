"""What a customer may choose about the messages they get, where each choice stands, and what choosing does.

A limit of one's own is a preference: it binds from then on, and is an opt-down or an opt-up. "None" is more: it
unsubscribes, which revokes what was reserved and binds whatever any policy says; only saying so again undoes it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from engine.core.account import Account
from engine.core.customer import Customer, Preference, Stage
from engine.core.events import TAKT_SOURCE, Event, EventType
from engine.core.origins import Origin
from engine.core.policy import (
    DAY_US,
    Budget,
    CalendarWindow,
    Channel,
    ConsentRule,
    Lifetime,
    Policy,
    PolicyMode,
    Rolling,
    Topic,
    Window,
)
from engine.core.rules import OWN_WINDOW, Rules, bounds
from engine.core.suppression import Scope, SuppressionReason, has_consent
from engine.core.windows import Calendar

EVERYTHING: Final = Scope()
LIMIT_MAX: Final = 1_000
_SAID_NO: Final = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT)
_PERIOD_US: Final = {Calendar.DAY: DAY_US, Calendar.WEEK: 7 * DAY_US, Calendar.MONTH: 31 * DAY_US}
_ENDLESS: Final = float("inf")


class Sort(StrEnum):
    """USUAL: what the policy has for everybody. LIMIT: at most so many. ALL: as many as there are. NONE: no more."""

    USUAL = "usual"
    LIMIT = "limit"
    ALL = "all"
    NONE = "none"


class Choice(NamedTuple):
    sort: Sort
    limit: int | None = None

    def __str__(self) -> str:
        return str(self.limit) if self.sort is Sort.LIMIT else self.sort.value

    @classmethod
    def read(cls, text: str) -> "Choice | None":
        """The choice that a text names; None where it names none."""
        if len(text) <= len(str(LIMIT_MAX)) and text.isascii() and text.isdigit() and 1 <= int(text) <= LIMIT_MAX:
            return cls(Sort.LIMIT, int(text))
        return next((cls(each) for each in Sort if each.value == text and each is not Sort.LIMIT), None)


USUAL: Final = Choice(Sort.USUAL)
ALL: Final = Choice(Sort.ALL)
NONE: Final = Choice(Sort.NONE)


class Line(NamedTuple):
    """A channel, a topic, a topic in one channel, or everything, and the customer's choice for it.

    `window` is what a limit counts in; None where only all or nothing can be chosen. `usual` is the limit that holds
    without a choice. A stopped line has another reason than a choice, and no choice changes it. One that was left and
    that `needs_consent` to be anything again is stopped too: to choose on a page is no consent.
    """

    scope: Scope
    choice: Choice
    window: Window | None = None
    usual: int | None = None
    is_stopped: bool = False
    needs_consent: bool = False


class Choices(NamedTuple):
    """All that a customer may choose. `own`: the topic and channel of the message they come from.

    `unsubscribed` are other topics, each in one channel, that they have left. `always` are topics that are sent
    whatever anybody chooses.
    """

    everything: Line
    own: Line
    unsubscribed: tuple[Line, ...]
    channels: tuple[Line, ...]
    topics: tuple[Line, ...]
    always: tuple[str, ...]

    def line(self, scope: Scope) -> Line | None:
        return next((each for each in self if isinstance(each, Line) and each.scope == scope), None) or next(
            (each for each in (*self.unsubscribed, *self.channels, *self.topics) if each.scope == scope), None
        )


class Move(NamedTuple):
    """One line that the customer changed."""

    line: Line
    to: Choice


def choices(rules: Rules, customer: Customer, account: Account, origin: Origin, now_us: int) -> Choices:
    """What the customer may choose now."""
    policy = _policy(rules, customer, origin.customer_id, now_us)
    reasons: dict[Scope, list[SuppressionReason]] = {}
    for fact in customer.in_force:
        reasons.setdefault(fact.scope, []).append(fact.reason)
    settled = {*reasons, *map(_scope, customer.preferences)}
    channels = _channels(policy, settled, account, origin)
    topics = _topics(policy, settled, account, origin)
    pairs = [(c, t) for c in channels for t in topics]
    open_ = {each for each in pairs if _is_open(policy, customer, *each)}

    def line(scope: Scope) -> Line:
        found = _line(policy, customer, reasons, scope, now_us)
        about = {each for each in pairs if scope.covers(*each)}
        if found.is_stopped or found.choice != NONE or not about or about & open_:
            return found
        return found._replace(is_stopped=True, needs_consent=True)

    left = sorted({each for each in reasons if each.channel and each.topic} - {origin.scope}, key=str)
    return Choices(
        line(EVERYTHING),
        line(origin.scope),
        tuple(line(each) for each in left),
        tuple(
            line(Scope(c))
            for c in channels
            if Scope(c) != origin.scope and (Scope(c) in settled or any(each[0] == c for each in open_))
        ),
        tuple(line(Scope(None, t)) for t in topics if Scope(None, t) in settled or any(each[1] == t for each in open_)),
        tuple(sorted(name for name, topic in policy.topics.items() if topic.exempt)),
    )


def moves(found: Choices, wanted: Iterable[tuple[Scope, Choice]]) -> list[Move]:
    """The lines that these wishes change; what is no line, or cannot be chosen for it, changes nothing."""
    changed: dict[Scope, Move] = {}
    for scope, to in wanted:
        line = found.line(scope)
        if line is None or line.is_stopped or line.choice == to or to.sort is Sort.ALL:
            continue
        if to.sort is Sort.LIMIT and line.window is None:
            continue
        changed[scope] = Move(line, to)
    return list(changed.values())


def limits_moved(
    rules: Rules, customer: Customer, customer_id: str, wanted: Iterable[Preference], now_us: int
) -> list[Move]:
    """The lines whose limits change where these take the place of the customer's own. A limit of 0 is one too."""
    policy = _policy(rules, customer, customer_id, now_us)
    was, will = ({_scope(each): _limited(each) for each in own} for own in (customer.preferences, wanted))
    found: list[Move] = []
    for scope in sorted({*was, *will}, key=str):
        before, after = was.get(scope, USUAL), will.get(scope, USUAL)
        if before != after:
            found.append(Move(_line(policy, customer, {}, scope, now_us)._replace(choice=before), after))
    return found


def event_of(move: Move, customer_id: str, event_id: str, at_us: int, origin: Origin | None = None) -> Event:
    """What a move tells: an unsubscribe, the return from one, or a limit that went down or up."""
    scope = move.line.scope
    properties: dict[str, object] = {"from": str(move.line.choice), "to": str(move.to)}
    if scope == EVERYTHING:
        properties["scope"] = "all"
    return Event(
        customer_id,
        TAKT_SOURCE,
        event_id,
        _type(move).value,
        at_us,
        scope.channel,
        scope.topic,
        origin and origin.campaign,
        origin and origin.message_id,
        value=None if move.to.limit is None else float(move.to.limit),
        properties=properties,
    )


def preferences(known: Iterable[Preference], changed: Iterable[Move]) -> tuple[Preference, ...]:
    """The customer's own limits after these moves. Who leaves a line keeps the limit that it had."""
    kept = {_scope(each): each for each in known}
    for line, to in changed:
        if line.window is None or to.sort is Sort.NONE:
            continue
        kept.pop(line.scope, None)
        if to.limit is not None:
            kept[line.scope] = Preference(line.scope.channel, line.scope.topic, to.limit)
    return tuple(kept.values())


def _policy(rules: Rules, customer: Customer, customer_id: str, now_us: int) -> Policy:
    """The one that the customer is under, as far as that makes a difference already."""
    diverged = {number: each.variant for number, each in customer.variants.items() if each.stage is Stage.DIVERGED}
    return rules.of(customer_id, now_us).under(diverged).policy


def _type(move: Move) -> EventType:
    """A limit of one's own that is the usual one is a step down all the same, and as many as there are a step up where
    no limit is usual: they stay when the usual one moves."""
    was, to = move.line.choice, move.to
    if to.sort is Sort.NONE:
        return EventType.UNSUBSCRIBED
    if was.sort is Sort.NONE:
        return EventType.RESUBSCRIBED
    return EventType.OPTED_DOWN if _amount(move.line, to) < _amount(move.line, was) else EventType.OPTED_UP


def _amount(line: Line, choice: Choice) -> tuple[float, int]:
    limit = line.usual if choice.sort is Sort.USUAL else choice.limit
    return _ENDLESS if limit is None else limit, (Sort.LIMIT, Sort.USUAL, Sort.ALL).index(choice.sort)


def _line(
    policy: Policy,
    customer: Customer,
    reasons: Mapping[Scope, Iterable[SuppressionReason]],
    scope: Scope,
    now_us: int,
) -> Line:
    here = reasons.get(scope, ())
    is_stopped = any(each not in _SAID_NO for each in (*here, *reasons.get(EVERYTHING, ())))
    is_left = any(each in _SAID_NO for each in here)
    if (scope.channel is None) == (scope.topic is None):
        return Line(scope, NONE if is_left else USUAL, is_stopped=is_stopped)
    preference = next((each for each in customer.preferences if _scope(each) == scope), None)
    budget = _budget(policy, Preference(scope.channel, scope.topic, None))
    usual = None if budget is None else _limit(budget, customer, now_us)
    window = OWN_WINDOW if budget is None else budget.window
    return Line(scope, NONE if is_left else _chosen(preference), window, usual, is_stopped)


def _chosen(preference: Preference | None) -> Choice:
    if preference is None:
        return USUAL
    return _limited(preference) if preference.limit != 0 else NONE


def _limited(preference: Preference) -> Choice:
    return ALL if preference.limit is None else Choice(Sort.LIMIT, preference.limit)


def _budget(policy: Policy, choice: Preference) -> Budget | None:
    """Whose limit a choice replaces, of those that count all that it is about; of several that of the longest window,
    which binds most. Nothing is usual where the policy only observes, or counts a part: a choice is a limit of its own
    there."""
    if policy.mode is PolicyMode.OBSERVE:
        return None
    mine = (each for each in policy.budgets if bounds(each, choice))
    return max(mine, key=lambda each: _length_us(each.window), default=None)


def _limit(budget: Budget, customer: Customer, now_us: int) -> int | None:
    for override in budget.overrides:
        if customer.meets(override.when, now_us):
            return override.limit
    return budget.limit


def _length_us(window: Window) -> float:
    match window:
        case Rolling():
            return window.length_us
        case CalendarWindow():
            return _PERIOD_US[window.calendar]
        case Lifetime():
            return _ENDLESS


def _channels(policy: Policy, settled: Iterable[Scope], account: Account, origin: Origin) -> list[str]:
    """Those that the policy names, and those in which the customer was met."""
    found = {origin.channel, *policy.channels, *(each.channel for each in account.contacts)}
    for rule in (*policy.budgets, *policy.quiet_hours, *policy.pauses):
        found |= rule.selector.channels or frozenset()
    found |= {each.channel for each in settled if each.channel}
    return [each.value for each in Channel if each.value in found]


def _topics(policy: Policy, settled: Iterable[Scope], account: Account, origin: Origin) -> list[str]:
    """Those that the policy declares; where it declares none, those it names and those the customer has met."""
    declared: Mapping[str, object] = {name: topic for name, topic in policy.topics.items() if not topic.exempt}
    if policy.topics:
        return sorted(declared)
    found = {*(each.topic for each in account.contacts), *(each.topic for each in settled if each.topic)}
    for rule in policy.budgets:
        found |= rule.selector.topics or frozenset()
    return sorted(found | ({origin.topic} if origin.topic else set()))


def _scope(preference: Preference) -> Scope:
    return Scope(preference.channel, preference.topic)


def _is_open(policy: Policy, customer: Customer, channel: str, topic: str) -> bool:
    """Whether the policy lets the customer get this topic in this channel, as far as consent goes."""
    rules = policy.topics.get(topic, Topic()).consent, policy.channels.get(channel, ConsentRule.OPT_OUT)
    return has_consent(rules, customer.consents, customer.attributes, channel, topic)
