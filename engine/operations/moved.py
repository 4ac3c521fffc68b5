"""Commands about somebody who was merged into another customer: sent on to that one."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

from engine.operations.addresses import PutReachable
from engine.operations.batch import Command
from engine.operations.choices import Choose, Leave, LookAtChoices
from engine.operations.happened import HappenedCommand

MOVES_MAX = 20  # merges in a row; far more than anybody needs


class Moved(NamedTuple):
    """The answer of a command that is to be asked of another customer."""

    customer_id: str


def sent_on(command: Command, to: str) -> Command:
    """The same about another customer."""
    match command:
        case HappenedCommand():
            return HappenedCommand(to, tuple(each._replace(customer_id=to) for each in command.events))
        case PutReachable():
            return replace(command, customer_id=to, put=replace(command.put, customer_id=to))
        case LookAtChoices() | Leave() | Choose():
            return replace(command, origin=command.origin._replace(customer_id=to))
        case _:
            return cast(Command, replace(cast(Any, command), customer_id=to))
