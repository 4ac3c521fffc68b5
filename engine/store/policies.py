"""Versions of the policy, and the rulesets that put one in force with what else decisions go by.

A ruleset is never changed: each activation writes the next number, with everything that it does not name as it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from engine.core.errors import DatabaseUnavailable, NotFound
from engine.store.database import Connection

# Activations are numbered one by one: the next may only be made when the last has committed.
_ACTIVATION_LOCK = 7_236_871_002
_RULESET = "number, activated_us, policy_version, tzdata_version, author, pauses, experiments, holdouts"


class PolicyVersion(NamedTuple):
    version: int
    created_us: int
    author: str
    note: str
    source: str
    data: dict[str, Any]


class Ruleset(NamedTuple):
    number: int
    activated_us: int
    policy_version: int
    tzdata_version: str
    author: str
    pauses: list[dict[str, Any]]
    experiments: list[dict[str, Any]]
    holdouts: list[dict[str, Any]]


class RulesetRow(NamedTuple):
    """What a ruleset consists of: its policy, pauses, running experiments and holdouts, as data."""

    policy: dict[str, Any]
    pauses: list[dict[str, Any]]
    experiments: list[dict[str, Any]]
    holdouts: list[dict[str, Any]]


async def ruleset_row(connection: Connection, number: int) -> RulesetRow:
    cursor = await connection.execute(
        "SELECT p.data, r.pauses, r.experiments, r.holdouts"
        " FROM rulesets r JOIN policies p ON p.version = r.policy_version WHERE r.number = %s",
        (number,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DatabaseUnavailable(f"ruleset {number} is not in the database")
    return RulesetRow._make(row)


async def newest_number(connection: Connection) -> int | None:
    """The number in force; None where no policy was ever activated."""
    row = await (await connection.execute("SELECT max(number) FROM rulesets")).fetchone()
    return row[0] if row else None


async def newest_ruleset(connection: Connection) -> Ruleset | None:
    cursor = await connection.execute(f"SELECT {_RULESET} FROM rulesets ORDER BY number DESC LIMIT 1")
    row = await cursor.fetchone()
    return Ruleset._make(row) if row else None


async def rulesets(connection: Connection) -> list[Ruleset]:
    """All of them, the oldest first."""
    cursor = await connection.execute(f"SELECT {_RULESET} FROM rulesets ORDER BY number")
    return [Ruleset._make(row) for row in await cursor.fetchall()]


async def exempt_topics(connection: Connection) -> frozenset[str]:
    """The topics that any version of the policy exempts."""
    cursor = await connection.execute(
        "SELECT DISTINCT topic.key FROM policies, jsonb_each(coalesce(data->'topics', '{}')) AS topic"
        " WHERE topic.value->'exempt' = 'true'"
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def lock_activation(connection: Connection) -> None:
    """Wait for any activation under way. Held to the end of the transaction."""
    await connection.execute("SET LOCAL lock_timeout = '10s'")  # a session's own is meant for accounts
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ACTIVATION_LOCK,))


async def add_policy(connection: Connection, author: str, note: str, source: str, data: Mapping[str, Any]) -> int:
    """Keep a policy as a new version; returns its number."""
    cursor = await connection.execute(
        "INSERT INTO policies (created_us, author, note, source, data) VALUES (takt_clock(), %s, %s, %s, %s)"
        " RETURNING version",
        (author, note, source, Jsonb(dict(data))),
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def add_ruleset(
    connection: Connection,
    tzdata_version: str,
    author: str,
    *,
    policy_version: int | None = None,
    pauses: Sequence[Mapping[str, Any]] | None = None,
    experiments: Sequence[Mapping[str, Any]] | None = None,
    holdouts: Sequence[Mapping[str, Any]] | None = None,
) -> Ruleset:
    """Put in force what is given, and all else as it stands, as soon as the transaction commits.

    The caller holds the lock. Raises `NotFound` where nothing is in force and no policy is given.
    """
    newest = await newest_ruleset(connection)
    if newest is None and policy_version is None:
        raise NotFound("no policy is active: `takt policy activate considerate`")
    version = newest.policy_version if newest and policy_version is None else policy_version
    lists = (
        (pauses, newest.pauses if newest else []),
        (experiments, newest.experiments if newest else []),
        (holdouts, newest.holdouts if newest else []),
    )
    given = [Jsonb(list(kept if changed is None else changed)) for changed, kept in lists]
    cursor = await connection.execute(
        f"INSERT INTO rulesets ({_RULESET}) VALUES (%s, takt_clock(), %s, %s, %s, %s, %s, %s) RETURNING {_RULESET}",
        (newest.number + 1 if newest else 1, version, tzdata_version, author, *given),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DatabaseUnavailable("the ruleset was not written")
    return Ruleset._make(row)


async def policy_of_start(connection: Connection, experiment: int) -> dict[str, Any] | None:
    """The policy under which an experiment was started, by the ruleset of its start: instants may lie otherwise, where
    the clock was set. Of a draft the one in force; None where none ever was."""
    cursor = await connection.execute(
        "SELECT p.data FROM rulesets r JOIN policies p ON p.version = r.policy_version WHERE r.number <= coalesce("
        "(SELECT (data->>'ruleset')::integer FROM experiment_log WHERE experiment = %s AND action = 'start'), r.number)"
        " ORDER BY r.number DESC LIMIT 1",
        (experiment,),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def policy_version(connection: Connection, version: int) -> PolicyVersion:
    cursor = await connection.execute(
        "SELECT version, created_us, author, note, source, data FROM policies WHERE version = %s", (version,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no policy version {version}")
    return PolicyVersion._make(row)


async def policy_versions(connection: Connection, limit: int) -> list[PolicyVersion]:
    """The newest versions first."""
    cursor = await connection.execute(
        "SELECT version, created_us, author, note, source, data FROM policies ORDER BY version DESC LIMIT %s", (limit,)
    )
    return [PolicyVersion._make(row) for row in await cursor.fetchall()]
