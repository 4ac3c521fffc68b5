"""Who is analysed, in which arm, phase and since which day: the same for both forms of a table."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from experiments.design import Experiment
from experiments.errors import TableError
from experiments.reading.fields import DAY_US, Fields
from experiments.reading.measures import ARM, ENTRY_DAY, PHASE
from experiments.reading.reasons import Reason
from experiments.reading.relations import Expression, ibis

_REASONS = tuple(Reason)
Instant = date | datetime | None
AsOf = Instant | str


def code(reason: Reason) -> int:
    """The `arm` of a unit that is left out: below 0."""
    return -1 - _REASONS.index(reason)


def reason_of(arm: int) -> Reason:
    return _REASONS[-1 - arm]


def instant_of(as_of: AsOf) -> Instant:
    """A date or a time; `TableError` for what is neither, nor ISO text of one."""
    if as_of is None or isinstance(as_of, date):
        return as_of
    for read in (date.fromisoformat, datetime.fromisoformat):
        with suppress(TypeError, ValueError):
            return read(as_of)
    raise TableError(None, f"found {as_of!r} as the instant of analysis (as_of), expected a date such as 2026-02-25")


def micros(day: Instant) -> int | None:
    """Microseconds since 1970. A date is its first instant in UTC; a time without a zone is UTC."""
    if day is None:
        return None
    if isinstance(day, datetime):
        instant = day if day.tzinfo else day.replace(tzinfo=UTC)
    else:
        instant = datetime.combine(day, time(), UTC)
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def day_of(at_us: int) -> date:
    """The date in UTC."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + at_us // DAY_US)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row says of its unit's entry. `phase` and `entered` (microseconds) are None where the table has none."""

    unit: Expression | None
    variant: Expression
    entered: Expression | None
    phase: Expression | None


def entry(plan: Experiment, fields: Fields) -> Entry:
    """The columns of entry. Raises `TableError` for what is missing or of the wrong type."""
    columns = plan.columns
    unit = None
    if columns.unit is not None:
        unit = fields.unit(columns.unit, "which names the unit of a row (columns.unit: null, if nothing does)")
    names = [each.name for each in plan.variants]
    variant = fields.one_of(names, columns.variant, "which names the variant of a unit")
    entered = fields.instant(columns.entered, "the time of entry") if fields.has(columns.entered) else None
    return Entry(unit, variant, entered, _phase(plan, fields, entered))


def _phase(plan: Experiment, fields: Fields, entered: Expression | None) -> Expression | None:
    if len(plan.phases) < 2 and not (plan.phases and fields.has(plan.columns.phase)):
        return None
    if fields.has(plan.columns.phase):
        return fields.whole(plan.columns.phase, "the number of the phase in which a unit entered, from 0")
    if entered is None:
        raise TableError(
            plan.columns.phase,
            f"{fields.what} has neither it nor {plan.columns.entered!r}, one of which a plan with phases needs",
        )
    starts = sorted(micros(each.start) or 0 for each in plan.phases)
    later = [(entered >= start, number) for number, start in reversed(list(enumerate(starts)))]
    return ibis.cases(*later, else_=0).cast("int64")


def variant_code(plan: Experiment, entry: Entry, all_named: bool = False) -> Expression:
    """The place of the variant in the plan, or why the unit is left out, whatever its times say.

    `all_named`: no row lacks a unit, so that its column need not be read.
    """
    branches: list[tuple[Any, int]] = []
    if entry.unit is not None:
        if not all_named:
            branches.append((entry.unit.isnull(), code(Reason.NO_UNIT)))
        if testers := _testers(plan, entry.unit):
            branches.append((entry.unit.isin(testers), code(Reason.TESTER)))
    branches += [(entry.variant == each.name, place) for place, each in enumerate(plan.variants)]
    branches.append((entry.variant.isnull(), code(Reason.NO_VARIANT)))
    return ibis.cases(*branches, else_=code(Reason.UNKNOWN_VARIANT)).cast("int16")


def _testers(plan: Experiment, unit: Expression) -> list[Any]:
    if not unit.type().is_integer():
        return list(plan.testers)
    return [int(each) for each in plan.testers if each.lstrip("-").isdigit()]


def checked(plan: Experiment, arm: Expression, entered: Any, phase: Any, as_of_us: int | None) -> Expression:
    """`arm`, or why the times or the phase of a unit leave it out."""
    branches: list[tuple[Any, int]] = []
    if entered is not None:
        branches += [
            (entered.isnull(), code(Reason.NO_ENTRY_TIME)),
            (entered < micros(plan.start), code(Reason.ENTERED_BEFORE_START)),
            (entered >= micros(plan.end), code(Reason.ENTERED_AFTER_END)),
        ]
        if as_of_us is not None:
            branches.append((entered >= as_of_us, code(Reason.ENTERED_AFTER_AS_OF)))
    if phase is not None:
        outside = phase.isnull() | (phase < 0) | (phase >= len(plan.phases))
        branches.append((outside, code(Reason.PHASE_OUTSIDE_PLAN)))
    return ibis.cases((arm < 0, arm), *branches, else_=arm).cast("int16") if branches else arm


def places(plan: Experiment, arm: Expression, entered: Any, phase: Any) -> dict[str, Expression]:
    """The columns of a unit's cell: for units that are left out, the arm alone."""
    found = {ARM: arm}
    if phase is not None:
        found[PHASE] = ibis.cases((arm >= 0, phase)).cast("int64")
    if entered is not None:
        found[ENTRY_DAY] = ibis.cases((arm >= 0, (entered - (micros(plan.start) or 0)) // DAY_US)).cast("int64")
    return found
