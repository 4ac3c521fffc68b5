"""What stands around a page, for whoever looks at it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from fastapi import Request

from engine.core.errors import TaktError
from engine.core.policy import PolicyMode
from engine.core.tokens import Scope
from engine.operations.authenticate import may
from engine.operations.surroundings import surroundings
from engine.render.frame import Frame
from engine.web.signing_in import Viewer, reader
from engine.web.static import VERSION

NOTICES: Final[Mapping[str, str]] = {  # what was just done, by the word of it that an address carries
    "paused": "Stopped. No ask that arrives from now on is allowed there.",
    "resumed": "They go on.",
    "start": "It runs. Customers enter from their next ask on.",
    "stop": "Stopped. Everybody is under the policy from their next ask on.",
    "ship": "Shipped. It is the policy from the next ask on.",
    "ramp": "Widened. More customers enter from their next ask on.",
    "phase": "Begun. Who enters from now on is divided by the new weights.",
    "holdout/readout": "Read anew.",
    "holdout/end": "Ended. Its customers are under the policy from their next ask on.",
    "notes": "Noted.",
    "activated": "In force. It holds from the next ask on, in every process.",
    "suppressed": "Stopped. Nothing is allowed there from now on.",
    "merged": "They are one customer from now on.",
    "erased": "Erased. Nothing is on file, and nobody may contact them.",
    "readout": "Read anew.",
}


async def framed(request: Request, who: Viewer, title: str, here: str | None = None) -> Frame:
    """The frame of a page as of now. `here`: the path of its place in the navigation."""
    query = urlencode([each for each in request.query_params.multi_items() if each[0] != "done"])
    around = await surroundings(request.app.state.decider)
    return Frame(
        title=title,
        now_us=around.now_us,
        version=VERSION,
        here=here,
        back=request.url.path + (f"?{query}" if query else "") if request.method == "GET" else here or "/",
        who=who.key.name,
        csrf=who.session.csrf,
        may_manage=may(who.key, Scope.MANAGE),
        is_demo=around.kind == "demo",
        is_observing=around.mode is PolicyMode.OBSERVE,
        ruleset=around.ruleset,
        topics=around.topics,
        pauses=around.pauses,
        notice=NOTICES.get(request.query_params.get("done", "")),
    )


async def frame_of(request: Request) -> Frame | None:
    """The frame of whatever this request is answered with, for whoever may see pages; None for all others."""
    try:
        frame = await framed(request, await reader(request), "")
    except TaktError:
        return None
    return frame if request.method == "GET" else replace(frame, back="/")
