"""The `takt` command and how it ends."""

import sys

import typer

from engine.core.errors import Invalid, TaktError
from engine.operations.policy_file import render

app = typer.Typer(
    name="takt",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)


@app.callback()
def takt() -> None:
    """One contact budget per customer over all channels and teams: may I send this message now?"""


def run() -> None:
    """Run the command that the arguments name; exits with 1 where it failed, 2 where it was called wrongly."""
    try:
        app()
    except Invalid as error:
        print(render(error.problems, error.source or error.noun), file=sys.stderr)
        sys.exit(1)
    except (TaktError, OSError) as error:
        print(f"takt: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
