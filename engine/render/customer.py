"""The page of a customer: what is left of their budgets, what is on file, and why each message was sent or was not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from engine.core.account import Contact, Kind
from engine.core.customer import Customer, Membership
from engine.core.outcomes import Outcomes
from engine.core.policy import Channel
from engine.core.standing import Standing
from engine.core.suppression import Scope, in_force
from engine.core.verdict import Verdict
from engine.render.frame import Frame, at, name, page
from engine.store.customers import consents_of, outcomes_of, preferences_of, suppressions_of, variants_of
from engine.store.journal import Change, Changed, Entry, Message, Refusal, Resolved

_VERDICTS: Final = {Verdict.ALLOW: "allowed", Verdict.DEFER: "deferred", Verdict.DENY: "denied"}
_CHANGES: Final = {
    Change.PROFILE: "On file",
    Change.SUPPRESSIONS: "Suppressions",
    Change.PREFERENCES: "Own choices",
    Change.OUTCOMES: "What they did",
    Change.ADDRESSES: "Addresses",
    Change.VARIANTS: "Variants",
    Change.MERGED: "Merged",
}


class Told(NamedTuple):
    """An entry of the journal as the page tells it. `tone`: good, bad or open. `why`: (rule, sentence) of a refusal."""

    seq: int
    at_us: int
    title: str
    tone: str
    what: Markup
    why: list[tuple[str, str]]
    notes: list[Markup]


@dataclass(frozen=True, slots=True)
class Person:
    """All that the page is about. `entries` are of the journal, the newest first; `before` leads to older ones.
    `experiments`: what those that the entries name are called, the key and each variant's name."""

    customer_id: str
    customer: Customer
    standings: Sequence[Standing]
    contacts: Sequence[Contact]
    entries: Sequence[Entry]
    experiments: Mapping[int, tuple[str, tuple[str, ...]]]
    before: int | None
    is_first_page: bool


def customers_page(frame: Frame) -> str:
    """Where a customer is looked up."""
    return page("customers.html", frame)


def customer_page(frame: Frame, person: Person) -> str:
    """One customer, as of the frame's instant."""
    contacts = {each.seq: each for each in person.entries if isinstance(each, Message)}
    told = [_told(each, contacts, person.experiments) for each in person.entries]
    return page(
        "customer.html",
        frame,
        person=person,
        told=told,
        suppressions=[(scoped(each.scope), each) for each in person.customer.in_force],
        choices=[(each.channel or each.topic or "", each.limit) for each in person.customer.preferences],
        all_channels=[each.value for each in Channel],
    )


def scoped(scope: Scope) -> Markup:
    """A scope in words."""
    if scope.channel is None and scope.topic is None:
        return Markup("everything")
    if scope.topic is None:
        return Markup("{}, every topic").format(scope.channel)
    if scope.channel is None:
        return Markup("{}, in every channel").format(name(scope.topic))
    return Markup("{}, {}").format(scope.channel, name(scope.topic))


def _told(
    entry: Entry, contacts: Mapping[int, Message], experiments: Mapping[int, tuple[str, tuple[str, ...]]]
) -> Told:
    match entry:
        case Message():
            how = "allowed" if entry.kind is Kind.ASKED else entry.kind.name.lower().replace("_", " ")
            became = "" if entry.resolution is None else f", {entry.resolution.name.lower()}"
            return Told(entry.seq, entry.at_us, f"{how}{became}", "good", _message(entry), *_because(entry))
        case Refusal():
            title = _VERDICTS[entry.verdict] + (" (only checked)" if entry.checked else "")
            tone = "good" if entry.verdict is Verdict.ALLOW else "open" if entry.verdict is Verdict.DEFER else "bad"
            return Told(entry.seq, entry.at_us, title, tone, _message(entry), *_because(entry))
        case Resolved():
            contact = contacts.get(entry.contact_seq)
            what = _message(contact) if contact else Markup("a contact further back")
            return Told(entry.seq, entry.at_us, entry.resolution.name.lower(), "open", what, [], [])
        case Changed():
            facts = Markup("; ").join(_facts(entry, experiments)) or Markup("nothing is left")
            return Told(entry.seq, entry.at_us, _CHANGES[entry.change], "open", facts, [], [])


def _because(entry: Message | Refusal) -> tuple[list[tuple[str, str]], list[Markup]]:
    notes: list[Markup] = []
    is_allowed = isinstance(entry, Message) or entry.verdict is Verdict.ALLOW
    if entry.observed is not None and (entry.observed is Verdict.ALLOW) != is_allowed:
        would = _VERDICTS[entry.observed]
        notes.append(Markup("The policy only observed; enforced it would have {} it.").format(would))
    return [(rule, code.sentence) for code, rule in entry.reasons], notes


def _message(entry: Message | Refusal) -> Markup:
    parts = [Markup("{}, {}").format(entry.channel, name(entry.topic))]
    named = {"campaign": entry.campaign, "team": entry.team, "sender": entry.sender}
    parts += [Markup("{} {}").format(what, name(value)) for what, value in named.items() if value is not None]
    if entry.message_id is not None:
        parts.append(Markup("message {}").format(name(entry.message_id)))
    return Markup(", ").join(parts)


def _facts(entry: Changed, experiments: Mapping[int, tuple[str, tuple[str, ...]]]) -> list[Markup]:
    data = entry.data
    match entry.change:
        case Change.PROFILE:
            return _profile(data)
        case Change.SUPPRESSIONS:
            said = Markup("{} ({})")
            found = in_force(suppressions_of(data), ())
            return [said.format(scoped(each.scope), each.reason.value.replace("_", " ")) for each in found]
        case Change.PREFERENCES:
            limits = preferences_of(data)
            return [Markup("{}: at most {}").format(name(each.channel or each.topic), each.limit) for each in limits]
        case Change.OUTCOMES:
            return _outcomes(outcomes_of(data))
        case Change.ADDRESSES:
            return [Markup("{} on file").format(len(data))]
        case Change.VARIANTS:
            members = variants_of(data).items()
            return [_variant(each, *experiments.get(number, (str(number), ()))) for number, each in members]
        case Change.MERGED:
            return [Markup("{} {}").format(what, name(data[what])) for what in ("of", "into") if what in data]


def _profile(data: Mapping[str, Any]) -> list[Markup]:
    zone = [Markup("time zone {}").format(data["time_zone"])] if data.get("time_zone") else []
    attributes: Mapping[str, object] = data.get("attributes") or {}
    consents = consents_of(data.get("consents") or ())
    return [
        *zone,
        *(Markup("{} {}").format(name(key), name(value)) for key, value in attributes.items()),
        *(
            Markup("consent {}: {}").format("given" if each.given else "withdrawn", scoped(each.scope))
            for each in consents
        ),
    ]


def _outcomes(outcomes: Outcomes) -> list[Markup]:
    counts = {"open cases": len(outcomes.open_cases), "soft bounces": len(outcomes.soft_bounces)}
    return [
        *(Markup("{} {}").format(_seen(what), at(at_us)) for what, at_us in outcomes.seen.items()),
        *(Markup("{}: {}").format(what, number) for what, number in counts.items() if number),
    ]


def _seen(attribute: str) -> Markup:
    """`days_since_last_click` is what rules call it; here stands when that was."""
    return name(attribute.removeprefix("days_since_").replace("_", " "))


def _variant(found: Membership, key: str, variants: Sequence[str]) -> Markup:
    variant = variants[found.variant] if found.variant < len(variants) else str(found.variant)
    return Markup("{} in {}").format(name(variant), name(key))
