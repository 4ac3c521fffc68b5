"""The page of an experiment, in the order in which a person decides; and the list of all of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

from engine.render.courses import Weekly, dates_shown
from engine.render.environment import rendered
from engine.render.figures import Figure, figures
from engine.render.frame import Frame, at, day, name, page
from engine.render.page import CALLS, POLICY, Addresses, Chart, charts_of, values
from engine.store.experiments import Entry, Holdout, Record
from engine.store.holdout_readouts import HeldSnapshot
from engine.store.programme import Line
from engine.store.snapshots import Reading, Snapshot
from experiments.design import Experiment
from experiments.readout import MetricReadout, Readout
from experiments.reporting import numbers
from experiments.reporting.json_form import from_document
from experiments.reporting.sentences import measured_in

_STATES: Final = ("draft", "running", "stopped", "shipped")
_ROWS_MOST: Final = 12
_DAYS_LISTED: Final = 60


class Effect(NamedTuple):
    """An effect on all who were eligible, as its interval reads."""

    metric: str
    variant: str
    text: str


class Held(NamedTuple):
    """A day on which a holdout is read; `call` is None where it was not, yet."""

    day: int
    due_us: int
    is_due: bool
    call: str | None


class Refused(NamedTuple):
    """A step that was not taken: why, and what its form said."""

    step: str
    message: str
    fields: Mapping[str, str]


class Course(NamedTuple):
    """A chart of an effect over time or by week, with the numbers of its table: a row's cells are of `variants`."""

    metric: str
    chart: Chart
    variants: Sequence[str]
    rows: list[tuple[int, list[str]]]
    has_band: bool
    cohort: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All that the page is about. `plan` is as it stands; `treatments` say what variants do to limits. `snapshot` is
    None before the first readout; `days` are the instant and the call of each day's last readout, the newest first.
    `readings`: how the effects that decide went, up to the snapshot. `ahead` is what a start would meet, where somebody
    asked."""

    record: Record
    plan: Experiment
    treatments: Mapping[str, str]
    log: Sequence[Entry]
    holdout: Holdout | None
    held: Sequence[Held]
    held_newest_us: int | None
    holdout_is_open: bool
    snapshot: Snapshot | None
    days: Sequence[tuple[int, str]]
    readings: Sequence[Reading]
    is_newest: bool
    shares_held: tuple[float, float]
    traffic_now: float
    weights_now: Mapping[str, float]
    ahead: Mapping[str, Any] | None = None
    refused: Refused | None = None


class Read(NamedTuple):
    """A snapshot as it can be shown: its readout, or why it cannot be read, and its charts by name. `undrawn`: the
    texts of those specs that nobody could draw."""

    readout: Readout | None
    unreadable: str | None
    figures: Mapping[str, Figure]
    undrawn: Collection[str] = ()


def experiments_page(frame: Frame, lines: Sequence[Line], state: str | None) -> str:
    """The list, the newest first; `state`: only those in it are listed."""
    return page("experiments.html", frame, lines=lines, state=state, states=_STATES, calls=CALLS)


def read(snapshot: Snapshot | HeldSnapshot | None, readings: Sequence[Reading] = ()) -> Read:
    """What a snapshot holds. One that an older Takt made, and this one cannot read, says why."""
    if snapshot is None:
        return Read(None, None, {})
    try:
        readout = from_document(snapshot.readout["readout"])
        return Read(readout, None, figures(readout, readings, _weeks(snapshot)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Read(None, str(error) or type(error).__name__, {})


def experiment_page(frame: Frame, subject: Subject, found: Read, script: str) -> str:
    """One experiment. `script` is the address of what lets its charts answer to a pointer."""
    snapshot, readout = subject.snapshot, found.readout
    here = f"/experiments/{subject.record.key}/readouts/{snapshot.computed_us}" if snapshot else None
    return page(
        "experiment.html",
        frame,
        **{
            **_told(subject, found, Addresses(f"{here}/charts", script)),
            "snapshot": snapshot,
            "here": here,
            "days": subject.days[:_DAYS_LISTED],
            "unreadable": found.unreadable,
            "has_readout": readout is not None,
            "shippable": [each.name for each in subject.plan.variants if not each.control],
            "patched": any(each.policy for each in subject.plan.variants),
            "ahead": subject.ahead,
            "refused": subject.refused,
        },
    )


def experiment_file(subject: Subject, found: Read) -> str:
    """The page as a file that is whole by itself: all but the steps, and what leads elsewhere."""
    computed_us = subject.snapshot and subject.snapshot.computed_us
    about = {**_told(subject, found), "computed_us": computed_us, "at": at, "day": day, "name": name}
    return rendered("readout.html", policy=POLICY, **about)


def holdout_page(frame: Frame, record: Record, holdout: Holdout, snapshot: HeldSnapshot, found: Read) -> str:
    """One readout of the holdout that shipping left."""
    about = values(found.readout, charts_of(found.figures, found.undrawn)) if found.readout else {}
    return page(
        "holdout.html",
        frame,
        **{
            **about,
            "record": record,
            "holdout": holdout,
            "snapshot": snapshot,
            "document": snapshot.readout if found.readout else None,
            "has_readout": found.readout is not None,
            "unreadable": found.unreadable,
            "calls": CALLS,
        },
    )


def _told(subject: Subject, found: Read, addresses: Addresses | None = None) -> dict[str, Any]:
    """What the page of an experiment and its file have in common."""
    about: dict[str, Any] = {}
    snapshot, readout = subject.snapshot, found.readout
    if readout is not None and snapshot is not None:
        charts, document = charts_of(found.figures, found.undrawn), snapshot.readout
        about = values(readout, charts, addresses, _doubts(document), subject.treatments)
        about |= {
            "refusals": document.get("refusals"),
            "everyone": list(_on_everyone(readout, snapshot)),
            "by_week": list(_by_week(readout, charts, snapshot)),
            "over_time": list(_over_time(readout, charts, subject.readings)),
        }
    return {
        **about,
        "subject": subject,
        "record": subject.record,
        "plan": subject.plan,
        "calls": CALLS,
        "is_file": addresses is None,
        "log": subject.log,
        "document": snapshot.readout if snapshot and readout else None,
        "findings": [each for each in subject.log if each.action == "note"],
        "started_with": _started_with(subject.log),
        "done": _done,
    }


def _weeks(snapshot: Snapshot | HeldSnapshot) -> list[Weekly]:
    return [
        Weekly(each["metric"], each["variant"], one["week"], one["effect"], one["low"], one["high"])
        for each in snapshot.readout.get("weeks", ())
        for one in each["effects"]
    ]


def _by_week(readout: Readout, charts: Mapping[str, Chart], snapshot: Snapshot) -> Iterable[Course]:
    kept: Sequence[dict[str, Any]] = snapshot.readout.get("weeks", ())
    for place, metric in enumerate(readout.metrics):
        own = [each for each in kept if each["metric"] == metric.name]
        if f"weeks-{place + 1}" not in charts or not own:
            continue
        effects = [{one["week"]: one for one in each["effects"]} for each in own]
        rows = [(week, [_said(metric, **_ends(each.get(week))) for each in effects]) for week in sorted(effects[0])]
        variants = [each["variant"] for each in own]
        cohort = {each.variant: own[0]["cohort"].get(each.variant, 0) for each in readout.groups}
        yield Course(metric.called, charts[f"weeks-{place + 1}"], variants, rows, True, cohort)


def _over_time(readout: Readout, charts: Mapping[str, Chart], readings: Sequence[Reading]) -> Iterable[Course]:
    for place, metric in enumerate(readout.metrics):
        if f"time-{place + 1}" not in charts:
            continue
        own = {(each.as_of_us, each.variant): each for each in readings if each.metric == metric.name}
        rows = [
            (at_us, [_said(metric, **_ends(own.get((at_us, each)))) for each in readout.treatments])
            for at_us in reversed(dates_shown(own.values(), _ROWS_MOST))
        ]
        has_band = any(each.low is not None for each in own.values())
        yield Course(metric.called, charts[f"time-{place + 1}"], readout.treatments, rows, has_band, {})


def _ends(of: Reading | Mapping[str, Any] | None) -> dict[str, float | None]:
    found: Mapping[str, Any] = of._asdict() if isinstance(of, Reading) else of or {}
    return {each: found.get(each) for each in ("effect", "low", "high")}


def _said(metric: MetricReadout, effect: float | None, low: float | None, high: float | None) -> str:
    """An effect as it reads; without an interval where none holds at every look."""
    if effect is None:
        return ""
    if low is None and high is None:
        return numbers.effect(effect, effect, effect, metric.scale).partition(" ")[0]
    return numbers.effect(effect, -inf if low is None else low, inf if high is None else high, metric.scale)


def _doubts(document: Mapping[str, Any]) -> int:
    """How many things only the service knows that could make a readout wrong."""
    pauses: Mapping[str, Any] = document.get("pauses") or {}
    return sum(map(len, (document.get("cautions", ()), document.get("concurrent", ()), pauses.get("stretches", ()))))


def _on_everyone(readout: Readout, snapshot: Snapshot) -> Iterable[Effect]:
    """What decides, for all who were eligible and not only for those whose answers ever differed."""
    of = {each.name: each for each in readout.metrics}
    eligible: dict[str, Any] | None = snapshot.readout.get("eligible")
    found: list[dict[str, Any]] = eligible["effects"] if eligible else []
    for each in found:
        metric = of.get(each["metric"])
        if metric is None or metric.role not in ("primary", "guardrail"):
            continue
        low = -inf if each["low"] is None else each["low"]
        high = inf if each["high"] is None else each["high"]
        unit = measured_in(metric, each["effect"])
        yield Effect(metric.called, each["variant"], numbers.measured(each["effect"], low, high, metric.scale, unit))


def _started_with(log: Sequence[Entry]) -> dict[str, Any] | None:
    """What was known of its run when it was started."""
    for each in log:
        if each.action == "start" and each.data.get("preflight"):
            return {"warnings": each.data.get("warnings", ()), **each.data["preflight"]}
    return None


def _done(entry: Entry) -> str:
    """What a step changed, in words, where its name does not say it all."""
    data = entry.data
    match entry.action:
        case "ramp":
            return f"from {numbers.percent(data['from'])} to {numbers.percent(data['to'])} of the audience."
        case "phase":
            weights = ", ".join(f"{who} {numbers.plain(weight)}" for who, weight in data["weights"].items())
            return f"{data['phase'] + 1}: {weights}."
        case "ship":
            return f"{data['asked']['variant']}."
        case _:
            return ""
