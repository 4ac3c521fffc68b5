"""Webhooks signed as Standard Webhooks says (standardwebhooks.com): by id, time and body, with HMAC-SHA256."""

import base64
import hmac


def headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a webhook sent at `timestamp` (seconds). A repetition bears the same id."""
    signature = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
