"""What becomes of a company's customers by arithmetic alone, without Takt: the truth that readouts are held against.

A second, small account of what the policy lets through: so many selling messages in 7 days, none to whom has left. It
holds for companies without service cases, for each customer exactly: the same people with the same luck may so be lived
once under each variant, which no experiment can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

import numpy as np

from engine.core.policy import DAY_US
from engine.demo.company import SEND_US, TELL_US, Campaign, Company, Trial
from engine.demo.crowd import Crowd, Page, touches
from engine.operations.plan_file import load_plan
from experiments.assignment import Allocation
from experiments.design import Experiment, Mean, Metric, Outcome, Rate, Reachable
from experiments.simulation.lives import Flags, Floats, Ints

_WEEK: Final = 7
_LOSSES: Final = {
    "email": ("unsubscribed", "complained", "account_closed"),
    "push": ("push_disabled", "account_closed"),
}
_LIFTS: Final = {"email": ("resubscribed",), "push": ("push_enabled",)}


@dataclass(frozen=True, slots=True)
class Fate:
    """`days`: what happened on each. `sent`: by day and campaign, to whom. `entered_us`: by experiment, when each
    customer entered its analysis, counted from the first day (-1: never)."""

    days: list[list[Page]]
    sent: list[Mapping[str, Flags]]
    entered_us: Mapping[str, Ints]


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one metric: the means by variant, had all the `units` who enter and are mature been in it."""

    units: int
    means: Mapping[str, float]

    def effect(self, variant: str, control: str) -> float:
        return self.means[variant] - self.means[control]


def plan_of(trial: Trial) -> Experiment:
    """The trial's plan, on dates that matter to nobody."""
    return _read(trial.text(date(2026, 1, 1)), trial.key)


@cache
def _read(text: str, key: str) -> Experiment:
    return load_plan(text, key).experiment


def formula(company: Company) -> dict[str, Ints]:
    """By experiment, the place of the variant that each customer has by the formula, whether they meet it or not."""
    found: dict[str, Ints] = {}
    for trial in company.trials:
        assignments = Allocation(plan_of(trial)).assign_many(company.ids)
        found[trial.key] = np.array([trial.variants.index(str(each)) for each in assignments.variants], dtype=np.int64)
    return found


def fate(company: Company, seed: int, variants: Mapping[str, Ints], stopped: Mapping[str, int]) -> Fate:
    """`variants`: by experiment, each customer's. `stopped`: the days on which experiments were ended early."""
    crowd = Crowd(company, seed)
    gate = _Gate(company, variants)
    found = Fate([], [], {each.key: np.full(company.customers, -1, dtype=np.int64) for each in company.trials})
    for day in range(company.days):
        running = [each for each in company.trials if is_running(each, day, stopped)]
        listed = crowd.listed(day)
        sent: dict[str, Flags] = {}
        gate.begin(day)
        for campaign in company.campaigns:
            may = listed[campaign.name] & ~crowd.off[campaign.channel] if campaign.asks else listed[campaign.name]
            sent[campaign.name] = gate.send(campaign, may, running, found.entered_us, day)
        shown = {
            each.key: np.where(found.entered_us[each.key] >= 0, variants[each.key], -1)
            for each in running
            if each.campaign is not None
        }
        pages = crowd.live(day, sent, touches(company, shown))
        _visit(running, pages, found.entered_us, day)
        found.days.append(pages)
        found.sent.append(sent)
    return found


def is_running(trial: Trial, day: int, stopped: Mapping[str, int]) -> bool:
    return trial.start_day <= day < stopped.get(trial.key, 2**30)


def truth(company: Company, seed: int, key: str, stopped: Mapping[str, int], until_us: int) -> dict[str, Truth]:
    """By metric, for the rates, means and reachable shares of one experiment's plan, watched until an instant that
    counts from the first day.

    The others assign and stop as they did; `stopped` is what a play returned.
    """
    trial = next(each for each in company.trials if each.key == key)
    lived: dict[str, Fate] = {}
    for place, name in enumerate(trial.variants):
        all_in_one = {**formula(company), key: np.full(company.customers, place, dtype=np.int64)}
        lived[name] = fate(company, seed, all_in_one, stopped)
    found: dict[str, Truth] = {}
    for metric in plan_of(trial).metrics:
        entered = lived[trial.variants[0]].entered_us[key]  # the same under each: until then they share a history
        mature = (entered >= 0) & (entered + window_us(metric) <= until_us)
        means = {name: float(outcome(company, each, metric, entered)[mature].mean()) for name, each in lived.items()}
        found[metric.name] = Truth(int(mature.sum()), means)
    return found


def outcome(company: Company, of: Fate, metric: Metric, entered: Ints) -> Floats:
    """One number a customer, by plain sums over the windows since entry; it shares no code with the analysis."""
    match metric:
        case Rate(outcome=counted):
            return np.minimum(_count(company, of, counted, entered), 1.0)
        case Mean(outcome=counted):
            return _count(company, of, counted, entered)
        case Reachable(channel=channel, day=day) if channel is not None:
            return _reachable(company, of, channel, entered + (day + 1) * DAY_US)
        case _:
            raise ValueError(metric)


def window_us(metric: Metric) -> int:
    """For how long a metric watches a customer."""
    match metric:
        case Rate(outcome=counted) | Mean(outcome=counted) if counted.within_days is not None:
            return counted.within_days * DAY_US
        case Reachable(channel=channel, day=day) if channel is not None:
            return (day + 1) * DAY_US
        case _:
            raise ValueError(metric)


def _count(company: Company, of: Fate, counted: Outcome, entered: Ints) -> Floats:
    total = np.zeros(company.customers)
    within_us = (counted.within_days or 0) * DAY_US
    for day, pages in enumerate(of.days):
        for page in pages:
            if page.type != counted.event or page.is_suspect or counted.channel not in (None, page.channel):
                continue
            since = day * DAY_US + page.at - entered[page.customer]
            inside = (entered[page.customer] >= 0) & (since >= 0) & (since < within_us)
            amount = np.ones(len(page.customer)) if counted.value is None or page.value is None else page.value
            np.add.at(total, page.customer[inside], amount[inside])
    return total


def _reachable(company: Company, of: Fate, channel: str, until: Ints) -> Floats:
    on = np.ones(company.customers)
    for day, pages in enumerate(of.days):
        told = [each for each in pages if each.type in (*_LOSSES[channel], *_LIFTS[channel]) and not each.is_suspect]
        # of one day, whoever returns has left before
        for page in sorted(told, key=lambda each: each.type in _LIFTS[channel]):
            if page.channel not in (None, channel):
                continue
            inside = day * DAY_US + page.at < until[page.customer]
            on[page.customer[inside]] = 0.0 if page.type in _LOSSES[channel] else 1.0
    return on


class _Gate:
    """What the policy lets through; guards who was sent what in the last 7 days."""

    def __init__(self, company: Company, variants: Mapping[str, Ints]) -> None:
        self._company = company
        self._variants = variants
        self._sent = {each: np.zeros((_WEEK, company.customers), dtype=np.int64) for each in company.budgets}
        self._slot = 0

    def begin(self, day: int) -> None:
        self._slot = day % _WEEK
        for counts in self._sent.values():
            counts[self._slot] = 0

    def send(
        self, campaign: Campaign, may: Flags, running: list[Trial], entered_us: Mapping[str, Ints], day: int
    ) -> Flags:
        """To whom of these the message goes, with its consequences for budgets and analyses."""
        limit = self._company.budgets.get(campaign.channel)
        sent = may
        if limit is not None and campaign.sells:
            used = self._sent[campaign.channel].sum(axis=0)
            limits = np.full(len(used), limit)
            for trial in running:
                if trial.limits and trial.channel == campaign.channel and campaign.asks:
                    entered = entered_us[trial.key]
                    new = may & (entered < 0) & (used >= min(trial.limits))
                    entered[new] = day * DAY_US + SEND_US
                    limits = np.where(entered >= 0, np.array(trial.limits)[self._variants[trial.key]], limits)
            sent = may & (used < limits) if campaign.asks else may
            self._sent[campaign.channel][self._slot] += sent
        for trial in running:
            if trial.campaign == campaign.name:
                entered = entered_us[trial.key]
                entered[sent & (entered < 0)] = day * DAY_US + SEND_US
        return sent


def _visit(running: list[Trial], pages: list[Page], entered_us: Mapping[str, Ints], day: int) -> None:
    """Who comes to the shop meets what is tried there."""
    for trial in running:
        if trial.campaign is None and not trial.limits:
            entered = entered_us[trial.key]
            for page in pages:
                if page.type == "session":
                    new = page.customer[entered[page.customer] < 0]
                    entered[new] = day * DAY_US + TELL_US
