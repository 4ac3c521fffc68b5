"""The command line. Errors are one sentence and an exit code, never a traceback."""

from engine.cli import (
    analyze,
    ask,
    assign,
    contacts,
    customers,
    db,
    events,
    experiments,
    keys,
    pause,
    persons,
    policy,
    readout,
    scheduler,
    screen,
    sign_in,
    verify,
    why,
)
from engine.cli.app import app, run
from engine.cli.output import banner
from engine.cli.scheduler import scheduler_app

COMMANDS = (
    ask,
    why,
    policy,
    pause,
    keys,
    sign_in,
    customers,
    persons,
    contacts,
    events,
    screen,
    experiments,
    readout,
    assign,
    analyze,
    scheduler,
    verify,
    db,
)  # importing them is what makes them known

__all__ = ["COMMANDS", "app", "banner", "run", "scheduler_app"]
