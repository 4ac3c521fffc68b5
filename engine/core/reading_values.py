"""Readers of single values: texts, numbers, choices, durations and times of day, each with its bounds.

Strict: no text is taken for a number, no true for 1. What each promises to return, it refuses everything else for.
"""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, TypeGuard, TypeVar

from engine.core.reading import At, Reader, alternatives, described

E = TypeVar("E", bound=StrEnum)

SECOND_US: Final = 1_000_000
_LEAP_SECOND: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d):60(?:[.,]\d+)?")


def on_clock(instant: str) -> str:
    """An instant of RFC 3339, which knows leap seconds: one is the end of its minute, for no clock here shows it."""
    return _LEAP_SECOND.sub(r"\1:59.999999", instant, count=1) if instant[16:19] == ":60" else instant


def label(most: int = 200, least: int = 1) -> Reader[str]:
    """Free text on one line. Printable excludes NUL, lone surrogates and line breaks."""

    def read(at: At) -> str:
        if not isinstance(at.value, str):
            raise at.refused("text")
        if not least <= len(at.value) <= most:
            raise at.refused(f"{least} to {most} characters", f"{described(at.value)} of {len(at.value)} characters")
        if not at.value.isprintable():
            raise at.refused("printable characters only")
        return at.value

    return read


def a_name(at: At) -> str:
    if isinstance(at.value, str) and _NAME.fullmatch(at.value):
        return at.value
    raise at.refused("1 to 100 lowercase letters, digits, '-', '_' or '.'")


def flag(at: At) -> bool:
    if isinstance(at.value, bool):
        return at.value
    raise at.refused("true or false")


def is_whole(value: object, least: int, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(least: int, most: int) -> Reader[int]:
    def read(at: At) -> int:
        if is_whole(at.value, least, most):
            return at.value
        raise at.refused(f"a whole number from {least} to {most}")

    return read


def number(at: At) -> int | float:
    """A finite number; whole ones up to 2^53, which every JSON reader keeps exactly."""
    if is_whole(at.value, -(2**53), 2**53):
        return at.value
    if isinstance(at.value, float) and math.isfinite(at.value):
        return at.value
    raise at.refused("a finite number, whole ones up to 2^53")


def choice(enum: type[E]) -> Reader[E]:
    """One of a closed set, written as its value."""

    def read(at: At) -> E:
        with suppress(ValueError):
            if isinstance(at.value, str):
                return enum(at.value)
        raise at.refused(alternatives([one.value for one in enum], at.value))

    return read


def word(words: Sequence[str]) -> Reader[str]:
    """One of a few words."""

    def read(at: At) -> str:
        if isinstance(at.value, str) and at.value in words:
            return at.value
        raise at.refused(alternatives(words, at.value))

    return read


def duration(most_us: int) -> Reader[int]:
    """Microseconds, written as `90s`, `30m`, `16h`, `7d`, `2w` or several of them from long to short: `1d12h`."""

    def read(at: At) -> int:
        match = _DURATION.fullmatch(at.value) if isinstance(at.value, str) else None
        if not match:
            raise at.refused("a duration such as 7d, 36h or 1d12h")
        length_us = sum(int(n) * unit_us for n, unit_us in zip(match.groups(), _UNITS.values(), strict=True) if n)
        if not 0 < length_us <= most_us:
            raise at.refused(f"a duration of more than 0 and at most {duration_text(most_us)}")
        return length_us

    return read


def duration_text(length_us: int) -> str:
    """The duration as it would be written; the inverse of `duration` for whole seconds."""
    if length_us <= 0 or length_us % SECOND_US:
        raise ValueError(f"found {length_us} us, expected one or more whole seconds")
    text = ""
    for unit, unit_us in _UNITS.items():
        if unit != "w":  # people say 7d and 30d
            n, length_us = divmod(length_us, unit_us)
            text += f"{n}{unit}" if n else ""
    return text


def time_of_day(midnight_ends: bool = False) -> Reader[int]:
    """Minutes since midnight, from "21:00"; "24:00" is the midnight at which something ends."""

    def read(at: At) -> int:
        if midnight_ends and at.value == "24:00":
            return 0
        match = _TIME_OF_DAY.fullmatch(at.value) if isinstance(at.value, str) else None
        if not match:
            raise at.refused(f'a quoted time of day from "00:00" to "{"24:00" if midnight_ends else "23:59"}"')
        return int(match[1]) * 60 + int(match[2])

    return read


def time_of_day_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


_NAME: Final = re.compile(r"[a-z0-9._-]{1,100}")
_TIME_OF_DAY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_UNITS: Final = {
    "w": 7 * 86_400 * SECOND_US,
    "d": 86_400 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "m": 60 * SECOND_US,
    "s": SECOND_US,
}
_DURATION: Final = re.compile("(?=[0-9])" + "".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))
