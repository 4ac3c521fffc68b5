"""Whether the parts of a readout that came from elsewhere agree: the same variants everywhere, numbers or why not.

A readout that `analysis` made agrees by construction; one from JSON may have been edited. Types were checked before.
"""

from collections.abc import Iterable, Sequence

from experiments.design import Role
from experiments.estimates import Estimate
from experiments.plans.checking import DAYS_MAX, FIRST_DATE, LAST_DATE
from experiments.readout import Comparison, Doses, MetricReadout, Readout


def check_agreement(readout: Readout) -> None:
    """Raises ValueError, naming the place, where the readout could not be printed or contradicts itself."""
    for name in ("start", "end"):
        day = getattr(readout, name)
        _expect(FIRST_DATE <= day <= LAST_DATE, name, day, f"a date from {FIRST_DATE.year} to {LAST_DATE.year}")
    for name in ("min_days", "horizon_days"):
        days = getattr(readout, name)
        _expect(1 <= days <= DAYS_MAX, name, days, f"a whole number from 1 to {DAYS_MAX}")
    variants = [each.variant for each in readout.groups]
    controls = [place for place, each in enumerate(readout.groups) if each.is_control]
    _expect(controls == [0], "groups", f"{len(controls)} controls", "the control first, and no other")
    _different("groups", variants)
    _different("metrics", [each.name for each in readout.metrics])
    for place, metric in enumerate(readout.metrics):
        _metric(f"metrics[{place}]", metric, variants)
    received = [each.variant for each in readout.received]
    _different("received", received)
    _among("received", received, variants)
    _different("doses", [each.metric for each in readout.doses])
    for place, doses in enumerate(readout.doses):
        _among(f"doses[{place}].metric", [doses.metric], [each.name for each in readout.metrics])
        _doses(f"doses[{place}].table", doses, variants)


def _metric(where: str, metric: MetricReadout, variants: Sequence[str]) -> None:
    _same(f"{where}.arms", [each.variant for each in metric.arms], variants)
    if metric.with_suspects:
        _same(f"{where}.with_suspects", [each.variant for each in metric.with_suspects], variants)
    _same(f"{where}.comparisons", [each.variant for each in metric.comparisons], variants[1:])
    for place, line in enumerate(metric.curves):
        _among(f"{where}.curves[{place}].variant", [line.variant], variants)
        days = [each.day for each in line.points]
        is_in_order = days == sorted(set(days)) and all(0 <= day <= DAYS_MAX for day in days)
        _expect(is_in_order, f"{where}.curves[{place}].points", days[:3], f"days in order, from 0 to {DAYS_MAX}")
    if metric.role is Role.GUARDRAIL:
        has_margin = metric.margin is not None and metric.margin > 0
        _expect(has_margin, f"{where}.margin", metric.margin, "a number above 0: it is a guardrail")
    for place, comparison in enumerate(metric.comparisons):
        _comparison(f"{where}.comparisons[{place}]", comparison)


def _comparison(where: str, comparison: Comparison) -> None:
    _estimate(f"{where}.estimate", comparison.estimate)
    if comparison.bound is not None:
        _estimate(f"{where}.bound", comparison.bound)
    for place, each in enumerate(comparison.beside):
        _estimate(f"{where}.beside[{place}]", each)


def _estimate(where: str, estimate: Estimate) -> None:
    """The effect and both ends of its interval, in order, or why there are none."""
    numbers = (estimate.effect, estimate.low, estimate.high)
    if estimate.why_not is not None:
        found = [each for each in (*numbers, estimate.p_value) if each is not None]
        _expect(not found, where, found, "no numbers beside why there are none")
    elif estimate.low is None or estimate.high is None or estimate.effect is None:
        _expect(False, where, list(numbers), "an effect and its interval, or why there is none")
    else:
        _expect(estimate.low <= estimate.high, where, [estimate.low, estimate.high], "an interval, the low end first")


def _doses(where: str, doses: Doses, variants: Sequence[str]) -> None:
    table = doses.table
    _same(f"{where}.control", [table.control], variants[:1])
    named = [each.variant for each in table.rows]
    _different(f"{where}.rows", named)
    _among(f"{where}.rows", named, variants)
    _among(f"{where}.control", [table.control], named)
    for place, row in enumerate(table.rows):
        is_control = row.variant == table.control
        expected = "none in the control's row, and one in all others"
        _expect((row.effect is None) == is_control, f"{where}.rows[{place}].effect", row.effect, expected)
        if row.effect is not None:
            _estimate(f"{where}.rows[{place}].effect", row.effect)


def _same(where: str, found: Sequence[str], expected: Sequence[str]) -> None:
    _expect(list(found) == list(expected), where, list(found), f"{list(expected)}, in this order")


def _different(where: str, names: Sequence[str]) -> None:
    _expect(len(set(names)) == len(names), where, list(names), "each once")


def _among(where: str, found: Iterable[str], known: Sequence[str]) -> None:
    for each in found:
        _expect(each in known, where, each, f"one of {list(known)}")


def _expect(holds: bool, where: str, found: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"readout.{where}: found {found!r}, expected {expected}")
