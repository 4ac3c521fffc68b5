"""The pause switch, which stands on every page: stop messages at once, and let them go on."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from engine.core.errors import Invalid, Problem
from engine.core.policy import Channel, Selector
from engine.core.rules import Pause
from engine.operations import policies
from engine.operations.surroundings import surroundings
from engine.web.answers import PageRoute, local, see
from engine.web.signing_in import Viewer, form, viewer

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


@router.post("/pauses")
async def stop(request: Request, who: Annotated[Viewer, Depends(viewer)]) -> Response:
    """Nothing that this selects is allowed once the page has answered."""
    fields = await form(request, who)
    name, channel, topic = (fields.get(each, "").strip() for each in ("name", "channel", "topic"))
    decider = request.app.state.decider
    problems: list[Problem] = []
    if not _NAME.fullmatch(name):
        problems.append(Problem("name", repr(name), "1 to 100 of the characters a-z, 0-9, -, _ and ."))
    if channel and channel not in {each.value for each in Channel}:
        problems.append(Problem("channel", repr(channel), "a channel"))
    if topic and topic not in (await surroundings(decider)).topics:
        problems.append(Problem("topic", repr(topic), "a topic of the policy"))
    if problems:
        raise Invalid(problems)
    selector = Selector(frozenset((channel,)) if channel else None, frozenset((topic,)) if topic else None)
    pause = Pause(name, selector, await decider.database.clock_us())
    await policies.pause(decider.database, pause, author=who.key.name)
    return see(local(fields.get("back", "/")), "paused")


@router.post("/pauses/end")
async def end(request: Request, who: Annotated[Viewer, Depends(viewer)]) -> Response:
    fields = await form(request, who)
    await policies.lift_pause(request.app.state.decider.database, fields.get("name", ""), author=who.key.name)
    return see(local(fields.get("back", "/")), "resumed")
