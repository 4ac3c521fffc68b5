"""In which channels a customer can be reached: where some promotion would pass what is on file.

What readouts mean by it is what decisions go by, so it is told here, where that changes, as events of Takt's own, and
never read from what others tell. A channel is lost once suppressions in force deny every `sell` topic of the policy in
it; under a policy without any, once they deny all topics. Budgets, quiet hours, pauses and consents lose nobody.
"""

from collections.abc import Iterable
from typing import Final

from engine.core.customer import Customer
from engine.core.events import TAKT_SOURCE, Event, EventType
from engine.core.policy import Channel, Policy, Purpose
from engine.core.suppression import find_suppression

EVERYWHERE: Final = None  # what is told of no channel: whether the customer can be reached in all of them
_ANY: Final = (("", False),)  # no topic's name: only what is about all topics covers it


def lost(customer: Customer, policy: Policy) -> frozenset[str | None]:
    """The channels in which the customer cannot be reached; and `EVERYWHERE`, if there are any."""
    in_force = customer.in_force
    if not in_force:
        return frozenset()
    topics = [(name, each.exempt) for name, each in policy.topics.items() if each.purpose is Purpose.SELL] or _ANY
    channels = {
        channel.value
        for channel in Channel
        if all(find_suppression(in_force, channel, name, exempt=exempt) is not None for name, exempt in topics)
    }
    return frozenset((*channels, EVERYWHERE) if channels else ())


def told(customer_id: str, of: Iterable[str | None], now: frozenset[str | None], at_us: int, seq: int) -> list[Event]:
    """Events that say of these channels whether they are lost now, by the entry `seq` of the customer's journal."""
    return [_state(customer_id, each, at_us, seq, is_lost=each in now) for each in sorted(of, key=lambda c: c or "")]


def _state(customer_id: str, channel: str | None, at_us: int, seq: int, *, is_lost: bool) -> Event:
    type_ = EventType.UNREACHABLE if is_lost else EventType.REACHABLE
    return Event(customer_id, TAKT_SOURCE, f"reach:{at_us}:{seq}:{channel or ''}", type_.value, at_us, channel)
