"""Five seeds of a company that is small and in a hurry; and readouts that are wrong, which the same checks catch."""

import asyncio
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import pytest

from engine.demo.companies import small
from engine.demo.company import Company
from engine.store import embedded
from experiments.reporting.verdicts import Call
from tests.calibration.claims import Verdict
from tests.calibration.service.claiming import findings
from tests.calibration.service.playing import Read, Seen, own_database, read_again, seen, watched
from tests.calibration.service.report import report
from tests.calibration.service.scoring import Score, miscounted, score
from tests.calibration.service.wrong_readouts import ALL, Substitution

SEEDS = (1, 2, 3, 4, 5)
CUSTOMERS = 150
START, DAYS = 2, 35


class Plays(NamedTuple):
    """`url`: where the first seed's company still is."""

    url: str
    first: Seen
    scores: list[Score]


def hurried(customers: int = CUSTOMERS) -> Company:
    """Experiments begin at once, and what harms does so enough to be seen among few."""
    company = small(customers, DAYS)
    trials = [replace(each, start_day=START, days=DAYS - START) for each in company.trials]
    trials = [replace(each, dislike={"loud": 40.0}) if each.dislike else each for each in trials]
    return replace(company, trials=tuple(trials))


@pytest.fixture(scope="module")
def plays(server: embedded.Server) -> Generator[Plays]:
    with ExitStack() as open_databases:
        urls = [open_databases.enter_context(own_database(server)) for _ in SEEDS]
        all_seen = [asyncio.run(seen(url, hurried(), seed)) for url, seed in zip(urls, SEEDS, strict=True)]
        yield Plays(urls[0], all_seen[0], [score(each) for each in all_seen])


def again(plays: Plays, key: str) -> dict[str, Read]:
    """The first seed's readout of an experiment, computed once more."""
    return {key: watched(plays.first.played, key, asyncio.run(read_again(plays.url, key)))}


def test_every_seed_counts_what_arithmetic_counts(plays: Plays):
    assert [each.wrong for each in plays.scores] == [()] * len(SEEDS)


def test_no_claim_is_excluded_and_the_page_says_what_was_found(plays: Plays):
    found = findings(plays.scores)
    assert [each.case.name for each in found if each.verdict is Verdict.FAILS] == []
    text = report(found, plays.scores, CUSTOMERS, DAYS)
    assert "**No claim is excluded.**" in text
    assert "Counted wrong" not in text


def test_the_a_a_ships_nothing_and_the_harmful_one_stops_in_most(plays: Plays):
    for each in plays.scores:
        assert each.calls["checkout-aa", "b"] is not Call.SHIP
        assert each.calls["loud-subjects", "loud"] is not Call.SHIP
    assert sum("loud-subjects" in each.stopped for each in plays.scores) >= 3  # of companies this small, not all


def test_who_gets_more_leaves_less_yet_no_readout_says_that_sending_less_drives_away(plays: Plays):
    assert all(each.naive < 0 for each in plays.scores)
    for of in plays.scores:
        fewer = [each for each in of.spots if (each.metric, each.variant) == ("push_off_28", "one")]
        assert len(fewer) > 0
        assert all(each.truth < 0 and (each.low is None or each.low < 0) for each in fewer)


@pytest.mark.parametrize(("substitute", "key"), ALL, ids=lambda each: getattr(each, "__name__", each))
def test_a_wrong_readout_is_caught(plays: Plays, substitute: Substitution, key: str, monkeypatch: pytest.MonkeyPatch):
    substitute(monkeypatch)
    assert list(miscounted(plays.first, again(plays, key)))


@pytest.mark.parametrize("key", ["push-budget", "loud-subjects"])
def test_a_right_readout_that_is_read_again_is_not_caught(plays: Plays, key: str):
    assert list(miscounted(plays.first, again(plays, key))) == []


def test_a_seed_that_counts_wrong_fails_its_claim_and_is_on_the_page(plays: Plays):
    bad = replace(plays.scores[0], wrong=("push-budget, one: 3 entered, 2 by arithmetic",))
    scores = [bad, *plays.scores[1:]]
    found = findings(scores)
    assert [each.case.name for each in found if each.verdict is Verdict.FAILS] == [
        "customers, outcomes or contacts are counted otherwise than by arithmetic"
    ]
    assert "* Seed 1: push-budget, one: 3 entered, 2 by arithmetic" in report(found, scores, CUSTOMERS, DAYS)
