"""The judge: what the promises are, said once more, and held against logs and tables. Imports nothing of the engine.

Each customer's story is told again, entry by entry, with a contact's claim on a budget as the documentation has it:
over [start, end + window), where the end is its confirmation or, while it is open, the end of its lease.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos import evidence as given
from tests.chaos.evidence import CONFIRMED, LATE, MARKED, PRESUMED, RELEASED, RELEASES, REVOKED, Contact
from tests.chaos.policy import BUDGETS, LONGEST_US, Budget

KINDS = {"confirmed": CONFIRMED, "released": RELEASED, "revoked": REVOKED, "late": LATE}


class Violation(NamedTuple):
    check: str  # begins with the number of the invariant
    text: str
    customer: str
    at: int


def judge(found: given.Evidence) -> list[Violation]:
    """Everything that contradicts a promise."""
    stories: dict[str, Story] = defaultdict(Story)
    violations: list[Violation] = []
    for customer, entries in found.entries.items():
        seqs, all_ = [each.seq for each in entries], range(1, found.last_seq.get(customer, 0) + 1)
        if seqs != list(all_):
            odd = sorted({seq for seq in seqs if seqs.count(seq) > 1} | (set(seqs) ^ set(all_)))
            violations.append(Violation("2 numbering", f"doubled or missing: {odd[:5]}", customer, entries[-1].at))
        for entry in entries:
            violations += [Violation(*each, customer, entry.at) for each in stories[customer].tell(entry)]
    return [*violations, *_acknowledged(found, stories), *_sent(found, stories), *_outages(found)]


class Story:
    """What is known of one customer, as of the entry told last."""

    def __init__(self) -> None:
        self.held: dict[int, Contact] = {}  # what may occupy budgets
        self.contacts: dict[int, Contact] = {}
        self.attempts: dict[tuple[str, int], Contact] = {}
        self.newest: dict[str, Contact] = {}  # the latest attempt of a message
        self.fates: dict[int, list[int]] = defaultdict(list)
        self.there: set[tuple[object, int]] = set()  # refusals and resolutions, by what they are about and when
        self.closed: set[str] = set()  # topics that were unsubscribed from
        self.to_revoke: set[int] = set()
        self.latest = 0

    def tell(self, entry: given.Entry) -> Iterator[tuple[str, str]]:
        if entry.at < self.latest:
            yield "8 clock", f"entry {entry.seq} is stamped before its predecessor"
        if entry.at > self.latest and self.to_revoke:
            yield "6 revoked", f"an unsubscribe left the leases {sorted(self.to_revoke)} open"
            self.to_revoke = set()
        self.latest = entry.at
        if isinstance(entry, Contact | given.Refusal) and self._lives(self.newest.get(entry.message), entry.at):
            yield "3 twice", f"{entry.message} was decided once more while its contact lives"
        if isinstance(entry, Contact):
            yield from self._contact(entry)
        elif isinstance(entry, given.Refusal):
            self.there.add((entry.message, entry.at))
            for budget, used in self._uses(entry):
                if budget.name in entry.rules and used < budget.limit:
                    yield "5 returned", f"{entry.message} refused with {used}/{budget.limit} used of {budget.name}"
        elif isinstance(entry, given.Resolution):
            yield from self._resolve(entry, self.contacts.get(entry.contact), self.fates[entry.contact])
        else:
            fresh, self.closed = set(entry.topics) - self.closed, self.closed | set(entry.topics)
            leases = [each for each in self.held.values() if each.lease and each.end > entry.at]
            self.to_revoke = {each.seq for each in leases if each.topic in fresh}

    def _contact(self, entry: Contact) -> Iterator[tuple[str, str]]:
        before = self.newest.get(entry.message)
        if entry.attempt != (before.attempt + 1 if before else 1) or (before and REVOKED in self.fates[before.seq]):
            yield "3 twice", f"{entry.message} has another contact, of attempt {entry.attempt}"
        if entry.topic in self.closed:
            yield "6 allowed", f"{entry.message} after an unsubscribe from {entry.topic}"
        for budget, used in self._uses(entry):
            if used >= budget.limit:
                yield "1 over", f"{entry.message} allowed with {used}/{budget.limit} used of {budget.name}"
        self.held[entry.seq] = self.contacts[entry.seq] = self.newest[entry.message] = entry
        self.attempts[entry.message, entry.attempt] = entry

    def _lives(self, contact: Contact | None, at: int) -> bool:
        if contact is None or self.fates[contact.seq] in ([RELEASED], [REVOKED]):
            return False
        return bool(self.fates[contact.seq]) or contact.lease == PRESUMED or contact.end > at

    def _resolve(self, new: given.Resolution, contact: Contact | None, fates: list[int]) -> Iterator[tuple[str, str]]:
        if contact is None:
            return (yield "4 resolved", f"there is no contact {new.contact}")
        is_over, is_first = contact.end <= new.at, not fates
        may = {MARKED: is_first and is_over and contact.lease == PRESUMED}
        may[LATE] = fates in ([RELEASED], [REVOKED]) or (is_first and is_over and contact.lease == RELEASES)
        if not may.get(new.kind, is_first and not is_over):
            yield ("10 late" if new.kind == CONFIRMED and is_first else "4 resolved"), f"{new.kind} after {fates}"
        fates.append(new.kind)
        self.there.add(((new.contact, new.kind), new.at))
        self.to_revoke.discard(new.contact)
        silent = new.kind == REVOKED and contact.lease == PRESUMED and contact.start <= new.at  # and never told
        if new.kind in (CONFIRMED, LATE) or silent:
            start = new.at if new.kind == LATE else contact.start
            end = max(contact.end if silent else new.at, start)
            self.held[new.contact] = contact._replace(start=start, end=end, lease=0)
        elif new.kind != MARKED:
            self.held.pop(new.contact, None)

    def _uses(self, ask: Contact | given.Refusal) -> Iterator[tuple[Budget, int]]:
        """For each budget that selects the ask, the most in use at any instant of the ask's own occupancy."""
        for seq, each in list(self.held.items()):
            if each.end <= ask.at and (each.lease == RELEASES or each.end <= ask.at - LONGEST_US):
                del self.held[seq]
        for budget in (each for each in BUDGETS if each.selects(ask.channel)):
            same = [one for one in self.held.values() if budget.selects(one.channel)]
            same = [one for one in same if not budget.per_campaign or one.campaign == ask.campaign]
            spans = [(each.start, each.end + budget.window_us) for each in same]
            instants = [ask.start, *(start for start, _ in spans if ask.start < start < ask.end + budget.window_us)]
            yield budget, max(sum(start <= at < until for start, until in spans) for at in instants)


def _acknowledged(found: given.Evidence, stories: dict[str, Story]) -> Iterator[Violation]:
    """What was acknowledged is there, and nothing was answered that an earlier acknowledgement forbids."""
    yield from (Violation("11 answer", *each) for each in found.unanswered)
    closed = {(each.customer, each.topic): each.got for each in found.unsubscribed}
    lost = [(f"unsubscribe from {topic}", customer) for customer, topic in closed.keys() - found.suppressed]
    lost += [(f"ruleset {each.ruleset}", "") for each in found.activated if each.ruleset not in found.rulesets]
    yield from (Violation("2 lost", *each, 0) for each in lost)
    numbers, afresh = sorted(found.activated), Counter(each[:4] for each in found.asks if each.is_fresh)
    for ask in found.asks:
        story, name = stories[ask.customer], f"{ask.message}, attempt {ask.attempt},"
        row, newest = story.attempts.get((ask.message, ask.attempt)), bisect_left(numbers, (ask.asked, 0)) - 1
        if ask.allowed and (row is None or row.at != ask.decided or ask.expires not in (0, row.end)):
            yield Violation("2 lost", f"{name} is not on record as it was answered", ask.customer, ask.decided)
        if not ask.allowed and (ask.message, ask.decided) not in story.there:
            yield Violation("2 lost", f"the refusal of {name} is not on record", ask.customer, ask.decided)
        if afresh[ask[:4]] > 1:
            yield Violation("3 twice", f"{name} was allowed afresh twice", ask.customer, ask.decided)
        if ask.expires and closed.get((ask.customer, ask.topic), ask.asked) < ask.asked:
            yield Violation("6 allowed", f"{name} was asked after the acknowledged unsubscribe", ask.customer, ask.got)
        if newest >= 0 and not ask.replayed and ask.ruleset < numbers[newest].ruleset:
            yield Violation("15 ruleset", f"{name} was decided under {ask.ruleset}", ask.customer, ask.decided)
    for each in found.resolved:
        story, kind = stories[each.customer], KINDS.get(each.state, MARKED if each.applied else 0)
        row = story.attempts.get((each.message, each.attempt))
        seq = row.seq if row else 0
        if (kind and kind not in story.fates[seq]) or (each.applied and ((seq, kind), each.at) not in story.there):
            yield Violation("2 lost", f"{each.message} is not on record as {each.state}", each.customer, each.at)


def _sent(found: given.Evidence, stories: dict[str, Story]) -> Iterator[Violation]:
    """By the provider's log: no window holds more than its limit. Late and revoked contacts stand apart."""
    twice = Counter((each.customer, each.message) for each in found.sends)
    groups: dict[tuple[str, Budget, str], list[int]] = defaultdict(list)
    for send in found.sends:
        story = stories[send.customer]
        row = story.attempts.get((send.message, send.attempt))
        if row is None or not row.start <= send.at < row.end or twice[send.customer, send.message] > 1:
            yield Violation("1 lease", f"{send.message} was sent twice, or outside its lease", send.customer, send.at)
        elif not {LATE, REVOKED} & set(story.fates[row.seq]):
            for budget in (each for each in BUDGETS if each.selects(send.channel)):
                groups[send.customer, budget, send.campaign if budget.per_campaign else ""].append(send.at)
    for (customer, budget, _), times in groups.items():
        times.sort()
        for first, last in zip(times, times[budget.limit :], strict=False):
            if last - first < budget.window_us:
                yield Violation("1 sent", f"{budget.limit + 1} in {last - first} us: {budget.name}", customer, last)


def _outages(found: given.Evidence) -> Iterator[Violation]:
    """While nobody could know, nobody allowed; whatever was not answered says 503, and when to come again."""
    for each in found.tries:
        if each.status >= 500 and (each.status != 503 or not each.retry_after):
            yield Violation("11 status", f"{each.op} was answered {each.status}", each.customer, each.got)
        for down in found.downs:
            is_within = down.since <= each.asked and each.got <= down.until
            if each.allowed and is_within and down.customer in (None, each.customer):
                yield Violation("11 allowed", f"allowed while it was {down.why}", each.customer, each.got)
