"""Findings of seeds as `docs/calibration-service.md`."""

from collections.abc import Sequence
from statistics import mean, stdev

from tests.calibration.claims import FAMILY_WISE, Finding, Verdict
from tests.calibration.service.claiming import OPPOSED
from tests.calibration.service.scoring import Score, Spot

_INTRODUCTION = """# Calibration of the service: how often its readouts are right

Written by `python -m tests.calibration.service`, which `make calibrate` calls for 200 seeds; this page is of {seeds}.
Each is a company of its own: {customers:,} customers, {days} days, a push budget of one, three or five a week, an A/A,
and an e-mail whose loud subjects make six times as many leave. All of it is played through the service's operations on
a database of its own, one message in four being reserved, given back and reserved again; readouts are computed on
PostgreSQL, as in any deployment. The truth is known without the service: the same people with the same luck are lived
by arithmetic under each variant, and the effect is the mean difference of those who entered and were watched to the
end.

* *would pass*: the shares that would not exclude the claim. A check fails only where a binomial bound excludes it, at a
  probability of {family_wise:g} for all {checks} checks of this page together.
* *below* and *above*: the truth lay below the interval, or above it. *known*: seeds in which there was an interval.
* The library's own intervals are tried on 10,000 simulations each in [statistics](statistics.md). Here is shown that
  the service gives them the right customers, outcomes and instants; {seeds} seeds tell no coverage of 94 % from 95 %.

{summary}

| | |
|---|---|
| seeds | {first} to {last} |
"""
_SIGNS = """
## The sign that correlation gets wrong

Under one policy, who is engaged is sent more and leaves less: so customers who got more pushes are those who turned
push off less often, though every push makes some leave. Means over seeds, with standard deviations:

| | |
|---|---|
| correlation of pushes received with turning push off, under the control | {naive} |
{effects}
"""


def report(findings: Sequence[Finding], scores: Sequence[Score], customers: int, days: int) -> str:
    failed = sum(each.verdict is Verdict.FAILS for each in findings)
    summary = f"**{failed} of {len(findings)} claims are excluded.**" if failed else "**No claim is excluded.**"
    text = _INTRODUCTION.format(
        seeds=len(scores),
        customers=customers,
        days=days,
        family_wise=FAMILY_WISE,
        checks=3 * len(findings),
        summary=summary,
        first=scores[0].seed,
        last=scores[-1].seed,
    )
    sections: dict[str, list[Finding]] = {}
    for each in findings:
        sections.setdefault(each.case.family, []).append(each)
    text += "".join(_section(family, rows) for family, rows in sections.items())
    unknown = sorted({_name(spot) for each in scores for spot in each.spots} - _known(scores))
    if unknown:
        text += f"\nSo few bought that no readout had an interval of {'; '.join(unknown)}.\n"
    text += _signs(scores)
    wrong = [f"* Seed {each.seed}: {sentence}" for each in scores for sentence in each.wrong]
    return text + ("\n## Counted wrong\n\n" + "\n".join(wrong) + "\n" if wrong else "")


def _section(family: str, rows: Sequence[Finding]) -> str:
    if rows[0].case.claim.of_alarms:
        head = ["in how many seeds", "claim", "found", "would pass", "holds"]
        cells = [[each.case.name, each.case.claim.words, *_found(each), each.verdict] for each in rows]
        claim = ""
    else:
        head = ["interval", "covered", "would pass", "below", "above", "known", "holds"]
        cells = [[each.case.name, *_covered(each), each.verdict] for each in rows]
        claim = f"Claim: {rows[0].case.claim.words}.\n\n"
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, cells)]
    return f"\n## {family}\n\n{claim}" + "\n".join(lines) + "\n"


def _found(each: Finding) -> list[str]:
    tally = each.tally
    return [f"{tally.known - tally.missed} of {tally.known}", f"{each.band[0]:.1%} to {each.band[1]:.1%}"]


def _covered(each: Finding) -> list[str]:
    tally = each.tally
    band = f"{each.band[0]:.1%} to {each.band[1]:.1%}"
    known = f"{tally.known} of {tally.simulations}"
    return [f"{tally.coverage:.1%}", band, str(tally.below), str(tally.above), known]


def _signs(scores: Sequence[Score]) -> str:
    rows: list[str] = []
    for variant in ("one", "five"):
        spots = [
            spot
            for each in scores
            for spot in each.spots
            if spot.metric == OPPOSED and spot.variant == variant and not spot.at_any_time
        ]
        said = _spread([spot.effect for spot in spots if spot.effect is not None])
        rows.append(_row([f"effect of {variant} instead of three on turning push off, as readouts say", said]))
        rows.append(_row(["the truth of the same", _spread([spot.truth for spot in spots])]))
    return _SIGNS.format(naive=_spread([each.naive for each in scores]), effects="\n".join(rows))


def _known(scores: Sequence[Score]) -> set[str]:
    return {_name(spot) for each in scores for spot in each.spots if spot.low is not None and spot.high is not None}


def _name(spot: Spot) -> str:
    return f"{spot.experiment}: {spot.metric}, {spot.variant}"


def _spread(numbers: Sequence[float]) -> str:
    return f"{mean(numbers):+.4f} ({stdev(numbers):.4f})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
