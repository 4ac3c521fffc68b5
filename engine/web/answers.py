"""How a page is answered: whole, with a policy that lets nothing in from elsewhere; and what an error looks like."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from engine.core.errors import Conflict, Forbidden, Invalid, NotFound, TaktError, Unauthenticated, Unavailable
from engine.render.frame import Frame, Place, page
from engine.web import notices
from engine.web.static import VERSION

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # else browsers keep from us too which page a form came from (Origin: null)
    "X-Robots-Tag": "noindex, nofollow",
    "Vary": "Cookie",
}
_STATUS: Final[Mapping[type[TaktError], tuple[int, str]]] = {
    Invalid: (422, "That was not understood"),
    Conflict: (409, "That does not go together"),
    NotFound: (404, "There is nothing here"),
    Forbidden: (403, "That is not allowed"),
    Unauthenticated: (401, "You are not signed in"),
    Unavailable: (503, "Not just now"),
}
_FAULT: Final = (500, "A fault of Takt")
_IS_STEP: Final = "This address is no page", "Nothing was done. A step is taken here, by a button on another page."
_IS_PAGE: Final = "Nothing is sent to this page", "Nothing was done. This page is only read."
_OVERVIEW: Final = Place("Overview", "/")


def html(template: str, frame: Frame, status: int = 200, **values: Any) -> Response:
    """A page as a response."""
    return of_html(page(template, frame, **values), status)


def of_html(text: str, status: int = 200) -> Response:
    return Response(text, status, _HEADERS, "text/html")


def saved(text: str | bytes, media_type: str, name: str) -> Response:
    """A file to be kept, and not to be shown as a page of this site."""
    headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, 200, headers, media_type)


def see(path: str, done: str | None = None, **query: str) -> Response:
    """The page to look at next, which tells what was done: `done` is its word in `notices`."""
    if query:
        path += f"{'&' if '?' in path else '?'}{urlencode(query)}"
    return notices.Onward(path, _HEADERS, done)


def local(path: str) -> str:
    """Where to go next, within this site: browsers take `//` and `/\\` for another one."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


def error_page(request: Request, error: TaktError, frame: Frame | None = None) -> Response:
    """What went wrong, in a sentence, and where to go from there."""
    request.app.state.metrics.errors.labels(error.code).inc()
    status, title = next((said for kind, said in _STATUS.items() if isinstance(error, kind)), _FAULT)
    shown = replace(frame, title=title) if frame else bare(title)
    response = html("error.html", shown, status, title=title, message=sentence(error.message), place=_OVERVIEW)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


async def misled(request: Request, allow: str, place: Place) -> Response:
    """To somebody who opened the address of a step: nothing was done, and it is taken on that page. `allow`: the
    methods that there are."""
    frame: Frame | None = await request.app.state.frame_of(request)
    title, message = _IS_STEP if request.method in ("GET", "HEAD") else _IS_PAGE
    shown = replace(frame, title=title, back=place.path) if frame else bare(title)
    response = html("error.html", shown, 405, title=title, message=message, place=place)
    response.headers["Allow"] = allow
    return response


async def told(request: Request, error: TaktError) -> Response:
    """The same for whoever is signed in: with the way to all pages around it, unless the database is what failed."""
    frame: Frame | None = None if isinstance(error, Unavailable) else await request.app.state.frame_of(request)
    return error_page(request, error, frame)


def sentence(message: str) -> str:
    """What programs are told after a colon, as people read it."""
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "?", "!")) else ".")


def bare(title: str) -> Frame:
    """Around a page for somebody who is not signed in."""
    return Frame(title, 0, VERSION)


class PageRoute(APIRoute):
    """Answers errors with pages, and HEAD as GET. Who is not signed in is sent to sign in, and from there to where they
    wanted to go."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        super().__init__(path, endpoint, **given)
        if self.methods and "GET" in self.methods:
            self.methods.add("HEAD")  # the server leaves the body out

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def answered(request: Request) -> Response:
            return notices.answered(request, await attempted(request))

        async def attempted(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthenticated as error:
                if request.method not in ("GET", "HEAD"):
                    return error_page(request, error)
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return see("/sign-in" if wanted == "/" else f"/sign-in?next={quote(wanted, safe='')}")
            except TaktError as error:
                return await told(request, error)
            except RequestValidationError:
                return await told(request, NotFound("This address says something that no page of Takt understands."))

        return answered
