"""The use of one budget over time: how full it is for an ask, and the earliest instant at which the ask would fit.

A contact occupies a rolling budget over [start, end + window), and counts in each calendar period that meets
[start, end]. An ask fits if at no instant of its own occupancy the use exceeds the limit. Time appears twice: the
*clock* decides which leases have ended; the *send*, max(send_at, clock), is where the ask's occupancy begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from engine.core.customer import Customer
from engine.core.policy import Budget, CalendarWindow, Lifetime, Rolling
from engine.core.windows import Calendar, Zone, period

# One contact's claim on a budget: start, end, weight, whether its open lease gives the budget back at its end, and
# whether its priority is low. A bare tuple: a named one costs six times as much to make, forty times an ask.
Charge: TypeAlias = tuple[int, int, int, bool, bool]


class Use(NamedTuple):
    """The most that is in use at any instant of an ask's occupancy, and the part of it with low priority."""

    all: int
    low: int


@dataclass(frozen=True, slots=True)
class Slot:
    """When an ask would be sent: at `send_at_us` or at once, and by when it must be confirmed."""

    send_at_us: int | None
    lease_us: int

    def start_us(self, clock_us: int) -> int:
        return clock_us if self.send_at_us is None or self.send_at_us < clock_us else self.send_at_us


class Meter:
    """One budget, bound to one customer and one ask.

    `before` is what a lifetime budget remembers of contacts that left the account.
    """

    __slots__ = (
        "_measured",
        "_measured_us",
        "_turns",
        "before",
        "budget",
        "charges",
        "customer",
        "is_low",
        "slot",
        "weight",
        "zone",
    )

    def __init__(
        self,
        budget: Budget,
        customer: Customer,
        charges: Sequence[Charge],
        slot: Slot,
        weight: int,
        priority: int,
        zone: Zone | None,
        before: int = 0,
    ) -> None:
        self.budget = budget
        self.customer = customer
        self.charges = charges
        self.slot = slot
        self.weight = weight
        self.is_low = budget.hold_back is not None and priority < budget.hold_back.for_priority
        self.zone = zone
        self.before = before
        self._measured_us = -1
        self._measured = Use(0, 0)
        self._turns: Sequence[int] = ()
        if budget.overrides and customer.since_us:
            self._turns = customer.turns_us(condition for each in budget.overrides for condition in each.when)

    def limit_at(self, clock_us: int) -> int | None:
        """The limit in force at an instant: the first override that matches, else the budget's own."""
        for override in self.budget.overrides:
            if self.customer.meets(override.when, clock_us):
                return override.limit
        return self.budget.limit

    def use(self, clock_us: int) -> Use:
        """The use that an ask made at this instant would meet, itself not counted."""
        if clock_us == self._measured_us:
            return self._measured
        start_us = self.slot.start_us(clock_us)
        match self.budget.window:
            case Rolling() as window:
                use = self._use_rolling(clock_us, start_us, window.effective_us)
            case CalendarWindow() as window:
                use = self._use_calendar(clock_us, start_us, window.calendar)
            case Lifetime():
                use = Use(self.before + sum(each[2] for each in self._current(clock_us)), 0)
        self._measured_us, self._measured = clock_us, use
        return use

    def fits(self, clock_us: int) -> bool:
        limit = self.limit_at(clock_us)
        return limit is None or self._fits(self.use(clock_us), limit)

    def lacks_only_held_back(self, clock_us: int) -> bool:
        """Whether an ask that does not fit would, were nothing kept for higher priority."""
        limit = self.limit_at(clock_us)
        return limit is not None and self.use(clock_us).all + self.weight <= limit

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant at or after `clock_us` at which the ask fits this budget; None if not by `until_us`.

        Exact: use falls, or the limit changes, only at the instants tried; between two of them it can only rise.
        """
        if self.fits(clock_us):
            return clock_us
        if not self._turns and not self._fits(Use(0, 0), self.limit_at(clock_us) or 0):
            return None  # not even an empty budget has room: do not look through 400 days
        instant = self._next_us(clock_us)
        while instant is not None and instant <= until_us:
            if self.fits(instant):
                return instant
            instant = self._next_us(instant)
        return None

    def _fits(self, use: Use, limit: int) -> bool:
        if use.all + self.weight > limit:
            return False
        hold_back = self.budget.hold_back
        return not self.is_low or hold_back is None or use.low + self.weight <= limit - hold_back.keep

    def _current(self, clock_us: int) -> Sequence[Charge]:
        """The charges whose leases have not run out by then."""
        return [each for each in self.charges if not (each[3] and each[1] <= clock_us)]

    def _use_rolling(self, clock_us: int, start_us: int, window_us: int) -> Use:
        until_us = start_us + self.slot.lease_us + window_us
        ends_after_us = start_us - window_us
        total = total_low = 0
        overlaps_later = False
        for start, end, weight, releases, low in self.charges:
            if end > ends_after_us and start < until_us and not (releases and end <= clock_us):
                total += weight
                if low:
                    total_low += weight
                if start > start_us:
                    overlaps_later = True
        if not overlaps_later:
            return Use(total, total_low)  # everything began before the ask: use only falls from here
        current = [each for each in self._current(clock_us) if each[1] > ends_after_us and each[0] < until_us]
        peak = peak_low = 0
        for instant in {max(start, start_us) for start, *_ in current}:
            meeting = [each for each in current if each[0] <= instant < each[1] + window_us]
            peak = max(peak, sum(each[2] for each in meeting))
            peak_low = max(peak_low, sum(each[2] for each in meeting if each[4]))
        return Use(peak, peak_low)

    def _use_calendar(self, clock_us: int, start_us: int, calendar: Calendar) -> Use:
        """The use of the fullest period that the ask's occupancy meets."""
        end_us = start_us + self.slot.lease_us
        peak = peak_low = 0
        begins_us, ends_us = self._period(calendar, start_us)
        while True:
            total = total_low = 0
            for start, end, weight, releases, low in self.charges:
                if start < ends_us and end >= begins_us and not (releases and end <= clock_us):
                    total += weight
                    if low:
                        total_low += weight
            peak, peak_low = max(peak, total), max(peak_low, total_low)
            if ends_us > end_us:
                return Use(peak, peak_low)
            begins_us, ends_us = self._period(calendar, ends_us)

    def _period(self, calendar: Calendar, instant_us: int) -> tuple[int, int]:
        if self.zone is None:  # rules_for() asks for a zone before it makes such a meter
            raise ValueError(f"the calendar budget {self.budget.name} has no zone")
        return period(calendar, self.zone, instant_us)

    def _next_us(self, clock_us: int) -> int | None:
        """The next instant after `clock_us` at which an ask that did not fit might."""
        start_us = self.slot.start_us(clock_us)
        instants = [each for each in self._turns if each > clock_us]
        instants += [end for _, end, _, releases, _ in self.charges if releases and end > clock_us]
        match self.budget.window:
            case Rolling() as window:
                length_us = window.effective_us
                instants += [end + length_us for _, end, _, _, _ in self.charges if end + length_us > start_us]
            case CalendarWindow() as window:
                instants.append(self._period(window.calendar, start_us)[1])
            case Lifetime():
                pass
        return min(instants, default=None)
