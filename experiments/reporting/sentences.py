"""A readout's findings as clauses: what an effect, a standing and a verdict say in words.

Words only: which verdict it is was decided in `reporting.verdicts`. People come first (in 10,000 customers), then
money, and every clause carries the interval that it rests on.
"""

from collections.abc import Callable
from datetime import date
from math import isfinite
from typing import assert_never

from experiments.design import Direction, Inference, Role
from experiments.estimates import Estimate
from experiments.estimators.value import BreakEven
from experiments.readout import Arm, Check, MetricReadout, Readout, result
from experiments.reporting.numbers import (
    PEOPLE,
    Scale,
    amount,
    count,
    interval,
    measured,
    p_value,
    percent,
    plain,
    share,
    signed,
    unit,
)
from experiments.reporting.verdicts import Call, Interval, Standing, Verdict, standing


def headline(readout: Readout, verdict: Verdict, treatment: str | None = None) -> str:
    """The verdict in one sentence, with people in it, and money where a value metric has an estimate.

    `treatment` says what the variant is, such as `1 a week instead of 3`: then the sentence begins with it, and ends
    with what to do.
    """
    if treatment is not None:
        return _told(readout, verdict, treatment)
    clauses = "; ".join(_because(readout, verdict))
    name = verdict.variant
    match verdict.call:
        case Call.INVALID:
            return f"{name} cannot be compared with {readout.control}: {'; '.join(map(_clause, verdict.problems))}."
        case Call.STOP:
            return f"Stop {name}: {clauses}."
        case Call.SHIP:
            return f"Ship {name}{_short_run(readout)}: {clauses}."
        case Call.DO_NOT_SHIP:
            return f"Do not ship {name}: {clauses}."
        case Call.INCONCLUSIVE:
            if readout.calendar.is_cut_short:
                cut = f"it was ended on {readout.ended}, before its planned end on {readout.end}"
                return f"{name} is inconclusive: {cut}{_so_far(clauses, 'Until then')}."
            return f"{name} is inconclusive: {clauses or 'no metric decides'}."
        case Call.KEEP_RUNNING:
            return f"Keep running {name} until {verdict.until}{_next_look(verdict)}{_so_far(clauses)}."
        case _:
            assert_never(verdict.call)


def effect_line(metric: MetricReadout, variant: str) -> str:
    """The effect, its interval against 0 or the margin, and how that reads."""
    estimate = metric.comparison(variant).estimate
    reads = _reads(metric, variant)
    return estimate_text(metric, estimate) + (f": {reads}" if reads and estimate.is_known else "")


def estimate_text(metric: MetricReadout, estimate: Estimate) -> str:
    """`+112 in 10,000 customers (+31 to +193)`, or why there is none."""
    if estimate.effect is None or estimate.low is None or estimate.high is None:
        why_not = estimate.why_not or ""
        return why_not if why_not.startswith("not enough data") else f"not enough data: {why_not}"
    return measured(estimate.effect, estimate.low, estimate.high, metric.scale, measured_in(metric, estimate.effect))


def beside_text(estimate: Estimate) -> str:
    """What stands beside the number that decides: days of staying, in their unit, or why there are none."""
    if estimate.effect is None or estimate.low is None or estimate.high is None:
        return f"{estimate.estimand}: {estimate.why_not}"
    days = unit(Scale.DAYS, value=estimate.effect)
    return f"{estimate.estimand}: {measured(estimate.effect, estimate.low, estimate.high, Scale.DAYS, days)}"


def break_even_text(tie: BreakEven, currency: str) -> str:
    """Which losses make a tie, in the currency; where none has an end between 0 and infinity, the tie's own words."""
    ends = [[plain(end, 4) for end in part] for part in tie.parts]
    match tie.parts:
        case ((low, high),) if low > 0 and isfinite(high):
            costs = f"{ends[0][0]} to {ends[0][1]} {currency}"
        case ((low, _),) if low > 0:
            costs = f"at least {ends[0][0]} {currency}"
        case ((_, high),) if isfinite(high):
            costs = f"at most {ends[0][1]} {currency}"
        case (_, _):
            costs = f"at most {ends[0][1]} {currency}, or at least {ends[1][0]} {currency}"
        case _:
            return tie.sentence
    return f"The variants may be worth the same if a lost customer costs {costs}."


def check_line(check: Check) -> str:
    """What a check found, with its effect size and its p-value where it has them."""
    parts = [check.sentence.removesuffix(".")]
    if check.effect_size is not None:
        parts.append(f"effect size {plain(check.effect_size)}")
    if check.p_value is not None:
        parts.append(p_value(check.p_value))
    return f"{', '.join(parts)}."


def arms_line(metric: MetricReadout, variant: str, control: str) -> str:
    """Both arms, with numerators and denominators."""
    return f"{arm_text(metric, metric.arm(variant))} against {arm_text(metric, metric.arm(control))}"


def arm_text(metric: MetricReadout, arm: Arm) -> str:
    """One arm: `3,894 of 21,307 (18.28 %)`, `27,684 over 21,307 (1.3 each)`, a survival estimate with its events."""
    over = f"{plain(arm.numerator)} over {plain(arm.denominator)}"
    events = f"{count(arm.numerator, 'event')} in {plain(arm.denominator)}"
    if not arm.units:
        return "nobody"
    if arm.value is None:
        return events if metric.curves else over
    match metric.scale:
        case Scale.SHARE if metric.curves:
            return f"{percent(arm.value)} ({events})"
        case Scale.SHARE:
            return share(arm.numerator, arm.denominator)
        case Scale.MONEY:
            return f"{plain(arm.numerator)} {metric.unit} over {plain(arm.denominator)} ({plain(arm.value, 4)} each)"
        case Scale.DAYS:
            return f"{count(arm.value, 'day', 4)} ({events})"
        case Scale.NUMBER:
            return f"{over} ({plain(arm.value, 4)} each)"
        case Scale.RATIO:
            return f"{over} ({plain(arm.value, 4)})"
        case _:
            assert_never(metric.scale)


def measured_in(metric: MetricReadout, value: float | None = None) -> str:
    """What the metric's effect, or this value of it, is counted in."""
    return metric.unit or "" if metric.scale is Scale.RATIO else unit(metric.scale, metric.unit, value)


def read_when(readout: Readout, metric: MetricReadout) -> str:
    """That the intervals of its doses are read once, where they may not be read at any time."""
    is_anytime = readout.inference is Inference.ANYTIME and not metric.at_end_only
    return "" if is_anytime else " (read once, at the end)"


def role_line(metric: MetricReadout) -> str:
    """`primary, should rise`."""
    if metric.role is Role.DESCRIPTIVE:
        return metric.role
    return f"{metric.role}, should {'rise' if metric.direction is Direction.INCREASE else 'fall'}"


def sized(metric: MetricReadout, value: float) -> str:
    """The size of a margin or an effect, in the metric's own unit."""
    return amount(value, metric.scale, metric.unit) + (f" {metric.unit}" if metric.scale is Scale.RATIO else "")


def _told(readout: Readout, verdict: Verdict, treatment: str) -> str:
    """What was done, what came of it, what it is worth, and what to do now: in this order. Where everything that moved
    is counted in people or in money, it is said once that all of it is in so many customers."""
    if verdict.call is Call.INVALID:
        return f"{treatment}: {'; '.join([*map(_clause, verdict.problems), 'it cannot be compared'])}."
    chosen, money = _chosen(readout, verdict), _in_money(readout, verdict)
    is_bare = all(each.scale is Scale.SHARE for each in chosen)
    clauses = [_moved(each, verdict, is_bare) for each in chosen]
    clauses += [f"{_money(each, verdict.variant, is_bare)}, {_pays(each, verdict.variant)}" for each in money]
    per = f"per {PEOPLE:,} customers, " if is_bare and clauses else ""
    return f"{treatment}: {per}{'; '.join([*clauses, _then(readout, verdict)])}."


def _then(readout: Readout, verdict: Verdict) -> str:
    match verdict.call:
        case Call.INVALID:
            return "it cannot be compared"
        case Call.STOP:
            return "stop it"
        case Call.SHIP:
            return f"ship it{_short_run(readout)}"
        case Call.DO_NOT_SHIP:
            return "do not ship it"
        case Call.INCONCLUSIVE:
            is_cut = readout.calendar.is_cut_short
            return f"inconclusive, ended on {_day(readout.ended)} before its planned end" if is_cut else "inconclusive"
        case Call.KEEP_RUNNING:
            return f"run until {_day(verdict.until)}{_next_look(verdict, _day)}"
        case _:
            assert_never(verdict.call)


def _because(readout: Readout, verdict: Verdict) -> list[str]:
    clauses = [_moved(each, verdict) for each in _chosen(readout, verdict)]
    return clauses + [_money(each, verdict.variant) for each in _in_money(readout, verdict)]


def _chosen(readout: Readout, verdict: Verdict) -> list[MetricReadout]:
    """The metrics that the verdict rests on, or would."""
    is_cut = verdict.call is Call.INCONCLUSIVE and readout.calendar.is_cut_short
    is_open = verdict.call is Call.KEEP_RUNNING or is_cut
    return [readout.metric(name) for name in (_so_far_of(readout, verdict) if is_open else verdict.because)]


def _in_money(readout: Readout, verdict: Verdict) -> list[MetricReadout]:
    """Those in money that have an estimate, beside what the verdict rests on."""
    return [
        each
        for each in readout.metrics
        if each.scale is Scale.MONEY
        and each.name not in verdict.because
        and each.comparison(verdict.variant).estimate.effect is not None
    ]


def _so_far_of(readout: Readout, verdict: Verdict) -> list[str]:
    """The primaries that have an estimate; where one is good, also the guardrails that alone keep it undecided."""
    how_of = dict(verdict.standings)
    primaries = [name for name in how_of if readout.metric(name).role is Role.PRIMARY]
    known = [name for name in primaries if how_of[name] is not Standing.UNKNOWN]
    if not any(how_of[name] is Standing.GOOD for name in primaries):
        return known
    open_ones = (Standing.UNKNOWN, Standing.OPEN)
    return known + [name for name, how in how_of.items() if name not in primaries and how in open_ones]


def _moved(metric: MetricReadout, verdict: Verdict, is_bare: bool = False) -> str:
    """How a metric moved; `is_bare`: in how many customers is said elsewhere."""
    is_stop = verdict.call is Call.STOP
    found = metric.comparison(verdict.variant)
    estimate = found.bound if is_stop and found.bound else found.estimate
    margin = _sized(metric, metric.margin or 0.0, is_bare)
    if not estimate.is_known:
        against = f" against its margin of {margin}" if metric.margin else ""
        return f"{metric.called} could not be judged{against} ({estimate_text(metric, estimate)})"
    low, high = _ends(estimate)
    is_other = _ends(estimate) != _ends(found.estimate)  # than the one that stands in the tables
    span = interval(low, high, metric.scale)
    held = f"({span}, valid at any time)" if is_other else f"({span})"
    how = standing(result(metric, verdict.variant), Interval(low, high))
    if metric.role is Role.GUARDRAIL:
        match how:
            case Standing.GOOD:
                return f"{metric.called} stays inside its margin of {margin} {held}"
            case Standing.BAD:
                return f"{metric.called} is worse by more than its margin of {margin} {held}"
            case _:
                return f"{metric.called} is not shown to stay inside its margin of {margin} {held}"
    if how in (Standing.GOOD, Standing.BAD):
        verb = "rises" if (estimate.effect or 0.0) > 0 else "falls"
        return f"{metric.called} {verb} by {_sized(metric, abs(estimate.effect or 0.0), is_bare)} {held}"
    span += (", valid at any time" if is_other else "") + (" " if is_bare else f" {measured_in(metric)}")
    span = span.rstrip()
    if metric.name in dict(verdict.excluded):
        return f"{metric.called} may have moved by {span}, more is excluded"
    return f"{metric.called} moved by {span}"


def _sized(metric: MetricReadout, value: float, is_bare: bool) -> str:
    return plain(value * _factor(metric)) if is_bare else sized(metric, value)


def _money(metric: MetricReadout, variant: str, is_bare: bool = False) -> str:
    estimate = metric.comparison(variant).estimate
    low, high = (end * PEOPLE for end in _ends(estimate))
    people = metric.unit or "" if is_bare else f"{metric.unit} from {PEOPLE:,} customers"
    return f"{metric.called} {measured((estimate.effect or 0.0) * PEOPLE, low, high, Scale.NUMBER, people)}"


def _pays(metric: MetricReadout, variant: str) -> str:
    low, high = _ends(metric.comparison(variant).estimate)
    return "which pays" if low > 0 else "which costs" if high < 0 else "not shown to pay"


def _reads(metric: MetricReadout, variant: str) -> str:
    seen = result(metric, variant)
    how = standing(seen, seen.interval)
    if metric.role is Role.PRIMARY:
        return {Standing.GOOD: "better", Standing.BAD: "worse"}.get(how, "0 is not excluded")
    if metric.role is Role.GUARDRAIL:
        margin = signed(
            (1 if metric.direction is Direction.DECREASE else -1) * (metric.margin or 0.0) * _factor(metric)
        )
        words = {Standing.GOOD: "inside its margin", Standing.BAD: "outside its margin"}
        return f"{words.get(how, 'not shown inside its margin')} of {margin}"
    return ""


def _factor(metric: MetricReadout) -> float:
    return PEOPLE if metric.scale is Scale.SHARE else 1


def _ends(estimate: Estimate) -> tuple[float, float]:
    infinite = float("inf")
    return (
        -infinite if estimate.low is None else estimate.low,
        infinite if estimate.high is None else estimate.high,
    )


def _short_run(readout: Readout) -> str:
    days = readout.calendar.days
    return f" (short run: {days} of {readout.horizon_days} days)" if days < readout.horizon_days else ""


def _next_look(verdict: Verdict, told: Callable[[date | None], str] = str) -> str:
    if verdict.next_decision is None or verdict.next_decision == verdict.until:
        return ""
    return f" (next decision: {told(verdict.next_decision)})"


def _day(on: date | None) -> str:
    return "the end" if on is None else f"{on:%d %b %Y}".removeprefix("0")


def _so_far(clauses: str, when: str = "So far") -> str:
    return f". {when} {clauses}" if clauses else ""


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".") if sentence else sentence
