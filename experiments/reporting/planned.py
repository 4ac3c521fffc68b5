"""How many units a comparison will have at the planned end, where anytime intervals are made to be narrowest.

The plan's own `planned_units`, shared out by its weights. Where it has none, read off entries alone, never off
outcomes: those of the first `min_days`, carried on with the traffic and weights that the plan has for each day. From
then on the number stays as it is, and being rounded to a power of two it hardly moves before. Being wrong costs width:
in decision 22 are figures.
"""

from datetime import timedelta
from math import log2, sqrt

from experiments.aggregates import Aggregates
from experiments.design import Experiment
from experiments.reporting.validity import weights_of


def planned_units(plan: Experiment, aggregates: Aggregates) -> dict[str, int]:
    """By treatment: units of it and of the control together, expected at the planned end; at least 2.

    Where the table has no dates, it is read as complete, and these are the units that are there.
    """
    return {each.name: _planned(plan, aggregates, each.name) for each in plan.treatments}


def _planned(plan: Experiment, aggregates: Aggregates, treatment: str) -> int:
    arms = (plan.control.name, treatment)
    if plan.planned_units is not None:
        weights = weights_of(plan, 0)
        return max(2, round(plan.planned_units * sum(weights[name] for name in arms) / sum(weights.values())))
    by_day: dict[int, int] = {}
    for cell, units in aggregates.units.items():
        if cell.variant in arms and cell.entry_day is not None:
            by_day[cell.entry_day] = by_day.get(cell.entry_day, 0) + units
    if aggregates.as_of is None or not by_day:
        return max(2, sum(units for cell, units in aggregates.units.items() if cell.variant in arms))
    days = (plan.end - plan.start).days
    watched = max(1, min(days, (aggregates.as_of - plan.start).days))
    shares = [_share(plan, day, arms) for day in range(days)]
    open_days = [day for day in range(watched) if shares[day] > 0][: plan.min_days]
    entered = sum(by_day.get(day, 0) for day in open_days)
    begun = sum(shares[day] for day in open_days)
    if not begun:
        return 2
    # As the plan's traffic goes, and between the two ways in which customers come: all at first, and evenly to the end.
    traffic = (sum(shares) / days) / (begun / len(open_days))
    return 2 ** round(log2(max(2.0, entered * traffic * sqrt(days / len(open_days)))))


def _share(plan: Experiment, day: int, arms: tuple[str, str]) -> float:
    """Which share of the audience's customers of that day enters either arm."""
    today = plan.start + timedelta(days=day)
    begun = [number for number, phase in enumerate(plan.phases) if phase.start <= today]
    phase = max(begun, key=lambda number: plan.phases[number].start, default=0)
    weights = weights_of(plan, phase)
    total = sum(weights.values())
    traffic = plan.phases[phase].traffic if plan.phases else plan.traffic
    return traffic * sum(weights[name] for name in arms) / total if total else 0.0
