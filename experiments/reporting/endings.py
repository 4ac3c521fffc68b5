"""What came of an experiment as a whole, for a list of many: null and harmful ones count as much as those that won.

Follows from the verdicts on its treatments and from whether one of them was shipped; nothing is estimated here.
"""

from collections.abc import Collection
from enum import StrEnum

from experiments.reporting.verdicts import Call


class Ending(StrEnum):
    """SHIPPED: a variant became the policy, whatever the readout said of it. BETTER: one would have been worth it, and
    none was shipped. NULL: it ran to its end, and no treatment was shown to be better or worse. UNDECIDED: it has no
    readout, or was ended before its planned end, and before it could say anything. WAITING: it still runs, past that.
    """

    WAITING = "waiting"
    SHIPPED = "shipped"
    BETTER = "better"
    HARMFUL = "harmful"
    NULL = "null"
    INVALID = "invalid"
    UNDECIDED = "undecided"


def ending(calls: Collection[Call], *, runs: bool, shipped: bool, cut_short: bool = False) -> Ending:
    """By the verdicts on all treatments: a good one outweighs a harmful one beside it, for that is the one to choose.
    `cut_short`: it was ended before its planned end.

    >>> ending([Call.SHIP, Call.STOP], runs=False, shipped=False)
    <Ending.BETTER: 'better'>
    >>> ending([Call.INCONCLUSIVE, Call.STOP], runs=False, shipped=False)
    <Ending.HARMFUL: 'harmful'>
    >>> ending([Call.INCONCLUSIVE], runs=False, shipped=False, cut_short=True)
    <Ending.UNDECIDED: 'undecided'>
    """
    if runs:
        return Ending.WAITING
    if shipped:
        return Ending.SHIPPED
    for found, kind in (
        ({Call.INVALID}, Ending.INVALID),
        ({Call.SHIP}, Ending.BETTER),
        ({Call.STOP, Call.DO_NOT_SHIP}, Ending.HARMFUL),
        ({Call.KEEP_RUNNING}, Ending.UNDECIDED),
        ({Call.INCONCLUSIVE}, Ending.UNDECIDED if cut_short else Ending.NULL),
    ):
        if found & set(calls):
            return kind
    return Ending.UNDECIDED
