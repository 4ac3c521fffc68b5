"""What there is to say of one seed: where the service counts wrong, which intervals hold the truth, what was done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from engine.core.policy import DAY_US
from engine.demo.company import Trial
from engine.demo.fates import formula, outcome, plan_of, window_us
from experiments.design import Metric
from experiments.estimates import Estimate
from experiments.reporting.verdicts import Call
from experiments.simulation.lives import Flags, Floats
from tests.calibration.counting import is_torn
from tests.calibration.service.playing import Read, Seen

_CONTACT_DAYS = 28
_CONTACTS = f"contacts_{_CONTACT_DAYS}"
_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one interval lies. `at_any_time`: the one that may stop an experiment; `low` and `high` None: unknown."""

    experiment: str
    metric: str
    variant: str
    at_any_time: bool
    effect: float | None
    low: float | None
    high: float | None
    truth: float
    is_torn: bool


@dataclass(frozen=True, slots=True)
class Score:
    """`wrong`: sentences, none where all is counted right. `calls`: by experiment and treatment. `naive`: how contacts
    received go with leaving, as a correlation over customers under the control."""

    seed: int
    wrong: tuple[str, ...]
    spots: tuple[Spot, ...]
    calls: Mapping[tuple[str, str], Call]
    stopped: Mapping[str, int]
    naive: float


def score(seen: Seen) -> Score:
    calls = {(key, verdict.variant): verdict.call for key, (each, _) in seen.reads.items() for verdict in each.verdicts}
    wrong = tuple(miscounted(seen, seen.reads))
    return Score(seen.seed, wrong, tuple(_spots(seen)), calls, seen.played.stopped, _naive(seen))


def miscounted(seen: Seen, reads: Mapping[str, Read]) -> Iterator[str]:
    """Where these readouts count other customers or events than arithmetic does."""
    for trial in (each for each in seen.company.trials if each.key in reads):
        readout = reads[trial.key].readout
        entered, variants = seen.fate.entered_us[trial.key], formula(seen.company)[trial.key]
        for place, group in enumerate(readout.groups):
            own = int(((entered >= 0) & (variants == place)).sum())
            if group.units != own:
                yield f"{trial.key}, {group.variant}: {group.units} entered, {own} by arithmetic"
        for metric in plan_of(trial).metrics:
            yield from _miscounted(seen, trial, reads[trial.key], metric)
        yield from _contacts_miscounted(seen, trial, reads[trial.key])


def _miscounted(seen: Seen, trial: Trial, read: Read, metric: Metric) -> Iterator[str]:
    entered, variants = seen.fate.entered_us[trial.key], formula(seen.company)[trial.key]
    mature = _mature(seen, trial, read, window_us(metric))
    numbers = outcome(seen.company, seen.fate, metric, entered)
    for place, name in enumerate(trial.variants):
        arm, own = read.readout.metric(metric.name).arm(name), mature & (variants == place)
        units, total = int(own.sum()), float(numbers[own].sum())
        if arm.units != units or abs(arm.numerator - total) > _NEAR * max(1.0, total):
            said = f"{arm.numerator:g} of {arm.units} customers, {total:g} of {units} by arithmetic"
            yield f"{trial.key}, {metric.name}, {name}: {said}"


def _contacts_miscounted(seen: Seen, trial: Trial, read: Read) -> Iterator[str]:
    """What was sent in the window, give or take what was sent on its first and last day: the same noon as entry."""
    mature = _mature(seen, trial, read, _CONTACT_DAYS * DAY_US)
    first = seen.fate.entered_us[trial.key] // DAY_US
    variants = formula(seen.company)[trial.key]
    surely, perhaps = np.zeros(len(first)), np.zeros(len(first))
    for day, sent in enumerate(seen.fate.sent):
        count = np.sum(list(sent.values()), axis=0)
        surely += count * ((day > first) & (day < first + _CONTACT_DAYS))
        perhaps += count * ((day == first) | (day == first + _CONTACT_DAYS))
    for place, name in enumerate(trial.variants):
        arm, own = read.readout.metric(_CONTACTS).arm(name), mature & (variants == place)
        low, high = float(surely[own].sum()), float((surely + perhaps)[own].sum())
        if not low <= arm.numerator <= high:
            yield f"{trial.key}, {_CONTACTS}, {name}: {arm.numerator:g}, {low:g} to {high:g} by arithmetic"


def _mature(seen: Seen, trial: Trial, read: Read, window_us: int) -> Flags:
    entered = seen.fate.entered_us[trial.key]
    return (entered >= 0) & (entered + window_us <= read.until_us)


def _spots(seen: Seen) -> Iterator[Spot]:
    for trial in seen.company.trials:
        readout, control = seen.reads[trial.key].readout, trial.variants[0]
        for name, truth in seen.truths[trial.key].items():
            for each in readout.metric(name).comparisons:
                effect = truth.effect(each.variant, control) if truth.units else 0.0
                if trial.on_harm != "stop":  # an interval for the planned end says nothing of an end that it chose
                    yield _spot(trial.key, name, each.variant, each.estimate, effect, at_any_time=False)
                if each.bound is not None:
                    yield _spot(trial.key, name, each.variant, each.bound, effect, at_any_time=True)


def _spot(key: str, metric: str, variant: str, estimate: Estimate, truth: float, *, at_any_time: bool) -> Spot:
    found = (estimate.effect, estimate.low, estimate.high)
    return Spot(key, metric, variant, at_any_time, *found, truth, is_torn(estimate))


def _naive(seen: Seen) -> float:
    """What a dashboard shows: of those under the control, did who got more pushes turn push off more often?"""
    trial = next(each for each in seen.company.trials if each.limits)
    pushes = [each.name for each in seen.company.campaigns if each.channel == trial.channel and each.sells]
    first = seen.fate.entered_us[trial.key] // DAY_US
    mature = _mature(seen, trial, seen.reads[trial.key], _CONTACT_DAYS * DAY_US)
    chosen = mature & (formula(seen.company)[trial.key] == 0)
    received, left = np.zeros(len(first)), np.zeros(len(first))
    for day, (sent, pages) in enumerate(zip(seen.played.sent, seen.played.days, strict=True)):
        inside = (first >= 0) & (day >= first) & (day < first + _CONTACT_DAYS)
        received += inside * np.sum([sent[each] for each in pushes], axis=0)
        for page in pages:
            if page.type == "push_disabled":
                left[page.customer] = np.maximum(left[page.customer], inside[page.customer])
    return _correlation(received[chosen], left[chosen])


def _correlation(one: Floats, other: Floats) -> float:
    if len(one) < 2 or not one.std() or not other.std():
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
