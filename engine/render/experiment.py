"""The page of an experiment, in the order in which a person decides; and the list of all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from typing import Any, Final, NamedTuple

from engine.render.frame import Frame, page
from engine.render.page import TONES, values
from engine.store.experiments import Entry, Holdout, Record
from engine.store.snapshots import Snapshot
from experiments.design import Experiment
from experiments.readout import Readout
from experiments.reporting import numbers
from experiments.reporting.json_form import from_document
from experiments.reporting.numbers import Scale
from experiments.reporting.sentences import measured_in

_STATES: Final = ("draft", "running", "stopped", "shipped")
_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    each.value: (each.value.replace("_", " "), tone) for each, tone in TONES.items()
}


class Line(NamedTuple):
    """An experiment in the list; `call` and `computed_us` are of its newest readout, None where there is none."""

    record: Record
    call: str | None
    computed_us: int | None


class Effect(NamedTuple):
    """An effect on all who were eligible, as its interval reads."""

    metric: str
    variant: str
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    """All that the page is about. `plan` is as it stands. `snapshot` is None before the first readout; `days` are the
    instant and the call of each day's last readout, the newest first. `due_us`: when the holdout is read."""

    record: Record
    plan: Experiment
    log: Sequence[Entry]
    holdout: Holdout | None
    due_us: Sequence[int]
    snapshot: Snapshot | None
    days: Sequence[tuple[int, str]]
    is_newest: bool
    shares_held: tuple[float, float]


def overview_page(frame: Frame, running: Sequence[Line]) -> str:
    """The first page: what runs, and what it says."""
    return page("overview.html", frame, lines=running, calls=_CALLS)


def experiments_page(frame: Frame, lines: Sequence[Line], state: str | None) -> str:
    """The list, the newest first; `state`: only those in it are listed."""
    return page("experiments.html", frame, lines=lines, state=state, states=_STATES, calls=_CALLS, day=_day)


def experiment_page(frame: Frame, subject: Subject) -> str:
    """One experiment. A snapshot that an older Takt made, and this one cannot read, is told by its word alone."""
    snapshot = subject.snapshot
    readout, unreadable = _readout(snapshot)
    found: dict[str, Any] = {} if readout is None else values(readout)
    return page(
        "experiment.html",
        frame,
        **{
            **found,
            "subject": subject,
            "record": subject.record,
            "plan": subject.plan,
            "snapshot": snapshot,
            "document": snapshot.readout if snapshot and readout else None,
            "unreadable": unreadable,
            "has_readout": readout is not None,
            "money": [each for each in readout.metrics if each.scale is Scale.MONEY] if readout else [],
            "everyone": list(_on_everyone(readout, snapshot)) if readout and snapshot else [],
            "findings": [each for each in subject.log if each.action == "note"],
            "treatments": [each.name for each in subject.plan.variants if not each.control],
            "patched": any(each.policy for each in subject.plan.variants),
            "days_left": None if readout is None else (readout.end - (readout.as_of or readout.end)).days,
            "calls": _CALLS,
            "day": _day,
        },
    )


def _readout(snapshot: Snapshot | None) -> tuple[Readout | None, str | None]:
    if snapshot is None:
        return None, None
    try:
        return from_document(snapshot.readout["readout"]), None
    except (ValueError, KeyError, TypeError) as error:
        return None, str(error)


def _on_everyone(readout: Readout, snapshot: Snapshot) -> Iterable[Effect]:
    """What decides, for all who were eligible and not only for those whose answers ever differed."""
    of = {each.name: each for each in readout.metrics}
    eligible: dict[str, Any] | None = snapshot.readout["eligible"]
    found: list[dict[str, Any]] = eligible["effects"] if eligible else []
    for each in found:
        metric = of.get(each["metric"])
        if metric is None or metric.role not in ("primary", "guardrail"):
            continue
        low = -inf if each["low"] is None else each["low"]
        high = inf if each["high"] is None else each["high"]
        unit = measured_in(metric, each["effect"])
        yield Effect(metric.name, each["variant"], numbers.measured(each["effect"], low, high, metric.scale, unit))


def _day(at: date) -> str:
    return f"{at:%d %b %Y}".removeprefix("0")
