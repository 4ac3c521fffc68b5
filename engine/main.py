"""Wiring: settings into a running service, and the command line that starts it."""

import asyncio
import logging
import sys
from contextlib import ExitStack
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from engine import cli
from engine.api.app import create_app
from engine.operations import start
from engine.settings import Settings


def app() -> FastAPI:
    """The service for an ASGI server's own process, by the environment. Its database is prepared already."""
    settings = Settings()
    where = start.locate(settings)
    leaving = ExitStack()
    leaving.enter_context(where.server)
    return create_app(settings, where.url, leaving.close)


@cli.app.command(rich_help_panel="Service")
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
) -> None:
    """Start the service: database, migrations, a policy, a key, and the address to ask at.

    Example: takt serve --port 8000
    """
    given = {"host": host, "port": port, "workers": workers}
    settings = Settings().model_copy(update={name: value for name, value in given.items() if value is not None})
    where = start.locate(settings)
    with where.server:
        start.come_up(where)
        ready = asyncio.run(start.prepare(where, settings))
        cli.banner(settings, ready)
        uvicorn.run(
            "engine.main:app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_level="warning",
            access_log=False,
            loop="uvloop",
            http="httptools",
            timeout_graceful_shutdown=10,
        )


def main() -> None:
    """The `takt` command."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    cli.run()
