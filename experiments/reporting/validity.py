"""Whether the arms of an experiment can be compared at all: every look of `srm` and `checks`, as a readout shows it.

Which looks are taken, against which weights, and the sentence for each; the tests themselves are elsewhere. Looked at
before any effect.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from experiments.aggregates import Aggregates, Cell
from experiments.design import Experiment
from experiments.estimators import checks, srm
from experiments.readout import Check, CheckCode
from experiments.reporting.numbers import plain

Units = dict[str, int]


def looks(plan: Experiment, aggregates: Aggregates) -> tuple[Check, ...]:
    """All checks, alarmed or not: the shares of variants over all (by phase where there are several), day by day and by
    segment (also by phase), leaks, and the balance of what was measured before entry.

    Those of phases share an alpha of 0.001, and so do those of all segments.
    """
    return (
        *_leaks(plan, aggregates),
        *_phases(plan, aggregates),
        *_day_by_day(plan, aggregates),
        *_segments(plan, aggregates),
        *_balance(plan, aggregates),
    )


def weights_of(plan: Experiment, phase: int) -> dict[str, float]:
    """By variant, those of the phase; a variant that it does not name has 0."""
    if not plan.phases:
        return {each.name: each.weight for each in plan.variants}
    given = plan.phases[phase].weights
    return {each.name: given.get(each.name, 0.0) for each in plan.variants}


def units_by_phase(cells: Mapping[Cell, int]) -> dict[int, Units]:
    """Units by phase and variant, in the order of the phases."""
    found: dict[int, Units] = {}
    for cell, units in sorted(cells.items(), key=lambda each: each[0].phase):
        by_variant = found.setdefault(cell.phase, {})
        by_variant[cell.variant] = by_variant.get(cell.variant, 0) + units
    return found


def _leaks(plan: Experiment, aggregates: Aggregates) -> Iterator[Check]:
    for phase, units in units_by_phase(aggregates.units).items():
        for leak in checks.leak(units, weights_of(plan, phase)):
            where = _phase(plan, phase) if plan.phases else ""
            sentence = f"{leak.variant} has {leak.units:,} customers{_in(where)}, where its weight is 0."
            yield Check(CheckCode.LEAK, True, sentence, where)


def _phases(plan: Experiment, aggregates: Aggregates) -> Iterator[Check]:
    parts = {str(phase): units for phase, units in units_by_phase(aggregates.units).items()}
    several = len(parts) > 1
    for name, check in srm.several(parts, {name: weights_of(plan, int(name)) for name in parts}).items():
        where = _phase(plan, int(name)) if several else ""
        yield _shares(CheckCode.SRM_PHASE if several else CheckCode.SRM, check, where)


def _day_by_day(plan: Experiment, aggregates: Aggregates) -> Iterator[Check]:
    days: dict[tuple[int, int], Units] = {}
    for cell, units in aggregates.units.items():
        if not units:
            continue  # a variant in which nobody is has no day of entry
        if cell.entry_day is None:
            return
        by_variant = days.setdefault((cell.entry_day, cell.phase), {})
        by_variant[cell.variant] = by_variant.get(cell.variant, 0) + units
    if not days:
        return
    entries = [srm.Entries(days[key], weights_of(plan, key[1])) for key in sorted(days)]
    found = srm.sequential(entries)
    is_alarm = found.first_alarm is not None
    sentence = f"Day by day, the shares of the variants are as planned: {found.method}."
    if found.first_alarm is not None:
        day = plan.start + timedelta(days=sorted(days)[found.first_alarm][0])
        sentence = f"Day by day, the shares of the variants are not those planned, first with the entries of {day}."
    yield Check(CheckCode.SRM_SEQUENTIAL, is_alarm, sentence, p_value=found.p_value)


def _segments(plan: Experiment, aggregates: Aggregates) -> Iterator[Check]:
    """Each value of each segment, and where there are several phases each of these, against the phase's own weights."""
    several = len(units_by_phase(aggregates.units)) > 1
    parts: dict[str, Units] = {}
    weights: dict[str, dict[str, float]] = {}
    for column, values in aggregates.segments.items():
        for value, segment in values.items():
            for phase, units in units_by_phase(segment.units).items():
                where = f"{column} {value} in {_phase(plan, phase)}" if several else f"{column} {value}"
                if any(units.values()):
                    parts[where], weights[where] = units, weights_of(plan, phase)
    for name, check in srm.several(parts, weights).items():
        yield _shares(CheckCode.SRM_SEGMENT, check, name)


def _balance(plan: Experiment, aggregates: Aggregates) -> Iterator[Check]:
    for found in checks.balance(aggregates.before, plan.control.name):
        where = f"{found.metric} of {found.variant}"
        if found.difference is None or found.in_deviations is None:
            sentence = f"Before they entered, {where} could not be compared: {found.why_not}."
        else:
            apart = f"{plain(abs(found.in_deviations))} standard deviations"
            how = "was already apart from the control's by" if found.is_off else "was as the control's, within"
            sentence = f"Before they entered, {where} {how} {apart}."
        yield Check(CheckCode.BALANCE, found.is_off, sentence, where, found.p_value)


def _shares(code: CheckCode, check: srm.Check, where: str) -> Check:
    if check.why_not is not None:
        return Check(code, False, f"The shares of the variants{_in(where)} were not tested: {check.why_not}.", where)
    if not check.is_mismatch:
        sentence = f"The variants{_in(where)} hold the shares planned: {check.method}."
        return Check(code, False, sentence, where, check.p_value, check.effect_size)
    counted = ", ".join(
        f"{name} has {check.units[name]:,} customers where {plain(round(expected))} were expected"
        for name, expected in check.expected.items()
    )
    sentence = f"The variants{_in(where)} do not hold the shares planned: {counted}."
    return Check(code, True, sentence, where, check.p_value, check.effect_size)


def _phase(plan: Experiment, number: int) -> str:
    """By its first date: readers do not count phases, and tables count them from 0."""
    return f"the phase from {plan.phases[number].start if plan.phases else plan.start}"


def _in(where: str) -> str:
    return f" in {where}" if where else ""
