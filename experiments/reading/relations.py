"""The door to Ibis, the one module that imports it.

Ibis types a column by what it holds, which a name does not say, and has no stubs: to the type checker tables and
expressions are `Any` here, and what they hold is checked when a plan meets a table (`fields`).
"""

from importlib import import_module
from typing import Any, TypeAlias

ibis: Any = import_module("ibis")
pyarrow: Any = import_module("pyarrow")  # comes with Ibis
_TABLE: Any = import_module("ibis.expr.types").Table

Table: TypeAlias = Any
Expression: TypeAlias = Any


def is_table(source: object) -> bool:
    return isinstance(source, _TABLE)
