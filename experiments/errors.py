"""Everything that the library refuses to do, as one tree of errors.

    ExperimentError
    ├── PlanError       a plan says what it must not, or not what it must; carries every problem found
    ├── TableError      a table holds what cannot be analysed; names the column
    └── AssignmentError a customer's id, stored variant or attributes cannot be used

What can be analysed but gives no number is no error: it is an estimate that says why not. Messages are sentences made
for people; programs read the fields.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 20


class ExperimentError(Exception):
    """The base of all: catch it to catch whatever the library itself raises."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a plan: where (`metrics[2].margin`), what was found, and what was expected.

    `path` is empty for the plan itself. `line` counts from 1 and is known when the plan came as text.
    """

    path: str
    found: str
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line else ""
        where = f"{self.path}: " if self.path else ""
        return f"{line}{where}found {self.found}, expected {self.expected}"


class PlanError(ExperimentError):
    """Raised when a plan is read or built, with all problems in the order of the plan; `source` is the file's name."""

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.source = source
        if not self.problems:
            raise ValueError("found no problem, expected one or more: nothing else makes a plan wrong")
        name = source or "The plan"
        if len(self.problems) == 1:
            super().__init__(f"{name} cannot be used: {self.problems[0]}.")
        else:
            listed = "".join(f"\n  {each}" for each in self.problems[:_SHOWN])
            more = f"\n  and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
            super().__init__(f"{name} cannot be used, for {len(self.problems)} reasons:{listed}{more}")

    def __reduce__(self) -> "tuple[type[PlanError], tuple[tuple[Problem, ...], str | None]]":
        return type(self), (self.problems, self.source)  # an exception is otherwise rebuilt from its message


class TableError(ExperimentError):
    """Raised when a table is read: the column that is wrong (None: the table itself), and a sentence that says how."""

    def __init__(self, column: str | None, sentence: str) -> None:
        super().__init__(f"column {column!r}: {sentence}" if column is not None else sentence)
        self.column = column
        self.sentence = sentence

    def __reduce__(self) -> "tuple[type[TableError], tuple[str | None, str]]":
        return type(self), (self.column, self.sentence)


class AssignmentError(ExperimentError):
    """Raised when customers are assigned, with one sentence that names the unit, the stored variant or the column."""
