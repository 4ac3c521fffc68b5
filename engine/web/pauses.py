"""The pause switch, which stands on every page: stop messages at once, and let them go on."""

import re
from typing import Final

from fastapi import APIRouter, Request, Response

from engine.core.errors import Invalid, Problem
from engine.core.policy import Selector
from engine.core.rules import Pause
from engine.operations import policies
from engine.web.answers import PageRoute, local, see
from engine.web.asking import Who, database_of, selected
from engine.web.signing_in import form

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


@router.post("/pauses")
async def stop(request: Request, who: Who) -> Response:
    """Nothing that this selects is allowed once the page has answered."""
    fields = await form(request, who)
    name = fields.get("name", "").strip()
    channel, topic, problems = await selected(request, fields)
    if not _NAME.fullmatch(name):
        problems.insert(0, Problem("name", repr(name), "1 to 100 of the characters a-z, 0-9, -, _ and ."))
    if problems:
        raise Invalid(problems)
    database = database_of(request)
    selector = Selector(frozenset((channel,)) if channel else None, frozenset((topic,)) if topic else None)
    pause = Pause(name, selector, await database.clock_us())
    await policies.pause(database, pause, author=who.key.name)
    return see(local(fields.get("back", "/")), "paused")


@router.post("/pauses/end")
async def end(request: Request, who: Who) -> Response:
    fields = await form(request, who)
    await policies.lift_pause(database_of(request), fields.get("name", ""), author=who.key.name)
    return see(local(fields.get("back", "/")), "resumed")
