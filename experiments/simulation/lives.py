"""How simulated customers live, day by day: who they are, what they are sent, and what they do.

All numbers of a day are drawn for all customers, used or not: so a customer has the same luck under every limit.
Times are microseconds from the start, day 0 at 0. Within a day: sends from 8 to 20 h, sessions until 22:50, closing
of accounts and erasure after 23 h.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_WINDOW_DAYS = 7

_ASKS_BY_WEEKDAY = (1.1, 1.2, 1.1, 1.1, 1.0, 0.5, 0.6)
_SESSIONS_BY_WEEKDAY = (0.9, 0.9, 0.9, 1.0, 1.0, 1.2, 1.3)


class Kind(IntEnum):
    """Types of events, as their names in lower case say them in tables."""

    SENT = 0
    CLICKED = 1
    UNSUBSCRIBED = 2
    COMPLAINED = 3
    RESUBSCRIBED = 4
    SESSION = 5
    PURCHASE = 6
    ACCOUNT_CLOSED = 7
    ERASED = 8


@dataclass(frozen=True, slots=True)
class People:
    """Who they are before anything happens. `engagement` is standard normal, and in no table."""

    engagement: Floats
    ask_rate: Floats
    is_buyer: Flags
    is_scanned: Flags
    is_new: Flags
    zone: Ints


@dataclass(frozen=True, slots=True)
class Log:
    """All events, in no order: of which customer (by number), what, when, how much (nan: nothing), whether a machine's,
    and about the message of which day (-1: none; days count from the first simulated one). `entered_at` is one number
    a customer, -1 for those who never entered."""

    customer: Ints
    kind: Ints
    at: Ints
    value: Floats
    suspect: Flags
    message_day: Ints
    entered_at: Ints


def people(count: int, seed: int) -> People:
    random = np.random.default_rng([seed, 0])
    engagement = random.standard_normal(count)
    # Half of those who enter are hardly ever asked; who is engaged is in more target groups.
    is_targeted = random.random(count) < _logistic(-0.8 + 0.8 * engagement)
    often = _logistic(-1.1 + 0.7 * engagement + 0.4 * random.standard_normal(count))
    return People(
        engagement=engagement,
        ask_rate=np.where(is_targeted, often, 0.02),
        is_buyer=random.random(count) < _logistic(-2.6 + 0.7 * engagement),
        is_scanned=random.random(count) < 0.08,
        is_new=random.random(count) < _logistic(-1.5 - 0.5 * engagement),
        zone=random.integers(0, 3, count),
    )


def live(who: People, limits: Ints, limit_before: int, days: tuple[int, int], entry_days: int, seed: int) -> Log:
    """The events of the days `days[0]` to `days[1]` - 1, each customer under a limit of their own once they entered.

    Until then all are under `limit_before`, and nobody leaves: who enters has not left.
    """
    state = _State(len(limits))
    pages: list[_Page] = []
    for day in range(*days):
        luck = _Luck(np.random.default_rng([seed, 1, day - days[0]]), len(limits))
        pages += _day(who, state, luck, day, day - days[0], limits, limit_before, 0 <= day < entry_days)
    customer, kind, at, value, suspect, message = (np.concatenate(each) for each in zip(*pages, strict=True))
    return Log(customer, kind, at, value, suspect, message, state.entered_at)


class _State:
    """What changes from day to day. Guards nothing: one loop owns it."""

    def __init__(self, count: int) -> None:
        self.fatigue: Floats = np.zeros(count)
        self.sent: Flags = np.zeros((_WINDOW_DAYS, count), dtype=np.bool_)  # by day, modulo the window
        self.asleep: Flags = np.zeros(count, dtype=np.bool_)
        self.unsubscribed: Flags = np.zeros(count, dtype=np.bool_)
        self.gone: Flags = np.zeros(count, dtype=np.bool_)
        self.entered_at: Ints = np.full(count, -1, dtype=np.int64)


class _Luck:
    """The chances of one day, one of each kind a customer, drawn whether or not they are used."""

    def __init__(self, random: np.random.Generator, count: int) -> None:
        self.ask, self.session, self.purchase, self.leave = random.random((4, count))
        self.sleep, self.wake, self.close, self.erase, self.resubscribe = random.random((5, count))
        self.click, self.scan, self.send_time, self.session_time, self.delay = random.random((5, count))
        self.amount: Floats = random.standard_normal(count)


_Page: TypeAlias = tuple[Ints, Ints, Ints, Floats, Flags, Ints]


def _day(
    who: People, state: _State, luck: _Luck, day: int, number: int, limits: Ints, limit_before: int, may_enter: bool
) -> list[_Page]:
    midnight = day * DAY_US
    sent_at = midnight + 8 * _HOUR_US + (luck.send_time * 12 * _HOUR_US).astype(np.int64)
    asked = (luck.ask < who.ask_rate * _ASKS_BY_WEEKDAY[day % 7]) & ~state.gone & ~state.unsubscribed
    if may_enter:
        state.entered_at = np.where(asked & (state.entered_at < 0), sent_at, state.entered_at)
    entered = state.entered_at >= 0
    asked &= entered if day >= 0 else True
    state.sent[number % _WINDOW_DAYS] = False
    sent = asked & (state.sent.sum(axis=0) < np.where(entered, limits, limit_before))
    state.sent[number % _WINDOW_DAYS] = sent
    state.fatigue = 0.9 * state.fatigue + sent
    return [
        *_contacts(who, state, luck, sent, entered, sent_at, midnight, number),
        *_visits(who, state, luck, sent, day, midnight),
        *_exits(who, state, luck, entered, midnight),
    ]


def _contacts(
    who: People, state: _State, luck: _Luck, sent: Flags, entered: Flags, sent_at: Ints, midnight: int, number: int
) -> list[_Page]:
    """What is sent, and what people and machines do with it."""
    dislike = 0.007 * np.exp(-0.9 * who.engagement + 0.15 * state.fatigue)
    unsubscribes = sent & entered & (luck.leave < dislike)
    complains = sent & entered & ~unsubscribes & (luck.leave < 1.08 * dislike)
    state.unsubscribed |= unsubscribes | complains
    clicks = sent & (luck.click < _logistic(-2.8 + 0.6 * who.engagement))
    delay = np.minimum(30_000_000 - 1.5 * _HOUR_US * np.log1p(-luck.delay), 2.9 * _HOUR_US).astype(np.int64)
    scanned = sent & who.is_scanned
    soon = sent_at + 5_000_000 + (luck.scan * 100_000_000).astype(np.int64)
    return [
        _page(Kind.SENT, sent, sent_at, number),
        _page(Kind.CLICKED, clicks, sent_at + delay, number),
        _page(Kind.UNSUBSCRIBED, unsubscribes, sent_at + delay, number),
        _page(Kind.COMPLAINED, complains, sent_at + delay, number),
        _page(Kind.CLICKED, scanned, soon, number, suspect=True),
        _page(Kind.UNSUBSCRIBED, scanned & (luck.scan < 0.15), soon, number, suspect=True),
    ]


def _visits(who: People, state: _State, luck: _Luck, sent: Flags, day: int, midnight: int) -> list[_Page]:
    """Falling asleep and returning, sessions and purchases. A contact wakes and sells, fatigue sends to sleep."""
    received = sent.astype(np.float64)
    sleeps = luck.sleep < _logistic(-4.3 - 0.5 * who.engagement + 0.1 * state.fatigue)
    wakes = luck.wake < _logistic(-3.2 + 0.4 * who.engagement + 0.9 * received)
    state.asleep = (state.asleep & ~wakes) | (sleeps & ~state.asleep)
    chance = _logistic(-1.2 + 0.8 * who.engagement) * _SESSIONS_BY_WEEKDAY[day % 7]
    visits = (luck.session < chance) & ~state.asleep & ~state.gone
    at = midnight + (luck.session_time * 22.5 * _HOUR_US).astype(np.int64)
    buys = visits & who.is_buyer & (luck.purchase < 0.06 + 0.05 * received)
    return [
        _page(Kind.SESSION, visits, at),
        _page(Kind.PURCHASE, buys, at + 600_000_000, value=_amounts(luck.amount)),
    ]


def _exits(who: People, state: _State, luck: _Luck, entered: Flags, midnight: int) -> list[_Page]:
    here = entered & ~state.gone
    closes = here & (luck.close < 0.0006 * np.exp(-0.5 * who.engagement + 0.1 * state.fatigue))
    erases = here & ~closes & (luck.erase < 0.0001)
    returns = here & ~closes & ~erases & state.unsubscribed & (luck.resubscribe < 0.002)
    state.gone |= closes | erases
    state.unsubscribed &= ~returns
    late = midnight + 23 * _HOUR_US + (luck.delay * 0.8 * _HOUR_US).astype(np.int64)
    return [
        _page(Kind.ACCOUNT_CLOSED, closes, late),
        _page(Kind.ERASED, erases, late),
        _page(Kind.RESUBSCRIBED, returns, late),
    ]


def _page(
    kind: Kind, who: Flags, at: Ints, message_day: int = -1, *, value: Floats | None = None, suspect: bool = False
) -> _Page:
    customer = np.flatnonzero(who)
    count = len(customer)
    return (
        customer,
        np.full(count, kind, dtype=np.int64),
        at[customer],
        np.full(count, np.nan) if value is None else value[customer],
        np.full(count, suspect),
        np.full(count, message_day, dtype=np.int64),
    )


def _amounts(luck: Floats) -> Floats:
    """In cents exactly: a median of 25, a mean of 57, and once in a thousand purchases more than 1,300."""
    return np.rint(100 * np.exp(3.2 + 1.3 * luck)) / 100


def _logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
