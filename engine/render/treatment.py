"""What a variant does to customers, in the words in which people argue about it: `1 a week instead of 3`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from engine.core.policy import Budget, Change
from engine.render.words import LANGUAGES, per

_ENGLISH: Final = LANGUAGES["en"]
_LIMITS: Final = {None: "no limit", 0: "none"}


def treatments(changes: Mapping[str, Sequence[Change]]) -> dict[str, str]:
    """Of each variant what it does to the limits of budgets; those that leave every limit as it is are not there."""
    return {variant: said for variant, each in changes.items() if (said := _said(each))}


def _said(changes: Iterable[Change]) -> str:
    moved = [each for each in changes if each.before.limit != each.after.limit]
    if len(moved) == 1:
        return _instead(*moved[0])
    return ", ".join(f"{each.before.name} {_instead(*each)}" for each in moved)


def _instead(before: Budget, after: Budget) -> str:
    """The time in which a limit counts is said once, with the first of both that is a number above 0."""
    time = per(_ENGLISH, before.window)
    apart = f", for each {before.per.value}" if before.per else ""
    old = _LIMITS.get(before.limit, str(before.limit))
    if after.limit:
        return f"{after.limit} {time} instead of {old}{apart}"
    return f"{_LIMITS[after.limit]} instead of {old}{f' {time}' if before.limit else ''}{apart}"
