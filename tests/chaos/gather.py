"""Reads the evidence of a run: the logs that its clients, the provider and the nemesis left, and the tables.

The tables are read with plain SQL and decoded here anew, as simply as possible. Nothing of the engine is imported: a
fault that its writer and its reader share would stay unseen.
"""

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.chaos.evidence import (
    DIVERGED,
    NEVER,
    SUPPRESSIONS,
    VARIANTS,
    Activated,
    Asked,
    Change,
    Chose,
    Contact,
    Down,
    Entry,
    Evidence,
    Refusal,
    Resolution,
    Resolved,
    Scope,
    Send,
    Step,
    Told,
    Try,
    Unanswered,
    us_of,
)
from tests.chaos.policy import DOSES
from tests.chaos.records import read_logs

_NOW: Final = re.compile(r"at most a minute after now, ([^ ]+): ")
_MINUTE_US: Final = 60_000_000


def gather(folder: Path, url: str) -> Evidence:
    """The evidence of a run whose clients have ended."""
    found = Evidence()
    _read_clients(found, read_logs(folder, "client-*.jsonl"))
    leaves: dict[tuple[str, str, int], list[Asked]] = defaultdict(list)
    for ask in found.asks:
        if ask.expires:
            leaves[ask[:3]].append(ask)
    for each in read_logs(folder, "provider-*.jsonl"):
        message = each["customer"], each["message"], each["attempt"]
        since = min((ask.since for ask in leaves[message]), default=0)
        got = max((ask.got for ask in leaves[message]), default=0)
        found.sends.append(Send(*message, each["channel"], each["campaign"], each["t"], since, got))
    for each in read_logs(folder, "nemesis.jsonl"):
        if each["kind"] == "down":
            found.downs.append(Down(each["why"], each["from"], each["until"], each.get("customer")))
        elif each["kind"] == "clock":
            found.steps.append(Step(each["from"], each["until"], tuple(each["leap"]), each["by"]))
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
        retry_after, customer = each.get("retry_after"), _customer(body)
        found.tries.append(
            Try(intent["op"], each["asked"], each["t"], each["status"], retry_after, each["port"], customer, allowed)
        )
        if each.get("definite"):
            _read_answer(found, intent, each)
            del open_[each["id"]]
    for intent in open_.values():
        text = f"{intent['op']} {intent['body']} was never answered"
        found.unanswered.append(Unanswered(text, _customer(intent["body"]), intent["t"]))


def _customer(body: Mapping[str, Any]) -> str:
    (one, *_) = body.get("events") or [body]
    return one.get("customer_id", "")


def _read_answer(found: Evidence, intent: Mapping[str, Any], line: Mapping[str, Any]) -> None:
    op, body, answer, asked, got = intent["op"], intent["body"], line["body"], line["asked"], line["t"]
    customer = _customer(body)
    item = answer["results"][0] if "results" in answer else answer
    if _is_refused_rightly(op, body, line, item):
        return
    if line["status"] not in (200, 201) or any("error" in each for each in (item, *answer.get("results", ()))):
        found.unanswered.append(Unanswered(f"{op} {body} was answered {line['status']}: {item}", customer, got))
    elif op == "ask":
        allowed, state = item["verdict"] == "allow", item["state"]
        expires = us_of(item["lease_expires_at"]) if state == "reserved" else 0
        about = customer, item["message_id"], item["attempt"], allowed, body["topic"], state, us_of(item["decided_at"])
        more = item["ruleset"], item["replayed"], asked, got, body["channel"], item["variants"]
        found.asks.append(Asked(*about, expires, *more, intent["t"]))
    elif op in ("confirm", "release"):
        about = item["message_id"], item["attempt"], item["state"], item["applied"], us_of(item["at"])
        found.resolved.append(Resolved(item["customer_id"], *about, intent["t"], got))
    elif op in ("suppress", "click"):
        found.chosen.append(Chose(customer, body.get("channel"), body["topic"], True, intent["t"], got))
    elif op == "event":
        for event in body["events"]:
            _read_event(found, event, intent["t"], got)
    elif op == "activate":
        found.activated.append(Activated(got, item["ruleset"]))
    elif op == "start":
        ran = found.ran[item["key"]]
        ran.since, ran.began = intent["t"], got
    elif op == "stop":
        ran = found.ran[item["key"]]
        ran.ending, ran.ended = intent["t"], got


def _is_refused_rightly(op: str, body: Mapping[str, Any], line: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    if op == "ask":
        return line["status"] == 422 and item["code"] == "message_reused"
    if op == "revoked key":
        return line["status"] == 401
    return op == "event" and body["events"][0]["type"] == "resubscribed" and _is_clock_back(item, line["asked"])


def _is_clock_back(item: Mapping[str, Any], asked: int) -> bool:
    """No yes may lie ahead: so says a service for which it is more than a minute earlier than when it was asked."""
    for each in item.get("error", {}).get("problems", ()):
        if each["path"] == "events[0].at" and (now := _NOW.search(each["expected"])) is not None:
            return us_of(now[1]) < asked - _MINUTE_US
    return False


def _read_event(found: Evidence, event: Mapping[str, Any], since: int, got: int) -> None:
    customer, type_ = event["customer_id"], event["type"]
    is_send = type_ in ("sent", "delivered")
    found.told.add(Told(customer, event["id"], event["message_id"] if is_send else None))
    if type_ in ("unsubscribed", "resubscribed"):
        closes = type_ == "unsubscribed"
        found.chosen.append(Chose(customer, event.get("channel"), event["topic"], closes, since, got))


def _read_database(found: Evidence, url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query.encode()).fetchall()

        names: dict[int, str] = dict(rows("SELECT number, name FROM labels"))
        names[0] = ""
        running, found.entered, diverged = _experiments(rows)

        def dose(customer: str, ruleset: int, seq: int, at: int, *, alike: int | None) -> int | None:
            """The variant's from the ask on at which variants differ; before it what is `alike` in all of them.

            While time stands still, what was asked before bears the same instant: its entry has a smaller number.
            """
            variants = [
                (each, found.entered[customer, each]) for each in running[ruleset] if (customer, each) in diverged
            ]
            for key, variant in variants:
                return DOSES[variant] if (at, seq) > diverged[customer, key] else alike
            return None

        entries: dict[str, list[Entry]] = defaultdict(list)
        for *row, channel, topic, campaign, flags, ruleset in rows(
            "SELECT customer_id, seq, at_us, start_us, end_us, message_id, attempt, channel, topic, campaign, flags,"
            " ruleset FROM journal"
        ):
            labels = names[channel], names[topic], names[campaign]
            more = (
                flags & 3,
                ruleset,
                not flags >> 2 & 3,
                dose(row[0], ruleset, row[1], row[2], alike=min(DOSES.values())),
            )
            entries[row[0]].append(Contact._make((*row, *labels, *more)))
        for *row, channel, campaign, reasons, ruleset in rows(
            "SELECT customer_id, seq, at_us, start_us, end_us, message_id, channel, campaign, reasons, ruleset"
            " FROM refusals"
        ):
            rules = tuple(names[label] for _, label in struct.iter_unpack("<BI", reasons or b""))
            more = names[channel], names[campaign], rules, dose(row[0], ruleset, row[1], row[2], alike=None)
            entries[row[0]].append(Refusal._make((*row, *more)))
        for row in rows("SELECT customer_id, seq, at_us, contact_seq, end_us, kind FROM resolutions"):
            entries[row[0]].append(Resolution(*row))
        for *row, kind, data in rows("SELECT customer_id, seq, at_us, kind, data FROM changes"):
            entries[row[0]].append(Change._make((*row, frozenset(_closed(data)) if kind == SUPPRESSIONS else None)))
        found.entries = {customer: sorted(each, key=_order) for customer, each in entries.items()}
        for customer, data in rows("SELECT customer_id, suppressions FROM customers WHERE suppressions IS NOT NULL"):
            found.suppressed |= {(customer, *scope) for scope in _closed(data)}
        found.last_seq = dict(rows("SELECT customer_id, seq FROM accounts"))
        found.rulesets = {number for (number,) in rows("SELECT number FROM rulesets")}
        found.events = Counter(rows("SELECT customer_id, event_id FROM events"))


def _closed(facts: Iterable[Mapping[str, Any]]) -> Iterable[Scope]:
    """Of all that is on file, what was told and not lifted since."""
    return ((each["channel"], each["topic"]) for each in facts if each["at_us"] >= max(each.get("lifted_us", 0), 1))


def _experiments(
    rows: Callable[[str], list[tuple[Any, ...]]],
) -> tuple[dict[int, list[str]], dict[tuple[str, str], str], dict[tuple[str, str], tuple[int, int]]]:
    """The experiments that ran under each ruleset; by customer and experiment the variant, and since when and which
    entry it told."""
    variants: dict[int, tuple[str, list[str]]] = {
        number: (key, [each["name"] for each in plan["variants"]])
        for number, key, plan in rows("SELECT number, key, plan FROM experiments")
    }
    running = {
        number: [variants[each["number"]][0] for each in listed]
        for number, listed in rows("SELECT number, experiments FROM rulesets")
    }
    entered: dict[tuple[str, str], str] = {}
    diverged: dict[tuple[str, str], tuple[int, int]] = {}
    for customer, experiment, place, diverged_us, seq in rows(
        "SELECT customer_id, experiment, variant, diverged_us, coalesce((SELECT min(c.seq) FROM changes c"
        f" CROSS JOIN jsonb_array_elements(CASE WHEN c.kind = {VARIANTS} THEN c.data ELSE '[]' END) now(place)"
        " WHERE c.customer_id = e.customer_id AND (now.place ->> 0)::int = e.experiment"
        f" AND (now.place ->> 2)::int = {DIVERGED}), 0)"
        " FROM exposures e"
    ):
        key, names = variants[experiment]
        entered[customer, key] = names[place]
        diverged[customer, key] = NEVER if diverged_us is None else diverged_us, seq
    return running, entered, diverged


def _order(entry: Entry) -> tuple[int, int]:
    return entry.seq, entry.at
