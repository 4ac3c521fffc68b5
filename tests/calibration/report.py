"""Findings as `docs/statistics.md`."""

from collections.abc import Callable, Sequence

from tests.calibration.claims import FAMILY_WISE, Finding, Verdict

_INTRODUCTION = """# Statistics: how often intervals are wrong

Written by `make calibrate`. Each row simulates {simulations:,} experiments whose truth is known, calls the estimator
that readouts call, and counts how often the truth lay outside the interval. All intervals are 95 % ones. Sums are drawn
from their exact law (counts of customers, risk tables, amounts of those who bought), within the validity region that
the estimator's documentation states. What lies outside it is answered "not enough data": *known* is the share of
simulations with an answer, where that is not all of them.

* *below* and *above*: the truth lay below the interval, or above it. Fair are 2.5 % each.
* *would pass*: the coverage that would not exclude the claim. A check fails only where a binomial bound excludes it, at
  a probability of {family_wise:g} for all {checks} checks of this page together.
* *holds*: "yes" where the figures lie within the claim, "within chance" where they lie outside it by no more than
  {simulations:,} simulations explain, "NO" where the claim is excluded, or where interval and p-value disagreed about 0
  in any simulation.
* *width* of anytime intervals: times that of the fixed interval at the planned end, on the same numbers. The claims of
  width are those of asymptotic sequences; where events are too few for these, the mixtures that stand in are wider.

{summary}

| | |
|---|---|
| simulations a row | {simulations:,} |
| seed | {seed} |
| seconds of one core | {seconds:,.0f} |
"""

_OUTLOOK = """
## What this cannot show

* A law that was not tried. Amounts here are log-normal and customers independent of each other; a tail that is heavier
  still, or customers who talk to each other, are not.
* Where few buy, or amounts have very heavy tails, and one variant's buyers pay twice as much or more, a bound of a mean
  may be wrong in up to 4 %: such cases have a section of their own, with a weaker claim. At three times as much and 40
  buyers it is up to 5 %.
* Of ratios the third moment of the numerator is known and those it shares with the denominator are not: they are taken
  from the second ones, as if a denominator came in equal pieces.
* An exact p-value of tiny counts that is far above 0.05 says too little: 8 of 1,028 against 10 of 972 gives 1 (0.58 by
  Barnard's test), 5 of 1,000 against 9 of 1,000 gives 0.53 (0.30). The tables are ordered by their 95 % bounds, which
  makes these intervals the tightest that keep an order, and their p-values sharp where they decide, near 0.05.
* {simulations:,} simulations tell coverages apart that differ by half a percentage point, not by a tenth.
* Whether the table was right: that is for the tests of tables, and for the checks in each readout.
"""


def report(findings: Sequence[Finding], simulations: int, seed: int, seconds: float) -> str:
    failed = sum(each.verdict is Verdict.FAILS for each in findings)
    summary = f"**{failed} of {len(findings)} claims are excluded.**" if failed else "**No claim is excluded.**"
    text = _INTRODUCTION.format(
        simulations=simulations,
        seed=seed,
        seconds=seconds,
        family_wise=FAMILY_WISE,
        checks=3 * len(findings),
        summary=summary,
    )
    sections: dict[str, list[Finding]] = {}
    for each in findings:
        sections.setdefault(each.case.family, []).append(each)
    text += "".join(_section(family, rows) for family, rows in sections.items())
    return text + _OUTLOOK.format(simulations=simulations)


def _section(family: str, rows: Sequence[Finding]) -> str:
    of_alarms = rows[0].case.claim.of_alarms
    columns: list[tuple[str, Callable[[Finding], str]]] = [("case", lambda each: each.case.name)]
    if of_alarms:
        columns += [
            ("should alarm in", lambda each: each.case.claim.words),
            ("alarmed in", lambda each: f"{1 - each.tally.coverage:.2%}"),
            ("would pass", lambda each: f"{1 - each.band[1]:.2%} to {1 - each.band[0]:.2%}"),
        ]
    else:
        columns += [
            ("covered", lambda each: f"{each.tally.coverage:.2%}"),
            ("would pass", lambda each: f"{each.band[0]:.2%} to {each.band[1]:.2%}"),
        ]
    if not of_alarms and any(each.tally.below or each.tally.above for each in rows):
        columns.append(("below", lambda each: f"{each.tally.below / each.tally.known:.2%}"))
        columns.append(("above", lambda each: f"{each.tally.above / each.tally.known:.2%}"))
    if any(each.tally.width is not None for each in rows):
        columns.append(("width", lambda each: "" if each.tally.width is None else f"{each.tally.width:.2f}"))
    if any(each.tally.known < each.tally.simulations for each in rows):
        columns.append(("known", lambda each: f"{each.tally.known / each.tally.simulations:.1%}"))
    columns.append(("holds", _holds))
    lines = [f"\n## {family}\n"]
    if not of_alarms:
        lines.append(f"Claim: {rows[0].case.claim.words}.\n")
    lines += [_row([name for name, _ in columns]), _row(["---"] * len(columns))]
    lines += [_row([cell(each) for _, cell in columns]) for each in rows]
    return "\n".join(lines) + "\n"


def _holds(each: Finding) -> str:
    torn = f" (interval and p-value disagree {each.tally.torn:,} times)" if each.tally.torn else ""
    return each.verdict + torn


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
