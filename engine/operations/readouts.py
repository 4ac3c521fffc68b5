"""Readouts for whoever reads them: the newest snapshot, an older one, or a new one."""

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

from engine.core.errors import Conflict, NotFound
from engine.core.policy import DAY_US
from engine.operations.experiments import State
from engine.operations.readout_process import held_refreshed, refreshed
from engine.operations.ship import readouts_us
from engine.store import experiments, holdout_readouts, snapshots
from engine.store.database import Connection, Database, clock_us
from engine.store.experiments import Entry, Holdout, Record
from engine.store.holdout_readouts import HeldSnapshot
from engine.store.pruning import GRACE_DAYS
from engine.store.snapshots import Past, Reading, Snapshot
from experiments.design import Inference
from experiments.reporting import SCHEMA

_DAYS_MAX: Final = 120
_KEPT_MAX: Final = 4 * _DAYS_MAX
_EXPERIMENTS_MAX: Final = 50


class Kept(NamedTuple):
    """A snapshot of an experiment's readout, with the findings of people; `now_us` tells its age."""

    record: Record
    snapshot: Snapshot
    findings: list[Entry]
    now_us: int


class HeldKept(NamedTuple):
    """A readout of the holdout that shipping an experiment left; `now_us` tells its age."""

    record: Record
    holdout: Holdout
    snapshot: HeldSnapshot
    now_us: int


class Due(NamedTuple):
    """A readout of a holdout whose day has come, and which is not there yet."""

    record: Record
    day: int


class Readouts:
    """The way to readouts. A process of Takt computes one at a time: each takes a core and some 250 MB meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Semaphore(1)
        self._pasts: OrderedDict[int, dict[int, list[Past]]] = OrderedDict()

    async def newest(self, key: str, at_us: int | None = None) -> Kept:
        """The newest readout, or the newest that was there at an instant; raises `NotFound`."""
        async with self._database.connection() as connection:
            record = await experiments.experiment(connection, key)
            snapshot = (
                await snapshots.newest(connection, record.number)
                if at_us is None
                else await snapshots.newest_by(connection, record.number, at_us)
            )
            if snapshot is None:
                when = "yet: it is read every hour, and whenever somebody wants it" if at_us is None else "from by then"
                raise NotFound(f"there is no readout of {key!r} {when}")
            log = await experiments.log(connection, record.number)
            findings = [each for each in log if each.action == "note"]
            return Kept(record, snapshot, findings, await clock_us(connection))

    async def course(self, number: int, until_us: int) -> list[Reading]:
        """How the effects that decide went, a reading a day, up to the readout computed at an instant; oldest first.

        What a snapshot says never changes, so it is read once: a page of a long experiment costs what is new.
        """
        known = self._pasts.setdefault(number, {})
        self._pasts.move_to_end(number)
        async with self._database.connection() as connection:
            wanted = await snapshots.daily(connection, number, until_us, _DAYS_MAX)
            have = {each: known[each] for each in wanted if each in known}
            new = [each for each in wanted if each not in have]
            have |= await snapshots.pasts(connection, number, new, SCHEMA) if new else {}
        known |= have
        found = [past for each in reversed(wanted) for past in have[each]]
        while len(known) > _KEPT_MAX:
            del known[next(iter(known))]
        while len(self._pasts) > _EXPERIMENTS_MAX:
            self._pasts.popitem(last=False)
        return [read for each in found if (read := _read(each)) is not None]

    async def refresh(self, key: str) -> Kept:
        """A readout as of this call or later: of those who ask meanwhile one computes, and the others wait for it.

        Raises `NotFound`, and `Conflict` for an experiment that has not begun, or that cannot be read.
        """
        async with self._database.connection() as connection:
            record = await experiments.experiment(connection, key)
            ticket = await snapshots.ticket(connection)
        if record.state == State.DRAFT:
            raise Conflict(f"{key!r} is a draft: there is nothing to read before it was started")
        async with self._turn:
            if not await self._is_fresh(record, ticket):
                await refreshed(self._database.url, record.number, ticket)
        return await self.newest(key)

    async def newest_held(self, key: str, day: int | None = None) -> HeldKept:
        """The newest readout of a holdout, or that of a day on which one was due; raises `NotFound`."""
        async with self._database.connection() as connection:
            record, holdout = await _held(connection, key)
            snapshot = await holdout_readouts.newest(connection, record.number, day)
            if snapshot is None:
                of_day = "" if day is None else f" of day {day}"
                raise NotFound(f"there is no readout{of_day} of the holdout of {key!r}: POST makes one as of now")
            return HeldKept(record, holdout, snapshot, await clock_us(connection))

    async def refresh_held(self, key: str, day: int | None = None) -> HeldKept:
        """The readout of a holdout as of this call or later; with `day` the one that was due then, computed if it is
        not there. Raises `NotFound`, and `Conflict` for what is not over yet, or cannot be read."""
        async with self._database.connection() as connection:
            record, _ = await _held(connection, key)
            ticket = await snapshots.ticket(connection)
        async with self._turn:
            if day is not None or not await self._has_asked(record, ticket):
                await held_refreshed(self._database.url, record.number, ticket, day)
        async with self._database.connection() as connection:
            record, holdout = await _held(connection, key)
            found = (
                await holdout_readouts.newest_asked(connection, record.number, ticket)
                if day is None
                else await holdout_readouts.newest(connection, record.number, day)
            )
            if found is None:
                raise NotFound(f"the readout of the holdout of {key!r} was not kept")
            return HeldKept(record, holdout, found, await clock_us(connection))

    async def due_held(self) -> list[Due]:
        """The readouts of holdouts that should be there by now, the oldest first: also of one that has just ended."""
        found: list[tuple[int, Due]] = []
        async with self._database.connection() as connection:
            now_us = await clock_us(connection)
            for holdout in await holdout_readouts.holdouts(connection):
                if holdout.experiment is None or now_us >= holdout.over_us + GRACE_DAYS * DAY_US:
                    continue  # nothing is kept for it any more
                record = await experiments.numbered(connection, holdout.experiment)
                read = {each.day for each in await holdout_readouts.read_days(connection, record.number)}
                for at_us in readouts_us(holdout):
                    day = (at_us - holdout.from_us) // DAY_US
                    if at_us <= now_us and day not in read:
                        found.append((at_us, Due(record, day)))
        return [each for _, each in sorted(found, key=lambda each: each[0])]

    async def _has_asked(self, record: Record, ticket: int) -> bool:
        async with self._database.connection() as connection:
            return await holdout_readouts.newest_asked(connection, record.number, ticket) is not None

    async def _is_fresh(self, record: Record, ticket: int) -> bool:
        async with self._database.connection() as connection:
            found = await snapshots.newest(connection, record.number)
        return found is not None and found.number > ticket


def _read(past: Past) -> Reading | None:
    """Under `anytime` what decides holds at every look; else what may stop does."""
    is_anytime = past.inference == Inference.ANYTIME
    effect = _number(past.effect)
    if effect is None:
        return None
    ends = (past.low, past.high) if is_anytime else (past.bound_low, past.bound_high)
    return Reading(past.as_of_us, past.metric, past.variant, effect, *map(_number, ends))


def _number(found: object) -> float | None:
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


async def _held(connection: Connection, key: str) -> tuple[Record, Holdout]:
    record = await experiments.experiment(connection, key)
    holdout = await experiments.holdout_of(connection, record.number)
    if holdout is None:
        raise NotFound(f"{key!r} has left no holdout: one is left where a variant that changes a budget is shipped")
    return record, holdout
