"""Labels as numbers: topics, campaigns, teams, senders and the names of budgets, interned once for all processes.

A label is made before the transaction that uses it, in one of its own, so that no number is ever seen whose name is not
committed. Numbers never change; a process only ever learns more of them. There is an end to them: each process keeps
all in memory, and whoever may ask could make up a campaign with each ask.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from engine.core.account_row import Lexicon
from engine.core.events import TAKT_SOURCE, EventType
from engine.core.outcomes import UNDECLARED_TOPIC, UNKNOWN_TOPIC
from engine.core.policy import Channel
from engine.store.database import Connection, Database

T = TypeVar("T")


LABELS_MAX: Final = 250_000  # of all kinds together; processes that make some at the same instant may pass it by those
_NUMBER_MAX: Final = 2**31 - 1
_OURS: Final = frozenset(
    (*(each.value for each in (*EventType, *Channel)), TAKT_SOURCE, UNKNOWN_TOPIC, UNDECLARED_TOPIC)
)
_MAKE: Final = (
    "INSERT INTO labels (name) SELECT name FROM unnest(%s::text[]) AS given(name)"
    " WHERE NOT EXISTS (SELECT FROM labels WHERE labels.name = given.name)"
    " LIMIT greatest(%s - (SELECT max(number) FROM labels), 0) ON CONFLICT (name) DO NOTHING"
)


class UnknownNumber(LookupError):
    """A number that this process has not met: another one interned it."""


class _Names(dict[int, str | None]):
    def __missing__(self, number: int) -> str | None:
        raise UnknownNumber(number)


class Labels:
    """The labels this process knows, both ways. None is 0."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = _Names({0: None})
        self._numbers: dict[str | None, int] = {None: 0}
        self.number = self._numbers.__getitem__
        # The label of a number (None, though the type hides it, for 0); raises `UnknownNumber`. Bound to the dict's own
        # method: it is called four times a contact that is read.
        self.name: Callable[[int], str] = self._names.__getitem__  # type: ignore[assignment]
        self._newest = 0
        self.lexicon = Lexicon(self.number, self.name)

    def missing(self, names: Iterable[str | None]) -> set[str]:
        return {name for name in names if name is not None and name not in self._numbers}

    async def intern(self, names: Iterable[str | None]) -> None:
        """See to it that each of these has a number. They are Takt's own or a policy's, or were admitted."""
        await self._make(self.missing(names), _NUMBER_MAX)

    async def admit(self, names: Iterable[str | None]) -> set[str]:
        """The same for what requests name, as long as there is room; returns the names for which there is none."""
        missing = self.missing(names)
        await self._make(missing & _OURS, _NUMBER_MAX)
        await self._make(missing - _OURS, LABELS_MAX)
        return self.missing(missing)

    async def _make(self, missing: set[str], most: int) -> None:
        if not missing:
            return
        async with self._database.connection() as connection:
            await connection.execute(_MAKE, (sorted(missing), most))
            cursor = await connection.execute(
                "SELECT number, name FROM labels WHERE name = ANY(%s)", (sorted(missing),)
            )
            for number, name in await cursor.fetchall():
                self._learn(number, name)

    async def load(self, connection: Connection, number: int = 0) -> None:
        """Learn the labels that others made since the last time, `number` among them (numbers commit in any order).

        Raises `LookupError` for a number that nobody made: a row that names it is damaged, and no waiting mends it.
        """
        cursor = await connection.execute(
            "SELECT number, name FROM labels WHERE number > %s OR number = %s", (self._newest, number)
        )
        for found, name in await cursor.fetchall():
            self._learn(found, name)
            self._newest = max(self._newest, found)
        if number not in self._names:
            raise LookupError(f"there is no label {number}")

    async def known(self, connection: Connection, read: Callable[[], T]) -> T:
        """What `read` makes of rows, once the labels that others have made since are known."""
        while True:
            try:
                return read()
            except UnknownNumber as unknown:
                await self.load(connection, unknown.args[0])

    def _learn(self, number: int, name: str) -> None:
        self._names[number] = name
        self._numbers[name] = number
