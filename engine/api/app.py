"""The application: routes, errors, limits, and the life of the Decider behind them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from engine.api import (
    assignments,
    choices,
    contacts,
    customers,
    decisions,
    events,
    experiments,
    health,
    persons,
    policies,
    problems,
    provider_rates,
    readouts,
    reference,
    traffic,
)
from engine.api.limits import Edge
from engine.core.errors import TaktError
from engine.operations.addresses import PURPOSE
from engine.operations.authenticate import Authenticator
from engine.operations.decider import Decider
from engine.operations.intake import Intake
from engine.operations.links import open_links
from engine.operations.metrics import Metrics
from engine.operations.readouts import Readouts
from engine.settings import Settings

_DESCRIPTION: Final = """
Takt stands between marketing systems and customers. Ask before you send; send only what was answered `reserved`; then
confirm, or release. One contact budget per customer over all channels and teams.

Instants are RFC 3339 with an offset; answers speak UTC. Unknown fields are refused. Errors are problem details
(RFC 9457) whose `problems` name each place that is wrong; a 503 says when to come again.
"""


def create_app(settings: Settings, database_url: str, leave: Callable[[], None] | None = None) -> FastAPI:
    """The service as an ASGI application. `leave` is called once everything else has ended."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        decider = Decider(database_url, settings, metrics)
        try:
            try:
                await decider.open()
                await decider.secret(PURPOSE)  # made here, not by the first request
                metrics.watch_queues(lambda: decider.lanes.queued)
                app.state.decider = decider
                app.state.links = await open_links(decider)
                app.state.intake = Intake(decider)
                app.state.readouts = Readouts(decider.database)
                app.state.authenticator = Authenticator(decider.database)
                yield
            finally:
                await decider.close()
        finally:
            if leave is not None:
                leave()

    app = FastAPI(
        title="Takt",
        version="1",
        summary="May I send this message to this customer now?",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.metrics = metrics
    routers = (
        decisions.router,
        contacts.router,
        customers.router,
        persons.router,
        events.router,
        provider_rates.router,
        policies.router,
        experiments.router,
        readouts.router,
        traffic.router,
        assignments.router,
        choices.router,
        health.router,
    )
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    reference.describe(app)
    if settings.docs:
        app.include_router(reference.router)
    app.add_exception_handler(TaktError, problems.on_takt_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_request)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    direct = {route.path: route for route in decisions.router.routes if isinstance(route, decisions.Direct)}
    app.add_middleware(Edge, metrics=metrics, list_bytes=settings.body_bytes, direct=direct)
    return app


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function: generated clients call their methods so."""
    return route.name
