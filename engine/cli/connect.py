"""The two ways from a command to Takt: over HTTP with a key, or straight to the database."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from engine.client import Client
from engine.core.errors import TaktError
from engine.operations import start
from engine.settings import Settings
from engine.store.database import Database, reach

DEFAULT_URL = "http://127.0.0.1:8000"
_PROBE_S = 5.0

T = TypeVar("T")


class NotReached(TaktError):
    """Raised when the service of TAKT_URL, or a key for it, is not there."""

    code = "not_reached"


@contextmanager
def service() -> Generator[Client]:
    """The service of TAKT_URL with TAKT_KEY, or with the key that `takt serve` left in the data folder."""
    url = os.environ.get("TAKT_URL") or DEFAULT_URL
    try:
        client = Client(url, own_key(url), deadline_s=15.0, batch_deadline_s=150.0)
    except ValueError as error:
        raise NotReached(f"TAKT_URL or TAKT_KEY is wrong: {error}") from None
    with client:
        _probe(url)
        yield client


def database(work: Callable[[Database], Awaitable[T]]) -> T:
    """What `work` makes of the database of DATABASE_URL, or of the embedded one, which is started for it."""
    with start.locate(Settings()) as where:
        if where.is_embedded:  # one of one's own is migrated when somebody says so, not by a command that looks at it
            start.come_up(where)
        return asyncio.run(_work(where.url, work))


async def _work(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    await reach(url)
    opened = Database(url, size=2)
    await opened.open()
    try:
        return await work(opened)
    finally:
        await opened.close()


def own_key(url: str) -> str:
    """The key of TAKT_KEY, or that of the service of this machine; raises `NotReached`."""
    given = os.environ.get("TAKT_KEY")
    if given:
        return given
    found = start.local_key(Settings().data_dir) if _is_here(url) else None
    if found is None:
        raise NotReached(
            "no key: set TAKT_KEY (`takt keys create` makes one), or TAKT_DATA_DIR to the folder that `takt serve` uses"
        )
    return found


def _is_here(url: str) -> bool:
    """The key of this machine's service is for no other."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _probe(url: str) -> None:
    """Say at once that nobody is there, instead of trying until a deadline."""
    try:
        httpx.get(f"{url.rstrip('/')}/livez", timeout=_PROBE_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = "" if isinstance(error, httpx.ConnectError) else f" ({type(error).__name__})"
        raise NotReached(f"no Takt answers at {url}{why}: is it running? `make run` starts it") from None
