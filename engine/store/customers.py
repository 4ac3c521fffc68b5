"""What is on file about a person, between the columns of `customers` and the core's values.

The texts of two customers' columns are mostly the same, so each distinct text is parsed once.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.core.customer import (
    NO_MEMBERSHIPS,
    UNKNOWN,
    Address,
    Customer,
    Membership,
    Preference,
    Stage,
)
from engine.core.outcomes import NO_OUTCOMES, Case, Outcomes, SoftBounce
from engine.core.policy import Scalar
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.store.columns import Texts
from engine.store.exchange import Call


class CustomerTexts(NamedTuple):
    """The columns of a row as JSON texts, None where nothing is on file."""

    time_zone: str | None
    attributes: str | None
    consents: str | None
    suppressions: str | None
    preferences: str | None
    outcomes: str | None
    addresses: str | None
    variants: str | None
    merged_into: str | None


NOTHING = CustomerTexts(*[None] * 9)
COLUMNS = (
    "c.time_zone, c.attributes::text, c.consents::text, c.suppressions::text, c.preferences::text, c.outcomes::text,"
    " c.addresses::text, c.variants::text, c.merged_into"
)


def customer_of(texts: CustomerTexts) -> Customer:
    """The customer whom a row describes."""
    return UNKNOWN if texts == NOTHING else _customer(texts)


@lru_cache(maxsize=20_000)  # most are like many others: of a time zone, and in the same variants
def _customer(texts: CustomerTexts) -> Customer:
    return Customer(
        time_zone=texts.time_zone,
        attributes=_attributes(texts.attributes),
        consents=_consents(texts.consents),
        suppressions=_suppressions(texts.suppressions),
        preferences=_preferences(texts.preferences),
        outcomes=_outcomes(texts.outcomes),
        addresses=_addresses(texts.addresses),
        variants=_variants(texts.variants),
        merged_into=texts.merged_into,
    )


def texts_of(customer: Customer) -> CustomerTexts:
    """The row that describes a customer."""
    return CustomerTexts(
        customer.time_zone,
        _json(dict(customer.attributes)),
        _json([consent_data(each) for each in customer.consents]),
        _json([suppression_data(each) for each in customer.suppressions]),
        _json([preference_data(each) for each in customer.preferences]),
        _json(outcomes_data(customer.outcomes)),
        _json(addresses_data(customer.addresses)),
        _json(variants_data(customer.variants)),
        customer.merged_into,
    )


def saving(rows: Mapping[str, CustomerTexts]) -> Call:
    """What writes these customers' rows. The caller holds the locks of their accounts."""
    return (
        "INSERT INTO customers (customer_id, time_zone, attributes, consents, suppressions, preferences, outcomes,"
        " addresses, variants, merged_into)"
        " SELECT id, zone, a::jsonb, c::jsonb, s::jsonb, p::jsonb, o::jsonb, d::jsonb, v::jsonb, m"
        " FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS rows(id, zone, a, c, s, p, o, d, v, m)"
        " ON CONFLICT (customer_id) DO UPDATE SET time_zone = EXCLUDED.time_zone, attributes = EXCLUDED.attributes,"
        " consents = EXCLUDED.consents, suppressions = EXCLUDED.suppressions, preferences = EXCLUDED.preferences,"
        " outcomes = EXCLUDED.outcomes, addresses = EXCLUDED.addresses, variants = EXCLUDED.variants,"
        " merged_into = EXCLUDED.merged_into",
        (Texts(rows), *map(Texts, zip(*rows.values(), strict=True))),
    )


def consent_data(consent: Consent) -> dict[str, Any]:
    return {
        "channel": consent.scope.channel,
        "topic": consent.scope.topic,
        "given": consent.given,
        "at_us": consent.at_us,
        "source": consent.source,
        "text_version": consent.text_version,
    }


def suppression_data(suppression: Suppression) -> dict[str, Any]:
    """Without what most facts do not have: a lifting, an address."""
    data: dict[str, Any] = {
        "channel": suppression.scope.channel,
        "topic": suppression.scope.topic,
        "reason": suppression.reason.value,
        "at_us": suppression.at_us,
        "source": suppression.source,
        "binds_exempt": suppression.binds_exempt,
    }
    if suppression.lifted_us:
        data["lifted_us"] = suppression.lifted_us
    if suppression.digest is not None:
        data["digest"] = suppression.digest
    return data


def preference_data(preference: Preference) -> dict[str, Any]:
    data = {"channel": preference.channel, "topic": preference.topic, "limit": preference.limit}
    return data if preference.by_weight else data | {"counts": "contacts"}


def consents_of(data: Iterable[Mapping[str, Any]]) -> tuple[Consent, ...]:
    return tuple(
        Consent(
            Scope(each["channel"], each["topic"]), each["given"], each["at_us"], each["source"], each["text_version"]
        )
        for each in data
    )


def suppressions_of(data: Iterable[Mapping[str, Any]]) -> tuple[Suppression, ...]:
    return tuple(
        Suppression(
            Scope(each["channel"], each["topic"]),
            SuppressionReason(each["reason"]),
            each["at_us"],
            each["source"],
            each["binds_exempt"],
            each.get("lifted_us", 0),
            each.get("digest"),
        )
        for each in data
    )


def preferences_of(data: Iterable[Mapping[str, Any]]) -> tuple[Preference, ...]:
    return tuple(
        Preference(each["channel"], each["topic"], each["limit"], by_weight="counts" not in each) for each in data
    )


def outcomes_data(outcomes: Outcomes) -> dict[str, Any]:
    """Without what is empty, so that the file of somebody of whom nothing was heard is empty too."""
    data: dict[str, Any] = {
        "cases": [list(each) for each in outcomes.cases],
        "seen": dict(outcomes.seen),
        "soft_bounces": [list(each) for each in outcomes.soft_bounces],
    }
    return {name: value for name, value in data.items() if value}


def outcomes_of(data: Mapping[str, Any]) -> Outcomes:
    return Outcomes(
        tuple(Case(*each) for each in data.get("cases", ())),
        MappingProxyType(dict(data.get("seen", {}))),
        tuple(_soft_bounce(*each) for each in data.get("soft_bounces", ())),
    )


def _soft_bounce(channel: str, digest: str, at_us: int, event_key: int, message_key: int | None = None) -> SoftBounce:
    """Those that were kept before their messages were told apart each count as a message of their own."""
    return SoftBounce(channel, digest, at_us, event_key, event_key if message_key is None else message_key)


def addresses_data(addresses: Iterable[Address]) -> list[list[str]]:
    return [list(each) for each in addresses]


def addresses_of(data: Iterable[Sequence[str]]) -> tuple[Address, ...]:
    return tuple(Address(*each) for each in data)


def variants_data(variants: Mapping[int, Membership]) -> list[list[int]]:
    """Rows of experiment, variant and stage, by experiment."""
    return [[number, each.variant, int(each.stage)] for number, each in sorted(variants.items())]


def variants_of(data: Iterable[Sequence[int]]) -> Mapping[int, Membership]:
    return MappingProxyType({number: Membership(variant, Stage(stage)) for number, variant, stage in data})


def _json(value: dict[str, Any] | list[Any]) -> str | None:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None


@lru_cache(maxsize=20_000)
def _attributes(text: str | None) -> Mapping[str, Scalar]:
    return MappingProxyType(json.loads(text) if text else {})


@lru_cache(maxsize=20_000)
def _consents(text: str | None) -> tuple[Consent, ...]:
    return consents_of(json.loads(text)) if text else ()


@lru_cache(maxsize=20_000)
def _suppressions(text: str | None) -> tuple[Suppression, ...]:
    return suppressions_of(json.loads(text)) if text else ()


@lru_cache(maxsize=20_000)
def _preferences(text: str | None) -> tuple[Preference, ...]:
    return preferences_of(json.loads(text)) if text else ()


@lru_cache(maxsize=20_000)
def _outcomes(text: str | None) -> Outcomes:
    return outcomes_of(json.loads(text)) if text else NO_OUTCOMES


@lru_cache(maxsize=20_000)
def _addresses(text: str | None) -> tuple[Address, ...]:
    return addresses_of(json.loads(text)) if text else ()


@lru_cache(maxsize=20_000)
def _variants(text: str | None) -> Mapping[int, Membership]:
    return variants_of(json.loads(text)) if text else NO_MEMBERSHIPS
