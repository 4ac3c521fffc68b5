"""The use of one budget over time: how full it is for an ask, and the earliest instant at which the ask would fit.

A contact occupies a rolling budget over [start, end + window), and counts in each calendar period that meets
[start, end]. An ask fits if at no instant of its own occupancy the use exceeds the limit.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate
from typing import Final, TypeAlias

from engine.core.account import Labels, Lease
from engine.core.gauge import Gauge
from engine.core.situation import Situation
from engine.core.verdict import Code, Verdict
from engine.core.windows import Calendar, Zone, period

# One contact's claim on budgets: start, end, weight, lease, priority, the budgets that select it, its labels, and the
# shadow budgets that did not charge it. A bare tuple: a named one costs six times as much to make, and twice to read.
Charge: TypeAlias = tuple[int, int, int, Lease, int, int, Labels, tuple[str, ...]]

_RELEASES: Final = Lease.RELEASES


class Meter:
    """One budget, bound to one customer and one ask.

    `charges` holds no lease that had run out when the ask was made. `before` is what a lifetime budget remembers of
    contacts that left the account.
    """

    __slots__ = ("_used", "_used_us", "before", "case", "charges", "gauge", "weight")

    def __init__(self, gauge: Gauge, case: Situation, charges: Sequence[Charge], before: int = 0) -> None:
        ask = case.ask
        self.gauge = gauge
        self.case = case
        self.charges = charges
        self.before = before
        self.weight = ask.weight if gauge.is_plain else gauge.weigh(ask.channel, ask.weight)
        self._used_us = -1
        self._used = 0

    @property
    def name(self) -> str:
        return self.gauge.budget.name

    @property
    def refusal(self) -> Verdict:
        return self.gauge.refusal

    @property
    def is_hard(self) -> bool:
        return False

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
            self._used = self._peak(self.charges, clock_us)
            self._used_us = clock_us
        return self._used

    def refuses(self, now_us: int) -> bool:
        limit = self.limit_at(now_us)
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


def _peak_rolling(charges: Sequence[Charge], start_us: int, end_us: int, length_us: int) -> int:
    """The most in use at any instant of [start, end + length)."""
    over_us, until_us = start_us - length_us, end_us + length_us
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
