"""What goes out about events."""

from typing import Literal

from engine.api.answers import ErrorItem, Out


class EventResultOut(Out):
    """`unresolved`: the address is nobody's yet; the event is kept until it is somebody's. `unplaced`: a message was
    sent or bounced that nobody asked for, and the event does not say in which channel; it is kept, and does nothing.
    `too_old`: it happened before what is kept; what it forbids or allows is done, and nothing else of it kept."""

    result: Literal["accepted", "duplicate", "unresolved", "unplaced", "too_old"]


class EventsOut(Out):
    """What became of each event, in the order given, and how many there were of each kind."""

    accepted: int
    duplicates: int
    unresolved: int
    unplaced: int
    too_old: int
    failed: int
    results: list[EventResultOut | ErrorItem]
