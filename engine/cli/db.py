"""`takt db`: the PostgreSQL that Takt brings along, and the migrations of any."""

import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from engine.cli.app import FAILED, app
from engine.cli.output import as_json, note
from engine.core.errors import TaktError
from engine.operations import start as starting
from engine.settings import Settings
from engine.store import embedded

db_app = typer.Typer(no_args_is_help=True, help="The database: the one Takt brings along, and migrations.")
app.add_typer(db_app, name="db", rich_help_panel="Service")


@db_app.command()
def start() -> None:
    """Run the embedded server on its own until Ctrl-C, and print its address.

    It runs as long as any process uses it: this command keeps it up when no
    other does. `takt serve` needs no `db start`. In the background, as a job of
    the shell: takt db start &

    Example: takt db start
    """
    settings = Settings()
    _embedded_only(settings)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
    with embedded.attach(settings.data_dir) as server:
        print(server.url(), flush=True)
        note("The server runs until Ctrl-C, or longer if others use it then.")
        ended.wait()
    after = embedded.status(settings.data_dir)
    note("It runs on: others use it." if after.running else "It is stopped.")


@db_app.command()
def stop(
    force: Annotated[bool, typer.Option("--force", help="Also if processes use it: their asks fail.")] = False,
) -> None:
    """Stop the embedded server, if one runs and nobody uses it.

    Example: takt db stop
    """
    settings = Settings()
    _embedded_only(settings)
    embedded.stop(settings.data_dir, force)
    print("The server is stopped.")


@db_app.command()
def status(json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Where the database is, whether it runs, and its revision. Exits with 1 if it does not run.

    Example: takt db status
    """
    from engine.store.migrations import current_revision, newest_revision  # loads Alembic

    settings = Settings()
    if settings.database_url is not None:
        url, facts = settings.database_url.get_secret_value(), {"database": "yours, by DATABASE_URL"}
        running = True
    else:
        found = embedded.status(settings.data_dir)
        url, running = found.url, found.running
        facts = {
            "database": "embedded",
            "folder": str(found.data_dir),
            "version": found.version,
            "running": "yes" if running else "no",
            "url": found.url or "-",
            "used by": ", ".join(map(str, sorted(set(found.attached)))) or "-",
        }
    if running and url is not None:
        revision = current_revision(url)
        facts["revision"] = "none yet" if revision is None else revision
        facts["newest"] = newest_revision()
    if json:
        as_json(facts)
    else:
        for name, value in facts.items():
            print(f"{name:<9} {value}")
    if not running:
        raise typer.Exit(FAILED)


@db_app.command()
def migrate() -> None:
    """Bring the database to the form that this Takt knows. Safe beside others who do the same.

    Example: DATABASE_URL=postgresql://... takt db migrate
    """
    from engine.store.migrations import current_revision  # loads Alembic

    with starting.locate(Settings()) as where:
        before = current_revision(where.url)
        starting.come_up(where)
        after = current_revision(where.url)
    print(f"The database is at revision {after}" + (", as before." if before == after else "."))


def _embedded_only(settings: Settings) -> None:
    if settings.database_url is not None:
        raise TaktError("DATABASE_URL names a server of your own: Takt starts and stops only the one it brings along")
