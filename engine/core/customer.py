"""A customer as the rules see one: what is known about a person, apart from the contacts.

No clock: what changes by time alone (days since first seen) is given as the instants from which it counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from engine.core.outcomes import NO_OUTCOMES, Case, Outcomes
from engine.core.policy import DAY_US, Condition, Operator, Scalar
from engine.core.suppression import Consent, Suppression, in_force


@dataclass(frozen=True, slots=True)
class Preference:
    """A customer's own limit for one channel or one topic (None: as many as you like).

    It is a number of contacts; `by_weight`, for one of before that was so: what the budget that it replaces counts.
    """

    channel: str | None
    topic: str | None
    limit: int | None
    by_weight: bool = False


class Address(NamedTuple):
    """Where a customer is reached in a channel, as a keyed hash in hex: it can be compared, and not be read."""

    channel: str
    digest: str


class Stage(IntEnum):
    """How far a customer has come in an experiment. ELIGIBLE: an ask that the treatment is about was made. DIVERGED:
    two variants would have answered one differently; until then all share one history, and the control's figures."""

    ASSIGNED = 0
    ELIGIBLE = 1
    DIVERGED = 2


class Membership(NamedTuple):
    """A customer's place in one experiment; `variant` counts the plan's variants from 0."""

    variant: int
    stage: Stage


NO_MEMBERSHIPS: Mapping[int, Membership] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Customer:
    """`variants` are memberships by the experiment's number. What `outcomes` say, decisions read by `since_us` (derived
    attributes: each counts whole days since its instant) and `open_cases`; of the facts in `suppressions`, those
    `in_force`. Who was `merged_into` another customer is nobody by themselves any more.
    """

    time_zone: str | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    consents: tuple[Consent, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    preferences: tuple[Preference, ...] = ()
    outcomes: Outcomes = NO_OUTCOMES
    addresses: tuple[Address, ...] = ()
    variants: Mapping[int, Membership] = field(default_factory=lambda: NO_MEMBERSHIPS)
    merged_into: str | None = None

    @property
    def in_force(self) -> tuple[Suppression, ...]:
        """The suppressions that bind now; lifted ones, and those of another's address, stay on file."""
        return in_force(self.suppressions, self.addresses) if self.suppressions else ()

    @property
    def since_us(self) -> Mapping[str, int]:
        return self.outcomes.since_us

    @property
    def open_cases(self) -> tuple[Case, ...]:
        return self.outcomes.open_cases

    def attribute(self, name: str, now_us: int) -> Scalar | None:
        """An attribute at an instant; derived ones move with it."""
        since = self.outcomes.since_us.get(name)
        if since is not None:
            return max(now_us - since, 0) // DAY_US
        return self.attributes.get(name)

    def meets(self, conditions: tuple[Condition, ...], now_us: int) -> bool:
        return all(_holds(each, self.attribute(each.attribute, now_us)) for each in conditions)

    def turns_us(self, conditions: Iterable[Condition]) -> list[int]:
        """The instants at which a derived attribute may change what the conditions say, in order."""
        turns: set[int] = set()
        for condition in conditions:
            since = self.since_us.get(condition.attribute)
            if since is None:
                continue
            values = condition.value if isinstance(condition.value, frozenset) else (condition.value,)
            for value in values:
                if isinstance(value, int | float):
                    turns |= {since + (int(value) + days) * DAY_US for days in (0, 1)}
        return sorted(turns)


UNKNOWN = Customer()


def _holds(condition: Condition, found: Scalar | None) -> bool:
    """One condition of one attribute. True and 1 differ here, as they do in YAML and JSON."""
    wanted = condition.value
    if isinstance(wanted, frozenset):
        return condition.operator is Operator.IN and any(_equal(found, each) for each in wanted)
    if condition.operator is Operator.EQ:
        return _equal(found, wanted)
    if condition.operator is Operator.NE:
        return not _equal(found, wanted)
    return _compares(condition.operator, found, wanted)


def _equal(found: Scalar | None, wanted: Scalar) -> bool:
    return found is not None and isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def _compares(operator: Operator, found: Scalar | None, wanted: Scalar) -> bool:
    """An order among numbers, or among texts; there is none between the two, nor among booleans."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return False
    if isinstance(found, str) and isinstance(wanted, str):
        return _is_in_order(operator, (found > wanted) - (found < wanted))
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return _is_in_order(operator, (found > wanted) - (found < wanted))
    return False


def _is_in_order(operator: Operator, sign: int) -> bool:
    match operator:
        case Operator.LT:
            return sign < 0
        case Operator.LTE:
            return sign <= 0
        case Operator.GT:
            return sign > 0
        case Operator.GTE:
            return sign >= 0
        case _:
            return False
