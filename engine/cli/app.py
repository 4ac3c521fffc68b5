"""The `takt` command and how it ends: with what was asked for, or with one sentence and an exit code."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from typing import Annotated

import typer
from pydantic import ValidationError

from engine.client import TaktClientError
from engine.core.errors import Invalid, TaktError
from engine.operations.policy_file import render
from engine.store.embedded import EmbeddedError
from experiments.errors import ExperimentError

FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED = 1, 130, 141, 143

app = typer.Typer(
    name="takt",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"takt {version('takt')}")
        except PackageNotFoundError:
            print("takt, from a folder that was not installed")
        raise typer.Exit


@app.callback()
def takt(
    _version: Annotated[
        bool, typer.Option("--version", help="Say which Takt this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """One contact budget per customer over all channels and teams: may I send this message now?"""


def run() -> None:
    """Run the command that the arguments name; exits with 1 where it failed, 2 where it was called wrongly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to fail
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has gone: nothing more to say
        sys.exit(PIPE_CLOSED)
    except Exception as error:
        if os.environ.get("TAKT_DEBUG"):
            raise
        print(sentence(error), file=sys.stderr)
        sys.exit(FAILED)


def sentence(error: Exception) -> str:
    """What went wrong, for whoever typed the command."""
    match error:
        case Invalid():
            return render(error.problems, error.source or error.noun)
        case TaktError() | TaktClientError() | EmbeddedError() | ExperimentError():
            return f"takt: {error}"
        case OSError() if error.strerror:
            return f"takt: {error.filename}: {error.strerror}" if error.filename else f"takt: {error.strerror}"
        case UnicodeEncodeError():
            return "takt: an argument is not UTF-8"
        case ValidationError():
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return "\n".join(f"takt: {_variable(each['loc'])}: {each['msg']}" for each in found)
        case _:
            return f"takt: this is a fault of Takt ({type(error).__name__}: {error}); TAKT_DEBUG=1 shows where it lies"


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a setting."""
    name = str(place[0]) if place else "the environment"
    return name if name.isupper() else f"TAKT_{name.upper()}"
