"""A budget made ready to be read: what every ask would otherwise work out anew from a `Budget`.

Nothing here is bound to a customer or an instant: a `Meter` binds one.
"""

from dataclasses import dataclass
from typing import Final

from engine.core.policy import Budget, CalendarWindow, Ceiling, Per, Rolling, Selector, WhenExceeded
from engine.core.verdict import Code, Verdict
from engine.core.windows import Calendar

LABEL_OF: Final = {Per.TOPIC: 1, Per.CAMPAIGN: 2, Per.TEAM: 3}  # where `Labels` has it


@dataclass(frozen=True, slots=True)
class Gauge:
    """`bit` marks the budget in the policy's list; 0 is for what the policy does not list (choices, ceilings).

    `length_us` is 0 unless the window rolls; with no `calendar` either, it is a lifetime. `per` is an index of
    `Labels`. `is_even`: every contact weighs 1; `is_plain`: each weighs what its ask said.
    """

    budget: Budget
    bit: int
    code: Code
    refusal: Verdict
    length_us: int
    calendar: Calendar | None
    per: int | None
    is_even: bool
    is_plain: bool

    def weigh(self, channel: str, weight: int) -> int:
        """What a contact weighs: its own weight times the channel's, or 1."""
        if self.is_plain:
            return weight
        return 1 if self.is_even else weight * self.budget.weights.get(channel, 1)

    @property
    def is_own(self) -> bool:
        """Whether it is the customer's own, which binds whatever the policy's mode."""
        return not self.bit and self.code is not Code.CEILING

    @property
    def is_lifetime(self) -> bool:
        return self.calendar is None and not self.length_us


def gauge(budget: Budget, bit: int = 0, code: Code | None = None, *, is_even: bool = False) -> Gauge:
    """The gauge of a budget, whose refusals bear `code`, or that of a limit or a gap, in which all weigh 1."""
    window, is_even = budget.window, is_even or budget.is_gap
    return Gauge(
        budget=budget,
        bit=bit,
        code=code or (Code.MIN_GAP if budget.is_gap else Code.LIMIT),
        refusal=Verdict.DENY if budget.when_exceeded is WhenExceeded.DENY else Verdict.DEFER,
        length_us=window.effective_us if isinstance(window, Rolling) else 0,
        calendar=window.calendar if isinstance(window, CalendarWindow) else None,
        per=LABEL_OF[budget.per] if budget.per else None,
        is_even=is_even,
        is_plain=not (budget.weights or is_even),
    )


def ceiling_gauge(topic: str, ceiling: Ceiling) -> Gauge:
    """The gauge of an exempt topic's ceiling."""
    selector = Selector(topics=frozenset({topic}))
    budget = Budget(f"ceiling:{topic}", ceiling.window, ceiling.limit, selector, when_exceeded=WhenExceeded.DENY)
    return gauge(budget, code=Code.CEILING)
