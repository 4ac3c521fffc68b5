"""What a simulated company is: its campaigns, its policy, and the experiments that it will run. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

EVERY_DAY: Final = (0, 1, 2, 3, 4, 5, 6)
HOUR_US: Final = 3_600_000_000
SEND_US: Final = 12 * HOUR_US  # of a day: when its messages are asked for and sent
TELL_US: Final = 23 * HOUR_US + HOUR_US // 2  # of a day: when Takt is told of what happened on it


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """The messages of one team in one channel about one topic, at most one a customer and day.

    A customer is on the list of a day with the chance `share` times their own rate plus `flat`; with `after_purchase`
    whoever bought the day before. `checks`: the sender filters its list by `check` before it reserves. `asks`: False
    for an agency that sends past Takt. `sells`: what customers tire of, and what budgets count.
    """

    name: str
    team: str
    channel: str
    topic: str
    share: float = 0.0
    flat: float = 0.0
    weekdays: tuple[int, ...] = EVERY_DAY
    checks: bool = False
    asks: bool = True
    sells: bool = True
    after_purchase: bool = False
    is_survey: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An experiment and what its variants do to those who get them.

    `plan` is YAML with {start} and {end} to be filled in; it runs for `days`. About a budget: `limits` by variant, the
    control's first, on `channel`. Else variants differ in `campaign`, where `dislike` multiplies the chance that a
    message makes somebody leave, and `appeal` adds to the log odds of a click; without a campaign customers meet it in
    the shop, and it does nothing. One that `is_watched` is read every week.
    """

    key: str
    variants: tuple[str, ...]
    plan: str
    start_day: int
    days: int
    on_harm: str = "alert"
    is_watched: bool = False
    limits: tuple[int, ...] = ()
    channel: str | None = None
    campaign: str | None = None
    dislike: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    appeal: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def text(self, day_zero: date) -> str:
        """The plan with its dates."""
        start = day_zero + timedelta(days=self.start_day)
        return self.plan.replace("{start}", str(start)).replace("{end}", str(start + timedelta(days=self.days)))


@dataclass(frozen=True, kw_only=True)
class Company:
    """`budgets`: how many selling messages the policy allows in 7 days, by channel. `cases`: the chance that a customer
    opens a service case on a day."""

    name: str
    customers: int
    days: int
    policy: str
    budgets: Mapping[str, int]
    campaigns: tuple[Campaign, ...]
    trials: tuple[Trial, ...]
    cases: float = 0.0

    @property
    def ids(self) -> list[str]:
        return [f"c{number:05d}" for number in range(self.customers)]
