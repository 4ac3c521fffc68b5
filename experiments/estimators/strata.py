"""Phases as strata: each compared within itself, and the differences averaged by weights of sizes alone.

The weight of a stratum is n0 * n1 / (n0 + n1), that of Mantel and Haenszel (1959), whatever its outcomes were: so the
average estimates the same thing under every outcome. A stratum without units in one arm has weight 0 and is left out.
Of ratios the size of an arm is its total denominator, in place of its units (`ratios.weighted`).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from experiments.estimates import Stratum

T = TypeVar("T")


def weighted(strata: Sequence[Stratum[T]], size: Callable[[T], float]) -> list[tuple[float, Stratum[T]]]:
    """The strata with units in both arms, each with its weight; the weights sum to 1. Empty if none is left."""
    sizes = [(size(each.control), size(each.treatment)) for each in strata]
    raw = [n0 * n1 / (n0 + n1) if n0 and n1 else 0.0 for n0, n1 in sizes]
    total = sum(raw)
    return [(weight / total, each) for weight, each in zip(raw, strata, strict=True) if weight]


def varying(strata: Sequence[Stratum[T]], size: Callable[[T], int]) -> list[tuple[float, Stratum[T]]]:
    """As `weighted`, of the strata with two units or more in both arms; of those with one, if there are no others.

    One unit alone has no variance, and a phase that hardly anybody entered must not silence the rest.
    """
    enough = [each for each in strata if min(size(each.control), size(each.treatment)) > 1]
    return weighted(enough or strata, size)
