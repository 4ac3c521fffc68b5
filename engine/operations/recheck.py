"""A screened file looked at again before it is sent: whose message is still held, and whose is not any more.

Only looks: nothing is locked, and nothing written. A message that is not reserved must not be sent.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.core.account import State
from engine.core.errors import NotFound
from engine.operations.audience import Audience, BadRow, Portion, UnreadableAudience, open_audience, taken, unguarded
from engine.operations.result_file import Column, Kind, ResultFile
from engine.operations.screen import Progress
from engine.operations.screening import BAD_ROWS_KEPT
from engine.store.database import Database
from engine.store.labels import Labels
from engine.store.message_states import states

NAMED_MAX: Final = 20
UNKNOWN: Final = "unknown"  # no such message, or asked more than 16 days ago
COLUMNS: Final = (Column("state", Kind.TEXT),)
_AT_ONCE: Final = 2_000


@dataclass
class Recheck:
    """How many messages are in which state now. `named` are the first of those that must not be sent any more."""

    states: Counter[str] = field(default_factory=Counter[str])
    named: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list[BadRow])

    @property
    def sendable(self) -> int:
        return self.states[State.RESERVED.value]

    @property
    def lost(self) -> int:
        return self.states.total() - self.sendable


def open_screened(path: Path, column: str = "customer_id") -> Audience:
    """A file that a screening with reservations has written; raises `UnreadableAudience`."""
    audience = open_audience(path, column)
    if "message_id" not in audience.schema.names:
        raise UnreadableAudience(f"{path} has no column 'message_id': a file that a screening wrote was expected")
    return audience


async def recheck(
    database: Database,
    screened: Audience,
    sendable: Path | None = None,
    lost: Path | None = None,
    progress: Progress | None = None,
) -> Recheck:
    """Look up every message of the file; write those still reserved, and those that must not be sent any more."""
    labels = Labels(database)
    found = Recheck()
    with ExitStack() as stack:
        files = [
            None
            if path is None
            else stack.enter_context(ResultFile(path, screened.schema, COLUMNS, screened.delimiter))
            for path in (sendable, lost)
        ]
        for portion, message_ids in _with_ids(screened):
            found.bad += len(portion.bad)
            found.bad_rows += portion.bad[: BAD_ROWS_KEPT - len(found.bad_rows)]
            now = await _states(database, labels, list(zip(portion.customer_ids, message_ids, strict=True)))
            _write(portion, now, files, found)
            if progress is not None:
                progress(found.states.total() + found.bad)
        if found.states.total() and found.states[UNKNOWN] == found.states.total():
            raise NotFound(
                f"{screened.path}: none of its messages was ever reserved here, or not within the last 16 days:"
                " was it screened without --reserve, or into another database?"
            )
        for file in files:
            if file is not None:
                file.finish()
    return found


async def _states(database: Database, labels: Labels, wanted: list[tuple[str, str]]) -> list[str]:
    found: list[str] = []
    for first in range(0, len(wanted), _AT_ONCE):
        async with database.connection() as connection:
            part = await states(connection, labels, wanted[first : first + _AT_ONCE])
        found += [UNKNOWN if each is None else each.value for each in part]
    return found


def _write(portion: Portion, now: list[str], files: list[ResultFile | None], found: Recheck) -> None:
    found.states.update(now)
    sendable = [index for index, state in enumerate(now) if state == State.RESERVED.value]
    lost = [index for index, state in enumerate(now) if state != State.RESERVED.value]
    for index in lost[: NAMED_MAX - len(found.named)]:
        found.named.append((portion.customer_ids[index], now[index]))
    for indices, file in zip((sendable, lost), files, strict=True):
        if file is not None and indices:
            file.write(taken(portion.carried, indices), [[now[index] for index in indices]])


def _with_ids(screened: Audience) -> Iterator[tuple[Portion, list[str]]]:
    column = screened.schema.names.index("message_id")
    for portion in screened.portions():
        yield portion, [unguarded(str(each or "")) for each in portion.carried.column(column).to_pylist()]
