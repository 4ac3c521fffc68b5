"""The command line. Errors are one sentence and an exit code, never a traceback."""

from engine.cli import screen as _screen  # importing registers the command
from engine.cli.app import app, run
from engine.cli.output import banner

__all__ = ["app", "banner", "run"]

del _screen
