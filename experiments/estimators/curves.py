"""A curve over whole days since entry: an estimate, its pointwise interval and how many units were still at risk.

Not a band: each interval is right for its own day alone. A curve ends before its horizon where nobody is left to speak
for the days after, so that it never holds a number that the data do not give. Its arrays cannot be written to.
"""

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from experiments.risk import Ints

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """At the end of `days[i]` whole days the `estimate[i]` lies within [`low[i]`, `high[i]`], wrong in `alpha`.

    `at_risk[i]` units had then been watched for as long and had left by no event. `days` counts from 0 up; it is empty
    where there were no units.
    """

    estimand: str
    method: str
    alpha: float
    days: Ints
    estimate: Floats
    low: Floats
    high: Floats
    at_risk: Ints

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                frozen = np.array(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                frozen.flags.writeable = False
                object.__setattr__(self, name, frozen)

    def __len__(self) -> int:
        return len(self.days)


def last_day(at_risk: Ints, staying: Floats) -> int:
    """The last day up to which a curve is known, of `at_risk` on days 0 to h - 1 and `staying` at the ends 0 to h.

    Day k is known while somebody is at risk on each day before it. Where all have left by an event, nothing can happen
    any more, and the curve goes on as it is.
    """
    unknown = np.flatnonzero((at_risk == 0) & (staying[:-1] > 0))
    return int(unknown[0]) if unknown.size else len(at_risk)
