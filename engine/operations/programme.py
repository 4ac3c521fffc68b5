"""All experiments side by side, each with what its newest readout says; and what came of all that ended, null and
harmful ones too, with what everything that was shipped did together.

Effects of single experiments are added up nowhere: what was shipped was chosen because it looked good, so a sum would
promise too much. A holdout is compared with all that came after it at once.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from engine.core.errors import InvalidPolicy, NotFound
from engine.core.policy import Change, Policy
from engine.core.policy_reader import read_policy
from engine.operations.experiments import State, Whole, day_of, whole
from engine.operations.plan_file import budgets_changed, patched, read_plan
from engine.operations.readouts import Kept, Readouts
from engine.operations.ship import planned_us
from engine.store import policies, snapshots
from engine.store import programme as store
from engine.store.database import Database, clock_us
from engine.store.programme import Line, Result, Total
from experiments.design import Experiment

SHOWN_MAX: Final = 1_000
RESULTS_MAX: Final = 1_000
_DAYS_SHOWN: Final = 120


class Seen(NamedTuple):
    """One experiment with all there is to know of it. `kept` is None before the first readout; `days` are the last
    readouts of each day, the newest first, and `is_newest` whether `kept` is the newest of all. `changes`: of each
    variant that changes budgets, what they were when it was started, and what they are under it."""

    whole: Whole
    plan: Experiment
    changes: dict[str, list[Change]]
    kept: Kept | None
    days: list[tuple[int, str]]
    is_newest: bool


class Programme(NamedTuple):
    """All that ended, or should have: `results` the newest first, `is_cut` where there are more than `RESULTS_MAX`.
    `states`: how many experiments there are in each. `totals`: of all holdouts, the oldest first; `best` is that of
    them which tells of most ships, and `ships` are those. `due_us`: the next readout of any holdout."""

    results: list[Result]
    is_cut: bool
    states: dict[str, int]
    totals: list[Total]
    best: Total | None
    ships: list[Total]
    due_us: int | None


async def lines(database: Database, state: State | None = None) -> list[Line]:
    """The newest experiment first."""
    async with database.connection() as connection:
        return await store.lines(connection, state, SHOWN_MAX)


async def seen(database: Database, readouts: Readouts, key: str, at_us: int | None = None) -> Seen:
    """With its newest readout, or the one that was computed at an instant. Raises `NotFound` for an experiment that is
    not there, and for an instant of which no readout is kept: another's numbers would stand under its address."""
    found = await whole(database, key)
    try:
        kept = await readouts.newest(key, at_us)
    except NotFound:
        if at_us is not None:
            raise
        kept = None
    if kept is not None and at_us not in (None, kept.snapshot.computed_us):
        raise NotFound(f"no readout of {key!r} is kept from then: of days long ago there is the last one")
    plan = read_plan(found.record.plan)
    async with database.connection() as connection:
        days = await snapshots.days(connection, found.record.number, _DAYS_SHOWN)
        policy = await policies.policy_of_start(connection, found.record.number) if budgets_changed(plan) else None
    newest_us = days[0][0] if days else None
    changed = changes(read_policy(policy), plan) if policy else {}
    return Seen(found, plan, changed, kept, days, kept is None or kept.snapshot.computed_us == newest_us)


def changes(policy: Policy, plan: Experiment) -> dict[str, list[Change]]:
    """By variant the budgets that it changes, as they are and as they are under it; of one that does not fit the policy
    nothing is known."""
    found: dict[str, list[Change]] = {}
    for variant in plan.variants:
        with suppress(InvalidPolicy):
            pairs = zip(policy.budgets, patched(policy, variant).budgets, strict=True)
            own = [Change(before, after) for before, after in pairs if before != after]
            found |= {variant.name: own} if own else {}
    return found


async def programme(database: Database) -> Programme:
    """What came of everything that was tried."""
    async with database.connection() as connection:
        now_us = await clock_us(connection)
        results = await store.results(connection, day_of(now_us), now_us, RESULTS_MAX + 1)
        states = await store.states(connection)
        totals = await store.totals(connection)
    best = max(
        (each for each in totals if each.found),
        key=lambda each: (len(shipped_within(each, totals)), each.as_of_us),
        default=None,
    )
    planned = [each for total in totals if total.holdout.over_us > now_us for each in planned_us(total.holdout)]
    return Programme(
        results=results[:RESULTS_MAX],
        is_cut=len(results) > RESULTS_MAX,
        states=states,
        totals=totals,
        best=best,
        ships=shipped_within(best, totals) if best else [],
        due_us=min((each for each in planned if each > now_us), default=None),
    )


def shipped_within(total: Total, totals: Sequence[Total]) -> list[Total]:
    """What the readout of a holdout is about: the budgets that were shipped since it began, until its last day."""
    until_us = total.holdout.from_us if total.as_of_us is None else total.as_of_us
    return [each for each in totals if total.holdout.from_us <= each.holdout.from_us <= until_us]
