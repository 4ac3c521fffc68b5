"""What goes out about events."""

from typing import Literal

from engine.api.answers import ErrorItem, Out


class EventResultOut(Out):
    """`unresolved`: the address is nobody's yet; the event is kept until it is somebody's."""

    result: Literal["accepted", "duplicate", "unresolved"]


class EventsOut(Out):
    """What became of each event, in the order given, and how many there were of each kind."""

    accepted: int
    duplicates: int
    unresolved: int
    failed: int
    results: list[EventResultOut | ErrorItem]
