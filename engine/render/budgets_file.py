"""What the page of budgets shows as one sheet of long form: a figure a row, as it is counted and not rounded."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from engine.render.figures import Sheet
from engine.store.volumes import Ruled, Tally, Volumes

COLUMNS: Final = ("part", "name", "of", "figure", "value")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def sheet(found: Volumes) -> Sheet:
    """Everything, a figure a row."""
    return Sheet(COLUMNS, list(rows(found)))


def rows(found: Volumes) -> Iterator[tuple[Any, ...]]:
    for day, tally in found.days:
        yield from _tally("day", f"{_EPOCH + timedelta(days=day):%Y-%m-%d}", tally)
    for part, lines in (("channel", found.channels), ("topic", found.topics)):
        for each in lines:
            yield from _tally(part, each.name, each.tally)
    for part, ruled in (("rule", found.rules), ("observed", found.would), ("shadow", found.shadows)):
        for each in ruled:
            yield from _rule(part, each)
    for each in found.parties:
        yield from _tally("party", each.name, each.tally)
        yield "party", each.name, None, "exempt", each.exempt
    for each in found.crowding:
        yield "crowding", each.asker, each.filler, "by others" if each.is_others else "own", round(each.messages, 1)
    for each in found.levels:
        for figure in ("saturated", "close", "comfortable", "forgotten"):
            yield "level", each.budget, each.sampled, figure, getattr(each, figure)


def _tally(part: str, name: str | None, tally: Tally) -> Iterator[tuple[Any, ...]]:
    for figure, value in tally._asdict().items():
        yield part, name, None, figure, value


def _rule(part: str, each: Ruled) -> Iterator[tuple[Any, ...]]:
    code = None if each.code is None else each.code.value
    yield part, each.rule, code, "messages" if part == "shadow" else "deferred", each.deferred
    if part != "shadow":
        yield part, each.rule, code, "denied", each.denied
