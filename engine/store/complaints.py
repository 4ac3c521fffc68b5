"""What was delivered and complained about, by hour; and the rates that mail providers published."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from engine.core.policy import Channel
from engine.store.database import Connection

_CHANNELS: Final = tuple(each.value for each in Channel)
_NUMBERS: Final = {channel: number for number, channel in enumerate(_CHANNELS, 1)}
_HEARD: Final = """
WITH kinds AS (
    SELECT max(number) FILTER (WHERE name = 'sent') AS sent,
        max(number) FILTER (WHERE name = 'delivered') AS delivered,
        max(number) FILTER (WHERE name = 'complained') AS complained
    FROM labels WHERE name IN ('sent', 'delivered', 'complained')
), told AS (
    SELECT e.topic, e.properties, e.at_us, e.kind,
        CASE WHEN e.message_key <> 0 THEN e.message_key ELSE e.event_key END AS key,
        CASE WHEN e.channel > 0 OR e.message_key = 0 THEN e.channel ELSE (
            SELECT s.channel FROM events s WHERE s.message_key = e.message_key AND s.message_key <> 0
                AND (s.customer_id = e.customer_id) IS TRUE AND s.kind IN (k.sent, k.delivered) AND s.channel > 0
            ORDER BY s.kind = k.delivered DESC, s.at_us DESC LIMIT 1
        ) END AS channel
    FROM events e, kinds k
    WHERE e.at_us > %(now)s - %(hours)s * 3600000000::bigint AND e.at_us <= %(now)s
        AND (e.kind = k.complained OR (e.kind = k.delivered AND e.channel > 0))
), messages AS MATERIALIZED (
    SELECT e.channel, max(e.topic) AS topic, max(lower(btrim(e.properties->>'provider'))) AS provider,
        max((%(now)s - e.at_us) / 3600000000) FILTER (WHERE e.kind = k.delivered) AS delivered,
        max((%(now)s - e.at_us) / 3600000000) FILTER (WHERE e.kind = k.complained) AS complained
    FROM told e, kinds k WHERE e.channel > 0 GROUP BY e.channel, e.key
), topics AS (
    SELECT topic FROM messages WHERE topic > 0 GROUP BY topic HAVING count(delivered) >= %(least)s
), providers AS (
    SELECT provider FROM messages GROUP BY provider HAVING count(delivered) >= %(least)s OR provider = ANY(%(always)s)
)
SELECT m.channel, l.name, p.provider, told.age, sum(told.delivered)::bigint, sum(told.complained)::bigint
FROM messages m LEFT JOIN topics t ON t.topic = m.topic LEFT JOIN labels l ON l.number = t.topic
    LEFT JOIN providers p ON p.provider = m.provider,
    LATERAL (VALUES (m.delivered, 1, 0), (m.complained, 0, 1)) AS told(age, delivered, complained)
WHERE told.age IS NOT NULL GROUP BY 1, 2, 3, 4
"""


class Heard(NamedTuple):
    """Messages of a channel, topic and provider that were delivered, and complained about, in one of the last hours."""

    channel: str
    topic: str | None
    provider: str | None
    hours_ago: int
    delivered: int
    complaints: int


class Published(NamedTuple):
    """The rate of complaints that a provider published for a day (days since 1970-01-01, in its own zone)."""

    provider: str
    channel: str
    day: int
    complaint_rate: float
    delivered: int | None


async def heard(connection: Connection, now_us: int, hours: int, least: int, always: Collection[str]) -> list[Heard]:
    """Of the last hours, each message once, whoever told of it and however often. The connection is in a transaction.

    A complaint that names no channel, topic or provider has those of its message's delivery. Topics and providers with
    fewer than `least` delivered messages are not told apart, but for the providers in `always`: names come from
    outside, and there may be as many as events.
    """
    for setting in ("statement_timeout = '120s'", "enable_hashjoin = on"):
        await connection.execute(f"SET LOCAL {setting}".encode())
    cursor = await connection.execute(
        _HEARD, {"now": now_us, "hours": hours, "least": least, "always": [each.lower() for each in always]}
    )
    return [Heard(_CHANNELS[row[0] - 1], *row[1:]) for row in await cursor.fetchall()]


async def published(connection: Connection, since_day: int) -> list[Published]:
    """The rates of a day and of later ones."""
    cursor = await connection.execute(
        "SELECT provider, channel, day, complaint_rate, delivered FROM provider_rates WHERE day >= %s"
        " ORDER BY provider, channel, day",
        (since_day,),
    )
    return [Published(row[0], _CHANNELS[row[1] - 1], *row[2:]) for row in await cursor.fetchall()]


async def publish(connection: Connection, rates: Sequence[Published]) -> None:
    """Keep what a provider published; what it says of the same day later takes its place."""
    for each in sorted(rates):
        await connection.execute(
            "INSERT INTO provider_rates (provider, channel, day, complaint_rate, delivered, received_us)"
            " VALUES (%s, %s, %s, %s, %s, takt_clock()) ON CONFLICT (provider, channel, day) DO UPDATE"
            " SET complaint_rate = EXCLUDED.complaint_rate, delivered = EXCLUDED.delivered,"
            " received_us = EXCLUDED.received_us",
            (each.provider, _NUMBERS[each.channel], *each[2:]),
        )


async def lifted_us(connection: Connection) -> dict[str, int]:
    """When each pause of the breaker that is in force no more was last ended, whoever ended it."""
    cursor = await connection.execute(
        "SELECT was.name, n.activated_us FROM (SELECT pause->>'name' AS name, max(r.number) AS number"
        "  FROM rulesets r, jsonb_array_elements(r.pauses) AS pause WHERE (pause->>'is_breaker')::boolean GROUP BY 1)"
        " AS was JOIN rulesets n ON n.number = was.number + 1"
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}
