"""The life of an experiment: drafted, started, widened, shipped or stopped; each step one transaction, in its log.

Every step holds the activation lock from its first look to its commit, so that of two experiments that conflict one
starts, and a ruleset carries exactly those that run. What a step put in force binds each ask that arrives after it was
answered, in every process.

A step may bear a `request_id`: repeated with it after an answer was lost, it answers as it stands and does nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from engine.core.errors import Conflict, Invalid, InvalidPlan, NotFound, Problem
from engine.core.policy import Policy
from engine.core.policy_reader import read_policy
from engine.core.windows import tzdata_version
from engine.operations import plan_changes, policies
from engine.operations.contamination import conflict
from engine.operations.plan_file import Plan, kept_plan, load_plan, misfits, read_plan
from engine.operations.preflight import Preflight, look_ahead
from engine.store import experiments as store
from engine.store import holdout_readouts
from engine.store import policies as rules
from engine.store.database import Connection, Database, clock_us
from engine.store.experiments import Entry, Holdout, Record
from engine.store.holdout_readouts import HeldRead
from experiments.design import Experiment

RUNNING_MAX: Final = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class State(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"
    SHIPPED = "shipped"


class OnHarm(StrEnum):
    """What is done when a readout says stop: somebody is told, or the experiment is stopped too."""

    ALERT = "alert"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class By:
    """Who does a step, why, and under which id of their own."""

    author: str
    note: str = ""
    request_id: str | None = None


class Whole(NamedTuple):
    """All there is to know of an experiment but its readouts. `held_readouts`: those of its holdout that were due, by
    day."""

    record: Record
    log: list[Entry]
    holdout: Holdout | None
    held_readouts: Mapping[int, HeldRead]


class Checked(NamedTuple):
    """A plan that could be created now, and what speaks for waiting."""

    plan: Plan
    preflight: Preflight


class Taken(NamedTuple):
    """A step that was taken, and what whoever took it should know."""

    record: Record
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What a step finds once it holds the lock."""

    connection: Connection
    record: Record
    now_us: int
    by: By

    @property
    def today(self) -> date:
        return day_of(self.now_us)

    @property
    def experiment(self) -> Experiment:
        return read_plan(self.record.plan)

    def needs(self, *states: State) -> None:
        """Raise `Conflict` unless the experiment is in one of these."""
        if self.record.state not in states:
            raise Conflict(f"{_standing(self.record)}: this needs one that is {' or '.join(states)}")

    async def save(self, **changes: Any) -> Record:
        record = self.record._replace(**changes)
        await store.save(self.connection, record)
        return record

    async def put_in_force(self, **more: Any) -> int:
        """Write the next ruleset, with exactly the experiments that run now; returns its number."""
        running = [{"number": each.number, "plan": each.plan} for each in await store.running(self.connection)]
        ruleset = await rules.add_ruleset(
            self.connection, tzdata_version(), self.by.author, experiments=running, **more
        )
        return ruleset.number


async def read(source: str, name: str = "plan") -> Plan:
    """The plan in the text, YAML or JSON, while decisions go on. Raises `InvalidPlan`."""
    return await policies.apart(load_plan, source, name)


async def validate(database: Database, source: str, name: str = "plan") -> Checked:
    """Whether a plan could be created now, with what a start would warn of. Raises `InvalidPlan`; writes nothing."""
    plan = await read(source, name)
    async with database.connection() as connection:
        policy = await policy_in_force(connection)
        running = [read_plan(each.plan) for each in await store.running(connection)]
    _check_fit(policy, plan, name)
    preflight = await look_ahead(database, policy, plan.experiment)
    others = [each for each in running if each.key != plan.experiment.key]
    why = conflict(policy, plan.experiment, others)
    warnings = ((f"It could not start now: {why}.",) if why else ()) + preflight.warnings
    return Checked(plan, preflight._replace(warnings=warnings))


async def create(
    database: Database,
    source: str,
    by: By,
    *,
    on_harm: OnHarm = OnHarm.ALERT,
    replace: bool = False,
    name: str = "plan",
) -> Taken:
    """Keep a plan as a draft. The same plan again is the same draft; `replace`: another one takes its place.

    Raises `InvalidPlan`, and `Conflict` where the key is taken.
    """
    plan = await read(source, name)
    async with database.transaction() as connection:
        await rules.lock_activation(connection)
        found = await store.find(connection, plan.experiment.key)
        if found is not None and found.state == State.DRAFT and (found.source, found.on_harm) == (source, on_harm):
            return Taken(found)
        _check_fit(await policy_in_force(connection), plan, name)
        if found is None:
            record = await store.add(connection, plan.experiment.key, on_harm, source, plan.data)
        elif replace and found.state == State.DRAFT:
            record = found._replace(source=source, plan=plan.data, on_harm=on_harm)
            await store.save(connection, record)
        else:
            once = "under another plan: replace it, or give" if found.state == State.DRAFT else "and runs once: give"
            raise Conflict(f"{_standing(found)} {once} this plan another key")
        action = "changed" if found else "created"
        await store.add_entry(connection, record.number, action, by.author, by.note, {"on_harm": on_harm})
    return Taken(record)


async def start(database: Database, key: str, by: By) -> Taken:
    """Let a draft run. The day of the start is today, whatever the plan says; its other dates move along."""
    async with database.connection() as connection:
        draft = await store.experiment(connection, key)
        policy = await policy_in_force(connection)
    ahead = Preflight() if draft.state != State.DRAFT else await look_ahead(database, policy, read_plan(draft.plan))

    async def work(step: Step) -> dict[str, Any]:
        step.needs(State.DRAFT)
        planned = step.experiment
        policy = await policy_in_force(step.connection)
        _check_fit(policy, kept_plan(step.record.source, step.record.plan), key)
        running = [read_plan(each.plan) for each in await store.running(step.connection)]
        why = conflict(policy, planned, running)
        if why:
            raise Conflict(f"{key!r} cannot start: {why}")
        if len(running) >= RUNNING_MAX:
            raise Conflict(f"{len(running)} experiments are running, and no more may: stop one first")
        plan = plan_changes.started(step.record.plan, planned, step.today)
        await step.save(state=State.RUNNING.value, started_us=step.now_us, plan=plan)
        warnings = (*_moved(planned, read_plan(plan)), *ahead.warnings)
        return {"ruleset": await step.put_in_force(), "warnings": list(warnings), "preflight": ahead.data()}

    return await take(database, key, "start", by, {}, work)


async def ramp(database: Database, key: str, by: By, *, traffic: float) -> Taken:
    """Take more customers in. Nobody who is in moves, so this begins no phase; the same traffic again is nothing."""

    async def work(step: Step) -> dict[str, Any] | None:
        step.needs(State.RUNNING)
        before = plan_changes.traffic_of(step.experiment, step.today)
        plan = plan_changes.ramped(step.record.plan, step.experiment, traffic, step.today)
        if traffic == before:
            return None
        await step.save(plan=plan)
        return {"from": before, "to": traffic, "ruleset": await step.put_in_force()}

    return await take(database, key, "ramp", by, {"traffic": traffic}, work)


async def begin_phase(
    database: Database, key: str, by: By, *, weights: Mapping[str, float], traffic: float | None = None
) -> Taken:
    """Give other weights to those who enter from now on. Who is in stays in their variant."""

    async def work(step: Step) -> dict[str, Any]:
        step.needs(State.RUNNING)
        plan = plan_changes.phased(step.record.plan, step.experiment, weights, traffic, step.today)
        await step.save(plan=plan)
        begun = [each for each in read_plan(plan).phases if each.start <= step.today]
        return {"phase": len(begun) - 1, "weights": dict(weights), "ruleset": await step.put_in_force()}

    return await take(database, key, "phase", by, {"weights": dict(weights), "traffic": traffic}, work)


async def stop(database: Database, key: str, by: By) -> Taken:
    """End it: from now on everybody is under the policy again. Its readouts stay, and it can still be shipped."""

    async def work(step: Step) -> dict[str, Any]:
        step.needs(State.RUNNING)
        await step.save(state=State.STOPPED.value, ended_us=step.now_us)
        return {"ruleset": await step.put_in_force()}

    return await take(database, key, "stop", by, {}, work)


async def note(database: Database, key: str, by: By) -> Taken:
    """Keep a finding beside the numbers: of an interview, a user test, a call that many made."""
    if not by.note.strip():
        raise Invalid([Problem("note", "nothing", "what was found")])

    async def work(step: Step) -> dict[str, Any]:
        return {}

    return await take(database, key, "note", by, {"note": by.note}, work)


async def listed(database: Database, state: State | None = None, limit: int = 100) -> list[Record]:
    """The newest first."""
    async with database.connection() as connection:
        return await store.experiments(connection, state, limit)


async def whole(database: Database, key: str) -> Whole:
    """One experiment with its log; raises `NotFound`."""
    async with database.transaction() as connection:
        record = await store.experiment(connection, key)
        return Whole(
            record,
            await store.log(connection, record.number),
            await store.holdout_of(connection, record.number),
            {each.day: each for each in await holdout_readouts.read_days(connection, record.number)},
        )


def day_of(at_us: int) -> date:
    """The date in UTC, by which plans count."""
    return (_EPOCH + timedelta(microseconds=at_us)).date()


async def policy_in_force(connection: Connection) -> Policy:
    newest = await rules.newest_ruleset(connection)
    if newest is None:
        raise NotFound("no policy is active: `takt policy activate considerate`")
    return read_policy((await rules.policy_version(connection, newest.policy_version)).data)


async def take(
    database: Database,
    key: str,
    action: str,
    by: By,
    asked: Mapping[str, Any],
    work: Callable[[Step], Awaitable[dict[str, Any] | None]],
) -> Taken:
    """One step: the lock, the experiment as it stands, the work, and the entry in the log, all or none.

    `asked` is what the request said: the same id with anything else is a `Conflict`. Work that finds nothing to do
    returns None, and leaves no entry.
    """
    async with database.transaction() as connection:
        await rules.lock_activation(connection)
        record = await store.experiment(connection, key)
        before = await store.requested(connection, record.number, by.request_id) if by.request_id else None
        if before is not None:
            if (before.action, before.data.get("asked")) != (action, dict(asked)):
                raise Conflict(
                    f"the request id {by.request_id!r} was used before, for another request ({before.action})"
                )
            return Taken(record, tuple(before.data.get("warnings", ())))
        done = await work(Step(connection, record, await clock_us(connection), by))
        if done is not None:
            data = {**done, "asked": dict(asked), **({"request_id": by.request_id} if by.request_id else {})}
            await store.add_entry(connection, record.number, action, by.author, by.note, data)
        return Taken(await store.experiment(connection, key), tuple((done or {}).get("warnings", ())))


def _check_fit(policy: Policy, plan: Plan, name: str) -> None:
    problems = misfits(policy, plan.experiment)
    if problems:
        raise InvalidPlan(plan.placed(problems), name)


def _moved(planned: Experiment, now: Experiment) -> tuple[str, ...]:
    if planned.start == now.start:
        return ()
    return (
        f"The plan said {planned.start}: it starts today, {now.start}, and lasts as long as was planned, until"
        f" {now.end}.",
    )


def _standing(record: Record) -> str:
    match State(record.state):
        case State.DRAFT:
            return f"the experiment {record.key!r} is a draft"
        case State.RUNNING:
            return f"the experiment {record.key!r} is running since {day_of(record.started_us or 0)}"
        case State.STOPPED:
            return f"the experiment {record.key!r} is stopped since {day_of(record.ended_us or 0)}"
        case State.SHIPPED:
            return f"the experiment {record.key!r} is shipped ({record.shipped})"
