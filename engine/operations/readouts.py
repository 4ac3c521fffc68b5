"""Readouts for whoever reads them: the newest snapshot, an older one, or a new one."""

import asyncio
from typing import NamedTuple

from engine.core.errors import Conflict, NotFound
from engine.operations.experiments import State
from engine.operations.readout_process import refreshed
from engine.store import experiments, snapshots
from engine.store.database import Database, clock_us
from engine.store.experiments import Entry, Record
from engine.store.snapshots import Snapshot


class Kept(NamedTuple):
    """A snapshot of an experiment's readout, with the findings of people; `now_us` tells its age."""

    record: Record
    snapshot: Snapshot
    findings: list[Entry]
    now_us: int


class Readouts:
    """The way to readouts. A process of Takt computes one at a time: each takes a core and some 250 MB meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Semaphore(1)

    async def newest(self, key: str, at_us: int | None = None) -> Kept:
        """The newest readout, or the newest that was there at an instant; raises `NotFound`."""
        async with self._database.connection() as connection:
            record = await experiments.experiment(connection, key)
            snapshot = await snapshots.newest(connection, record.number, at_us)
            if snapshot is None:
                when = "" if at_us is None else " from by then"
                raise NotFound(f"there is no readout of {key!r}{when}: POST makes one at once")
            log = await experiments.log(connection, record.number)
            findings = [each for each in log if each.action == "note"]
            return Kept(record, snapshot, findings, await clock_us(connection))

    async def refresh(self, key: str) -> Kept:
        """A readout as of this call or later: of those who ask meanwhile one computes, and the others wait for it.

        Raises `NotFound`, and `Conflict` for an experiment that has not begun, or that cannot be read.
        """
        async with self._database.connection() as connection:
            record = await experiments.experiment(connection, key)
            asked_us = await clock_us(connection)
        if record.state == State.DRAFT:
            raise Conflict(f"{key!r} is a draft: there is nothing to read before it was started")
        async with self._turn:
            if not await self._is_fresh(record, asked_us):
                await refreshed(self._database.url, record.number, asked_us)
        return await self.newest(key)

    async def _is_fresh(self, record: Record, asked_us: int) -> bool:
        async with self._database.connection() as connection:
            found = await snapshots.newest(connection, record.number)
        return found is not None and found.computed_us >= asked_us
