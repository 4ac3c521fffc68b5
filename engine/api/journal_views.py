"""A customer and a journal entry as JSON, in words that a person can follow."""

from typing import Any

from engine.api.schemas import instant
from engine.core.customer import Customer
from engine.core.suppression import Scope
from engine.operations.look import View
from engine.store.journal import Changed, Entry, Message, Refusal, Resolved


def view_data(view: View) -> dict[str, Any]:
    return {
        "customer_id": view.customer_id,
        **file_data(view.customer),
        "budgets": [
            {
                "budget": line.budget,
                "kept_for": kept_for,
                "limit": line.limit,
                "used": line.used,
                "left": max(line.limit - line.used, 0),
                "frees_at": _instant(line.frees_at_us),
                "shadow": line.shadow,
            }
            for line, kept_for in view.standings
        ],
        "contacts": [
            {
                "seq": each.seq,
                "state": each.state(view.now_us).label,
                "channel": each.channel,
                "topic": each.topic,
                "campaign": each.campaign,
                "team": each.team,
                "from": instant(each.start_us),
                "until": instant(each.end_us),
            }
            for each in view.contacts
        ],
        "ruleset": view.ruleset,
        "at": instant(view.now_us),
    }


def file_data(customer: Customer) -> dict[str, Any]:
    return {
        "time_zone": customer.time_zone,
        "attributes": dict(customer.attributes),
        "consents": [
            {
                **_scope(each.scope),
                "given": each.given,
                "at": instant(each.at_us),
                "source": each.source,
                "text_version": each.text_version,
            }
            for each in customer.consents
        ],
        "suppressions": [
            {
                **_scope(each.scope),
                "reason": each.reason.value,
                "at": instant(each.at_us),
                "source": each.source,
                "binds_exempt": each.binds_exempt,
            }
            for each in customer.suppressions
        ],
        "preferences": [
            {"channel": each.channel, "topic": each.topic, "limit": each.limit} for each in customer.preferences
        ],
    }


def entry_data(entry: Entry) -> dict[str, Any]:
    """One journal entry; `entry` names its kind."""
    match entry:
        case Message():
            return {
                **_asked(entry),
                "entry": "contact",
                "verdict": "allow",
                "how": entry.kind.name.lower(),
                "lease_expires_at": instant(entry.end_us),
                "retry_at": None,
            }
        case Refusal():
            return {
                **_asked(entry),
                "entry": "check" if entry.checked else "refusal",
                "verdict": entry.verdict.value,
                "retry_at": _instant(entry.retry_at_us),
                "retry_certain": entry.retry_certain,
            }
        case Resolved():
            return {
                "entry": "resolution",
                "seq": entry.seq,
                "at": instant(entry.at_us),
                "contact_seq": entry.contact_seq,
                "became": entry.resolution.name.lower(),
            }
        case Changed():
            return {
                "entry": "change",
                "seq": entry.seq,
                "at": instant(entry.at_us),
                "changed": entry.change.name.lower(),
                "to": entry.data,
            }


def _asked(entry: Message | Refusal) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": instant(entry.at_us),
        "message_id": entry.message_id,
        "attempt": entry.attempt,
        "channel": entry.channel,
        "topic": entry.topic,
        "campaign": entry.campaign,
        "team": entry.team,
        "sender": entry.sender,
        "weight": entry.weight,
        "priority": entry.priority,
        "send_at": instant(entry.start_us) if entry.send_at_given else None,
        "reasons": [{"code": code.value, "rule": rule, "text": code.sentence} for code, rule in entry.reasons],
        "observed": entry.observed.value if entry.observed else None,
        "ruleset": entry.ruleset,
    }


def _scope(scope: Scope) -> dict[str, Any]:
    return {"channel": scope.channel, "topic": scope.topic}


def _instant(at_us: int | None) -> Any:
    return None if at_us is None else instant(at_us)
