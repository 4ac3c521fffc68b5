"""The judge of contacts: a customer's journal told again, entry by entry, and what in it contradicts a promise.

A contact claims a budget as the documentation has it: over [start, end + window), where the end is its confirmation or,
while it is open, the end of its lease. Imports nothing of the engine.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator

from tests.chaos import evidence as given
from tests.chaos.evidence import CONFIRMED, LATE, MARKED, PRESUMED, RELEASED, RELEASES, REVOKED, Contact
from tests.chaos.policy import BUDGETS, LONGEST_US, TESTED, Budget


class Story:
    """What is known of one customer, as of the entry told last."""

    def __init__(self) -> None:
        self.held: dict[int, Contact] = {}  # what may occupy budgets
        self.contacts: dict[int, Contact] = {}
        self.attempts: dict[tuple[str, int], Contact] = {}
        self.newest: dict[str, Contact] = {}  # the latest attempt of a message
        self.fates: dict[int, list[int]] = defaultdict(list)
        self.there: set[tuple[object, int]] = set()  # refusals and resolutions, by what they are about and when
        self.closed: frozenset[given.Scope] = frozenset()
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
        elif entry.scopes is not None:
            fresh, self.closed = entry.scopes - self.closed, entry.scopes
            leases = [each for each in self.held.values() if each.lease and each.end > entry.at]
            self.to_revoke |= {each.seq for each in leases if covered(each, fresh)}

    def _contact(self, entry: Contact) -> Iterator[tuple[str, str]]:
        before = self.newest.get(entry.message)
        if entry.attempt != (before.attempt + 1 if before else 1) or (before and REVOKED in self.fates[before.seq]):
            yield "3 twice", f"{entry.message} has another contact, of attempt {entry.attempt}"
        if entry.asked and covered(entry, self.closed):
            yield "6 allowed", f"{entry.message} after an unsubscribe from {entry.topic}"
        for budget, used in self._uses(entry):
            if entry.asked and used >= budget.limit:
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
            limit = (budget.name == TESTED and ask.dose) or budget.limit
            same = [one for one in self.held.values() if budget.selects(one.channel)]
            same = [one for one in same if not budget.per_campaign or one.campaign == ask.campaign]
            spans = [(each.start, each.end + budget.window_us) for each in same]
            instants = [ask.start, *(start for start, _ in spans if ask.start < start < ask.end + budget.window_us)]
            yield (
                budget._replace(limit=limit),
                max(sum(start <= at < until for start, until in spans) for at in instants),
            )


def covered(contact: Contact | given.Asked, scopes: Collection[given.Scope]) -> bool:
    return any(channel in (None, contact.channel) and topic in (None, contact.topic) for channel, topic in scopes)
