"""Rules that open and close by time alone: pauses, open cases, quiet hours, and those that never open.

Each answers one question, as `Meter` does: from `clock` on, when is the earliest instant at which it lets an ask pass?
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.core.customer import Customer
from engine.core.meter import Slot
from engine.core.policy import QuietHours
from engine.core.quiet import next_open_us
from engine.core.windows import Zone


@dataclass(frozen=True, slots=True)
class Closed:
    """A gate that time does not open."""

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Shut:
    """A gate that is shut over [from, until), or from then on where `shut_until_us` is None."""

    slot: Slot
    shut_from_us: int
    shut_until_us: int | None

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        send_us = self.slot.start_us(clock_us)
        if send_us < self.shut_from_us or (self.shut_until_us is not None and send_us >= self.shut_until_us):
            return clock_us
        if self.shut_until_us is None or self.shut_until_us > until_us:
            return None
        return self.shut_until_us


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet hours by the customer's wall clock at the send; which of them hold may depend on derived attributes."""

    slot: Slot
    hours: Sequence[QuietHours]
    customer: Customer
    zone: Zone

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        turns = self.customer.turns_us(condition for each in self.hours for condition in each.when)
        while True:
            send_us = self.slot.start_us(clock_us)
            periods = [each.period for each in self.hours if self.customer.meets(each.when, clock_us)]
            opens_us = next_open_us(periods, self.zone, send_us, max(until_us, send_us)) if periods else send_us
            if opens_us == send_us:
                return clock_us
            turn_us = next((each for each in turns if each > clock_us), None)
            if turn_us is None or turn_us > until_us or (opens_us is not None and opens_us <= turn_us):
                return opens_us
            clock_us = turn_us
