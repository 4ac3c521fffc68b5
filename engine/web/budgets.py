"""The page of budgets, and what it shows as a file."""

from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from engine.core.cells import as_csv
from engine.operations.volumes import volumes
from engine.render.budgets import budgets_page, specs
from engine.render.budgets_file import sheet
from engine.render.drawing import drawn
from engine.store.volumes import Volumes
from engine.web.answers import PageRoute, of_html, saved
from engine.web.asking import database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Days = Literal["7", "28", "84"]
Label = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Channels = Literal["", "email", "push", "sms", "in_app", "phone", "letter"]
_PLACE: Final = "/budgets"


@router.get(_PLACE)
async def show(
    request: Request, who: Reader, days: Days = "28", channel: Channels = "", topic: Label = "", team: Label = ""
) -> Response:
    found = await _found(request, days, channel, topic, team)
    undrawn = await drawn(specs(found))  # beside the asks
    frame = await framed(request, who, "Budgets", _PLACE)
    return of_html(budgets_page(frame, found, urlencode(_given(days, channel, topic, team)), undrawn))


@router.get("/budgets/budgets.csv")
async def as_file(
    request: Request, _who: Reader, days: Days = "28", channel: Channels = "", topic: Label = "", team: Label = ""
) -> Response:
    found = await _found(request, days, channel, topic, team)
    return saved(as_csv(*sheet(found)), "text/csv; charset=utf-8", f"budgets-{days}-days.csv")


async def _found(request: Request, days: str, channel: str, topic: str, team: str) -> Volumes:
    return await volumes(database_of(request), int(days), channel or None, topic or None, team or None)


def _given(days: str, channel: str, topic: str, team: str) -> dict[str, str]:
    given = {"days": days, "channel": channel, "topic": topic, "team": team}
    return {key: value for key, value in given.items() if value}
