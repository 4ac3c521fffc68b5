"""The shortest story that contradicts a promise, for people: what was asked, answered, sent and written, in order."""

from collections.abc import Iterator, Sequence

from tests.chaos.evidence import Change, Contact, Evidence, Refusal, Resolution, Violation
from tests.chaos.policy import LONGEST_US, SECOND_US

KINDS = {1: "confirmed", 2: "released", 3: "revoked", 4: "late", 5: "marked as sent"}
LINES_MAX = 60


def shortest(found: Evidence, violations: Sequence[Violation], seed: int) -> str:
    """The violation with the least to read about it, and all there is to read."""
    told = [(each, sorted(_about(found, each))) for each in violations]
    violation, lines = min(told, key=lambda each: (len(each[1]) or LINES_MAX, each[0].at))
    start = lines[0][0] if lines else violation.at
    text = [f"{violation.check}: {violation.text} (customer {violation.customer}, seed {seed})"]
    text += [f"  {(at - start) / SECOND_US:10.6f} s  {line}" for at, line in lines[-LINES_MAX:]]
    return "\n".join(text)


def _about(found: Evidence, violation: Violation) -> Iterator[tuple[int, str]]:
    since, until = violation.at - LONGEST_US - SECOND_US, violation.at + SECOND_US // 10
    customer = violation.customer
    for entry in found.entries.get(customer, ()):
        if since <= entry.at <= until:
            yield entry.at, f"database  {entry.seq:4} {_words(entry)}"
    for send in found.sends:
        if send.customer == customer and since <= send.at <= until:
            yield send.at, f"provider       {send.message} sent by {send.channel}"
    for ask in found.asks:
        if ask.customer == customer and since <= ask.got <= until:
            answer = f"{'allowed' if ask.allowed else 'refused'}, {ask.state}, attempt {ask.attempt}"
            yield ask.got, f"client         {ask.message} (asked {(ask.got - ask.asked) / 1000:.0f} ms ago): {answer}"
    for each in found.chosen:
        if each.customer == customer and since <= each.got <= until:
            what = "unsubscribed from" if each.closes else "re-subscribed to"
            yield each.got, f"client         {what} {each.topic} in {each.channel or 'all channels'}"
    for fault in found.faults:
        if since <= fault["t"] <= until:
            yield fault["t"], f"nemesis        {fault['name']}"


def _words(entry: Contact | Refusal | Resolution | Change) -> str:
    match entry:
        case Contact():
            lease = f"[{(entry.start - entry.at) / SECOND_US:+.3f}, {(entry.end - entry.at) / SECOND_US:+.3f}] s"
            return f"{entry.message} allowed, {entry.channel}, {entry.campaign}, {entry.topic}, lease {lease}"
        case Refusal():
            return f"{entry.message} refused, {entry.channel}, by {', '.join(entry.rules) or 'no budget'}"
        case Resolution():
            return f"contact {entry.contact} {KINDS.get(entry.kind, entry.kind)}"
        case Change():
            closed = entry.scopes
            if closed is None:
                return "something else on file changed"
            scopes = sorted(f"{channel or '*'}/{topic or '*'}" for channel, topic in closed)
            return f"closed: {', '.join(scopes)}"
