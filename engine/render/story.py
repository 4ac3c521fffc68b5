"""What happened to a customer, as a page tells it: the journal with the reason for each, and what they did between."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

from markupsafe import Markup

from engine.core.account import Kind
from engine.core.customer import Membership, Preference
from engine.core.events import EventType, Flag
from engine.core.outcomes import Outcomes
from engine.core.policy import HOUR_US
from engine.core.suppression import Scope, in_force
from engine.core.verdict import Code, Verdict
from engine.render.frame import name
from engine.store.customers import consents_of, outcomes_of, preferences_of, suppressions_of, variants_of
from engine.store.journal import Change, Changed, Entry, Message, Refusal, Resolution, Resolved
from engine.store.story import Done
from experiments.reporting.numbers import plain

Named = Mapping[int, tuple[str, Sequence[str]]]  # of experiments: the key, and each variant's name

_VERDICTS: Final = {Verdict.ALLOW: "allowed", Verdict.DEFER: "deferred", Verdict.DENY: "denied"}
_CHANGES: Final = {
    Change.PROFILE: "on file",
    Change.SUPPRESSIONS: "suppressions",
    Change.PREFERENCES: "own limits",
    Change.OUTCOMES: "on file",
    Change.ADDRESSES: "addresses",
    Change.VARIANTS: "variants",
    Change.MERGED: "merged",
}
_GRIEVANCES: Final = frozenset(
    {
        EventType.UNSUBSCRIBED,
        EventType.COMPLAINED,
        EventType.BOUNCED,
        EventType.PUSH_DISABLED,
        EventType.UNINSTALLED,
        EventType.ACCOUNT_CLOSED,
    }
)


class Told(NamedTuple):
    """One thing that happened. `tone`: good, bad or open. `why`: (rule, sentence) of a refusal."""

    at_us: int
    title: str
    tone: str
    what: Markup
    why: list[tuple[Markup, str]]
    notes: list[Markup]


def story(entries: Sequence[Entry], done: Sequence[Done], experiments: Named) -> list[Told]:
    """All of it, the newest first. A confirm that soon followed its message is told with it, and what events left on
    file where that is more than when somebody was last seen: the events themselves stand beside."""
    contacts = {each.seq: each for each in entries if isinstance(each, Message)}
    soon = {each.contact_seq for each in entries if _is_soon(each, contacts)}
    told: list[Told] = []
    for place, entry in enumerate(entries):
        if isinstance(entry, Resolved) and _is_soon(entry, contacts):
            continue
        if isinstance(entry, Changed) and entry.change is Change.OUTCOMES:
            before = next((_outcomes_in(each) for each in entries[place + 1 :] if _is_of_outcomes(each)), None)
            facts = list(_learned(outcomes_of(entry.data), before))
            if facts:
                told.append(Told(entry.at_us, _CHANGES[entry.change], "open", Markup("; ").join(facts), [], []))
            continue
        told.append(_told(entry, contacts, soon, experiments))
    told += [_did(each) for each in done]
    return sorted(told, key=lambda each: -each.at_us)


def scoped(scope: Scope) -> Markup:
    """A scope in words."""
    if scope.channel is None and scope.topic is None:
        return Markup("everything")
    if scope.topic is None:
        return Markup("{}, every topic").format(scope.channel)
    if scope.channel is None:
        return Markup("{}, in every channel").format(name(scope.topic))
    return Markup("{}, {}").format(scope.channel, name(scope.topic))


def _told(entry: Entry, contacts: Mapping[int, Message], soon: Collection[int], experiments: Named) -> Told:
    match entry:
        case Message():
            how = "allowed" if entry.kind is Kind.ASKED else entry.kind.name.lower().replace("_", " ")
            became = ", confirmed" if entry.seq in soon else ""
            return Told(entry.at_us, how + became, "good", _message(entry), *_because(entry))
        case Refusal():
            title = _VERDICTS[entry.verdict] + (" (only checked)" if entry.checked else "")
            tone = "good" if entry.verdict is Verdict.ALLOW else "open" if entry.verdict is Verdict.DEFER else "bad"
            return Told(entry.at_us, title, tone, _message(entry), *_because(entry))
        case Resolved():
            contact = contacts.get(entry.contact_seq)
            what = _message(contact) if contact else Markup("a contact further back")
            return Told(entry.at_us, entry.resolution.name.lower(), "open", what, [], [])
        case Changed():
            facts = Markup("; ").join(_facts(entry, experiments)) or Markup("nothing is left")
            return Told(entry.at_us, _CHANGES[entry.change], "open", facts, [], [])


def _is_soon(entry: Entry, contacts: Mapping[int, Message]) -> TypeGuard[Resolved]:
    """Whether it confirms a message that is told on the same page, within an hour."""
    if not isinstance(entry, Resolved) or entry.resolution is not Resolution.CONFIRMED:
        return False
    contact = contacts.get(entry.contact_seq)
    return contact is not None and entry.at_us - contact.at_us <= HOUR_US


def _did(done: Done) -> Told:
    """An event of theirs."""
    where = [Markup("{}").format(done.channel)] if done.channel else []
    where += [name(done.topic)] if done.topic else []
    where += [Markup("message {}").format(name(done.message_id))] if done.message_id else []
    where += [Markup("value {}").format(plain(done.value))] if done.value is not None else []
    where += [Markup("told by {}").format(name(done.source))]
    kinds = {Flag.HARD: "for good", Flag.SOFT: "for now"}
    kind = next((f" {said}" for flag, said in kinds.items() if done.flags & flag), "")
    is_suspect = bool(done.flags & (Flag.SUSPECT_SAID | Flag.SUSPECT_SOON))
    notes = [Markup("A machine is thought to have done it: no metric counts it.")] if is_suspect else []
    tone = "bad" if done.type in _GRIEVANCES else "open"
    return Told(done.at_us, _words(done.type) + kind, tone, Markup(", ").join(where), [], notes)


def _words(text: str) -> str:
    return text.replace("_", " ")


def _because(entry: Message | Refusal) -> tuple[list[tuple[Markup, str]], list[Markup]]:
    notes: list[Markup] = []
    is_allowed = isinstance(entry, Message) or entry.verdict is Verdict.ALLOW
    if entry.observed is not None and (entry.observed is Verdict.ALLOW) != is_allowed:
        would = _VERDICTS[entry.observed]
        notes.append(Markup("The policy only observed; enforced it would have {} it.").format(would))
    return [(_rule(code, rule), code.sentence) for code, rule in entry.reasons], notes


def _rule(code: Code, rule: str) -> Markup:
    """What refused, by its name; a suppression has none but its scope."""
    if code is not Code.SUPPRESSED:
        return name(rule) if rule else Markup()
    channel, _, topic = rule.partition("/")
    return Markup("suppressed, {}").format(scoped(Scope(*(None if each == "*" else each for each in (channel, topic)))))


def _message(entry: Message | Refusal) -> Markup:
    parts = [Markup("{}, {}").format(entry.channel, name(entry.topic))]
    named = {"campaign": entry.campaign, "team": entry.team, "sender": entry.sender}
    parts += [Markup("{} {}").format(what, name(value)) for what, value in named.items() if value is not None]
    if entry.message_id is not None:
        parts.append(Markup("message {}").format(name(entry.message_id)))
    return Markup(", ").join(parts)


def _facts(entry: Changed, experiments: Named) -> list[Markup]:
    data = entry.data
    match entry.change:
        case Change.PROFILE:
            return _profile(data)
        case Change.SUPPRESSIONS:
            said = Markup("{} ({})")
            found = in_force(suppressions_of(data), ())
            return [said.format(scoped(each.scope), each.reason.value.replace("_", " ")) for each in found]
        case Change.PREFERENCES:
            return [own_limit(each) for each in preferences_of(data)]
        case Change.OUTCOMES:
            return list(_learned(outcomes_of(data), None))
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


def _is_of_outcomes(entry: Entry) -> bool:
    return isinstance(entry, Changed) and entry.change is Change.OUTCOMES


def _outcomes_in(entry: Entry) -> Outcomes | None:
    return outcomes_of(entry.data) if isinstance(entry, Changed) else None


def _learned(outcomes: Outcomes, before: Outcomes | None) -> Iterator[Markup]:
    """What events left on file that no event says by itself."""
    for what, count, was in (
        ("open cases", len(outcomes.open_cases), len(before.open_cases) if before else 0),
        ("soft bounces", len(outcomes.soft_bounces), len(before.soft_bounces) if before else 0),
    ):
        if count != was:
            yield Markup("{}: {}").format(what, count)


def own_limit(preference: Preference) -> Markup:
    """A customer's own limit in words."""
    what = name(preference.channel or preference.topic)
    if preference.limit is None:
        return Markup("{}: as many as there are").format(what)
    return (
        Markup("{}: at most {}").format(what, preference.limit) if preference.limit else Markup("{}: none").format(what)
    )


def _variant(found: Membership, key: str, variants: Sequence[str]) -> Markup:
    variant = variants[found.variant] if found.variant < len(variants) else str(found.variant)
    return Markup("{} in {}").format(name(variant), name(key))
