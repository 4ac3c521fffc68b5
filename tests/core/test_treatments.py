"""Budgets as treatments, against the definition run by brute force: every variant's whole policy on the history so far.

Random policies, experiments and histories of asks. The definition shares `decide` with the code under test (which has
an oracle of its own), and nothing else: patches are put into policies by hand, and nothing is left out as needless.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import pytest

from engine.core.account import Account, Lease
from engine.core.customer import Customer, Membership, Stage
from engine.core.decision import decide
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, Budget, Override, Policy, PolicyMode, Rolling, Selector
from engine.core.rules import Holdout, Pause, Place, Rules, RunningExperiment
from engine.core.treatments import Treated, rules_for, shown, treat
from engine.core.verdict import Ask, Decision, Verdict
from tests.core import oracle, strategies
from tests.core.strategies import NOONS_US, dice, one_in

NAMES = ("control", "a", "b", "c")


class Asked(NamedTuple):
    """One ask of a history: made so long after the last, and what becomes of a reservation before the next."""

    after_us: int
    ask: Ask
    then: str


@dataclass(frozen=True)
class World:
    """An enterprise with experiments, one customer, and what will be asked about them. Patches by experiment."""

    policy: Policy
    patches: Mapping[int, Mapping[int, tuple[Budget, ...]]]
    customer: Customer
    noon_us: int
    history: tuple[Asked, ...]

    def rules(self, assigned: Mapping[int, int | None]) -> Rules:
        def experiment(number: int) -> RunningExperiment:
            names = NAMES[: len(self.patches[number])]
            return RunningExperiment(number, f"e{number}", names, lambda *_: Place(assigned[number], "assigned"))

        return Rules(1, self.policy, (), self.patches, tuple(experiment(each) for each in self.patches))

    def decided(
        self, variants: Mapping[int, int], customer: Customer, account: Account, ask: Ask, now: int
    ) -> Decision:
        """The decision under these variants' patches, put into the policy by hand."""
        changed = {
            budget.name: budget for number in sorted(variants) for budget in self.patches[number][variants[number]]
        }
        budgets = tuple(changed.get(each.name, each) for each in self.policy.budgets)
        return decide(Rules(1, replace(self.policy, budgets=budgets)), customer, account, ask, now)

    def selects(self, number: int, customer: Customer, ask: Ask) -> bool:
        """Whether the ask is selected by a budget of any variant, and refused by neither suppression nor consent."""
        topic = strategies.Topic() if not self.policy.topics else self.policy.topics.get(ask.topic)
        if topic is None or topic.exempt:
            return False
        case = oracle.Case(Rules(1, self.policy), customer, (), ask, {}, {})
        if oracle.suppressed(case, exempt=False) or not oracle.consented(case, topic):
            return False
        changed = {budget for patch in self.patches[number].values() for budget in (each.name for each in patch)}
        return any(
            oracle.selects(each.selector, ask) and (each.per is None or getattr(ask, each.per.value) is not None)
            for each in self.policy.budgets
            if each.name in changed
        )


class Answered(NamedTuple):
    now_us: int
    decision: Decision
    variants: Mapping[int, Membership]


def world(random: Random, experiments: int) -> World | None:
    """A world in which an experiment's budgets are often met; None where the policy has no budget to experiment on."""
    noon_us = random.choice(NOONS_US)
    policy = strategies.policy(random)
    if policy.mode is PolicyMode.OBSERVE and not one_in(random, 4):
        policy = replace(policy, mode=PolicyMode.ENFORCE)
    limited = [each for each in policy.budgets if not each.is_gap]
    if not limited:
        return None

    def patch(budget: Budget) -> Budget:
        overrides = (Override(strategies.when(random), strategies.limit(random)),) if one_in(random, 5) else ()
        return replace(budget, limit=strategies.limit(random), overrides=overrides)

    def patches() -> dict[int, tuple[Budget, ...]]:
        chosen = random.sample(limited, min(len(limited), random.choice((1, 1, 2))))
        variants = range(1, random.randint(2, 4))
        return {0: (), **{variant: tuple(patch(each) for each in chosen) for variant in variants}}

    asks = tuple(
        Asked(
            random.choice((0, MINUTE_US, HOUR_US, 5 * HOUR_US, DAY_US, 3 * DAY_US)),
            strategies.ask(random, noon_us),
            random.choice(("confirm", "confirm", "release", "nothing")),
        )
        for _ in range(random.randint(4, 10))
    )
    one = asks[0].ask
    alike = tuple(each if one_in(random, 3) else each._replace(ask=one._replace(send_at_us=None)) for each in asks)
    numbers = range(1, experiments + 1)
    customer = strategies.customer(random, noon_us)
    return World(policy, {number: patches() for number in numbers}, customer, noon_us, alike)


def lived(world: World, assigned: Mapping[int, int | None]) -> list[Answered]:
    """The history as the code under test answers it."""
    rules = world.rules(assigned)
    customer, account, now = world.customer, Account(), world.noon_us
    answered: list[Answered] = []
    for each in world.history:
        now += each.after_us
        treated = treat(rules, "ada", customer, account, each.ask, now)
        customer = replace(customer, variants=treated.memberships)
        answered.append(Answered(now, treated.decision, treated.memberships))
        settle(account, each, treated.decision, now)
    return answered


def settle(account: Account, asked: Asked, decision: Decision, now: int) -> None:
    if decision.verdict is not Verdict.ALLOW or not asked.ask.reserves:
        return
    contact = decision.contact(asked.ask, account.stamp(now))
    if asked.then != "release":
        account.add(contact.confirmed(now) if asked.then == "confirm" else contact)


def defined(world: World, assigned: Mapping[int, int | None]) -> list[Answered]:
    """The same by the definition."""
    customer, account, now = world.customer, Account(), world.noon_us
    places: dict[int, Membership] = {}
    answered: list[Answered] = []
    for asked in world.history:
        now += asked.after_us
        for number, variant in assigned.items():
            if variant is not None and number not in places and world.selects(number, customer, asked.ask):
                places[number] = Membership(variant, Stage.ELIGIBLE)
        as_assigned = {number: each.variant for number, each in places.items()}
        for number in places:
            outcomes = set[tuple[Verdict, int | None]]()
            for variant in world.patches[number]:
                said = world.decided({**as_assigned, number: variant}, customer, account, asked.ask, now)
                outcomes.add((said.verdict, said.retry_at_us))
            if len(outcomes) > 1:
                places[number] = places[number]._replace(stage=Stage.DIVERGED)
        showing = {number: each.variant for number, each in places.items() if each.stage is Stage.DIVERGED}
        decision = world.decided(showing, customer, account, asked.ask, now)
        honest = world.decided(as_assigned, customer, account, asked.ask, now)
        if (decision.verdict, decision.retry_at_us) != (honest.verdict, honest.retry_at_us):
            assert len(places) > 1, "the control's answer was another than the variant's"
            decision = honest
        answered.append(Answered(now, decision, dict(places)))
        settle(account, asked, decision, now)
    return answered


def worlds(count: int, experiments: int) -> list[tuple[int, World]]:
    found = [(seed, world(dice(seed), experiments)) for seed in range(count)]
    return [(seed, each) for seed, each in found if each is not None]


def assignment(random: Random, world: World) -> dict[int, int | None]:
    return {
        number: None if one_in(random, 6) else random.choice(tuple(variants))
        for number, variants in world.patches.items()
    }


@pytest.mark.parametrize(("experiments", "count"), [(1, 500), (2, 400), (3, 100)])
def test_customers_enter_and_diverge_when_the_definition_says_and_are_answered_by_it(experiments: int, count: int):
    stages: dict[Stage, int] = dict.fromkeys(Stage, 0)
    for seed, each in worlds(count, experiments):
        assigned = assignment(dice(seed), each)
        told = lived(each, assigned)
        assert [dict(one.variants) for one in told] == [dict(one.variants) for one in defined(each, assigned)], seed
        assert [one.decision for one in told] == [one.decision for one in defined(each, assigned)], seed
        for membership in told[-1].variants.values():
            stages[membership.stage] += 1
    assert stages[Stage.ELIGIBLE] > count / 10, "too few worlds in which variants agree"
    assert stages[Stage.DIVERGED] > count / 5, "too few worlds in which variants differ"


def test_until_divergence_all_variants_share_one_history_and_it_comes_at_one_instant_in_each():
    diverged = 0
    for seed, each in worlds(600, 1):
        lives = [lived(each, {1: variant}) for variant in each.patches[1]]
        until = [since(life, 1, Stage.DIVERGED) for life in lives]
        assert len(set(until)) == 1, seed
        assert len({since(life, 1, Stage.ELIGIBLE) for life in lives}) == 1, seed
        diverged += until[0] is not None
        shared = [[one.decision for one in life[: until[0]]] for life in lives]
        assert all(one == shared[0] for one in shared), seed
        if until[0] is not None:
            outcomes = {(life[until[0]].decision.verdict, life[until[0]].decision.retry_at_us) for life in lives}
            assert len(outcomes) > 1, seed
    assert diverged > 150


def test_beside_other_experiments_too_a_variant_moves_neither_instant_nor_any_verdict_before():
    swapped = 0
    for seed, each in worlds(400, 2):
        other = dice(seed).choice(tuple(each.patches[2]))
        lives = [lived(each, {1: variant, 2: other}) for variant in each.patches[1]]
        until = [since(life, 1, Stage.DIVERGED) for life in lives]
        assert len(set(until)) == 1, seed
        assert len({since(life, 1, Stage.ELIGIBLE) for life in lives}) == 1, seed
        said = [[(one.decision.verdict, one.decision.retry_at_us) for one in life[: until[0]]] for life in lives]
        assert all(one == said[0] for one in said), seed
        swapped += until[0] is not None and {2} < set(lives[0][-1].variants)
    assert swapped > 40


def since(life: list[Answered], number: int, stage: Stage) -> int | None:
    """The place of the first ask at which a customer had come so far."""
    for place, each in enumerate(life):
        found = each.variants.get(number)
        if found is not None and found.stage >= stage:
            return place
    return None


# --- one by one -------------------------------------------------------------------------------------------------------

NOW_US = NOONS_US[0]
PUSH = Selector(channels=frozenset({"push"}))
WEEKLY = Budget("weekly", Rolling(7 * DAY_US), 1, PUSH)
ASK = Ask("push", "promotions")


def running(limits: Mapping[int, int | None], variant: int | None = 1, budget: Budget = WEEKLY) -> Rules:
    """A policy of one budget, and an experiment with other limits for its variants that puts everybody into one."""
    patches = {0: (), **{place: (replace(budget, limit=limit),) for place, limit in limits.items()}}
    experiment = RunningExperiment(7, "dose", NAMES[: len(patches)], lambda *_: Place(variant, "assigned"))
    return Rules(1, Policy({}, (budget,), "UTC"), (), {7: patches}, (experiment,))


def asked(rules: Rules, account: Account, customer: Customer | None = None, ask: Ask = ASK) -> Treated:
    return treat(rules, "ada", customer or Customer(), account, ask, NOW_US)


def holding(rules: Rules, contacts: int) -> Account:
    account = Account()
    for seq in range(1, contacts + 1):
        contact = decide(rules, Customer(), Account(), ASK, NOW_US - seq * HOUR_US).contact(ASK, seq)
        account.add(contact._replace(lease=Lease.SETTLED))
    return account


def test_who_is_assigned_has_the_controls_figures_until_the_variants_differ():
    rules = running({1: 3})
    first = asked(rules, Account())
    assert first.memberships == {7: Membership(1, Stage.ELIGIBLE)}
    assert [(each.experiment.key, each.place) for each in first.steps] == [("dose", Place(1, "assigned"))]
    assert first.shown == {"dose": "a"}
    assert (first.decision.budgets[0].limit, first.decision.budgets[0].used) == (1, 1)

    customer = Customer(variants=first.memberships)
    second = asked(rules, holding(rules, 1), customer)
    assert second.memberships == {7: Membership(1, Stage.DIVERGED)}
    assert [each.place for each in second.steps] == [None]
    assert (second.decision.verdict, second.decision.budgets[0].limit) == (Verdict.ALLOW, 3)

    later = asked(rules, holding(rules, 2), Customer(variants=second.memberships))
    assert later.steps == ()
    assert (later.decision.verdict, later.decision.budgets[0].limit) == (Verdict.ALLOW, 3)


@pytest.mark.parametrize(
    ("limits", "held", "diverges"),
    [
        ({1: 3}, 0, False),
        ({1: 3}, 1, True),  # the control refuses, the variant does not
        ({1: 0}, 0, True),  # the variant refuses, the control does not
        ({1: None}, 1, True),
        ({1: 1}, 1, False),  # an A/A: both refuse, and until the same instant
        ({1: 3, 2: 5}, 1, True),
        ({1: 1, 2: 5}, 1, True),
    ],
)
def test_variants_diverge_where_they_differ_in_the_verdict(limits: dict[int, int | None], held: int, diverges: bool):
    rules = running(limits)
    stage = asked(rules, holding(rules, held)).memberships[7].stage
    assert (stage is Stage.DIVERGED) == diverges


def test_variants_diverge_where_only_the_time_to_come_again_differs():
    rules = running({1: 2})
    account = holding(rules, 3)  # both refuse, the larger limit for an hour less
    assert asked(rules, account).memberships[7].stage is Stage.DIVERGED


def test_room_now_is_not_room_for_good_where_a_send_is_planned():
    """Both wait for the pause to end; by then the smaller limit is taken up by a message planned for that hour."""
    ends_us = NOW_US + 3 * DAY_US
    rules = running({1: 1}, budget=Budget("hourly", Rolling(HOUR_US), 5, PUSH))
    rules = replace(rules, pauses=(Pause("outage", until_us=ends_us),))
    planned = decide(replace(rules, pauses=()), Customer(), Account(), ASK._replace(send_at_us=ends_us), NOW_US)
    account = Account(contacts=[planned.contact(ASK, 1)._replace(lease=Lease.PRESUMED)])
    assert asked(rules, Account()).memberships[7].stage is Stage.ELIGIBLE
    treated = asked(rules, account)
    assert treated.memberships[7].stage is Stage.DIVERGED
    assert (treated.decision.retry_at_us or 0) > ends_us


def test_what_is_left_out_of_an_experiment_is_decided_by_the_policy_and_remembers_nothing():
    rules = running({1: 3}, variant=None)
    treated = asked(rules, holding(rules, 1))
    assert (treated.decision.verdict, treated.memberships, treated.steps, treated.shown) == (Verdict.DEFER, {}, (), {})
    other = asked(running({1: 3}), Account(), ask=Ask("email", "promotions"))
    assert (other.memberships, other.shown) == ({}, {})


def test_what_is_on_file_outranks_the_formula():
    rules = running({1: 3, 2: 5}, variant=2)
    customer = Customer(variants={7: Membership(0, Stage.DIVERGED)})
    treated = asked(rules, holding(rules, 1), customer)
    assert (treated.decision.verdict, treated.shown, treated.steps) == (Verdict.DEFER, {"dose": "control"}, ())


def test_who_was_only_assigned_becomes_eligible_by_an_ask():
    customer = Customer(variants={7: Membership(1, Stage.ASSIGNED), 99: Membership(0, Stage.ASSIGNED)})
    treated = asked(running({1: 3}), Account(), customer)
    assert treated.memberships == {7: Membership(1, Stage.ELIGIBLE), 99: Membership(0, Stage.ASSIGNED)}
    assert [each.place for each in treated.steps] == [None]


def test_a_holdout_is_decided_by_its_frozen_rules_and_is_in_no_experiment():
    frozen = Rules(1, Policy({}, (replace(WEEKLY, limit=2),), "UTC"))
    holdout = Holdout("after-dose", NOW_US, NOW_US + DAY_US, lambda customer_id: customer_id == "ada", frozen)
    rules = replace(running({1: 3}), holdouts=(holdout,))
    treated = asked(rules, Account(), Customer(variants={7: Membership(1, Stage.DIVERGED)}))
    assert (treated.decision.budgets[0].limit, treated.steps, treated.shown) == (2, (), {})
    assert treat(rules, "bob", Customer(), Account(), ASK, NOW_US).shown == {"dose": "a"}
    assert treat(rules, "ada", Customer(), Account(), ASK, NOW_US - 1).shown == {"dose": "a"}
    assert treat(rules, "ada", Customer(), Account(), ASK, NOW_US + DAY_US).shown == {"dose": "a"}
    wide = Rules(1, Policy({}, (Budget("m", Rolling(60 * DAY_US), 1),), "UTC"))
    assert replace(rules, holdouts=(replace(holdout, rules=wide),)).longest_us == 60 * DAY_US


def test_what_binds_as_things_stand_is_the_variant_that_has_shown():
    rules = running({1: 3})
    for stage, limit in ((Stage.ASSIGNED, 1), (Stage.ELIGIBLE, 1), (Stage.DIVERGED, 3)):
        customer = Customer(variants={7: Membership(1, stage)})
        assert rules_for(rules, "ada", customer, NOW_US).policy.budgets[0].limit == limit
        assert shown(rules, "ada", customer, ASK, NOW_US) == {"dose": "a"}


def test_a_memory_that_was_filled_says_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.core.treatments._RIVALS_MAX", 1)
    for seed, each in worlds(60, 2):
        assigned = assignment(dice(seed), each)
        assert [one.decision for one in lived(each, assigned)] == [one.decision for one in defined(each, assigned)]
