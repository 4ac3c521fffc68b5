"""What tables should say, worked out unit by unit in plain Python: small, slow, and sharing no code with `experiments`.

Times are `datetime`s in UTC; rows are dictionaries under the default names of columns.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
Row = dict[str, Any]


def moments(numbers: Iterable[float]) -> tuple[int, float, float, float, int]:
    """Count, mean, central sums of squares and cubes, and how many are not 0."""
    found = list(numbers)
    mean = sum(found) / len(found) if found else 0.0
    return (
        len(found),
        mean,
        sum((each - mean) ** 2 for each in found),
        sum((each - mean) ** 3 for each in found),
        sum(each != 0 for each in found),
    )


class LongOracle:
    """Follows each unit through its events."""

    def __init__(self, exposures: list[Row], events: list[Row], as_of: datetime, start: date) -> None:
        self.as_of = as_of
        self.units: dict[Any, Row] = {}
        for row in sorted(exposures, key=lambda each: each["entered_at"]):
            self.units.setdefault(row["customer_id"], row)
        begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
        for row in self.units.values():
            row["entry_day"] = (row["entered_at"] - begin) // DAY
        self.events: dict[Any, list[Row]] = defaultdict(list)
        seen: set[Any] = set()
        for event in sorted(events, key=lambda each: each["at"]):
            name = event.get("event_id")
            if event["at"] < as_of and (name is None or name not in seen):
                seen.add(name)
                self.events[event["customer_id"]].append(event)

    def of(self, unit: Any, kind: str, channel: str | None = None, suspects: bool = False) -> list[Row]:
        return [
            each
            for each in self.events[unit]
            if each["type"] == kind
            and (channel is None or each.get("channel") == channel)
            and (suspects or not each.get("suspect"))
        ]

    def within(self, unit: Any, kind: str, low: int, high: int | None, **filters: Any) -> list[Row]:
        entered = self.units[unit]["entered_at"]
        return [
            each
            for each in self.of(unit, kind, **filters)
            if each["at"] >= entered + low * DAY and (high is None or each["at"] < entered + high * DAY)
        ]

    def is_watched(self, unit: Any, days: int) -> bool:
        return self.as_of - self.units[unit]["entered_at"] >= days * DAY

    def first(self, unit: Any, kinds: Iterable[str]) -> timedelta | None:
        entered = self.units[unit]["entered_at"]
        return min((each["at"] - entered for kind in kinds for each in self.within(unit, kind, 0, None)), default=None)

    def is_gone(self, unit: Any, losses: Iterable[str]) -> bool:
        """Whether, at entry, a loss was not followed by a return; losses after returns of the same instant."""
        gone = False
        for event in sorted(self.events[unit], key=lambda each: (each["at"], each["type"] in losses)):
            if event["at"] < self.units[unit]["entered_at"] and not event.get("suspect"):
                gone = event["type"] in losses or (gone and event["type"] not in {"resubscribed", "consented"})
        return gone

    def ended(self, unit: Any, event: str, competing: tuple[str, ...], horizon: int) -> tuple[int, str] | None:
        """The day and what it was: an event, a competing one, or the end of observation; None if never at risk."""
        if self.is_gone(unit, {event, *competing}):
            return None
        watched = min(floor((self.as_of - self.units[unit]["entered_at"]) / DAY), horizon)
        one, other = self.first(unit, [event]), self.first(unit, competing)
        if one is not None and (other is None or one <= other) and one // DAY < watched:
            return one // DAY, "events"
        if other is not None and (one is None or other < one) and other // DAY < watched:
            return other // DAY, "competing"
        return watched, "censored"

    def local_day(self, unit: Any, at: datetime) -> date:
        name = str(self.units[unit].get("time_zone"))
        return at.astimezone(UTC if name in {"None", "Mars"} else ZoneInfo(name)).date()

    def is_retained(self, unit: Any, kind: str, low: int, high: int) -> bool | None:
        """By the unit's calendar; None if it is not mature."""
        entered = self.local_day(unit, self.units[unit]["entered_at"])
        if (self.local_day(unit, self.as_of) - entered).days < high:
            return None
        days = [(self.local_day(unit, each["at"]) - entered).days for each in self.within(unit, kind, 0, None)]
        return any(low <= each < high for each in days)

    def is_reachable(self, unit: Any, channel: str, day: int) -> bool:
        """Walks through the history, losses after lifts of the same instant."""
        end = self.units[unit]["entered_at"] + (day + 1) * DAY
        consent, push = True, True
        lifts = {"resubscribed", "consented", "push_enabled"}
        history = sorted(self.events[unit], key=lambda each: (each["at"], each["type"] not in lifts))
        for event in history:
            if event["at"] >= end or event.get("suspect"):
                continue
            kind, in_scope = event["type"], event.get("channel") in {None, channel}
            is_hard = kind == "hard_bounced" or (kind == "bounced" and event.get("hard"))
            if (in_scope and (is_hard or kind in {"unsubscribed", "complained"})) or kind in {
                "account_closed",
                "erased",
            }:
                consent = False
            elif kind in {"resubscribed", "consented"} and in_scope:
                consent = True
            elif kind == "uninstalled" or (kind == "push_disabled" and channel == "push"):
                push = False
            elif kind == "push_enabled":
                push = True
        return consent and (push or channel not in {"push", "in_app"})
