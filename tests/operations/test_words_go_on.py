"""Words of a person, one after the other, some at instants that lie ahead, under a clock that steps both ways: a no
after the newest yes forbids at once, and goes on to; what a hand lifts stays lifted until the next no.

The oracle knows of nothing but the order in which things were said, and when by the clock.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from engine.core.choices import NONE, USUAL, Choice, Sort
from engine.core.customer import Address
from engine.core.errors import Invalid
from engine.core.events import Event, Flag, allows_again
from engine.core.merging import united
from engine.core.origins import Origin
from engine.core.outcomes import address_fact
from engine.core.policy import HOUR_US, MINUTE_US
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason, joined
from engine.operations.addresses import PutReachable, TellFacts
from engine.operations.choices import Choose, Leave
from engine.operations.file import Lift, PutCustomer, Suppress
from engine.operations.happened import HappenedCommand
from tests.operations.held_world import ADDRESS, NOW_US, OTHER_ADDRESS, RULES, World

ORIGIN = Origin("ada", "email", "promotions", None, None, NOW_US)
PROMOTIONS = Scope("email", "promotions")
SCOPES = (PROMOTIONS, Scope("email"), Scope(None, "promotions"), Scope())
CASES = ("case_opened", "moved_out", "detractor")
PUSH_OFF = ("push_disabled", "uninstalled")
TOLD_TAKT = ("page none", "click", "suppress")
OTHERS = ("session", "again", "addresses", "merge", "step", "step")


class Family(NamedTuple):
    """Words that meet in the same state; all of them together seldom would."""

    noes: tuple[str, ...]
    yeses: tuple[str, ...]
    scopes: tuple[Scope, ...] = SCOPES

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.noes, *self.yeses, *OTHERS)


FAMILIES = [
    *(
        Family(
            ("unsubscribed", "complained", *TOLD_TAKT),
            ("resubscribed", "consented", "page usual", "page some", "lift"),
            (each,),
        )
        for each in SCOPES
    ),
    Family(("account_closed", "unsubscribed", "page none"), ("resubscribed", "page usual", "lift"), (Scope(),)),
    Family(("hard", "complained"), ("lift", "page usual"), (Scope("email"),)),
    Family(("soft",), ("lift",), (Scope("email"),)),
    Family(("withdrawn",), ("consented", "put")),
    Family(CASES, ("case_closed", "moved_in")),
    Family(PUSH_OFF, ("push_enabled", "lift"), (Scope("push"),)),
]
YESES = {each for family in FAMILIES for each in family.yeses}
HISTORIES = 800


class Word(NamedTuple):
    """`ahead_us` is from the clock to the instant that it bears, or what the clock steps by. `who` may be merged."""

    kind: str
    scope: Scope = PROMOTIONS
    ahead_us: int = 0
    digest: str | None = None
    who: str = "ada"
    wait_us: int = MINUTE_US + 1


class Company:
    """Two customers, what is known of their addresses, and the clock."""

    def __init__(self) -> None:
        self.people = {"ada": World(), "eve": World()}
        self.addressed: tuple[Suppression, ...] = ()
        self.yes_us = 0  # the newest instant of a yes
        self.has_stepped = False
        self._count = 0
        self._last: tuple[World, Event] | None = None

    @property
    def clock_us(self) -> int:
        return self.people["ada"].held.clock_us

    def say(self, word: Word) -> None:
        world, at_us = self.people[word.who], self.clock_us + word.ahead_us
        match word.kind:
            case "page none" | "page usual" | "page some":
                to = {"page none": NONE, "page usual": USUAL, "page some": Choice(Sort.LIMIT, 2)}[word.kind]
                world.do(Choose(ORIGIN, 400, ((word.scope, to),)))
            case "click":
                world.do(Leave(ORIGIN, 400, f"one-click:{word.who}"))
            case "suppress":
                given = Suppression(word.scope, SuppressionReason.UNSUBSCRIBE, at_us, "desk", binds_exempt=False)
                world.do(Suppress("ada", given))
            case "lift":
                world.do(Lift("ada", word.scope))
            case "put":
                self._put(world, Consent(word.scope, given=True, at_us=at_us, source="form"))
            case "addresses":
                here = () if word.digest is None else (Address("email", word.digest),)
                self._reach(world, here)
            case "merge":
                self._merge()
            case "step":
                self.has_stepped |= bool(word.ahead_us)
                self.later(word.ahead_us)
            case "again":
                if self._last is not None:
                    self._tell(*self._last)
            case kind:
                self._event(world, kind, word, at_us)
        if word.kind in YESES:
            self.yes_us = max(self.yes_us, self.clock_us, min(at_us, self.clock_us + MINUTE_US))
        self._settle(world)
        self.later(word.wait_us)

    def later(self, by_us: int) -> None:
        for world in {id(each): each for each in self.people.values()}.values():
            world.later(by_us)

    def _event(self, world: World, kind: str, word: Word, at_us: int) -> None:
        """As the door lets it in: a yes lies at most a minute ahead."""
        scope = {"channel": word.scope.channel, "topic": word.scope.topic}
        address: dict[str, Any] = {"channel": "email", "digest": word.digest}
        types: dict[str, tuple[str, dict[str, Any]]] = {
            "unsubscribed": ("unsubscribed", scope),
            "resubscribed": ("resubscribed", scope),
            "consented": ("consented", scope),
            "withdrawn": ("consented", {**scope, "properties": {"given": False}}),
            "complained": ("complained", address),
            "hard": ("bounced", {**address, "flags": int(Flag.HARD)}),
            "soft": ("bounced", address),
            "detractor": ("survey", {"value": 3.0}),
        }
        type_, fields = types.get(kind, (kind, {}))
        for _ in range(3 if kind == "soft" else 1):
            self._count += 1
            told = Event("ada", "provider", f"e{self._count}", type_, at_us, **fields)
            if kind == "moved_in" or allows_again(type_, told.properties):
                told = told._replace(at_us=min(at_us, self.clock_us + MINUTE_US))
            self._tell(world, told)
            self._last = world, told

    def _tell(self, world: World, told: Event) -> None:
        """To its customer, and what it says of an address to whoever else has that."""
        news = world.do(HappenedCommand("ada", (told,))).news
        fact = address_fact(told)
        if fact is None or not news:
            return
        self.addressed = joined(self.addressed, (fact,))
        for other in self.people.values():
            if other is not world and ("email", fact.digest) in other.held.customer.addresses:
                other.do(TellFacts("eve", tuple(each for each in self.addressed if each.digest == fact.digest)))

    def _settle(self, world: World) -> None:
        """What the transaction would write of addresses."""
        dated = {(was.key, was.at_us): at_us for was, at_us in world.batch.settled}
        self.addressed = tuple(
            replace(each, at_us=dated.get((each.key, each.at_us), each.at_us)) for each in self.addressed
        )
        world.batch.settled.clear()

    def _put(self, world: World, consent: Consent) -> None:
        try:
            world.do(PutCustomer("ada", consents=(consent,)))
        except Invalid:
            assert consent.at_us > self.clock_us + MINUTE_US

    def _reach(self, world: World, addresses: tuple[Address, ...]) -> None:
        known = tuple(each for each in self.addressed if ("email", each.digest) in addresses)
        world.do(PutReachable("ada", PutCustomer("ada"), addresses, known))

    def retell(self, world: World) -> None:
        self._reach(world, world.held.customer.addresses)

    def _merge(self) -> None:
        one, other = self.people["ada"].held, self.people["eve"].held
        if one is not other:
            one.customer = united(one.customer, other.customer, RULES.policy, one.clock_us)
            self.people["eve"] = self.people["ada"]


def said(*words: Word) -> Company:
    company = Company()
    for each in words:
        company.say(each)
    return company


def a_word(chance: random.Random, kinds: Sequence[str], scopes: Sequence[Scope] = SCOPES) -> Word:
    kind = chance.choice(kinds)
    return Word(
        kind,
        chance.choice(scopes),
        chance.choice((20, -20, 1) if kind == "step" else (0, 20, 20, 5, -5, -20)) * HOUR_US,
        chance.choice((None, ADDRESS, OTHER_ADDRESS)),
        chance.choice(("ada", "ada", "eve")),
        chance.choice((1, MINUTE_US + 1, HOUR_US, 21 * HOUR_US)),
    )


def history(chance: random.Random, family: Family, kinds: Sequence[str]) -> list[Word]:
    """Of few of these kinds, a no and a yes among them, so that they meet; at times under a clock that steps."""
    may = [chance.choice([each for each in kinds if each in of]) for of in (family.noes, family.yeses)]
    may += chance.sample(kinds, chance.randint(0, 2))
    may += ["step"] * ("step" in kinds and chance.choice((0, 2)))
    return [a_word(chance, may, family.scopes) for _ in range(chance.randint(1, 6))]


def reached(world: World, digest: str | None) -> str | None:
    """An address that is theirs, or may be."""
    own = [each.digest for each in world.held.customer.addresses]
    return digest if digest is None or not own or digest in own else own[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_no_after_the_newest_yes_forbids_at_once_and_goes_on_to(seed: int) -> None:
    for number in range(HISTORIES):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - to be repeated
        family = chance.choice(FAMILIES)
        words = history(chance, family, family.all)
        company = said(*words)
        no = a_word(chance, family.noes, family.scopes)
        company.later(0 if no.kind in TOLD_TAKT else MINUTE_US + 1)  # so far ahead a yes may be
        world = company.people[no.who]
        since_yes_us = 0 if company.has_stepped else company.clock_us - company.yes_us - 1
        late_us = chance.choice((0, max(min(since_yes_us, 20 * HOUR_US), 0)))
        no = no._replace(ahead_us=max(no.ahead_us, 0) - late_us, digest=reached(world, no.digest), wait_us=0)
        contact = "push" if no.kind in PUSH_OFF else "email", "promotions"
        company.say(no)
        assert not world.allows(*contact), (words, no)
        # Of a case that both know the newest word counts, whosever it is.
        for kinds in (("again", "again" if no.kind in CASES else "merge"), ("session", "step")):
            after = a_word(chance, kinds)
            company.say(after._replace(wait_us=1))
            company.retell(company.people[no.who])
            assert not company.people[no.who].allows(*contact), (words, no, after)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_lifted_stays_so_until_something_is_said(seed: int) -> None:
    """Not so what a clock that ran ahead made: where that is told again, nobody knows that it was lifted since."""
    for number in range(HISTORIES):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - to be repeated
        family = chance.choice([each for each in FAMILIES if "lift" in each.yeses])
        words = history(chance, family, [each for each in family.all if each not in ("merge", "step")])
        company = said(*words)
        world = company.people["ada"]
        for scope in (*SCOPES, Scope("push")):
            company.say(Word("lift", scope))
        company.say(Word("put", Scope()))
        for after in (Word("session"), a_word(chance, ("session", "again", "step"))):
            company.say(after)
            company.retell(world)
            assert all(world.allows(each) for each in ("email", "push")), (words, after)
