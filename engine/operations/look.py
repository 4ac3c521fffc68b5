"""What a person sees of a customer: budgets used and left, what is on file, and the journal, newest first."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.core.account import Contact
from engine.core.customer import Customer
from engine.core.decision import needs_since_us
from engine.core.errors import NotFound
from engine.core.rules import Rules
from engine.core.standing import Standing, next_free, probes, standings
from engine.core.treatments import rules_for
from engine.operations.batch import Batch, Held, Plain
from engine.operations.decider import Decider
from engine.operations.patience import in_time
from engine.store import experiments, story
from engine.store.customers import variants_of
from engine.store.database import Connection
from engine.store.demo import kind_of
from engine.store.journal import Change, Changed, Entry
from engine.store.policies import newest_number
from engine.store.story import Done

DONE_MAX: Final = 200
_EVER_US: Final = 2**62


class View(NamedTuple):
    """A customer at an instant. `contacts` are those that still occupy budgets, the newest first. `frees_us`: when the
    next unit of a budget frees, by its name and what it is kept for."""

    customer_id: str
    customer: Customer
    standings: list[Standing]
    frees_us: Mapping[tuple[str, str | None], int]
    contacts: list[Contact]
    ruleset: int
    seq: int
    now_us: int


class Told(NamedTuple):
    """Entries of a journal, and what the experiments that they name are called: the key, and each variant's name."""

    entries: list[Entry]
    experiments: Mapping[int, tuple[str, tuple[str, ...]]]


class Page(NamedTuple):
    """A page of a customer's story: entries of the journal, and what they did between the oldest and the newest of
    them. `before` and `until_us` lead to the page of what is older; None where nothing is. `is_cut`: they did more."""

    told: Told
    done: list[Done]
    before: int | None
    until_us: int
    is_cut: bool


class Ground(NamedTuple):
    """`ruleset`: the number in force, None where no policy was ever activated. `kind` is what the database is for:
    production, demo or test."""

    ruleset: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Look(Plain):
    """A command that only reads: it is peeked, never settled."""

    customer_id: str

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        own = rules_for(rules, self.customer_id, held.customer, held.now_us)
        asks = probes(own, held.account)
        return min((needs_since_us(own, held.customer, ask, held.now_us) for ask in asks), default=held.now_us)

    def apply(self, batch: Batch, held: Held) -> object:
        return self.peek(batch.rules, held)

    def peek(self, rules: Rules, held: Held) -> View:
        account = held.account
        current = [each for each in account.contacts if not each.has_expired(held.now_us)]
        current.sort(key=lambda each: -each.start_us)
        own = rules_for(rules, self.customer_id, held.customer, held.now_us)
        lines = standings(own, held.customer, account, held.now_us)
        frees_us = next_free(own, held.customer, account, held.now_us)
        return View(held.customer_id, held.customer, lines, frees_us, current, rules.number, account.seq, held.now_us)


async def look(decider: Decider, customer_id: str) -> View:
    """The customer as of now; raises `NotFound` for one never heard of."""
    view = await decider.peek(Look(customer_id))
    if not view.seq:
        raise NotFound(f"customer {customer_id!r} was never asked about, recorded or put")
    return view


async def journal(decider: Decider, customer_id: str, before_seq: int | None, limit: int) -> Told:
    """Entries of the customer's journal, the newest first, older than `before_seq`."""

    async def read() -> Told:
        async with decider.database.transaction() as connection:
            return await _told(connection, decider, customer_id, before_seq, limit)

    return await in_time(read(), decider.settings.deadline_ms / 1000)


async def page_of_story(
    decider: Decider, customer_id: str, before_seq: int | None, until_us: int | None, limit: int, also: Collection[int]
) -> Page:
    """The journal with what the customer did meanwhile. `also`: further experiments whose names are wanted."""

    async def read() -> Page:
        async with decider.database.transaction() as connection:
            told = await _told(connection, decider, customer_id, before_seq, limit, also)
            entries = told.entries
            has_older = len(entries) == limit and entries[-1].seq > 1
            from_us = entries[-1].at_us if has_older else 0
            newest_us = entries[0].at_us + 1 if before_seq is not None and entries else _EVER_US
            done = await story.done_between(connection, customer_id, from_us, until_us or newest_us, DONE_MAX + 1)
            return Page(
                told, done[:DONE_MAX], entries[-1].seq if has_older else None, from_us, is_cut=len(done) > DONE_MAX
            )

    return await in_time(read(), decider.settings.deadline_ms / 1000)


async def _told(
    connection: Connection,
    decider: Decider,
    customer_id: str,
    before_seq: int | None,
    limit: int,
    also: Collection[int] = (),
) -> Told:
    entries = await story.newest_entries(connection, decider.labels, customer_id, before_seq, limit)
    numbers = {
        number
        for each in entries
        if isinstance(each, Changed) and each.change is Change.VARIANTS
        for number in variants_of(each.data)
    } | set(also)
    return Told(entries, await experiments.names(connection, numbers) if numbers else {})


async def ground(decider: Decider) -> Ground:
    """What this process stands on."""

    async def read() -> Ground:
        async with decider.database.connection() as connection:
            return Ground(await newest_number(connection), await kind_of(connection))

    return await in_time(read(), decider.settings.deadline_ms / 1000)
