"""What was asked in a stretch of time and what came of it, as values: by day, by rule, and by who asked."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.core.policy import DAY_US
from engine.core.verdict import Code
from engine.store.hourly import Outcome
from engine.store.hourly_reading import Added, ByDay, ByName, ByParty, ByRule, Crowding, Stretch
from engine.store.levels import Levels

_ASKED: Final = (Outcome.ALLOWED, Outcome.WOULD_DEFER, Outcome.WOULD_DENY)
_AT_FIRST: Final = {Outcome.DEFERRED_AT_FIRST: Outcome.DEFERRED, Outcome.DENIED_AT_FIRST: Outcome.DENIED}


class Tally(NamedTuple):
    """Messages by what came of them, each once a day; `asks` are attempts. `would` of the allowed were so because the
    policy only observed; `at_last` of them were refused before, on the same day, and are none of the refused.
    `unasked` and `recorded` were sent past Takt, and are none of the asked."""

    allowed: int = 0
    deferred: int = 0
    denied: int = 0
    would: int = 0
    unasked: int = 0
    recorded: int = 0
    asks: int = 0
    at_last: int = 0

    @property
    def refused(self) -> int:
        return self.deferred + self.denied

    @property
    def asked(self) -> int:
        return self.allowed + self.refused

    @property
    def past(self) -> int:
        return self.unasked + self.recorded

    def plus(self, other: "Tally") -> "Tally":
        return Tally(*(one + two for one, two in zip(self, other, strict=True)))

    def and_(self, outcome: Outcome, asks: int, messages: int) -> "Tally":
        """With so many more."""
        match outcome:
            case Outcome.ALLOWED:
                return self._replace(allowed=self.allowed + messages, asks=self.asks + asks)
            case Outcome.WOULD_DEFER | Outcome.WOULD_DENY:
                found = self._replace(allowed=self.allowed + messages, asks=self.asks + asks)
                return found._replace(would=self.would + messages)
            case Outcome.DEFERRED:
                return self._replace(deferred=self.deferred + messages, asks=self.asks + asks)
            case Outcome.DENIED:
                return self._replace(denied=self.denied + messages, asks=self.asks + asks)
            case Outcome.UNASKED:
                return self._replace(unasked=self.unasked + messages)
            case Outcome.RECORDED:
                return self._replace(recorded=self.recorded + messages)
            case Outcome.DEFERRED_AT_FIRST:
                return self._replace(deferred=self.deferred - messages, at_last=self.at_last + messages)
            case Outcome.DENIED_AT_FIRST:
                return self._replace(denied=self.denied - messages, at_last=self.at_last + messages)
            case Outcome.SHADOW:
                return self


class Ruled(NamedTuple):
    """Messages that a rule was the first reason to refuse, or would have been."""

    code: Code | None
    rule: str | None
    deferred: int
    denied: int

    @property
    def messages(self) -> int:
        return self.deferred + self.denied


class Party(NamedTuple):
    """A team, or a sender who names no team: what it asked for and sent past Takt, and how much of it was exempt."""

    name: str | None
    tally: Tally
    exempt: int


class Named(NamedTuple):
    """A channel or a topic."""

    name: str | None
    tally: Tally


@dataclass(frozen=True, slots=True)
class Volumes:
    """A stretch of time. `until_us`: how far is counted, None where nothing ever was; `is_late`: that is longer ago
    than it should be. `days` are all of the stretch, the oldest first. `crowding_since_us` and `crowding_us`: from when
    on, and how far, refusals by other teams are looked for."""

    stretch: Stretch
    days_shown: int
    now_us: int
    until_us: int | None
    is_late: bool
    has_leader: bool
    total: Tally
    days: list[tuple[int, Tally]]
    rules: list[Ruled]
    would: list[Ruled]
    shadows: list[Ruled]
    channels: list[Named]
    topics: list[Named]
    parties: list[Party]
    crowding: list[Crowding]
    crowding_since_us: int | None
    crowding_us: int | None
    levels: list[Levels]
    levels_us: int | None
    topic_names: list[str]
    team_names: list[str]


def tally(counts: Iterable[ByName | ByParty | ByDay]) -> Tally:
    found = Tally()
    for each in counts:
        found = found.and_(each.outcome, each.asks, each.messages)
    return found


def by_day(found: Added, stretch: Stretch) -> list[tuple[int, Tally]]:
    """Every day of a stretch, also those in which nothing was asked."""
    days: defaultdict[int, Tally] = defaultdict(Tally)
    for each in found.days:
        days[each.day] = days[each.day].and_(each.outcome, each.asks, each.messages)
    return [(day, days[day]) for day in range(stretch.from_us // DAY_US, stretch.to_us // DAY_US)]


def ruled(counts: Iterable[ByRule], *outcomes: Outcome) -> list[Ruled]:
    """The rules of these outcomes, the first of which defers; whoever refused the most comes first, and who refused
    nothing but what was allowed later that day is left out."""
    found: dict[tuple[Code | None, str | None], Ruled] = {}
    for each in counts:
        outcome = _AT_FIRST.get(each.outcome, each.outcome)
        if outcome in outcomes:
            key = each.code, each.rule
            was = found.get(key, Ruled(*key, 0, 0))
            messages = each.messages if outcome is each.outcome else -each.messages
            is_first = outcome is outcomes[0]
            found[key] = was._replace(
                deferred=was.deferred + messages * is_first, denied=was.denied + messages * (not is_first)
            )
    left = (each for each in found.values() if each.messages)
    return sorted(left, key=lambda each: (-each.messages, each.rule or ""))


def named(counts: Iterable[ByName]) -> list[Named]:
    found: defaultdict[str | None, Tally] = defaultdict(Tally)
    for each in counts:
        found[each.name] = found[each.name].and_(each.outcome, each.asks, each.messages)
    named = [Named(name, told) for name, told in found.items()]
    return sorted(named, key=lambda each: (-each.tally.asked - each.tally.past, each.name or ""))


def parties(counts: Iterable[ByParty]) -> list[Party]:
    found: dict[str | None, Party] = {}
    for each in counts:
        was = found.get(each.name, Party(each.name, Tally(), 0))
        is_used = each.is_exempt and each.outcome in _ASKED
        found[each.name] = Party(
            each.name,
            was.tally.and_(each.outcome, each.asks, each.messages),
            was.exempt + each.messages * is_used,
        )
    return sorted(found.values(), key=lambda each: (-each.tally.asked - each.tally.past, each.name or ""))
