"""What could make a readout wrong although it is valid, each as a code with a sentence.

Reads the plan, the aggregates and the readout made of them; changes no number and no verdict.
"""

from collections.abc import Iterator, Sequence

from experiments.aggregates import Aggregates
from experiments.design import (
    Experiment,
    Inference,
    Mean,
    Metric,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
)
from experiments.estimators import checks
from experiments.moments import Counts
from experiments.readout import Caution, CautionCode, MetricReadout, Readout
from experiments.reporting.families import risk_tables
from experiments.reporting.numbers import count, percent
from experiments.reporting.verdicts import Call
from experiments.risk import RiskTable

_TWO_WEEKS = 14
_DECIDES = (Role.PRIMARY, Role.GUARDRAIL)


def cautions(plan: Experiment, aggregates: Aggregates, readout: Readout, with_suspects: Readout) -> tuple[Caution, ...]:
    """All that apply, the gravest first. `with_suspects`: the same readout with suspect events counted."""
    return (
        *(Caution(CautionCode.CHECK, each.sentence) for each in readout.checks if each.is_alarm),
        *_about_suspects(readout, with_suspects),
        *_about_estimates(readout),
        *_about_choice(readout),
        *_about_survival(plan, aggregates, readout),
        *_about_time(plan, readout),
        *_about_units(plan, aggregates, readout),
    )


def _about_suspects(readout: Readout, with_suspects: Readout) -> Iterator[Caution]:
    for one, other in zip(readout.verdicts, with_suspects.verdicts, strict=True):
        if one.call is not other.call:
            sentence = (
                f"With suspect events counted, which look like a machine's, the verdict on {one.variant} would be "
                f"'{_words(other.call)}' and not '{_words(one.call)}'."
            )
            yield Caution(CautionCode.SUSPECTS, sentence)


def _about_estimates(readout: Readout) -> Iterator[Caution]:
    deciding = [each for each in readout.metrics if each.role in _DECIDES]
    silent: dict[str, list[str]] = {}
    for metric in deciding:
        for each in metric.comparisons:
            if each.estimate.why_not is not None:
                silent.setdefault(each.estimate.why_not, []).append(
                    f"the {metric.role} {metric.called} of {each.variant}"
                )
    for why_not, names in silent.items():
        sentence = f"Without an estimate, and counted neither way: {_listed(names)} ({why_not})."
        yield Caution(CautionCode.NO_ESTIMATE, sentence)
    late = [each.called for each in deciding if each.at_end_only]
    if late and readout.inference is Inference.ANYTIME and not readout.calendar.is_over:
        sentence = f"Decided at the end only, having no interval that may be read at any time: {_listed(late)}."
        yield Caution(CautionCode.AT_END_ONLY, sentence)
    if readout.inference is Inference.FIXED and not readout.calendar.is_over:
        sentence = (
            f"The intervals are made to be read once, at the planned end on {readout.end}: whoever reads them earlier "
            "and acts on them is wrong more often than they say. The bounds for stopping may be read at any time."
        )
        yield Caution(CautionCode.AT_END_ONLY, sentence)
    filling: dict[int, list[MetricReadout]] = {}
    for metric in readout.metrics:
        if metric.immature:
            filling.setdefault(metric.immature, []).append(metric)
    for customers, metrics in filling.items():
        sentence = (
            f"Still filling, without {count(customers, 'customer')} not yet watched to the end of the window: "
            f"{_deciding_first(metrics)}. Who came early is often more active than who came late."
        )
        yield Caution(CautionCode.IMMATURE, sentence)


def _deciding_first(metrics: Sequence[MetricReadout]) -> str:
    """Those that decide, and how many do not."""
    named = [each.called for each in metrics if each.role in _DECIDES]
    rest = len(metrics) - len(named)
    if rest:
        named.append(f"{count(rest, 'metric')} that {'decides' if rest == 1 else 'decide'} nothing")
    return _listed(named)


def _about_survival(plan: Experiment, aggregates: Aggregates, readout: Readout) -> Iterator[Caution]:
    for metric in plan.metrics:
        if not isinstance(metric, Survival):
            continue
        days = count(metric.horizon_days, "day")
        for variant in plan.variants:
            table, early = _entered_early(metric, aggregates, variant.name, readout)
            shown = readout.metric(metric.name)
            estimate = shown.arm(variant.name).value
            matured, how = _matured(early, metric.horizon_days, estimate or 0.0)
            found = checks.maturity(matured, table, metric.horizon_days)
            if found is not None:
                sentence = (
                    f"{shown.called} of {variant.name}: of those who entered early enough to be watched for the whole "
                    f"{days} {how}{percent(found.matured)} had the event, of all {percent(found.estimate)} are "
                    "estimated to. Who came early differs from who came late, or being watched has to do with it."
                )
                yield Caution(CautionCode.RATE_AGAINST_SURVIVAL, sentence)


def _entered_early(
    metric: Survival, aggregates: Aggregates, variant: str, readout: Readout
) -> tuple[RiskTable, RiskTable]:
    """All, and of them those who entered early enough to be watched to the horizon: nobody, without days of entry."""
    tables: list[RiskTable] = []
    matured: list[RiskTable] = []
    for cell, found in aggregates.outcomes.get(metric.name, {}).items():
        if cell.variant != variant or not isinstance(found, RiskTable):
            continue
        tables.append(found)
        if cell.entry_day is not None and cell.entry_day + metric.horizon_days <= readout.calendar.days - 1:
            matured.append(found)
    return risk_tables(tables), risk_tables(matured)


def _matured(early: RiskTable, horizon_days: int, estimate: float) -> tuple[Counts, str]:
    """Of those who entered early, who had the event; and "at least" or "at most" where that is not known of all.

    Some may have been watched no longer than a shorter while: the table says nothing of when it was made, or they were
    lost from sight. They may all have had the event later, or none of them: counted is what is nearest the estimate.
    """
    had = sum(n for day, n in early.events.items() if day < horizon_days)
    lost = sum(n for day, n in early.censored.items() if day < horizon_days)
    counted = min(max(round(estimate * early.count), had), had + lost)
    how = ("at least " if counted == had else "at most ") if lost else ""
    return Counts(counted, early.count), how


def _about_time(plan: Experiment, readout: Readout) -> Iterator[Caution]:
    days = readout.calendar.days
    if readout.as_of is None:
        sentence = (
            "Nothing says until when customers were watched: the table is read as complete, as at the planned end."
        )
        yield Caution(CautionCode.NO_TIMES, sentence)
    if days < plan.horizon_days and any(each.call is Call.SHIP for each in readout.verdicts):
        sentence = (
            f"A short run: {count(days, 'day')}, where the plan's horizon is {plan.horizon_days}. What wears off "
            "later, or only then begins, is not seen."
        )
        yield Caution(CautionCode.SHORT_RUN, sentence)
    if plan.min_days < _TWO_WEEKS:
        sentence = f"min_days is {plan.min_days}: under two full weeks, and weekdays differ."
        yield Caution(CautionCode.SHORT_PLAN, sentence)
    run = (plan.end - plan.start).days
    for metric in plan.metrics:
        window = window_days(metric)
        if metric.role in _DECIDES and window is not None and run < 2 * window:
            sentence = (
                f"The planned run of {count(run, 'day')} is under two full windows of {metric.name}, "
                f"{count(window, 'day')} each."
            )
            yield Caution(CautionCode.SHORT_PLAN, sentence)


def _about_units(plan: Experiment, aggregates: Aggregates, readout: Readout) -> Iterator[Caution]:
    for group in readout.groups:
        if not group.units:
            yield Caution(CautionCode.EMPTY_VARIANT, f"Nobody is in {group.variant}.")
    if plan.columns.unit is None:
        sentence = "Rows carry no customer: one who is in the table twice cannot be seen."
        yield Caution(CautionCode.UNNAMED_UNITS, sentence)
    left_out = [each.sentence.removesuffix(".") for each in aggregates.exclusions if each.count]
    if left_out:
        yield Caution(CautionCode.EXCLUDED, f"Left out: {'; '.join(left_out)}.")


def window_days(metric: Metric) -> int | None:
    """How long a customer is watched for this metric; None where the plan does not say."""
    match metric:
        case Rate() | Mean():
            return metric.outcome.within_days
        case Ratio():
            return metric.numerator.within_days
        case Value():
            return metric.revenue.within_days
        case Retention():
            return metric.until_day
        case Reachable():
            return metric.day + 1
        case Survival():
            return metric.horizon_days


def _about_choice(readout: Readout) -> Iterator[Caution]:
    shipping = [each.variant for each in readout.verdicts if each.call is Call.SHIP]
    if len(shipping) > 1:
        sentence = f"{_listed(shipping)} were each compared with {readout.control}, not with each other."
        yield Caution(CautionCode.NOT_COMPARED, sentence)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _words(call: Call) -> str:
    return call.value.replace("_", " ")
