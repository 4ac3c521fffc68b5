"""The application: routes, errors, limits, and the life of the Decider behind them."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.api import contacts, customers, decisions, health, policies, problems
from engine.api.auth import Authenticator
from engine.api.limits import BodyLimit
from engine.core.errors import TaktError
from engine.operations.decider import Decider
from engine.operations.metrics import Metrics
from engine.settings import Settings

_DESCRIPTION = """
Takt stands between marketing systems and customers. Ask before you send; send only what was answered `reserved`; then
confirm, or release. One contact budget per customer over all channels and teams.
"""


def create_app(settings: Settings, database_url: str, leave: Callable[[], None] | None = None) -> FastAPI:
    """The service as an ASGI application. `leave` is called once everything else has ended."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        decider = Decider(database_url, settings, metrics)
        try:
            await decider.open()
            metrics.watch_queues(lambda: decider.lanes.queued)
            app.state.decider = decider
            app.state.authenticator = Authenticator(decider.database)
            yield
        finally:
            await decider.close()
            if leave is not None:
                leave()

    app = FastAPI(
        title="Takt",
        version="1",
        summary="May I send this message to this customer now?",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.state.metrics = metrics
    for router in (decisions.router, contacts.router, customers.router, policies.router, health.router):
        app.include_router(router)
    app.add_exception_handler(TaktError, problems.on_takt_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_request)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(Exception, problems.on_fault)
    app.add_middleware(Timing, metrics=metrics)
    app.add_middleware(BodyLimit, limit_bytes=settings.body_bytes)
    return app


class Timing:
    """How long each route takes, by its template."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self._metrics.latency.labels(path).observe(time.perf_counter() - began)
