"""The judge: what the promises are, said once more, and held against logs and tables. Imports nothing of the engine.

An answer is later than an acknowledgement if its request went out after that came in; what lies closer may be either.
What is excused because a clock was off is excused here (`_steps`), and by what the nemesis wrote down alone.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tests.chaos import evidence as given
from tests.chaos.evidence import CONFIRMED, GONE, LATE, MARKED, PRESUMED, RELEASED, RELEASES, REVOKED, SETTLED, Contact
from tests.chaos.policy import BUDGETS, MOST, TESTED, Budget

Claims = Iterator[tuple[Any, ...]]  # a check, whether it is broken, in what words, and about whom and when


def judge(found: given.Evidence) -> list[given.Violation]:
    """Everything that contradicts a promise."""
    stories = defaultdict(lambda: Story([]), {customer: Story(told) for customer, told in found.entries.items()})
    claims = (claim for part in (_told, _asked, _kept, _sent) for claim in part(found, stories))
    return [given.Violation(check, text, *where) for check, is_broken, text, *where in claims if is_broken]


class Story:
    """A customer as of the entry told last. Contacts end with their confirmation or, while open, with their lease."""

    def __init__(self, entries: list[given.Entry]) -> None:
        self.said = {fact for each in entries for fact in each.facts}
        self.made: dict[tuple[str, int], Contact] = {}  # by message and attempt
        self.newest: dict[str | None, int] = {}  # the number of a message's latest attempt
        self.held: dict[int, Contact] = {}  # by number, as they stand
        self.closed: frozenset[given.Scope] = frozenset()
        self.stood: set[given.Fact] = set()  # what bears the stamp of the entry before
        self.latest = 0

    def tell(self, new: given.Entry) -> Claims:
        yield "8 clock", new.at < self.latest, f"entry {new.seq} is stamped before its predecessor"
        self.stood |= new.facts if new.at == self.latest else set()
        self.latest = new.at
        if isinstance(new, given.Resolution):
            yield from self._resolve(new, self.held.get(new.contact))
        elif not isinstance(new, given.Change):
            yield from self._decide(new, self.held.get(self.newest.get(new.message, 0)))
        elif new.scopes is not None:
            fresh, self.closed = new.scopes - self.closed, new.scopes
            leases = [each for each in self.held.values() if each.lease > SETTLED and each.end > new.at]
            left = [each.seq for each in leases if _in(fresh, each) and (each.seq, REVOKED, new.at) not in self.said]
            yield "6 revoked", left, f"an unsubscribe left the leases {left} open"

    def _decide(self, new: Contact | given.Refusal, before: Contact | None) -> Claims:
        lives = before and before.lease != GONE and (before.lease != RELEASES or before.end > new.at)
        yield "3 twice", lives, f"{new.message} was decided once more while its contact lives"
        for budget in BUDGETS:
            used, limit = self._used(budget, new), budget.limit_of(new.dose)
            text = f"{new.message} with {used}/{limit} used of {budget.name}"
            if isinstance(new, Contact):
                yield "1 over", new.asked and used >= limit, text
            else:
                yield "5 returned", budget.name in new.rules and used < limit, text
        if isinstance(new, Contact):
            is_next = new.attempt == (before.attempt + 1 if before else 1)
            is_final = before and (before.seq, REVOKED) in self.said
            yield "3 twice", is_final or not is_next, f"{new.message} has another contact, of attempt {new.attempt}"
            yield "6 allowed", new.asked and _in(self.closed, new), f"{new.message} after an unsubscribe"
            self.held[new.seq] = self.made[new.message, new.attempt] = new
            self.newest[new.message] = new.seq

    def _used(self, budget: Budget, ask: Contact | given.Refusal) -> int:
        """The most that is in use of a budget at any instant of the ask's own claim: [start, end + window)."""
        group, until, claims = budget.group(ask), ask.end + budget.window_us, list[tuple[int, int]]()
        for each in self.held.values():
            ends = each.end + budget.window_us if each.lease != RELEASES or each.end > ask.at else 0
            if ask.start < ends and budget.group(each) == group:
                claims.append((each.start, ends))
        instants = [ask.start, *(start for start, _ in claims if ask.start < start < until)]
        return max(sum(start <= at < end for start, end in claims) for at in instants) if group is not None else 0

    def _resolve(self, new: given.Resolution, contact: Contact | None) -> Claims:
        if contact is None:
            return (yield "4 resolved", True, f"there is no contact {new.contact}")
        is_open, after = contact.lease > SETTLED, {GONE: LATE, RELEASES: LATE, PRESUMED: MARKED}.get(contact.lease)
        may = {CONFIRMED, RELEASED, REVOKED} if is_open and new.at < contact.end else {after}
        check = "10 late" if is_open and new.kind == CONFIRMED else "4 resolved"
        yield check, new.kind not in may, f"{new.kind} of {contact.message}, of which {may} may be told"
        unheard = contact.end if contact.lease == PRESUMED and contact.start <= new.at else 0  # it may have been sent
        start = new.at if new.kind == LATE else contact.start
        end = {RELEASED: 0, REVOKED: unheard, MARKED: contact.end}.get(new.kind, max(new.at, start))
        lease = GONE if new.kind in (RELEASED, REVOKED) else SETTLED
        self.held[new.contact] = contact._replace(start=start, end=end, lease=lease)


def _in(scopes: Collection[given.Scope], contact: Contact) -> bool:
    return any(channel in (None, contact.channel) and topic in (None, contact.topic) for channel, topic in scopes)


def _told(found: given.Evidence, stories: Mapping[str, Story]) -> Claims:
    """The journal: no number twice, none missing, and nothing in it that the entries before forbid."""
    for customer in {**found.entries, **found.last_seq}:
        story, entries = stories[customer], found.entries.get(customer, [])
        seqs, all_ = [each.seq for each in entries], [*range(1, found.last_seq.get(customer, 0) + 1)]
        text = f"{len(seqs)} entries of {len(all_)}, without {sorted({*all_} - {*seqs})[:5]}"
        yield "2 numbering", seqs != all_, text, customer, max((each.at for each in entries), default=0)
        for entry in entries:
            yield from ((*claim, customer, entry.at) for claim in story.tell(entry))


def _asked(found: given.Evidence, stories: Mapping[str, Story]) -> Claims:
    """Answers: what they say is on record, and heeds all that was acknowledged before they were asked for."""
    choices, afresh = found.choices(), Counter(each[:4] for each in found.asks if each.is_fresh)
    for ask in found.asks:
        story, name, where = stories[ask.customer], f"{ask.message}, {ask.attempt}", (ask.customer, ask.decided)
        yield "2 lost", ask.fact not in story.said, f"{name} is not on record as it was answered", *where
        yield "3 twice", afresh[ask[:4]] > 1, f"{name} was allowed afresh twice", *where
        is_timely = ask.replayed or _is_timely(found, story, ask, ask.decided, ask.fact)
        yield "8 clock", not is_timely, f"{name} bears another time", *where
        for channel in (None, ask.channel):
            before = [each for each in choices[ask.customer, channel, ask.topic] if each.since < ask.got]
            is_closed = ask.expires and before and before[-1].closes and before[-1].got < ask.asked
            yield "6 allowed", is_closed, f"{name} was asked after the acknowledged unsubscribe", *where
        newest = max((each.ruleset for each in found.activated if each.got < ask.asked), default=0)
        yield "15 ruleset", ask.ruleset < newest and not ask.replayed, f"{name} was under {ask.ruleset}", *where
        for key, ran in () if ask.replayed else found.ran.items():
            variant, is_over = ask.variants.get(key), ask.got < ran.since or ran.ended < ask.asked
            is_in = ask.allowed and ask.channel == TESTED and ran.began < ask.asked and ask.got < ran.ending
            is_wrong = is_over if variant else is_in
            yield "15 ruleset", is_wrong, f"{name} was in {variant} of {key}", *where
            is_known = variant in (None, found.entered.get((ask.customer, key)))
            yield "2 lost", not is_known, f"{name} was in {variant} of {key}, which is not on record", *where


def _is_timely(
    found: given.Evidence, story: Story, each: given.Asked | given.Resolved, at: int, fact: given.Fact
) -> bool:
    """A stamp is of a time between wish and answer, by the clock as it may have been set; or that of the entry before,
    if a step has set this customer's time ahead."""
    ahead = max([each.got, *(step.until + step.by for step in found.steps if step.since <= each.got)])
    clocks = [(each.since + by, each.got + by) for by in (0, *(step.by for step in _steps(found, each)))]
    return any(since <= at <= (ahead if fact in story.stood else got) for since, got in clocks)


def _steps(found: given.Evidence, each: given.Asked | given.Resolved | given.Chose) -> list[given.Step]:
    """Those in which it may have been decided."""
    return [step for step in found.steps if step.since <= each.got and each.since <= step.until]


def _kept(found: given.Evidence, stories: Mapping[str, Story]) -> Claims:
    """Whatever else was acknowledged is there and did what it is for, and nobody allowed while nobody could know."""
    yield from (("11 answer", True, *each) for each in found.unanswered)
    yield "2 lost", {each.ruleset for each in found.activated} - found.rulesets, "rulesets", "", 0
    for scope, (*_, last) in found.choices().items():
        is_either = not last.closes and _steps(found, last)  # time stands still: of one instant the unsubscribe holds
        is_lost = last.closes != (scope in found.suppressed) and not is_either
        yield "2 lost", is_lost, f"{last}", last.customer, last.got
    for each in found.told:
        story, times = stories[each.customer], found.events[each.customer, each.id]
        yield "2 events", times != 1, f"event {each.id} is there {times} times", each.customer, 0
        contact = story.held.get(story.newest.get(each.message, 0))
        is_sent = not each.message or (contact and contact.lease == SETTLED)
        yield "2 events", not is_sent, f"{each.message} was told to be sent: {contact}", each.customer, 0
    for each in found.resolved:
        story, at = stories[each.customer], (each.at,) if each.applied else ()
        row = story.made.get((each.message, each.attempt))
        is_there = not each.kind or (row and (row.seq, each.kind, *at) in story.said)
        yield "2 lost", not is_there, f"{each.message} is not on record as {each.state}", each.customer, each.at
        fact = row.seq if row else 0, each.kind, each.at
        is_timely = not each.applied or _is_timely(found, story, each, each.at, fact)
        yield "8 clock", not is_timely, f"{each.state} of {each.message} bears another time", each.customer, each.at
    for each in found.tries:
        is_clear = each.status < 500 or (each.status == 503 and each.retry_after)
        yield "11 status", not is_clear, f"{each.op} was answered {each.status}", each.customer, each.got
        for down in found.downs if each.allowed else ():
            is_within = down.since <= each.asked and each.got <= down.until and down.customer in (None, each.customer)
            yield "11 allowed", is_within, f"allowed while it was {down.why}", each.customer, each.got


def _sent(found: given.Evidence, stories: Mapping[str, Story]) -> Claims:
    """By the provider's log no window holds more than its limit; late and revoked ones apart, and what a leap freed."""
    times, groups = Counter(each[:2] for each in found.sends), defaultdict[Any, list[int]](list)
    leapt = sorted(at for each in found.steps for at in each.leap)
    for send in found.sends:
        story, leaps = stories[send.customer], bisect(leapt, send.at)
        row = story.made.get((send.message, send.attempt))
        granted = row.at if row and send.since <= row.at <= send.got else send.got
        is_within = row and row.start <= row.at + send.at - granted < row.end and times[send[:2]] == 1
        yield "1 lease", not is_within, f"{send.message} twice, or outside its lease", send.customer, send.at
        is_apart = row and {(row.seq, LATE), (row.seq, REVOKED)} & story.said
        if is_within and not is_apart and bisect(leapt, send.since) == leaps:
            for budget in (each for each in BUDGETS if each.group(send) is not None):
                groups[send.customer, leaps, budget, budget.group(send)].append(send.at)
    for (customer, _, budget, _), at in groups.items():
        most = MOST if budget.name == TESTED else budget.limit
        for first, last in zip(sorted(at), sorted(at)[most:], strict=False):
            text = f"{most + 1} in {last - first} us: {budget.name}"
            yield "1 sent", last - first < budget.window_us, text, customer, last
