"""One thing is never "1 units", in no sentence of estimators, checks and tables."""

import pandas as pd
import pytest

from experiments.counted import counted
from experiments.errors import TableError
from experiments.estimates import Level, Stratum
from experiments.estimators import anytime, competing, survival
from experiments.moments import Moments
from experiments.risk import RiskTable
from experiments.tables import aggregate
from tests.experiments.reading.wide_tables import plan

LEVEL = Level()


def test_one_is_counted_as_one() -> None:
    assert [counted(each, "day") for each in (0, 1, 2, 1_000)] == ["0 days", "1 day", "2 days", "1,000 days"]


def test_anytime_sequences_count_one_unit_as_one() -> None:
    found = anytime.difference([Stratum(Moments(1_000, 1, 10), Moments(1_000, 1, 10))], LEVEL, 1)
    assert found.method == "asymptotic confidence sequence, narrowest at 1 unit"
    skewed = anytime.difference([Stratum(Moments(90, 1, 9, 90), Moments(50, 1, 9, 500))], LEVEL, 1)
    assert skewed.why_not is not None
    assert "arms of 90 and 50 units" in skewed.why_not


def test_horizons_of_a_day_are_of_one_day() -> None:
    table = RiskTable({0: 30}, {}, {1: 70})
    arms = [Stratum(table, table)]
    assert "within 1 day, competing" in competing.difference(arms, 1, LEVEL).estimand
    found = survival.restricted_mean_difference(arms, 1, LEVEL)
    assert found.estimand.endswith("of the first 1 day")
    nothing = [Stratum(RiskTable({}, {}, {1: 70}), RiskTable({}, {}, {1: 70}))]
    assert "within 1 day the event" in (competing.difference(nothing, 1, LEVEL).why_not or "")
    assert "the first 1 day no unit" in (survival.restricted_mean_difference(nothing, 1, LEVEL).why_not or "")
    gone = [Stratum(RiskTable({}, {}, {0: 70}), table)]
    assert "on the last of 1 day," in (competing.difference(gone, 1, LEVEL).why_not or "")


def test_one_unit_in_two_rows_is_one_unit() -> None:
    table = pd.DataFrame({"customer_id": [1, 1, 2], "variant": ["a", "a", "b"]})
    with pytest.raises(TableError, match="1 unit stands in more than one row"):
        aggregate(plan(), table)
