"""All inputs of a decision that are the same for every customer, as one immutable, numbered value.

A `Rules` belongs to one ruleset number. It remembers what its policy says of asks with the same labels, and the rules
as patched for a set of variants; those memories never change what it decides.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Protocol

from engine.core.account import Labels
from engine.core.customer import Customer, Preference
from engine.core.gauge import LABEL_OF, Gauge, ceiling_gauge, gauge
from engine.core.policy import (
    DAY_US,
    EVERYTHING,
    NO_WEIGHTS,
    Budget,
    CalendarWindow,
    CasePause,
    ConsentRule,
    Lifetime,
    Policy,
    PolicyMode,
    QuietHours,
    Rolling,
    Selector,
    Topic,
    Window,
)
from engine.core.windows import Calendar

_LONGEST_PERIOD_US = {Calendar.DAY: 2 * DAY_US, Calendar.WEEK: 8 * DAY_US, Calendar.MONTH: 32 * DAY_US}
_LABELS_MAX, _PATCHED_MAX = 50_000, 1_000  # what is remembered of labels, and of combinations of variants
OWN_WINDOW = Rolling(7 * DAY_US)

NO_VARIANTS: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pause:
    """Contacts stopped by a person's hand, or by the complaint breaker, until an instant or until further notice."""

    name: str
    selector: Selector = EVERYTHING
    from_us: int = 0
    until_us: int | None = None
    is_breaker: bool = False


class Place(NamedTuple):
    """Where an experiment's formula puts a customer: a variant (None: not in it) and why. `phase`: of the plan's."""

    variant: int | None
    reason: str
    phase: int = 0
    is_tester: bool = False


class Assign(Protocol):
    """An experiment's formula: the same for the same customer as of the same instant."""

    def __call__(self, customer_id: str, customer: Customer, now_us: int, /) -> Place: ...


@dataclass(frozen=True, slots=True)
class RunningExperiment:
    """An experiment as decisions know it. `variants` are names; numbers of variants are their places in it.

    `segments` are the attributes that are kept as they were when a customer was assigned.
    """

    number: int
    key: str
    variants: tuple[str, ...]
    assign: Assign
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of all customers who are decided under frozen budgets, out of all experiments, from an instant to an end.

    `contains` is by the customer's id; `rules` have those budgets, and all else as the policy in force has it.
    """

    name: str
    from_us: int
    until_us: int
    contains: Callable[[str], bool]
    rules: "Rules"


class Rivals(NamedTuple):
    """How an experiment's other variants differ from its control, for asks with the same labels.

    `variants` are those whose decisions may differ, without any that lie between two others. Where the control allows,
    theirs differ only if one of `stricter` refuses; where it does not, only if one of `strictest`, the control's own
    among them, refuses now or some day. Unless `by_decision`: then only their decisions tell.
    """

    variants: tuple[int, ...]
    stricter: tuple[Gauge, ...]
    strictest: tuple[Gauge, ...]
    by_decision: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rules say of all asks with the same labels, by customers who made the same choices.

    `topic` is None where the policy declares topics and this is none of them; an exempt one leaves nothing but its
    ceiling. `asks_consent`: some consent must be on file. `needs_zone`: an enforced rule cannot be read without the
    customer's zone; `reads_zone`: some rule, perhaps a shadow, reads it. `experiments` are those of which some variant
    changes a budget that selects such asks.
    """

    topic: Topic | None
    consents: tuple[ConsentRule, ...]
    asks_consent: bool
    pauses: tuple[Pause, ...]
    case_pauses: tuple[CasePause, ...]
    quiet_hours: tuple[QuietHours, ...]
    gauges: tuple[Gauge, ...]
    needs_zone: bool
    reads_zone: bool
    experiments: tuple[RunningExperiment, ...] = ()
    # Kept by `treatments`, by experiment and other experiments' variants.
    rivals: dict[tuple[int, frozenset[tuple[int, int]]], Rivals] = field(
        default_factory=dict[tuple[int, frozenset[tuple[int, int]]], Rivals], repr=False, compare=False
    )


@dataclass(frozen=True)
class Rules:
    """A policy in force under a number, with the pauses of the hour, the running experiments and the holdouts.

    `patches[experiment][variant]` are the budgets under that variant's patch: with other limits and overrides. The
    control has none, and an experiment that changes no budget is not there. The first holdout that has a customer
    binds.
    """

    number: int
    policy: Policy
    pauses: tuple[Pause, ...] = ()
    patches: Mapping[int, Mapping[int, tuple[Budget, ...]]] = field(default_factory=lambda: MappingProxyType({}))
    experiments: tuple[RunningExperiment, ...] = ()
    holdouts: tuple[Holdout, ...] = ()
    _terms: dict[tuple[Labels, tuple[Preference, ...]], Terms] = field(
        default_factory=dict[tuple[Labels, tuple[Preference, ...]], Terms], init=False, repr=False, compare=False
    )
    _patched: "dict[frozenset[tuple[int, int]], Rules]" = field(
        default_factory=dict[frozenset[tuple[int, int]], "Rules"], init=False, repr=False, compare=False
    )

    @cached_property
    def longest_us(self) -> int:
        """The longest time that a contact can occupy a budget or a ceiling; lifetime budgets live by the totals."""
        windows = [budget.window for budget in self.policy.budgets]
        windows += [topic.ceiling.window for topic in self.policy.topics.values() if topic.ceiling]
        frozen = [each.rules.longest_us for each in self.holdouts]
        return max([OWN_WINDOW.length_us, *(_reach_us(window) for window in windows), *frozen])

    @cached_property
    def gauges(self) -> tuple[Gauge, ...]:
        """The policy's budgets, ready to be read."""
        return tuple(gauge(budget, 1 << index) for index, budget in enumerate(self.policy.budgets))

    @cached_property
    def masks(self) -> "Masks":
        """Which of the policy's budgets select a contact, by its labels."""
        return Masks([budget.selector for budget in self.policy.budgets])

    def topic(self, name: str) -> Topic | None:
        """The topic's declaration, or None where the policy declares topics and this is none of them."""
        if not self.policy.topics:
            return _ANY_TOPIC
        return self.policy.topics.get(name)

    def terms(self, labels: Labels, preferences: tuple[Preference, ...] = ()) -> Terms:
        """What these rules say of asks with these labels, with a customer's own choices in force."""
        key = labels, preferences
        found = self._terms.get(key)
        if found is None:
            if len(self._terms) >= _LABELS_MAX:
                self._terms.clear()
            found = self._terms[key] = _terms(self, labels, preferences)
        return found

    def of(self, customer_id: str, now_us: int) -> "Rules":
        """The rules for a customer: these, or those of a holdout, in which there are no experiments."""
        for each in self.holdouts:
            if each.from_us <= now_us < each.until_us and each.contains(customer_id):
                return each.rules
        return self

    def running(self, key: str) -> RunningExperiment | None:
        """The running experiment of this key."""
        return next((each for each in self.experiments if each.key == key), None)

    def under(self, variants: Mapping[int, int]) -> "Rules":
        """These rules as patched for a customer's variants; the rules themselves where none patches a budget."""
        if not variants or not self.patches:
            return self
        key = frozenset(
            (name, variant) for name, variant in variants.items() if self.patches.get(name, {}).get(variant)
        )
        if not key:
            return self
        found = self._patched.get(key)
        if found is None:
            patched = {budget.name: budget for name, variant in sorted(key) for budget in self.patches[name][variant]}
            budgets = tuple(patched.get(budget.name, budget) for budget in self.policy.budgets)
            found = Rules(self.number, replace(self.policy, budgets=budgets), self.pauses)
            if len(self._patched) >= _PATCHED_MAX:
                self._patched.clear()
            self._patched[key] = found
        return found

    def windows(self, labels: Labels, preferences: tuple[Preference, ...]) -> list[Window]:
        """The windows of all rules that may count contacts for such asks, under whichever variant."""
        topic = self.topic(labels[1])
        if topic is None:
            return [OWN_WINDOW] if preferences and self.policy.mode is PolicyMode.OBSERVE else []
        if topic.exempt:
            return [topic.ceiling.window] if topic.ceiling else []
        found = [budget.window for budget in self.policy.budgets if budget.selector.selects(*labels)]
        return [*found, OWN_WINDOW] if preferences else found


class Masks(dict[Labels, int]):
    """The budgets that select a contact, as bits of the policy's list; found when first asked for."""

    def __init__(self, selectors: Sequence[Selector]) -> None:
        super().__init__()
        self._selectors = selectors

    def __missing__(self, labels: Labels) -> int:
        mask = sum(1 << index for index, selector in enumerate(self._selectors) if selector.selects(*labels))
        if len(self) >= _LABELS_MAX:
            self.clear()
        self[labels] = mask
        return mask


_ANY_TOPIC = Topic()


def _terms(rules: Rules, labels: Labels, preferences: Sequence[Preference]) -> Terms:
    policy = rules.policy
    topic = rules.topic(labels[1])
    observing = policy.mode is PolicyMode.OBSERVE
    if topic is None or topic.exempt:
        gauges = (ceiling_gauge(labels[1], topic.ceiling),) if topic and topic.ceiling else ()
        if topic is None and observing:
            gauges = tuple(_gauges((), labels, preferences, observing=True))
        has_calendar = any(each.calendar for each in gauges)
        return Terms(topic, (), False, (), (), (), gauges, needs_zone=has_calendar, reads_zone=has_calendar)
    quiet_hours = tuple(each for each in policy.quiet_hours if each.selector.selects(*labels))
    gauges = tuple(
        each for each in _gauges(rules.gauges, labels, preferences, observing=observing) if _has_a_say(each, labels)
    )
    calendars = [each.budget for each in gauges if each.calendar]
    consents = topic.consent, policy.channels.get(labels[0], ConsentRule.OPT_OUT)
    return Terms(
        topic,
        consents,
        any(each is not ConsentRule.OPT_OUT for each in consents),
        tuple(each for each in rules.pauses if each.selector.selects(*labels)),
        tuple(each for each in policy.pauses if each.selector.selects(*labels)),
        quiet_hours,
        gauges,
        needs_zone=bool(quiet_hours) or any(not budget.shadow for budget in calendars),
        reads_zone=bool(quiet_hours or calendars),
        experiments=tuple(each for each in rules.experiments if _is_about(rules.patches.get(each.number, {}), labels)),
    )


def _is_about(patches: Mapping[int, Iterable[Budget]], labels: Labels) -> bool:
    """Whether a budget that some variant changes selects such asks; one kept per campaign, none without a campaign."""
    return any(
        budget.selector.selects(*labels) and (budget.per is None or labels[LABEL_OF[budget.per]] is not None)
        for changed in patches.values()
        for budget in changed
    )


def _has_a_say(each: Gauge, labels: Labels) -> bool:
    """Not a budget without any limit, nor one kept per campaign where the ask names none."""
    budget = each.budget
    return (budget.limit is not None or bool(budget.overrides)) and (each.per is None or labels[each.per] is not None)


def _gauges(
    gauges: Iterable[Gauge], labels: Labels, preferences: Iterable[Preference], *, observing: bool
) -> list[Gauge]:
    """The budgets that select an ask, with a customer's own choices in force.

    A choice replaces the limit of every budget that selects only that channel or topic. Where none of these is
    enforced, as where the policy only observes, or none counts all that the choice is about, it is a budget of its own
    over seven days too: a customer who asked for less gets less under any policy.
    """
    found = [each for each in gauges if each.budget.selector.selects(*labels)]
    chosen: dict[int, Preference] = {}
    own: list[Gauge] = []
    for choice in preferences:
        if choice.channel not in (None, labels[0]) or choice.topic not in (None, labels[1]):
            continue
        matched = [index for index, each in enumerate(found) if _selects_only(each.budget, choice)]
        for index in matched:
            chosen[index] = _stricter(chosen[index], choice) if index in chosen else choice
        is_bound = not observing and any(bounds(found[index].budget, choice) for index in matched)
        if choice.limit is not None and not is_bound:
            own.append(_chosen(_own_budget(choice, choice.limit), choice))
    for index, choice in chosen.items():
        found[index] = _chosen(found[index].budget, choice, found[index].bit)
    return found + own


def _chosen(budget: Budget, choice: Preference, bit: int = 0) -> Gauge:
    """A budget with the limit that a customer chose: so many contacts, whatever each weighs, of whichever priority.

    What left the account is remembered by its weight alone: so a lifetime budget counts what the asks weighed.
    """
    budget = replace(budget, limit=choice.limit, overrides=())
    if choice.by_weight:
        return gauge(budget, bit)
    is_lifetime = isinstance(budget.window, Lifetime)
    return gauge(replace(budget, weights=NO_WEIGHTS, hold_back=None), bit, is_even=not is_lifetime)


def _own_budget(choice: Preference, limit: int) -> Budget:
    selector = Selector(
        channels=frozenset({choice.channel}) if choice.channel else None,
        topics=frozenset({choice.topic}) if choice.topic else None,
    )
    return Budget(f"own:{choice.channel or choice.topic}", OWN_WINDOW, limit, selector)


def _stricter(one: Preference, other: Preference) -> Preference:
    if one.limit is None or other.limit is None:
        return other if one.limit is None else one
    return min(one, other, key=lambda each: (each.limit, each.by_weight))


def _selects_only(budget: Budget, choice: Preference) -> bool:
    """Whether a budget is about that one channel, or that one topic, and so is the customer's to set."""
    if budget.is_gap:
        return False
    channels, topics = budget.selector.channels, budget.selector.topics
    return (choice.channel is not None and channels is not None and set(channels) == {choice.channel}) or (
        choice.topic is not None and topics is not None and set(topics) == {choice.topic}
    )


def bounds(budget: Budget, choice: Preference) -> bool:
    """Whether it bounds all that a choice is about, so that the choice needs no budget of its own beside it."""
    selector = budget.selector
    is_whole = (selector.channels is None or selector.topics is None) and not (selector.campaigns or selector.teams)
    return _selects_only(budget, choice) and is_whole and budget.per is None and not budget.shadow


def _reach_us(window: Window) -> int:
    match window:
        case Rolling():
            return window.length_us
        case CalendarWindow():
            return _LONGEST_PERIOD_US[window.calendar]
        case Lifetime():
            return 0
