"""What remains of rows that are deleted before their time or at its end: how many there were a day, by their labels."""

from enum import IntEnum
from typing import Final

from engine.core.policy import DAY_US
from engine.store.database import Connection
from engine.store.journal_rows import WAS_REFUSED


class Counted(IntEnum):
    """What a row of `daily_totals` counts. Of refusals `rule` and `code` are those of the first reason, by the number
    of the label and of the code; of events `rule` is their type. MESSAGE is a refused message once a day, however often
    it was asked; UNRESOLVED an event whose address led to nobody."""

    CONTACT = 1
    REFUSAL = 2
    EVENT = 3
    MESSAGE = 4
    UNRESOLVED = 5


# Four bytes, the lowest first. In brackets: to PostgreSQL | and << bind alike.
FIRST_RULE: Final = f"coalesce({' | '.join(f'(get_byte(reasons, {n + 1}) << {8 * n})' for n in range(4))}, 0)"
FIRST_CODE: Final = "coalesce(get_byte(reasons, 0), 0)"
_MESSAGES = f"count(DISTINCT (customer_id, message_id)) FILTER (WHERE {WAS_REFUSED} AND message_id <> '')"
# The contacts of who was merged are told again in the journal of who goes on being known.
_NOT_TOLD_AGAIN: Final = (
    "journal WHERE NOT EXISTS (SELECT FROM customers c WHERE c.customer_id = journal.customer_id"
    " AND c.merged_into IS NOT NULL) AND"
)
_ROWS: Final = {  # how many, team, rule, code, and of what
    Counted.CONTACT: ("count(*)", "team", "0", "0", _NOT_TOLD_AGAIN),
    Counted.REFUSAL: (
        "count(*)",
        "team",
        FIRST_RULE,
        FIRST_CODE,
        "refusals WHERE",
    ),
    Counted.EVENT: ("count(*)", "0", "kind", "0", "events WHERE"),
    Counted.MESSAGE: (_MESSAGES, "team", "0", "0", "refusals WHERE"),
}


async def count(connection: Connection, customer_ids: list[str]) -> None:
    """Add what these customers have to the totals. The caller deletes it in the same transaction."""
    for counted, (how_many, team, rule, code, rows) in _ROWS.items():
        await connection.execute(
            "INSERT INTO daily_totals AS known (count, day, kind, channel, topic, campaign, team, rule, code)"
            f" SELECT {how_many}, at_us / {DAY_US}, {counted:d}, channel, topic, campaign, {team}, {rule}, {code}"
            f" FROM {rows} customer_id = ANY(%s) GROUP BY 2, 4, 5, 6, 7, 8, 9"
            f" HAVING {how_many} > 0"
            " ON CONFLICT (day, kind, channel, topic, campaign, team, rule, code)"
            " DO UPDATE SET count = known.count + EXCLUDED.count".encode(),
            (customer_ids,),
        )
