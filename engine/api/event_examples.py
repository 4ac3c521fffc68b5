"""Examples of events for OpenAPI: Takt's own form, and CloudEvents."""

from typing import Any

from engine.api.event_schemas import CloudEventIn, EventsIn
from engine.api.examples import batch_of, body
from engine.core.tokens import Scope

EVENT: dict[str, Any] = {
    "id": "order-8812",
    "source": "shop",
    "type": "purchase",
    "at": "2026-10-05T09:21:07Z",
    "customer_id": "customer-42",
    "value": 49.9,
    "margin": 12.5,
}
CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7e1c8a52",
    "source": "/mail/provider",
    "type": "delivered",
    "time": "2026-10-05T09:00:41Z",
    "subject": "customer-42",
    "data": {"channel": "email", "message_id": "autumn-sale:2026-10-05:customer-42"},
}


def events_body() -> dict[str, Any]:
    """The body of the route in each of its forms, and the scope it needs."""
    described = body(EventsIn, batch_of("events", EVENT), Scope.INGEST)
    reference = {"$ref": f"#/components/schemas/{CloudEventIn.__name__}"}
    batch = {"type": "array", "items": reference, "maxItems": 10_000}
    described["requestBody"]["content"] |= {
        "application/cloudevents+json": {"schema": reference, "example": CLOUD_EVENT},
        "application/cloudevents-batch+json": {"schema": batch, "example": [CLOUD_EVENT]},
    }
    return described
