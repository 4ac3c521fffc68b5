"""Experiments: assignment and readouts. A library of its own that knows nothing of the engine.

    import experiments as ex
    plan = ex.Experiment.from_yaml("plan.yaml")
    print(ex.assign(plan, "customer-1"))
    print(ex.analyze(plan, "customers.parquet"))

The names below are what users need. Each is imported when it is first asked for: whoever assigns loads no statistics,
and whoever reads a readout's JSON loads no engine of tables.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.aggregates import Aggregates
    from experiments.analysis import analyze, readout_of
    from experiments.assigning.allocation import Allocation
    from experiments.assigning.assigned import Assignment, Assignments, Reason
    from experiments.assigning.sql import Dialect, sql
    from experiments.assignment import assign, assign_many
    from experiments.design import Experiment
    from experiments.errors import AssignmentError, ExperimentError, PlanError, TableError
    from experiments.readout import Readout
    from experiments.reporting.verdicts import Call, Verdict
    from experiments.tables import aggregate

_HOMES = {
    "Aggregates": "aggregates",
    "Allocation": "assigning.allocation",
    "Assignment": "assigning.assigned",
    "AssignmentError": "errors",
    "Assignments": "assigning.assigned",
    "Call": "reporting.verdicts",
    "Dialect": "assigning.sql",
    "Experiment": "design",
    "ExperimentError": "errors",
    "PlanError": "errors",
    "Readout": "readout",
    "Reason": "assigning.assigned",
    "TableError": "errors",
    "Verdict": "reporting.verdicts",
    "aggregate": "tables",
    "analyze": "analysis",
    "assign": "assignment",
    "assign_many": "assignment",
    "readout_of": "analysis",
    "sql": "assigning.sql",
}

__all__ = [
    "Aggregates",
    "Allocation",
    "Assignment",
    "AssignmentError",
    "Assignments",
    "Call",
    "Dialect",
    "Experiment",
    "ExperimentError",
    "PlanError",
    "Readout",
    "Reason",
    "TableError",
    "Verdict",
    "aggregate",
    "analyze",
    "assign",
    "assign_many",
    "readout_of",
    "sql",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
