"""Whether this process lives, whether it can decide, and what it has done."""

import asyncio
import time

from fastapi import APIRouter, Request, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.datastructures import State

from engine.api.answers import LiveOut, ReadyOut
from engine.api.batches import json_response
from engine.core.errors import TaktError
from engine.operations import jobs
from engine.operations.jobs import Status
from engine.operations.look import Ground, ground

router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process runs", response_model=LiveOut)
async def live() -> Response:
    """Answers as long as the event loop turns. It asks nobody: restart the process where it does not answer."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    summary="Asks can be decided",
    response_model=ReadyOut,
    responses={503: {"model": ReadyOut, "description": "They cannot; `checks` says why."}},
)
async def ready(request: Request) -> Response:
    """503 where the database does not answer, a lane has died, or no policy is in force."""
    decider = request.app.state.decider
    began = time.perf_counter()
    checks = {
        "lanes": "ok" if not decider.lanes.dead else f"{decider.lanes.dead} died",
        "database": "ok",
        "policy": "ok",
    }
    kind: str | None = None
    try:
        number, kind = await _ground(request.app.state)
        if number is None:
            checks["policy"] = "none in force: `takt policy activate considerate`"
    except TaktError as error:
        checks["database"] = error.message
    good = all(each == "ok" for each in checks.values())
    body = {
        "status": "ok" if good else "unavailable",
        "checks": checks,
        "deployment": kind,
        "took_s": time.perf_counter() - began,
    }
    response = json_response(body, 200 if good else 503)
    if not good:
        response.headers["Retry-After"] = "1"
    return response


async def _ground(state: State) -> Ground:
    """Asked once for all who ask at the same time: nobody needs a key to ask, and asks need the connections."""
    asked: asyncio.Task[Ground] | None = getattr(state, "asked_for_ground", None)
    if asked is None or asked.done():
        asked = state.asked_for_ground = asyncio.create_task(ground(state.decider))
    return await asyncio.shield(asked)


@router.get("/metrics", summary="For Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Asks by verdict and rule, latency, chunk sizes and queues of this process; and how the scheduler stands."""
    state = request.app.state
    try:
        state.metrics.scheduled(await _status(state))
    except TaktError:  # a database that is away: what this process counts is told all the same
        state.metrics.leads.set(0)
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _status(state: State) -> Status:
    """As above, once for all who ask at the same time."""
    asked: asyncio.Task[Status] | None = getattr(state, "asked_for_status", None)
    if asked is None or asked.done():
        asked = state.asked_for_status = asyncio.create_task(jobs.status(state.decider.database, alarms=0))
    return await asyncio.shield(asked)
