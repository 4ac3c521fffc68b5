"""What was just done, told once, on the page that the step led to.

It comes in a cookie of a minute, with a mark that Takt gives this session for this page: an address, which anybody can
write, tells nothing of what happened, and a page that is loaded again, or kept, does not repeat it.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from fastapi import Request, Response
from starlette.responses import RedirectResponse

from engine.operations.sign_in import Session
from engine.web.sites import is_by_https

_COOKIE: Final = "takt_done"
_WAITS_S: Final = 60
_TEXTS: Final[Mapping[str, str]] = {  # by the word of what was done
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
    "activated/under": "In force, from the next ask on, in every process. What a running"
    " experiment stands on is otherwise now, for its control too: its log and its readouts say so.",
    "suppressed": "Stopped. Nothing is allowed there from now on.",
    "merged": "They are one customer from now on.",
    "erased": "Erased. Nothing is on file, and nobody may contact them.",
    "readout": "Read anew.",
}


class Onward(RedirectResponse):
    """To the page to look at next, after something was done: `done` is its word."""

    def __init__(self, path: str, headers: Mapping[str, str], done: str | None = None) -> None:
        super().__init__(path, 303, headers)
        self.done = done
        self._to = self.headers["location"].partition("#")[0]

    def carry(self, request: Request, session: Session) -> None:
        """Have it told on that page, and nowhere else."""
        if self.done is not None:
            said = f"{quote(self.done, safe='')}.{session.mark('done', self.done, self._to)}"
            secure = is_by_https(request)
            self.set_cookie(_COOKIE, said, max_age=_WAITS_S, httponly=True, samesite="lax", secure=secure)


def told(request: Request, session: Session) -> str | None:
    """What was just done, on the page that it led to; None anywhere else. Once: the answer takes the cookie back."""
    word, _, mark = request.cookies.get(_COOKIE, "").rpartition(".")
    word, here = unquote(word), request.scope["raw_path"].decode("latin-1")
    if request.url.query:
        here += f"?{request.url.query}"
    if request.method != "GET" or not session.said(mark, "done", word, here):
        return None
    request.state.was_told = True
    return _TEXTS.get(word)


def answered(request: Request, response: Response) -> Response:
    """The answer of a page, with what is to be told next, or without what was told."""
    session: Session | None = getattr(request.state, "session", None)
    if isinstance(response, Onward) and session is not None:
        response.carry(request, session)
    elif getattr(request.state, "was_told", False):
        response.delete_cookie(_COOKIE)
    return response
