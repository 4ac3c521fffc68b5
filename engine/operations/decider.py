"""The Decider: everything a process needs to decide, opened once and closed in order."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TypeVar

from engine.core.errors import DatabaseUnavailable, TaktError
from engine.core.tokens import derived
from engine.operations.batch import Command
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.erasures import PURPOSE, Erasures
from engine.operations.lanes import Lanes
from engine.operations.patience import in_time
from engine.operations.rulebook import Rulebook
from engine.operations.settle import Observer, Peekable, Settler
from engine.settings import Settings
from engine.store import secrets
from engine.store.database import Database, DatabaseError, ensure_weeks
from engine.store.labels import Labels

_HOUR_S = 3600.0
_SPARE_CONNECTIONS = 6

T = TypeVar("T")

log = logging.getLogger("takt.decider")


class Unobserved:
    """Watches nothing."""

    def chunk(self, commands: Sequence[Command], answers: Sequence[object], seconds: float) -> None:
        return None


class Decider:
    """Decides asks and settles every other write to an account, in lanes.

    Open it before use. `observer` is told of each chunk that was committed.
    """

    def __init__(self, database_url: str, settings: Settings, observer: Observer | None = None) -> None:
        self.settings = settings
        self.database = Database(
            database_url, size=settings.lanes + _SPARE_CONNECTIONS, lock_wait_ms=settings.lock_wait_ms
        )
        self.labels = Labels(self.database)
        self.rulebook = Rulebook()
        self.erasures = Erasures()
        self.settler = Settler(self.database, self.labels, self.rulebook, self.erasures, observer or Unobserved())
        self.lanes = Lanes(
            self.settler, lanes=settings.lanes, queue_asks=settings.queue_asks, queue_bulk=settings.queue_bulk
        )
        self._weeks: asyncio.Task[None] | None = None
        self._secrets: dict[str, bytes] = {}

    async def open(self) -> None:
        """Connect, check the server, and start the lanes. Raises `UnfitDatabase` or `DatabaseUnavailable`."""
        await self.database.open()
        async with self.database.connection() as connection:
            await self.labels.load(connection)
            await ensure_weeks(connection)
        self.erasures.keys = tuple(await self.keys(PURPOSE))
        self._weeks = asyncio.create_task(self._keep_weeks())
        self.lanes.start()

    async def close(self) -> None:
        """Settle what is queued, then let go of the database."""
        if self._weeks is not None:
            self._weeks.cancel()
        try:
            await self.lanes.stop()
        finally:
            await self.database.close()

    async def secret(self, purpose: str) -> bytes:
        """256 bits for one purpose, the same in every process: of TAKT_SECRET, or kept in the database without it."""
        found = self._secrets.get(purpose)
        if found is None:
            root = self.settings.secret
            if root is not None:
                found = derived(root.get_secret_value().encode(), purpose)
            else:
                async with self.database.transaction() as connection:
                    found = await secrets.secret(connection, purpose)
            self._secrets[purpose] = found
        return found

    async def keys(self, purpose: str) -> list[bytes]:
        """That secret, and those in whose stead it came: of what was made under them, all stays good."""
        found = [await self.secret(purpose)]
        if self.settings.secret_before is not None:
            found.append(derived(self.settings.secret_before.get_secret_value().encode(), purpose))
        if self.settings.secret is not None:
            async with self.database.connection() as connection:
                kept = await secrets.kept(connection, purpose)
            if kept is not None:
                found.append(kept)
        return found

    async def settle(self, command: Command) -> object:
        """The answer to one command; raises the `TaktError` that it met."""
        return await self.lanes.settle(command, self.settings.deadline_ms / 1000)

    async def settle_all(self, commands: Sequence[Command]) -> list[object]:
        """The answers to a batch, in order: values, or the `TaktError` that a command alone met."""
        return await self.lanes.settle_all(commands, self.settings.bulk_deadline_ms / 1000)

    async def ask(self, command: AskCommand, mode: Mode) -> Answer:
        """May this message be sent? Durably on record before the answer is given, except to a peek."""
        if mode is Mode.PEEK:
            return await self.peek(command)
        answer = await self.settle(command)
        assert isinstance(answer, Answer)  # noqa: S101 - what an ask's apply() returns
        return answer

    async def peek(self, command: Peekable[T]) -> T:
        """What a command would say now. Nothing is locked, and nothing written."""
        return await in_time(self.settler.peek(command), self.settings.deadline_ms / 1000)

    async def ask_all(self, commands: Sequence[AskCommand], modes: Sequence[Mode]) -> list[Answer | TaktError]:
        """The answers to a batch in its order. A customer's asks are decided by priority, then by that order."""
        answers: list[Answer | TaktError | None] = [None] * len(commands)
        settled = [index for index, mode in enumerate(modes) if mode is not Mode.PEEK]
        settled.sort(key=lambda index: -commands[index].ask.priority)
        for index, answer in zip(settled, await self.settle_all([commands[each] for each in settled]), strict=True):
            answers[index] = answer  # type: ignore[call-overload]
        for index, mode in enumerate(modes):
            if mode is Mode.PEEK:
                try:
                    answers[index] = await self.ask(commands[index], mode)
                except TaktError as error:
                    answers[index] = error
        return [each for each in answers if each is not None]

    async def _keep_weeks(self) -> None:
        """Make the weeks ahead. No promise depends on it: what no week takes lies in the spare partition."""
        while True:
            await asyncio.sleep(_HOUR_S)
            try:
                async with self.database.connection() as connection:
                    await ensure_weeks(connection)
            except (DatabaseUnavailable, DatabaseError):
                log.warning("the weeks ahead could not be made; trying again in an hour", exc_info=True)
