"""What came of an experiment: by its verdicts and by what people did."""

from itertools import product

import pytest

from experiments.reporting.endings import Ending, ending
from experiments.reporting.verdicts import Call


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], Ending.UNDECIDED),
        ([Call.KEEP_RUNNING], Ending.UNDECIDED),
        ([Call.INCONCLUSIVE], Ending.NULL),
        ([Call.INCONCLUSIVE, Call.KEEP_RUNNING], Ending.UNDECIDED),
        ([Call.INCONCLUSIVE, Call.STOP], Ending.HARMFUL),
        ([Call.DO_NOT_SHIP], Ending.HARMFUL),
        ([Call.STOP, Call.SHIP], Ending.BETTER),
        ([Call.INVALID, Call.INVALID], Ending.INVALID),
    ],
)
def test_what_ended_is_told_by_its_verdicts(calls: list[Call], expected: Ending) -> None:
    assert ending(calls, runs=False, shipped=False) is expected


def test_what_was_cut_short_is_no_null_result() -> None:
    assert ending([Call.INCONCLUSIVE], runs=False, shipped=False, cut_short=True) is Ending.UNDECIDED
    assert ending([Call.INCONCLUSIVE, Call.STOP], runs=False, shipped=False, cut_short=True) is Ending.HARMFUL


def test_what_people_did_outweighs_any_verdict() -> None:
    for calls in product(Call, repeat=2):
        assert ending(calls, runs=False, shipped=True) is Ending.SHIPPED
        assert ending(calls, runs=True, shipped=False) is Ending.WAITING
