"""All that is known after a run: what clients and the provider wrote down, what was broken when, and the database.

These are the values; `gather` reads them. Instants are microseconds of the machine's clock, those of the tables of
Takt's, which differ while a clock is off.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

CONFIRMED, RELEASED, REVOKED, LATE, MARKED = 1, 2, 3, 4, 5
GONE, SETTLED, RELEASES, PRESUMED = -1, 0, 1, 2  # what the end of a lease means; the first two have none any more
SUPPRESSIONS, VARIANTS = 2, 6
DIVERGED = 2
NEVER = 2**62
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {"confirmed": CONFIRMED, "released": RELEASED, "revoked": REVOKED, "late": LATE}
Scope = tuple[str | None, str | None]
Fact = tuple[str | int, ...]


class Violation(NamedTuple):
    """What the judge found. `check` begins with the number of the invariant."""

    check: str
    text: str
    customer: str
    at: int


class Contact(NamedTuple):
    """A row of the journal. `lease`: what its end means, RELEASES or PRESUMED. Not `asked`: an event told of it.

    `dose`: the limit of the tested budget for this customer under the ruleset, where an experiment ran. Before the
    variants differed for the customer it is what all of them allow.
    """

    customer: str
    seq: int
    at: int
    start: int
    end: int
    message: str
    attempt: int
    channel: str
    topic: str
    campaign: str
    lease: int
    ruleset: int
    asked: bool = True
    dose: int | None = None

    @property
    def facts(self) -> set[Fact]:
        """What an answer may say of it: in each entry, as in each answer."""
        return {(self.message, self.attempt, self.at, self.end), (self.message, self.attempt, self.at, 0)}


class Refusal(NamedTuple):
    customer: str
    seq: int
    at: int
    start: int
    end: int
    message: str
    channel: str
    campaign: str
    rules: tuple[str, ...]
    dose: int | None = None

    @property
    def facts(self) -> set[Fact]:
        return {(self.message, self.at)}


class Resolution(NamedTuple):
    customer: str
    seq: int
    at: int
    contact: int
    end: int
    kind: int

    @property
    def facts(self) -> set[Fact]:
        return {(self.contact, self.kind), (self.contact, self.kind, self.at)}


class Change(NamedTuple):
    """`scopes`, as (channel, topic): those closed from now on; None if something else changed."""

    customer: str
    seq: int
    at: int
    scopes: frozenset[Scope] | None

    @property
    def facts(self) -> set[Fact]:
        return set()


Entry = Contact | Refusal | Resolution | Change


class Asked(NamedTuple):
    """A definite answer to an ask, wanted since; `expires` is 0 unless it permits sending."""

    customer: str
    message: str
    attempt: int
    allowed: bool
    topic: str
    state: str | None
    decided: int
    expires: int
    ruleset: int
    replayed: bool
    asked: int
    got: int
    channel: str
    variants: Mapping[str, str]
    since: int = 0

    @property
    def is_fresh(self) -> bool:
        """Whether it made a contact."""
        return self.allowed and not self.replayed

    @property
    def fact(self) -> Fact:
        """What must be on record."""
        return (
            (self.message, self.attempt, self.decided, self.expires) if self.allowed else (self.message, self.decided)
        )


class Resolved(NamedTuple):
    """A definite answer to a confirm or a release, wanted since."""

    customer: str
    message: str
    attempt: int
    state: str
    applied: bool
    at: int
    since: int
    got: int

    @property
    def kind(self) -> int:
        """That of the resolution that must be on record; 0 if none must."""
        return KINDS.get(self.state, MARKED if self.applied else 0)


class Chose(NamedTuple):
    """An unsubscribe (`closes`) or a re-subscribe: wanted since, acknowledged at."""

    customer: str
    channel: str | None
    topic: str
    closes: bool
    since: int
    got: int


class Told(NamedTuple):
    """An acknowledged event. `message`, if it says that one was sent."""

    customer: str
    id: str
    message: str | None


@dataclass
class Ran:
    """An experiment: from when its start was wanted and acknowledged until its stop was."""

    since: int = NEVER
    began: int = NEVER
    ending: int = NEVER
    ended: int = NEVER


class Activated(NamedTuple):
    got: int
    ruleset: int


class Unanswered(NamedTuple):
    """A request that never had a definite answer, or a definite one that nobody expected."""

    text: str
    customer: str
    at: int


class Try(NamedTuple):
    """One request that brought no definite answer, or did: with what came back."""

    op: str
    asked: int
    got: int
    status: int
    retry_after: str | None
    port: int
    customer: str
    allowed: bool


class Send(NamedTuple):
    """A message that was sent; leave for it was wanted since, and given in the answer that its sender got last.

    Both are 0 where no answer gave leave.
    """

    customer: str
    message: str
    attempt: int
    channel: str
    campaign: str
    at: int
    since: int = 0
    got: int = NEVER


class Down(NamedTuple):
    """A time in which nobody could decide, or with a customer named, nothing about that one."""

    why: str
    since: int
    until: int
    customer: str | None


class Step(NamedTuple):
    """A time in which the database's clock was off `by` so much. It leapt ahead between the two instants of `leap`."""

    since: int
    until: int
    leap: tuple[int, int]
    by: int


@dataclass
class Evidence:
    asks: list[Asked] = field(default_factory=list)
    resolved: list[Resolved] = field(default_factory=list)
    chosen: list[Chose] = field(default_factory=list)
    told: set[Told] = field(default_factory=set)
    ran: dict[str, Ran] = field(default_factory=lambda: defaultdict(Ran))
    activated: list[Activated] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    downs: list[Down] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    last_seq: dict[str, int] = field(default_factory=dict)
    suppressed: set[tuple[str, str | None, str | None]] = field(default_factory=set)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    entered: dict[tuple[str, str], str] = field(default_factory=dict)
    rulesets: set[int] = field(default_factory=set)

    def choices(self) -> defaultdict[tuple[str, str | None, str], list[Chose]]:
        """By customer, channel and topic, in order: nobody chooses again before the choice before was acknowledged."""
        choices: defaultdict[tuple[str, str | None, str], list[Chose]] = defaultdict(list)
        for each in sorted(self.chosen, key=lambda each: each.got):
            choices[each.customer, each.channel, each.topic].append(each)
        return choices


def us_of(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
