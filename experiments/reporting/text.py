"""How a readout prints: for a product manager, from the verdict down to the methods, in 100 columns of plain text.

No colours and no drawing, so that a pipe, a log and a mail show the same. It adds nothing to the readout's numbers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from textwrap import wrap

from experiments.estimates import Estimate, Level
from experiments.readout import CheckCode, Comparison, Doses, MetricReadout, Readout
from experiments.reporting.numbers import count, interval, p_value, plain
from experiments.reporting.sentences import (
    arm_text,
    arms_line,
    beside_text,
    check_line,
    effect_line,
    estimate_text,
    headline,
    measured_in,
    read_when,
    role_line,
)

WIDTH = 100
_NAME = 24
_TOGETHER = re.compile(r"\d %|p [=<] \d")


def page(readout: Readout) -> str:
    """The whole readout: verdict, what changed for customers, one interval a metric, what could make it wrong, methods.

    Lines are at most 100 columns wide unless a single word is longer. No newline at the end.
    """
    parts = [
        _head(readout),
        _section("VERDICT", (_item(headline(readout, each)) for each in readout.verdicts)),
        _section("WHAT CHANGED FOR CUSTOMERS", _changed(readout)),
        *(_comparisons(readout, variant) for variant in readout.treatments),
        _section("WHAT COULD MAKE THIS WRONG", (_item(each.sentence) for each in readout.cautions)),
        _section("METHODS", map(_item, _methods(readout))),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(readout: Readout) -> str:
    everybody = sum(each.units for each in readout.groups)
    groups = ", ".join(f"{each.variant} {each.units:,}" for each in readout.groups)
    calendar = readout.calendar
    when = f"Read as of {readout.as_of}, after {calendar.days} of {count((readout.end - readout.start).days, 'day')}"
    if readout.as_of is None:
        when = "Read as complete"
    return "\n".join(
        line
        for text in (readout.key, readout.hypothesis, f"{when}: {count(everybody, 'customer')} ({groups}).")
        for line in _wrapped(text)
    )


def _changed(readout: Readout) -> Iterator[str]:
    """Limits and contacts received side by side; then, of several tested doses, each outcome for all at once."""
    for each in readout.received:
        limit = "no limit given" if each.dose is None else f"limit {plain(each.dose)}"
        over = f"over {count(each.units, 'customer')}"
        yield f"  {each.variant:{_NAME}} {limit}: {count(each.per_week, 'contact')} a customer and week, {over}"
    for doses in readout.doses:
        metric_rows = [(row, row.effect) for row in doses.table.rows if row.effect is not None]
        if len(metric_rows) < 2 or not any(found.is_known for _, found in metric_rows):
            continue
        metric = readout.metric(doses.metric)
        yield f"  {metric.called}, against {readout.control}, for all doses at once{read_when(readout, metric)}"
        for row, found in metric_rows:
            label = f"  {row.variant}" if row.dose is None else f"  {row.variant}, limit {plain(row.dose)}"
            yield f"  {label:{_NAME}} {estimate_text(metric, found)}"
    if readout.recommendation is not None:
        yield from _wrapped(readout.recommendation.sentence, "  ", "  ")


def _comparisons(readout: Readout, variant: str) -> str:
    rows = (row for each in readout.metrics for row in _metric(each, variant, readout.control))
    return _section(f"{variant} AGAINST {readout.control}", rows)


def _metric(metric: MetricReadout, variant: str, control: str) -> Iterator[str]:
    rows = [
        (metric.called, effect_line(metric, variant)),
        (f"  {role_line(metric)}", arms_line(metric, variant, control)),
    ]
    tie = metric.comparison(variant).break_even
    if tie is not None:
        rows.append(("", tie.sentence or f"break-even: {tie.why_not}"))
    for label, text in rows:
        lines = _lines(text, WIDTH - _NAME - 3)
        is_wide = len(label) > _NAME
        if is_wide:
            yield f"  {label}"
        for number, line in enumerate(lines):
            yield f"  {'' if number or is_wide else label:{_NAME}} {line}"


def _methods(readout: Readout) -> Iterator[str]:
    doses = {each.metric: each for each in readout.doses}
    for metric in readout.metrics:
        yield from _method(metric)
        if metric.name in doses:
            yield from _dose_methods(metric, doses[metric.name])
    for check in readout.checks:
        if check.code is CheckCode.BALANCE and check.p_value is None:
            continue  # nothing was compared
        yield check_line(check)


def _method(metric: MetricReadout) -> Iterator[str]:
    """What is estimated and how, with the p-value of each effect; once for variants that share it."""
    for sample in {(each.estimate.estimand, each.estimate.method): each for each in metric.comparisons}.values():
        shared = [each for each in metric.comparisons if each.estimate.method == sample.estimate.method]
        found = "; ".join(
            f"{each.variant} {p_value(each.estimate.p_value)}" for each in shared if each.estimate.p_value is not None
        )
        estimate = sample.estimate
        how = f"{estimate.estimand}, by {estimate.method}, {level(estimate.level)}"
        yield f"{_full(metric)}: {how}. {found}." if found else f"{_full(metric)}: {how}."
        for each in shared:
            for other in each.beside:
                yield f"{_full(metric)}, beside it, of {each.variant}: {beside_text(other)}."
    for tie in {each.break_even.method: each.break_even for each in metric.comparisons if each.break_even}.values():
        yield f"{_full(metric)}, break-even: {tie.estimand}, by {tie.method}, {level(tie.level)}."
    if metric.note:
        yield f"{_full(metric)}: {metric.note}"
    if metric.with_suspects and metric.with_suspects != metric.arms:
        arms = "; ".join(f"{each.variant} {arm_text(metric, each)}" for each in metric.with_suspects)
        yield f"{_full(metric)} with suspect events counted: {arms}."
    bounds = [each for each in metric.comparisons if each.bound and not _is_shown(each)]
    if bounds:
        yield f"{_full(metric)}, bound for stopping: {'; '.join(_bound(metric, each) for each in bounds)}."


def _dose_methods(metric: MetricReadout, doses: Doses) -> Iterator[str]:
    """How several doses were told apart, where it was not by the intervals named already."""
    effects = {row.variant: row.effect for row in doses.table.rows if row.effect is not None}
    ways: dict[str, list[str]] = {}
    for variant, each in effects.items():
        ways.setdefault(f"{each.estimand}, by {each.method}, {level(each.level)}", []).append(variant)
    own = {each.variant: replace(each.estimate, p_value=None) for each in metric.comparisons}
    if len(effects) > 1 and any(own[variant] != each for variant, each in effects.items()):
        for way, variants in ways.items():
            of = f" ({', '.join(variants)})" if len(ways) > 1 else ""
            yield f"{_full(metric)}, for all doses at once{of}: {way}."


def _full(metric: MetricReadout) -> str:
    """The name, which the plan and the JSON have, after what sentences call it."""
    return metric.name if metric.title is None else f"{metric.title} ({metric.name})"


def _is_shown(found: Comparison) -> bool:
    """Whether the bound is the interval that decides, printed already."""
    estimate, bound = found.estimate, found.bound
    return bound is not None and (estimate.low, estimate.high) == (bound.low, bound.high)


def _bound(metric: MetricReadout, found: Comparison) -> str:
    bound: Estimate | None = found.bound
    if bound is None or bound.low is None or bound.high is None:
        return f"{found.variant} none, {bound.why_not if bound else ''}"
    span = interval(bound.low, bound.high, metric.scale)
    return f"{found.variant} {span} {measured_in(metric)} ({bound.method}, {level(bound.level)})".replace("  ", " ")


def level(how_sure: Level) -> str:
    """`95 %`, and over how many comparisons at once."""
    several = f" over {how_sure.comparisons} comparisons at once" if how_sure.comparisons > 1 else ""
    return f"{plain(100 * (1 - how_sure.alpha), 4)} %{several}"


def _section(title: str, lines: Iterable[str]) -> str:
    body = list(lines)
    return "\n".join([title, *body]) if body else ""


def _item(sentence: str) -> str:
    return "\n".join(_wrapped(sentence, "* ", "  "))


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return _lines(text, WIDTH, first, rest)


def _lines(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Wrapped between words, never within a percentage or a p-value."""
    glued = _TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    lines = wrap(
        glued, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
