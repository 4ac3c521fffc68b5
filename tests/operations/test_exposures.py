"""Experiments in decisions, on a real database: who enters by an ask, when, what is written down, and what is not."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import date
from typing import Any

import psycopg
import pytest

from engine.core.account import State
from engine.core.errors import Invalid, NotFound, Unavailable
from engine.core.policy import DAY_US
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Verdict
from engine.operations import policies, screen
from engine.operations.assign import AssignCommand, Assigned
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.file import Filed, PutCustomer, Suppress
from engine.operations.look import journal, look
from engine.operations.resolve import ConfirmCommand
from engine.operations.screening import Screening
from engine.operations.verify import verify
from engine.settings import Settings
from engine.store.journal import Change, Changed, Message
from experiments.assignment import Allocation
from experiments.plans.reader import read_data
from tests.conftest import set_clock
from tests.operations.histories import STRICT, History
from tests.operations.rulesets import POLICY, budget_plan, everybody, plan, put_in_force

pytestmark = pytest.mark.anyio

DOSE = budget_plan("dose", "push-weekly", {"three": 3, "five": 5})
THREE = everybody("three", DOSE)
WELCOME = plan("welcome")
PUSH = Ask("push", "promotions")
UNSUBSCRIBED = Suppression(Scope("push", None), SuppressionReason.UNSUBSCRIBE, 1, "test", False)


class Shop:
    """A deployment, its database seen from outside, and short ways to ask it."""

    def __init__(self, decider: Decider, url: str) -> None:
        self.decider = decider
        self.url = url
        self._asked = 0

    async def run(self, *plans: dict[str, Any], holdouts: list[dict[str, Any]] | None = None) -> int:
        return await put_in_force(self.decider.database, plans, holdouts)

    async def ask(self, customer_id: str, ask: Ask = PUSH, mode: Mode = Mode.RESERVE, id_: str | None = None) -> Answer:
        self._asked += 1
        if mode is not Mode.RESERVE:
            ask = ask._replace(reserves=False)
        return await self.decider.ask(AskCommand(customer_id, id_ or f"m-{self._asked}", ask), mode)

    async def assign(self, customer_id: str, key: str) -> Assigned:
        answer = await self.decider.settle(AssignCommand(customer_id, key))
        assert isinstance(answer, Assigned)
        return answer

    def exposures(self, customer_id: str) -> list[tuple[Any, ...]]:
        """Experiment, variant, and the instants."""
        return self.rows(
            "SELECT experiment, variant, assigned_us, eligible_us, diverged_us FROM exposures"
            f" WHERE customer_id = '{customer_id}' ORDER BY experiment"
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def write(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute(statement.encode()).rowcount == 1

    async def findings(self) -> list[str]:
        return [each.sentence for each in (await verify(self.decider.database)).findings]


@pytest.fixture
async def shop(database_url: str, test_settings: Settings) -> AsyncGenerator[Shop]:
    decider = Decider(database_url, test_settings)
    await decider.open()
    try:
        await policies.activate(decider.database, POLICY, author="test")
        yield Shop(decider, database_url)
    finally:
        await decider.close()


async def test_the_first_ask_assigns_by_the_formula_and_the_one_that_tells_variants_apart_diverges(shop: Shop) -> None:
    await shop.run(DOSE, WELCOME)
    allocation = Allocation(read_data(DOSE))
    for customer_id in ("ada", "bob", "cy", "dee", "eve"):
        expected = allocation.assign(customer_id).variant
        first = await shop.ask(customer_id)
        assert (first.variants, first.verdict) == ({"dose": expected}, Verdict.ALLOW)
        assert (first.budgets[0].budget, first.budgets[0].limit, first.budgets[0].used) == ("push-weekly", 1, 1)
        ((experiment, variant, assigned_us, eligible_us, diverged_us),) = shop.exposures(customer_id)
        assert (experiment, DOSE["variants"][variant]["name"]) == (1, expected)
        assert (assigned_us, eligible_us, diverged_us) == (first.decided_us, first.decided_us, None)

        second = await shop.ask(customer_id)
        assert second.verdict is (Verdict.DEFER if expected == "control" else Verdict.ALLOW)
        assert second.budgets[0].limit == {"control": 1, "three": 3, "five": 5}[expected or ""]
        third = await shop.ask(customer_id)
        assert shop.exposures(customer_id) == [(1, variant, assigned_us, eligible_us, second.decided_us)]
        assert third.variants == second.variants == {"dose": expected}
    assert await shop.findings() == []


async def test_a_check_enters_customers_and_a_peek_says_that_it_recorded_nothing(shop: Shop) -> None:
    await shop.run(THREE)
    peeked = await shop.ask("ada", mode=Mode.PEEK)
    assert (peeked.variants, peeked.recorded) == ({"dose": "three"}, False)
    assert shop.exposures("ada") == shop.rows("SELECT * FROM accounts") == shop.rows("SELECT * FROM changes") == []

    checked = await shop.ask("ada", mode=Mode.CHECK)
    assert (checked.variants, checked.recorded, checked.state) == ({"dose": "three"}, True, None)
    assert shop.exposures("ada") == [(1, 1, checked.decided_us, checked.decided_us, None)]
    taken = await shop.ask("ada")
    assert taken.state is State.RESERVED
    assert (await shop.ask("ada", mode=Mode.PEEK)).budgets[0].limit == 3  # what it would say: they differ now
    assert shop.exposures("ada")[0][-1] is None
    again = await shop.ask("ada", mode=Mode.CHECK)
    assert shop.exposures("ada")[0][-1] == again.decided_us
    assert await shop.findings() == []


@pytest.mark.parametrize("reserves", [False, True])
async def test_a_screening_enters_all_whom_it_asks_about(shop: Shop, reserves: bool) -> None:
    await shop.run(THREE)
    names = [f"customer-{n}" for n in range(30)]
    await shop.ask("customer-0")
    for run, diverged in (("one", 1), ("two", 30 if reserves else 1)):
        screening = Screening("push", "promotions", "autumn", run, reserves=reserves)
        await screen.ask(shop.decider, screening, names, range(30))
        assert shop.rows("SELECT count(*), count(eligible_us), count(diverged_us) FROM exposures") == [
            (30, 30, diverged)
        ]
    assert await shop.findings() == []


async def test_entry_and_ask_share_one_transaction_and_many_asks_of_it_one_row(shop: Shop) -> None:
    await shop.run(THREE)
    answers = await shop.decider.settle_all([AskCommand("ada", f"m-{n}", PUSH) for n in range(5)])
    verdicts = [each.verdict for each in answers if isinstance(each, Answer)]
    assert verdicts == [Verdict.ALLOW] * 3 + [Verdict.DEFER] * 2
    ((_, variant, assigned_us, eligible_us, diverged_us),) = shop.exposures("ada")
    assert variant == 1
    assert assigned_us == eligible_us == diverged_us
    assert len(shop.rows("SELECT * FROM changes")) == 2, "entered, and diverged"
    assert await shop.findings() == []


async def test_who_may_not_be_contacted_is_not_eligible(shop: Shop) -> None:
    await shop.run(THREE)
    await shop.decider.settle(Suppress("ada", UNSUBSCRIBED))
    assert (await shop.ask("ada")).variants == {}
    assert (await shop.ask("bob", Ask("push", "newsletter"))).variants == {}
    assert (await shop.ask("bob", Ask("push", "orders"))).variants == {}
    assert (await shop.ask("bob", Ask("email", "promotions"))).variants == {}
    assert shop.exposures("ada") == shop.exposures("bob") == []
    consent = Consent(Scope("push", None), True, 1, "form")
    await shop.decider.settle(PutCustomer("bob", consents=(consent,)))
    assert (await shop.ask("bob", Ask("push", "newsletter"))).variants == {"dose": "three"}
    assert await shop.findings() == []


async def test_audience_traffic_testers_and_segments_are_as_the_plan_says(shop: Shop) -> None:
    audience = {"audience": {"country": "DE"}, "segments": ["country", "tier"], "testers": {"tess": "five"}}
    await shop.run({**DOSE, **audience})
    await shop.decider.settle(PutCustomer("ada", attributes={"country": "DE", "tier": "gold"}))
    await shop.decider.settle(PutCustomer("bob", attributes={"country": "AT"}))
    asked = {name: (await shop.ask(name)).variants for name in ("ada", "bob", "cy", "tess")}
    assert (asked["bob"], asked["cy"], asked["tess"]) == ({}, {}, {"dose": "five"})
    assert asked["ada"] == {"dose": Allocation(read_data(DOSE)).assign("ada").variant}
    found = shop.rows("SELECT customer_id, flags, segments FROM exposures ORDER BY customer_id")
    assert found == [("ada", 0, {"country": "DE", "tier": "gold"}), ("tess", 1, {"country": None, "tier": None})]

    await shop.decider.settle(PutCustomer("ada", attributes={"country": "AT", "tier": "none"}))
    assert (await shop.ask("ada")).variants == asked["ada"], "who is in stays in"
    assert shop.rows("SELECT segments FROM exposures WHERE customer_id = 'ada'") == [
        ({"country": "DE", "tier": "gold"},)
    ]
    assert await shop.findings() == []


async def test_a_phase_is_that_of_the_day_of_entry(shop: Shop, database_url: str) -> None:
    started, turned = date(2026, 1, 5), date(2029, 1, 1)
    weights = {"control": 1e-6, "three": 1e6, "five": 0}
    phases = [
        {"start": str(started), "weights": weights},
        {"start": str(turned), "weights": {**weights, "three": 0, "five": 1e6}},
    ]
    await shop.run({**THREE, "phases": phases})
    assert (await shop.ask("ada")).variants == {"dose": "three"}
    now_us = await shop.decider.database.clock_us()
    set_clock(database_url, (turned - date(1970, 1, 1)).days * DAY_US - now_us)
    assert (await shop.ask("bob")).variants == {"dose": "five"}
    assert (await shop.ask("ada")).variants == {"dose": "three"}
    assert shop.rows("SELECT customer_id, phase FROM exposures ORDER BY customer_id") == [("ada", 0), ("bob", 1)]
    assert await shop.findings() == []


async def test_a_stored_assignment_outranks_other_weights_and_ends_with_its_experiment(shop: Shop) -> None:
    await shop.run(THREE)
    assert (await shop.ask("ada")).variants == {"dose": "three"}
    await shop.ask("ada")
    await shop.run(everybody("five", DOSE))
    assert ((await shop.ask("ada")).variants, (await shop.ask("bob")).variants) == ({"dose": "three"}, {"dose": "five"})
    await shop.run()
    ended = await shop.ask("ada")
    assert (ended.variants, ended.budgets[0].limit, ended.verdict) == ({}, 1, Verdict.DEFER)
    assert await shop.findings() == []


async def test_a_message_that_lives_is_answered_again_with_its_variants(shop: Shop) -> None:
    await shop.run(THREE)
    await shop.ask("ada", id_="m")
    again = await shop.ask("ada", id_="m")
    assert (again.replayed, again.variants) == (True, {"dose": "three"})
    assert len(shop.rows("SELECT * FROM changes")) == 1


async def test_a_revoked_message_enters_nobody(shop: Shop) -> None:
    await shop.ask("ada", id_="m")
    await shop.decider.settle(Suppress("ada", UNSUBSCRIBED))
    await shop.run(THREE)
    refused = await shop.ask("ada", id_="m")
    assert (refused.verdict, refused.variants, shop.exposures("ada")) == (Verdict.DENY, {}, [])
    assert await shop.findings() == []


async def test_a_holdout_is_decided_under_its_frozen_budgets_and_enters_nothing(shop: Shop) -> None:
    await policies.activate(shop.decider.database, POLICY.replace("limit: 1,", "limit: 4,"), author="test")
    holdout = {"name": "after", "seed": "held", "share": 0.3, "policy_version": 1, "from_us": 0, "until_us": 2**62}
    await shop.run(THREE, WELCOME, holdouts=[holdout])
    in_it = Allocation(read_data({**WELCOME, "holdout": {"name": "held", "share": 0.3}}))
    names = [f"customer-{n}" for n in range(40)]
    held = [name for name in names if in_it.assign(name).reason == "holdout"]
    assert 4 < len(held) < 25
    for name in names:
        answer = await shop.ask(name)
        assert answer.budgets[0].limit == (1 if name in held else 4)
        assert answer.variants == ({} if name in held else {"dose": "three"})
        assigned = await shop.assign(name, "welcome")
        assert (assigned.reason == "holdout", assigned.variant is None) == (name in held, name in held)
        assert bool(shop.exposures(name)) == (name not in held)
    view = await look(shop.decider, held[0])
    assert [each.line.limit for each in view.standings] == [1, 2, 40]
    assert (await shop.ask(held[0])).verdict is Verdict.DEFER

    await shop.run(THREE, holdouts=[{**holdout, "until_us": await shop.decider.database.clock_us()}])
    assert (await shop.ask(held[0])).variants == {"dose": "three"}
    assert await shop.findings() == []


async def test_in_a_holdout_a_topic_is_exempt_as_for_everybody(shop: Shop) -> None:
    later = POLICY.replace("orders: {purpose: serve, exempt: true, counts: false}", "orders: {purpose: serve}")
    await policies.activate(shop.decider.database, later, author="test")
    holdout = {"name": "all", "seed": "all", "share": 0.5, "policy_version": 1, "from_us": 0, "until_us": 2**62}
    await shop.run(holdouts=[holdout])
    for n in range(12):
        name = f"customer-{n}"
        assert (await shop.ask(name, Ask("push", "orders"))).state is State.RESERVED
        filed = await shop.decider.settle(Suppress(name, UNSUBSCRIBED))
        assert isinstance(filed, Filed)
        assert (filed.revoked, (await shop.ask(name, Ask("push", "orders"))).verdict) == (1, Verdict.DENY)
    assert len(shop.rows("SELECT * FROM resolutions")) == 12
    assert await shop.findings() == []


async def test_a_plan_that_cannot_be_read_stops_decisions_until_it_is_gone(shop: Shop) -> None:
    await shop.run({**DOSE, "variants": []})
    with pytest.raises(Unavailable, match="cannot be read"):
        await shop.ask("ada")
    await shop.run(DOSE)
    assert (await shop.ask("ada")).verdict is Verdict.ALLOW


async def test_a_patch_that_does_not_fit_leaves_the_policy_as_it_is(shop: Shop) -> None:
    await shop.run(everybody("three", budget_plan("dose", "no-such-budget", {"three": 3})))
    answer = await shop.ask("ada")
    assert (answer.verdict, answer.variants, shop.exposures("ada")) == (Verdict.ALLOW, {}, [])


async def test_a_customers_budgets_are_shown_as_their_variant_has_them_once_it_shows(shop: Shop) -> None:
    await shop.run(THREE)
    for limit in (1, 3, 3):
        await shop.ask("ada")
        assert (await look(shop.decider, "ada")).standings[0].line.limit == limit


async def test_an_evaluation_is_the_exposure_where_no_budget_changes(shop: Shop) -> None:
    await shop.run(DOSE, {**WELCOME, "segments": ["tier"]})
    expected = Allocation(read_data(WELCOME)).assign("ada").variant
    peeked = await shop.decider.peek(AssignCommand("ada", "welcome"))
    assert (peeked.variant, peeked.reason, peeked.exposed) == (expected, "assigned", False)
    assert shop.exposures("ada") == shop.rows("SELECT * FROM accounts") == []

    first = await shop.assign("ada", "welcome")
    assert (first.variant, first.reason, first.exposed) == (expected, "assigned", True)
    again = await shop.assign("ada", "welcome")
    assert (again.variant, again.reason, again.exposed) == (expected, "stored", True)
    ((experiment, _, assigned_us, eligible_us, diverged_us),) = shop.exposures("ada")
    assert (experiment, assigned_us, eligible_us, diverged_us) == (2, first.at_us, first.at_us, None)
    assert (await shop.ask("ada")).variants.keys() == {"dose"}
    assert len(shop.exposures("ada")) == 2
    assert await shop.findings() == []


async def test_a_budget_experiment_is_entered_by_asks_alone_and_others_must_run(shop: Shop) -> None:
    await shop.run(DOSE)
    with pytest.raises(Invalid, match="expected peek: dose changes budgets"):
        await shop.assign("ada", "dose")
    with pytest.raises(NotFound, match="no experiment 'welcome' is running"):
        await shop.assign("ada", "welcome")
    peeked = await shop.decider.peek(AssignCommand("ada", "dose"))
    assert (peeked.variant, peeked.exposed) == (Allocation(read_data(DOSE)).assign("ada").variant, False)
    assert shop.rows("SELECT * FROM accounts") == []


async def test_the_journal_says_what_an_ask_made_of_memberships_right_before_it(shop: Shop) -> None:
    await shop.run(THREE)
    await shop.ask("ada")
    await shop.ask("ada")
    entries = (await journal(shop.decider, "ada", None, 10)).entries
    assert [type(each) for each in entries] == [Message, Changed, Message, Changed]
    assert [each.data for each in entries if isinstance(each, Changed)] == [[[1, 1, 2]], [[1, 1, 1]]]
    assert {each.change for each in entries if isinstance(each, Changed)} == {Change.VARIANTS}


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE exposures SET variant = 2", "says variant 2, the journal 1"),
        ("UPDATE exposures SET diverged_us = NULL", "says diverged_us None"),
        ("UPDATE exposures SET assigned_us = 1", "says assigned_us 1"),
        ("DELETE FROM exposures", "there is no exposure, but the journal says that the customer is in it"),
        (
            "INSERT INTO exposures (customer_id, experiment, assigned_us, variant, phase, flags)"
            " VALUES ('ada', 9, 1, 0, 0, 0)",
            "there is an exposure, but the journal knows nothing of it",
        ),
        ("UPDATE changes SET data = '[[1, 2, 1]]' WHERE seq = 1", "variant 2, eligible on record"),
        ("UPDATE changes SET data = '[[1, 1, 2]]' WHERE seq = 1", "diverged on record, but the replay says"),
        ("UPDATE changes SET data = '[[1, 1, 1]]' WHERE seq = 3", "but the replay says variant 1, diverged"),
        ("UPDATE changes SET data = '[]' WHERE seq = 1", "nothing on record, but the replay says variant 1"),
    ],
)
async def test_verify_finds_what_does_not_agree(shop: Shop, statement: str, sentence: str) -> None:
    await shop.run(THREE)
    await shop.ask("ada")
    await shop.ask("ada")
    assert await shop.findings() == []
    shop.write(statement)
    found = await shop.findings()
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize("seed", range(3))
async def test_random_histories_under_experiments_replay_to_the_same_answers(
    decider: Decider, database_url: str, seed: int
) -> None:
    """Experiments that start, change their weights and end, policies that change under them, and holdouts."""
    history = History(decider, database_url, seed)
    day = budget_plan("day", "day", {"more": 6, "none": 0})
    push = budget_plan("push", "push-weekly", {"one": 1, "five": 5}, audience={"tier": "gold"})
    calls = budget_plan("calls", "calls-ever", {"few": 2, "any": None})
    holdout = {"name": "h", "seed": "h", "share": 0.4, "policy_version": 1, "from_us": 0, "until_us": 2**62}
    for plans in ([day, push, WELCOME], [day, everybody("five", push)], [day, push, calls], []):
        await policies.activate(decider.database, STRICT, author="test")
        await put_in_force(decider.database, plans, [holdout] if len(plans) == 2 else [])
        await history.busy(6, 40)
        if WELCOME in plans:
            await history.settle([AssignCommand(each, "welcome") for each in history.customers])
    report = await verify(decider.database)
    assert report.findings == ()
    assert report.decisions > 150
    with psycopg.connect(database_url) as connection:
        entered = connection.execute(
            "SELECT count(*), count(diverged_us) FROM exposures WHERE experiment = 1 OR experiment = 2"
        ).fetchone()
    assert entered is not None
    assert min(entered) > 1


async def test_customers_asked_about_at_once_enter_once(shop: Shop) -> None:
    await shop.run(THREE)
    asks = [shop.ask(f"customer-{n % 10}", id_=f"m-{n}") for n in range(200)]
    answers = await asyncio.gather(*asks)
    assert {each.variants["dose"] for each in answers} == {"three"}
    assert shop.rows("SELECT count(*) FROM exposures") == [(10,)]
    await asyncio.gather(*(shop.decider.settle(ConfirmCommand(f"customer-{n % 10}", f"m-{n}")) for n in range(10)))
    assert await shop.findings() == []
