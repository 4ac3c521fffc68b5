"""Readouts of experiments, and of the holdouts that they left: the newest, one from the past, or a new one."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.examples import scoped
from engine.api.readout_schemas import HeldReadoutOut, ReadoutOut
from engine.api.schemas import Instant, instant, microseconds
from engine.core.tokens import Scope
from engine.operations.readouts import HeldKept, Kept, Readouts

router = APIRouter(tags=["experiments"])
Key = Annotated[str, Path(min_length=1, max_length=100)]


@router.get(
    "/v1/experiments/{key}/readout",
    summary="What an experiment has found so far",
    response_model=ReadoutOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_readout(
    key: Key,
    request: Request,
    _key: Reads,
    at: Annotated[Instant | None, Query(description="The newest readout that was there at this instant.")] = None,
) -> Response:
    """The newest readout that was computed, and how old it is: nothing is computed for this."""
    found = await _readouts(request).newest(key, None if at is None else microseconds(at))
    return json_response(_data(found))


@router.post(
    "/v1/experiments/{key}/readout",
    summary="Compute a readout as of now",
    response_model=ReadoutOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def refresh_readout(key: Key, request: Request, _key: Manages) -> Response:
    """Takes seconds, with millions of customers more; asks go on meanwhile. Whoever asks for the same at the same time
    gets the same. 409 for a draft, and for an experiment that cannot be read.
    """
    return json_response(_data(await _readouts(request).refresh(key)))


@router.get(
    "/v1/experiments/{key}/holdout/readout",
    summary="What became of those whom a ship held back",
    response_model=HeldReadoutOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_holdout_readout(
    key: Key,
    request: Request,
    _key: Reads,
    day: Annotated[int | None, Query(ge=1, le=10_000, description="That of day 28, 90, 180 or 365.")] = None,
) -> Response:
    """The newest readout of the holdout that shipping the experiment left, or that of a day: who stayed under the old
    policy against everybody else. Nothing is computed for this. 404 where there is none.
    """
    return json_response(_held_data(await _readouts(request).newest_held(key, day)))


@router.post(
    "/v1/experiments/{key}/holdout/readout",
    summary="Compute a readout of the holdout as of now",
    response_model=HeldReadoutOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def refresh_holdout_readout(key: Key, request: Request, _key: Manages) -> Response:
    """Over the days since the ship, beside those of day 28, 90, 180 and 365, which the scheduler computes: between them
    it is an effect to date. 409 on the first day.
    """
    return json_response(_held_data(await _readouts(request).refresh_held(key)))


def _readouts(request: Request) -> Readouts:
    return request.app.state.readouts


def _data(kept: Kept) -> dict[str, Any]:
    snapshot = kept.snapshot
    document = dict(snapshot.readout)
    paused = document.get("pauses")
    return {
        "experiment": kept.record.key,
        "state": kept.record.state,
        "computed_at": instant(snapshot.computed_us),
        "age_s": max(kept.now_us - snapshot.computed_us, 0) // 1_000_000,
        "as_of": instant(snapshot.as_of_us),
        "took_ms": snapshot.took_us // 1_000,
        "call": snapshot.call,
        "weeks": [],  # of one that was computed before there were any
        **document,
        "pauses": paused and {**paused, "stretches": [_stretch(each) for each in paused["stretches"]]},
        "findings": [{"at": instant(each.at_us), "author": each.author, "note": each.note} for each in kept.findings],
    }


def _held_data(kept: HeldKept) -> dict[str, Any]:
    snapshot, document = kept.snapshot, dict(kept.snapshot.readout)
    since = document["since"]
    policies = [{"version": each["version"], "from": instant(each["from_us"])} for each in since["policies"]]
    return {
        "experiment": kept.record.key,
        "shipped": kept.record.shipped,
        "from": instant(kept.holdout.from_us),
        "until": instant(kept.holdout.until_us),
        "computed_at": instant(snapshot.computed_us),
        "age_s": max(kept.now_us - snapshot.computed_us, 0) // 1_000_000,
        "as_of": instant(snapshot.as_of_us),
        "took_ms": snapshot.took_us // 1_000,
        "call": snapshot.call,
        **document,
        "since": {**since, "policies": policies, "pauses": [_stretch(each) for each in since["pauses"]]},
    }


def _stretch(stretch: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": stretch["name"],
        "from": instant(stretch["from_us"]),
        "until": instant(stretch["until_us"]),
        "is_breaker": stretch["is_breaker"],
    }
