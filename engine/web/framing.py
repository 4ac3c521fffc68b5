"""What stands around a page, for whoever looks at it."""

from dataclasses import replace

from fastapi import Request

from engine.core.errors import TaktError
from engine.core.policy import PolicyMode
from engine.core.tokens import Scope
from engine.operations.authenticate import may
from engine.operations.surroundings import surroundings
from engine.render.frame import Frame
from engine.web.notices import told
from engine.web.signing_in import Viewer, reader
from engine.web.static import VERSION


async def framed(request: Request, who: Viewer, title: str, here: str | None = None) -> Frame:
    """The frame of a page as of now. `here`: the path of its place in the navigation."""
    query = request.url.query
    around = await surroundings(request.app.state.decider)
    return Frame(
        title=title,
        now_us=around.now_us,
        version=VERSION,
        here=here,
        back=request.url.path + (f"?{query}" if query else "") if request.method in ("GET", "HEAD") else here or "/",
        who=who.key.name,
        csrf=who.session.csrf,
        may_manage=may(who.key, Scope.MANAGE),
        is_demo=around.kind == "demo",
        is_observing=around.mode is PolicyMode.OBSERVE,
        ruleset=around.ruleset,
        topics=around.topics,
        pauses=around.pauses,
        notice=told(request, who.session),
    )


async def frame_of(request: Request) -> Frame | None:
    """The frame of whatever this request is answered with, for whoever may see pages; None for all others."""
    try:
        frame = await framed(request, await reader(request), "")
    except TaktError:
        return None
    return frame if request.method in ("GET", "HEAD") else replace(frame, back="/")
