"""Readouts of experiments: the newest, one from the past, or a new one."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.examples import scoped
from engine.api.readout_schemas import ReadoutOut
from engine.api.schemas import Instant, instant, microseconds
from engine.core.tokens import Scope
from engine.operations.readouts import Kept, Readouts

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
        **document,
        "pauses": paused and {**paused, "stretches": [_stretch(each) for each in paused["stretches"]]},
        "findings": [{"at": instant(each.at_us), "author": each.author, "note": each.note} for each in kept.findings],
    }


def _stretch(stretch: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": stretch["name"],
        "from": instant(stretch["from_us"]),
        "until": instant(stretch["until_us"]),
        "is_breaker": stretch["is_breaker"],
    }
