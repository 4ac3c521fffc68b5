"""Several statements in one round trip: the way of every chunk of asks.

psycopg's own pipeline sends each statement by itself and sets up a cursor for it; with a few asks a chunk that was a
third of the chunk's time. Here all go out at once, prepared by name, and all results are read at once. Parameters are
columns (`engine.store.columns`), so that nothing has to be guessed about them.
"""

from collections.abc import Generator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias
from weakref import WeakKeyDictionary

from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from engine.store.columns import Column
from engine.store.database import Connection, Row

Call: TypeAlias = tuple[str, Sequence[Column]]  # a statement with %b for each parameter, and the parameters

BEGIN: Call = ("BEGIN", ())
COMMIT: Call = ("COMMIT", ())

_known: WeakKeyDictionary[Connection, set[bytes]] = WeakKeyDictionary()  # the statements a connection has prepared


async def exchange(connection: Connection, *calls: Call) -> list[list[Row]]:
    """The rows of each statement. After one that fails none is executed; raises its error.

    A transaction that was begun stays open after an error of the server's. Who is cancelled meanwhile, or loses the
    connection, finds it closed.
    """
    known = _known.setdefault(connection, set())
    async with connection.lock:
        try:
            results = await connection.wait(_sent_and_read(connection.pgconn, calls, known))
        except BaseException:
            await connection.close()  # what was executed is not known, and what is still to come would be misread
            raise
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    return [_rows(connection, each) for each in results]


def _sent_and_read(
    wire: PGconn, calls: Sequence[Call], known: set[bytes]
) -> Generator[Wait, Ready | int, list[PGresult]]:
    """The result of each call. Sent and read as the socket allows; the server works on the first meanwhile."""
    wire.enter_pipeline_mode()
    awaited: list[bytes | None] = []  # whose result comes next: of the preparation of this name, or of a call
    for query, columns in calls:
        name, text = _named(query)
        if name not in known and name not in awaited:
            wire.send_prepare(name, text, [each.oid for each in columns])
            awaited.append(name)
        packed = [each.packed() for each in columns]
        wire.send_query_prepared(name, packed, [Format.BINARY] * len(packed), Format.BINARY)
        awaited.append(None)
    wire.pipeline_sync()
    found: list[PGresult] = []
    is_sent = False
    while True:
        is_sent = is_sent or wire.flush() == 0
        ready = yield Wait.R if is_sent else Wait.RW
        if not ready & Ready.R:
            continue
        wire.consume_input()
        while not wire.is_busy():
            result = wire.get_result()
            if result is None:  # the end of one statement's results
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                wire.exit_pipeline_mode()
                return found
            name = awaited.pop(0)
            if name is None or result.status == ExecStatus.FATAL_ERROR:
                found.append(result)
            elif result.status == ExecStatus.COMMAND_OK:
                known.add(name)


@lru_cache(maxsize=1_000)
def _named(query: str) -> tuple[bytes, bytes]:
    """A name for a statement, the same on every connection, and its text as PostgreSQL numbers parameters."""
    first, *rest = query.split("%b")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))
    return b"takt_" + blake2b(text.encode(), digest_size=8).hexdigest().encode(), text.encode()


def _rows(connection: Connection, result: PGresult) -> list[Row]:
    if not result.ntuples:
        return []
    transformer = Transformer.from_context(connection)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)
