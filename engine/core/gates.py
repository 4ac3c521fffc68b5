"""Rules that open and close by time alone: pauses, open cases, quiet hours, and those that never open.

Each answers the questions that a `Meter` does: does it refuse at an instant, and from when on does it let an ask pass?
"""

from collections.abc import Sequence
from typing import Final

from engine.core.policy import QuietHours
from engine.core.quiet import QuietPeriod, is_quiet, next_open_us
from engine.core.situation import Situation
from engine.core.verdict import Code, Verdict
from engine.core.windows import Zone

_DEFER: Final = Verdict.DEFER
_QUIET: Final = Code.QUIET_HOURS


class Gate:
    """What all gates have; this one time does not open. `is_hard`: it binds in an observed policy too."""

    __slots__ = ("code", "is_hard", "name", "refusal")

    def __init__(self, code: Code, name: str, refusal: Verdict = Verdict.DENY, *, is_hard: bool = False) -> None:
        self.code = code
        self.name = name
        self.refusal = refusal
        self.is_hard = is_hard

    @property
    def is_shadow(self) -> bool:
        return False

    def code_at(self, now_us: int) -> Code:
        return self.code

    def refuses(self, now_us: int) -> bool:
        return self.earliest_us(now_us, now_us) is None

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        """The earliest instant from `clock_us` on, and by `until_us`, at which this lets the ask pass."""
        return None


class Shut(Gate):
    """A gate that is shut over [from, until), or from then on where `shut_until_us` is None."""

    __slots__ = ("case", "shut_from_us", "shut_until_us")

    def __init__(
        self, code: Code, name: str, case: Situation, from_us: int, until_us: int | None, *, is_hard: bool
    ) -> None:
        super().__init__(code, name, _DEFER, is_hard=is_hard)
        self.case = case
        self.shut_from_us = from_us
        self.shut_until_us = until_us

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        send_us = self.case.start_us(clock_us)
        if send_us < self.shut_from_us or (self.shut_until_us is not None and send_us >= self.shut_until_us):
            return clock_us
        if self.shut_until_us is None or self.shut_until_us > until_us:
            return None
        return self.shut_until_us


class Quiet(Gate):
    """Quiet hours by the customer's wall clock at the send; which of them hold may depend on derived attributes."""

    __slots__ = ("case", "hours", "zone")

    def __init__(self, case: Situation, hours: Sequence[QuietHours], zone: Zone) -> None:
        super().__init__(_QUIET, "quiet_hours", _DEFER)
        self.case = case
        self.hours = hours
        self.zone = zone

    def refuses(self, now_us: int) -> bool:
        return is_quiet(self._periods(now_us), self.zone, self.case.start_us(now_us))

    def earliest_us(self, clock_us: int, until_us: int) -> int | None:
        turns = self.case.customer.turns_us(condition for each in self.hours for condition in each.when)
        while clock_us <= until_us:
            send_us = self.case.start_us(clock_us)
            opens_us = next_open_us(self._periods(clock_us), self.zone, send_us, max(until_us, send_us))
            if opens_us == send_us:
                return clock_us
            turn_us = next((each for each in turns if each > clock_us), None)
            if turn_us is None or (opens_us is not None and opens_us < turn_us):
                return opens_us
            clock_us = turn_us
        return None

    def _periods(self, clock_us: int) -> list[QuietPeriod]:
        meets = self.case.customer.meets
        return [each.period for each in self.hours if not each.when or meets(each.when, clock_us)]
