"""Findings as `docs/statistics.md`."""

from collections.abc import Sequence

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
* *width* of anytime intervals: times that of the fixed interval at the planned end, on the same numbers.

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
    sections: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        sections.setdefault((each.case.family, each.case.claim.words), []).append(each)
    text += "".join(_section(family, claim, rows) for (family, claim), rows in sections.items())
    return text + _OUTLOOK.format(simulations=simulations)


def _section(family: str, claim: str, rows: Sequence[Finding]) -> str:
    has_sides = any(each.tally.below or each.tally.above for each in rows)
    has_width = any(each.tally.width is not None for each in rows)
    has_gaps = any(each.tally.known < each.tally.simulations for each in rows)
    head = ["case", "covered", "would pass"]
    head += ["below", "above"] * has_sides + ["width"] * has_width + ["known"] * has_gaps + ["holds"]
    lines = [f"\n## {family}\n", f"Claim: {claim}.\n", _row(head), _row(["---"] * len(head))]
    for each in rows:
        tally = each.tally
        cells = [each.case.name, f"{tally.coverage:.2%}", f"{each.band[0]:.2%} to {each.band[1]:.2%}"]
        if has_sides:
            cells += [f"{tally.below / tally.known:.2%}", f"{tally.above / tally.known:.2%}"]
        if has_width:
            cells.append("" if tally.width is None else f"{tally.width:.2f}")
        if has_gaps:
            cells.append(f"{tally.known / tally.simulations:.1%}")
        torn = f" (interval and p-value disagree {tally.torn:,} times)" if tally.torn else ""
        lines.append(_row([*cells, each.verdict + torn]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
