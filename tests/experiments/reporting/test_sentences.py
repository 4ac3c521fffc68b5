"""A verdict in one sentence, beginning with what was done to customers where somebody knows it."""

from dataclasses import replace
from datetime import date

import pytest

from experiments.design import Direction, Role
from experiments.readout import Check, CheckCode, Readout
from experiments.reporting.numbers import Scale
from experiments.reporting.sentences import headline
from tests.render.readouts import a_metric, a_readout, an_estimate

TREATMENT = "3 a week instead of 1"
END = date(2027, 1, 4)


def readout(effect: float, wide: float, money: float | None = None, as_of: date = END) -> Readout:
    metrics = [a_metric("kept", Role.PRIMARY, an_estimate(effect, effect - wide, effect + wide))]
    if money is not None:
        estimate = an_estimate(money, money - 0.04, money + 0.04)
        metrics.append(a_metric("margin", Role.SECONDARY, estimate, scale=Scale.MONEY, unit="EUR"))
    return a_readout(*metrics, as_of=as_of)


def told(found: Readout) -> str:
    (verdict,) = found.verdicts
    return headline(found, verdict, TREATMENT)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            readout(0.0014, 0.0006),
            "3 a week instead of 1: per 10,000 customers, kept rises by 14 (+8 to +20); ship it.",
        ),
        (
            readout(-0.0014, 0.0006),
            "3 a week instead of 1: per 10,000 customers, kept falls by 14 (-20 to -8); stop it.",
        ),
        (
            readout(0.0014, 0.0016, 0.031),
            "3 a week instead of 1: per 10,000 customers, kept may have moved by -2 to +30, more is excluded;"
            " margin +310 EUR (-90 to +710), not shown to pay; inconclusive.",
        ),
        (
            readout(0.0014, 0.0016, 0.05, date(2026, 11, 2)),
            "3 a week instead of 1: per 10,000 customers, kept moved by -2 to +30;"
            " margin +500 EUR (+100 to +900), which pays;"
            " run until 4 Jan 2027 (next decision: 9 Nov 2026).",
        ),
        (
            replace(readout(0.0014, 0.0016, None, date(2026, 11, 3)), ended=date(2026, 11, 3)),
            "3 a week instead of 1: per 10,000 customers, kept may have moved by -2 to +30, more is excluded;"
            " inconclusive, ended on 3 Nov 2026 before its planned end.",
        ),
        (
            readout(0.0014, 0.0006, -0.05),
            "3 a week instead of 1: per 10,000 customers, kept rises by 14 (+8 to +20);"
            " margin -500 EUR (-900 to -100), which costs; ship it.",
        ),
    ],
)
def test_a_sentence_says_what_was_done_what_came_of_it_and_what_to_do(found: Readout, said: str) -> None:
    assert told(found) == said


def test_what_cannot_be_compared_says_why() -> None:
    check = Check(CheckCode.SRM, True, "The variants do not hold the shares planned.")
    found = replace(readout(0.0014, 0.0006), checks=(check,))
    assert told(found) == f"{TREATMENT}: the variants do not hold the shares planned; it cannot be compared."


def test_a_short_run_is_one_in_any_sentence() -> None:
    found = replace(readout(0.0014, 0.0006), horizon_days=200)
    assert told(found).endswith("; ship it (short run: 91 of 200 days).")
    guarded = a_metric(
        "left", Role.GUARDRAIL, an_estimate(0.01, 0.008, 0.012), direction=Direction.DECREASE, margin=0.005
    )
    found = replace(found, metrics=(*found.metrics, guarded), inference=found.inference)
    assert "left is worse by more than its margin of 50 (+80 to +120" in told(found)


def test_what_is_not_counted_in_people_keeps_its_own_unit() -> None:
    found = readout(0.0014, 0.0006, 0.05)
    days = a_metric("stay", Role.PRIMARY, an_estimate(0.5, 0.3, 0.7), scale=Scale.DAYS)
    found = replace(found, metrics=(*found.metrics, days))
    assert told(found) == (
        "3 a week instead of 1: kept rises by 14 in 10,000 customers (+8 to +20);"
        " stay rises by 0.5 days a customer (+0.3 to +0.7);"
        " margin +500 EUR from 10,000 customers (+100 to +900), which pays; ship it."
    )
