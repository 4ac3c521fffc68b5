"""How full a customer's budget is, in one word: for people who look at many of them."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from engine.core.standing import Standing

FORGOTTEN_DAYS: Final = 28
_CLOSE: Final = 3  # a third or less is left


class Level(StrEnum):
    """SATURATED: nothing is left. CLOSE: something is used, and one contact, or a third of the limit, is all that is
    left. FORGOTTEN: neither, and the customer had no contact at all in 28 days. COMFORTABLE: everybody else."""

    SATURATED = "saturated"
    CLOSE = "close"
    COMFORTABLE = "comfortable"
    FORGOTTEN = "forgotten"


def level(limit: int, used: int, *, is_forgotten: bool) -> Level:
    """The level of one line. `is_forgotten`: nothing reached the customer in `FORGOTTEN_DAYS`."""
    left = limit - used
    if left <= 0:
        return Level.SATURATED
    if used > 0 and (left == 1 or left * _CLOSE <= limit):
        return Level.CLOSE
    return Level.FORGOTTEN if is_forgotten else Level.COMFORTABLE


def levels(budgets: Iterable[str], standings: Iterable[Standing], *, is_forgotten: bool) -> dict[str, Level]:
    """The level of each of these budgets; of one that is kept once for each campaign, topic or team the fullest. A
    budget without a line is one that sets this customer no limit, or of which nothing is used."""
    rank = list(Level)
    found = {each: level(1, 0, is_forgotten=is_forgotten) for each in budgets}
    for line, _ in standings:
        if line.budget in found:
            one = level(line.limit, line.used, is_forgotten=is_forgotten)
            found[line.budget] = min(found[line.budget], one, key=rank.index)
    return found
