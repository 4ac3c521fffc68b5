"""What remains of rows that are deleted before their time or at its end: how many there were a day, by their labels.

Whoever deletes counts what the very same statement has deleted: of two who are at the same rows one finds none.
"""

from enum import IntEnum
from typing import Final

from engine.core.policy import DAY_US
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


LABELS: Final = "channel, topic, campaign, team"
# Four bytes, the lowest first. In brackets: to PostgreSQL | and << bind alike.
FIRST_RULE: Final = f"coalesce({' | '.join(f'(get_byte(reasons, {n + 1}) << {8 * n})' for n in range(4))}, 0)"
FIRST_CODE: Final = "coalesce(get_byte(reasons, 0), 0)"


def added(rows: str) -> str:
    """What adds counted rows to the totals, in the order of their keys: two that add at once wait in one order."""
    return (
        f"INSERT INTO daily_totals AS t (count, day, kind, {LABELS}, rule, code)"
        f" SELECT * FROM ({rows}) counted ORDER BY 2, 3, 4, 5, 6, 7, 8, 9"
        f" ON CONFLICT (day, kind, {LABELS}, rule, code) DO UPDATE SET count = t.count + EXCLUDED.count"
    )


def moved(gone: str, rows: str, told: str = "count(*)") -> str:
    """What deletes by `gone`, adds it to the totals, and tells how many rows went. `rows` counts those of `gone`."""
    return f"WITH gone AS ({gone}), added AS ({added(rows)}) SELECT {told} FROM gone"


def contacts(source: str) -> str:
    """Contacts counted. Who goes by another name by now was told again under that one: there the same are counted."""
    return (
        f"SELECT count(*), at_us / {DAY_US}, {Counted.CONTACT:d}, {LABELS}, 0 AS rule, 0 AS code FROM {source} s"
        " WHERE NOT EXISTS (SELECT FROM customers c WHERE c.customer_id = s.customer_id AND c.merged_into IS NOT NULL)"
        f" GROUP BY 2, {LABELS}"
    )


def refusals(source: str) -> str:
    """Refusals counted, and the messages that were refused."""
    return (
        f"SELECT count(*), at_us / {DAY_US}, {Counted.REFUSAL:d}, {LABELS}, {FIRST_RULE} AS rule,"
        f" {FIRST_CODE} AS code FROM {source} GROUP BY 2, {LABELS}, 8, 9"
        f" UNION ALL SELECT count(DISTINCT (customer_id, message_id)), at_us / {DAY_US}, {Counted.MESSAGE:d},"
        f" {LABELS}, 0, 0 FROM {source} WHERE {WAS_REFUSED} AND message_id <> '' GROUP BY 2, {LABELS}"
    )


def events(source: str) -> str:
    """Events counted, by their type."""
    return (
        f"SELECT count(*), at_us / {DAY_US}, {Counted.EVENT:d}, channel, topic, campaign, 0, kind, 0 FROM {source}"
        " GROUP BY 2, channel, topic, campaign, kind"
    )
