"""Reading JSON-like data into values, with every problem found and not the first alone.

A reader is a function from an `At`, one place in a document, to a value. What does not fit is recorded with its path
and raised as `Refused`; `Fields` and `each` catch that, and go on with the next field or item. Nothing here knows
policies. Whatever the data, reading ends: what is not expected is not descended into, and all lists are bounded.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Final, TypeAlias, TypeVar, cast

from engine.core.errors import Problem

T = TypeVar("T")

PROBLEMS_MAX: Final = 100
FIELDS_MAX: Final = 10_000


class Refused(Exception):
    """A place does not hold what was expected; the problem is on record already."""


class TooManyProblems(Exception):
    """A hundred problems are on record: whoever mends those finds the others next time."""


class Problems:
    """The problems found in one document so far."""

    def __init__(self) -> None:
        self._found: list[tuple[tuple[int, ...], Problem]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: tuple[int, ...], problem: Problem) -> None:
        if len(self._found) >= PROBLEMS_MAX:
            raise TooManyProblems
        self._found.append((place, problem))

    def in_document_order(self) -> tuple[Problem, ...]:
        return tuple(problem for _, problem in sorted(self._found, key=lambda found: found[0]))


@dataclass(frozen=True, slots=True)
class At:
    """One place in a document: its value, its path, where it comes in order, and where its problems go."""

    value: object
    problems: Problems
    path: str = ""
    place: tuple[int, ...] = ()

    def report(self, expected: str, found: str | None = None) -> None:
        """Record a problem and go on."""
        self.problems.add(self.place, Problem(self.path, described(self.value) if found is None else found, expected))

    def refused(self, expected: str, found: str | None = None) -> Refused:
        """Record a problem; `raise` what is returned."""
        self.report(expected, found)
        return Refused()

    def child(self, key: str | int, value: object, position: int) -> "At":
        return At(value, self.problems, join(self.path, key), (*self.place, position))

    def children(self) -> "dict[str | int, At]":
        """The first entries of a mapping (those with a text for a key) or items of a list; none for other values."""
        mapping, values = as_mapping(self.value), as_list(self.value)
        pairs: Iterable[tuple[object, object]] = mapping.items() if mapping is not None else enumerate(values or ())
        numbered = enumerate(islice(pairs, FIELDS_MAX))
        return {key: self.child(key, value, n) for n, (key, value) in numbered if isinstance(key, str | int)}

    def within(self, *keys: str | int) -> "At":
        """The place that the keys lead to, or the innermost on the way there that exists."""
        at = self
        for key in keys:
            children = at.children()
            if key not in children:
                break
            at = children[key]
        return at


Reader: TypeAlias = Callable[[At], T]


def read_all(reader: Reader[T], data: object, error: Callable[[tuple[Problem, ...]], Exception]) -> T:
    """The value read; raises the error with all problems, in the order of the document, if there is one."""
    problems = Problems()
    with suppress(Refused, TooManyProblems):
        value = reader(At(data, problems))
        if not problems:
            return value
    raise error(problems.in_document_order())


def as_mapping(value: object) -> dict[object, object] | None:
    return cast("dict[object, object]", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def join(path: str, key: str | int) -> str:
    """`budgets[0].window`; a key that is not a plain word is quoted: `topics["order updates"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    shown = key if len(key) <= _KEY_SHOWN else key[:_KEY_SHOWN] + "..."
    return f"{path}[{json.dumps(shown)}]"


def described(value: object) -> str:
    """What was found, in a few words and on one line, whatever it is."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value[:_TEXT_SHOWN]) + ("..." if len(value) > _TEXT_SHOWN else "")
        case int():
            return str(value) if value.bit_length() <= 64 else "a whole number of more than 64 bits"
        case float():
            return repr(value)
        case list() | dict():
            kind = "mapping" if isinstance(value, dict) else "list"
            length = len(cast("list[object]", value))
            return f"a {kind} of {length}" if length else f"an empty {kind}"
        case _:
            return f"a {type(value).__name__}"


def alternatives(words: Collection[str], typed: object = None) -> str:
    """`email, push or sms`, with the likeliest of them when something close was typed."""
    *most, last = words or [""]
    text = f"{', '.join(most)} or {last}" if most else last
    guess = did_you_mean(typed, words)
    return f"{text} (did you mean {guess}?)" if guess else text


def did_you_mean(typed: object, words: Collection[str]) -> str | None:
    if not isinstance(typed, str) or len(typed) > _KEY_SHOWN:
        return None
    folded = typed.lower().replace("-", "_")
    close = get_close_matches(folded, words, n=1) or get_close_matches(typed, words, n=1)
    return close[0] if close else None


# --- mappings and lists ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Fields:
    """A mapping with known fields. Read them all, then `close`: only after it do the values read mean anything."""

    at: At
    known: Collection[str]
    _entries: dict[str, At] = field(init=False)
    _before: int = field(init=False)

    def __post_init__(self) -> None:
        self._before = len(self.at.problems)
        self._entries = {}
        for key, entry in entries(self.at, FIELDS_MAX):
            if key in self.known:
                self._entries[key] = entry
            else:
                entry.report(f"one of {alternatives(self.known, key)}", f"unknown field {described(key)}")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def place(self, name: str) -> At:
        """Where the field stands; where it is missing, what lacks it."""
        return self._entries.get(name) or At(None, self.at.problems, join(self.at.path, name), self.at.place)

    def children(self, name: str) -> list[At]:
        """All entries or items of the field, whether or not they can be read."""
        return list(self._entries[name].children().values()) if name in self._entries else []

    def required(self, name: str, reader: Reader[T], expected: str) -> T:
        if name not in self._entries:
            self.place(name).report(expected, "nothing")
        return self.optional(name, reader, cast("T", None))  # never seen: `close` raises before anyone looks

    def optional(self, name: str, reader: Reader[T], default: T) -> T:
        if name in self._entries:
            with suppress(Refused):
                return reader(self._entries[name])
        return default

    def excludes(self, name: str, others: Collection[str]) -> None:
        for other in others:
            if other in self:
                self.place(other).report(f"no {other} beside {name}")

    def close(self) -> None:
        """Raise if anything within this mapping was wrong."""
        if len(self.at.problems) > self._before:
            raise Refused


def entries(at: At, most: int) -> Iterator[tuple[str, At]]:
    """The entries of a mapping, in order; those whose key is no printable text are reported and left out."""
    mapping = as_mapping(at.value)
    if mapping is None:
        raise at.refused("a mapping")
    if len(mapping) > most:
        raise at.refused(f"at most {most} entries", f"a mapping of {len(mapping)}")
    for position, (key, value) in enumerate(mapping.items()):
        if isinstance(key, str) and key.isprintable():
            yield key, at.child(key, value, position)
        else:
            at.child(key if isinstance(key, str) else described(key), value, position).report(
                "a key of printable text", f"the key {described(key)}"
            )


def items(at: At, most: int, least: int = 0) -> list[At]:
    values = as_list(at.value)
    if values is None:
        raise at.refused("a list")
    if not least <= len(values) <= most:
        raise at.refused(f"a list of {least} to {most}" if least else f"a list of at most {most}")
    return [at.child(i, value, i) for i, value in enumerate(values)]


def each(at: At, reader: Reader[T], most: int, least: int = 0) -> list[tuple[At, T]]:
    """Every item of a list that could be read, with its place."""
    read: list[tuple[At, T]] = []
    for item in items(at, most, least):
        with suppress(Refused):
            read.append((item, reader(item)))
    return read


def list_of(reader: Reader[T], most: int, least: int = 0) -> Reader[tuple[T, ...]]:
    return lambda at: tuple(value for _, value in each(at, reader, most, least))


def set_of(reader: Reader[T], most: int) -> Reader[frozenset[T]]:
    """A list of one or more different values."""

    def read(at: At) -> frozenset[T]:
        seen: set[T] = set()
        for item, value in each(at, reader, most, least=1):
            if value in seen:
                item.report("each value once", f"{described(item.value)} again")
            seen.add(value)
        return frozenset(seen)

    return read


def mapping_of(key_reader: Reader[str], reader: Reader[T], most: int) -> Reader[Mapping[str, T]]:
    """A mapping with free keys; each key is read as a value of its own."""

    def read(at: At) -> Mapping[str, T]:
        result: dict[str, T] = {}
        for key, entry in entries(at, most):
            with suppress(Refused):
                name = key_reader(At(key, entry.problems, entry.path, entry.place))
                result[name] = reader(entry)
        return result

    return read


_TEXT_SHOWN: Final = 60
_KEY_SHOWN: Final = 60
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")
