"""All pages, brought into a service: their routes, and what a browser sees where there is none."""

from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from engine.core.errors import NotFound
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
from engine.web.answers import told
from engine.web.framing import frame_of

ROUTERS: Final = tuple(
    each.router
    for each in (signing_in, overview, exports, experiments, programme, budgets, policies, customers, pauses, static)
)
_OF_PROGRAMS: Final = ("/v1/", "/ofrep/", "/u/")


def add_pages(app: FastAPI) -> None:
    """Let the service show pages too. A program's paths answer as before."""
    app.state.frame_of = frame_of
    for router in ROUTERS:
        app.include_router(router)
    before = app.exception_handlers[HTTPException]

    async def on_http_error(request: Request, error: Exception) -> Response:
        is_lost = isinstance(error, HTTPException) and error.status_code == 404
        if (
            is_lost
            and not request.url.path.startswith(_OF_PROGRAMS)
            and "text/html" in request.headers.get("accept", "")
        ):
            return await told(request, NotFound("No page has this address."))
        return await before(request, error)  # type: ignore[misc]

    app.add_exception_handler(HTTPException, on_http_error)
