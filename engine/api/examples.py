"""Examples for OpenAPI. A test sends each of them, and compares what comes back with the schema."""

from typing import Any

from pydantic import BaseModel

from engine.core.tokens import Scope

ASK: dict[str, Any] = {
    "message_id": "autumn-sale:2026-10-05:customer-42",
    "customer_id": "customer-42",
    "channel": "email",
    "topic": "promotions",
    "campaign": "autumn-sale",
}
ANSWER: dict[str, Any] = {
    "message_id": "autumn-sale:2026-10-05:customer-42",
    "customer_id": "customer-42",
    "verdict": "allow",
    "state": "reserved",
    "reasons": [],
    "retry_at": None,
    "retry_certain": True,
    "retry_after_s": None,
    "lease_expires_at": "2026-10-05T09:05:00Z",
    "lease_s": 300,
    "budgets": [
        {"budget": "email-weekly", "limit": 2, "used": 1, "left": 1, "frees_at": None, "shadow": False},
    ],
    "variants": {},
    "observed": None,
    "recorded": True,
    "ruleset": 1,
    "decided_at": "2026-10-05T09:00:00Z",
    "replayed": False,
    "attempt": 1,
    "headers": None,
}
CONTACT: dict[str, Any] = {"customer_id": "customer-42", "message_id": "autumn-sale:2026-10-05:customer-42"}
RECORD: dict[str, Any] = {
    "customer_id": "customer-42",
    "message_id": "vendor-7:8812",
    "channel": "letter",
    "topic": "promotions",
    "at": "2026-09-28T10:00:00+02:00",
}
CUSTOMER: dict[str, Any] = {
    "time_zone": "Europe/Berlin",
    "attributes": {"lifecycle": "new", "country": "DE", "orders": 3},
    "consents": [
        {"channel": "email", "topic": "promotions", "at": "2026-01-15T08:30:00Z", "source": "signup-form"},
    ],
}
PREFERENCES: dict[str, Any] = {"preferences": [{"channel": "push", "limit": 1}]}
SUPPRESSION: dict[str, Any] = {"customer_id": "customer-42", "channel": "email", "reason": "unsubscribe"}
LIFT: dict[str, Any] = {"customer_id": "customer-42", "channel": "email"}
POLICY: dict[str, Any] = {
    "yaml": "schema: 1\nbudgets:\n  - name: any-weekly\n    limit: 3\n    window: {rolling: 7d}\n",
    "note": "three a week, whatever the channel",
}
PAUSE: dict[str, Any] = {"name": "outage", "channels": ["email", "push"], "until": "2099-10-05T18:00:00Z"}
EXPERIMENT: dict[str, Any] = {
    "yaml": (
        "key: push-more\n"
        "hypothesis: Three pushes a week lose nobody.\n"
        "variants:\n"
        "  - {name: one, control: true, dose: 1}\n"
        "  - {name: three, dose: 3, policy: {budgets: {push-weekly: {limit: 3}}}}\n"
        "traffic: 0.2\n"
        "start: 2026-10-05\n"
        "end: 2027-01-04\n"
        "metrics:\n"
        "  - {name: reachable, kind: reachable, channel: push, day: 28, role: primary, direction: increase}\n"
        "  - {name: gone, kind: rate, event: unsubscribed, within_days: 28, role: guardrail, direction: decrease,"
        " margin: 0.002}\n"
    ),
    "on_harm": "stop",
    "note": "asked for by the growth team",
}
STEP: dict[str, Any] = {"note": "as agreed on Monday"}
RAMP: dict[str, Any] = {"traffic": 1.0, "note": "a week without harm", "request_id": "7f9c"}
PHASE: dict[str, Any] = {"weights": {"one": 1, "three": 3}}
FINDING: dict[str, Any] = {"note": "Two of six asked why the app talks so much."}
SHIP: dict[str, Any] = {"variant": "three", "holdout": 0.05}


def body(model: type[BaseModel], example: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """The body of a route that parses it by itself, and the scope it needs, for OpenAPI."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference, "example": example}}},
        **scoped(scope),
    }


def scoped(scope: Scope) -> dict[str, Any]:
    """The scope that a route needs, for OpenAPI."""
    return {"x-scope": scope.value}


def batch_of(name: str, example: dict[str, Any]) -> dict[str, Any]:
    return {name: [example]}
