"""The customers of a simulated company, day by day: the people of `experiments.simulate`, in more than one channel.

Engaged customers are on more lists and leave less, fatigue builds up and fades, weeks have a shape, people fall asleep
and return, close their accounts, turn push off and on again; link scanners click and unsubscribe; few buy, and some of
them a lot. Nothing is fitted to anybody's data. All numbers of a day are drawn for all customers, used or not: so a
customer has the same luck whatever is sent to them.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from engine.core.events import EventType
from engine.core.policy import Channel
from engine.demo.company import HOUR_US, SEND_US, Campaign, Company
from experiments.simulation.lives import Flags, Floats, Ints, people

CHANNELS: Final = (Channel.EMAIL.value, Channel.PUSH.value)
_DISLIKE: Final = {
    "email": 0.006,
    "push": 0.012,
}  # the chance that one message makes somebody leave, other things equal
_LEAVING: Final = {"email": EventType.UNSUBSCRIBED, "push": EventType.PUSH_DISABLED}
_RETURNING: Final = {"email": EventType.RESUBSCRIBED, "push": EventType.PUSH_ENABLED}
_LISTS_BY_WEEKDAY: Final = (1.1, 1.2, 1.1, 1.1, 1.0, 0.5, 0.6)
_SESSIONS_BY_WEEKDAY: Final = (0.9, 0.9, 0.9, 1.0, 1.0, 1.2, 1.3)
_CASE_DAYS: Final = 4


class Touch(NamedTuple):
    """What a campaign's variants do, a number a customer: see `Trial`."""

    dislike: Floats
    appeal: Floats


class Page(NamedTuple):
    """Events of one type on one day: of which customers (by number), when (microseconds of the day).

    `is_suspect`: a machine's, which no sender says. `is_late`: it may reach Takt late, because nothing depends on it.
    """

    type: str
    customer: Ints
    at: Ints
    channel: str | None = None
    campaign: str | None = None
    value: Floats | None = None
    is_suspect: bool = False
    is_late: bool = True


class Crowd:
    """Guards who has left and who is tired of what. Days are lived once each, in order: `listed`, then `live`."""

    def __init__(self, company: Company, seed: int) -> None:
        self.company = company
        self.who = people(company.customers, seed)
        self._seed = seed
        count = company.customers
        self.off: dict[str, Flags] = {each: np.zeros(count, dtype=np.bool_) for each in CHANNELS}
        self.gone: Flags = np.zeros(count, dtype=np.bool_)
        self._complained: Flags = np.zeros(count, dtype=np.bool_)
        self._asleep: Flags = np.zeros(count, dtype=np.bool_)
        self._bought: Flags = np.zeros(count, dtype=np.bool_)
        self._fatigue: dict[str, Floats] = {each: np.zeros(count) for each in CHANNELS}
        self._case_age: Ints = np.full(count, -1, dtype=np.int64)

    def listed(self, day: int) -> dict[str, Flags]:
        """Who is on which campaign's list today. Senders do not know who has unsubscribed, but who has no account."""
        found: dict[str, Flags] = {}
        for place, campaign in enumerate(self.company.campaigns):
            chance = np.random.default_rng([self._seed, 11, day, place]).random(self.company.customers)
            rate = (campaign.share * self.who.ask_rate + campaign.flat) * _LISTS_BY_WEEKDAY[day % 7]
            wanted = self._bought if campaign.after_purchase else chance < rate
            found[campaign.name] = wanted & ~self.gone & (day % 7 in campaign.weekdays)
        return found

    def live(self, day: int, sent: Mapping[str, Flags], touched: Mapping[str, Touch]) -> list[Page]:
        """What customers do on a day on which these messages reached them."""
        random = np.random.default_rng([self._seed, 12, day])
        pages: list[Page] = []
        for campaign in self.company.campaigns:
            luck = random.random((6, self.company.customers))
            pages += self._read(campaign, sent[campaign.name], luck, touched.get(campaign.name))
        self._tire(sent)
        received = np.zeros(self.company.customers)
        for campaign in self.company.campaigns:
            received += sent[campaign.name] if campaign.sells else 0
        pages += self._visit(day, np.minimum(received, 2.0), random)
        pages += self._exits(random)
        return [each for each in pages if len(each.customer)]

    def _read(self, campaign: Campaign, sent: Flags, luck: Floats, touch: Touch | None) -> list[Page]:
        """What people and machines do with a message."""
        leave, click, scan, delay, answer, score = luck
        channel, engagement = campaign.channel, self.who.engagement
        # People take their time: what comes within two minutes of a message is held for a machine's.
        after = np.minimum(150_000_000 - 1.5 * HOUR_US * np.log1p(-delay), 10.5 * HOUR_US)
        at = SEND_US + after.astype(np.int64)
        appeal = 0.0 if touch is None else touch.appeal
        pages = [
            self._page(EventType.CLICKED, sent & (click < _logistic(-2.8 + 0.6 * engagement + appeal)), at, campaign)
        ]
        if campaign.is_survey:
            answers = sent & (answer < 0.3)
            mood = 8 + 1.2 * engagement - 0.6 * self._fatigue[channel] + 6 * (score - 0.5)
            pages.append(self._page(EventType.SURVEY, answers, at, campaign, np.clip(np.rint(mood), 0, 10)))
        if not campaign.sells:
            return pages
        dislike = _DISLIKE[channel] * np.exp(-1.4 * engagement + 0.15 * self._fatigue[channel])
        dislike = dislike if touch is None else dislike * touch.dislike
        here = sent & ~self.off[channel]
        leaves = here & (leave < dislike)
        self.off[channel] |= leaves
        pages.append(self._page(_LEAVING[channel], leaves, at, campaign, is_late=False))
        if channel == "email":
            complains = here & ~leaves & (leave < 1.06 * dislike)
            self._complained |= complains
            self.off[channel] |= complains
            pages.append(self._page(EventType.COMPLAINED, complains, at, campaign, is_late=False))
            pages += self._scanned(campaign, here & self.who.is_scanned, scan)
        return pages

    def _scanned(self, campaign: Campaign, scanned: Flags, luck: Floats) -> list[Page]:
        """Machines follow every link at once; now and then that of the unsubscribe, which Takt honours all the same."""
        soon = SEND_US + 20_000_000 + (luck * 80_000_000).astype(np.int64)
        leaves = scanned & (luck < 0.01) & ~self.off[campaign.channel]
        self.off[campaign.channel] |= leaves
        return [
            self._page(EventType.CLICKED, scanned, soon, campaign, is_suspect=True),
            self._page(EventType.UNSUBSCRIBED, leaves, soon, campaign, is_suspect=True, is_late=False),
        ]

    def _tire(self, sent: Mapping[str, Flags]) -> None:
        for channel in CHANNELS:
            self._fatigue[channel] = 0.9 * self._fatigue[channel]
            for campaign in self.company.campaigns:
                if campaign.channel == channel and campaign.sells:
                    self._fatigue[channel] = self._fatigue[channel] + sent[campaign.name]

    def _visit(self, day: int, received: Floats, random: np.random.Generator) -> list[Page]:
        """Falling asleep and returning, sessions and purchases. A contact wakes and sells, fatigue sends to sleep."""
        sleep, wake, session, time, buy = random.random((5, self.company.customers))
        amount = random.standard_normal(self.company.customers)
        engagement, fatigue = self.who.engagement, sum(self._fatigue.values())
        sleeps = sleep < _logistic(-4.3 - 0.5 * engagement + 0.1 * fatigue)
        wakes = wake < _logistic(-3.2 + 0.4 * engagement + 0.9 * received)
        self._asleep = (self._asleep & ~wakes) | (sleeps & ~self._asleep)
        chance = _logistic(-1.6 + 0.8 * engagement) * _SESSIONS_BY_WEEKDAY[day % 7]
        visits = (session < chance) & ~self._asleep & ~self.gone
        at = (time * 22.5 * HOUR_US).astype(np.int64)
        self._bought = visits & self.who.is_buyer & (buy < 0.12 + 0.04 * received)
        price = np.rint(100 * np.exp(3.2 + 1.3 * amount)) / 100
        return [
            self._page(EventType.SESSION, visits, at, value=30 + np.rint(900 * time * buy)),
            self._page(EventType.PURCHASE, self._bought, at + 600_000_000, value=price),
        ]

    def _exits(self, random: np.random.Generator) -> list[Page]:
        """Accounts are closed, people who left a channel come back, cases are opened and closed."""
        close, back, case, delay = random.random((4, self.company.customers))
        late = 23 * HOUR_US + (delay * 0.4 * HOUR_US).astype(np.int64)
        fatigue = sum(self._fatigue.values())
        closes = ~self.gone & (close < 0.0006 * np.exp(-0.5 * self.who.engagement + 0.1 * fatigue))
        self.gone |= closes
        pages = [self._page(EventType.ACCOUNT_CLOSED, closes, late, is_late=False)]
        for channel in CHANNELS:
            returns = self.off[channel] & ~self.gone & (back < 0.002)
            returns &= ~self._complained if channel == "email" else True
            self.off[channel] &= ~returns
            pages.append(self._page(_RETURNING[channel], returns, late, channel=channel, is_late=False))
        self._case_age = np.where(self._case_age >= 0, self._case_age + 1, -1)
        closed = (self._case_age >= _CASE_DAYS) & ~self.gone
        opened = ~self.gone & (self._case_age < 0) & (case < self.company.cases)
        self._case_age = np.where(closed, -1, np.where(opened, 0, self._case_age))
        pages.append(self._page(EventType.CASE_OPENED, opened, late, is_late=False))
        pages.append(self._page(EventType.CASE_CLOSED, closed, late, is_late=False))
        return pages

    @staticmethod
    def _page(
        kind: str,
        who: Flags,
        at: Ints,
        campaign: Campaign | None = None,
        value: Floats | None = None,
        *,
        channel: str | None = None,
        is_suspect: bool = False,
        is_late: bool = True,
    ) -> Page:
        customer = np.flatnonzero(who)
        told = None if value is None else value[customer]
        where, name = (channel, None) if campaign is None else (campaign.channel, campaign.name)
        return Page(str(kind), customer, at[customer], where, name, told, is_suspect, is_late)


def touches(company: Company, variants: Mapping[str, Ints]) -> dict[str, Touch]:
    """By campaign, what its experiments do to each customer. `variants`: by experiment, each customer's (-1: none)."""
    found: dict[str, Touch] = {}
    for trial in company.trials:
        if trial.campaign is None or trial.key not in variants:
            continue
        of = variants[trial.key]
        dislike = _by_variant([trial.dislike.get(each, 1.0) for each in trial.variants], of, 1.0)
        appeal = _by_variant([trial.appeal.get(each, 0.0) for each in trial.variants], of, 0.0)
        found[trial.campaign] = Touch(dislike, appeal)
    return found


def _by_variant(numbers: Sequence[float], variants: Ints, otherwise: float) -> Floats:
    return np.append(np.array(numbers), otherwise)[variants]


def _logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
