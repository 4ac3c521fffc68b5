"""Who is in which experiment since when: one row a customer and experiment, written beside the journal's entry.

The journal is the truth, and `takt verify` compares: a row's variant and instants are those of the entries that made
them. Whoever writes holds the lock of the customer's account.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import IntFlag
from typing import Any, NamedTuple

from engine.store.columns import Int2s, Int4s, Int8s, Texts
from engine.store.database import Connection
from engine.store.exchange import Call


class ExposureFlag(IntFlag):
    """Why a customer is never analysed. TESTER: a plan forced them into their variant. IN_TWO_VARIANTS: they were
    merged, and the two that they had been were in different ones."""

    TESTER = 1
    IN_TWO_VARIANTS = 2


class Exposure(NamedTuple):
    """What became of one customer in one experiment. `assigned_us` None: it is on record, and only instants are new.

    `segments` are the attributes that the plan declares, as they were at the assignment.
    """

    customer_id: str
    experiment: int
    variant: int
    assigned_us: int | None = None
    eligible_us: int | None = None
    diverged_us: int | None = None
    phase: int = 0
    flags: ExposureFlag = ExposureFlag(0)
    segments: Mapping[str, Any] | None = None


# Of two that claim the same place the first stands: an assignment is never made twice.
_ENTER = (
    "INSERT INTO exposures (customer_id, experiment, variant, phase, flags, assigned_us, eligible_us, diverged_us,"
    " segments) SELECT id, experiment, variant, phase, flags, assigned, nullif(eligible, 0), nullif(diverged, 0),"
    " segments::jsonb FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b) AS rows(id, experiment, variant, phase, flags,"
    " assigned, eligible, diverged, segments) ON CONFLICT (customer_id, experiment) DO NOTHING"
)
_ADVANCE = (
    "UPDATE exposures e SET eligible_us = coalesce(e.eligible_us, nullif(rows.eligible, 0)),"
    " diverged_us = coalesce(e.diverged_us, nullif(rows.diverged, 0))"
    " FROM unnest(%b, %b, %b, %b) AS rows(id, experiment, eligible, diverged)"
    " WHERE e.customer_id = rows.id AND e.experiment = rows.experiment"
)
# What verifying compares; a condition on the customer follows.
COMPARED = "SELECT customer_id, experiment, variant, assigned_us, eligible_us, diverged_us FROM exposures"

_ALL = (
    "SELECT customer_id, experiment, variant, assigned_us, eligible_us, diverged_us, phase, flags, segments"
    " FROM exposures WHERE customer_id = ANY(%s) ORDER BY customer_id, experiment"
)
_REMOVE = "DELETE FROM exposures WHERE customer_id = ANY(%b)"


async def of(connection: Connection, customer_ids: Sequence[str]) -> list[Exposure]:
    """All rows of these customers, whole."""
    rows = await (await connection.execute(_ALL, (list(customer_ids),))).fetchall()
    return [Exposure._make((*row[:7], ExposureFlag(row[7]), row[8])) for row in rows]


def removing(customer_ids: Sequence[str]) -> Call:
    """What takes all rows of these customers away."""
    return _REMOVE, (Texts(customer_ids),)


def writing(exposures: Iterable[Exposure]) -> list[Call]:
    """What writes these."""
    new: list[Exposure] = []
    known: list[Exposure] = []
    for each in exposures:
        (known if each.assigned_us is None else new).append(each)
    calls: list[Call] = []
    if new:
        calls.append(
            (
                _ENTER,
                (
                    Texts(each.customer_id for each in new),
                    Int4s(each.experiment for each in new),
                    Int2s(each.variant for each in new),
                    Int2s(each.phase for each in new),
                    Int2s(each.flags for each in new),
                    Int8s(each.assigned_us or 0 for each in new),
                    Int8s(each.eligible_us or 0 for each in new),
                    Int8s(each.diverged_us or 0 for each in new),
                    Texts(None if each.segments is None else json.dumps(dict(each.segments)) for each in new),
                ),
            )
        )
    if known:
        calls.append(
            (
                _ADVANCE,
                (
                    Texts(each.customer_id for each in known),
                    Int4s(each.experiment for each in known),
                    Int8s(each.eligible_us or 0 for each in known),
                    Int8s(each.diverged_us or 0 for each in known),
                ),
            )
        )
    return calls
