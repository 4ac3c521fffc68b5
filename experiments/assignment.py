"""Who gets what: a customer's variant by a formula over the plan's seed and the customer's id, or why there is none.

It never reshuffles: more traffic, more variants beside stored assignments, other experiments and the order of a plan's
lines move nobody who is in. No clock, no state, no I/O. `docs/assignment.md` has the formula to the byte; `sql` writes
it for a plan.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from numpy.typing import NDArray

from experiments.assigning.allocation import Allocation, Dates, Stored, Unit
from experiments.assigning.assigned import Assignment, Assignments, Reason
from experiments.assigning.sql import Dialect, sql
from experiments.design import Experiment
from experiments.errors import AssignmentError
from experiments.plans.variants import Scalar

__all__ = [
    "Allocation",
    "Assignment",
    "AssignmentError",
    "Assignments",
    "Dialect",
    "Reason",
    "assign",
    "assign_many",
    "sql",
]


def assign(
    plan: Experiment,
    unit: Unit,
    stored: Mapping[str, str] | None = None,
    *,
    attributes: Mapping[str, Scalar | None] | None = None,
    entered: date | None = None,
) -> Assignment:
    """One unit's assignment; for many one after the other build an `Allocation` once and ask that."""
    return Allocation(plan).assign(unit, stored, attributes=attributes, entered=entered)


def assign_many(
    plan: Experiment,
    units: Iterable[Unit] | NDArray[Any],
    stored: Stored | None = None,
    *,
    attributes: Mapping[str, Iterable[Scalar | None]] | None = None,
    entered: Dates | None = None,
) -> Assignments:
    """The assignments of an array, a column of a data frame or a list, the same as one at a time."""
    return Allocation(plan).assign_many(units, stored, attributes=attributes, entered=entered)
