"""A customer and a journal entry as JSON, in words that a person can follow."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from engine.api.schemas import instant
from engine.core.customer import Customer, Membership, Preference
from engine.core.outcomes import Case, Outcomes
from engine.core.suppression import Consent, Scope, Suppression, in_force
from engine.operations.look import View
from engine.store.customers import (
    addresses_of,
    consents_of,
    outcomes_of,
    preferences_of,
    suppressions_of,
    variants_of,
)
from engine.store.journal import Change, Changed, Entry, Message, Refusal, Resolved

Names: TypeAlias = Mapping[int, tuple[str, tuple[str, ...]]]


def view_data(view: View) -> dict[str, Any]:
    return {
        "customer_id": view.customer_id,
        **file_data(view.customer),
        "open_cases": [_case(each) for each in view.customer.open_cases],
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
                "state": each.state(view.now_us).value,
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
        "consents": [_consent(each) for each in customer.consents],
        "suppressions": [_suppression(each) for each in customer.in_force],
        "preferences": [_preference(each) for each in customer.preferences],
    }


def entry_data(entry: Entry, experiments: Names) -> dict[str, Any]:
    """One journal entry; `entry` names its kind. `experiments`: what those are called that it may name."""
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
                "to": _changed(entry, experiments),
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


def _changed(entry: Changed, experiments: Names) -> dict[str, Any]:
    match entry.change:
        case Change.PROFILE:
            return {**entry.data, "consents": [_consent(each) for each in consents_of(entry.data["consents"])]}
        case Change.SUPPRESSIONS:
            return {"suppressions": [_suppression(each) for each in in_force(suppressions_of(entry.data), ())]}
        case Change.PREFERENCES:
            return {"preferences": [_preference(each) for each in preferences_of(entry.data)]}
        case Change.OUTCOMES:
            return _outcomes(outcomes_of(entry.data))
        case Change.ADDRESSES:
            return {"addresses": [{"channel": each.channel} for each in addresses_of(entry.data)]}
        case Change.VARIANTS:
            memberships = variants_of(entry.data)
            return {"variants": [_membership(number, each, experiments) for number, each in memberships.items()]}
        case Change.MERGED:
            return {name: entry.data[name] for name in ("of", "into") if name in entry.data}


def _outcomes(outcomes: Outcomes) -> dict[str, Any]:
    return {
        "seen": {name: instant(at_us) for name, at_us in outcomes.seen.items()},
        "cases": [_case(each) for each in outcomes.cases],
        "soft_bounces": [{"channel": each.channel, "at": instant(each.at_us)} for each in outcomes.soft_bounces],
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "opened_by": case.from_event,
        "case": case.name,
        "opened_at": _instant(case.opened_us or None),
        "closed_at": _instant(case.closed_us or None),
    }


def _membership(number: int, found: Membership, experiments: Names) -> dict[str, Any]:
    key, variants = experiments.get(number, (str(number), ()))
    name = variants[found.variant] if found.variant < len(variants) else str(found.variant)
    return {"experiment": key, "variant": name, "stage": found.stage.name.lower()}


def _consent(consent: Consent) -> dict[str, Any]:
    return {
        **_scope(consent.scope),
        "given": consent.given,
        "at": instant(consent.at_us),
        "source": consent.source,
        "text_version": consent.text_version,
    }


def _suppression(suppression: Suppression) -> dict[str, Any]:
    return {
        **_scope(suppression.scope),
        "reason": suppression.reason.value,
        "at": instant(suppression.at_us),
        "source": suppression.source,
        "binds_exempt": suppression.binds_exempt,
    }


def _preference(preference: Preference) -> dict[str, Any]:
    return {"channel": preference.channel, "topic": preference.topic, "limit": preference.limit}


def _scope(scope: Scope) -> dict[str, Any]:
    return {"channel": scope.channel, "topic": scope.topic}


def _instant(at_us: int | None) -> Any:
    return None if at_us is None else instant(at_us)
