"""The complaint breaker: when customers complain so often that contacts must stop, and when they may go on.

Pure. What was delivered and complained about, hour by hour, comes in; what should be stopped, and what is calm again,
comes out. A rate is judged by what it must be at least, over 7 days and 5,000 delivered messages. A day's own rate is
no rule, because one complaint about a small day looks like many: 300 mails a day of which 0.05 % are truly complained
about show 0.30 % or more on one day in seven.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, lgamma, log, log1p
from typing import Final, NamedTuple

from engine.core.policy import DAY_US, Selector
from engine.core.rules import Pause

WARN_AT: Final = 0.001
"""Mail providers ask senders to stay below (Google and Yahoo, sender guidelines of 2024)."""
STOP_AT: Final = 0.003
"""They ask senders never to reach it."""
ALPHA: Final = 0.05
DELIVERED_LEAST: Final = 5_000
HOUR_US: Final = 3_600_000_000
WINDOW_HOURS: Final = 7 * 24
CALM_HOURS: Final = 24
LOOKED_AT_HOURS: Final = WINDOW_HOURS + CALM_HOURS
BLIND: Final = frozenset({"gmail", "google", "googlemail", "google workspace"})
"""Providers that send no complaint to anybody: what they delivered would dilute the rate of the others."""
PREFIX: Final = "breaker."
"""With which the names of the breaker's own pauses begin."""


class Level(StrEnum):
    QUIET = "quiet"
    WARN = "warn"
    STOP = "stop"


class Scope(NamedTuple):
    """What is judged by itself: a channel, a topic in it, or what one provider delivers of it, by the complaints that
    came in as events, or as that provider published them."""

    channel: str
    topic: str | None = None
    provider: str | None = None
    is_published: bool = False

    @property
    def name(self) -> str:
        """What its pause is called."""
        parts = [self.channel]
        parts += ["topic", _slug(self.topic)] if self.topic is not None else []
        parts += ["provider", _slug(self.provider)] if self.provider is not None else []
        parts += ["published"] if self.is_published else []
        return PREFIX + ".".join(parts)

    def pause(self, now_us: int) -> Pause:
        """Stops the topic in the channel; for a provider all of the channel, because no ask names a provider."""
        topics = None if self.topic is None else frozenset({self.topic})
        return Pause(self.name, Selector(frozenset({self.channel}), topics, None, None), now_us, None, is_breaker=True)

    def __str__(self) -> str:
        if self.provider is not None:
            return f"{self.channel}, as {self.provider} {'published' if self.is_published else 'reports it'}"
        return self.channel + ("" if self.topic is None else f", topic {self.topic}")


class Count(NamedTuple):
    """Delivered messages, and how many of them were complained about."""

    delivered: int
    complaints: int


class Judged(NamedTuple):
    """A count over 7 days. `lower`: what the true rate is at least, 95 % confident; None below 5,000."""

    delivered: int
    complaints: int
    lower: float | None

    @property
    def rate(self) -> float | None:
        return self.complaints / self.delivered if self.delivered else None

    @property
    def level(self) -> Level:
        if self.lower is None or self.lower < WARN_AT:
            return Level.QUIET
        return Level.WARN if self.lower < STOP_AT else Level.STOP


@dataclass(frozen=True, slots=True)
class Stream:
    """What came of a scope. `hours[n]`: in the hour that ended n hours ago."""

    scope: Scope
    hours: Mapping[int, Count] = field(default_factory=dict[int, Count])

    def judged(self, hours_ago: int = 0, oldest: int = LOOKED_AT_HOURS) -> Judged:
        """The 7 days until some hours ago. Hours as long ago as `oldest` count no more: a person has looked since."""
        until = min(hours_ago + WINDOW_HOURS, oldest)
        counted = [count for age, count in self.hours.items() if hours_ago <= age < until]
        return judge(sum(each.complaints for each in counted), sum(each.delivered for each in counted))

    def is_calm(self) -> bool:
        """Whether nothing had to be stopped for a day: neither now nor at any whole hour before."""
        return all(self.judged(age).level is not Level.STOP for age in range(CALM_HOURS + 1))


class Ruling(NamedTuple):
    """What a look at everything says: pauses to begin and to end, and what comes near, each with its figures."""

    begin: Mapping[Scope, Judged]
    end: Mapping[str, Judged | None]
    warn: Mapping[Scope, Judged]


def rule(streams: Iterable[Stream], pauses: Iterable[Pause], lifted_us: Mapping[str, int], now_us: int) -> Ruling:
    """What to do now. `lifted_us`: when each pause of the breaker was last ended; what came before counts no more."""
    known = {each.scope.name: each for each in streams}
    set_ = {each.name: each for each in pauses if each.is_breaker}
    begin: dict[Scope, Judged] = {}
    warn: dict[Scope, Judged] = {}
    for name, stream in known.items():
        lifted = lifted_us.get(name)
        oldest = LOOKED_AT_HOURS if lifted is None else max(0, now_us - lifted) // HOUR_US
        found = stream.judged(oldest=oldest)
        if name in set_:
            continue
        if found.level is Level.STOP:
            begin[stream.scope] = found
        elif found.level is Level.WARN:
            warn[stream.scope] = found
    end: dict[str, Judged | None] = {}
    for name, pause in set_.items():
        stream = known.get(name)
        if now_us - pause.from_us >= CALM_HOURS * HOUR_US and (stream is None or stream.is_calm()):
            end[name] = None if stream is None else stream.judged()
    return Ruling(begin, end, warn)


def judge(complaints: int, delivered: int) -> Judged:
    """What complaints say of what was delivered; there may be more of them, of messages of before."""
    if delivered < DELIVERED_LEAST:
        return Judged(delivered, complaints, None)
    return Judged(delivered, complaints, lower_bound(min(complaints, delivered), delivered))


def lower_bound(successes: int, trials: int, alpha: float = ALPHA) -> float:
    """What a rate is at least: the exact one-sided bound of Clopper and Pearson (1934), not below the stated 1 - alpha.

    The largest rate at which so many successes, or more, would be no likelier than `alpha`.
    """
    if successes <= 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(60):
        middle = (low + high) / 2
        if _at_least(successes, trials, middle) > alpha:
            high = middle
        else:
            low = middle
    return low


def from_published(rates: Iterable[tuple[int, float, int | None]], now_us: int) -> dict[int, Count]:
    """Hours of what a provider published: (day, rate, delivered). A rate of nobody knows how many is no evidence."""
    hours: dict[int, Count] = {}
    for day, rate, delivered in rates:
        if delivered is None:
            continue
        age = max(0, now_us - (day + 1) * DAY_US) // HOUR_US
        before = hours.get(age, Count(0, 0))
        hours[age] = Count(before.delivered + delivered, before.complaints + round(rate * delivered))
    return hours


def provider_name(text: str) -> str:
    """One name for each provider, however it is written."""
    return " ".join(text.lower().split())


def _at_least(successes: int, trials: int, rate: float) -> float:
    """How likely so many successes are, or more. For rates below the observed one the terms only fall: O(sqrt(n))."""
    if rate <= 0:
        return 0.0
    choose = lgamma(trials + 1) - lgamma(successes + 1) - lgamma(trials - successes + 1)
    term = exp(choose + successes * log(rate) + (trials - successes) * log1p(-rate))
    odds, total, count = rate / (1 - rate), 0.0, successes
    while count <= trials and term > total * 1e-17:
        total += term
        term *= (trials - count) / (count + 1) * odds
        count += 1
    return total


def _slug(text: str) -> str:
    """A text as part of a pause's name; two texts never share one."""
    plain = re.sub(r"[^a-z0-9_-]", "-", text.lower())[:40]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
