"""What goes out about events."""

from typing import Literal

from engine.api.answers import ErrorItem, Out


class EventResultOut(Out):
    """`unresolved`: the address is nobody's yet; the event is kept until it is somebody's. `unplaced`: a message was
    sent or bounced that nobody asked for, and the event does not say in which channel; it is kept, and does nothing."""

    result: Literal["accepted", "duplicate", "unresolved", "unplaced"]


class EventsOut(Out):
    """What became of each event, in the order given, and how many there were of each kind."""

    accepted: int
    duplicates: int
    unresolved: int
    unplaced: int
    failed: int
    results: list[EventResultOut | ErrorItem]
