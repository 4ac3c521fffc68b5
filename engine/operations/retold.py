"""Small pieces of a journal told again: what entries leave on file, and how findings name what they compare."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from engine.core.account import Account
from engine.core.customer import Customer, Membership, Stage
from engine.core.verdict import Code, Decision
from engine.store.customers import consents_of
from engine.store.exposures import Exposure
from engine.store.journal import MEMORY_US, Change, Changed, Message, Refusal, Resolution, Resolved
from engine.store.journal_reading import Read


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


def united_at(entries: Iterable[Read]) -> int:
    """The last entry behind which another customer's contacts were told again; 0 where there is none."""
    merged = (each for each in entries if isinstance(each, Changed) and each.change is Change.MERGED)
    return max((each.seq for each in merged if "of" in each.data), default=0)


def remembers(opening: Account, entry: Message | Refusal) -> bool:
    """Whether the messages that were remembered at an entry are all in the journal still."""
    return not opening.seq or entry.at_us - opening.latest_us > MEMORY_US


def exposures(
    known: Mapping[int, Exposure], customer_id: str, variants: Mapping[int, Membership], at_us: int
) -> dict[int, Exposure]:
    """What the memberships as they now are leave for readouts to find."""
    found: dict[int, Exposure] = {}
    for number, (variant, stage) in variants.items():
        was = known.get(number) or Exposure(customer_id, number, variant, at_us)
        found[number] = was._replace(
            variant=variant,
            eligible_us=was.eligible_us or (at_us if stage >= Stage.ELIGIBLE else None),
            diverged_us=was.diverged_us or (at_us if stage is Stage.DIVERGED else None),
        )
    return found
