"""What is on file about a person, between the columns of `customers` and the core's values.

The texts of two customers' columns are mostly the same, so each distinct text is parsed once.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.core.customer import UNKNOWN, Customer, Preference
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


NOTHING = CustomerTexts(None, None, None, None, None)
COLUMNS = "c.time_zone, c.attributes::text, c.consents::text, c.suppressions::text, c.preferences::text"


def customer_of(texts: CustomerTexts) -> Customer:
    """The customer whom a row describes."""
    if texts == NOTHING:
        return UNKNOWN
    return Customer(
        time_zone=texts.time_zone,
        attributes=_attributes(texts.attributes),
        consents=_consents(texts.consents),
        suppressions=_suppressions(texts.suppressions),
        preferences=_preferences(texts.preferences),
    )


def texts_of(customer: Customer) -> CustomerTexts:
    """The row that describes a customer."""
    return CustomerTexts(
        customer.time_zone,
        _json(dict(customer.attributes)),
        _json([consent_data(each) for each in customer.consents]),
        _json([suppression_data(each) for each in customer.suppressions]),
        _json([preference_data(each) for each in customer.preferences]),
    )


def saving(rows: Mapping[str, CustomerTexts]) -> Call:
    """What writes these customers' rows. The caller holds the locks of their accounts."""
    return (
        "INSERT INTO customers (customer_id, time_zone, attributes, consents, suppressions, preferences)"
        " SELECT id, zone, a::jsonb, c::jsonb, s::jsonb, p::jsonb"
        " FROM unnest(%b, %b, %b, %b, %b, %b) AS rows(id, zone, a, c, s, p)"
        " ON CONFLICT (customer_id) DO UPDATE SET time_zone = EXCLUDED.time_zone, attributes = EXCLUDED.attributes,"
        " consents = EXCLUDED.consents, suppressions = EXCLUDED.suppressions, preferences = EXCLUDED.preferences",
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
    return {
        "channel": suppression.scope.channel,
        "topic": suppression.scope.topic,
        "reason": suppression.reason.value,
        "at_us": suppression.at_us,
        "source": suppression.source,
        "binds_exempt": suppression.binds_exempt,
    }


def preference_data(preference: Preference) -> dict[str, Any]:
    return {"channel": preference.channel, "topic": preference.topic, "limit": preference.limit}


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
        )
        for each in data
    )


def preferences_of(data: Iterable[Mapping[str, Any]]) -> tuple[Preference, ...]:
    return tuple(Preference(each["channel"], each["topic"], each["limit"]) for each in data)


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
