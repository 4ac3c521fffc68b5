"""What became of a day's messages, by channel: delivered, unsubscribed from, complained about. Days are of UTC."""

from typing import Final, NamedTuple

from engine.core.breaker import BLIND, Judged
from engine.core.events import SUSPECT
from engine.core.policy import DAY_US, Channel
from engine.store.database import Connection

_CHANNELS: Final = (None, *(each.value for each in Channel))
# As the breaker reads them (`complaints`): each message once, in the channel of its delivery where it names none.
_COUNT: Final = f"""
WITH kinds AS (
    SELECT max(number) FILTER (WHERE name = 'sent') AS sent, max(number) FILTER (WHERE name = 'delivered') AS delivered,
        max(number) FILTER (WHERE name = 'unsubscribed') AS unsubscribed,
        max(number) FILTER (WHERE name = 'push_disabled') AS push_disabled,
        max(number) FILTER (WHERE name = 'complained') AS complained
    FROM labels WHERE name IN ('sent', 'delivered', 'unsubscribed', 'push_disabled', 'complained')
), told AS (
    SELECT e.at_us / {DAY_US} AS day, e.customer_id, e.kind,
        CASE WHEN e.message_key <> 0 THEN e.message_key ELSE e.event_key END AS key,
        (regexp_replace(lower(btrim(e.properties->>'provider')), '\\s+', ' ', 'g') = ANY(%(blind)s)) IS TRUE
            AS is_blind,
        CASE WHEN e.kind = k.push_disabled THEN {_CHANNELS.index(Channel.PUSH.value)}
            WHEN e.channel > 0 OR e.message_key = 0 THEN e.channel ELSE coalesce((
            SELECT s.channel FROM events s WHERE s.message_key = e.message_key AND s.message_key <> 0
                AND s.customer_id = e.customer_id AND s.kind IN (k.sent, k.delivered) AND s.channel > 0
            ORDER BY s.kind = k.delivered DESC, s.at_us DESC LIMIT 1), 0) END AS channel
    FROM events e, kinds k WHERE e.at_us >= %(from)s AND e.at_us < %(to)s AND (e.kind IN (k.delivered, k.complained)
        OR (e.kind IN (k.unsubscribed, k.push_disabled) AND e.flags & {int(SUSPECT)} = 0))
)
INSERT INTO daily_outcomes (day, channel, delivered, audible, unsubscribed, complained)
SELECT day, channel, count(DISTINCT t.key) FILTER (WHERE kind = k.delivered),
    count(DISTINCT t.key) FILTER (WHERE kind = k.delivered AND NOT is_blind),
    count(DISTINCT customer_id) FILTER (WHERE kind IN (k.unsubscribed, k.push_disabled)),
    count(DISTINCT t.key) FILTER (WHERE kind = k.complained)
FROM told t, kinds k GROUP BY 1, 2
"""


class DayOutcomes(NamedTuple):
    """A day (since 1970-01-01) in a channel; None: no event said which. `audible`: what providers delivered that tell
    of complaints. `unsubscribed` are customers (or they turned push off), without whom a link scanner unsubscribed; the
    rest are messages."""

    day: int
    channel: str | None
    delivered: int
    audible: int
    unsubscribed: int
    complained: int


class Rates(NamedTuple):
    """What became of a channel's messages over some weeks. `contacts` were allowed, or sent past Takt: what is left to
    divide by where nobody tells what was delivered. `week`: the last seven days as the complaint breaker judges."""

    channel: str | None
    contacts: int
    delivered: int
    audible: int
    unsubscribed: int
    complained: int
    week: Judged


async def count(connection: Connection, first_day: int, days: int) -> None:
    """Count some days anew."""
    given = {"from": first_day * DAY_US, "to": (first_day + days) * DAY_US, "blind": sorted(BLIND)}
    await connection.execute("DELETE FROM daily_outcomes WHERE day >= %s AND day < %s", (first_day, first_day + days))
    await connection.execute(_COUNT.encode(), given)


async def newest_day(connection: Connection) -> int | None:
    """The newest day of which anything is counted."""
    row = await (await connection.execute("SELECT max(day) FROM daily_outcomes")).fetchone()
    return row[0] if row else None


async def since(connection: Connection, day: int, until_day: int) -> list[DayOutcomes]:
    """The days from one to another, both included."""
    cursor = await connection.execute(
        "SELECT day, channel, delivered, audible, unsubscribed, complained FROM daily_outcomes"
        " WHERE day >= %s AND day <= %s ORDER BY day, channel",
        (day, until_day),
    )
    return [DayOutcomes(row[0], _CHANNELS[row[1]], *row[2:]) for row in await cursor.fetchall()]
