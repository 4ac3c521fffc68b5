"""Mappings of a plan's file made into values: known fields, values that check themselves, and problems in their place.

What is missing is handed over as `ABSENT` and what could not be read as `UNREAD`, so that all else is still checked.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

from experiments.errors import PlanError, Problem
from experiments.plans.checking import ABSENT, UNREAD, As, Checks, alternatives, entry, joined, nearest

Given = Mapping[str, Any]
NOTHING: Final[Given] = {}


class Reading(Checks):
    """The problems of a whole file so far, with paths as the file has them."""

    def fields(self, path: str, value: object, known: Collection[str]) -> Given | None:
        """The known fields of a mapping; the others are reported. None if it is no mapping."""
        entries = as_mapping(value)
        if entries is None:
            return self.add(path, value, "a mapping")
        given: dict[str, Any] = {}
        for key, each in entries.items():
            if isinstance(key, str) and key in known:
                given[key] = each
            else:
                guess = nearest(key, known)
                expected = f"a known one: did you mean {guess}?" if guess else f"one of {alternatives(known)}"
                self.add(entry(path, str(key)[:100]), As("an unknown field"), expected)
        return given

    def build(self, path: str, kind: Callable[..., Any], given: Given, renamed: Mapping[str, str] = NOTHING) -> Any:
        """The value; `UNREAD` if it finds problems, which are recorded, or if a part of it could not be read.

        `renamed` maps paths of the value, or how they begin, to what the file calls them: "" for the value's own place.
        """
        try:
            value = kind(**given)
        except PlanError as error:
            for each in error.problems:
                self.record(Problem(joined(path, _renamed(each.path, renamed)), each.found, each.expected))
            return UNREAD
        return UNREAD if any(each is UNREAD for each in given.values()) else value

    def record(self, problem: Problem) -> None:
        """Two parts that share a field may both complain about it: once is enough."""
        if problem not in self.problems:
            self.problems.append(problem)


def as_mapping(value: object) -> Mapping[object, object] | None:
    return cast("Mapping[object, object]", value) if isinstance(value, Mapping) else None


def as_list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def picked(given: Given, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """Fields by name, those required and missing as `ABSENT`."""
    found = {name: given.get(name, ABSENT) for name in required}
    return {**found, **{name: given[name] for name in optional if name in given}}


def _renamed(path: str, renamed: Mapping[str, str]) -> str:
    if path in renamed:
        return renamed[path]
    for name, new in renamed.items():
        if path.startswith((f"{name}.", f"{name}[")):
            rest = path[len(name) :]
            return f"{new}{rest}" if new else rest.removeprefix(".")
    return path
