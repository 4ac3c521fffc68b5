"""The first page: what runs, what is stopped, and where to look."""

from fastapi import APIRouter, Request, Response

from engine.operations import experiments
from engine.operations.experiments import State
from engine.web.answers import PageRoute, html
from engine.web.framing import framed
from engine.web.signing_in import Reader

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
async def overview(request: Request, who: Reader) -> Response:
    frame = await framed(request, who, "Overview", "/")
    running = await experiments.listed(request.app.state.decider.database, State.RUNNING)
    return html("overview.html", frame, running=running)
