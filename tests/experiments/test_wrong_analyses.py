"""Analyses that a tired team would write, each in the place of a right one, are told from the truth of a simulation.

Each claim holds of the library: its interval covers what is known, or something else that must be so. The same claim,
on the same tables, breaks once one piece is the wrong one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

import experiments as ex
from experiments.aggregates import Aggregates, Cell
from experiments.design import (
    Columns,
    Direction,
    Experiment,
    Form,
    Inference,
    Mean,
    Metric,
    Outcome,
    Phase,
    Rate,
    Ratio,
    Retention,
    Role,
    Survival,
    Variant,
)
from experiments.estimates import Estimate, Level
from experiments.estimators import proportions
from experiments.moments import Counts, Moments
from experiments.readout import CheckCode
from experiments.reporting.verdicts import Call
from experiments.risk import RiskTable
from experiments.simulate import Simulation, Truth, World, simulate, truth
from tests.experiments import wrong_analyses as wrong
from tests.experiments.plan_texts import SMALL, read

pa: Any = import_module("pyarrow")  # it carries no types
pc: Any = import_module("pyarrow.compute")
Table: TypeAlias = Any

WORLD = World(customers=100_000, limits={"one": 1, "five": 5}, seed=3)
START = WORLD.start
EARLY_DAYS = 8  # who entered in the first of them is mature on day 36
DOSES = (Variant("one", control=True, dose=1), Variant("five", dose=5))
UNSUBSCRIBED, SENT = Outcome(event="unsubscribed", within_days=28), Outcome(event="sent", within_days=28)


class Broken(AssertionError):
    """What a claim says is not so; the message is the sentence that failed."""


SHARES = "the variants hold the planned shares"
COVERS = "the interval covers the truth"
MORE_LEAVE = "more contacts make more customers unsubscribe"
ONE_TEST = "the p-value is below alpha exactly where the interval leaves 0 out"


def insist(holds: bool, sentence: str) -> None:
    if not holds:
        raise Broken(sentence)


@cache
def simulation() -> Simulation:
    return simulate(WORLD)


@cache
def known(entry_days: int = WORLD.entry_days) -> Truth:
    """Of the customers who entered in the first days: their luck is the same in a world that closes earlier."""
    return truth(replace(WORLD, entry_days=entry_days))


@cache
def events() -> Table:
    """As they arrived; and who closed the account or was erased has "left" too, as a warehouse would say it."""
    everybodys, entered = simulation().events, simulation().exposures["customer_id"]
    found = everybodys.filter(pc.is_in(everybodys["customer_id"], entered))
    gone = found.filter(pc.is_in(found["type"], pa.array(["account_closed", "erased"])))
    left = gone.set_column(gone.column_names.index("type"), "type", pa.array(["left"] * len(gone)))
    return pa.concat_tables([found, left.set_column(0, "id", pc.binary_join_element_wise(left["id"], "left", "-"))])


def of_types(*types: str) -> Table:
    return events().filter(pc.is_in(events()["type"], pa.array(types)))


def a_plan(*metrics: Metric, **more: Any) -> Experiment:
    first, last = START, START + timedelta(days=WORLD.days)
    given: dict[str, Any] = {"key": "k", "start": first, "end": last, "variants": DOSES, "metrics": metrics}
    given |= {"columns": Columns(event_id="id"), "horizon_days": 28, "inference": Inference.FIXED, "alpha": 0.001}
    return Experiment(**(given | more))


def covers(estimate: Estimate, effect: float) -> None:
    insist(estimate.is_known, "there is an estimate")
    insist(not estimate.excludes(effect), COVERS)


LOWER = {"role": Role.PRIMARY, "direction": Direction.DECREASE}
RETAINED = Retention(
    name="retained",
    role=Role.PRIMARY,
    direction=Direction.INCREASE,
    outcome=Outcome(event="session"),
    form=Form.ON_OR_AFTER,
    from_day=14,
    until_day=28,
)


def unsubscribed_is_per_customer() -> None:
    ratio = Ratio(
        name="per_message",
        role=Role.DESCRIPTIVE,
        direction=Direction.DECREASE,
        numerator=UNSUBSCRIBED,
        denominator=SENT,
    )
    plan = a_plan(Rate(name="unsubscribed", outcome=UNSUBSCRIBED, **LOWER), ratio)
    readout = ex.analyze(plan, simulation().exposures, of_types("unsubscribed", "sent"))
    found = readout.metric("unsubscribed").comparison("five").estimate
    insist((found.low or 0) > 0, MORE_LEAVE)
    covers(found, known().effect("unsubscribed", "five", "one"))
    insist((readout.metric("per_message").comparison("five").estimate.effect or 0) < 0, "per message it looks better")


def unsubscribed_is_what_customers_did() -> None:
    plan = a_plan(Rate(name="unsubscribed", outcome=UNSUBSCRIBED, **LOWER))
    readout = ex.analyze(plan, simulation().exposures, of_types("unsubscribed"))
    covers(readout.metric("unsubscribed").comparison("five").estimate, known().effect("unsubscribed", "five", "one"))


def unsubscribed_is_of_mature_customers() -> None:
    plan = a_plan(Rate(name="unsubscribed", outcome=UNSUBSCRIBED, **LOWER))
    as_of = START + timedelta(days=EARLY_DAYS + 28)
    readout = ex.analyze(plan, simulation().exposures, of_types("unsubscribed"), as_of=as_of)
    covers(
        readout.metric("unsubscribed").comparison("five").estimate,
        known(EARLY_DAYS).effect("unsubscribed", "five", "one"),
    )


def left_is_an_event() -> None:
    plan = a_plan(Rate(name="left", outcome=Outcome(event="left", within_days=28), **LOWER))
    readout = ex.analyze(plan, simulation().exposures, of_types("left", "session"))
    covers(readout.metric("left").comparison("five").estimate, known().effect("left", "five", "one"))
    for arm in readout.metric("left").arms:
        counts = Counts(int(arm.numerator), int(arm.denominator))
        covers(proportions.interval(counts, Level(0.001)), known().means[arm.variant]["left"])


def exposed_by(days: int) -> ex.Readout:
    plan = a_plan(Rate(name="unsubscribed", outcome=UNSUBSCRIBED, **LOWER))
    return ex.analyze(plan, simulation().exposures, of_types("unsubscribed", "sent"), as_of=START + timedelta(days))


def entry_is_the_first_ask() -> None:
    readout = exposed_by(WORLD.days)
    insist(not readout.problems, SHARES)
    insist({CheckCode.SRM, CheckCode.SRM_SEQUENTIAL} <= {each.code for each in readout.checks}, "shares are tested")


@cache
def a_ramp() -> Table:
    """As if from day 8 on only one in four customers of `one` had been taken into the experiment."""
    exposures = simulation().exposures
    begins = pd.Timestamp(START + timedelta(days=EARLY_DAYS), tz="UTC")
    late = pc.greater_equal(exposures["entered_at"], pa.scalar(begins, exposures["entered_at"].type))
    chance = np.random.default_rng(11).random(len(exposures))
    thinned = pc.and_(pc.and_(late, pc.equal(exposures["variant"], "one")), pa.array(chance > 0.25))
    return exposures.filter(pc.invert(thinned))


def of_a_ramp(as_of_day: int) -> Estimate:
    ramp = (
        Phase(START, {"one": 1, "five": 1}),
        Phase(START + timedelta(days=EARLY_DAYS), {"one": 1, "five": 4}),
    )
    plan = a_plan(RETAINED, phases=ramp)
    readout = ex.analyze(plan, a_ramp(), of_types("session"), as_of=START + timedelta(days=as_of_day))
    insist(not readout.problems, SHARES)
    return readout.metric("retained").comparison("five").estimate


def retained_is_of_mature_customers() -> None:
    covers(of_a_ramp(EARLY_DAYS + 28), known(EARLY_DAYS).effect("retained", "five", "one"))


def phases_are_strata() -> None:
    covers(of_a_ramp(WORLD.days), known().effect("retained", "five", "one"))


HAZARD, OTHERS = 0.01, {"one": 0.002, "five": 0.04}  # a day, of the event and of competing ones


@cache
def lives() -> pd.DataFrame:
    """20,000 customers a variant: the same hazard of the event, and more of `five` leave by another way before it."""
    random = np.random.default_rng(5)
    count = 20_000
    frames = []
    for variant, other in OTHERS.items():
        days = random.geometric(HAZARD + other, count) - 1
        is_event = random.random(count) < HAZARD / (HAZARD + other)
        watched = days < 28
        frames.append(
            pd.DataFrame(
                {
                    "variant": variant,
                    "days": np.minimum(days, 28),
                    "event": is_event & watched,
                    "left": ~is_event & watched,
                }
            )
        )
    return pd.concat(frames)


def incidence_is_what_happened() -> None:
    survival = Survival(name="time", event="event", competing=("left",), duration="days", horizon_days=28, **LOWER)
    readout = ex.analyze(a_plan(survival, columns=Columns(unit=None)), lives())
    one, five = (HAZARD / (HAZARD + each) * (1 - (1 - HAZARD - each) ** 28) for each in OTHERS.values())
    covers(readout.metric("time").comparison("five").estimate, five - one)


def swept(inference: Inference, spend: Role, step: int) -> ex.Readout:
    """An experiment whose effects grow with each step, by little: somewhere each interval comes to leave 0 out."""
    metrics: tuple[Metric, ...] = (
        Rate(name="visit", outcome=Outcome(column="visit"), **LOWER),
        Mean(name="spend", role=spend, direction=Direction.INCREASE, outcome=Outcome(column="spend")),
        Survival(
            name="time",
            role=Role.SECONDARY,
            direction=Direction.DECREASE,
            event="event",
            competing=("left",),
            duration="days",
            horizon_days=28,
        ),
    )
    others = 50 + 5 * step
    events = round((1_000 - others) * 300 / 950)
    one, five = Cell("one"), Cell("five")
    outcomes = {
        "visit": {one: Counts(120, 4_000), five: Counts(120 + step, 4_000)},
        "spend": {one: Moments(4_000, 1.0, 4e3, 0.0, 4_000), five: Moments(800, 1 + step / 100, 7.2e3, 0.0, 800)},
        "time": {
            one: RiskTable({10: 300}, {5: 50}, {28: 650}),
            five: RiskTable({10: events}, {5: others}, {28: 1_000 - others - events}),
        },
    }
    plan = a_plan(*metrics, inference=inference, alpha=0.05)
    return ex.readout_of(plan, Aggregates({one: 4_000, five: 4_000}, outcomes))


def one_test_a_metric() -> None:
    seen: dict[str, set[bool]] = {}
    kinds = [(Inference.FIXED, Role.SECONDARY), (Inference.FIXED, Role.PRIMARY), (Inference.ANYTIME, Role.SECONDARY)]
    for inference, spend in kinds:
        for step in range(100):
            for metric in swept(inference, spend, step).metrics:
                found = metric.comparison("five").estimate
                is_found = found.excludes(0)
                seen.setdefault(f"{metric.name} {inference} {spend}", set()).add(is_found)
                insist(found.p_value is not None and (found.p_value < found.level.alpha) == is_found, ONE_TEST)
    insist(all(len(each) == 2 for each in seen.values()), "each interval leaves 0 out somewhere, and not everywhere")


@dataclass(frozen=True)
class Mutant:
    """A wrong piece, the claim that it must break, and the sentence of the claim that then fails."""

    substitute: wrong.Substitution
    claim: Callable[[], None]
    breaks: str


MUTANTS = {
    "per message": Mutant(wrong.per_message, unsubscribed_is_per_customer, MORE_LEAVE),
    "exposed when allowed": Mutant(wrong.exposed_when_allowed, entry_is_the_first_ask, SHARES),
    "grouped by contacts received": Mutant(wrong.grouped_by_contacts_received, unsubscribed_is_per_customer, COVERS),
    "inactive as left": Mutant(wrong.inactive_as_left, left_is_an_event, COVERS),
    "suspects counted": Mutant(wrong.suspects_counted, unsubscribed_is_what_customers_did, COVERS),
    "everybody as denominator": Mutant(wrong.everybody_as_denominator, retained_is_of_mature_customers, COVERS),
    "immature counted": Mutant(wrong.immature_counted, unsubscribed_is_of_mature_customers, COVERS),
    "phases pooled": Mutant(wrong.phases_pooled, phases_are_strata, COVERS),
    "1 - Kaplan-Meier": Mutant(wrong.one_minus_kaplan_meier, incidence_is_what_happened, COVERS),
    "Fisher beside a score interval": Mutant(wrong.fisher_beside_a_score_interval, one_test_a_metric, ONE_TEST),
    "Student beside Welch": Mutant(wrong.student_beside_welch, one_test_a_metric, ONE_TEST),
    "uncorrected beside simultaneous": Mutant(wrong.uncorrected_beside_simultaneous, one_test_a_metric, ONE_TEST),
    "fixed beside anytime": Mutant(wrong.fixed_beside_anytime, one_test_a_metric, ONE_TEST),
    "hazards beside incidence": Mutant(wrong.hazards_beside_incidence, one_test_a_metric, ONE_TEST),
}
CLAIMS = {each.claim.__name__: each.claim for each in MUTANTS.values()}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_must_hold_does(claim: str):
    CLAIMS[claim]()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_analysis_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch):
    MUTANTS[mutant].substitute(monkeypatch)
    with pytest.raises(Broken, match=MUTANTS[mutant].breaks):
        MUTANTS[mutant].claim()


def test_dividing_by_everybody_turns_the_sign(monkeypatch: pytest.MonkeyPatch):
    assert known(EARLY_DAYS).effect("retained", "five", "one") > 0
    assert (of_a_ramp(EARLY_DAYS + 28).effect or 0) > 0
    wrong.everybody_as_denominator(monkeypatch)
    assert (of_a_ramp(EARLY_DAYS + 28).high or 0) < 0


@pytest.mark.parametrize(("days", "codes"), [(3, {"srm", "srm_sequential"}), (56, {"srm_sequential"})])
def test_entry_by_allowed_asks_makes_a_readout_invalid(monkeypatch: pytest.MonkeyPatch, days: int, codes: set[str]):
    """On day 3 the stricter variant lacks three in ten customers. At the end nearly all are there, but came later."""
    wrong.exposed_when_allowed(monkeypatch)
    readout = exposed_by(days)
    assert [each.call for each in readout.verdicts] == [Call.INVALID]
    assert {each.code for each in readout.checks if each.is_alarm} == codes
    one, five = (each.units for each in readout.groups)
    assert 0.6 < one / five < 0.8 if days == 3 else one / five > 0.98


@pytest.mark.parametrize("role", ["role: primary", "role: guardrail, margin: 0.001"])
def test_a_plan_that_decides_per_message_about_a_budget_is_refused_at_its_line_with_the_reason(role: str):
    text = SMALL.replace("  - {name: three}", "  - {name: three, dose: 3}")
    ratio = "{name: r, kind: ratio, numerator: {event: unsubscribed}, denominator: {event: sent}, direction: decrease"
    with pytest.raises(ex.PlanError) as refused:
        read(f"{text}  - {ratio}, {role}}}\n")
    (problem,) = refused.value.problems
    assert (problem.path, problem.line) == ("metrics[1].role", len(text.splitlines()) + 1)
    assert "a budget changes how many messages" in problem.expected
    assert "what decides is counted per customer" in problem.expected
    assert read(f"{text}  - {ratio}, role: descriptive}}\n").is_about_budgets
    assert not read(f"{SMALL}  - {ratio}, {role}}}\n").is_about_budgets
