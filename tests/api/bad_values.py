"""Good documents of every route, and for each of their fields the values that are none."""

import json
from typing import Any

from tests.api.caller import POLICY, ask

Document = dict[str, Any]
MARK = "@@@"

CONSENT = {"channel": "email", "topic": "promotions", "given": True, "at": "2026-01-01T00:00:00Z", "source": "form"}
CUSTOMER: Document = {
    "time_zone": "UTC",
    "attributes": {"orders": 3},
    "consents": [{**CONSENT, "text_version": "1"}],
    "addresses": [{"channel": "email", "address": "eve@example.com"}],
}
EVENT: Document = {
    "id": "e-1",
    "source": "shop",
    "type": "bounced",
    "at": "2026-01-01T00:00:00Z",
    "customer_id": "eve",
    "address": "eve@example.com",
    "channel": "email",
    "topic": "promotions",
    "campaign": "autumn",
    "message_id": "m-1",
    "value": 1,
    "margin": 0.5,
    "bounce": "soft",
    "suspect": False,
    "properties": {},
}
ASK: Document = {
    **ask("eve", "m-1", mode="check"),
    "campaign": "autumn",
    "team": "crm",
    "sender": "mailer",
    "priority": 50,
    "weight": 1,
    "send_at": "2026-01-01T00:00:00Z",
    "lease_s": 60,
    "on_expiry": "release",
}
CONTACT: Document = {"customer_id": "eve", "message_id": "m-1", "attempt": 1}
RECORD: Document = {
    **ask("eve", "m-1"),
    "at": "2026-01-01T00:00:00Z",
    "campaign": "autumn",
    "team": "crm",
    "sender": "mailer",
    "priority": 50,
    "weight": 1,
}
SUPPRESSION: Document = {
    "customer_id": "eve",
    "channel": "email",
    "topic": "promotions",
    "reason": "unsubscribe",
    "at": "2026-01-01T00:00:00Z",
    "source": "form",
    "binds_exempt": True,
}
PAUSE: Document = {
    "name": "outage",
    "channels": ["email"],
    "topics": ["promotions"],
    "campaigns": ["autumn"],
    "teams": ["crm"],
    "from": "2026-01-01T00:00:00Z",
    "until": "2026-01-02T00:00:00Z",
}
SINGLES: dict[str, tuple[str, str, Document]] = {
    "ask": ("POST", "/v1/decisions", ASK),
    "customer": ("PUT", "/v1/customers/eve", CUSTOMER),
    "preferences": ("PUT", "/v1/customers/eve/preferences", {"preferences": [{"channel": "email", "limit": 1}]}),
    "suppression": ("POST", "/v1/suppressions", SUPPRESSION),
    "lift": ("POST", "/v1/suppressions/lift", {"customer_id": "eve", "channel": "email", "topic": "promotions"}),
    "policy": ("POST", "/v1/policies", {"yaml": POLICY, "note": "a note"}),
    "validation": ("POST", "/v1/policies/validate", {"yaml": POLICY, "note": "a note"}),
    "pause": ("POST", "/v1/pauses", PAUSE),
}
LISTS: dict[str, tuple[str, str, Document]] = {
    "asks": ("/v1/decisions/batch", "answers", ASK),
    "customers": ("/v1/customers/batch", "results", {"customer_id": "eve", **CUSTOMER}),
    "contacts": ("/v1/contacts/confirm", "results", CONTACT),
    "releases": ("/v1/contacts/release", "results", CONTACT),
    "records": ("/v1/contacts/record", "results", RECORD),
    "events": ("/v1/events", "results", EVENT),
}

# Values as JSON texts: some of them no JSON library would write.
NEVER = ["[]", "{}", "[[[]]]", '{"a": 1}', "NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1.5", '"\\ud800"']
TEXTS = [*NEVER, "1", "true", '""', f'"{"a" * 201}"', '"a\\u0000b"', '"a\\nb"', '"\\udfff\\ud800"', '"a\\u007f"']
WORDS = [*TEXTS, '"pigeon"', '"EMAIL"', '" email"']
NUMBERS = [*NEVER, "true", '"1"', "-1", "1209601", "1e2", "18446744073709551616", "-0.0"]
INSTANTS = [
    *NEVER,
    "1767225600",
    '"1767225600"',
    "true",
    '""',
    '"2026-01-01"',
    '"2026-01-01T00:00:00"',
    '"2026-13-01T00:00:00Z"',
    '"2026-02-30T00:00:00Z"',
    '"9999-12-31T23:59:59-14:00"',
    '"0001-01-01T00:00:00+14:00"',
    '"1969-12-31T23:59:59Z"',
    '"2026-01-01T25:00:00Z"',
    '"2026-01-01T00:00:00+99:00"',
    '"now"',
]
ZONES = [*NEVER, '"+02:00"', '"UTC+2"', '"Etc/GMT-2"', '"EST"', '"europe/berlin"', '"../etc/passwd"', '"Mars/Olympus"']
FLAGS = [*NEVER, "0", '"true"', '"yes"']
VALUES = [*NEVER[:-2], '"\\ud800"', "null", f'"{"a" * 501}"', '"a\\u0000"', "9007199254740993", "1e300", "-1e18"]
FIELDS: dict[str, list[str]] = {
    "id": TEXTS,
    "message_id": TEXTS,
    "customer_id": TEXTS,
    "topic": TEXTS,
    "campaign": TEXTS,
    "team": TEXTS,
    "sender": TEXTS,
    "source": TEXTS,
    "text_version": TEXTS,
    "name": [*TEXTS, '"Outage"', '"a b"', '"-a"', f'"{"a" * 101}"'],
    "channel": WORDS,
    "reason": WORDS,
    "mode": WORDS,
    "on_expiry": WORDS,
    "priority": NUMBERS,
    "weight": [*NUMBERS, "0"],
    "attempt": [*NUMBERS, "0"],
    "limit": NUMBERS,
    "lease_s": [*NUMBERS, "0"],
    "at": INSTANTS,
    "send_at": INSTANTS,
    "from": INSTANTS,
    "until": INSTANTS,
    "time_zone": ZONES,
    "given": FLAGS,
    "binds_exempt": FLAGS,
    "orders": VALUES,
    "note": [*NEVER, "1", '"a\\u0000"', f'"{"a" * 2001}"'],
    "yaml": [*NEVER, "1", '""', f'"{"a" * 262_145}"'],
    "attributes": ["[]", "1", '""', json.dumps({str(n): n for n in range(101)}), '{"\\ud800": 1}', '{"": 1}'],
    "consents": ["{}", "1", "[1]", json.dumps([CONSENT] * 101)],
    "preferences": ["{}", "1", "[1]", "null", json.dumps([{"channel": "email", "limit": 1}] * 101)],
    "type": [*TEXTS, '"Sent"', '"opted_down"', '"erased"', '"1st"', '"a b"', f'"{"a" * 65}"'],
    "value": [*NEVER[:-2], '"1"', "true", "9007199254740993", "-1e300", '"\\ud800"'],
    "margin": [*NEVER[:-2], '"1"', "true"],
    "bounce": WORDS,
    "suspect": FLAGS,
    "address": [
        *NEVER,
        "1",
        '""',
        '"nobody"',
        '"@example.com"',
        '"eve@"',
        '"e ve@example.com"',
        '"eve@example.com\\u0000"',
    ],
    "addresses": ["{}", "1", "[1]", json.dumps([{"channel": "email", "address": "eve@example.com"}] * 51)],
    "properties": [
        "[]",
        "1",
        '""',
        *(f'{{"a": {value}}}' for value in [*NEVER[4:-2], '"\\ud800"', '"a\\u0000"', "9007199254740993", "[[[[1]]]]"]),
        json.dumps({"a": list(range(500))}),
        json.dumps({"a": "b" * 8_001}),
        '{"\\ud800": 1}',
        '{"a": {"a": {"a": {"a": {}}}}}',
    ],
    "channels": ['"email"', "[]", '["pigeon"]', '["\\ud800"]', json.dumps(["email"] * 7)],
    "topics": ['"a"', "[]", '[""]', '["\\ud800"]', json.dumps(["a"] * 501)],
    "campaigns": ["[]", '["a\\u0000"]'],
    "teams": ["[]", "[1]"],
}


def places(document: Any, path: str = "") -> list[tuple[str, str]]:
    """Each field of a document: its path, and its text with a mark in its place."""
    found: list[tuple[str, str]] = []

    def walk(value: Any, path: str, put: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                inner = f"{path}.{key}" if path else key
                found.append((inner, json.dumps(put({**value, key: MARK}))))
                walk(each, inner, lambda new, key=key, value=value, put=put: put({**value, key: new}))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                walk(each, f"{path}[{index}]", lambda new, i=index, v=value, put=put: put([*v[:i], new, *v[i + 1 :]]))

    walk(document, path, lambda new: new)
    return found


def bad_values(path: str) -> list[str]:
    return FIELDS[path.rpartition(".")[2]]
