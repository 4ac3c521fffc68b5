"""All pages, brought into a service: their routes, and what a browser sees where there is none."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from engine.core.errors import NotFound
from engine.render.frame import Place
from engine.web import (
    budgets,
    customers,
    experiments,
    exports,
    overview,
    pauses,
    policies,
    programme,
    signing_in,
    static,
)
from engine.web.answers import misled, told
from engine.web.framing import frame_of

ROUTERS: Final = tuple(
    each.router
    for each in (signing_in, overview, exports, experiments, programme, budgets, policies, customers, pauses, static)
)
_OF_PROGRAMS: Final = ("/v1/", "/ofrep/", "/u/")
_STEPS: Final = (  # which page the form of a step stands on; all others are on every page
    (re.compile(r"/experiments/([A-Za-z0-9][A-Za-z0-9_.:-]{0,99})/.+"), "The experiment", "/experiments/{}"),
    (re.compile(r"/policy/([1-9][0-9]{0,9})/activate"), "The version", "/policy/{}"),
    (re.compile(r"/customer/.+"), "Customers", "/customers"),
)


def add_pages(app: FastAPI) -> None:
    """Let the service show pages too. A program's paths answer as before."""
    app.state.frame_of = frame_of
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [*app.state.routes, *(route for router in ROUTERS for route in router.routes)]
    before = cast(Callable[[Request, Exception], Awaitable[Response]], app.exception_handlers[HTTPException])

    async def on_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        is_read = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(_OF_PROGRAMS)
        if is_read and status == 404:
            return await told(request, NotFound("No page has this address."))
        answer = await before(request, error)
        if not is_read or status != 405:
            return answer
        return await misled(request, answer.headers["Allow"], _place_of(request))

    app.add_exception_handler(HTTPException, on_http_error)


def _place_of(request: Request) -> Place:
    """The page on which somebody takes the step of an address, or reads what it is about."""
    path = request.url.path
    if request.method not in ("GET", "HEAD"):
        return Place("To the page", path)
    for pattern, name, page in _STEPS:
        if found := pattern.fullmatch(path):
            return Place(name, page.format(*found.groups()))
    return Place("Overview", "/")
