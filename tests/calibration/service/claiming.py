"""What is claimed of all seeds together, and whether their counts exclude it: by the bounds of `claims`."""

from collections.abc import Callable, Sequence
from math import isnan

from experiments.reporting.verdicts import Call
from tests.calibration.claims import AT_LEAST, Case, Claim, Finding, Tally, judge
from tests.calibration.service.scoring import Score, Spot

FIXED = "Intervals at the end, experiments that nothing could end early"
ANY_TIME = "Intervals that hold at any time"
DONE = "What was said and done"
COUNTED = "Counting"
OPPOSED = "push_off_28"
"""What correlation gets the sign of wrong."""
_NEVER = Claim("in none", (0.0, 0.0), (0.0, 1.0), of_alarms=True)
_RARELY = Claim("in at most 2.5 %", (0.0, 0.025), (0.0, 1.0), of_alarms=True)
_MOSTLY = Claim("in at least 95 %", (0.95, 1.0), (0.0, 1.0), of_alarms=True)


def findings(scores: Sequence[Score]) -> list[Finding]:
    """Of every interval that any readout had, and of what was done."""
    cases = [*_intervals(scores), *_shares(scores)]
    return [judge(case, tally, len(cases)) for case, tally in cases]


def _intervals(scores: Sequence[Score]) -> list[tuple[Case, Tally]]:
    places = dict.fromkeys(
        (spot.at_any_time, spot.experiment, spot.metric, spot.variant) for score in scores for spot in score.spots
    )
    found: list[tuple[Case, Tally]] = []
    for place in sorted(places, key=lambda each: each[0]):
        at_any_time, experiment, metric, variant = place
        spots = [
            spot
            for score in scores
            for spot in score.spots
            if (spot.at_any_time, spot.experiment, spot.metric, spot.variant) == place
        ]
        family = ANY_TIME if at_any_time else FIXED
        found.append(_case(family, f"{experiment}: {metric}, {variant}", AT_LEAST, _tally(spots)))
    return [each for each in found if each[1].known]  # where so few buy that a readout has no interval, it claims none


def _tally(spots: Sequence[Spot]) -> Tally:
    known = below = above = torn = 0
    for each in spots:
        if each.low is None or each.high is None:
            continue
        known += 1
        below += each.truth < each.low
        above += each.truth > each.high
        torn += each.is_torn
    return Tally(len(spots), known, below, above, torn)


def _shares(scores: Sequence[Score]) -> list[tuple[Case, Tally]]:
    """Shares of seeds, as claims of `covered`: in how many it was so."""

    def of(family: str, name: str, claim: Claim, holds: Callable[[Score], bool | None]) -> tuple[Case, Tally]:
        answers = [each for each in map(holds, scores) if each is not None]
        return _case(family, name, claim, Tally(len(scores), len(answers), answers.count(False), 0))

    return [
        of(COUNTED, "customers, outcomes or contacts are counted otherwise than by arithmetic", _NEVER, _is_wrong),
        of(DONE, "the A/A ships", _RARELY, lambda each: each.calls["checkout-aa", "b"] is Call.SHIP),
        of(DONE, "the A/A is invalid", _RARELY, lambda each: each.calls["checkout-aa", "b"] is Call.INVALID),
        of(DONE, "the harmful one ships", _RARELY, lambda each: each.calls["loud-subjects", "loud"] is Call.SHIP),
        of(DONE, "the harmful one stops", _MOSTLY, lambda each: "loud-subjects" in each.stopped),
        of(DONE, "the naive correlation of pushes received with leaving is negative", _MOSTLY, _naive_is_wrong),
        of(DONE, "a readout finds that fewer pushes make more leave, or more make fewer", _RARELY, _readout_is_wrong),
    ]


def _is_wrong(of: Score) -> bool:
    return bool(of.wrong)


def _naive_is_wrong(of: Score) -> bool | None:
    return None if isnan(of.naive) else of.naive < 0


def _readout_is_wrong(of: Score) -> bool:
    """An interval wholly on the side where the truth is not: fewer pushes keep, more drive away."""
    for each in of.spots:
        if each.metric == OPPOSED and each.low is not None and each.high is not None:
            is_wrong = each.low > 0 if each.variant == "one" else each.high < 0
            if is_wrong:
                return True
    return False


def _case(family: str, name: str, claim: Claim, tally: Tally) -> tuple[Case, Tally]:
    return Case(family, name, claim, lambda _random, _simulations: tally), tally
