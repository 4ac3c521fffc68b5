"""Asks counted by the hour: which table rows make which count, and how far is counted.

A stretch of hours is counted anew as a whole: what was there goes in the statement's own transaction, so that an hour
is there once however often it is counted. Whoever counts is alone at it. Contacts of who goes by another name by now
were told again under that one, and count there.
"""

from enum import IntEnum
from typing import Final, LiteralString

from engine.core.account import Kind
from engine.core.policy import DAY_US, HOUR_US
from engine.core.verdict import Code
from engine.store.database import Connection
from engine.store.journal_rows import ALLOW, CODE_NUMBERS, DEFER, DENY, IS_CHECKED, KIND, OBSERVED, VERDICT
from engine.store.totals import FIRST_CODE, FIRST_RULE

ASKS, CROWDING, FOLDED = "asks", "crowding", "folded"  # the names in `counted_until`
_ONE_LOCK: Final = 7_236_871_012
_EVERY_BUDGET: Final = 7  # the label `*`: whatever an observed policy refused


class Outcome(IntEnum):
    """What came of an ask. WOULD_...: it was allowed because the policy only observed. SHADOW counts an allowed ask
    once more, for each budget in shadow that had no room. UNASKED and RECORDED contacts were sent past Takt.

    ..._AT_FIRST counts no ask: a message that was allowed in this hour and refused before on the same day, by what
    refused it first. That refusal is in an hour which may be closed: whoever adds hours up takes it back by this."""

    ALLOWED = 1
    DEFERRED = 2
    DENIED = 3
    WOULD_DEFER = 4
    WOULD_DENY = 5
    SHADOW = 6
    UNASKED = 7
    RECORDED = 8
    DEFERRED_AT_FIRST = 9
    DENIED_AT_FIRST = 10


_CONTACT: Final = (
    f"CASE {KIND} WHEN {Kind.UNASKED:d} THEN {Outcome.UNASKED:d} WHEN {Kind.RECORDED:d} THEN {Outcome.RECORDED:d}"
    f" ELSE CASE {OBSERVED} WHEN {DEFER} THEN {Outcome.WOULD_DEFER:d} WHEN {DENY} THEN {Outcome.WOULD_DENY:d}"
    f" ELSE {Outcome.ALLOWED:d} END END"
)
_HOUR: Final = f"at_us / {HOUR_US} * {HOUR_US}"
_LABEL: Final = " | ".join(f"(get_byte(uncharged, 4 * n + {byte}) << {8 * byte})" for byte in range(4))
_WITHIN: Final = "at_us >= %(from)s AND at_us < %(to)s"
_REFUSED: Final = f"CASE {VERDICT} WHEN {DEFER} THEN {Outcome.DEFERRED:d} ELSE {Outcome.DENIED:d} END"
_AT_FIRST: Final = f"{_REFUSED} + {Outcome.DEFERRED_AT_FIRST - Outcome.DEFERRED}"


def _before(table: str, row: str) -> str:
    """Of a row's message the earlier ones of the same day (of UTC), in a table, there called e: looked up by customer,
    however much there was on that day. The last two bounds tell the planner which weeks that can concern."""
    return (
        f"FROM {table} e WHERE e.customer_id = {row}.customer_id AND e.seq < {row}.seq"
        f" AND e.message_id = {row}.message_id AND e.at_us >= {row}.at_us / {DAY_US} * {DAY_US}"
        f" AND e.at_us >= %(from)s - {DAY_US} AND e.at_us < %(to)s"
    )


_WAS_ALLOWED: Final = f"{KIND} = {Kind.ASKED:d}"
# A message counts once a day: if it was allowed as that, else with its first refusal, as in `totals`. Only who is told
# of another attempt, or of a revoked one, was allowed before.
IS_FIRST: Final = (
    f"NOT EXISTS (SELECT {_before('refusals', 'r')} AND NOT e.{IS_CHECKED})"
    f" AND NOT ((r.attempt > 1 OR {FIRST_CODE} = {CODE_NUMBERS[Code.REVOKED]})"
    f" AND EXISTS (SELECT {_before('journal', 'r')} AND {_WAS_ALLOWED}))"
)
_IS_FIRST_ALLOWED: Final = (
    f"NOT (j.attempt > 1 AND {_WAS_ALLOWED} AND EXISTS (SELECT {_before('journal', 'j')} AND {_WAS_ALLOWED}))"
)
# Of a message that was allowed the first refusal of the day, in the hour in which it was allowed first.
_TAKEN_BACK: Final = f"""
    SELECT {_HOUR} AS hour_us, r.* FROM journal j CROSS JOIN LATERAL (
        SELECT channel, topic, team, sender, {_AT_FIRST} AS outcome, {FIRST_CODE} AS code, {FIRST_RULE} AS rule, ruleset
        {_before("refusals", "j")} AND NOT {IS_CHECKED} AND {VERDICT} <> {ALLOW} ORDER BY e.seq LIMIT 1
    ) r WHERE {_WITHIN} AND {_WAS_ALLOWED} AND {_IS_FIRST_ALLOWED}
"""
_COUNT: Final = f"""
WITH contacts AS MATERIALIZED (
    SELECT at_us, channel, topic, team, sender, flags, ruleset, reasons, uncharged, {_IS_FIRST_ALLOWED} AS first
    FROM journal j WHERE {_WITHIN}
        AND NOT EXISTS (SELECT FROM customers c WHERE c.merged_into IS NOT NULL AND c.customer_id = j.customer_id)
), told AS (
    SELECT {_HOUR} AS hour_us, channel, topic, team, sender, {_CONTACT} AS outcome, {FIRST_CODE} AS code,
        {FIRST_RULE} AS rule, ruleset, count(*) AS asks, count(*) FILTER (WHERE first) AS messages
    FROM contacts GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    UNION ALL
    SELECT {_HOUR}, channel, topic, team, sender, {Outcome.SHADOW:d}, 0, {_LABEL}, ruleset, count(*),
        count(*) FILTER (WHERE first)
    FROM contacts, generate_series(0, length(uncharged) / 4 - 1) n
    WHERE uncharged IS NOT NULL AND ({_LABEL}) <> {_EVERY_BUDGET} GROUP BY 1, 2, 3, 4, 5, 8, 9
    UNION ALL
    SELECT hour_us, channel, topic, team, sender, outcome, code, rule, ruleset, count(*), count(*) FILTER (WHERE first)
    FROM (SELECT {_HOUR} AS hour_us, channel, topic, team, sender, ruleset, {FIRST_CODE} AS code, {FIRST_RULE} AS rule,
        {_REFUSED} AS outcome, {IS_FIRST} AS first
        FROM refusals r WHERE {_WITHIN} AND NOT {IS_CHECKED} AND {VERDICT} <> {ALLOW}) refused
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    UNION ALL
    SELECT hour_us, channel, topic, team, sender, outcome, code, rule, ruleset, count(*), count(*)
    FROM ({_TAKEN_BACK}) taken_back GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
), exempt AS MATERIALIZED (
    SELECT rs.number AS ruleset, l.number AS topic FROM rulesets rs JOIN policies p ON p.version = rs.policy_version
    CROSS JOIN LATERAL jsonb_each(coalesce(p.data->'topics', '{{}}')) t JOIN labels l ON l.name = t.key
    WHERE t.value->'exempt' = 'true' AND rs.number IN (SELECT ruleset FROM told)
), added AS (
    INSERT INTO hourly_asks (hour_us, channel, topic, team, sender, outcome, code, rule, is_exempt, asks, messages)
    SELECT t.hour_us, t.channel, t.topic, t.team, t.sender, t.outcome, t.code, t.rule, e.ruleset IS NOT NULL,
        sum(t.asks), sum(t.messages)
    FROM told t LEFT JOIN exempt e ON e.ruleset = t.ruleset AND e.topic = t.topic
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 RETURNING asks
) SELECT coalesce(sum(asks), 0)::bigint FROM added
"""
_KEY: Final = "channel, topic, team, sender, outcome, code, rule, is_exempt"
_FOLD: Final = f"""
WITH gone AS (DELETE FROM hourly_asks WHERE hour_us > %(day)s AND hour_us < %(day)s + {DAY_US} RETURNING *)
INSERT INTO hourly_asks AS h (hour_us, {_KEY}, asks, messages)
SELECT %(day)s, {_KEY}, sum(asks), sum(messages) FROM gone GROUP BY {_KEY}
ON CONFLICT (hour_us, {_KEY}) DO UPDATE SET asks = h.asks + EXCLUDED.asks, messages = h.messages + EXCLUDED.messages
"""
_FORGET: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM hourly_asks WHERE hour_us < %s",
    "DELETE FROM hourly_crowding WHERE hour_us < %s",
    "DELETE FROM budget_levels WHERE at_us < %s",
)


async def alone(connection: Connection) -> bool:
    """Whether nobody else counts, and nobody will until the transaction ends. It may take minutes from here on."""
    # A session is set for look-ups of single customers; this reads hours.
    for setting in ("statement_timeout = '300s'", "enable_hashjoin = on"):
        await connection.execute(f"SET LOCAL {setting}".encode())
    row = await (await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ONE_LOCK,))).fetchone()
    return row is not None and bool(row[0])


async def until_us(connection: Connection, name: str) -> int | None:
    """How far something is counted; None before the first time."""
    query = "SELECT until_us FROM counted_until WHERE name = %s"
    row = await (await connection.execute(query, (name,))).fetchone()
    return row[0] if row else None


async def reach(connection: Connection, name: str, until_us: int) -> None:
    """Note how far something is counted, in the transaction that counts it."""
    await connection.execute(
        "INSERT INTO counted_until (name, until_us) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET until_us = EXCLUDED.until_us",
        (name, until_us),
    )


async def count(connection: Connection, from_us: int, to_us: int) -> int:
    """Count the asks from one hour's beginning to another's anew; how many there were, shadows and what was taken back
    among them."""
    await connection.execute("DELETE FROM hourly_asks WHERE hour_us >= %s AND hour_us < %s", (from_us, to_us))
    row = await (await connection.execute(_COUNT.encode(), {"from": from_us, "to": to_us})).fetchone()
    return row[0] if row else 0


async def fold(connection: Connection, day_us: int) -> None:
    """Make one of the hours of a day: what is far back is only ever shown by days, and is a tenth as much to read."""
    await connection.execute(_FOLD.encode(), {"day": day_us})


async def forget(connection: Connection, before_us: int) -> int:
    """Let go of counts of before an instant; of how many hours, budgets and teams together."""
    return sum([(await connection.execute(each, (before_us,))).rowcount for each in _FORGET])
