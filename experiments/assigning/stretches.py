"""What a plan's assignment goes by, and from when on: the thresholds of traffic and of each variant.

A stretch is a phase, or the whole of a plan without phases. Variants stand in the order of their names, so that the
order of a plan's lines means nothing.
"""

from dataclasses import dataclass
from datetime import date

from experiments.assigning.draws import bounds, threshold
from experiments.design import Experiment


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` on: a traffic number below `traffic` is in; a variant number below `bounds[i]`, and not below the
    bound before it, is the i-th variant's."""

    start: date
    traffic: int
    bounds: tuple[int, ...]


def variants_in_order(plan: Experiment) -> tuple[str, ...]:
    """The names of the variants, by their bytes in UTF-8."""
    return tuple(sorted((each.name for each in plan.variants), key=str.encode))


def stretches(plan: Experiment) -> tuple[Stretch, ...]:
    """In order of time, one at least."""
    names = variants_in_order(plan)
    if not plan.phases:
        weights = {each.name: each.weight for each in plan.variants}
        return (Stretch(plan.start, threshold(plan.traffic), bounds([weights[name] for name in names])),)
    return tuple(
        Stretch(each.start, threshold(each.traffic), bounds([each.weights[name] for name in names]))
        for each in plan.phases
    )
