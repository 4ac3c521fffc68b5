"""Draws: two whole numbers of 60 bits for a unit, out of one SHA-256, and the thresholds that they are held against.

All chance in assignment is here, and all of it is integers: nothing depends on how a language rounds.
`docs/assignment.md` documents it to the byte; `tests/vectors/assignment.json` has examples for other languages.
"""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _hashlib import HASH

WHOLE: Final = 1 << 60
_REMEMBERED = 256

Ints = NDArray[np.int64]


def field(text: str) -> bytes:
    """How a text enters a digest: how many bytes it has in UTF-8, as a decimal, a colon, the bytes."""
    data = text.encode()
    return b"%d:%b" % (len(data), data)


class Draw:
    """A source of numbers for units; another for each combination of fields, in their order, independent of all others.

    Fields carry their lengths, so that no two lists of fields run together into the same bytes.
    """

    __slots__ = ("_states",)

    def __init__(self, *fields: str) -> None:
        self._states = _States(sha256(b"".join(map(field, fields))))

    def pair(self, unit: bytes) -> tuple[int, int]:
        """The numbers of hex digits 1 to 15 and 16 to 30 of the digest, each in [0, 2^60)."""
        state = self._states[len(unit)].copy()
        state.update(unit)
        both = int.from_bytes(state.digest()[:15], "big")
        return both >> 60, both & (WHOLE - 1)

    def pairs(self, units: Sequence[bytes]) -> tuple[Ints, Ints]:
        """The pairs of many units, as two arrays. Only the digest is made one unit at a time."""
        states = self._states
        digests: list[bytes] = []
        add = digests.append
        for unit in units:
            state = states[len(unit)].copy()
            state.update(unit)
            add(state.digest())
        words = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 4)
        one, two = words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)
        return (one >> 4).astype(np.int64), ((one & 15) << 56 | two >> 8).astype(np.int64)


class _States(dict[int, "HASH"]):
    """The state of the digest after the fields and the unit's length, by that length: made once, copied for each."""

    __slots__ = ("_begun",)

    def __init__(self, begun: "HASH") -> None:
        super().__init__()
        self._begun = begun

    def __missing__(self, length: int) -> "HASH":
        state = self._begun.copy()
        state.update(b"%d:" % length)
        if length < _REMEMBERED:
            self[length] = state
        return state


def threshold(share: float) -> int:
    """The share of 2^60, rounded down: a number below it is within the share.

    The share counts as the decimal that it is written as: 0.1 is a tenth, not the binary fraction next to it. It never
    falls where the share rises, so that widening takes nobody out.
    """
    return int(_written(share) * WHOLE)


def bounds(weights: Sequence[float]) -> tuple[int, ...]:
    """Where each weight's stretch of [0, 2^60) ends: the share of the weights so far in all of them, rounded down.

    Weights count as the decimals that they are written as. The last bound is 2^60 exactly; a weight of 0 has an empty
    stretch. Errors: ValueError where no weight is above 0, or one is below.
    """
    sums = list(accumulate(map(_written, weights)))
    if not sums or sums[-1] <= 0 or min(weights) < 0:
        raise ValueError(f"found the weights {list(weights)}, expected none below 0 and one above")
    return tuple(int(each * WHOLE / sums[-1]) for each in sums)


def _written(number: float) -> Fraction:
    return Fraction(repr(float(number)))
