"""Risk tables add up, and count who is at risk as one would by looking at each unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.risk import RiskTable
from tests.experiments.risk_oracle import CENSORED, COMPETING, EVENT, Unit, risk_tables, table, units_of

UNITS = st.lists(st.builds(Unit, st.integers(0, 9), st.sampled_from((CENSORED, EVENT, COMPETING))), max_size=60)


def as_counts(risk: RiskTable) -> list[dict[int, int]]:
    return [{day: n for day, n in each.items() if n} for each in (risk.events, risk.competing, risk.censored)]


@given(risk_tables(), risk_tables(), risk_tables())
def test_tables_add_in_any_order_and_grouping(a: RiskTable, b: RiskTable, c: RiskTable) -> None:
    assert as_counts(a + b) == as_counts(b + a)
    assert as_counts((a + b) + c) == as_counts(a + (b + c))


@given(risk_tables())
def test_the_empty_table_adds_nothing(a: RiskTable) -> None:
    assert as_counts(a + RiskTable()) == as_counts(a) == as_counts(RiskTable() + a)


@given(UNITS, UNITS)
def test_the_table_of_all_units_is_the_sum_of_the_tables_of_two_halves(one: list[Unit], other: list[Unit]) -> None:
    assert as_counts(table(one) + table(other)) == as_counts(table(one + other))
    assert table(one + other).count == len(one) + len(other)


@given(UNITS, st.integers(1, 12))
def test_each_day_counts_as_looking_at_each_unit_does(units: list[Unit], horizon: int) -> None:
    days = table(units).days(horizon)
    for day in range(horizon):
        # Censored at k: watched on the days 0 to k - 1. Left within k: watched on day k too.
        at_risk = [each for each in units if each.day > day or (each.day == day and each.fate != CENSORED)]
        assert days.at_risk[day] == len(at_risk)
        assert days.events[day] == sum(each == (day, EVENT) for each in at_risk)
        assert days.competing[day] == sum(each == (day, COMPETING) for each in at_risk)


@given(risk_tables(), st.integers(1, 11))
def test_a_longer_horizon_changes_no_earlier_day(risk: RiskTable, horizon: int) -> None:
    short, long = risk.days(horizon), risk.days(horizon + 5)
    for one, other in ((short.at_risk, long.at_risk), (short.events, long.events), (short.competing, long.competing)):
        assert np.array_equal(one, other[:horizon])


def test_an_empty_table_has_days_on_which_nobody_is_at_risk() -> None:
    days = RiskTable().days(3)
    assert days.at_risk.tolist() == days.events.tolist() == days.competing.tolist() == [0, 0, 0]


def test_units_censored_on_day_0_were_never_at_risk() -> None:
    assert RiskTable(censored={0: 5}).days(2).at_risk.tolist() == [0, 0]


def test_a_table_knows_its_units_again() -> None:
    units = [Unit(3, EVENT), Unit(3, COMPETING), Unit(0, CENSORED), Unit(3, EVENT)]
    assert sorted(units_of(table(units))) == sorted(units)


@pytest.mark.parametrize("name", ["events", "competing", "censored"])
@pytest.mark.parametrize("by_day", [{-1: 1}, {1: -1}])
def test_days_and_counts_below_0_are_refused_by_name(name: str, by_day: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=name):
        RiskTable(**{name: by_day})
