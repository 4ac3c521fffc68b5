"""Readouts of experiments, and of the holdouts that they left: the newest, one from the past, or a new one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.examples import scoped
from engine.api.readout_schemas import HeldReadoutOut, ReadoutOut
from engine.api.schemas import Instant, microseconds
from engine.core.tokens import Scope
from engine.operations.readout_data import held_readout_data, readout_data
from engine.operations.readouts import Readouts

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
    return json_response(readout_data(found))


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
    return json_response(readout_data(await _readouts(request).refresh(key)))


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
    return json_response(held_readout_data(await _readouts(request).newest_held(key, day)))


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
    return json_response(held_readout_data(await _readouts(request).refresh_held(key)))


def _readouts(request: Request) -> Readouts:
    return request.app.state.readouts
