"""All experiments side by side, each with what its newest readout says."""

from typing import Final, NamedTuple

from engine.core.errors import NotFound
from engine.operations.experiments import State, Whole, whole
from engine.operations.readouts import Kept, Readouts
from engine.store import experiments, snapshots
from engine.store.database import Database
from engine.store.experiments import Record

SHOWN_MAX: Final = 1_000
_DAYS_SHOWN: Final = 120


class Line(NamedTuple):
    """An experiment; `call` and `computed_us` are of its newest readout, None where there is none."""

    record: Record
    call: str | None
    computed_us: int | None


class Seen(NamedTuple):
    """One experiment with all there is to know of it. `kept` is None before the first readout; `days` are the last
    readouts of each day, the newest first, and `is_newest` whether `kept` is the newest of all."""

    whole: Whole
    kept: Kept | None
    days: list[tuple[int, str]]
    is_newest: bool


async def lines(database: Database, state: State | None = None) -> list[Line]:
    """The newest experiment first."""
    async with database.connection() as connection:
        records = await experiments.experiments(connection, state, SHOWN_MAX)
        calls = await snapshots.newest_calls(connection)
    return [Line(each, *calls.get(each.number, (None, None))) for each in records]


async def seen(database: Database, readouts: Readouts, key: str, at_us: int | None = None) -> Seen:
    """With its newest readout, or the newest that was there at an instant. Raises `NotFound` for an experiment that is
    not there, and for an instant before its first readout."""
    found = await whole(database, key)
    try:
        kept = await readouts.newest(key, at_us)
    except NotFound:
        if at_us is not None:
            raise
        kept = None
    async with database.connection() as connection:
        days = await snapshots.days(connection, found.record.number, _DAYS_SHOWN)
    newest_us = days[0][0] if days else None
    return Seen(found, kept, days, kept is None or kept.snapshot.computed_us == newest_us)
