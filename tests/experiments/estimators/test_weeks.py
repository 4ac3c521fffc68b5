"""The effect by week against a count of single customers, and its intervals against statsmodels."""
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportMissingTypeStubs=false

from typing import NamedTuple

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from experiments.estimates import Level, Stratum
from experiments.estimators.weeks import by_week
from experiments.risk import RiskTable


class Unit(NamedTuple):
    """Who left on which day, and by what; None: was watched for `day` days."""

    day: int
    by_event: bool | None


def units(number: int, hazard: float, seed: int, erased: float = 0.0) -> list[Unit]:
    random = np.random.default_rng(seed)
    found: list[Unit] = []
    for _ in range(number):
        event, other = (int(random.geometric(each)) - 1 for each in (hazard, 0.01))
        until = int(random.integers(1, 40)) if random.random() < erased else 40
        first = min(event, other, until)
        found.append(Unit(first, None if first == until else event <= other))
    return found


def table(of: list[Unit]) -> RiskTable:
    days: tuple[dict[int, int], dict[int, int], dict[int, int]] = ({}, {}, {})
    for each in of:
        into = days[2] if each.by_event is None else days[0] if each.by_event else days[1]
        into[each.day] = into.get(each.day, 0) + 1
    return RiskTable(*days)


def counted(of: list[Unit], week: int) -> tuple[int, int]:
    """Who had the event in a week, of those who were watched to its end or had left before."""
    watched = [each for each in of if each.by_event is not None or each.day >= 7 * (week + 1)]
    return sum(each.by_event is True and each.day // 7 == week for each in watched), len(watched)


@pytest.mark.parametrize("erased", [0.0, 0.3])
def test_each_week_is_the_difference_of_shares_counted_customer_by_customer(erased: float) -> None:
    control, treatment = units(4000, 0.02, 1, erased), units(3900, 0.03, 2, erased)
    found = by_week([Stratum(table(control), table(treatment))], 5, Level(0.05))
    assert len(found) == 5
    for week, estimate in enumerate(found):
        (x0, n0), (x1, n1) = counted(control, week), counted(treatment, week)
        assert estimate.effect == pytest.approx(x1 / n1 - x0 / n0)
        ends = confint_proportions_2indep(x1, n1, x0, n0, method="score", compare="diff", alpha=0.05 / 5)
        assert (estimate.low, estimate.high) == pytest.approx(ends, abs=2e-4)
        assert estimate.p_value is None
        assert f"week {week + 1} " in estimate.estimand
    if not erased:
        assert counted(control, 4)[1] == 4000


def test_an_effect_of_the_first_week_alone_is_found_there_alone() -> None:
    control = RiskTable(dict.fromkeys(range(28), 20), {}, {28: 2000})
    novel = RiskTable({day: 60 if day < 7 else 20 for day in range(28)}, {}, {28: 1720})
    found = by_week([Stratum(control, novel)], 4, Level(0.05))
    assert [each.excludes(0) for each in found] == [True, False, False, False]
    assert found[0].effect == pytest.approx(280 / 2560)
    assert found[3].effect == pytest.approx(0)


def test_nobody_is_no_estimate_and_no_week_an_error() -> None:
    (found,) = by_week([Stratum(RiskTable(), RiskTable({1: 3}, {}, {7: 9}))], 1, Level(0.05))
    assert found.effect is None
    assert found.why_not
    with pytest.raises(ValueError, match="expected at least one"):
        by_week([], 0, Level(0.05))
