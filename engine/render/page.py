"""A readout as one HTML file: it opens from a disk, in print and without scripts, and asks no other host for anything.

In the order in which a person decides: the verdict, what changed for customers, one interval a metric, the curves,
what could make it wrong, the methods. Everything that a readout holds is escaped; nothing is computed here.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from engine.render import curves as curve
from engine.render import doses as dose
from engine.render.environment import rendered
from engine.render.figures import Figure, curve_name, deciding, figures
from engine.render.style import BAD, GOOD, INK, OPEN, Spec, short
from engine.render.svg import ChartError, as_text, svg
from experiments.design import Role
from experiments.estimates import Estimate, Level
from experiments.estimators.dose import DoseRow
from experiments.estimators.value import BreakEven
from experiments.readout import LineKind, MetricReadout, Readout
from experiments.reporting import numbers, sentences
from experiments.reporting.text import level
from experiments.reporting.verdicts import Call

log = logging.getLogger("takt.render")
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_TABLE_ROWS: Final = 9
TONES: Final = {
    Call.INVALID: "bad",
    Call.STOP: "bad",
    Call.SHIP: "good",
    Call.DO_NOT_SHIP: "bad",
    Call.INCONCLUSIVE: "open",
    Call.KEEP_RUNNING: "open",
}


class _Calls(dict[str, tuple[str, str]]):
    """A verdict in words, and its tone; one that only another version of Takt knows by its own word."""

    def __missing__(self, call: str) -> tuple[str, str]:
        return call.replace("_", " "), "open"


CALLS: Final = _Calls({each.value: (each.value.replace("_", " "), tone) for each, tone in TONES.items()})
COLOURS: Final = {"ink": INK, "colours": {"good": GOOD, "bad": BAD, "open": OPEN}}  # of the style sheet
_KINDS: Final = {
    LineKind.INCIDENCE: "share with the event so far",
    LineKind.STAYING: "share with no event so far",
}


class Chart(NamedTuple):
    """The same chart twice, for a screen and for a phone: style sheets show one of them; None where it could not be
    drawn. `name` is in addresses."""

    name: str
    wide: Markup | None
    narrow: Markup | None
    description: str


class Addresses(NamedTuple):
    """Where a readout's charts can be had, each by its name, and the script that lets them answer to a pointer."""

    charts: str
    script: str


class Answers(NamedTuple):
    """What stands below a verdict, for whoever has a minute: what customers got, how sure it is, what it costs."""

    received: str | None
    sure: str
    cost: list[str]


class CurveTable(NamedTuple):
    """The numbers of a chart of curves at some of its days: for each day and variant (estimate, interval, at risk)."""

    variants: list[str]
    rows: list[tuple[int, list[tuple[str, str, str]]]]


class Curves(NamedTuple):
    """One chart of curves with its table, and what is drawn by which method."""

    metric: str
    kind: str
    method: str
    chart: Chart
    table: CurveTable


def page(readout: Readout) -> str:
    """The whole page, from `<!doctype html>` on. The same readout gives the same text."""
    return rendered("readout.html", policy=POLICY, **values(readout, charts_of(figures(readout))))


def values(
    readout: Readout,
    charts: Mapping[str, Chart],
    addresses: Addresses | None = None,
    also: int = 0,
    treatments: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the parts of a page about a readout are made of, with those charts on it. Without `addresses` nothing leads
    to a chart alone. `also`: how many things beside the readout could make it wrong. `treatments` say what variants do.
    """
    first = deciding(readout)
    rest = tuple(each for each in readout.metrics if each not in first)
    return {
        "readout": readout,
        "treatments": treatments or {},
        "answers": {each: _answers(readout, each, also) for each in readout.treatments},
        "also": also,
        "deciding": first,
        "others": rest,
        "charts": charts,
        "addresses": addresses,
        "curves": _curves(readout, charts),
        "tones": TONES,
        "weights": sum(each.weight for each in readout.groups) or 1.0,
        "units": sum(each.units for each in readout.groups),
        "has_doses": any(each.dose is not None for each in readout.groups),
        "has_margins": any(each.margin is not None for each in readout.metrics),
        "received": {each.variant: each for each in readout.received},
        "refusals": None,  # only the service knows of them
        "doses": _doses(readout),
        "charted_doses": [each.metric for each in dose.tested(readout)],
        "record": None,  # of an experiment in the service there is more to tell
        **COLOURS,
        **{each.__name__: each for each in _SAID},
    }


def charts_of(drawn: Mapping[str, Figure], undrawn: Collection[str] = ()) -> dict[str, Chart]:
    """The charts of a page, by name. `undrawn`: the texts of specs that nobody could draw."""
    return {name: chart_of(name, each.wide, each.narrow, undrawn) for name, each in drawn.items() if name != "others"}


def chart_of(name: str, wide: Spec, narrow: Spec, undrawn: Collection[str] = ()) -> Chart:
    """The chart drawn (`svg` escapes what it is given), or that it could not be: a page is whole without."""
    description: str = wide["description"]
    try:
        if any(as_text(each) in undrawn for each in (wide, narrow)):
            return Chart(name, None, None, description)
        return Chart(name, Markup(svg(wide)), Markup(svg(narrow)), description)  # noqa: S704
    except ChartError as error:
        log.warning("the chart %s is left out: %s", name, error.message)
        return Chart(name, None, None, description)


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def beside(estimate: Estimate) -> str:
    """What is estimated beside the number that decides, and how."""
    return f"{sentences.beside_text(estimate)}; {estimate.method}, {level(estimate.level)}"


def break_even(tie: BreakEven) -> str:
    """Where a value depends on what nobody has said: from when on it would turn."""
    return tie.sentence or f"break-even: {tie.why_not}"


def how_tied(tie: BreakEven) -> str:
    """What the break-even is, and its method."""
    return f"{tie.estimand}; {tie.method}, {level(tie.level)}"


_SAID: Final[tuple[Callable[..., str], ...]] = (
    beside,
    break_even,
    breakable,
    how_tied,
    level,
    short,
    numbers.count,
    numbers.interval,
    numbers.p_value,
    numbers.percent,
    numbers.plain,
    sentences.arm_text,
    sentences.check_line,
    sentences.effect_line,
    sentences.estimate_text,
    sentences.headline,
    sentences.measured_in,
    sentences.read_when,
    sentences.role_line,
)


def _answers(readout: Readout, variant: str, also: int) -> Answers:
    return Answers(_received(readout, variant), _sure(readout, variant, also), list(_cost(readout, variant)))


def _received(readout: Readout, variant: str) -> str | None:
    of = {each.variant: each.per_week for each in readout.received}
    if variant not in of or readout.control not in of:
        return None
    own, other = numbers.count(of[variant], "contact"), numbers.plain(of[readout.control])
    is_same = numbers.plain(of[variant]) == other
    return f"{own} a customer and week, {f'as under {readout.control}' if is_same else f'instead of {other}'}."


def _sure(readout: Readout, variant: str, also: int) -> str:
    """The level of what decides, and how much speaks against it."""
    levels = {level(each.comparison(variant).estimate.level) for each in readout.metrics if each.role is Role.PRIMARY}
    against = also + len({*readout.problems, *(each.sentence for each in readout.cautions)})
    doubts = f"{numbers.count(against, 'thing')} could make it wrong" if against else "nothing found speaks against it"
    return f"Intervals of {' and '.join(sorted(levels)) or level(Level(readout.alpha))}; {doubts}."


def _cost(readout: Readout, variant: str) -> Iterator[str]:
    """Sentences on money, where a metric is in it: whether the variant pays, and when both tie."""
    for metric in readout.metrics:
        found = metric.comparison(variant)
        estimate = found.estimate
        if metric.scale is not numbers.Scale.MONEY:
            continue
        if estimate.low is None or estimate.high is None:
            yield f"Not known: {sentences.estimate_text(metric, estimate).removesuffix('.')}."
            continue
        people = numbers.PEOPLE
        span = numbers.interval(estimate.low * people, estimate.high * people, numbers.Scale.NUMBER)
        reads = "It pays" if estimate.low > 0 else "It costs" if estimate.high < 0 else "Not shown to pay or to cost"
        yield f"{reads}: {span} {metric.unit} from {people:,} customers."
        if found.break_even:
            yield break_even(found.break_even)


def _curves(readout: Readout, charts: Mapping[str, Chart]) -> list[Curves]:
    return [
        Curves(metric.called, _KINDS[kind], _method(metric, kind), charts[name], _table(metric, kind))
        for place, metric in enumerate(readout.metrics)
        for kind in curve.kinds(metric)
        if (name := curve_name(place, kind)) in charts
    ]


def _doses(readout: Readout) -> list[tuple[MetricReadout, tuple[DoseRow, ...]]]:
    """The outcomes at the tested doses, where there are several besides the control's."""
    return [(readout.metric(each.metric), each.table.rows) for each in readout.doses if len(each.table.rows) > 2]


def _method(metric: MetricReadout, kind: LineKind) -> str:
    """What the curves of a chart estimate and how; the variants share it."""
    line = curve.lines_of(metric, kind)[0]
    return f"{line.estimand}. {line.method}, {numbers.plain(100 * (1 - line.alpha), 4)} %"


def _table(metric: MetricReadout, kind: LineKind) -> CurveTable:
    lines = curve.lines_of(metric, kind)
    rows: list[tuple[int, list[tuple[str, str, str]]]] = []
    last = curve.last_day(lines)
    for day in sorted({*curve.ticks(last, _TABLE_ROWS), last}):
        cells = [
            (
                numbers.percent(point.value),
                f"{numbers.percent(point.low)} to {numbers.percent(point.high)}",
                numbers.plain(point.at_risk),
            )
            if (point := curve.at(line, day))
            else ("", "", "")
            for line in lines
        ]
        rows.append((day, cells))
    return CurveTable([each.variant for each in lines], rows)
