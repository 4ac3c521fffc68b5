"""What may change in a plan while its experiment runs: when it started, how many come in, and by which weights.

Functions of the plan's data in the form of its file. Nobody who is in is ever moved: traffic only widens, and other
weights hold from a new phase on, for those who enter then. Phases are counted by days in UTC.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, cast

from engine.core.errors import Conflict, Invalid, InvalidPlan, Problem
from engine.operations.plan_file import read_plan
from experiments.design import Experiment

Data = dict[str, Any]


def started(data: Data, experiment: Experiment, today: date) -> Data:
    """The plan as it starts today: every date moves by as many days, so that it lasts as long as was planned."""
    by = today - experiment.start
    moved = {**data, "start": _moved(data["start"], by), "end": _moved(data["end"], by)}
    if data.get("phases"):
        moved["phases"] = [{**each, "start": _moved(each["start"], by)} for each in data["phases"]]
    return moved


def traffic_of(experiment: Experiment, today: date) -> float:
    """The share of its audience that enters now."""
    begun = [each for each in experiment.phases if each.start <= today] or list(experiment.phases[:1])
    return begun[-1].traffic if begun else experiment.traffic


def ramped(data: Data, experiment: Experiment, traffic: float, today: date) -> Data:
    """The plan with more traffic from now on, in the phase that is under way and in those planned after it."""
    now = traffic_of(experiment, today)
    _check_share(traffic)
    if traffic < now:
        raise Conflict(
            f"traffic is {now:g} and can only grow: customers who are in stay in. To take in nobody new, stop the"
            " experiment"
        )
    if not experiment.phases:
        return {**data, "traffic": traffic}
    phases = _phases(data, experiment)
    for number, phase in enumerate(experiment.phases):
        under_way = phase.start <= today and not any(later.start <= today for later in experiment.phases[number + 1 :])
        if under_way or phase.start > today:
            phases[number] = {**phases[number], "traffic": max(traffic, phase.traffic)}
    return {**data, "phases": phases}


def phased(
    data: Data, experiment: Experiment, weights: Mapping[str, float], traffic: float | None, today: date
) -> Data:
    """The plan with a phase that begins today; raises `Invalid` for weights that compare nothing."""
    _check_weights(experiment, weights)
    now = traffic_of(experiment, today)
    if traffic is not None:
        _check_share(traffic)
    if traffic is not None and traffic < now:
        raise Conflict(f"traffic is {now:g} and can only grow: customers who are in stay in")
    if today >= experiment.end:
        raise Conflict(f"the plan ended on {experiment.end}: no phase can begin after it")
    phases = _phases(data, experiment)
    dates = [each.start for each in experiment.phases] or [experiment.start]
    if today <= max((each for each in dates if each <= today), default=experiment.start):
        raise Conflict("a phase began today: phases are counted by days, so the next may begin tomorrow (UTC)")
    place = sum(each <= today for each in dates)
    new = {
        "start": today.isoformat(),
        "weights": dict(weights),
        "traffic": now if traffic is None else traffic,
    }
    later = [{**each, "traffic": max(each["traffic"], new["traffic"])} for each in phases[place:]]
    changed = {**data, "phases": [*phases[:place], new, *later]}
    try:
        read_plan(changed)
    except InvalidPlan as invalid:
        prefix = f"phases[{place}]."
        raise Invalid(
            [Problem(each.path.removeprefix(prefix), each.found, each.expected) for each in invalid.problems]
        ) from None
    return changed


def _phases(data: Data, experiment: Experiment) -> list[Data]:
    """The phases so far, in full; the one without a name that a plan without phases is."""
    if not experiment.phases:
        weights = {each.name: each.weight for each in experiment.variants}
        return [{"start": data["start"], "weights": weights, "traffic": experiment.traffic}]
    return [
        {"start": each.start.isoformat(), "weights": dict(each.weights), "traffic": each.traffic}
        for each in experiment.phases
    ]


def _check_share(traffic: float) -> None:
    if not 0 < traffic <= 1:
        raise Invalid([Problem("traffic", f"{traffic:g}", "a share above 0 and at most 1")])


def _check_weights(experiment: Experiment, weights: Mapping[str, float]) -> None:
    with_customers = {name for name, weight in weights.items() if weight > 0}
    control = experiment.control.name
    known = {each.name for each in experiment.variants}
    if not (with_customers - {control}) & known or control not in with_customers:
        found = "no weight above 0" if not with_customers else f"weights above 0 of {', '.join(sorted(with_customers))}"
        expected = f"weights above 0 of the control, {control}, and of another variant: else stop the experiment"
        raise Invalid([Problem("weights", found, expected)])


def _moved(day: object, by: timedelta) -> str:
    return (date.fromisoformat(cast("str", day)) + by).isoformat()
