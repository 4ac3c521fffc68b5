"""Words of a person, one after the other, some at instants that lie ahead, under a clock that steps both ways: a no
after the newest yes forbids at once, and goes on to; what a hand lifts stays lifted until the next no.

The oracle knows of nothing but the order in which things were said, and when by the clock.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
            ("unsubscribed", "complained", "page none", "click", "suppress"),
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
EVERY = Family(*(tuple(sorted({each for family in FAMILIES for each in family[place]})) for place in (0, 1)))


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
        if word.kind in EVERY.yeses:
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


def words(kinds: Iterable[str], scopes: tuple[Scope, ...] = SCOPES) -> st.SearchStrategy[Word]:
    return st.builds(
        Word,
        st.sampled_from(sorted(kinds)),
        st.sampled_from(scopes),
        st.sampled_from((0, 20, 20, 5, -5, -20)).map(lambda hours: hours * HOUR_US),
        st.sampled_from((None, ADDRESS, OTHER_ADDRESS)),
        st.sampled_from(("ada", "eve")),
        st.sampled_from((MINUTE_US + 1, HOUR_US, 21 * HOUR_US)),
    )


@st.composite
def histories(draw: st.DrawFn, family: Family, kinds: Iterable[str]) -> list[Word]:
    """Of few of these kinds, a no and a yes among them, so that they meet."""
    may = sorted(kinds)
    found = {draw(st.sampled_from([each for each in may if each in of])) for of in (family.noes, family.yeses)}
    found |= draw(st.sets(st.sampled_from(may), max_size=2))
    return draw(st.lists(words(found, family.scopes), max_size=7))


def reached(world: World, digest: str | None) -> str | None:
    """An address that is theirs, or may be."""
    own = [each.digest for each in world.held.customer.addresses]
    return digest if digest is None or not own or digest in own else own[0]


@hypothesis_settings(max_examples=250)
@given(st.data())
def test_a_no_after_the_newest_yes_forbids_at_once_and_goes_on_to(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from([*FAMILIES, EVERY]))
    company = said(*data.draw(histories(family, family.all)))
    no = data.draw(words(family.noes, family.scopes))
    world = company.people[no.who]
    since_yes_us = 0 if company.has_stepped else company.clock_us - company.yes_us - 1
    late_us = data.draw(st.sampled_from((0, max(min(since_yes_us, 20 * HOUR_US), 0))))
    no = no._replace(ahead_us=max(no.ahead_us, 0) - late_us, digest=reached(world, no.digest))
    contact = "push" if no.kind in PUSH_OFF else "email", "promotions"
    company.say(no._replace(wait_us=0))
    assert not world.allows(*contact)
    for each in data.draw(st.lists(words(("session", "again", "step", "merge")), max_size=3)):
        if each.kind == "merge" and no.kind in CASES:
            continue  # of a case that both know the newest word counts, whosever it is
        company.say(each)
        company.retell(company.people[no.who])
        assert not company.people[no.who].allows(*contact), each


@hypothesis_settings(max_examples=150)
@given(st.data())
def test_what_is_lifted_stays_so_until_something_is_said(data: st.DataObject) -> None:
    """Not so what a clock that ran ahead made: where that is told again, nobody knows that it was lifted since."""
    family = data.draw(st.sampled_from([*FAMILIES, EVERY]))
    kinds = {*family.all} - {"withdrawn", *CASES, "merge", "step"}
    assume(not kinds.isdisjoint(family.noes))
    company = said(*data.draw(histories(family, kinds)))
    world = company.people["ada"]
    for scope in (*SCOPES, Scope("push")):
        company.say(Word("lift", scope))
    company.say(Word("put", Scope()))
    for each in (None, *data.draw(st.lists(words(("session", "again", "step")), max_size=3))):
        if each is not None:
            company.say(each)
        company.retell(world)
        assert world.allows("email")
        assert world.allows("push")
