"""Verification: a true history, however busy, shows no finding; one that was tampered with names customer and entry."""

import pytest

from engine.operations import policies
from engine.operations.decider import Decider
from engine.operations.verify import Report, verify
from tests.operations.histories import STRICT, History

pytestmark = pytest.mark.anyio


def shown(report: Report) -> str:
    return "\n".join(str(each) for each in report.findings)


@pytest.mark.parametrize("seed", range(4))
async def test_a_busy_history_shows_no_finding(decider: Decider, database_url: str, seed: int) -> None:
    history = History(decider, database_url, seed)
    await policies.activate(decider.database, STRICT, author="test")
    await history.busy(steps=40, at_once=30)
    report = await verify(decider.database)
    assert report.is_clean, shown(report)
    assert report.customers == 5
    assert report.decisions > 200
