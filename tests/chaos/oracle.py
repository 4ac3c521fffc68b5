"""The judge: what the promises are, said once more, and held against logs and tables. Imports nothing of the engine.

Each customer's story is told again from its entries in order, with a contact's claim on a budget as the documentation
has it: over [start, end + window), where the end is its confirmation or, while it is open, the end of its lease.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos import evidence as given
from tests.chaos.evidence import CONFIRMED, LATE, MARKED, PRESUMED, RELEASED, RELEASES, REVOKED, Contact, Evidence
from tests.chaos.policy import BUDGETS, LONGEST_US, Budget

KINDS = {"confirmed": CONFIRMED, "released": RELEASED, "revoked": REVOKED, "late": LATE}
Found = Iterator[tuple[str, str]]


class Violation(NamedTuple):
    check: str  # begins with the number of the invariant
    text: str
    customer: str
    at: int


def judge(found: Evidence) -> list[Violation]:
    """Everything that contradicts a promise."""
    stories: dict[str, Story] = defaultdict(Story)
    violations: list[Violation] = []
    for customer, entries in found.entries.items():
        seqs, last = [each.seq for each in entries], found.last_seq.get(customer, 0)
        if seqs != list(range(1, last + 1)):
            odd = sorted((Counter(seqs) - Counter(set(seqs))) | (Counter(set(seqs) ^ set(range(1, last + 1)))))
            violations.append(Violation("2 numbering", f"doubled or missing: {odd[:5]}", customer, entries[-1].at))
        for entry in entries:
            violations += [Violation(*each, customer, entry.at) for each in stories[customer].tell(entry)]
    return [*violations, *_acknowledged(found, stories), *_sent(found, stories), *_outages(found)]


class Story:
    """What is known of one customer, as of the entry told last."""

    def __init__(self) -> None:
        self.held: dict[int, Contact] = {}  # what may occupy budgets
        self.attempts: dict[str, list[Contact]] = defaultdict(list)
        self.contacts: dict[int, Contact] = {}
        self.fates: dict[int, list[int]] = defaultdict(list)
        self.resolutions: set[tuple[int, int, int]] = set()
        self.refusals: set[tuple[str, int]] = set()
        self.closed: set[str] = set()  # topics that were unsubscribed from
        self.to_revoke: set[int] = set()
        self.latest = 0

    def tell(self, entry: given.Entry) -> Found:
        if entry.at < self.latest:
            yield "8 clock", f"entry {entry.seq} is stamped before its predecessor"
        if entry.at > self.latest and self.to_revoke:
            yield "6 revoked", f"an unsubscribe left the leases {sorted(self.to_revoke)} open"
            self.to_revoke = set()
        self.latest = entry.at
        match entry:
            case Contact():
                yield from self._contact(entry)
            case given.Refusal():
                self.refusals.add((entry.message, entry.at))
                for budget, used in self._uses(entry):
                    if budget.name in entry.rules and used < budget.limit:
                        yield "5 returned", f"{entry.message} refused with {used}/{budget.limit} used of {budget.name}"
            case given.Resolution():
                yield from self._resolution(entry)
            case given.Change():
                fresh, self.closed = set(entry.topics) - self.closed, self.closed | set(entry.topics)
                leases = [each for each in self.held.values() if each.lease and each.end > entry.at]
                self.to_revoke = {each.seq for each in leases if each.topic in fresh}

    def _contact(self, new: Contact) -> Found:
        for before in self.attempts[new.message][-1:]:
            fates, has_expired = self.fates[before.seq], before.lease == RELEASES and before.end <= new.at
            if fates != [RELEASED] and (fates or not has_expired):
                yield "3 twice", f"{new.message} has two live contacts"
        if new.topic in self.closed:
            yield "6 allowed", f"{new.message} after an unsubscribe from {new.topic}"
        for budget, used in self._uses(new):
            if used >= budget.limit:
                yield "1 over", f"{new.message} allowed with {used}/{budget.limit} used of {budget.name}"
        self.held[new.seq] = self.contacts[new.seq] = new
        self.attempts[new.message].append(new)

    def _resolution(self, new: given.Resolution) -> Found:
        contact, fates = self.contacts.get(new.contact), self.fates[new.contact]
        if contact is None:
            yield "4 resolved", f"there is no contact {new.contact}"
            return
        is_over = contact.end <= new.at
        legal = not fates and not is_over
        if new.kind == MARKED:
            legal = not fates and is_over and contact.lease == PRESUMED
        elif new.kind == LATE:
            legal = fates in ([RELEASED], [REVOKED]) or (not fates and is_over and contact.lease == RELEASES)
        if not legal:
            check = "10 late" if new.kind == CONFIRMED and not fates else "4 resolved"
            yield check, f"contact {new.contact} becomes {new.kind} after {fates}"
        fates.append(new.kind)
        self.resolutions.add((new.contact, new.at, new.kind))
        self.to_revoke.discard(new.contact)
        if new.kind == CONFIRMED:
            self.held[new.contact] = contact._replace(end=max(new.at, contact.start), lease=0)
        elif new.kind == LATE:
            self.held[new.contact] = contact._replace(start=new.at, end=new.at, lease=0)
        elif new.kind != MARKED:
            self.held.pop(new.contact, None)

    def _uses(self, ask: Contact | given.Refusal) -> Iterator[tuple[Budget, int]]:
        """For each budget that selects the ask, the most in use at any instant of the ask's own occupancy."""
        for seq, each in list(self.held.items()):
            if each.end <= ask.at and (each.lease == RELEASES or each.end <= ask.at - LONGEST_US):
                del self.held[seq]
        for budget in (each for each in BUDGETS if each.selects(ask.channel)):
            same = [each for each in self.held.values() if budget.selects(each.channel)]
            same = [each for each in same if not budget.per_campaign or each.campaign == ask.campaign]
            spans = [(each.start, each.end + budget.window_us) for each in same]
            instants = [ask.start, *(start for start, _ in spans if ask.start < start < ask.end + budget.window_us)]
            yield budget, max(sum(start <= at < until for start, until in spans) for at in instants)


def _acknowledged(found: Evidence, stories: dict[str, Story]) -> Iterator[Violation]:
    """What was acknowledged is there, and nothing was answered that an earlier acknowledgement forbids."""
    yield from (Violation("11 answer", *each) for each in found.unanswered)
    closed = {(each.customer, each.topic): each.got for each in found.unsubscribed}
    lost = [f"the unsubscribe from {topic} of {each}" for each, topic in closed.keys() - found.suppressed]
    lost += [f"ruleset {each.ruleset}" for each in found.activated if each.ruleset not in found.rulesets]
    yield from (Violation("2 lost", each, "", 0) for each in lost)
    numbers, fresh = sorted(found.activated), Counter[tuple[str, str, int]]()
    for ask in found.asks:
        story, name = stories[ask.customer], f"{ask.message}, attempt {ask.attempt}"
        row = next((each for each in story.attempts[ask.message] if each.attempt == ask.attempt), None)
        fresh[ask.customer, ask.message, ask.attempt] += ask.allowed and not ask.replayed
        newest = bisect_left(numbers, (ask.asked, 0)) - 1
        if ask.allowed and (row is None or row.at != ask.decided or ask.expires not in (0, row.end)):
            yield Violation(
                "2 lost", f"{name}: allowed and not on record as it was answered", ask.customer, ask.decided
            )
        if not ask.allowed and (ask.message, ask.decided) not in story.refusals:
            yield Violation("2 lost", f"the refusal of {name}", ask.customer, ask.decided)
        if fresh[ask.customer, ask.message, ask.attempt] > 1:
            yield Violation("3 twice", f"{name} was allowed afresh twice", ask.customer, ask.decided)
        if ask.expires and closed.get((ask.customer, ask.topic), ask.asked) < ask.asked:
            yield Violation("6 allowed", f"{name}, asked after the unsubscribe was acknowledged", ask.customer, ask.got)
        if newest >= 0 and not ask.replayed and ask.ruleset < numbers[newest].ruleset:
            yield Violation("15 ruleset", f"{name} was decided under {ask.ruleset}", ask.customer, ask.decided)
    for each in found.resolved:
        story, name = stories[each.customer], f"{each.message}, attempt {each.attempt}, {each.state}"
        seq = next((row.seq for row in story.attempts[each.message] if row.attempt == each.attempt), 0)
        kind = KINDS.get(each.state, MARKED if each.applied else 0)
        if (kind and kind not in story.fates[seq]) or (each.applied and (seq, each.at, kind) not in story.resolutions):
            yield Violation("2 lost", f"the resolution of {name}", each.customer, each.at)


def _sent(found: Evidence, stories: dict[str, Story]) -> Iterator[Violation]:
    """By the provider's log alone: no window holds more than its limit. Late and revoked contacts stand apart."""
    for (customer, message), count in Counter((each.customer, each.message) for each in found.sends).items():
        if count > 1:
            yield Violation("3 twice", f"{message} was sent {count} times", customer, found.sends[0].at)
    groups: dict[tuple[str, Budget, str], list[int]] = defaultdict(list)
    for send in found.sends:
        story = stories[send.customer]
        row = next((each for each in story.attempts[send.message] if each.attempt == send.attempt), None)
        if row is None or not row.start <= send.at < row.end:
            yield Violation("1 lease", f"{send.message} was sent outside any lease on record", send.customer, send.at)
        elif not {LATE, REVOKED} & set(story.fates[row.seq]):
            for budget in (each for each in BUDGETS if each.selects(send.channel)):
                groups[send.customer, budget, send.campaign if budget.per_campaign else ""].append(send.at)
    for (customer, budget, _), times in groups.items():
        times.sort()
        for first, last in zip(times, times[budget.limit :], strict=False):
            if last - first < budget.window_us:
                text = f"{budget.limit + 1} sends within {(last - first) / 1e6:.3f} s under {budget.name}"
                yield Violation("1 sent", text, customer, last)


def _outages(found: Evidence) -> Iterator[Violation]:
    """While nobody could know, nobody allowed; whatever was not answered says 503, and when to come again."""
    for each in found.tries:
        customer = each.customer or ""
        if each.status >= 500 and (each.status != 503 or not each.retry_after):
            yield Violation("11 status", f"{each.op} was answered {each.status}", customer, each.got)
        for down in found.downs:
            is_within = each.asked >= down.since and each.got <= down.until
            if each.allowed and is_within and down.customer in (None, customer):
                yield Violation("11 allowed", f"allowed while the database was {down.why}", customer, each.got)
