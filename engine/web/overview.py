"""The first page: what runs, what is stopped, and where to look."""

from fastapi import APIRouter, Request, Response

from engine.operations import programme
from engine.operations.experiments import State
from engine.render.experiment import Line, overview_page
from engine.web.answers import PageRoute, of_html
from engine.web.framing import framed
from engine.web.signing_in import Reader

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
async def overview(request: Request, who: Reader) -> Response:
    frame = await framed(request, who, "Overview", "/")
    running = await programme.lines(request.app.state.decider.database, State.RUNNING)
    return of_html(overview_page(frame, [Line(each.record, each.call, each.computed_us) for each in running]))
