"""Options as people write them: instants with an offset, durations such as 90d."""

from datetime import datetime

import typer

from engine.core.errors import InvalidAsk
from engine.core.policy import DAY_US
from engine.core.reading import read_all
from engine.core.reading_values import SECOND_US, duration

_LONGEST_US = 3_660 * DAY_US


def instant(text: str) -> datetime:
    """An instant such as 2026-10-05T09:00:00Z or 2026-10-05T11:00+02:00."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is not an instant with an offset, such as 2026-10-05T09:00:00Z")
    return at


def seconds(text: str) -> int:
    """A duration such as 90d, 36h or 1d12h."""
    try:
        return read_all(duration(_LONGEST_US), text, InvalidAsk) // SECOND_US
    except InvalidAsk:
        raise typer.BadParameter(
            f"{text!r} is not a duration such as 90d, 36h or 1d12h, of ten years at most"
        ) from None
