"""Wiring: settings into a running service, and the command line that starts it."""

import asyncio
import logging
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from engine import cli
from engine.core.errors import TaktError
from engine.operations import collector, start
from engine.scheduler.beside import beside, end_with_input
from engine.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

# Longer than senders and load balancers keep an idle connection (a minute, mostly): whichever side closes first while
# the other sends, the caller sees a connection that broke.
IDLE_S_MAX = 75


class CannotListen(TaktError):
    """Raised at start where the address is taken, or is none of this machine's."""

    code = "cannot_listen"


def service(settings: Settings, database_url: str, leave: Callable[[], None] | None = None) -> "FastAPI":
    """The API and the pages of a database. `leave` is called once everything else has ended."""
    from engine.api.app import create_app  # here, because no other command of `takt` should wait for FastAPI to load
    from engine.web.pages import add_pages

    made = create_app(settings, database_url, leave)
    add_pages(made)
    return made


def app() -> "FastAPI":
    """The service for an ASGI server's own process, by the environment. Its database is prepared already."""
    import_module("experiments.assignment")  # with numpy: not when the first experiment starts, while asks wait
    _log()
    settings = Settings()
    leaving = ExitStack()
    where = leaving.enter_context(start.locate(settings))
    made = service(settings, where.url, leaving.close)
    collector.ease()
    return made


@cli.app.command(rich_help_panel="Service")
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
) -> None:
    """Start the service: database, migrations, a policy, a key, and the address to ask at.

    Example: takt serve --port 8000
    """
    given: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    # uvicorn ends in order, and then hands SIGTERM on: as an exception it lets the database be left, too.
    signal.signal(signal.SIGTERM, _end)
    with closing(_listen(settings)) as listening, start.locate(settings) as where, ExitStack() as leaving:
        start.come_up(where)
        ready = asyncio.run(start.prepare(where, settings))
        if settings.scheduler:
            leaving.enter_context(beside(where.url))
        cli.banner(settings.model_copy(update={"port": listening.getsockname()[1]}), ready)
        config = _configured("engine.main:app", factory=True, workers=settings.workers)
        if settings.workers == 1:
            uvicorn.Server(config).run(sockets=[listening])
        else:
            Multiprocess(config, sockets=[listening]).run()


@cli.app.command(rich_help_panel="Service")
def demo(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Play it anew, whatever is there.")] = False,
    customers: Annotated[int, typer.Option(min=50, max=20_000, help="How many there are, when it is played.")] = 3_000,
    weeks: Annotated[int, typer.Option(min=2, max=20, help="How many are played.")] = 12,
) -> None:
    """Serve a simulated company: twelve weeks of asks, events and experiments, in a database of their own.

    It is played once, in about a minute, and served as it is from then on. Nothing else in the database server is
    touched: the database is called takt_demo, and /readyz says that it is a demo.

    Example: takt demo --port 8000
    """
    from engine.cli import demo as face  # with numpy, which no other command should wait for
    from engine.demo import companies

    given: dict[str, Any] = {"host": host, "port": port}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    face.silence_alarms()
    signal.signal(signal.SIGTERM, _end)
    company = companies.demo(customers, 7 * weeks)
    with closing(_listen(settings)) as listening, start.locate(settings) as where, ExitStack() as leaving:
        made = face.make(where, settings, company, fresh=fresh)
        ready = asyncio.run(start.prepare(made.where, settings))
        if settings.scheduler:
            leaving.enter_context(beside(made.where.url))
        face.show(made, company, settings.model_copy(update={"port": listening.getsockname()[1]}), ready.key)
        uvicorn.Server(_configured(service(settings, made.where.url))).run(sockets=[listening])


@cli.scheduler_app.command("serve")
def serve_scheduler() -> None:
    """Run the scheduler alone, where the workers are started without `takt serve`. Any number may run: one leads.

    Example: takt scheduler serve
    """
    signal.signal(signal.SIGTERM, _end)
    settings = Settings()
    with start.locate(settings) as where:
        _stand(where.url, settings)


def schedule() -> None:
    """What the process beside the workers does, until whoever started it ends."""
    end_with_input()
    signal.signal(signal.SIGTERM, _end)
    _log()
    settings = Settings()
    if settings.database_url is None:
        sys.exit("DATABASE_URL is not set")
    _stand(settings.database_url.get_secret_value(), settings)


def _stand(url: str, settings: Settings) -> None:
    from engine.scheduler.leader import stand  # with APScheduler, which nobody else needs

    async def until_told() -> None:
        """From here on a signal cancels: raised wherever the loop is, an exit can be lost in some `except`."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is not None:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(each, task.cancel)
        with suppress(asyncio.CancelledError):
            await stand(url, settings)

    asyncio.run(until_told())


def _configured(application: "str | FastAPI", *, factory: bool = False, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        factory=factory,
        workers=workers,
        log_level="warning",
        access_log=False,
        log_config=None,
        server_header=False,
        loop="uvloop",
        http="engine.api.heads:BoundedHeads",
        timeout_graceful_shutdown=10,
        timeout_keep_alive=IDLE_S_MAX,
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _listen(settings: Settings) -> socket.socket:
    """The address, taken before anything else: who pastes the banner's line at once only waits for the start."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise CannotListen(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): name another with --port"
        ) from error
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def main() -> None:
    """The `takt` command."""
    _log()
    cli.run()


class Discreet(logging.Formatter):
    """Tells an exception by its kind and place, and by its words only where they are Takt's own.

    A database's words quote the row that it refused, and so do others: no log is a place for customers.
    """

    def formatException(self, ei: Any) -> str:
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            words = f": {error}" if isinstance(error, TaktError) else ""
            lines.append(f"{type(error).__module__}.{type(error).__qualname__}{words}")
            lines += [
                f"  {each.filename}:{each.lineno} {each.name}" for each in traceback.extract_tb(error.__traceback__)
            ]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


def _log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
