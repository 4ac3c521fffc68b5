"""Which version of the policy was in force when, by whom, and in place of which: read from the rulesets.

Most rulesets keep the policy as it is (a pause, a step of an experiment, newer zone data); those that name another one
than the ruleset before them are its history. A version that was put back in force has several rows.
"""

from typing import NamedTuple

from engine.store.database import Connection


class Activated(NamedTuple):
    """A version, from when to when it was in force. `author` put it there; where `is_again` that need not be who wrote
    it. `until_us` is None for the one in force, `replaced` for the first there ever was."""

    ruleset: int
    at_us: int
    until_us: int | None
    author: str
    version: int
    replaced: int | None
    is_again: bool
    note: str


async def activations(
    connection: Connection, limit: int, *, before: int | None = None, version: int | None = None
) -> list[Activated]:
    """The newest first: those before a ruleset, and of one version, where so wanted."""
    cursor = await connection.execute(
        "WITH named AS (SELECT number, activated_us, author, policy_version,"
        " lag(policy_version) OVER (ORDER BY number) AS replaced FROM rulesets),"
        " changed AS (SELECT *, lead(activated_us) OVER (ORDER BY number) AS until_us,"
        " row_number() OVER (PARTITION BY policy_version ORDER BY number) > 1 AS is_again"
        " FROM named WHERE replaced IS DISTINCT FROM policy_version)"
        " SELECT c.number, c.activated_us, c.until_us, c.author, c.policy_version, c.replaced, c.is_again,"
        " p.note FROM changed c JOIN policies p ON p.version = c.policy_version"
        " WHERE (%(before)s::integer IS NULL OR c.number < %(before)s)"
        " AND (%(version)s::integer IS NULL OR c.policy_version = %(version)s)"
        " ORDER BY c.number DESC LIMIT %(limit)s",
        {"before": before, "version": version, "limit": limit},
    )
    return [Activated._make(row) for row in await cursor.fetchall()]
