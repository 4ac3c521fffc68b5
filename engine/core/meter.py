"""The use of one budget over time: how full it is for an ask, and the earliest instant at which the ask would fit.

A contact occupies a rolling budget over [start, end + window), and counts in each calendar period that meets
[start, end]. An ask fits if at no instant of its own occupancy the use exceeds the limit.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate
from typing import Final, TypeAlias

from engine.core.account import ALL_BUDGETS, Labels, Lease
from engine.core.gauge import Gauge
from engine.core.situation import Situation
from engine.core.verdict import Code, Verdict
from engine.core.windows import Calendar, Zone, period

# One contact's claim on budgets: start, end, weight, lease, priority, the budgets that select it, its labels, and the
# shadow budgets that did not charge it. A bare tuple: a named one costs six times as much to make, and twice to read.
Charge: TypeAlias = tuple[int, int, int, Lease, int, int, Labels, tuple[str, ...]]

_RELEASES: Final = Lease.RELEASES
_WEIGHT, _MASK, _LABELS, _UNCHARGED = 2, 5, 6, 7  # where a `Charge` has them


class Meter:
    """One budget, bound to one customer and one ask.

    `everything` is what the customer's contacts charge to whichever budget, without leases that had run out when the
    ask was made; `latest_us` is the latest start among them. `observed`: the policy's are in shadow. `before` is what
    a lifetime budget remembers of contacts that left the account.
    """

    __slots__ = (
        "_charges",
        "_everything",
        "_latest_us",
        "_used",
        "_used_us",
        "before",
        "case",
        "gauge",
        "is_charged_apart",
        "weight",
    )

    def __init__(
        self,
        gauge: Gauge,
        case: Situation,
        everything: Sequence[Charge],
        latest_us: int,
        observed: bool,
        before: int = 0,
    ) -> None:
        ask = case.ask
        self.gauge = gauge
        self.case = case
        self.is_charged_apart = (observed and not gauge.is_own) or gauge.budget.shadow
        self.before = before
        self.weight = ask.weight if gauge.is_plain else gauge.weigh(ask.channel, ask.weight)
        self._everything = everything
        self._latest_us = latest_us
        self._charges: Sequence[Charge] | None = None
        self._used_us = -1
        self._used = 0

    def beside(self, gauge: Gauge) -> "Meter":
        """The same budget as another variant has it: with another limit, and the same use."""
        other = Meter(gauge, self.case, self._everything, self._latest_us, self.is_charged_apart, self.before)
        other._charges, other._used_us, other._used = self._charges, self._used_us, self._used
        return other

    def has_room_for_good(self) -> bool:
        """Whether the ask fits now and at every later instant; False also where that takes more than a look.

        Nothing that ended before the window of an ask made now can be in use later, and nothing is added.
        """
        limit, gauge, case = self.gauge.budget.limit, self.gauge, self.case
        if gauge.budget.overrides:
            return False
        if limit is None:
            return True
        start_us = case.start_us(case.now_us)
        charges = self.charges
        if gauge.length_us:
            over_us = _over_us(start_us, gauge.length_us)
            charges = [each for each in charges if each[1] > over_us]
        elif gauge.calendar is not None:
            begins_us = period(gauge.calendar, self._zone, start_us)[0]
            charges = [each for each in charges if each[1] >= begins_us]
        most = self.before + sum([each[_WEIGHT] for each in charges]) + self.weight
        hold_back = gauge.budget.hold_back
        return most <= (limit if hold_back is None else limit - hold_back.keep)

    @property
    def charges(self) -> Sequence[Charge]:
        """What is charged to this budget."""
        if self._charges is None:
            self._charges = _selected(
                self._everything, self.gauge, self.case.ask.labels, is_shadow=self.is_charged_apart
            )
        return self._charges

    @property
    def name(self) -> str:
        return self.gauge.budget.name

    @property
    def refusal(self) -> Verdict:
        return self.gauge.refusal

    @property
    def is_hard(self) -> bool:
        return self.gauge.is_own

    @property
    def is_shadow(self) -> bool:
        return self.gauge.budget.shadow

    def code_at(self, now_us: int) -> Code:
        if self.gauge.code is Code.LIMIT and self._has_room(now_us):
            return Code.HOLD_BACK
        return self.gauge.code

    def limit_at(self, clock_us: int) -> int | None:
        """The limit in force at an instant: the first override that matches, else the budget's own."""
        budget = self.gauge.budget
        for override in budget.overrides:
            if self.case.customer.meets(override.when, clock_us):
                return override.limit
        return budget.limit

    def used(self, clock_us: int) -> int:
        """The most in use at any instant of the occupancy of an ask made at this instant, itself not counted."""
        if clock_us != self._used_us:
            used = self._used_at_start() if clock_us == self.case.now_us else None
            self._used = self._peak(self.charges, clock_us) if used is None else used
            self._used_us = clock_us
        return self._used

    def _used_at_start(self) -> int | None:
        """The peak for an ask made now, where nothing begins after it: then use only falls from its start on.

        So it is nearly always, and one look at each charge does. None where it is not so simple.
        """
        case, gauge = self.case, self.gauge
        start_us = case.start_us(case.now_us)
        if self._latest_us > start_us or not gauge.bit or self.is_charged_apart:
            return None
        if gauge.length_us:
            over_us = _over_us(start_us, gauge.length_us)
        elif gauge.calendar is not None:
            begins_us, ends_us = period(gauge.calendar, self._zone, start_us)
            if ends_us <= start_us + case.lease_us:
                return None
            over_us = begins_us - 1
        else:
            return None
        bit, per = gauge.bit, gauge.per
        found = [each for each in self._everything if each[1] > over_us and each[_MASK] & bit]
        if per is not None and found:
            label = case.ask.labels[per]
            found = [each for each in found if each[_LABELS][per] == label]
        if gauge.is_plain:
            return sum([each[_WEIGHT] for each in found])
        return sum([gauge.weigh(each[_LABELS][0], each[_WEIGHT]) for each in found])

    def refuses(self, now_us: int) -> bool:
        return self._refuses(self.limit_at(now_us), now_us)

    def refuses_beside(self, gauge: Gauge, now_us: int) -> bool:
        """Whether the same budget as another variant has it refuses: `beside`, where a look at the use is enough."""
        budget = gauge.budget
        if budget.overrides:
            return self.beside(gauge).refuses(now_us)
        return self._refuses(budget.limit, now_us)

    def _refuses(self, limit: int | None, now_us: int) -> bool:
        if limit is None:
            return False
        # Of low priority, an ask may not use what is kept; low use is never more than all use, so seldom worth a look.
        left = limit - self.used(now_us) - self.weight
        if left < 0:
            return True
        hold_back = self.gauge.budget.hold_back
        if hold_back is None or left >= hold_back.keep or self.case.ask.priority >= hold_back.for_priority:
            return False
        low = [each for each in self.charges if each[4] < hold_back.for_priority]
        return self._peak(low, now_us) + self.weight > limit - hold_back.keep

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant at or after `clock_us` at which the ask fits this budget; None if not by `until_us`.

        Exact: use falls, or the limit changes, only at the instants tried; between two of them it can only rise.
        """
        if not self.refuses(clock_us):
            return clock_us
        turns = self._turns_us()
        if not turns and not self._could_fit(self.limit_at(clock_us) or 0):
            return None  # not even an empty budget has room: do not look through 400 days
        for instant in self._instants_us(clock_us, turns):
            if instant > until_us:
                break
            if not self.refuses(instant):
                return instant
        return None

    def frees_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant after `clock_us` and by `until_us` at which less is in use, if there is one."""
        used = self.used(clock_us)
        if not used:
            return None
        for instant in self._instants_us(clock_us, ()):
            if instant > until_us:
                break
            if self.used(instant) < used:
                return instant
        return None

    def _has_room(self, clock_us: int) -> bool:
        limit = self.limit_at(clock_us)
        return limit is None or self.used(clock_us) + self.weight <= limit

    def _could_fit(self, limit: int) -> bool:
        """Whether the ask fits once nothing else does any more."""
        hold_back = self.gauge.budget.hold_back
        if hold_back is not None and self.case.ask.priority < hold_back.for_priority:
            limit -= hold_back.keep
        return self.before + self.weight <= limit

    def _peak(self, charges: Sequence[Charge], clock_us: int) -> int:
        case, gauge = self.case, self.gauge
        if clock_us > case.now_us:
            charges = [each for each in charges if each[3] is not _RELEASES or each[1] > clock_us]
        start_us = case.start_us(clock_us)
        end_us = start_us + case.lease_us
        if gauge.length_us:
            return _peak_rolling(charges, start_us, end_us, gauge.length_us)
        if gauge.calendar is not None:
            return _peak_calendar(charges, start_us, end_us, gauge.calendar, self._zone)
        return self.before + sum(each[2] for each in charges)

    def _instants_us(self, clock_us: int, turns: Iterable[int]) -> Iterator[int]:
        """The instants after `clock_us` at which an ask that did not fit might, in order."""
        length_us, calendar = self.gauge.length_us, self.gauge.calendar
        instants = {*turns, *(end for _, end, _, lease, *_ in self.charges if lease is _RELEASES)}
        if length_us:
            instants.update(end + length_us for _, end, *_ in self.charges)
        later = sorted(each for each in instants if each > clock_us)
        if calendar is None:
            return iter(later)
        return merge(later, _turns_of(calendar, self._zone, self.case.start_us(clock_us)))

    def _turns_us(self) -> Sequence[int]:
        """When derived attributes may change the limit."""
        customer, overrides = self.case.customer, self.gauge.budget.overrides
        if not overrides or not customer.since_us:
            return ()
        return customer.turns_us(condition for each in overrides for condition in each.when)

    @property
    def _zone(self) -> Zone:
        if self.case.zone is None:  # no meter is made of a calendar budget whose zone is unknown
            raise ValueError(f"the calendar budget {self.name} has no zone")
        return self.case.zone


def _selected(charges: Sequence[Charge], gauge: Gauge, labels: Labels, *, is_shadow: bool) -> Sequence[Charge]:
    """The charges of one budget, with what each weighs in it."""
    bit, per = gauge.bit, gauge.per
    if bit:
        found = [each for each in charges if each[_MASK] & bit]
    else:
        selects = gauge.budget.selector.selects
        found = [each for each in charges if selects(*each[_LABELS])]
    if per is not None:
        found = [each for each in found if each[_LABELS][per] == labels[per]]
    # What left the account is in the totals, which do not tell by whom it was charged: a lifetime budget counts all.
    if is_shadow and gauge.code is not Code.CEILING and not gauge.is_lifetime:
        name = gauge.budget.name
        found = [each for each in found if each[_UNCHARGED] != ALL_BUDGETS and name not in each[_UNCHARGED]]
    if gauge.is_plain:
        return found
    if gauge.is_even:
        return [each if each[_WEIGHT] == 1 else _weighed(each, gauge) for each in found]
    weights = gauge.budget.weights
    return [_weighed(each, gauge) if each[_LABELS][0] in weights else each for each in found]


def _weighed(charge: Charge, gauge: Gauge) -> Charge:
    start, end, weight, lease, priority, mask, labels, uncharged = charge
    return start, end, gauge.weigh(labels[0], weight), lease, priority, mask, labels, uncharged


def _over_us(start_us: int, length_us: int) -> int:
    """A contact that ended at this instant, or before, occupies the window no more: [start, end + window) is open."""
    return start_us - length_us


def _peak_rolling(charges: Sequence[Charge], start_us: int, end_us: int, length_us: int) -> int:
    """The most in use at any instant of [start, end + length)."""
    over_us, until_us = _over_us(start_us, length_us), end_us + length_us
    total = 0
    begins_later = False
    for start, end, weight, _, _, _, _, _ in charges:
        if end > over_us and start < until_us:
            total += weight
            if start > start_us:
                begins_later = True
    if not begins_later:
        return total  # use only falls from here
    changes: list[tuple[int, int]] = []
    for start, end, weight, _, _, _, _, _ in charges:
        if end > over_us and start < until_us:
            changes.append((start, weight))  # before the ask's own start, use can only rise towards it
            changes.append((end + length_us, -weight))
    changes.sort()  # at one instant what ends goes before what begins: an end is not occupied any more
    return max(accumulate(change for _, change in changes))


def _peak_calendar(charges: Sequence[Charge], start_us: int, end_us: int, calendar: Calendar, zone: Zone) -> int:
    """The use of the fullest period that [start, end] meets."""
    peak = 0
    begins_us, ends_us = period(calendar, zone, start_us)
    while True:
        total = 0
        for start, end, weight, _, _, _, _, _ in charges:
            if start < ends_us and end >= begins_us:
                total += weight
        if total > peak:
            peak = total
        if ends_us > end_us:
            return peak
        begins_us, ends_us = period(calendar, zone, ends_us)


def _turns_of(calendar: Calendar, zone: Zone, instant_us: int) -> Iterator[int]:
    while True:
        instant_us = period(calendar, zone, instant_us)[1]
        yield instant_us
