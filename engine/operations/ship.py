"""Shipping: a variant becomes the policy, and a share of customers stays behind to show what that did, until an end.

One transaction: the patched policy as a new version in force, the experiment's end, and the holdout under the budgets
of the version that was in force until now, frozen. A holdout ends by itself (`watch`), or before that by hand.
"""

from typing import Any, Final

from engine.core.errors import Conflict, Invalid, NotFound, Problem
from engine.core.policy import DAY_US
from engine.core.policy_reader import read_policy
from engine.core.policy_writer import policy_data
from engine.operations import policies
from engine.operations.experiments import By, State, Step, Taken, day_of, policy_in_force, take
from engine.operations.plan_file import misfits, patched
from engine.operations.policy_patch import patched_text
from engine.operations.tested import not_as_tested, speaks_against
from engine.store import experiments as store
from engine.store import holdouts, snapshots
from engine.store import policies as rules
from engine.store.database import Database
from engine.store.experiments import Holdout
from experiments.design import Experiment, Variant

LEAST_HELD: Final = 0.05
MOST_HELD: Final = 0.10
HELD_DAYS: Final = 365
READOUT_DAYS: Final = (28, 90, 180, 365)


async def ship(
    database: Database, key: str, by: By, *, variant: str, held: float | None = None, held_days: int = HELD_DAYS
) -> Taken:
    """Make a variant the policy. `held`: the share that stays under the old one, 5 % unless told, for `held_days`.

    From `running` or `stopped`. An experiment that changes no budget ships as a record alone: there is no policy to
    change, and none to hold anybody back under. Raises `Conflict` for the control, which is the policy already, and
    where another experiment is running on the budget. What speaks against it is in the warnings, and refuses nothing.
    """
    if held is not None and not LEAST_HELD <= held <= MOST_HELD:
        raise Invalid([Problem("holdout", f"{held:g}", f"a share from {LEAST_HELD:g} to {MOST_HELD:g}")])
    if not READOUT_DAYS[0] <= held_days <= 3 * HELD_DAYS:
        expected = f"{READOUT_DAYS[0]} to {3 * HELD_DAYS} days: the first readout is after {READOUT_DAYS[0]}"
        raise Invalid([Problem("holdout_days", str(held_days), expected)])

    async def work(step: Step) -> dict[str, Any]:
        step.needs(State.RUNNING, State.STOPPED)
        experiment = step.experiment
        shipped = _shippable(experiment, variant)
        ended_us = step.record.ended_us or step.now_us
        days = (ended_us - (step.record.started_us or ended_us)) / DAY_US
        done: dict[str, Any] = {"short_run": days < experiment.horizon_days, "days": round(days, 1), "warnings": []}
        if done["short_run"]:
            done["warnings"] = [
                f"Short run: it ran for {days:.0f} of the {experiment.horizon_days} days of its horizon."
            ]
        done["warnings"] += await _spoken_against(step, experiment, shipped)
        await step.save(state=State.SHIPPED.value, ended_us=ended_us, shipped=variant)
        if not shipped.policy:
            if held is not None:
                raise Conflict(f"{variant!r} changes no budget: there is no older policy to hold customers back under")
            return done | {"ruleset": await step.put_in_force()}
        more = await _put_patched_in_force(step, experiment, shipped, held or LEAST_HELD, held_days)
        return done | more | {"warnings": [*done["warnings"], *more["warnings"]]}

    asked = {"variant": variant, "holdout": held, "holdout_days": held_days}
    return await take(database, key, "ship", by, asked, work)


async def end_holdout(database: Database, key: str, by: By) -> Taken:
    """End the holdout that shipping an experiment left: from now on its customers are under the policy like everybody.

    Its readouts stay, and those of days that are not over yet will not be. Raises `NotFound` where there is none, and
    `Conflict` where it has ended.
    """

    async def work(step: Step) -> dict[str, Any]:
        holdout = await store.holdout_of(step.connection, step.record.number)
        if holdout is None:
            raise NotFound(f"{key!r} has left no holdout to end")
        if holdout.over_us <= step.now_us:
            raise Conflict(f"the holdout of {key!r} has ended on {day_of(holdout.over_us)}")
        newest = await rules.newest_ruleset(step.connection)
        kept = [each for each in newest.holdouts if each["name"] != holdout.name] if newest else []
        await holdouts.end_one(step.connection, holdout.name, step.now_us)
        ruleset = await step.put_in_force(holdouts=kept)
        missed = [str((each - holdout.from_us) // DAY_US) for each in planned_us(holdout) if each > step.now_us]
        return {"ruleset": ruleset, "warnings": [f"It will not be read on day {', '.join(missed)}."] if missed else []}

    return await take(database, key, "end_holdout", by, {}, work)


def readouts_us(holdout: Holdout) -> list[int]:
    """When a holdout is read out: on the days that were planned, as far as it lasted."""
    return [each for each in planned_us(holdout) if each <= holdout.over_us]


def planned_us(holdout: Holdout) -> list[int]:
    """When a holdout is read out unless it is ended before."""
    instants = [holdout.from_us + days * DAY_US for days in READOUT_DAYS]
    return [each for each in instants if each <= holdout.until_us]


def _shippable(experiment: Experiment, name: str) -> Variant:
    found = next((each for each in experiment.variants if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in experiment.treatments)
        raise Invalid([Problem("variant", repr(name), f"a variant to ship: {names}")])
    if found.control:
        raise Conflict(f"{name!r} is the control, and so the policy already: stop the experiment instead")
    return found


async def _spoken_against(step: Step, experiment: Experiment, shipped: Variant) -> list[str]:
    """What whoever ships it should know: that its readout is against it, or that it is not what was tested."""
    found: list[str] = []
    snapshot = await snapshots.newest(step.connection, step.record.number)
    if snapshot is not None:
        found += speaks_against(snapshot.readout.get("readout", {}), shipped.name, day_of(snapshot.as_of_us))
    then = await rules.policy_of_start(step.connection, step.record.number) if shipped.policy else None
    if then is not None:
        now = await policy_in_force(step.connection)
        if not misfits(now, experiment):
            found += not_as_tested(read_policy(then), now, experiment, shipped)
    return found


async def _put_patched_in_force(
    step: Step, experiment: Experiment, shipped: Variant, share: float, days: int
) -> dict[str, Any]:
    connection = step.connection
    newest = await rules.newest_ruleset(connection)
    if newest is None:
        raise Conflict("no policy is in force that a variant could change")
    kept = await rules.policy_version(connection, newest.policy_version)
    policy = read_policy(kept.data)
    problems = misfits(policy, experiment)
    if problems:
        raise Conflict(f"{shipped.name!r} does not fit the policy in force any more: {problems[0]}")
    changed = patched(policy, shipped)
    touched = policies.touched(policy, changed, await store.running(connection))
    for other in touched:
        if other.is_own:
            raise Conflict(
                f"the experiment {other.record.key!r} is running on a budget that this would change, for its control"
                " too: stop it first"
            )
    text = await policies.apart(patched_text, kept.source, changed)
    why = f"shipped {experiment.key}: {shipped.name}" + (f". {step.by.note}" if step.by.note else "")
    version = await rules.add_policy(connection, step.by.author, why, text, policy_data(changed))
    await policies.note(connection, version, step.by.author, touched)
    holdout = Holdout(
        name=experiment.key,
        seed=f"{experiment.key}:holdout",
        share=share,
        policy_version=newest.policy_version,
        experiment=step.record.number,
        from_us=step.now_us,
        until_us=step.now_us + days * DAY_US,
        ended_us=None,
    )
    await store.add_holdout(connection, holdout)
    open_ = [each for each in newest.holdouts if each["until_us"] > step.now_us]
    ruleset = await step.put_in_force(policy_version=version, holdouts=[*open_, _in_ruleset(holdout)])
    return {
        "ruleset": ruleset,
        "policy_version": version,
        "warnings": list(policies.warnings(touched)),
        "holdout": {**_in_ruleset(holdout), "readouts_us": readouts_us(holdout)},
    }


def _in_ruleset(holdout: Holdout) -> dict[str, Any]:
    return {
        "name": holdout.name,
        "seed": holdout.seed,
        "share": holdout.share,
        "policy_version": holdout.policy_version,
        "from_us": holdout.from_us,
        "until_us": holdout.until_us,
    }
