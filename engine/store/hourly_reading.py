"""The counts by the hour, added up for a page: in one look at a stretch of them, by several groupings at once."""

from typing import Final, NamedTuple

from engine.core.policy import DAY_US, Channel
from engine.core.verdict import Code
from engine.store.database import Connection
from engine.store.hourly import Outcome
from engine.store.journal_rows import CODES

_CHANNELS: Final = {each.value: number for number, each in enumerate(Channel, 1)}
_OF_CHANNEL: Final = {number: name for name, number in _CHANNELS.items()}
_SELECTED: Final = (
    "hour_us >= %(from)s AND hour_us < %(to)s AND (%(channel)s::smallint IS NULL OR channel = %(channel)s)"
    " AND (%(topic)s::text IS NULL OR topic = (SELECT number FROM labels WHERE name = %(topic)s))"
)
_OF_TEAM: Final = " AND (%(team)s::text IS NULL OR {} = (SELECT number FROM labels WHERE name = %(team)s))"
_PARTY: Final = "CASE WHEN team > 0 THEN team ELSE sender END"
_ADDED: Final = f"""
WITH counts AS MATERIALIZED (
    SELECT hour_us / {DAY_US} AS day, channel, topic, {_PARTY} AS party, outcome, code, rule, is_exempt,
        sum(asks)::bigint AS asks, sum(messages)::bigint AS messages
    FROM hourly_asks WHERE {_SELECTED}{_OF_TEAM.format("team")} GROUP BY GROUPING SETS (
        (day, outcome), (outcome, code, rule), (party, outcome, is_exempt), (channel, outcome), (topic, outcome))
) SELECT day, channel, topic, party, outcome, code, rule, is_exempt, asks, messages,
    t.name, p.name, r.name FROM counts LEFT JOIN labels t ON t.number = topic LEFT JOIN labels p ON p.number = party
    LEFT JOIN labels r ON r.number = rule
"""
_NAMES: Final = (
    "SELECT 'topic', l.name FROM (SELECT DISTINCT topic FROM hourly_asks WHERE hour_us >= %(from)s) f"
    " JOIN labels l ON l.number = f.topic"
    " UNION ALL SELECT 'team', l.name FROM (SELECT DISTINCT team FROM hourly_asks WHERE hour_us >= %(from)s) f"
    " JOIN labels l ON l.number = f.team ORDER BY 1, 2"
)
_CROWDING: Final = (
    "SELECT a.name, f.name, is_others, sum(stands_for), sum(looked_at)::bigint FROM hourly_crowding"
    " LEFT JOIN labels a ON a.number = asker LEFT JOIN labels f ON f.number = filler"
    f" WHERE {_SELECTED}{_OF_TEAM.format('asker')} GROUP BY 1, 2, 3"
)


class Stretch(NamedTuple):
    """What is looked at: hours from one instant to another, and of what; None is everything."""

    from_us: int
    to_us: int
    channel: str | None = None
    topic: str | None = None
    team: str | None = None


class ByDay(NamedTuple):
    """`day`: since 1970-01-01, of UTC."""

    day: int
    outcome: Outcome
    asks: int
    messages: int


class ByRule(NamedTuple):
    """`code` and `rule` are of the first reason; None where it is known no more. For SHADOW the rule is the budget."""

    code: Code | None
    rule: str | None
    outcome: Outcome
    asks: int
    messages: int


class ByName(NamedTuple):
    """Of a channel or a topic; of a topic None where it is known no more."""

    name: str | None
    outcome: Outcome
    asks: int
    messages: int


class ByParty(NamedTuple):
    """Of a team, or of a sender who names no team; None of nobody by name."""

    name: str | None
    is_exempt: bool
    outcome: Outcome
    asks: int
    messages: int


class Added(NamedTuple):
    """Everything of a stretch, grouped in five ways."""

    days: list[ByDay]
    rules: list[ByRule]
    channels: list[ByName]
    topics: list[ByName]
    parties: list[ByParty]


class Crowding(NamedTuple):
    """Refused messages that were looked at, and how many they stand for. See `crowding.Found`."""

    asker: str | None
    filler: str | None
    is_others: bool
    messages: float
    looked_at: int


async def added(connection: Connection, stretch: Stretch) -> Added:
    """The counts of a stretch. The connection is in a transaction."""
    await connection.execute("SET LOCAL enable_hashjoin = on")
    found = Added([], [], [], [], [])
    cursor = await connection.execute(_ADDED.encode(), _given(stretch))
    for day, channel, _, party, outcome, code, _, exempt, asks, messages, topic, who, rule in await cursor.fetchall():
        told = Outcome(outcome), asks, messages
        if day is not None:
            found.days.append(ByDay(day, *told))
        elif code is not None:
            is_known = rule is not None and outcome != Outcome.SHADOW
            found.rules.append(ByRule(CODES[code] if is_known else None, rule, *told))
        elif party is not None:
            found.parties.append(ByParty(who, exempt, *told))
        elif channel is not None:
            found.channels.append(ByName(_OF_CHANNEL.get(channel), *told))
        else:
            found.topics.append(ByName(topic, *told))
    return found


async def crowding(connection: Connection, stretch: Stretch) -> list[Crowding]:
    """Who was refused because of whom, in a stretch."""
    cursor = await connection.execute(_CROWDING.encode(), _given(stretch))
    return [Crowding._make(row) for row in await cursor.fetchall()]


async def crowding_since_us(connection: Connection, stretch: Stretch) -> int | None:
    """The first hour of a stretch of which such refusals were looked at."""
    query = "SELECT min(hour_us) FROM hourly_crowding WHERE hour_us >= %s AND hour_us < %s"
    row = await (await connection.execute(query, stretch[:2])).fetchone()
    return row[0] if row else None


async def names(connection: Connection, from_us: int) -> tuple[list[str], list[str]]:
    """The topics and the teams that were asked about since an instant, in order."""
    found: dict[str, list[str]] = {"topic": [], "team": []}
    for what, name in await (await connection.execute(_NAMES, {"from": from_us})).fetchall():
        found[what].append(name)
    return found["topic"], found["team"]


def _given(stretch: Stretch) -> dict[str, object]:
    return {
        "from": stretch.from_us,
        "to": stretch.to_us,
        "channel": None if stretch.channel is None else _CHANNELS[stretch.channel],
        "topic": stretch.topic,
        "team": stretch.team,
    }
