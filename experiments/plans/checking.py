"""How the values of a plan check themselves: every problem goes on record, and one error carries them all.

A value's `__post_init__` opens `Checks`, asks it about each field, and closes it. A check that fails answers None or
False, so that checks of several fields together can be left out where one of them is wrong already. `ABSENT` and
`UNREAD` let a reader hand over what a document lacks, and what it has reported, and still have all the rest checked.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from enum import Enum, StrEnum
from numbers import Integral, Real
from typing import Any, Final, TypeGuard, TypeVar, cast

from experiments.errors import PlanError, Problem

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

TEXT_MAX: Final = 200
NUMBER_MAX: Final = 1e12
DAYS_MAX: Final = 3_650
UNITS_MAX: Final = 10**10
FIRST_DATE: Final = date(1970, 1, 1)
LAST_DATE: Final = date(2199, 12, 31)


class Mark(Enum):
    """What a reader hands over in place of a value: it was not there, or its problems are on record already."""

    ABSENT = "absent"
    UNREAD = "unread"


ABSENT: Final = Mark.ABSENT
UNREAD: Final = Mark.UNREAD


class Checks:
    """The problems of one value so far. Paths are those of its fields."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def close(self) -> None:
        """Raise `PlanError` if anything was wrong."""
        if self.problems:
            raise PlanError(self.problems)

    def add(self, path: str, found: object, expected: str) -> None:
        """Record a problem; `found` is described unless it is an `As`. Of what is UNREAD it is on record already."""
        if found is not UNREAD:
            self.problems.append(Problem(path, found if isinstance(found, As) else described(found), expected))

    def within(self, path: str, problems: Iterable[Problem]) -> None:
        """Record the problems of a part that stands at the path."""
        self.problems += [Problem(joined(path, each.path), each.found, each.expected, each.line) for each in problems]

    # --- one field; each answers the value, or None if it is not what it should be ----------------------------------

    def text(self, path: str, value: object, most: int = TEXT_MAX) -> str | None:
        """One line of printable text, without blanks around it."""
        if not isinstance(value, str):
            quote = f" (in quotes: {json.dumps(str(value))})" if _is_number(value) or isinstance(value, bool) else ""
            return self.add(path, value, f"a text{quote}")
        if not 1 <= len(value) <= most:
            return self.add(path, As(f"a text of {len(value)} characters"), f"1 to {most} characters")
        if not value.isprintable() or value != value.strip():
            return self.add(path, value, "printable characters on one line, without blanks around them")
        return value

    def paragraph(self, path: str, value: object, most: int) -> None:
        """Printable text of several lines."""
        if not isinstance(value, str):
            self.add(path, value, "a text")
        elif len(value) > most:
            self.add(path, As(f"a text of {len(value)} characters"), f"at most {most:,} characters")
        elif not all(map(str.isprintable, value.split("\n"))):
            self.add(path, value, "printable characters")

    def number(
        self, path: str, value: object, least: float = -NUMBER_MAX, most: float = NUMBER_MAX, above: float | None = None
    ) -> float | None:
        """A finite number from `least` to `most`, and above `above`."""
        if _is_number(value) and least <= value <= most and (above is None or value > above):
            return value
        low = f"above {_short(above)}" if above is not None else f"from {_short(least)}"
        high = f" and at most {_short(most)}" if above is not None else f" to {_short(most)}"
        return self.add(path, value, f"a number {low}{high}")

    def whole(self, path: str, value: object, least: int, most: int) -> int | None:
        if _is_number(value) and isinstance(value, Integral) and least <= value <= most:
            return int(value)
        return self.add(path, value, f"a whole number from {least} to {most}")

    def flag(self, path: str, value: object) -> None:
        if not isinstance(value, bool):
            self.add(path, value, "true or false")

    def day(self, path: str, value: object) -> date | None:
        """A date without a time."""
        if isinstance(value, date) and not isinstance(value, datetime) and FIRST_DATE <= value <= LAST_DATE:
            return value
        return self.add(path, value, f"a date such as 2026-10-05, from {FIRST_DATE.year} to {LAST_DATE.year}")

    def choice(self, path: str, value: object, enum: type[E], later: Collection[str] = ()) -> E | None:
        """A member of a closed set, or its text. What comes `later` is refused with the sentence that it does."""
        if isinstance(value, str):
            if value in [each.value for each in enum]:
                return enum(value)
            if value in later:
                return self.add(path, value, f"{alternatives([each.value for each in enum])}: {value} comes later")
        return self.add(path, value, alternatives([each.value for each in enum], value))

    def part(self, path: str, value: object, kind: type[T]) -> T | None:
        """A value that checked itself when it was built."""
        return value if isinstance(value, kind) else self.add(path, value, f"a value of the type {kind.__name__}")

    # --- several ------------------------------------------------------------------------------------------------------

    def items(self, path: str, values: object, most: int, least: int = 0) -> list[object] | None:
        """A list of bounded length."""
        if isinstance(values, list | tuple):
            found = list(cast("Iterable[object]", values))
            if least <= len(found) <= most:
                return found
        length = f"{least} to {most}" if least < most else str(most)
        expected = f"a list of {length}" if least else f"a list of at most {most}"
        return self.add(path, cast("object", values), expected)

    def mapping(self, path: str, values: object, most: int) -> dict[str, object]:
        """The entries of a mapping whose keys are texts."""
        if not isinstance(values, Mapping):
            return self.add(path, values, "a mapping") or {}
        found = dict(cast("Mapping[object, object]", values))
        if len(found) > most:
            return self.add(path, found, f"a mapping of at most {most}") or {}
        return {key: each for key, each in found.items() if self.text(path, key) is not None and isinstance(key, str)}

    def parts(self, path: str, values: object, kind: type[T], most: int, least: int = 0) -> list[T | None]:
        """All items of the kind in their places; None for the others, which are reported."""
        items = self.items(path, values, most, least) or ()
        return [self.part(f"{path}[{i}]", each, kind) for i, each in enumerate(items)]

    def texts(self, path: str, values: object, most: int) -> tuple[str, ...]:
        """A list of different texts."""
        found = [self.text(f"{path}[{i}]", each) for i, each in enumerate(self.items(path, values, most) or ())]
        self.differ(path, found)
        return tuple(each for each in found if each is not None)

    def differ(self, path: str, names: Iterable[str | None], field: str = "") -> None:
        """No name twice, whatever its case: tables and people mix up what differs in case alone."""
        seen: set[str] = set()
        for i, name in enumerate(names):
            if name is not None and name.casefold() in seen:
                self.add(joined(f"{path}[{i}]", field), As(f"{described(name)} again"), "each name once")
            elif name is not None:
                seen.add(name.casefold())


class As(str):
    """Words for what was found, to be shown as they are."""

    __slots__ = ()


def joined(path: str, rest: str) -> str:
    """The path of what stands at `rest` within `path`."""
    return f"{path}{rest}" if rest.startswith("[") or not path or not rest else f"{path}.{rest}"


def entry(path: str, key: str) -> str:
    """The path of a mapping's entry; a key that is no plain word is quoted: `testers["j. doe"]`."""
    if _PLAIN_KEY.fullmatch(key):
        return joined(path, key)
    return f"{path}[{json.dumps(key[:_SHOWN])}]"


def described(value: object) -> str:
    """What was found, in a few words on one line, whatever it is."""
    match value:
        case Mark():
            return "nothing"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case StrEnum():
            return repr(value.value)
        case str():
            return repr(value[:_SHOWN]) + ("..." if len(value) > _SHOWN else "")
        case int():
            return str(value) if value.bit_length() <= 128 else "a number of more than 128 bits"
        case float():
            return repr(float(value))
        case datetime():
            return f"the time {value}"
        case date():
            return str(value)
        case dict():
            return _sized("mapping", len(cast("dict[Any, Any]", value)))
        case list() | tuple():
            return _sized("list", len(cast("list[Any]", value)))
        case _:
            return f"a value of the type {type(value).__name__}"


def alternatives(words: Collection[str], typed: object = None) -> str:
    """`rate, mean or count`, with the nearest of them where something close was typed."""
    *most, last = words
    text = f"{', '.join(most)} or {last}" if most else last
    guess = nearest(typed, words)
    return f"{text} (did you mean {guess}?)" if guess else text


def nearest(typed: object, words: Collection[str]) -> str | None:
    """The word that was probably meant."""
    if not isinstance(typed, str) or len(typed) > _SHOWN:
        return None
    folded = typed.casefold().replace("-", "_").replace(" ", "_")
    close = get_close_matches(folded, words, n=1) or get_close_matches(typed, words, n=1)
    return close[0] if close else None


def set_field(value: object, name: str, content: object) -> None:
    """Give a frozen value a field in the form that its type promises; only for use while it is built."""
    object.__setattr__(value, name, content)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and value is not True and value is not False  # numpy's numbers are numbers too


def _short(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def _sized(kind: str, length: int) -> str:
    return f"a {kind} of {length}" if length else f"an empty {kind}"


_SHOWN: Final = 60
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")
