"""Three small experiments whose customers are counted out so that each wrong test and each wrong sum shows.

They are put where decisions and events put theirs, and read as any experiment is. What is right of them follows from
the counts below by a division.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from engine.core.errors import TaktError
from engine.core.events import Event
from engine.core.policy import DAY_US
from engine.core.presets import PRESETS
from engine.operations import experiments, policies
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.settings import Settings
from engine.store import demo as store
from engine.store import experiments as records
from engine.store.database import clock_us
from engine.store.exchange import exchange
from engine.store.exposures import Exposure, writing
from experiments.readout import Readout
from tests.calibration.counting import is_torn

_BY: Final = experiments.By("test")
_PLAN: Final = """\
key: {key}
hypothesis: None, customers are counted out.
variants:
  - {{name: one, control: true, weight: {one}}}
  - {{name: five, weight: {five}}}
start: 2026-01-01
end: 2026-02-20
horizon_days: 28
planned_units: 500
inference: {inference}
metrics:
  - {{name: visit, kind: rate, event: session, within_days: 14, role: {role}, direction: increase}}
"""
_MORE: Final = """\
  - {name: answered, kind: rate, event: survey, within_days: 28, role: primary, direction: increase}
  - {name: spend, kind: mean, event: purchase, value: value, within_days: 28, role: secondary, direction: increase}
  - {name: left, kind: rate, event: account_closed, within_days: 28, role: guardrail, direction: decrease, margin: 0.9}
  - {name: until_download, kind: survival, event: download, competing: [account_closed], horizon: 28, role: primary,
     direction: increase}
"""


class Arm(NamedTuple):
    """So many customers of one variant and phase; how many of them did what, the first of them first, but for those who
    close their account: the last, on day 5. Downloads are of day 10. `spend`: what they paid, in turn."""

    variant: int
    phase: int
    customers: int
    visits: int
    answers: int = 0
    downloads: int = 0
    closed: int = 0
    spend: tuple[float, ...] = ()


class Designed(NamedTuple):
    """`effects`: what is true of `five` instead of `one`, by metric."""

    plan: str
    arms: tuple[Arm, ...]
    effects: Mapping[str, float]
    second_phase: Mapping[str, float] | None = None


def _plan(key: str, one: int, five: int, inference: str, role: str, more: str = "") -> str:
    return _PLAN.format(key=key, one=one, five=five, inference=inference, role=role) + more


DESIGNED: Final[Mapping[str, Designed]] = {
    # Miettinen and Nurminen find the visits (p = 0.04), Fisher does not (0.06). One primary alone would find the
    # answers (0.03), two do not. Few customers whose spending varies much: Student finds what Welch does not. As many
    # download in either variant, but half of `five` have left before they could.
    "fixed": Designed(
        _plan("fixed", 4, 1, "fixed", "secondary", _MORE),
        (
            Arm(0, 0, 400, visits=100, answers=40, downloads=120, closed=20, spend=(9.0, 11.0)),
            Arm(1, 0, 100, visits=35, answers=18, downloads=30, closed=50, spend=(0.0, 24.0)),
        ),
        {"visit": 0.1, "answered": 0.08, "spend": 2.0, "left": 0.45, "until_download": 0.0},
    ),
    # Found by who looks once (0.01), and not by who may look at any time.
    "anytime": Designed(
        _plan("anytime", 4, 1, "anytime", "primary"),
        (Arm(0, 0, 400, visits=40), Arm(1, 0, 100, visits=20)),
        {"visit": 0.1},
    ),
    # No effect in either phase; the second, in which more visit, is one of `five` above all.
    "phases": Designed(
        _plan("phases", 1, 1, "fixed", "primary"),
        (Arm(0, 0, 100, visits=10), Arm(1, 0, 100, visits=10), Arm(0, 1, 60, visits=24), Arm(1, 1, 240, visits=96)),
        {"visit": 0.0},
        {"one": 1, "five": 4},
    ),
}


async def put(url: str) -> None:
    """All three into this empty database, and its clock to when they are over."""
    decider = Decider(url, Settings(lanes=1))
    await decider.open()
    try:
        await policies.activate(decider.database, PRESETS["considerate"], author="test")
        for key, each in DESIGNED.items():
            await _enter(decider, key, each)
        async with decider.database.connection() as connection:
            over_us = await clock_us(connection) + 35 * DAY_US
            await store.set_clock(connection, over_us)
        for key, each in DESIGNED.items():
            await _tell(decider, key, each, over_us - 34 * DAY_US)
    finally:
        await decider.close()


async def _enter(decider: Decider, key: str, designed: Designed) -> None:
    database = decider.database
    await experiments.create(database, designed.plan, _BY)
    await experiments.start(database, key, _BY)
    if designed.second_phase is not None:
        async with database.connection() as connection:
            await store.set_clock(connection, await clock_us(connection) + 2 * DAY_US)
        await experiments.begin_phase(database, key, _BY, weights=designed.second_phase)
    async with database.transaction() as connection:
        number = (await records.experiment(connection, key)).number
        now_us = await clock_us(connection)
        entered = [
            Exposure(who, number, arm.variant, now_us, now_us, phase=arm.phase)
            for arm in designed.arms
            for who in _names(key, arm)
        ]
        await exchange(connection, *writing(entered))


async def _tell(decider: Decider, key: str, designed: Designed, from_us: int) -> None:
    told = [event for arm in designed.arms for event in _events(key, arm, from_us)]
    for each in await Intake(decider).take(told):
        if isinstance(each, TaktError):
            raise each


def _names(key: str, arm: Arm) -> list[str]:
    return [f"{key}-{arm.variant}-{arm.phase}-{place}" for place in range(arm.customers)]


def _events(key: str, arm: Arm, from_us: int) -> Iterator[Event]:
    names = _names(key, arm)
    did: Sequence[tuple[str, int, Sequence[str]]] = (
        ("session", 0, names[: arm.visits]),
        ("survey", 1, names[: arm.answers]),
        ("account_closed", 5, names[len(names) - arm.closed :]),
        ("download", 10, names[: arm.downloads]),
    )
    for kind, day, customers in did:
        for who in customers:
            yield Event(who, "shop", f"{kind}-{who}", kind, from_us + day * DAY_US)
    for place, who in enumerate(names if arm.spend else ()):
        value = arm.spend[place % len(arm.spend)]
        if value:
            event = Event(who, "shop", f"purchase-{who}", "purchase", from_us + 2 * DAY_US)
            yield event._replace(value=value)


def faults(key: str, readout: Readout) -> Iterator[str]:
    """What is not so in this readout: effects, by division, and that a metric's one p-value is its interval's."""
    for name, effect in DESIGNED[key].effects.items():
        found = readout.metric(name).comparison("five").estimate
        if found.effect is None or abs(found.effect - effect) > 1e-9:
            yield f"{key}, {name}: an effect of {found.effect}, not {effect:g}"
        if is_torn(found):
            yield f"{key}, {name}: p = {found.p_value:.3g} beside an interval from {found.low:g} to {found.high:g}"
