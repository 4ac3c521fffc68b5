"""Experiments: drafted, started, widened, stopped and shipped, each step in their log."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

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
from engine.core.tokens import Scope
from engine.operations import experiments
from engine.operations.experiments import By, State, Taken
from engine.operations.plan_file import as_text
from engine.operations.ship import readouts_us, ship
from engine.store.database import Database
from engine.store.experiments import Entry, Holdout, Record

router = APIRouter(tags=["experiments"])
Key = Annotated[str, Path(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
_SHOWN = 100


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
            "holdout": found.holdout and _holdout_data(found.holdout),
        }
    )


@router.post(
    "/v1/experiments/{key}/start",
    summary="Let a draft run",
    response_model=ExperimentStepOut,
    openapi_extra=body(StepIn, STEP, Scope.MANAGE),
)
async def start_experiment(key: Key, request: Request, who: Manages) -> Response:
    """Its first day is today (UTC): where the plan says another, all its dates move along, and a warning says so.

    An ask that arrives after this has answered is decided with it, in every process. 409 while an experiment runs that
    it conflicts with.
    """
    given = await _step(request)
    return json_response(_step_data(await experiments.start(_database(request), key, _by(who.name, given))))


@router.post(
    "/v1/experiments/{key}/ramp",
    summary="Take more customers in",
    response_model=ExperimentStepOut,
    openapi_extra=body(RampIn, RAMP, Scope.MANAGE),
)
async def ramp_experiment(key: Key, request: Request, who: Manages) -> Response:
    """Traffic only grows, and moves nobody who is in. The traffic that it has already: nothing happens."""
    given = await body_of(request, RampIn)
    by = _by(who.name, given)
    taken = await experiments.ramp(_database(request), key, by, traffic=float(given.traffic))
    return json_response(_step_data(taken))


@router.post(
    "/v1/experiments/{key}/phase",
    summary="Give other weights to those who enter from now on",
    response_model=ExperimentStepOut,
    openapi_extra=body(PhaseIn, PHASE, Scope.MANAGE),
)
async def begin_phase(key: Key, request: Request, who: Manages) -> Response:
    """Begins a phase, which readouts analyse as a stratum. Who is in stays in their variant. One phase a day (UTC)."""
    given = await body_of(request, PhaseIn)
    taken = await experiments.begin_phase(
        _database(request),
        key,
        _by(who.name, given),
        weights={name: float(weight) for name, weight in given.weights.items()},
        traffic=None if given.traffic is None else float(given.traffic),
    )
    return json_response(_step_data(taken))


@router.post(
    "/v1/experiments/{key}/notes",
    summary="Note a finding beside the numbers",
    response_model=ExperimentStepOut,
    openapi_extra=body(FindingIn, FINDING, Scope.MANAGE),
)
async def note_finding(key: Key, request: Request, who: Manages) -> Response:
    """What a user test, an interview or a call found. It stands in the log, in any state of the experiment."""
    given = await body_of(request, FindingIn)
    taken = await experiments.note(_database(request), key, By(who.name, given.note, given.request_id))
    return json_response(_step_data(taken))


@router.post(
    "/v1/experiments/{key}/stop",
    summary="End an experiment",
    response_model=ExperimentStepOut,
    openapi_extra=body(StepIn, STEP, Scope.MANAGE),
)
async def stop_experiment(key: Key, request: Request, who: Manages) -> Response:
    """From now on everybody is under the policy. What was stopped does not start again; it can still be shipped."""
    given = await _step(request)
    return json_response(_step_data(await experiments.stop(_database(request), key, _by(who.name, given))))


@router.post(
    "/v1/experiments/{key}/ship",
    summary="Make a variant the policy",
    response_model=ExperimentStepOut,
    openapi_extra=body(ShipIn, SHIP, Scope.MANAGE),
)
async def ship_experiment(key: Key, request: Request, who: Manages) -> Response:
    """Its patch becomes a new version of the policy, in force at once; a share of all customers stays under the old one
    as a holdout, with readouts after 28, 90, 180 and 365 days. A warning says where the run was short of its horizon.
    """
    given = await body_of(request, ShipIn)
    taken = await ship(
        _database(request),
        key,
        _by(who.name, given),
        variant=given.variant,
        held=given.holdout,
        held_days=given.holdout_days,
    )
    return json_response(_step_data(taken))


def _database(request: Request) -> Database:
    return request.app.state.decider.database


async def _step(request: Request) -> StepIn:
    """A step that needs to say nothing may come without a body."""
    raw = await read(request)
    return validated(parsed(raw), StepIn) if raw.strip() else StepIn()


def _by(name: str, given: StepIn) -> By:
    return By(name, given.note, given.request_id)


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


def _holdout_data(holdout: Holdout) -> dict[str, Any]:
    return {
        "name": holdout.name,
        "share": holdout.share,
        "policy_version": holdout.policy_version,
        "from": instant(holdout.from_us),
        "until": instant(holdout.until_us),
        "ended_at": None if holdout.ended_us is None else instant(holdout.ended_us),
        "readouts_at": [instant(each) for each in readouts_us(holdout)],
    }
