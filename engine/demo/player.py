"""A simulated company plays its days through the operations of Takt, on the clock of a database made for that.

Nothing is written past the operations: customers are put, asks are decided in the lanes, events come in, experiments
are started and looked at as in any company. Two steps a day: messages at noon, and before midnight what happened. The
same company and seed play the same lives; whom Takt lets through decides how they go on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from engine.core.account import State
from engine.core.errors import TaktError
from engine.core.events import Event, EventType
from engine.core.policy import DAY_US
from engine.core.verdict import Ask, Verdict
from engine.demo.company import SEND_US, TELL_US, Campaign, Company, Trial
from engine.demo.crowd import Crowd, Page, touches
from engine.demo.fates import is_running
from engine.operations import experiments, policies, watch
from engine.operations.assign import AssignCommand, Assigned
from engine.operations.batch import Command
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.file import PutCustomer
from engine.operations.intake import Intake
from engine.operations.readout import refresh
from engine.operations.readouts import Readouts
from engine.operations.resolve import ConfirmCommand
from engine.store import demo as store
from engine.store import experiments as records
from engine.store.database import clock_us, ensure_weeks
from experiments.simulation.lives import Flags, Ints

_WEEK: Final = 7
_LATE_SHARE, _TWICE_SHARE = 0.03, 0.015
_LATE_DAYS: Final = 3
_MARGIN: Final = 0.35
# Where it is day when messages are sent.
_ZONES: Final[tuple[str, ...]] = ("Europe/Berlin", "Europe/Lisbon", "Asia/Kolkata")
_BATCH: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BY: Final = experiments.By("demo")


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it. `day_zero_us`: when the first day began. `days`: what happened on each; `sent`: by day and
    campaign, to whom. `variants`: by experiment that customers were told of, what each was (-1: nothing). `stopped`:
    the days on which experiments were ended for their harm."""

    day_zero_us: int
    days: list[list[Page]]
    sent: list[Mapping[str, Flags]]
    variants: Mapping[str, Ints]
    stopped: Mapping[str, int]


async def play(decider: Decider, company: Company, seed: int, on_day: Callable[[int], None] | None = None) -> Played:
    """All days of the company, ending yesterday; the database's clock is its server's again at the end.

    `on_day` is told how many days are over. The database must be empty, migrated, and of the kind `demo` or `test`.
    """
    player = _Player(decider, company, seed)
    await player.open()
    for day in range(company.days):
        await player.day(day)
        if on_day is not None:
            on_day(day + 1)
    await player.close()
    return player.played


class _Player:
    """One play. Guards the running days: who was given what, and which events are still on their way."""

    def __init__(self, decider: Decider, company: Company, seed: int) -> None:
        self._decider = decider
        self._intake = Intake(decider)
        self._company = company
        self._crowd = Crowd(company, seed)
        self._seed = seed
        self._ids = company.ids
        self._late: dict[int, list[Event]] = {}
        self._of_campaign = {each.name: each for each in company.campaigns}
        self._day_zero_us = 0
        self._variants = {each.key: np.full(company.customers, -1, dtype=np.int64) for each in company.trials}
        self._days: list[list[Page]] = []
        self._sent: list[Mapping[str, Flags]] = []
        self._stopped: dict[str, int] = {}

    @property
    def played(self) -> Played:
        return Played(self._day_zero_us, self._days, self._sent, self._variants, self._stopped)

    async def open(self) -> None:
        """Begin: the clock goes back, the weeks are made, the policy and the customers put."""
        async with self._decider.database.connection() as connection:
            await store.set_clock(connection, None)
            self._day_zero_us = (await clock_us(connection) // DAY_US - self._company.days) * DAY_US
        await self._turn_to(0, 0)
        async with self._decider.database.connection() as connection:
            await ensure_weeks(connection, ahead=self._company.days // _WEEK + 4)
        await policies.activate(self._decider.database, self._company.policy, author="demo")
        who = self._crowd.who
        puts: list[Command] = [
            PutCustomer(
                customer_id,
                time_zone=_ZONES[int(who.zone[number])],
                attributes={"lifecycle": "new" if who.is_new[number] else "established"},
            )
            for number, customer_id in enumerate(self._ids)
        ]
        await self._settle(puts)

    async def close(self) -> None:
        """The clock is the server's again; what is still on its way comes now; everything that ran is read."""
        async with self._decider.database.connection() as connection:
            await store.set_clock(connection, None)
        await self._tell([event for late in self._late.values() for event in late])
        for trial in self._company.trials:
            if await self._look(trial):
                self._stopped[trial.key] = self._company.days

    async def day(self, day: int) -> None:
        await self._turn_to(day, 5 * 60_000_000)
        await self._experiments(day)
        await self._turn_to(day, SEND_US)
        running = [each for each in self._company.trials if is_running(each, day, self._stopped)]
        sent = await self._send(day, running)
        self._sent.append(sent)
        shown = {each.key: self._variants[each.key] for each in running if each.campaign is not None}
        pages = self._crowd.live(day, sent, touches(self._company, shown))
        self._days.append(pages)
        await self._turn_to(day, TELL_US)
        await self._tell(self._events(day, pages))
        for trial in running:
            if trial.campaign is None and not trial.limits:
                for page in pages:
                    if page.type == EventType.SESSION:
                        await self._meet(trial, page.customer.tolist())

    async def _experiments(self, day: int) -> None:
        """Start what is due; look, once a week, at those that must stop when they harm, or that somebody watches."""
        database = self._decider.database
        for trial in self._company.trials:
            if trial.start_day == day:
                source = trial.text((_EPOCH + timedelta(microseconds=self._day_zero_us)).date())
                await experiments.create(database, source, _BY, on_harm=experiments.OnHarm(trial.on_harm))
                await experiments.start(database, trial.key, _BY)
            elif self._is_due(trial, day) and await self._look(trial):
                self._stopped[trial.key] = day

    def _is_due(self, trial: Trial, day: int) -> bool:
        since = day - trial.start_day
        is_looked_at = trial.on_harm == "stop" or trial.is_watched
        return is_looked_at and is_running(trial, day, self._stopped) and since % _WEEK == 0

    async def _look(self, trial: Trial) -> bool:
        """Compute a readout as of now, and act on it as the scheduler does; whether that ended the experiment."""
        database = self._decider.database
        async with database.connection() as connection:
            record = await records.experiment(connection, trial.key)
        # Here, and in no process of its own as a service has it: nobody asks meanwhile, and a process takes seconds.
        await asyncio.to_thread(refresh, database.url, record.number)
        await watch.act(database, await Readouts(database).newest(trial.key))
        async with database.connection() as connection:
            return (await records.experiment(connection, trial.key)).state != record.state

    async def _send(self, day: int, running: Sequence[Trial]) -> dict[str, Flags]:
        """Every campaign in turn asks for its list, and sends where it may."""
        listed = self._crowd.listed(day)
        return {
            campaign.name: await self._campaign(day, campaign, listed[campaign.name], running)
            for campaign in self._company.campaigns
        }

    async def _campaign(self, day: int, campaign: Campaign, listed: Flags, running: Sequence[Trial]) -> Flags:
        chosen: list[int] = np.flatnonzero(listed).tolist()
        ask = Ask(campaign.channel, campaign.topic, f"{campaign.name}-{day // _WEEK}", campaign.team)
        if campaign.checks:
            chosen = await self._allowed(chosen, None, campaign, ask._replace(reserves=False))
        if campaign.asks:
            chosen = await self._allowed(chosen, day, campaign, ask)
        for trial in running:
            if trial.campaign == campaign.name:
                await self._meet(trial, chosen)
        if campaign.asks and campaign.channel == "push":
            await self._settle([ConfirmCommand(self._ids[each], self._message(day, campaign, each)) for each in chosen])
        else:  # the provider tells; of what was sent past Takt nobody else does
            await self._tell([self._told_sent(day, campaign, each) for each in chosen])
        sent = np.zeros(len(listed), dtype=np.bool_)
        sent[chosen] = True
        return sent

    async def _allowed(self, chosen: list[int], day: int | None, campaign: Campaign, ask: Ask) -> list[int]:
        """For whom of these Takt says yes; asks of no day are checks, and bear no message id."""
        commands: list[Command] = [
            AskCommand(self._ids[each], None if day is None else self._message(day, campaign, each), ask, campaign.team)
            for each in chosen
        ]
        answers = await self._settle(commands)
        return [each for each, answer in zip(chosen, answers, strict=True) if _is_yes(answer, ask)]

    async def _meet(self, trial: Trial, customers: list[int]) -> None:
        """Tell of these customers, who were not told of yet, which variant they get."""
        variants = self._variants[trial.key]
        new = [each for each in customers if variants[each] < 0]
        answers = await self._settle([AssignCommand(self._ids[each], trial.key) for each in new])
        for number, answer in zip(new, answers, strict=True):
            if isinstance(answer, Assigned) and answer.variant is not None:
                variants[number] = trial.variants.index(answer.variant)

    def _events(self, day: int, pages: Sequence[Page]) -> list[Event]:
        """What Takt is told this day: what happened but is not late, and what was late before; some of it twice."""
        random = np.random.default_rng([self._seed, 13, day])
        told: list[Event] = []
        for page in pages:
            late = (random.random(len(page.customer)) < _LATE_SHARE) & page.is_late
            twice = random.random(len(page.customer)) < _TWICE_SHARE
            wait = random.integers(1, _LATE_DAYS + 1, len(page.customer))
            for place, event in enumerate(self._of_page(day, page)):
                due = told if not late[place] else self._late.setdefault(day + int(wait[place]), [])
                due.append(event)
                if twice[place]:
                    self._late.setdefault(day + int(wait[place]), []).append(event)
        return told + self._late.pop(day, [])

    def _of_page(self, day: int, page: Page) -> list[Event]:
        campaign = None if page.campaign is None else self._of_campaign[page.campaign]
        source = "shop" if page.channel is None else "app" if page.channel == "push" else "mailer"
        start_us = self._day_zero_us + day * DAY_US
        is_purchase = page.type == EventType.PURCHASE
        suffix = "-scan" if page.is_suspect else ""
        found: list[Event] = []
        for place, number in enumerate(page.customer):
            value = None if page.value is None else float(page.value[place])
            found.append(
                Event(
                    self._ids[number],
                    source,
                    f"{page.type}-{page.campaign or 'own'}-{day}{suffix}",
                    page.type,
                    start_us + int(page.at[place]),
                    page.channel,
                    None,
                    None,
                    None if campaign is None else self._message(day, campaign, int(number)),
                    value,
                    round(_MARGIN * value, 2) if value is not None and is_purchase else None,
                )
            )
        return found

    def _told_sent(self, day: int, campaign: Campaign, number: int) -> Event:
        at_us = self._day_zero_us + day * DAY_US + SEND_US
        message_id = self._message(day, campaign, number)
        topic, name = campaign.topic, f"{campaign.name}-{day // _WEEK}"
        source = "agency" if not campaign.asks else "mailer"
        return Event(
            self._ids[number], source, f"sent-{message_id}", "sent", at_us, campaign.channel, topic, name, message_id
        )

    def _message(self, day: int, campaign: Campaign, number: int) -> str:
        return f"{campaign.name}-{day}-{self._ids[number]}"

    async def _tell(self, events: Sequence[Event]) -> None:
        for first in range(0, len(events), _BATCH):
            for each in await self._intake.take(events[first : first + _BATCH]):
                if isinstance(each, TaktError):
                    raise each

    async def _settle(self, commands: Sequence[Command]) -> list[object]:
        answers = await self._decider.settle_all(commands)
        for each in answers:
            if isinstance(each, TaktError):
                raise each
        return answers

    async def _turn_to(self, day: int, of_day_us: int) -> None:
        async with self._decider.database.connection() as connection:
            await store.set_clock(connection, self._day_zero_us + day * DAY_US + of_day_us)


def _is_yes(answer: object, ask: Ask) -> bool:
    if not isinstance(answer, Answer):
        return False
    return answer.state is State.RESERVED if ask.reserves else answer.verdict is Verdict.ALLOW
