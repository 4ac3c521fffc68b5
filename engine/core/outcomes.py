"""What events have told of a customer: cases, when somebody was last seen, soft bounces.

A join-semilattice: what is known after some events is the same whatever their order, and however often each came. What
decisions read of it (`since_us`, `open_cases`) is derived.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple


class Case(NamedTuple):
    """A case by its name, of the kind of event that opened it; open while it was opened later than closed."""

    from_event: str
    name: str
    opened_us: int
    closed_us: int


class SoftBounce(NamedTuple):
    """A message that could not be delivered for now, to the address with this digest (empty: not known)."""

    channel: str
    digest: str
    at_us: int
    event_key: int


@dataclass(frozen=True, slots=True)
class OpenCase:
    """An event that opened a pause which its counterpart has not closed yet."""

    from_event: str
    at_us: int


@dataclass(frozen=True)
class Outcomes:
    """`seen` has instants by the name of the derived attribute that counts days since: `days_since_last_session`."""

    cases: tuple[Case, ...] = ()
    seen: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    soft_bounces: tuple[SoftBounce, ...] = ()

    @property
    def since_us(self) -> Mapping[str, int]:
        """By derived attribute, the instant from which its whole days count."""
        return self.seen

    @cached_property
    def open_cases(self) -> tuple[OpenCase, ...]:
        return tuple(
            OpenCase(each.from_event, each.opened_us) for each in self.cases if each.opened_us > each.closed_us
        )


NO_OUTCOMES = Outcomes()
