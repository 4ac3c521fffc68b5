"""Alarms: written in the transaction that found them out, and told from here until somebody took them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb

from engine.store.database import Connection

_ALARM: Final = "number, at_us, kind, subject, data, sent_us, attempts, next_us"
_ONE_LOCK: Final = 7_236_871_011


class Alarm(NamedTuple):
    """`sent_us`: when somebody took it. `next_us`: from when on it is told again."""

    number: int
    at_us: int
    kind: str
    subject: str
    data: dict[str, Any]
    sent_us: int | None
    attempts: int
    next_us: int


async def add(
    connection: Connection, kind: str, subject: str, data: Mapping[str, Any], *, quiet_us: int | None = None
) -> bool:
    """Keep an alarm, unless there is one of this kind about the same in the last `quiet_us`; of None: ever.

    The caller is in a transaction, at whose end it is there.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_LOCK,))  # two that look at once raise one
    cursor = await connection.execute(
        "INSERT INTO alarms (at_us, kind, subject, data, next_us)"
        " SELECT now.us, %s, %s, %s, now.us FROM (SELECT takt_clock()) AS now(us)"
        " WHERE NOT EXISTS (SELECT 1 FROM alarms a WHERE a.kind = %s AND a.subject = %s"
        "   AND (%s::bigint IS NULL OR a.at_us > now.us - %s::bigint)) RETURNING number",
        (kind, subject, Jsonb(dict(data)), kind, subject, quiet_us, quiet_us),
    )
    return await cursor.fetchone() is not None


async def due(connection: Connection, since_us: int, first_us: int, most_us: int, limit: int) -> list[Alarm]:
    """Those to be told now, the oldest first, of `since_us` and later. Each is out for `first_us` and twice as long
    after each attempt, at most `most_us`: whoever asks next gets others, until then."""
    cursor = await connection.execute(
        "UPDATE alarms SET attempts = attempts + 1,"
        " next_us = takt_clock() + least(%s * power(2, least(attempts, 30))::bigint, %s)"
        " WHERE number IN (SELECT number FROM alarms WHERE sent_us IS NULL AND next_us <= takt_clock() AND at_us >= %s"
        f"   ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING {_ALARM}",
        (first_us, most_us, since_us, limit),
    )
    return sorted(map(Alarm._make, await cursor.fetchall()))


async def sent(connection: Connection, number: int) -> None:
    await connection.execute("UPDATE alarms SET sent_us = takt_clock() WHERE number = %s", (number,))


async def newest(connection: Connection, limit: int) -> list[Alarm]:
    """The newest first."""
    cursor = await connection.execute(f"SELECT {_ALARM} FROM alarms ORDER BY number DESC LIMIT %s", (limit,))
    return [Alarm._make(row) for row in await cursor.fetchall()]


async def waiting(connection: Connection) -> int:
    """How many nobody has taken."""
    row = await (await connection.execute("SELECT count(*) FROM alarms WHERE sent_us IS NULL")).fetchone()
    return row[0] if row else 0


async def forget(connection: Connection, before_us: int) -> int:
    """Let go of old ones, however they ended; how many. Not of what is said once in an experiment's life."""
    cursor = await connection.execute(
        "DELETE FROM alarms WHERE at_us < %s AND kind NOT LIKE 'experiment.%%'", (before_us,)
    )
    return cursor.rowcount
