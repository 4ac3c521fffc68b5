"""The register of personal data: every column of every table, and how it is told to the person it is about.

Columns of `PERSONAL` are exported and erased. Those of `IMPERSONAL` say why they are not; a test holds both against the
tables there are, so that a new column is either told and erased, or accounted for.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from engine.core.account_row import decode
from engine.core.customer import Address
from engine.core.verdict import Code
from engine.store.database import Connection, Row
from engine.store.labels import Labels

Told: TypeAlias = Callable[[Any, Labels], Any]  # what a value of a column is in JSON

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CODES: Final = tuple(Code)


def _plain(value: Any, labels: Labels) -> Any:
    return value


def _label(value: Any, labels: Labels) -> Any:
    return labels.name(value)


def _at(value: Any, labels: Labels) -> Any:
    return None if not value else (_EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")


def _hex(value: Any, labels: Labels) -> Any:
    return bytes(value).hex()


def _reasons(value: Any, labels: Labels) -> Any:
    found = struct.iter_unpack("<BI", bytes(value or b""))
    return [{"code": _CODES[code].value, "rule": labels.name(rule)} for code, rule in found]


def _names(value: Any, labels: Labels) -> Any:
    return [labels.name(number) for (number,) in struct.iter_unpack("<I", bytes(value or b""))]


def _contacts(value: Any, labels: Labels) -> Any:
    contacts, totals = decode(value, labels.lexicon)
    told: list[dict[str, Any]] = []
    for each in contacts:
        fields = each._asdict()
        told.append({**fields, "labels": list(each.labels), "lease": each.lease.name, "kind": each.kind.name})
    return {
        "contacts": told,
        "totals": [{"channel": channel, "topic": topic, "weight": each} for (channel, topic), each in totals.items()],
    }


_ASK: Final[Mapping[str, Told]] = {
    **dict.fromkeys(("at_us", "start_us", "end_us"), _at),
    **dict.fromkeys(("topic", "campaign", "team", "sender", "channel"), _label),
    **dict.fromkeys(("seq", "ruleset", "weight", "priority", "attempt", "flags", "customer_id", "message_id"), _plain),
    "reasons": _reasons,
}
PERSONAL: Final[Mapping[str, Mapping[str, Told]]] = {
    "accounts": {
        **dict.fromkeys(("latest_us", "complete_since_us"), _at),
        **dict.fromkeys(("seq", "customer_id"), _plain),
        "contacts": _contacts,
    },
    "openings": {
        **dict.fromkeys(("latest_us", "complete_since_us"), _at),
        **dict.fromkeys(("seq", "customer_id"), _plain),
        "totals": _contacts,
    },
    "customers": dict.fromkeys(
        (
            "customer_id",
            "time_zone",
            "attributes",
            "consents",
            "suppressions",
            "preferences",
            "outcomes",
            "addresses",
            "variants",
            "merged_into",
        ),
        _plain,
    ),
    "journal": {**_ASK, "message_key": _plain, "uncharged": _names},
    "refusals": {**_ASK, "retry_at_us": _at},
    "resolutions": {
        **dict.fromkeys(("at_us", "end_us"), _at),
        **dict.fromkeys(("seq", "contact_seq", "kind", "customer_id"), _plain),
    },
    "changes": {"at_us": _at, **dict.fromkeys(("seq", "kind", "customer_id", "data"), _plain)},
    "events": {
        **dict.fromkeys(("at_us", "received_us"), _at),
        **dict.fromkeys(("kind", "source", "topic", "campaign", "channel"), _label),
        **dict.fromkeys(
            (
                "event_key",
                "message_key",
                "value",
                "margin",
                "flags",
                "customer_id",
                "event_id",
                "message_id",
                "properties",
            ),
            _plain,
        ),
    },
    "exposures": {
        **dict.fromkeys(("assigned_us", "eligible_us", "diverged_us"), _at),
        **dict.fromkeys(("experiment", "variant", "phase", "flags", "customer_id", "segments"), _plain),
    },
    # Of these the rows of the person's addresses.
    "addresses": {"channel": _label, "address": _hex, "customer_id": _plain},
    "suppressed_addresses": {
        "at_us": _at,
        "channel": _label,
        "address": _hex,
        **dict.fromkeys(("reason", "source"), _plain),
    },
    "unresolved_events": {
        "received_us": _at,
        "channel": _label,
        "address": _hex,
        **dict.fromkeys(("event_key", "data"), _plain),
    },
}
BY_ADDRESS: Final = ("addresses", "suppressed_addresses", "unresolved_events")
_OURS: Final = "what the deployment is and does, apart from any customer"
_COUNTS: Final = "counts of many customers"
IMPERSONAL: Final[Mapping[str, str]] = {
    "deployment": _OURS,
    "labels": "names of topics, campaigns, teams, senders, rules and kinds of events, which all customers share",
    "policies": _OURS,
    "rulesets": "rules for all; the plans in them name testers, who are staff",
    "keys": "of machines and of staff",
    "sign_in_links": "of keys",
    "experiments": "plans; the testers that one may name are staff, and an erasure says in which plans it found an id",
    "experiment_log": "what staff did to experiments",
    "snapshots": _COUNTS,
    "holdouts": _OURS,
    "holdout_readouts": _COUNTS,
    "holdout_units": "random ids of who was erased, as readouts of holdouts need them: written by the erasure itself",
    "daily_totals": _COUNTS,
    "hourly_asks": _COUNTS,
    "hourly_crowding": _COUNTS,
    "budget_levels": _COUNTS,
    "daily_outcomes": _COUNTS,
    "counted_until": _OURS,
    "provider_rates": _COUNTS,
    "kept_since": _OURS,
    "secrets": _OURS,
    "job_runs": _OURS,
    "alarms": "of experiments, channels and campaigns",
    "erased": "keyed digests of ids of which nothing else is kept: to whom one belongs only its id can tell",
}


async def rows(
    connection: Connection, labels: Labels, customer_ids: Sequence[str], addresses: Sequence[Address]
) -> dict[str, list[dict[str, Any]]]:
    """Everything on file about a person, by table, each row by its columns; instants as RFC 3339."""
    found: dict[str, list[dict[str, Any]]] = {}
    channels = [labels.number(each.channel) for each in addresses]
    digests = [bytes.fromhex(each.digest) for each in addresses]
    for table, columns in PERSONAL.items():
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE "
        if table in BY_ADDRESS:
            query += "(channel, address) IN (SELECT * FROM unnest(%s::smallint[], %s::bytea[])) ORDER BY 1, 2"
            given: tuple[Any, ...] = (channels, digests)
        else:
            query += "customer_id = ANY(%s) ORDER BY 1"
            given = (list(customer_ids),)
        read = await (await connection.execute(query.encode(), given)).fetchall()
        told = await labels.known(connection, partial(_told, columns, read, labels))
        found[table] = [each for each in told if each.get("customer_id", customer_ids[0]) in customer_ids]
    return found


def _told(columns: Mapping[str, Told], rows: Sequence[Row], labels: Labels) -> list[dict[str, Any]]:
    return [
        {
            name.removesuffix("_us"): tell(value, labels)
            for (name, tell), value in zip(columns.items(), row, strict=True)
        }
        for row in rows
    ]
