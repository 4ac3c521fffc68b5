"""The demo's database: made whole under another name, and only then called `takt_demo`.

So what bears the name is complete, whatever ended a making before. It lies beside the database that Takt would use, in
the same server, and is of the kind `demo`; no other database is written.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.core.errors import TaktError
from engine.demo.company import Company
from engine.demo.player import play
from engine.operations import start, traffic
from engine.operations.decider import Decider
from engine.operations.start import Where
from engine.settings import Settings
from engine.store import demo as store
from engine.store.database import Database
from engine.store.migrations import current_revision, newest_revision

NAME: Final = "takt_demo"
KIND: Final = "demo"
SEED: Final = 1
_MAKING: Final = "takt_demo_making"


class NotOurs(TaktError):
    """Raised where a database of the demo's name is there that no demo made."""

    code = "not_ours"


class Made(NamedTuple):
    """Where the demo's database is; `is_new`: it was made by this call."""

    where: Where
    is_new: bool


async def made(
    where: Where, settings: Settings, company: Company, *, fresh: bool, on_day: Callable[[int], None]
) -> Made:
    """The demo's database beside `where`, played now if it is not there, or `fresh` is wanted.

    One of an older Takt is played anew too; whoever is connected to what is replaced is thrown out. Raises `NotOurs`,
    and `Conflict` where another process makes it.
    """
    found = Where(store.beside(where.url, NAME), where.is_embedded)
    if found.url == where.url:
        raise NotOurs("DATABASE_URL names the demo's own database: unset it, or name another one of that server")
    async with store.databases(where.url) as databases:
        if await databases.exists(NAME) and await _is_current(found.url) and not fresh:
            return Made(found, False)
        await databases.drop(_MAKING)
        await databases.create(_MAKING)
        try:
            await _play(store.beside(where.url, _MAKING), settings, company, on_day)
        except BaseException:  # Ctrl-C too; where even this fails, the next start drops it
            await databases.drop(_MAKING)
            raise
        await databases.drop(NAME)
        await databases.rename(_MAKING, NAME)
    return Made(found, True)


async def _is_current(url: str) -> bool:
    """Whether this Takt can serve it as it is. Raises `NotOurs` for what is no demo."""
    revision = current_revision(url)
    kind = "something else"
    if revision is not None:
        database = Database(url, size=1)
        await database.open()
        try:
            async with database.connection() as connection:
                kind = await store.kind_of(connection)
        finally:
            await database.close()
    if kind != KIND:
        raise NotOurs(f"the database {NAME} holds {kind}, and no demo: it is left alone")
    return revision == newest_revision()


async def _play(url: str, settings: Settings, company: Company, on_day: Callable[[int], None]) -> None:
    start.come_up(Where(url, False))
    decider = Decider(url, settings)
    try:
        await decider.open()
        async with decider.database.connection() as connection:
            await store.set_kind(connection, KIND)
        await play(decider, company, SEED, on_day)
        await traffic.catch_up(decider.database)  # the pages about it are full at once
    finally:
        await decider.close()
