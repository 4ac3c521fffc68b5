"""Small pieces of a journal told again: what entries leave on file, and how findings name what they compare."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from engine.core.customer import Customer, Membership
from engine.core.verdict import Code, Decision
from engine.store.customers import consents_of
from engine.store.journal import Message, Resolution, Resolved


def with_profile(customer: Customer, data: Mapping[str, Any]) -> Customer:
    attributes = MappingProxyType(dict(data["attributes"]))
    consents = consents_of(data["consents"])
    return replace(customer, time_zone=data["time_zone"], attributes=attributes, consents=consents)


def membership(found: Membership | None) -> str:
    return "nothing" if found is None else f"variant {found.variant}, {found.stage.name.lower()}"


def reasons(decision: Decision) -> tuple[tuple[Code, str], ...]:
    return tuple((each.code, each.rule) for each in decision.reasons)


def end_us(entry: Resolved, message: Message) -> int:
    """Where a contact ends that was resolved so at this instant."""
    match entry.resolution:
        case Resolution.CONFIRMED:
            return max(entry.at_us, message.start_us)
        case Resolution.MARKED:
            return message.end_us
        case Resolution.RELEASED | Resolution.REVOKED | Resolution.LATE:
            return entry.at_us
