"""The programme: all results, what everything shipped did together, and the table of it."""

from typing import Final

from fastapi import APIRouter, Request, Response

from engine.operations.programme import Programme, programme
from engine.render.programme import Tried, counted, programme_csv, programme_page
from engine.store.programme import Result
from engine.web.answers import PageRoute, of_html, saved
from engine.web.asking import database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader
from experiments.reporting.endings import Ending

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_PLACE: Final = "/programme"


@router.get(_PLACE)
async def shown(request: Request, who: Reader, kind: Ending | None = None) -> Response:
    found = await programme(database_of(request))
    frame = await framed(request, who, "Programme", _PLACE)
    tried = Tried(
        results=_of(found, kind),
        kind=kind,
        counts=counted(found.results),
        is_cut=found.is_cut,
        running=found.states.get("running", 0),
        totals=found.totals,
        best=found.best,
        ships=found.ships,
        due_us=found.due_us,
    )
    return of_html(programme_page(frame, tried))


@router.get("/programme.csv")
async def as_table(request: Request, _who: Reader, kind: Ending | None = None) -> Response:
    found = await programme(database_of(request))
    return saved(programme_csv(_of(found, kind)), "text/csv", "programme.csv")


def _of(found: Programme, kind: Ending | None) -> list[Result]:
    return [each for each in found.results if kind is None or each.ending is kind]
