"""All that is known after a run: what clients and the provider wrote down, what was broken when, and the database.

The tables are read with plain SQL and decoded here anew, as simply as possible. Nothing of the engine is imported: a
fault that its writer and its reader share would stay unseen.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.chaos.records import read_logs

CONFIRMED, RELEASED, REVOKED, LATE, MARKED = 1, 2, 3, 4, 5
RELEASES, PRESUMED = 1, 2
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Contact(NamedTuple):
    """A row of the journal. `lease`: what its end means, RELEASES or PRESUMED."""

    customer: str
    seq: int
    at: int
    start: int
    end: int
    message: str
    attempt: int
    channel: str
    topic: str
    campaign: str
    lease: int
    ruleset: int


class Refusal(NamedTuple):
    customer: str
    seq: int
    at: int
    start: int
    end: int
    message: str
    channel: str
    campaign: str
    rules: tuple[str, ...]


class Resolution(NamedTuple):
    customer: str
    seq: int
    at: int
    contact: int
    end: int
    kind: int


class Change(NamedTuple):
    customer: str
    seq: int
    at: int
    topics: tuple[str, ...]


Entry = Contact | Refusal | Resolution | Change


class Asked(NamedTuple):
    """A definite answer to an ask; `expires` is 0 unless it permits sending."""

    customer: str
    message: str
    attempt: int
    allowed: bool
    topic: str
    state: str | None
    decided: int
    expires: int
    ruleset: int
    replayed: bool
    asked: int
    got: int

    @property
    def is_fresh(self) -> bool:
        """Whether it made a contact."""
        return self.allowed and not self.replayed


class Resolved(NamedTuple):
    """A definite answer to a confirm or a release."""

    customer: str
    message: str
    attempt: int
    state: str
    applied: bool
    at: int


class Unsubscribed(NamedTuple):
    customer: str
    topic: str
    got: int


class Activated(NamedTuple):
    got: int
    ruleset: int


class Unanswered(NamedTuple):
    """A request that never had a definite answer, or a definite one that nobody expected."""

    text: str
    customer: str
    at: int


class Try(NamedTuple):
    """One request that brought no definite answer, or did: with what came back."""

    op: str
    asked: int
    got: int
    status: int
    retry_after: str | None
    port: int
    customer: str
    allowed: bool


class Send(NamedTuple):
    customer: str
    message: str
    attempt: int
    channel: str
    campaign: str
    at: int


class Down(NamedTuple):
    """A time in which nobody could decide, or with a customer named, nothing about that one."""

    why: str
    since: int
    until: int
    customer: str | None


@dataclass
class Evidence:
    asks: list[Asked] = field(default_factory=list)
    resolved: list[Resolved] = field(default_factory=list)
    unsubscribed: list[Unsubscribed] = field(default_factory=list)
    activated: list[Activated] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    downs: list[Down] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    last_seq: dict[str, int] = field(default_factory=dict)
    suppressed: set[tuple[str, str]] = field(default_factory=set)
    rulesets: set[int] = field(default_factory=set)


def gather(folder: Path, url: str) -> Evidence:
    """The evidence of a run whose clients have ended."""
    found = Evidence()
    _read_clients(found, read_logs(folder, "client-*.jsonl"))
    for each in read_logs(folder, "provider-*.jsonl"):
        found.sends.append(
            Send(each["customer"], each["message"], each["attempt"], each["channel"], each["campaign"], each["t"])
        )
    for each in read_logs(folder, "nemesis.jsonl"):
        if each["kind"] == "down":
            found.downs.append(Down(each["why"], each["from"], each["until"], each.get("customer")))
        elif each["kind"] == "fault":
            found.faults.append(each)
    _read_database(found, url)
    return found


def _read_clients(found: Evidence, lines: Iterable[Mapping[str, Any]]) -> None:
    open_: dict[str, Mapping[str, Any]] = {}
    for each in lines:
        if each["kind"] == "intent":
            open_[each["id"]] = each
            continue
        intent = open_[each["id"]]
        answer, body = each.get("body"), intent["body"]
        allowed = each["status"] == 200 and isinstance(answer, dict) and answer.get("verdict") == "allow"
        retry_after, customer = each.get("retry_after"), body.get("customer_id", "")
        found.tries.append(
            Try(intent["op"], each["asked"], each["t"], each["status"], retry_after, each["port"], customer, allowed)
        )
        if each.get("definite"):
            _read_answer(found, intent["op"], body, each)
            del open_[each["id"]]
    for intent in open_.values():
        text = f"{intent['op']} {intent['body']} was never answered"
        found.unanswered.append(Unanswered(text, intent["body"].get("customer_id", ""), intent["t"]))


def _read_answer(found: Evidence, op: str, body: Mapping[str, Any], line: Mapping[str, Any]) -> None:
    answer, asked, got = line["body"], line["asked"], line["t"]
    customer = body.get("customer_id", "")
    item = answer["results"][0] if "results" in answer else answer
    if op == "ask" and line["status"] == 422 and item["code"] == "message_reused":
        return
    if op == "revoked key" and line["status"] == 401:
        return
    if line["status"] != 200 or "error" in item:
        found.unanswered.append(Unanswered(f"{op} {body} was answered {line['status']}: {item}", customer, got))
    elif op == "ask":
        allowed, state = item["verdict"] == "allow", item["state"]
        expires = us_of(item["lease_expires_at"]) if state == "reserved" else 0
        about = customer, item["message_id"], item["attempt"], allowed, body["topic"], state, us_of(item["decided_at"])
        found.asks.append(Asked(*about, expires, item["ruleset"], item["replayed"], asked, got))
    elif op in ("confirm", "release"):
        about = item["message_id"], item["attempt"], item["state"], item["applied"], us_of(item["at"])
        found.resolved.append(Resolved(item["customer_id"], *about))
    elif op == "suppress":
        found.unsubscribed.append(Unsubscribed(customer, body["topic"], got))
    elif op == "activate":
        found.activated.append(Activated(got, item["ruleset"]))


def us_of(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def _read_database(found: Evidence, url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query.encode()).fetchall()

        names: dict[int, str] = dict(rows("SELECT number, name FROM labels"))
        names[0] = ""
        entries: dict[str, list[Entry]] = defaultdict(list)
        for *row, channel, topic, campaign, flags, ruleset in rows(
            "SELECT customer_id, seq, at_us, start_us, end_us, message_id, attempt, channel, topic, campaign, flags,"
            " ruleset FROM journal"
        ):
            labels = names[channel], names[topic], names[campaign]
            entries[row[0]].append(Contact._make((*row, *labels, flags & 3, ruleset)))
        for *row, channel, campaign, reasons in rows(
            "SELECT customer_id, seq, at_us, start_us, end_us, message_id, channel, campaign, reasons FROM refusals"
        ):
            rules = tuple(names[label] for _, label in struct.iter_unpack("<BI", reasons or b""))
            entries[row[0]].append(Refusal._make((*row, names[channel], names[campaign], rules)))
        for row in rows("SELECT customer_id, seq, at_us, contact_seq, end_us, kind FROM resolutions"):
            entries[row[0]].append(Resolution(*row))
        for *row, data in rows("SELECT customer_id, seq, at_us, data FROM changes WHERE kind = 2"):
            entries[row[0]].append(Change._make((*row, tuple(each["topic"] for each in data))))
        found.entries = {customer: sorted(each, key=_order) for customer, each in entries.items()}
        for customer, data in rows("SELECT customer_id, suppressions FROM customers WHERE suppressions IS NOT NULL"):
            found.suppressed |= {(customer, each["topic"]) for each in data}
        found.last_seq = dict(rows("SELECT customer_id, seq FROM accounts"))
        found.rulesets = {number for (number,) in rows("SELECT number FROM rulesets")}


def _order(entry: Entry) -> tuple[int, int]:
    return entry.seq, entry.at
