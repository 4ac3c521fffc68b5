"""Experiments: drafted, started, widened, stopped and shipped, each step in their log."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from inspect import cleandoc
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response

from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.bodies import body_of, parsed, read, validated
from engine.api.examples import EXPERIMENT, FINDING, PHASE, RAMP, SHIP, STEP, body, scoped
from engine.api.experiment_schemas import (
    ExperimentIn,
    ExperimentsOut,
    ExperimentStepOut,
    ExperimentValidOut,
    ExperimentWholeOut,
    FindingIn,
    PhaseIn,
    PlanIn,
    RampIn,
    ShipIn,
    StepIn,
)
from engine.api.schemas import instant
from engine.core.errors import Invalid, InvalidPlan, Problem
from engine.core.policy import DAY_US
from engine.core.tokens import Scope
from engine.operations import experiments
from engine.operations.experiments import By, State, Taken
from engine.operations.plan_file import as_text
from engine.operations.ship import end_holdout, readouts_us, ship
from engine.store.database import Database
from engine.store.experiments import Entry, Holdout, Record
from engine.store.holdout_readouts import HeldRead

router = APIRouter(tags=["experiments"])
Key = Annotated[str, Path(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
_SHOWN = 100

S = TypeVar("S", bound=StepIn | FindingIn)


@router.post(
    "/v1/experiments/validate",
    summary="Whether a plan is valid and fits the policy, and what its start would warn of",
    response_model=ExperimentValidOut,
    openapi_extra=body(PlanIn, {"yaml": EXPERIMENT["yaml"]}, Scope.READ),
)
async def validate_experiment(request: Request, _key: Reads) -> Response:
    """Answers with a preflight, or 422 with every problem and its line. Writes nothing."""
    given = await body_of(request, PlanIn)
    with _placed_as_it_came(given):
        checked = await experiments.validate(_database(request), _source(given))
    plan, preflight = checked.plan.experiment, checked.preflight
    return json_response(
        {
            "valid": True,
            "key": plan.key,
            "start": plan.start,
            "end": plan.end,
            "preflight": preflight.data(),
            "warnings": preflight.warnings,
        }
    )


@router.post(
    "/v1/experiments",
    summary="Keep a plan as a draft",
    status_code=201,
    response_model=ExperimentStepOut,
    openapi_extra=body(ExperimentIn, EXPERIMENT, Scope.MANAGE),
)
async def create_experiment(request: Request, key: Manages) -> Response:
    """Nothing runs yet. The same plan again answers with the same draft."""
    given = await body_of(request, ExperimentIn)
    with _placed_as_it_came(given):
        taken = await experiments.create(
            _database(request),
            _source(given),
            By(key.name, given.note),
            on_harm=given.on_harm,
            replace=given.replace,
        )
    return json_response(_step_data(taken), 201)


@router.get(
    "/v1/experiments",
    summary="The experiments there are",
    response_model=ExperimentsOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_experiments(
    request: Request,
    _key: Reads,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = _SHOWN,
) -> Response:
    """The newest first."""
    found = await experiments.listed(_database(request), state, limit)
    return json_response({"experiments": [_data(each) for each in found]})


@router.get(
    "/v1/experiments/{key}",
    summary="One experiment, with its log",
    response_model=ExperimentWholeOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_experiment(key: Key, request: Request, _key: Reads) -> Response:
    """With its plan as it was written and as it stands, and the holdout that shipping it left."""
    found = await experiments.whole(_database(request), key)
    return json_response(
        {
            **_data(found.record),
            "yaml": found.record.source,
            "log": [_entry_data(each) for each in found.log],
            "holdout": found.holdout and _holdout_data(found.holdout, found.held_readouts),
        }
    )


def _step(
    name: str, summary: str, model: type[S], example: dict[str, Any]
) -> Callable[[Callable[[Database, str, By, S], Awaitable[Taken]]], object]:
    """The route of a step of one experiment; what it decorates takes the step."""

    def route_of(take: Callable[[Database, str, By, S], Awaitable[Taken]]) -> object:
        @router.post(
            f"/v1/experiments/{{key}}/{name}",
            name=take.__name__,
            summary=summary,
            description=cleandoc(take.__doc__ or ""),
            response_model=ExperimentStepOut,
            openapi_extra=body(model, example, Scope.MANAGE),
        )
        async def route(key: Key, request: Request, who: Manages) -> Response:
            raw = await read(request)
            # One that needs to say nothing may come without a body.
            given = validated(parsed(raw) if raw.strip() or model is not StepIn else {}, model)
            by = By(who.name, given.note, given.request_id)
            return json_response(_step_data(await take(_database(request), key, by, given)))

        return route

    return route_of


@_step("start", "Let a draft run", StepIn, STEP)
async def start_experiment(database: Database, key: str, by: By, given: StepIn) -> Taken:
    """Its first day is today (UTC): where the plan says another, all its dates move along, and a warning says so.

    An ask that arrives after this has answered is decided with it, in every process. 409 while an experiment runs that
    it conflicts with.
    """
    return await experiments.start(database, key, by)


@_step("ramp", "Take more customers in", RampIn, RAMP)
async def ramp_experiment(database: Database, key: str, by: By, given: RampIn) -> Taken:
    """Traffic only grows, and moves nobody who is in. The traffic that it has already: nothing happens."""
    return await experiments.ramp(database, key, by, traffic=float(given.traffic))


@_step("phase", "Give other weights to those who enter from now on", PhaseIn, PHASE)
async def begin_phase(database: Database, key: str, by: By, given: PhaseIn) -> Taken:
    """Begins a phase, which readouts analyse as a stratum. Who is in stays in their variant. One phase a day (UTC)."""
    weights = {name: float(weight) for name, weight in given.weights.items()}
    traffic = None if given.traffic is None else float(given.traffic)
    return await experiments.begin_phase(database, key, by, weights=weights, traffic=traffic)


@_step("notes", "Note a finding beside the numbers", FindingIn, FINDING)
async def note_finding(database: Database, key: str, by: By, given: FindingIn) -> Taken:
    """What a user test, an interview or a call found. It stands in the log, in any state of the experiment."""
    return await experiments.note(database, key, by)


@_step("stop", "End an experiment", StepIn, STEP)
async def stop_experiment(database: Database, key: str, by: By, given: StepIn) -> Taken:
    """From now on everybody is under the policy. What was stopped does not start again; it can still be shipped."""
    return await experiments.stop(database, key, by)


@_step("ship", "Make a variant the policy", ShipIn, SHIP)
async def ship_experiment(database: Database, key: str, by: By, given: ShipIn) -> Taken:
    """Its patch becomes a new version of the policy, in force at once; a share of all customers stays under the old one
    as a holdout, with readouts after 28, 90, 180 and 365 days. A warning says where the run was short of its horizon.
    """
    held, days = given.holdout, given.holdout_days
    return await ship(database, key, by, variant=given.variant, held=held, held_days=days)


@_step("holdout/end", "End the holdout that shipping left, before its time", StepIn, STEP)
async def end_experiment_holdout(database: Database, key: str, by: By, given: StepIn) -> Taken:
    """From the next ask on its customers are under the policy in force, like everybody. Its readouts stay; a warning
    names the days on which it will not be read. 404 where shipping left none, 409 where it has ended.
    """
    return await end_holdout(database, key, by)


def _database(request: Request) -> Database:
    return request.app.state.decider.database


def _source(given: PlanIn) -> str:
    """The text that is kept of a plan, however it came."""
    if (given.yaml is None) == (given.plan is None):
        found = "neither" if given.yaml is None else "both"
        raise Invalid([Problem("", found, "a plan as `yaml` (a text) or as `plan` (a document)")])
    if given.yaml is not None:
        return given.yaml
    try:
        return as_text(given.plan or {})
    except (TypeError, ValueError, RecursionError):  # a key that came twice, NaN, nested without end
        raise InvalidPlan([Problem("plan", "what JSON cannot say", "standard JSON, each key once")]) from None


@contextmanager
def _placed_as_it_came(given: PlanIn) -> Generator[None]:
    """A plan that came as a document has no lines."""
    try:
        yield
    except InvalidPlan as invalid:
        if given.plan is None:
            raise
        raise InvalidPlan([replace(each, line=None) for each in invalid.problems]) from None


def _data(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "key": record.key,
        "state": record.state,
        "on_harm": record.on_harm,
        "created_at": instant(record.created_us),
        "started_at": None if record.started_us is None else instant(record.started_us),
        "ended_at": None if record.ended_us is None else instant(record.ended_us),
        "shipped": record.shipped,
        "plan": record.plan,
    }


def _step_data(taken: Taken) -> dict[str, Any]:
    return {**_data(taken.record), "warnings": taken.warnings}


def _entry_data(entry: Entry) -> dict[str, Any]:
    data = entry._asdict()
    at_us = data.pop("at_us")
    return {**data, "at": instant(at_us)}


def _holdout_data(holdout: Holdout, read: Mapping[int, HeldRead]) -> dict[str, Any]:
    days = [((at_us - holdout.from_us) // DAY_US, at_us) for at_us in readouts_us(holdout)]
    return {
        "name": holdout.name,
        "share": holdout.share,
        "policy_version": holdout.policy_version,
        "from": instant(holdout.from_us),
        "until": instant(holdout.until_us),
        "ended_at": None if holdout.ended_us is None else instant(holdout.ended_us),
        "readouts": [
            {
                "day": day,
                "due_at": instant(at_us),
                "computed_at": instant(read[day].computed_us) if day in read else None,
                "call": read[day].call if day in read else None,
            }
            for day, at_us in days
        ],
    }
